"""Comparison: what the server has of a block of ticks now, beside what was remembered of its raw samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.evidence import is_count
from slo_budget_tracker.lines import Lines
from slo_budget_tracker.scan import USUAL_SPACING
from slo_budget_tracker.sorting import sorting_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series
    from slo_budget_tracker.feeds import RawFeed
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reading import Ask, Unit
    from slo_budget_tracker.sorting import Sorting
    from slo_budget_tracker.trails import Block, Trail

A_SCRAPE = (
    0.95  # of the usual spacing: a sample newer by so much was not there; less is another replica's phase
)

RARE = 1.2  # ticks from one sample of a series to the next, on average


@dataclass(slots=True)
class Counted:
    """A way to ask that adds up the samples it was answered, and asks nothing twice."""

    ask: Ask
    samples: int = 0
    _answers: dict[Query | RangeQuery, Answer] = field(default_factory=dict)

    def __call__(self, query: Query | RangeQuery) -> Answer:
        """Ask."""
        if query not in self._answers:
            answer = self._answers[query] = self.ask(query)
            self.samples += sum(len(one.times) for one in answer.series)
        return self._answers[query]


@dataclass(slots=True)
class Comparison:
    """What the server has now of a raw unit's block, beside what was remembered of it."""

    unit: Unit
    trail: Trail
    block: Block
    ask: Ask
    interval: int
    gone: int = 0  # feeds that have fewer samples than they had
    size: int = 0  # samples that the last tick has now, in all feeds

    def is_late(self) -> bool | None:
        """Whether something came late; None where the answer is partial, or has less than there was."""
        found = [self._feed_is_late(feed) for feed in self.unit.feeds]
        if None in found or self.gone:
            return None
        before = self.trail.sizes.get(self.block.end)
        more = before is not None and self.size > before.read
        if more or any(found):
            return True
        filled = self._block_is_filled() if self._is_rare() else self._thin_is_filled()
        return filled or (None if filled is None else self.is_filled())

    def _had(self) -> list[int]:
        """How many samples each tick of the block had, as far as somebody took note."""
        return [size.read for at, size in self.trail.sizes.items() if self.block.cuts([at])]

    def _is_rare(self) -> bool:
        """Whether scrapes are rarer than ticks: what a tick lacks cannot be seen beside the tick before."""
        start, had = self.block.start * 1000, self._had()
        memories = [self.trail.borders[self.block.end][feed.key] for feed in self.unit.feeds]
        series = sum(sum(time > start for time in memory.times) for memory in memories)
        return sum(had) * RARE <= series * len(had)

    def _block_is_filled(self) -> bool | None:
        """Whether the ticks of a block have more samples than they had; None where the answer is partial."""
        had, seconds = self._had(), self.block.end - self.block.start
        if len(had) * self.interval < seconds:
            return False
        now = self._size(self.block.end, seconds)
        return None if now is None else now > sum(had)

    def _thin_is_filled(self) -> bool:
        """Whether a tick that had few samples has more now."""
        trail = self.trail
        single = any(feed.gauge for feed in self.unit.feeds)
        thin = trail.thin(self.block, self.interval, single=single)
        if not thin:
            return False
        if trail.thin_skip:
            trail.thin_skip -= 1
            return False
        filled = any((self._size(at, self.interval) or 0) > trail.sizes[at].read for at in thin)
        trail.pause_thin(vain=not filled)
        return filled

    def _size(self, end: int, seconds: int) -> int | None:
        """How many samples so many seconds have now, in all feeds; None where an answer is partial."""
        found = 0
        for feed in self.unit.feeds:
            memory = self.trail.borders[self.block.end][feed.key]
            for query in feed.queries(seconds, end):
                answer = self.ask(query)
                if answer.partial:
                    return None
                lines = Lines.of(feed, sorting_of(feed), answer.series, (end - seconds) * 1000)
                found += _size(lines, memory)
        return found

    def _feed_is_late(self, feed: RawFeed) -> bool | None:
        end = self.block.end
        answers = [self.ask(query) for query in feed.queries(self.interval, end)]
        if any(answer.partial for answer in answers):
            return None
        series = [one for answer in answers for one in answer.series]
        memory = self.trail.borders[end][feed.key]
        sorting = sorting_of(feed)
        lines = Lines.of(feed, sorting, series, (end - self.interval) * 1000)
        newer, gone = _compare(sorting, memory, lines, end - self.interval, end)
        self.gone += gone
        self.size += _size(lines, memory)
        return newer or self.block.cuts(self.trail.partial)

    def is_filled(self) -> bool | None:
        """Whether ticks without data have some now, by the selectors of the SLOs that had none.

        None where the answer is partial, and has none for them.
        """
        holes = self.trail.missing(self.block)
        names = frozenset[str]().union(*holes.values())
        found = [self._fills(feed, holes, names) for feed in self.unit.feeds] if holes else []
        return True if True in found else None if None in found else False

    def _fills(
        self, feed: RawFeed, holes: Mapping[int, frozenset[str]], names: frozenset[str]
    ) -> bool | None:
        first, last = min(holes) - self.interval, max(holes)
        wanted = [selector for slot, selector in feed.members if slot.slo in names and slot.role != "bad"]
        partial = False
        for query in feed.queries(last - first, last, wanted) if wanted else ():
            answer = self.ask(query)
            if any(self._is_in(feed, series, holes) for series in answer.series):
                return True
            partial = partial or answer.partial
        return None if partial else False

    def _is_in(self, feed: RawFeed, series: Series, holes: Mapping[int, frozenset[str]]) -> bool:
        names = {slot.slo for slot in feed.classify(series.labels)}
        return any(
            names & missing and any((at - self.interval) * 1000 < time <= at * 1000 for time in series.times)
            for at, missing in holes.items()
        )


