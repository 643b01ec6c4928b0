"""SLOs to few requests: the plan of one tick, pure.

Counters: one raw read per metric (`RawFeed`), whatever the number of SLOs. Free PromQL: expressions joined in
small batches (`ExpressionBatch`), because the server's cost per expression grows with the size of a query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from slo_budget_tracker import recordings
from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series
from slo_budget_tracker.batches import ExpressionBatch, Member, Test
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.feeds import TICKED, Histogram, RawFeed, Role, Slot
from slo_budget_tracker.histograms import bound_text
from slo_budget_tracker.index import cover
from slo_budget_tracker.joints import joints
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.selectors import Matcher, Selector, substitute_window
from slo_budget_tracker.slis import ConditionSli, LatencySli, ProbeSli, RequestsSli

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from slo_budget_tracker.slis import PromqlSli
    from slo_budget_tracker.specs import SLO

__all__ = [
    "Answer",
    "ExpressionBatch",
    "Member",
    "Plan",
    "PlannedRead",
    "Query",
    "RangeQuery",
    "RawFeed",
    "Role",
    "Series",
    "Slot",
    "bound_spellings",
    "plan",
]

PROBE, HISTOGRAM = "probe", "histogram"  # ways to read a metric, beside counters
HISTOGRAMS = (HISTOGRAM, "classic", "native")
BATCH_SLOS = (
    10  # SLOs per joined query: measured, 10 cost the server 2.4 ms each, 50 cost 4.6 ms, 200 cost 12.9 ms
)


class PlannedRead(NamedTuple):
    """What users see of one feed or batch: the queries as they are sent, and the SLOs that share them."""

    key: str
    datasource: str
    queries: tuple[str, ...]
    slos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one tick asks."""

    raw: tuple[RawFeed, ...] = ()
    expressions: tuple[ExpressionBatch, ...] = ()

    def describe(self, tick_seconds: int) -> tuple[PlannedRead, ...]:
        """Each read with its query texts for a tick of this length and the SLOs that share it."""
        together = joints(self.raw)
        shared = {feed.key for joint in together for feed in joint.feeds}
        raw = (
            PlannedRead(
                feed.key, feed.datasource, feed.expressions(tick_seconds), _names(s for s, _ in feed.members)
            )
            for feed in self.raw
            if feed.key not in shared
        )
        small = (
            PlannedRead(
                joint.key,
                joint.feeds[0].datasource,
                (joint.expression(tick_seconds),),
                _names(slot for feed in joint.feeds for slot, _ in feed.members),
            )
            for joint in together
        )
        joined = (
            PlannedRead(
                batch.key,
                batch.datasource,
                (batch.query(0, tick_seconds).expression,),
                _names(member.slot for member in batch.members),
            )
            for batch in self.expressions
        )
        return (*raw, *small, *joined)


def plan(slos: Sequence[SLO], *, replica_labels: Mapping[str, str | None]) -> Plan:
    """The plan of one tick, whatever the order of the SLOs; `replica_labels` by datasource."""
    feeds: dict[tuple[str, str, str], list[tuple[Slot, Selector]]] = {}
    bounds: dict[tuple[str, str, str], set[Decimal]] = {}
    expressions: dict[tuple[str, bool], list[list[Member]]] = {}
    grouped = {slo.name: slo.group_by for slo in slos if slo.group_by}
    for slo in sorted(slos, key=lambda one: one.name):
        if slo.sli.kind == "composite":  # its members are read
            continue
        if isinstance(slo.sli, (RequestsSli, LatencySli, ProbeSli)):
            kind = _kind(slo.sli)
            for slot, selector in _series(slo):
                feeds.setdefault((slo.datasource, selector.metric, kind), []).append((slot, selector))
                if isinstance(slo.sli, LatencySli):
                    bounds.setdefault((slo.datasource, selector.metric, kind), set()).add(slo.sli.threshold)
        else:
            members = list(_expressions(slo.name, slo.sli, slo.group_by))
            ticked = all(member.slot.role in TICKED for member in members)
            expressions.setdefault((slo.datasource, ticked), []).append(members)
    return Plan(
        raw=tuple(
            _feed(
                _Key(*key),
                tuple(dict.fromkeys(members)),
                replica_labels.get(key[0]),
                tuple(sorted({(slot.slo, grouped[slot.slo]) for slot, _ in members if slot.slo in grouped})),
                _histogram(key[1], key[2], bounds.get(key, ())),
            )
            for key, members in feeds.items()
        ),
        expressions=tuple(
            ExpressionBatch.of(
                datasource, [member for slo in of_slos[at : at + BATCH_SLOS] for member in slo]
            )
            for (datasource, _), of_slos in expressions.items()
            for at in range(0, len(of_slos), BATCH_SLOS)
        ),
    )


class _Key(NamedTuple):
    """What is read as one: a metric of a datasource, and how it is read."""

    datasource: str
    metric: str
    kind: str


# While somebody reads a feed, further plans have that very one, with all that was worked out for it: most of
# a catalogue is the same after a reload.
_FEEDS: WeakValueDictionary[_Key, RawFeed] = WeakValueDictionary()


