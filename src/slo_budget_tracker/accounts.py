"""Accounts: what an SLO counted in a period, in the one before, and in the period's days and hours.

All borders lie on the tick grid, or at the ends of slices, as those of the daemon's windows do: a part is a
sum of whole ticks or slices, and what was counted of a slice that is not over is in none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.composites import composed
from slo_budget_tracker.periods import DAY
from slo_budget_tracker.ticks import Tick, WindowCounts
from slo_budget_tracker.windows import absent_since, judged, taken_out, with_missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.history import History
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.periods import Period
    from slo_budget_tracker.slices import Clock
    from slo_budget_tracker.specs import SLO, CompositeSli

HOUR = 3_600


class Book(NamedTuple):
    """Where accounts of a period come from; the clock says where ticks and slices end."""

    history: History
    period: Period
    clock: Clock

    @property
    def days(self) -> list[int]:
        """The borders of days (UTC); the first and the last one may be shorter."""
        return self._borders(DAY)

    @property
    def hours(self) -> list[int]:
        """The borders of hours, in the same way."""
        return self._borders(HOUR)

    def _borders(self, step: int) -> list[int]:
        start, end = self.period.start, self.period.end
        return [start, *range(start // step * step + step, end, step), end]


class Account(NamedTuple):
    """Counts of the period, of the one before it, of its days and of its hours.

    `closely` says which hours are still kept by the hour: what is older is kept by the day.
    """

    whole: WindowCounts
    before: WindowCounts
    days: Sequence[WindowCounts]
    hours: Sequence[WindowCounts]
    closely: Sequence[bool]


def account(book: Book, slo: SLO, instance: Instance | None, *, without: Sequence[Tick] = ()) -> Account:
    """What an SLO with events of its own counted, without some time; of no instance nothing is known."""
    clock, period = book.clock, book.period
    width = clock.interval if slo.slices is None else slo.slices.width
    number = -1 if instance is None else instance.id
    born = period.end if instance is None else instance.born
    source = judged(book.history, slo, number, clock.interval)
    starts, ends = [span.start for span in without], [span.end for span in without]

    def parts(borders: Sequence[int], whole: WindowCounts | None = None) -> list[WindowCounts]:
        edges = [clock.last_end(at, width) for at in borders]
        plain = source.parts(number, edges)
        if not without and slo.no_data != "bad":
            return plain
        found = []
        for span, counts in zip(pairwise(edges), plain, strict=True):
            gone = without[bisect_right(ends, span[0]) : bisect_left(starts, span[1])]
            one = taken_out(source, counts, Tick(*span), number, gone)
            if slo.no_data == "bad" and one.absent:
                watched = absent_since(source, number, max(born, span[0]), span[1], without=gone)
                one = with_missing(one, whole or one, watched)
            found.append(one)
        return found

    closely = book.history.closely([clock.last_end(at, width) for at in book.hours], near=clock.interval)
    (whole,) = parts([period.start, period.end])
    (before,) = parts([period.before.start, period.start])
    return Account(whole, before, parts(book.days, whole), parts(book.hours, whole), closely)


def combined(sli: CompositeSli, slos: Mapping[str, SLO], accounts: Mapping[str, Account]) -> Account:
    """A composite's account from those of its members, by name; without any nothing is known."""
    parts = {name: (one.whole, one.before, *one.days, *one.hours) for name, one in accounts.items()}
    found = composed(sli, slos, {name: dict(enumerate(some)) for name, some in parts.items()})
    whole, before, *rest = (found[place] for place in sorted(found))
    days = len(next(iter(accounts.values())).days)
    closely = [all(some) for some in zip(*(one.closely for one in accounts.values()), strict=True)]
    return Account(whole, before, rest[:days], rest[days:], closely)
