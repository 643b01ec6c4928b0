"""Courses: how one SLO went over a span of time, point by point, from exact counts."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import budget
from slo_budget_tracker.composites import composed, members_of
from slo_budget_tracker.corrections import overlapping
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.ticks import WindowCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.slices import Clock
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.views import Past

MOST_POINTS = 2_000
GOOD_POINTS = 240  # of a course whose step nobody chose
STEPS = (
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    86_400,
    172_800,
    604_800,
)


class Span(NamedTuple):
    """(start, end] in steps; points are at multiples of the step since `origin` and at the end."""

    start: int
    end: int
    step: int
    origin: int = 0

    @property
    def ends(self) -> list[int]:
        """The instants of the points, oldest first."""
        first = ((self.start - self.origin) // self.step + 1) * self.step + self.origin
        return [*range(first, self.end, self.step), self.end]


def span_of(start: int | None, end: int | None, step: int | None, *, clock: Clock, slo: SLO) -> Span:
    """The span asked for, with its gaps filled in: until now, an SLO window long, in a step that fits.

    Of an SLO that counts slices it is one of whole slices that are over, in steps of whole slices.

    Raises:
        ValueError: start is not before end, or there would be too many points.
    """
    width, newest = 1 if slo.slices is None else slo.slices.width, clock.at
    last = newest if end is None else min(end, newest)
    first = max(last - slo.window, 0) if start is None else start
    if slo.slices is not None:
        first, last = clock.last_end(first, width), clock.last_end(last, width)
    if first >= last:
        raise ValueError(
            f"start: {instant_text(first)} is not before the end, which is at most the newest data"
            f" ({instant_text(newest)})"
        )
    wanted = step or next(
        (one for one in STEPS if one >= clock.interval and (last - first) / one <= GOOD_POINTS), STEPS[-1]
    )
    wanted = -(-wanted // width) * width
    if (last - first) / wanted > MOST_POINTS:
        least = -(-(last - first) // MOST_POINTS)
        raise ValueError(
            f"step: {wanted} s makes more than {MOST_POINTS} points of {format_duration(last - first)},"
            f" expected at least {least}"
        )
    return Span(first, last, wanted, 0 if slo.slices is None else last % wanted)


def course(  # noqa: PLR0917 - what it is of, and where that is found
    slo: SLO,
    labels: Mapping[str, str],
    span: Span,
    past: Past,
    slos: Mapping[str, SLO],
    clock: Clock,
) -> dict[str, object]:
    """The course as the API gives it: one point per step, null where nothing is known.

    `slos` by name are for composites, which have no counts of their own. What corrections took out of
    windows is in the points; where they are is said beside them. The `clock` says where slices end.
    """
    burns = sorted({window for alert in slo.alerts for window in (alert.long, alert.short)})
    ends = span.ends
    lengths = [at - before for before, at in pairwise([span.start, *ends])]  # the first and last may be short
    found = _counts(slo, labels, ends, {*lengths, *burns}, past=past, slos=slos, clock=clock)
    allowance = budget.allowed(slo.target)
    steps = [found[length][place] for place, length in enumerate(lengths)]
    rates = {str(window): _rates(found[window], allowance) for window in burns}
    whole = _whole(slo, labels, ends, past, slos, clock)
    points = [
        {
            "at": instant_text(at),
            **_step(of_step, counted=slo.sli.kind != "composite"),
            "error_budget_remaining": budget.remaining(budget.exact(of_window), allowance),
            "window_coverage": budget.coverage(budget.exact(of_window)),
            "burn_rates": {window: rate[place] for window, rate in rates.items()},
        }
        for place, (at, of_window, of_step) in enumerate(zip(ends, whole, steps, strict=True))
    ]
    return {
        "name": slo.name,
        "labels": dict(labels),
        "unit": slo.unit,
        "target": float(slo.target),
        "window_seconds": slo.window,
        "start": instant_text(span.start),
        "end": instant_text(span.end),
        "step_seconds": span.step,
        "points": points,
        "corrections": [
            {
                "name": one.correction.name,
                "start": instant_text(one.span.start),
                "end": instant_text(one.span.end),
                "reason": one.correction.reason,
                "author": one.correction.author,
            }
            for one in overlapping(slo.corrections, span.start, span.end)
        ],
    }


def remains(  # noqa: PLR0917 - as course
    slo: SLO,
    labels: Mapping[str, str],
    ends: Sequence[int],
    past: Past,
    slos: Mapping[str, SLO],
    clock: Clock,
) -> list[float | None]:
    """The budget that remained at each instant."""
    allowance = budget.allowed(slo.target)
    found = _whole(slo, labels, ends, past, slos, clock)
    return [budget.remaining(budget.exact(counts), allowance) for counts in found]


def _whole(  # noqa: PLR0917 - as course
    slo: SLO,
    labels: Mapping[str, str],
    ends: Sequence[int],
    past: Past,
    slos: Mapping[str, SLO],
    clock: Clock,
) -> Sequence[WindowCounts]:
    """The SLO window at each end: a rolling one, or what was over of a calendar period."""
    if slo.calendar is None:
        return _counts(slo, labels, ends, [slo.window], past=past, slos=slos, clock=clock)[slo.window]
    spans = [max(slo.budget_span(at), 1) for at in ends]
    return [
        _counts(slo, labels, [at], [length], past=past, slos=slos, clock=clock)[length][0]
        for at, length in zip(ends, spans, strict=True)
    ]


def _counts(
    slo: SLO,
    labels: Mapping[str, str],
    ends: Sequence[int],
    lengths: Iterable[int],
    *,
    past: Past,
    slos: Mapping[str, SLO],
    clock: Clock,
) -> Mapping[int, Sequence[WindowCounts]]:
    """Windows by length, one for each end; of a composite from its members."""
    wanted = sorted(set(lengths))
    if slo.sli.kind != "composite":
        found = _asked(slo, labels, ends, wanted, past, clock)
        return found or {length: [WindowCounts(length, 0, 0, 0)] * len(ends) for length in wanted}
    members = {name: slos[name] for name in members_of(slo)}
    parts = {
        name: found
        for name, one in members.items()
        if (found := _asked(one, labels if slo.group_by else {}, ends, wanted, past, clock))
    }
    nothing = {length: WindowCounts(length, 0, 0, 0) for length in wanted}
    begun = _begun(slo, labels, parts, past)
    places = []
    for place, at in enumerate(ends):
        there = [name for name in parts if begun[name] < at]
        known = {name: {length: parts[name][length][place] for length in wanted} for name in there}
        places.append(composed(slo.sli, members, known) or nothing)
    return {length: [place[length] for place in places] for length in wanted}


def _begun(slo: SLO, labels: Mapping[str, str], parts: Iterable[str], past: Past) -> Mapping[str, float]:
    """From when on each member is a part: of a group, what began after the group itself only since then."""
    own = past.born(slo.name, labels) if labels else None
    born = {name: past.born(name, labels) if own is not None else None for name in parts}
    return {name: -inf if at is None or own is None or at <= own else at for name, at in born.items()}


def _asked(  # noqa: PLR0917 - as course
    slo: SLO, labels: Mapping[str, str], ends: Sequence[int], lengths: list[int], past: Past, clock: Clock
) -> Mapping[int, Sequence[WindowCounts]] | None:
    """Windows of one SLO; of one that counts slices they end with the last slice that is over."""
    if slo.slices is None:
        return past.courses(slo.name, labels, ends, lengths)
    width = slo.slices.width
    return past.courses(slo.name, labels, [clock.last_end(at, width) for at in ends], lengths, width)


def _rates(counts: Sequence[WindowCounts], allowance: budget.Ratio) -> list[float | None]:
    return [budget.burn_rate(budget.exact(one), allowance) for one in counts]


def _step(counts: WindowCounts, *, counted: bool) -> dict[str, float | None]:
    sums = budget.exact(counts)
    return {
        "total": budget.sample_count(sums) if counted else None,
        "failures": budget.failures(sums) if counted else None,
        "success_ratio": budget.success_ratio(sums),
        "coverage": budget.coverage(sums),
    }
