"""Reviews: what a past period did to each SLO's error budget, from the counts that the ledger kept.

The budget of a period is the share of its own events that may fail, not that of the SLO's rolling window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker import budget
from slo_budget_tracker.annotations import Sought, among, find_annotations
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.corrections import merged, overlapping
from slo_budget_tracker.specs import sli_hash
from slo_budget_tracker.ticks import Tick
from slo_budget_tracker.timeline import Found, Wanted, find
from slo_budget_tracker.windows import taken_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.annotations import Annotation
    from slo_budget_tracker.corrections import Span
    from slo_budget_tracker.history import History
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.periods import Period
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts

DAY, HOUR = 86_400, 3_600
LITTLE = 0.25
ENDINGS = ("exhausted", "at_risk", "no_data", "healthy")  # how a period ends, the worst first
WORST = 5  # hours
EVENTS = 200
NOTES = 1_000  # of a period


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the period: when it began, its counts, and what share of the period's budget it spent."""

    start: int
    counts: WindowCounts
    spent: float | None


@dataclass(frozen=True, slots=True)
class Review:
    """One SLO instance over a period, without the time that corrections take out.

    `raw` is what would remain with that time, `before` what remained of the budget of the period before.
    """

    slo: SLO
    labels: Mapping[str, str]
    counts: WindowCounts
    remaining: float | None
    raw: float | None
    success_ratio: float | None
    coverage: float
    before: float | None
    days: tuple[Stretch, ...]
    worst: tuple[Stretch, ...]
    events: Found
    corrections: tuple[Span, ...] = ()
    notes: tuple[Annotation, ...] = ()

    @property
    def standing(self) -> str:
        """How the period ended for it."""
        if self.remaining is None:
            return "no_data"
        if self.remaining <= 0:
            return "exhausted"
        return "at_risk" if self.remaining < LITTLE else "healthy"


def review(ledger: Ledger, slos: Iterable[SLO], period: Period) -> list[Review]:
    """Every instance of the SLOs that the ledger knows, over the period as far as there are data.

    Composites are left out: they have no events of their own, what they come to is their members'.

    Raises:
        LedgerError: the events cannot be read.
    """
    with ledger.transaction() as connection:
        sought = Sought(since=period.start, until=period.end, limit=NOTES)
        notes = find_annotations(connection, sought).marks
    by_name = {(slo.name, sli_hash(slo)): slo for slo in slos}
    found = []
    for instance in ledger.instances.values():
        slo = by_name.get((instance.slo, instance.sli_hash))
        if slo is not None and instance.retired is None and not members_of(slo):
            wanted = Wanted(slo=slo.name, since=period.start, until=period.end, limit=EVENTS)
            with ledger.transaction() as connection:
                events = find(connection, wanted)
            one = _review(ledger.history, instance, slo, period=period, events=events)
            found.append(
                replace(
                    one,
                    corrections=overlapping(slo.corrections, period.start, period.end),
                    notes=among(notes, slo.name, slo.service),
                )
            )
    return sorted(found, key=lambda one: (one.slo.name, sorted(one.labels.items())))


def _review(history: History, instance: Instance, slo: SLO, *, period: Period, events: Found) -> Review:
    number = instance.id
    length = period.end - period.start
    allowance = budget.allowed(slo.target)
    times = [one.span for one in overlapping(slo.corrections, period.before.start, period.end)]
    corrected = merged(times, 0, 1)

    def known(span: Tick, counts: WindowCounts | None = None) -> WindowCounts:
        found = counts or history.window(span.end, [span.seconds], ids=[number])[number][span.seconds]
        return taken_out(history, found, span, number, corrected)

    raw = history.window(period.end, [length], ids=[number])[number][length]
    counts, before = known(Tick(period.start, period.end), raw), known(Tick(*period.before[1:]))
    sums = budget.exact(counts)
    allowed = counts.total * allowance.over / allowance.under

    def stretches(found: Sequence[tuple[Tick, WindowCounts]]) -> list[Stretch]:
        return [
            Stretch(tick.start, one, one.bad / allowed if allowed and one.known else None)
            for tick, one in ((tick, known(tick, whole)) for tick, whole in found)
        ]

    hours = [
        one
        for one in stretches(history.series(number, period.start, period.end, HOUR))
        if one.counts.bad > 0 and _closely(history, one.start)
    ]
    return Review(
        slo,
        dict(instance.labels),
        counts,
        budget.remaining(sums, allowance),
        budget.remaining(budget.exact(raw), allowance),
        budget.success_ratio(sums),
        budget.coverage(sums),
        budget.remaining(budget.exact(before), allowance),
        tuple(stretches(history.series(number, period.start, period.end, DAY))),
        tuple(sorted(hours, key=lambda one: (-one.counts.bad, one.start))[:WORST]),
        events,
    )


def _closely(history: History, start: int) -> bool:
    """Whether counts are still kept by the hour there: what is older is kept by the day."""
    first, last = np.searchsorted(history.points, [start, start + HOUR], side="right")
    return bool(last > first)
