"""Slices: time-slice budgeting, where a span of time is good or bad by its own success ratio.

A slice that is over is stored as one event over its span. What the one in progress has counted so far is
stored as it is, tick by tick, and looked at by nobody: windows of such SLOs end with the last slice that is
over. A slice without traffic is no event; one of which less than 80 % was observed is not known.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.ticks import Counts, Outcome, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.specs import Slices
    from slo_budget_tracker.ticks import WindowCounts


class Part(NamedTuple):
    """What some time of a slice brought; `known` and `partial` are seconds."""

    span: Tick
    total: float
    bad: float
    known: float
    partial: float
    outcome: Outcome

    @classmethod
    def of(cls, span: Tick, counts: Counts) -> Part:
        """One tick."""
        known = span.seconds if counts.outcome.known else 0
        partial = known if counts.outcome is Outcome.PARTIAL else 0
        return cls(span, counts.total, counts.bad, known, partial, counts.outcome)

    @classmethod
    def stored(cls, span: Tick, counts: WindowCounts) -> Part:
        """What the ledger has of the beginning of a slice."""
        outcome = Outcome.OK if counts.known else Outcome.NO_DATA if counts.absent else Outcome.MISSED
        return cls(span, counts.total, counts.bad, counts.known, counts.partial, outcome)


class Clock(NamedTuple):
    """The tick grid: one of its instants, and its interval."""

    at: int
    interval: int

    def last_end(self, at: int, width: int) -> int:
        """The end of the last slice that is over at any instant, also at one that is not of the grid."""
        known = last_end(self.at, width, interval=self.interval)
        return (at - known) // width * width + known


class Cut(NamedTuple):
    """Slices that are over, by their span, and the ticks of those that are not."""

    over: Mapping[Tick, Counts]
    begun: Mapping[Tick, list[Part]]


def end_of(at: int, width: int, *, interval: int) -> int:
    """The end of the slice that a tick which ends at `at` belongs to; ends are on the tick grid."""
    phase = _phase(at, interval)
    return -(-(at - phase) // width) * width + phase


def last_end(at: int, width: int, *, interval: int) -> int:
    """The end of the last slice that is over at an instant of the grid."""
    phase = _phase(at, interval)
    return (at - phase) // width * width + phase


def _phase(at: int, interval: int) -> int:
    """How far the tick grid lies before the clock's: slices end with the last tick of the clock's slices.

    So do the ledger's own cells, and with them the rows of a first fill: none of them lies in two slices.
    """
    return -(-at % interval)


def cut(parts: Iterable[Part], slices: Slices, *, interval: int) -> Cut:
    """Sort ascending parts into slices, and judge those whose last tick is there."""
    found: dict[Tick, list[Part]] = {}
    for part in parts:
        end = end_of(part.span.end, slices.width, interval=interval)
        found.setdefault(Tick(end - slices.width, end), []).append(part)
    over = {span: judge(some, slices) for span, some in found.items() if some[-1].span.end == span.end}
    return Cut(over, {span: some for span, some in found.items() if span not in over})


def judge(parts: Iterable[Part], slices: Slices) -> Counts:
    """One event: bad where the success ratio of all parts is below the target of slices."""
    some = list(parts)
    known = sum(part.known for part in some)
    if known * 5 < slices.width * 4:
        return Counts(0, 0, max((part.outcome for part in some if not part.known), default=Outcome.MISSED))
    total, bad = sum(part.total for part in some), sum(part.bad for part in some)
    if not total:
        return Counts(0, 0, Outcome.NO_TRAFFIC)
    is_bad = Fraction(bad) > Fraction(total) * (1 - Fraction(slices.target))
    partial = any(part.partial for part in some)
    return Counts(1, float(is_bad), Outcome.PARTIAL if partial else Outcome.OK)
