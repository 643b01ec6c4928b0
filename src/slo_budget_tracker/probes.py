"""Probes: every sample of a gauge is one event, good where it is 1; nothing is a difference, nothing scaled.

`count_samples` has the form of `counting.count`. A sample belongs to the tick with start < time <= end,
whatever the server says about the left edge of a range. Of each series the newest sample is remembered, so
that what came late is noticed, and of each job the usual spacing: probes may be rarer than ticks.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import pairwise
from math import isnan
from typing import TYPE_CHECKING

from slo_budget_tracker.counting import Tally
from slo_budget_tracker.lines import Lines
from slo_budget_tracker.memory import KEPT_MS, Job, Memory, Roll
from slo_budget_tracker.scan import USUAL_SPACING
from slo_budget_tracker.sizes import Size
from slo_budget_tracker.sorting import sorting_of, trim

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Sequence

    from slo_budget_tracker.answers import Answer, Query, Series
    from slo_budget_tracker.feeds import RawFeed, Slot
    from slo_budget_tracker.sorting import Sorting
    from slo_budget_tracker.ticks import Tick

SEED_SECONDS = 600  # two probes five minutes apart
_RECENT = 1.5  # spacings: how old the youngest sample of present data may be


def count_samples(
    feed: RawFeed,
    series: Sequence[Series],
    memory: Memory,
    ticks: Sequence[Tick],
    *,
    keep: Container[int] = (),
) -> Generator[tuple[Query, ...], tuple[Answer, ...], Tally]:
    """Count the samples of contiguous ticks; `series` hold the raw samples of all of them."""
    start = ticks[0].start * 1000
    scope, sorting = _scope(feed), sorting_of(feed)
    if memory.until is None or memory.scope != scope or start - memory.until > KEPT_MS:
        answers = yield feed.queries(SEED_SECONDS, ticks[0].start)
        before = [one for answer in answers for one in answer.series]
        probing = _Probing(feed, replace(Memory.empty(), scope=scope, since=start), sorting)
        probing.take(before, start - SEED_SECONDS * 1000, start)
        memory = probing.memory
    probing = _Probing(feed, memory, sorting)
    counts: dict[int, dict[Slot, float]] = {}
    present: dict[int, frozenset[Slot]] = {}
    kept: dict[int, Memory] = {}
    sizes: dict[int, Size] = {}
    for tick in ticks:
        taken = probing.take(series, tick.start * 1000, tick.end * 1000)
        counts[tick.end], sizes[tick.end] = taken.counts, Size(taken.size, taken.come, taken.growing)
        present[tick.end] = probing.present()
        if tick.end in keep:
            kept[tick.end] = probing.memory
    trim(feed, series)
    read = sum(len(one.times) for one in series)
    return Tally(
        counts,
        present,
        probing.memory.purged(),
        samples=read,
        kept=kept,
        sizes=sizes,
    )


def _scope(feed: RawFeed) -> str:
    selected = sorted({str(selector) for _, selector in feed.members})
    return blake2b("\n".join((*selected, feed.replica_label or "")).encode(), digest_size=8).hexdigest()


@dataclass(slots=True)
class _Taken:
    """What one tick's samples come to."""

    counts: dict[Slot, float] = field(default_factory=dict)
    newest: dict[int, tuple[int, float, int]] = field(default_factory=dict)  # by key: time, value, target
    until: dict[Slot, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    size: int = 0  # samples
    come: int = 0  # of these those of series that are new or back
    growing: int = 0  # so many more a whole tick has


@dataclass(slots=True)
class _Probing:
    """Takes the samples of one tick after the other."""

    feed: RawFeed
    memory: Memory
    sorting: Sorting
    _lines: Lines | None = None
    _of: Sequence[Series] = ()

    def take(self, series: Sequence[Series], start: int, end: int) -> _Taken:
        """What the samples in (start, end] (ms) come to; remembers what the next tick needs."""
        if self._lines is None or self._of is not series:
            self._lines, self._of = Lines.of(self.feed, self.sorting, series, 0), series
        taken = _Taken()
        for at in self._chosen(self._lines, start, end):
            self._add(taken, self._lines, at, (start, end))
        self.memory = self._remember(taken, end)
        return taken

    def present(self) -> frozenset[Slot]:
        """The slots whose youngest sample still counts as data."""
        until = self.memory.until or 0
        return frozenset(slot for slot, last in self.memory.present.items() if last > until)

    def _chosen(self, lines: Lines, start: int, end: int) -> list[int]:
        """The lines with samples; of a series that replicas bring too, the one read before or the fullest."""
        found = [at for at, times in enumerate(lines.times) if _within(times, start, end)]
        if lines.replicas is None:
            return found
        best: dict[int, int] = {}
        for at in found:
            key = lines.places[at].key
            if key not in best or self._rank(lines, at, start, end) > self._rank(
                lines, best[key], start, end
            ):
                best[key] = at
        active = {key: lines.replicas[at] for key, at in best.items()}
        self.memory = replace(self.memory, replicas={**self.memory.replicas, **active})
        return list(best.values())

    def _rank(self, lines: Lines, at: int, start: int, end: int) -> tuple[bool, int]:
        assert lines.replicas is not None
        active = self.memory.replicas.get(lines.places[at].key)
        return lines.replicas[at] == active, len(_within(lines.times[at], start, end))

    def _add(self, taken: _Taken, lines: Lines, at: int, span: tuple[int, int]) -> None:
        key, target, lane = lines.places[at]
        slots, job = self.sorting.lanes[lane]
        part = _within(lines.times[at], *span)
        samples = [
            (lines.times[at][index], lines.values[at][index])
            for index in part
            if not isnan(lines.values[at][index])
        ]
        previous = self.memory.times[row] if (row := self.memory.roll.index.get(key)) is not None else None
        length, usual = span[1] - span[0], self._spacing(job, None)
        taken.size += len(part)
        taken.growing += max(length // usual - len(part), 0)
        if previous is None or lines.times[at][part[0]] - previous > _RECENT * usual:
            taken.come += len(part)
        if not samples:
            return
        bad = sum(value != 1 for _, value in samples)
        time, value = samples[-1]
        times = [*([] if previous is None else [previous]), *(one for one, _ in samples)]
        gaps = [after - before for before, after in pairwise(times) if after > before]
        if gaps:
            taken.gaps[job] = min(taken.gaps.get(job, gaps[0]), *gaps)
        taken.last[job] = max(taken.last.get(job, 0), time)
        taken.newest[key] = (time, value, target)
        for slot in slots:
            taken.counts[slot] = taken.counts.get(slot, 0.0) + (bad if slot.role == "bad" else len(samples))
        spacing = self._spacing(job, taken.gaps.get(job))
        until = time + max(length, int(_RECENT * spacing))
        taken.until.update({slot: max(taken.until.get(slot, 0), until) for slot in slots})

    def _spacing(self, job: str, gap: int | None) -> int:
        known = self.memory.jobs.get(job)
        if known is None or known.spacing is None:
            return gap or USUAL_SPACING
        return known.spacing if gap is None else min(max(gap, known.spacing // 2), known.spacing * 2)

    def _remember(self, taken: _Taken, end: int) -> Memory:
        memory = self.memory
        known = dict(
            zip(
                memory.roll.keys,
                zip(memory.times, memory.values, memory.roll.targets, strict=True),
                strict=True,
            )
        )
        known.update(taken.newest)
        jobs = {
            job: Job(max(last, memory.jobs[job].last if job in memory.jobs else 0), self._spacing(job, gap))
            for job, last in taken.last.items()
            for gap in (taken.gaps.get(job),)
        }
        present = {**memory.present}
        for slot, until in taken.until.items():
            present[slot] = max(present.get(slot, 0), until)
        return replace(
            memory,
            until=end,
            roll=Roll(tuple(known), tuple(target for *_, target in known.values())),
            times=[time for time, *_ in known.values()],
            values=[value for _, value, _ in known.values()],
            jobs={**memory.jobs, **jobs},
            present={slot: until for slot, until in present.items() if until > end},
        )


def _within(times: Sequence[int], start: int, end: int) -> range:
    """The places of the samples in (start, end]."""
    return range(bisect_right(times, start), bisect_right(times, end))
