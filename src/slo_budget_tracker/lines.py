"""Lines: the series of a read side by side, one line for each, whatever forms of a histogram were read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.sorting import spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.answers import Series
    from slo_budget_tracker.feeds import Histogram, RawFeed
    from slo_budget_tracker.sorting import Sorted, Sorting


@dataclass(slots=True)
class Lines:
    """The selected series of a read, side by side: places, times, values, and how far they were counted."""

    places: list[Sorted] = field(default_factory=list)
    times: list[list[int]] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)
    labels: list[Mapping[str, str]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    replicas: list[str] | None = None
    twice: frozenset[int] = frozenset()  # keys of series that have several lines, one after the other

    @classmethod
    def of(
        cls,
        feed: RawFeed,
        sorting: Sorting,
        series: Iterable[Series],
        start: int,
        *,
        ends: Sequence[int] = (),
    ) -> Lines:
        """The series that an SLO selects; samples up to `start` (ms) are not looked at.

        `ends` are those of the ticks that were read, where there are several.
        """
        lines = cls(replicas=None if feed.replica_label is None else [])
        memo = sorting.memo
        add_place, add_times, add_values = lines.places.append, lines.times.append, lines.values.append
        add_labels, add_done = lines.labels.append, lines.done.append
        for labels, times, values in series:
            spelled = spelling(labels)
            try:
                place = memo[spelled]
            except KeyError:
                place = memo[spelled] = sorting.sort(feed, dict(labels))
            if place is None or not times:
                continue
            add_place(place)
            add_times(times)
            add_values(values)
            add_labels(labels)
            add_done(0 if times[0] > start else bisect_right(times, start))
            if lines.replicas is not None:
                lines.replicas.append(labels.get(feed.replica_label or "", ""))
        return lines if feed.histogram is None else lines._united(feed.histogram, sorting, start, ends)

    def _begin(self, place: Sorted, labels: Mapping[str, str], replica: str) -> None:
        """A new line at the end, without samples."""
        self.places.append(place)
        self.labels.append(labels)
        self.times.append([])
        self.values.append([])
        if self.replicas is not None:
            self.replicas.append(replica)

    def _united(self, histogram: Histogram, sorting: Sorting, start: int, ends: Sequence[int]) -> Lines:
        """The lines of histograms with one line for each series, whatever forms of it were read.

        While the classic form of a bucket is there, the native one is left aside: tick by tick, so that it
        does not matter how many are read at once. A bound may be spelled in two ways, one after the other.
        """
        together: dict[tuple[int, str], list[int]] = {}
        for at, place in enumerate(self.places):
            replica = "" if self.replicas is None else self.replicas[at]
            together.setdefault((sorting.part(place.key, self.labels[at]).bound, replica), []).append(at)
        if len(together) == len(self.places):
            return self
        united = Lines(replicas=None if self.replicas is None else [])
        for (_, replica), some in together.items():
            natives = {at for at in some if histogram.is_native(self.labels[at])}
            classic: dict[int, list[int]] = {}  # first and last sample, by tick
            for time in sorted(time for at in some if at not in natives for time in self.times[at]):
                classic.setdefault(bisect_left(ends, time), [time, time])[1] = time
            points = {
                time: (value, at)
                for at in some
                for time, value in zip(self.times[at], self.values[at], strict=True)
                if at not in natives or not _is_within(time, classic.get(bisect_left(ends, time)))
            }
            run: Sorted | None = None
            for time, (value, at) in sorted(points.items()):
                if self.places[at] != run:
                    run = self.places[at]
                    united._begin(run, self.labels[at], replica)
                united.times[-1].append(time)
                united.values[-1].append(value)
        united.done = [bisect_right(times, start) for times in united.times]
        replicas = united.replicas or [""] * len(united.places)
        lines = Counter(zip((place.key for place in united.places), replicas, strict=True))
        united.twice = frozenset(key for (key, _), times in lines.items() if times > 1)
        return united


def _is_within(time: int, span: Sequence[int] | None) -> bool:
    return span is not None and span[0] <= time <= span[-1]
