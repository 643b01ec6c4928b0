"""Free PromQL of several SLOs in one query, and what each of them brought."""

from __future__ import annotations

import hashlib
import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import promql_parser

from slo_budget_tracker.answers import Answer, Query, Series, printable
from slo_budget_tracker.errors import BadAnswer
from slo_budget_tracker.feeds import TICKED
from slo_budget_tracker.groups import group_of
from slo_budget_tracker.rowlabels import is_scalar
from slo_budget_tracker.selectors import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slo_budget_tracker.feeds import Slot

TAG = "slo"  # the label that tells the members of a joined query apart
OTHER_TAG = "__slo__"  # the same, where series are grouped by their own label `slo`
MOST_OPERATORS = 600  # and brackets: expressions beyond are not parsed here
_NESTING = re.compile(r"[-+*/%^<>=!(\[{]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_NAMED = 3  # so many label sets are named in a message


_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class Test(NamedTuple):
    """What makes a condition true: `value op limit`, compared as floats like PromQL does."""

    op: str
    limit: float

    def of(self, value: float) -> float:
        """1 where the condition holds, 0 where not; what is no number says nothing."""
        return value if math.isnan(value) else float(_COMPARE[self.op](value, self.limit))


class Member(NamedTuple):
    """One expression of a batch; a count over `window` seconds is scaled to the tick.

    `by` are the labels of an SLO's groups: then each of them has a row of its own in the answer.
    """

    slot: Slot
    expression: str
    window: int
    test: Test | None = None
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpressionBatch:
    """Expressions asked by one query, each of which must give a single value, or one for each group."""

    key: str
    datasource: str
    members: tuple[Member, ...]

    @classmethod
    def of(cls, datasource: str, members: Sequence[Member]) -> ExpressionBatch:
        """A batch, named after what it asks."""
        digest = hashlib.blake2b(repr(tuple(members)).encode(), digest_size=8).hexdigest()
        return cls(f"{datasource}/promql:{digest}", datasource, tuple(members))

    def query(self, at: int, tick_seconds: int) -> Query:
        """All members as one query at `at`; equal expressions are asked once."""
        once = {tag: member for member, tag in reversed(tuple(self._tagged()))}
        return Query(
            " or ".join(
                _tagged(member, self._label, tag, tick_seconds) for tag, member in sorted(once.items())
            ),
            at,
        )

    def read(self, answer: Answer) -> Mapping[Slot, float | None]:
        """The value of each slot; None where the server answered that there is no series.

        An SLO or group of which any member cannot be used is left out: see `faults`. NaN is no traffic: a
        count is 0 then, an `error_ratio` or `condition` stays NaN.
        """
        values, faults = self._judge(answer)
        return {slot: value for slot, value in values.items() if slot.key not in faults}

    def faults(self, answer: Answer) -> Mapping[str, BadAnswer]:
        """The keys whose expressions gave something that cannot be used, and what it was."""
        return self._judge(answer)[1]

    def split(self) -> tuple[ExpressionBatch, ExpressionBatch]:
        """Two halves with whole SLOs, to find one that a server refuses; a single SLO is cut by member."""
        names = list(dict.fromkeys(member.slot.slo for member in self.members))
        first = set(names[: len(names) // 2])
        left = tuple(m for m in self.members if m.slot.slo in first) or self.members[: len(self.members) // 2]
        right = tuple(m for m in self.members if m not in left)
        return self.of(self.datasource, left), self.of(self.datasource, right)

    @property
    def _label(self) -> str:
        return OTHER_TAG if any(TAG in member.by for member in self.members) else TAG

    def _tagged(self) -> Iterator[tuple[Member, str]]:
        """Each member with the tag it is asked under: that of the first member that asks the same."""
        first: dict[tuple[str, int, bool], str] = {}
        for member in self.members:
            same = (member.expression, member.window, member.slot.role in TICKED)
            yield member, first.setdefault(same, f"{member.slot.slo}:{member.slot.role}")

    def _judge(self, answer: Answer) -> tuple[dict[Slot, float | None], dict[str, BadAnswer]]:
        found: dict[str, list[Series]] = {}
        for series in answer.series:
            found.setdefault(series.labels.get(self._label, ""), []).append(series)
        values: dict[Slot, float | None] = {}
        faults: dict[str, BadAnswer] = {}
        for member, tag in self._tagged():
            for slot, rows in _by_group(member, found.get(tag, ())).items():
                try:
                    value = _single(slot, rows)
                    values[slot] = value if value is None or member.test is None else member.test.of(value)
                except BadAnswer as fault:
                    faults.setdefault(slot.key, fault)
        busy = {
            slot._replace(role="total") for slot, value in values.items() if value and not math.isnan(value)
        }
        for slot, value in values.items():
            if value is None or not math.isnan(value) or slot.role in TICKED:
                continue
            if slot._replace(role="total") in busy:
                faults.setdefault(slot.key, _fault(slot, "NaN beside traffic", reason="non_finite"))
            values[slot] = 0.0
        return values, faults


def _by_group(member: Member, rows: Sequence[Series]) -> Mapping[Slot, Sequence[Series]]:
    """The rows of a member by the slot that each of them belongs to."""
    if not member.by:
        return {member.slot: rows}
    found: dict[Slot, list[Series]] = {}
    for row in rows:
        found.setdefault(member.slot._replace(group=group_of(row.labels, member.by)), []).append(row)
    return found


def _tagged(member: Member, label: str, tag: str, tick_seconds: int) -> str:
    text = f"{member.expression}\n" if "#" in member.expression else member.expression  # a comment ends there
    value = f"vector({text})" if _is_scalar(member.expression) else f"({text})"
    if member.slot.role not in TICKED and member.window != tick_seconds:
        value = f"{value} * {tick_seconds} / {member.window}"
    return f'label_replace({value}, "{label}", {quote(tag)}, "", "")'


def _is_scalar(expression: str) -> bool:
    """Whether the expression is a scalar; what the parser does not know is left to the server's judgement."""
    if len(_NESTING.findall(expression)) > MOST_OPERATORS:  # the parser's native stack would overflow
        return False
    try:
        return is_scalar(promql_parser.parse(expression))
    except ValueError:
        return False


def _single(slot: Slot, found: Sequence[Series]) -> float | None:
    if not found:
        return None
    if len(found) > 1:
        named = "; ".join(printable(_labels(series.labels)) for series in found[:_NAMED])
        raise _fault(slot, f"{len(found)} series where one is expected: {named}", reason="multiple_series")
    values = found[0].values
    if len(values) != 1:
        raise _fault(slot, f"{len(values)} samples where one is expected", reason="result_type")
    if slot.role == "condition":  # any number may be compared
        return values[0]
    if math.isinf(values[0]):
        raise _fault(slot, f"the value is {values[0]}", reason="non_finite")
    if values[0] < 0:
        raise _fault(slot, f"the value is negative ({values[0]:g})", reason="negative")
    return values[0]


def _labels(labels: Mapping[str, str]) -> str:
    own = sorted((name, value) for name, value in labels.items() if name not in {TAG, OTHER_TAG})
    inside = ",".join(f"{name}={quote(value)}" for name, value in own)
    return f"{{{inside}}}"


def _fault(slot: Slot, what: str, *, reason: str) -> BadAnswer:
    return BadAnswer(f"{printable(slot.key)}: {slot.role}: {what}", reason=reason)
