"""Raw reads of one metric, shared by all SLOs on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker.answers import Query
from slo_budget_tracker.groups import group_of, key_of
from slo_budget_tracker.histograms import ALL, LE, bound_text, plain
from slo_budget_tracker.index import Index, alternation, cover, disjoint, literals, pieces
from slo_budget_tracker.selectors import Matcher, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from slo_budget_tracker.answers import Series
    from slo_budget_tracker.groups import Group

Role = Literal["total", "bad", "good", "error_ratio", "condition", "recorded"]
TICKED = frozenset[Role](
    {"error_ratio", "condition", "recorded"}
)  # what is looked at once in each tick, not scaled to it


class Slot(NamedTuple):
    """Where an increment goes: an SLO (by name), the part of its ratio, and the group, if it has groups."""

    slo: str
    role: Role
    group: Group = ()

    @property
    def key(self) -> str:
        """The instance that it belongs to."""
        return key_of(self.slo, self.group)


@dataclass(frozen=True)
class RawFeed:
    """The raw samples of one metric, read once for all SLOs on it.

    `selectors` cover what the members select (perhaps more), and no series is selected by two of them. The
    samples of a `gauge` are events themselves, those of a counter are summed by their differences.
    """

    key: str
    datasource: str
    metric: str
    members: tuple[tuple[Slot, Selector], ...]
    selectors: tuple[Selector, ...]
    replica_label: str | None = None
    gauge: bool = False
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()  # by SLO: the labels it is grouped by
    histogram: Histogram | None = (
        None  # where `metric` has its buckets, and native histograms may do for them
    )

    def __hash__(self) -> int:
        return hash(self.key)

    @cached_property
    def _index(self) -> Index[Slot]:
        return Index.of(self.members)

    def expressions(self, seconds: int) -> tuple[str, ...]:
        """The range selectors to ask for, as instant queries, to get the samples of the last `seconds`."""
        return tuple(query.expression for query in self.queries(seconds, 0))

    @property
    def former(self) -> str | None:
        """The key under which these series were read when there were no native histograms."""
        return None if self.histogram is None else f"{self.datasource}/{self.metric}"

    def queries(
        self, seconds: int, at: int, selectors: Sequence[Selector] | None = None
    ) -> tuple[Query, ...]:
        """The questions for the samples of the `seconds` before an instant, of all series or of some."""
        if self.histogram is not None:
            return self.histogram.queries(self.selectors if selectors is None else selectors, seconds, at)
        some = self.selectors if selectors is None else cover(selectors)
        return tuple(Query(f"{piece}[{seconds}s]", at) for selector in some for piece in pieces(selector))

    @cached_property
    def reads(self) -> tuple[Selector, ...]:
        """What is asked for, one selector each, before texts that are too long are cut into pieces."""
        return self.selectors if self.histogram is None else tuple(self.histogram.apart(self.selectors))

    @cached_property
    def width(self) -> int:
        """How many requests read it in a tick."""
        return len(self.expressions(1))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of its series, as servers send them."""
        return (self.metric,) if self.histogram is None else self.histogram.names

    def asks_for(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is part of the answer to its own questions."""
        if self.histogram is None:
            return any(one.matches(labels) for one in self.selectors)
        stored = dict(labels)
        if self.histogram.is_native(labels):  # the bound is none of its labels: it is one that was asked for
            bound = plain(stored.pop(LE, ""))
            if bound != ALL and bound not in map(bound_text, self.bounds):
                return False
        return any(all(m.matches(stored) for m in one.matchers) for one in self.reads)

    @property
    def bounds(self) -> tuple[Decimal, ...]:
        """At which bounds native histograms are read."""
        return () if self.histogram is None or not self.histogram.native else self.histogram.bounds

    def stored(self, series: Sequence[Series]) -> Sequence[Series]:
        """The series that the server has: of a native histogram's counts at its bounds only that of all."""
        histogram = self.histogram
        if histogram is None:
            return series
        if not histogram.native:
            return series
        return [one for one in series if not histogram.is_native(one.labels) or one.labels.get(LE) == ALL]

    def classify(self, labels: Mapping[str, str]) -> tuple[Slot, ...]:
        """Where the increments of a series go; each slot once, though several of its selectors match.

        Of an SLO with groups they go to its roll-up and to the group.
        """
        if self.histogram is not None:
            labels = self.histogram.as_bucket(labels)
        found = self._index.find(labels)
        return self.grouped(found, labels) if self.groups else found

    @cached_property
    def _grouped_by(self) -> Mapping[str, tuple[str, ...]]:
        return dict(self.groups)

    def group_labels(self, slo: str) -> tuple[str, ...]:
        """The labels by which an SLO is grouped."""
        return self._grouped_by.get(slo, ())

    def grouped(self, slots: Iterable[Slot], labels: Mapping[str, str]) -> tuple[Slot, ...]:
        """The slots and those of the groups that these labels belong to."""
        found = []
        for slot in slots:
            found.append(slot)
            if by := self.group_labels(slot.slo):
                found.append(slot._replace(group=group_of(labels, by)))
        return tuple(found)


@dataclass(frozen=True)
class Histogram:
    """A histogram by its base name: are classic buckets read, and native ones, at which bounds?"""

    base: str
    classic: bool
    native: bool
    bounds: tuple[Decimal, ...]

    @property
    def metric(self) -> str:
        """What its classic buckets are called."""
        return f"{self.base}_bucket"

    def queries(self, buckets: Sequence[Selector], seconds: int, at: int) -> tuple[Query, ...]:
        """The questions for raw samples; `buckets` select classic buckets by `le`."""
        return tuple(
            Query(
                f"{self.selector(','.join(map(str, piece.matchers)))}[{seconds}s]",
                at,
                self.bounds if self.native else (),
            )
            for selector in self.apart(buckets)
            for piece in pieces(selector)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """What its series are called: native ones as it, classic ones as its buckets."""
        return (*([self.base] if self.native else []), *([self.metric] if self.classic else []))

    def apart(self, buckets: Sequence[Selector]) -> Sequence[Selector]:
        """Selectors that share no histogram: where some read other buckets of one, `le` is joined."""
        if not self.native:
            return cover(buckets)
        bounds: dict[Selector, set[str]] = {}
        for selector in cover(buckets):
            rest = Selector(selector.metric, tuple(m for m in selector.matchers if m.label != LE))
            listed = [literals(m) or frozenset() for m in selector.matchers if m.label == LE]
            bounds.setdefault(rest, set()).update(*listed)
        if not all(disjoint(one, other) for one, other in combinations(bounds, 2)):
            every = set[str]().union(*bounds.values())
            bounds = dict.fromkeys(cover(list(bounds)), every)
        if not self.classic:
            return list(bounds)
        return [_with(rest, alternation(LE, frozenset({"", *les}))) for rest, les in bounds.items()]

    def selector(self, inside: str) -> str:
        """The text that selects what is read, with these matchers."""
        if len(self.names) == 1:
            return f"{self.names[0]}{{{inside}}}"
        names = alternation("__name__", frozenset(self.names))
        return f"{{{','.join(filter(None, (str(names), inside)))}}}"

    def is_native(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is part of a native histogram, by the name that servers send."""
        return labels.get("__name__") == self.base

    def as_bucket(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The labels that the same counts have as a classic bucket."""
        if not self.is_native(labels):
            return labels
        return {**labels, "__name__": self.metric, LE: plain(labels.get(LE, ""))}


def _with(selector: Selector, matcher: Matcher) -> Selector:
    matchers = sorted((*selector.matchers, matcher), key=lambda m: (m.label, m.operator, m.value))
    return Selector(selector.metric, tuple(matchers))