def _feed(
    key: _Key,
    members: tuple[tuple[Slot, Selector], ...],
    replica_label: str | None,
    groups: tuple[tuple[str, tuple[str, ...]], ...],
    histogram: Histogram | None,
) -> RawFeed:
    """The feed for these; members that are the very same objects are compared at once."""
    known = _FEEDS.get(key)
    wanted = members, replica_label, groups, histogram
    if known and (known.members, known.replica_label, known.groups, known.histogram) == wanted:
        return known
    feed = _FEEDS[key] = RawFeed(
        key=f"{key.datasource}/{_read_as(key.metric, key.kind)}",
        datasource=key.datasource,
        metric=key.metric,
        members=members,
        selectors=cover([selector for _, selector in members]),
        replica_label=replica_label,
        gauge=key.kind == PROBE,
        groups=groups,
        histogram=histogram,
    )
    return feed


def _kind(sli: RequestsSli | LatencySli | ProbeSli) -> str:
    """How a metric is read: as counters, as buckets of one form or both, or its samples as events."""
    if isinstance(sli, ProbeSli):
        return PROBE
    if isinstance(sli, LatencySli):
        return HISTOGRAM if sli.type == "auto" else sli.type
    return ""


def _read_as(metric: str, kind: str) -> str:
    """A metric and how it is read, as part of a key."""
    if kind in HISTOGRAMS:
        metric = metric.removesuffix("_bucket")
    return f"{kind}:{metric}" if kind else metric


def _histogram(metric: str, kind: str, bounds: Iterable[Decimal]) -> Histogram | None:
    if kind not in HISTOGRAMS:
        return None
    base = metric.removesuffix("_bucket")
    return Histogram(base, kind != "native", kind != "classic", tuple(sorted(bounds)))


def bound_spellings(bound: Decimal) -> tuple[str, ...]:
    """How clients write an upper bound: `1` (Go), `1.0` (Python, Java, Prometheus 3), `1e+06`, `1.0E7`."""
    plain = bound_text(bound)
    number = float(bound)
    exponent = math.floor(math.log10(number)) if number else 0
    found = {plain, repr(number), f"{plain}.0" if "." not in plain else plain}
    if exponent < -4 or exponent >= 6:  # noqa: PLR2004 - Go's strconv.FormatFloat(…, 'g', -1, 64)
        mantissa = f"{(bound.normalize().scaleb(-exponent)).normalize():f}"
        java = mantissa if "." in mantissa else f"{mantissa}.0"
        found |= {f"{mantissa}e{exponent:+03d}", f"{java}E{exponent}"}
    return tuple(sorted(found))


@by_identity
def _series(slo: SLO) -> tuple[tuple[Slot, Selector], ...]:
    """The series of an SLO, the same objects in each plan."""
    assert isinstance(slo.sli, (RequestsSli, LatencySli, ProbeSli))
    return tuple(_series_of(slo.name, slo.sli))


def _series_of(slo: str, sli: RequestsSli | LatencySli | ProbeSli) -> Iterator[tuple[Slot, Selector]]:
    """The series of an SLI; of a histogram the +Inf bucket and the threshold's, in each spelling."""
    if isinstance(sli, ProbeSli):
        roles: tuple[Role, ...] = ("total", "bad")
        yield from ((Slot(slo, role), selector) for role in roles for selector in sli.up)
        return
    if isinstance(sli, RequestsSli):
        parts: tuple[tuple[Role, tuple[Selector, ...] | None], ...] = (
            ("total", sli.total),
            ("bad", sli.bad),
            ("good", sli.good),
        )
        for role, selectors in parts:
            yield from ((Slot(slo, role), selector) for selector in selectors or ())
        return
    yield Slot(slo, "total"), _bucket(sli.histogram, "+Inf")
    for spelling in bound_spellings(sli.threshold):
        yield Slot(slo, "good"), _bucket(sli.histogram, spelling)


def _bucket(histogram: Selector, bound: str) -> Selector:
    matchers = (*histogram.matchers, Matcher("le", "=", bound))
    ordered = tuple(sorted(matchers, key=lambda m: (m.label, m.operator, m.value)))
    return Selector(f"{histogram.metric}_bucket", ordered)


def _expressions(slo: str, sli: PromqlSli | ConditionSli, by: tuple[str, ...]) -> Iterator[Member]:
    """What is asked for an SLI, and whether the recorded series among it have gaps."""
    if isinstance(sli, ConditionSli):
        yield Member(Slot(slo, "condition"), sli.expr, 0, Test(sli.op, float(sli.limit)), by)
        yield from _gaps(slo, [sli.expr], 0)
        return
    parts: tuple[tuple[Role, str | None], ...] = (
        ("total", sli.total),
        ("bad", sli.bad),
        ("good", sli.good),
        ("error_ratio", sli.error_ratio),
    )
    for role, expression in parts:
        if expression is not None:
            text = substitute_window(expression, format_duration(sli.window))
            yield Member(Slot(slo, role), text, sli.window, by=by)
    whole = [sli.total or sli.good or sli.error_ratio or ""]  # no failures are often no series
    yield from _gaps(slo, whole, sli.window)


def _gaps(slo: str, expressions: Sequence[str], window: int) -> Iterator[Member]:
    share = recordings.share(expressions, window)
    if share is not None:
        yield Member(Slot(slo, "recorded"), share, 0)


def _names(slots: Iterator[Slot]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(slot.slo for slot in slots))
