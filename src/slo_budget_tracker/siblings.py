"""The series of one histogram belong together: they begin again together, and change their resolution.

The count of all observations leads. Where it began again, so did the counts at the bounds, even those that
show no fall; where its fall was none, theirs are none. Only where it has passed its old value already, a fall
of a count at a bound is what tells.

Where the counts at a bound go on under another resolution (a client merged its buckets, classic buckets gave
way to native ones), those before and after may not be comparable: their difference counts where it is within
the growth of all; else that is divided as the newer sample is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import floor
from typing import TYPE_CHECKING

from slo_budget_tracker.histograms import LE, Bound
from slo_budget_tracker.memory import NOTHING_SPECIAL
from slo_budget_tracker.resets import Walk

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Sequence

    from slo_budget_tracker.feeds import RawFeed
    from slo_budget_tracker.scan import Scan

    Samples = Sequence[tuple[int, float]]


@dataclass(slots=True)
class Siblings:
    """Lines of one tick's scan by the histogram that they are of; of other feeds it knows nothing.

    It is asked in this order: `prepare`; then line by line, the counts of all first (`in_order`), as what was
    noted of them leads those at bounds: `is_change` of a line that is not remembered, else `tell` and `lead`
    before its walk and `note` after it; at last `settle`, which needs all that was noted.
    """

    feed: RawFeed
    scan: Scan
    doubts: Counter[str]
    _by_whole: dict[int, list[int]] = field(default_factory=dict)
    _begun: dict[int, list[int]] = field(default_factory=dict)  # by the key of all: instants (ms)
    _guarded: dict[int, list[int]] = field(default_factory=dict)  # by the key of all: instants (ms)
    _held_counts: dict[int, bool | None] = field(default_factory=dict)  # by the key of all
    _changed: dict[int, set[int]] = field(default_factory=dict)  # by the key of all: the bounds
    _known: dict[int, tuple[int, float]] = field(default_factory=dict)  # by the key of all: from evidence

    def prepare(self) -> Siblings:
        """Find out which lines belong together."""
        if self.feed.histogram is not None:
            for at in self.scan.read:
                self._by_whole.setdefault(self._whole(at), []).append(at)
        return self

    def with_slow(self, slow: Iterable[int]) -> list[int]:
        """Lines and all remembered ones of the same histograms, the counts of all first."""
        found = dict.fromkeys(slow)
        for at in list(found) if self._by_whole else ():
            found |= dict.fromkeys(
                one for one in self._by_whole[self._whole(at)] if self.scan.remembered(one) is not None
            )
        return self.in_order(found)

    def in_order(self, lines: Iterable[int]) -> list[int]:
        """Lines with the counts of all first: they say when a histogram began again."""
        return sorted(lines, key=self._is_part) if self._by_whole else list(lines)

    def lead(self, at: int, walk: Walk) -> Walk:
        """Tell the walk of a count at a bound what that of all observations found."""
        if self._by_whole and self._is_part(at):
            walk.also = self._begun.get(self._whole(at), ())
            walk.spared = self._guarded.get(self._whole(at), ())
            walk.led = self._held_counts.get(self._whole(at))
        return walk

    def tell(self, at: int, walk: Walk, begin: Callable[[int], Walk]) -> None:
        """Tell the walk of a count of all where it began again although it shows no fall: a part fell there.

        `begin` gives the walk that a line would go.
        """
        if not self._by_whole or self._is_part(at) or walk.special.marked:
            return
        way = [(walk.time, walk.value), *self.scan.samples(at)]
        risen = {now[0] for before, now in pairwise(way) if now[1] >= before[1]}
        walk.also = risen.intersection(
            time
            for one in self._by_whole[self._whole(at)]
            if self._is_part(one) and self.scan.remembered(one) is not None
            for time in begin(one).through(self.scan.samples(one)).begun
        )

    def note(self, at: int, walk: Walk) -> None:
        """Take note of what the walk of a count of all found."""
        if self._by_whole and not self._is_part(at):
            self._begun.setdefault(self._whole(at), []).extend(walk.begun)
            self._guarded.setdefault(self._whole(at), []).extend(walk.guarded)
            self._held_counts[self._whole(at)] = walk.held_counts

    def whole(self, at: int) -> int | None:
        """The key of all observations of the histogram that a line is of."""
        return self._whole(at) if self._by_whole else None

    def is_change(self, at: int, samples: Samples) -> bool:
        """Whether a series is not new: its histogram was there before, with other bounds or resolution."""
        if not self._by_whole or not self._is_part(at) or self._before(at, samples[0][0]) is None:
            return False
        self._changed.setdefault(self._whole(at), set()).add(self._bound(at))
        return True

    def go_on_from(self, at: int, before: tuple[int, float]) -> None:
        """The same for one whose histogram was there before all that is remembered."""
        self._known[self._whole(at)] = before
        self._changed.setdefault(self._whole(at), set()).add(self._bound(at))

    def settle(self) -> None:
        """Decide about all that changed, once it is known what began again."""
        for whole, bounds in self._changed.items():
            for bound in bounds:
                lines = [at for at in self._by_whole[whole] if self._is_part(at) and self._bound(at) == bound]
                lines.sort(key=lambda at: self.scan.samples(at)[0][0])
                for number, at in enumerate(lines):
                    before = self._before(at, self.scan.samples(at)[0][0])
                    if before is not None and (number or self.scan.remembered(at) is None):
                        self._go_on(at, before)

    def _go_on(self, at: int, before: tuple[int, float]) -> None:
        """Count a line that goes on where one of another resolution ended; `before` is a sample of all."""
        scan = self.scan
        samples = scan.samples(at)
        time, value = samples[0]
        now = max(self._wholes(at, until=time), default=before)
        walk = self.lead(at, Walk(time, value, scrape=scan.spacing(scan.job_of(at))))
        if any(before[0] < one <= time for one in self._begun.get(self._whole(at), ())):
            gain = value
        else:
            growth = max(now[1] - before[1], 0.0)
            old = self._part_before(at, before[0])
            if old is not None and 0 <= value - old <= growth:
                gain = value - old
            else:
                gain = _part(growth, value, now[1])
            is_border = not Bound.of(scan.lines.labels[at][LE]).resolution
            if not (
                is_border and old in (0, before[1])
            ):  # its bucket was empty then: none or all were under it
                self.doubts["resolution"] += before[1] > 0
        walk.through(samples)
        scan.drop(scan.sorting.relatives(scan.lines.labels[at]) - {scan.lines.places[at].key})
        put = scan.add if scan.remembered(at) is None else scan.settle
        put(at, gain=gain + walk.gain, time=walk.time, value=walk.value, special=NOTHING_SPECIAL)

    def _part_before(self, at: int, time: int) -> float | None:
        """What the same bound had, under another resolution, in the scrape at an instant (ms)."""
        memory, scan = self.scan.memory, self.scan
        keys = scan.sorting.relatives(scan.lines.labels[at]) - {scan.lines.places[at].key}
        rows = [memory.roll.index[key] for key in keys if key in memory.roll.index]
        found = [memory.values[row] for row in rows if memory.times[row] == time]
        found += [
            value
            for one in self._by_whole[self._whole(at)]
            if one != at and self._is_part(one) and self._bound(one) == self._bound(at)
            for stamp, value in scan.samples(one)
            if stamp == time
        ]
        return found[0] if len(found) == 1 else None

    def _before(self, at: int, time: int) -> tuple[int, float] | None:
        """The last sample of all observations before an instant (ms)."""
        memory, whole = self.scan.memory, self._whole(at)
        row = memory.roll.index.get(whole)
        found = [] if row is None else [(memory.times[row], memory.values[row])]
        found += [self._known[whole]] if whole in self._known else []
        found += self._wholes(at, until=time - 1)
        return max(found, default=None)

    def _wholes(self, at: int, *, until: int) -> list[tuple[int, float]]:
        """The samples of all observations in this tick, up to an instant (ms)."""
        whole = self._whole(at)
        return [
            sample
            for one in self._by_whole[whole]
            if not self._is_part(one)
            for sample in self.scan.samples(one)
            if sample[0] <= until
        ]

    def _whole(self, at: int) -> int:
        lines = self.scan.lines
        return self.scan.sorting.part(lines.places[at].key, lines.labels[at]).whole

    def _bound(self, at: int) -> int:
        lines = self.scan.lines
        return self.scan.sorting.part(lines.places[at].key, lines.labels[at]).bound

    def _is_part(self, at: int) -> bool:
        return self._whole(at) != self.scan.lines.places[at].key


def _part(growth: float, value: float, whole: float) -> float:
    """The share of a growth that a sample has at or under its bound, in whole observations."""
    share = growth * value / whole if whole else 0.0
    return float(floor(share + 0.5)) if growth.is_integer() else share
