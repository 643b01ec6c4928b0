"""Samples to exact counts: every stored sample is read once, and of each series one sample is remembered.

`count` is a generator without I/O: it yields the few queries that odd targets need (a series that was not
remembered, a fall, a long gap), is sent their answers and returns what the ticks brought. Several ticks
in one call are cut apart and counted one by one, so catching up is the same as having been there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from slo_budget_tracker.lines import Lines
from slo_budget_tracker.memory import KEPT_MS, NOTHING_SPECIAL, Memory
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.scan import Scan
from slo_budget_tracker.sizes import Size
from slo_budget_tracker.sorting import NO_TARGET, Sorting, sorting_of, trim
from slo_budget_tracker.strays import Strays

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Mapping, Sequence

    from slo_budget_tracker.answers import Answer, Query, Series
    from slo_budget_tracker.feeds import RawFeed, Slot
    from slo_budget_tracker.ticks import Tick

__all__ = ["Memory", "Tally", "count"]

SEED_SECONDS = 300  # of raw samples give a fresh memory its first baseline
_PURGE_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class Tally:
    """What some ticks of a feed brought.

    `counts` and `present` are by tick end; a slot is present when its youngest sample is recent, even if
    nothing was counted. `doubts` counts decisions that could not be exact, by a word from `resets.DOUBTS`.
    `kept` are the memories at the ends of ticks that the caller wanted to keep.
    """

    counts: Mapping[int, Mapping[Slot, float]]
    present: Mapping[int, frozenset[Slot]]
    memory: Memory
    samples: int
    doubts: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[int, Memory] = field(default_factory=dict)
    sizes: Mapping[int, Size] = field(default_factory=dict)  # by tick


def count(
    feed: RawFeed,
    series: Sequence[Series],
    memory: Memory,
    ticks: Sequence[Tick],
    *,
    keep: Container[int] = (),
) -> Generator[tuple[Query, ...], tuple[Answer, ...], Tally]:
    """Count the samples of contiguous ticks; `series` hold the raw samples of all of them."""
    sorting = sorting_of(feed)
    doubts: Counter[str] = Counter()
    start = ticks[0].start * 1000
    scope = scope_of(feed)
    if memory.until is None or memory.scope != scope or start - memory.until > KEPT_MS:
        memory = yield from _seeded(feed, sorting, memory, ticks[0].start, scope)
    lines = Lines.of(feed, sorting, series, start, ends=[tick.end * 1000 for tick in ticks])
    counts: dict[int, Mapping[Slot, float]] = {}
    present: dict[int, frozenset[Slot]] = {}
    kept: dict[int, Memory] = {}
    sizes: dict[int, Size] = {}
    for tick in ticks:
        scan = Scan(memory, lines, sorting, tick.start * 1000, tick.end * 1000)
        scan.run()
        if scan.slow or scan.new:
            yield from Strays(feed, scan, SEED_SECONDS * 1000, doubts).settle()
        there = scan.present()
        memory = scan.remember(there)
        whole = lines.replicas is None  # else a line that is not read is left behind
        read = sum(scan.highs) - sum(lines.done) if whole else scan.size(scan.read)
        sizes[tick.end] = Size(read, *scan.come()) if scan.new or scan.slow else Size(read)
        lines.done = scan.highs
        counts[tick.end] = scan.counts()
        present[tick.end] = frozenset(there)
        if tick.end // _PURGE_SECONDS != tick.start // _PURGE_SECONDS:
            memory = memory.purged()
        if tick.end in keep:
            kept[tick.end] = memory
    trim(feed, series)
    stored = feed.stored(series)
    read = sum(len(one.times) for one in stored)
    return Tally(
        counts,
        present,
        memory,
        samples=read,
        doubts=doubts,
        kept=kept,
        sizes=sizes,
    )


@by_identity
def scope_of(feed: RawFeed) -> str:
    """What a feed selects, as a hash: when that changes, unknown series are no new ones."""
    selected = sorted({str(selector) for _, selector in feed.members})
    how = "" if feed.histogram is None else f"\n{feed.histogram.base}"
    text = "\n".join((*selected, f"{feed.replica_label or ''}{how}"))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _counted_elsewhere(memory: Memory, lines: Lines) -> set[int]:
    """The keys of series that are selected again: what they grew by meanwhile was not to be counted here.

    Whatever is selected is read up to `until`. Where a sample before that is newer than the remembered one,
    and this is older than the last selection (`since`), others counted the series meanwhile, or nobody did.
    Of a target that died since then nobody can tell: when it is back, its last sample is asked for, which
    cannot be done for series without a target.
    """
    if memory.until is None or memory.since is None:
        return set()
    seen: dict[int, int] = {}  # by key: the newest sample that was read
    for (key, _, _), times in zip(lines.places, lines.times, strict=True):
        if known := bisect_right(times, memory.until):
            seen[key] = max(times[known - 1], seen.get(key, 0))
    rows = zip(memory.roll.keys, memory.roll.targets, memory.times, strict=True)
    return {
        key
        for key, target, time in rows
        if time <= memory.since and (seen[key] > time if key in seen else target != NO_TARGET)
    }


def _seeded(
    feed: RawFeed, sorting: Sorting, memory: Memory, at: int, scope: str
) -> Generator[tuple[Query, ...], tuple[Answer, ...], Memory]:
    """A memory for a feed that was never read, or selects more series now: all that lives then is a baseline.

    Nothing moves of what was remembered before: its growth is still to be counted.
    """
    answers = yield feed.queries(SEED_SECONDS, at)
    begin = (at - SEED_SECONDS) * 1000
    if memory.until is None or at * 1000 - memory.until > KEPT_MS:
        memory = Memory.empty()
    lines = Lines.of(feed, sorting, [one for answer in answers for one in answer.series], begin)
    memory = memory.without(_counted_elsewhere(memory, lines))
    scan = Scan(memory, lines, sorting, begin, at * 1000)
    scan.run()
    for line in sorted(scan.new, key=lambda one: lines.times[one][-1]):
        samples = [one for one in scan.samples(line) if 0 <= one[1] < float("inf")]
        if samples and not scan.is_added(line):
            time, value = samples[-1]
            scan.add(line, gain=0.0, time=time, value=value, special=NOTHING_SPECIAL)
            if feed.histogram is not None:  # of counts at a bound in several resolutions the newest are kept
                scan.drop(sorting.relatives(lines.labels[line]) - {lines.places[line].key})
    seeded = scan.remember(scan.present())
    kept = len(memory)
    return replace(
        seeded,
        scope=scope,
        since=at * 1000,
        times=[*memory.times, *seeded.times[kept:]],
        values=[*memory.values, *seeded.values[kept:]],
        jobs={**seeded.jobs, **memory.jobs},
        special=memory.special,
        present=memory.present,
    )
