"""Windows: what is known over each span that a verdict at an instant needs, from the ledger's history.

Rolling windows end at the instant. A calendar window begins with the last tick before the period's border,
so that it is a sum of whole ticks; what is to be expected in the rest of the period goes with the traffic
of the one before. Where an SLO counts missing data as bad, seconds without any series become bad events at
mean traffic.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.budget import exhaustion_window
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.slices import last_end
from slo_budget_tracker.ticks import TO_DATE, Tick, WindowCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.calendars import Calendar
    from slo_budget_tracker.history import History
    from slo_budget_tracker.specs import SLO

    Windows = Mapping[int, Mapping[int, WindowCounts]]

FEW = 4  # of so many instances, those of one are looked up by themselves


class Judged(NamedTuple):
    """The history of an SLO that counts slices, up to the last slice that is over: `until`.

    What was counted of a slice before an outage is no slice, and stays out of windows that end after it.
    """

    history: History
    until: int

    def window(
        self, at: int, windows: Sequence[int], *, ids: Sequence[int]
    ) -> dict[int, dict[int, WindowCounts]]:
        """As of History: what is known of each window that ends at `at`."""
        late = max(at - self.until, 0)
        parts = sorted({window - late for window in windows if window > late})
        found = self.history.window(at - late, parts, ids=ids)
        nothing = WindowCounts(0, 0.0, 0.0, 0.0)
        return {
            one: {length: known.get(length - late, nothing)._replace(window=length) for length in windows}
            for one in ids
            for known in (found.get(one, {}),)
        }

    def parts(self, instance: int, edges: Sequence[int]) -> list[WindowCounts]:
        """As of History: what is known from each edge to the next."""
        found = self.history.parts(instance, [min(edge, self.until) for edge in edges])
        lengths = [max(b - a, 1) for a, b in pairwise(edges)]
        return [one._replace(window=length) for one, length in zip(found, lengths, strict=True)]


def gather(
    history: History,
    at: int,
    instances: Iterable[tuple[SLO, int]],
    *,
    interval: int,
    born: Callable[[int], int],
    without: Sequence[Tick] = (),
) -> Windows:
    """By instance and window length: the counts of every window of its SLO that ends at `at`.

    Time `without` is taken out of the windows, which are shorter by it.
    """
    wanted = list(instances)
    lengths = sorted(set[int]().union(*{_lengths(slo) for slo, _ in wanted}))
    few = len(wanted) < len(history.ids) // FEW
    found = history.window(at, lengths, ids=[instance for _, instance in wanted] if few else None)
    for slo, instance in wanted:
        end = at if slo.slices is None else last_end(at, slo.slices.width, interval=interval)
        source = judged(history, slo, instance, interval)
        if end != at or source is not history:
            found |= source.window(end, _lengths(slo), ids=[instance])
        if without:
            given = found.get(instance, {})
            found[instance] = {
                length: taken_out(source, counts, Tick(end - length, end), instance, without)
                for length, counts in given.items()
            }
        if slo.calendar is not None:
            counts = to_date(source, slo.calendar, end, instance, interval=interval)
            if without:
                span = Tick(end - counts.window, end)
                counts = taken_out(source, counts, span, instance, without)
            found[instance] = {**found.get(instance, {}), TO_DATE: counts}
        if slo.no_data == "bad" and instance in found:
            found[instance] = _missing_is_bad(
                source, slo, end, instance, found[instance], born=born(instance), without=without
            )
    return found


@by_identity
def _lengths(slo: SLO) -> tuple[int, ...]:
    """The lengths of all windows that verdicts of an SLO look at."""
    return (*slo.windows, exhaustion_window(slo.window))


def to_date(
    history: History | Judged, calendar: Calendar, at: int, instance: int, *, interval: int
) -> WindowCounts:
    """The counts of the calendar period that `at` belongs to, so far."""
    period = on_grid(calendar.period(at), at, interval)
    so_far = _counts(history, instance, Tick(period.start, at))
    last = on_grid(calendar.period(period.start), at, interval)
    before = _counts(history, instance, Tick(last.start, period.start))
    usual = before if before.known else so_far
    rate = usual.total / usual.known if usual.known else 0.0
    return so_far._replace(ahead=rate * max(period.end - at, 0))


def taken_out(
    history: History | Judged, counts: WindowCounts, window: Tick, instance: int, without: Sequence[Tick]
) -> WindowCounts:
    """The counts of a window without some of its time."""
    inside = [Tick(max(s.start, window.start), min(s.end, window.end)) for s in without]
    for span in (span for span in inside if span.start < span.end):
        gone = _counts(history, instance, span)
        counts = counts._replace(
            window=max(counts.window - span.seconds, 1),
            total=counts.total - gone.total,
            bad=counts.bad - gone.bad,
            known=counts.known - gone.known,
            partial=counts.partial - gone.partial,
            absent=counts.absent - gone.absent,
        )
    return counts


def on_grid(period: Tick, at: int, interval: int) -> Tick:
    """The period in whole ticks: a tick with the border in it belongs to the period that begins there."""
    return Tick(*(border - (border - at) % interval for border in period))


def judged(history: History, slo: SLO, instance: int, interval: int) -> History | Judged:
    """Where the counts of an SLO are looked up: of slices without those of one that is not over."""
    span = None if slo.slices is None else history.span(instance)
    if slo.slices is None or span is None:
        return history
    until = last_end(span.end, slo.slices.width, interval=interval)
    return history if until == span.end else Judged(history, until)


def _counts(history: History | Judged, instance: int, span: Tick) -> WindowCounts:
    if not span.seconds:
        return WindowCounts(1, 0, 0, 0)
    known = history.window(span.end, [span.seconds], ids=[instance])
    return known[instance][span.seconds]


def _missing_is_bad(
    source: History | Judged,
    slo: SLO,
    at: int,
    instance: int,
    found: Mapping[int, WindowCounts],
    *,
    born: int,
    without: Sequence[Tick],
) -> dict[int, WindowCounts]:
    """The windows with absent seconds as bad events, at the mean traffic of the SLO window.

    What was absent before the daemon watched does not count: the service may not have existed.
    """
    whole = found[slo.window if slo.calendar is None else TO_DATE]
    watched = absent_since(source, instance, born, at, without=without)
    return {length: with_missing(counts, whole, watched) for length, counts in found.items()}


def absent_since(
    source: History | Judged, instance: int, born: int, at: int, *, without: Sequence[Tick] = ()
) -> float:
    """The seconds without any series that were watched and are not taken out, up to an instant."""
    since = Tick(min(born, at), at)
    return taken_out(source, _counts(source, instance, since), since, instance, without).absent


def with_missing(counts: WindowCounts, whole: WindowCounts, watched: float) -> WindowCounts:
    """The counts with absent seconds, of those watched, as bad events at the mean traffic of the whole."""
    rate = whole.total / whole.known if whole.total else 1.0
    absent = min(counts.absent, watched)
    missing = rate * absent
    return counts._replace(
        total=counts.total + missing,
        bad=counts.bad + missing,
        known=counts.known + absent,
        absent=counts.absent - absent,
    )
