"""Recorded series have gaps of their own: a rule that was not evaluated is no zero, but nothing known (D24).

An expression over recorded series (names with a colon, as Prometheus reserves them for rules) may well
answer while they have a gap: an instant selector goes on with the last sample for five minutes, and a sum
over a range is smaller or, with `or vector(0)`, 0. So their samples over the range are counted and compared
with what is usual: the most that the hour before (or four such ranges) had over one. Of several series of a
selector the one with the most samples stands for all: pods come and go, and a rule is evaluated for all of
them or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import promql_parser

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.selectors import parsed_expression, spelled

if TYPE_CHECKING:
    from collections.abc import Iterable

SHORTEST = 300  # seconds: for so long an instant selector goes on with an old sample
ENOUGH = 0.8  # of the usual samples, and one more for the edges
USUAL, RANGES = 3_600, 4  # seconds that say what is usual, and so many ranges at least
_UNJUDGED = frozenset({"absent", "absent_over_time"})


class Recorded(NamedTuple):
    """A selector of recorded series, how far back it looks and over which range, in seconds."""

    selector: str
    offset: int
    range: int = 0

    def over(self, span: str) -> str:
        """Its samples over a span of time."""
        return f"{self.selector}[{span}]" + (f" offset {self.offset}s" if self.offset else "")


def share(expressions: Iterable[str], window: int) -> str | None:
    """PromQL for the share of the usual samples that the recorded series of these expressions have.

    None where there are no such series. Of several selectors the one with the least stands for all.
    """
    found = dict.fromkeys(one for text in expressions for one in _judged(parsed_expression(text)))
    each = [
        f'label_replace({_share(one, max(window, one.range, SHORTEST))}, "part", "{at}", "", "")'
        for at, one in enumerate(found)
    ]
    return f"min({' or '.join(each)})" if each else None


def _share(one: Recorded, seconds: int) -> str:
    span = format_duration(seconds)
    usual = format_duration(max(USUAL, RANGES * seconds))
    samples = f"count_over_time({one.over(span)})"
    return f"(max({samples}) + 1) / max(max_over_time({samples}[{usual}:{span}]))"


def _judged(one: object, *, needed: bool = True) -> list[Recorded]:
    """The recorded selectors that must have samples.

    Of a ratio only what it is divided by must: no failures are often no series. What stands before
    `or vector(0)`, but for divisors, or behind `unless`, or is asked to be absent, need not.
    """
    match one:
        case promql_parser.VectorSelector():
            return [_recorded(one)] if needed and ":" in (one.name or "") and one.at is None else []
        case promql_parser.MatrixSelector():
            seconds = int(one.range.total_seconds())
            return [found._replace(range=seconds) for found in _judged(one.vector_selector, needed=needed)]
        case promql_parser.Call():
            inside = needed and one.func.name not in _UNJUDGED
            return [found for arg in one.args for found in _judged(arg, needed=inside)]
        case promql_parser.BinaryExpr():
            if str(one.op) == "/" and (divisors := _judged(one.rhs)):
                return divisors
            replaced = str(one.op) == "or" and not _judged(one.rhs)
            excepted = str(one.op) == "unless"
            return [
                *_judged(one.lhs, needed=needed and not replaced),
                *_judged(one.rhs, needed=needed and not excepted),
            ]
        case _:
            inner = getattr(one, "expr", None)
            return _judged(inner, needed=needed) if inner is not None else []


def _recorded(one: promql_parser.VectorSelector) -> Recorded:
    return Recorded(spelled(one), int(one.offset.total_seconds()) if one.offset is not None else 0)