def lacks(feed: RawFeed, memory: Memory, known: Memory, start: int) -> bool:
    """Whether what is remembered after counting again lacks samples after `start` that are `known`.

    Of histograms only targets are compared: there a series gives way to another form of it.
    """
    now, before = (_newest(one, by_target=feed.histogram is not None) for one in (memory, known))
    spacings = [job.spacing or USUAL_SPACING for job in known.jobs.values()] if feed.replica_label else []
    phase = A_SCRAPE * max(spacings, default=0)  # of another replica
    return any(time > start * 1000 and time - now.get(key, 0) > phase for key, time in before.items())


def _newest(memory: Memory, *, by_target: bool) -> dict[int, int]:
    """The instant of the newest sample of each series, or target."""
    newest: dict[int, int] = {}
    for key, time in zip(memory.roll.targets if by_target else memory.roll.keys, memory.times, strict=True):
        newest[key] = max(newest.get(key, 0), time)
    return newest


def _read(lines: Lines, memory: Memory) -> list[int]:
    """The lines that are read: of each series the replica that was, where there are several."""
    if lines.replicas is None:
        return list(range(len(lines.places)))
    active = [memory.replicas.get(place.key) for place in lines.places]
    return [at for at, one in enumerate(active) if one in {None, lines.replicas[at]}]


def _size(lines: Lines, memory: Memory) -> int:
    """How many samples of a tick are read."""
    return sum(len(lines.times[at]) - lines.done[at] for at in _read(lines, memory))


def _compare(sorting: Sorting, memory: Memory, lines: Lines, start: int, end: int) -> tuple[bool, bool]:
    """Whether samples of (start, end] are newer than those remembered at `end`; whether some are gone."""
    newest: dict[int, tuple[int, float]] = {}  # by key: the newest sample and what a missing one amounts to
    for at in _read(lines, memory):
        key, _, lane = lines.places[at]
        kept = [
            time
            for time, value in zip(lines.times[at], lines.values[at], strict=True)
            if start * 1000 < time <= end * 1000 and is_count(value)
        ]
        if not kept:
            continue
        job = memory.jobs.get(sorting.lanes[lane].job)
        spacing = USUAL_SPACING if job is None or job.spacing is None else job.spacing
        newest[key] = max(newest.get(key, (0, 0.0)), (kept[-1], A_SCRAPE * spacing))
    times = dict(zip(memory.roll.keys, memory.times, strict=True))
    newer = any(key not in times or time - times[key] >= scrape for key, (time, scrape) in newest.items())
    known = {key: time for key, time in times.items() if time > start * 1000}
    gone = any(key not in newest or time - newest[key][0] >= newest[key][1] for key, time in known.items())
    return newer, gone
