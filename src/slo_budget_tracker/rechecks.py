"""Rechecks: did data come late? Every few ticks the newest of them is read once more and compared.

Counting goes from remembered sample to remembered sample, so the counts of a block of ticks are one
telescoped difference, and late samples before one that was seen are in the sum anyway. What can be missing
shows at the block's end: a series whose sample there is newer than the remembered one, a series nobody
knew, or a tick without data that has data now; or, where something ended or began again in the middle of a
block, in a tick that had fewer samples than the one before. So per block of ten ticks, PATIENCE ticks after
its end:

- the last tick's raw samples are read again (a tenth more samples in all), compared with what was remembered;
- a tick that brought fewer samples than the one before it is read again, and its samples are counted;
- ticks without data are asked about again (which costs nothing while there is none);
- only on a mismatch the block is read and counted again, from what was remembered at its start.

A recount is taken over where it takes nothing away from any SLO. Otherwise the source is not what it was (its
data are lost, another replica answers): the counts stay, and that is told as a doubt, `inconsistent`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.errors import PrometheusError
from slo_budget_tracker.evidence import is_count
from slo_budget_tracker.reports import Attempt
from slo_budget_tracker.revisions import revision
from slo_budget_tracker.scan import USUAL_SPACING, Lines
from slo_budget_tracker.sorting import sorting_of
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series
    from slo_budget_tracker.attempts import Attempts
    from slo_budget_tracker.feeds import RawFeed
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reading import Ask, Unit
    from slo_budget_tracker.reports import Tally
    from slo_budget_tracker.revisions import Revision
    from slo_budget_tracker.stepping import Stepper
    from slo_budget_tracker.ticks import Counts, Tick

BORDERS = 3  # so many ends of blocks are kept in mind: what is older was read late, or was compared
PATIENCE = 5  # ticks after a block's end until it is compared: how late samples may come, at least
MOST_THIN = 3  # ticks of a block that are read again because they had few samples
PATIENT = 3  # times that this may be in vain before it is done less often
MOST_SKIPPED = 6  # blocks of doubling pauses where recounts change nothing
A_SCRAPE = (
    0.95  # of the usual spacing: a sample newer by so much was not there; less is another replica's phase
)


class Block(NamedTuple):
    """The ticks that are compared at once: (start, end] in data time."""

    start: int
    end: int

    def cuts(self, instants: Iterable[int]) -> bool:
        """Whether any of the ticks that end at these instants belongs to the block."""
        return any(self.start < at <= self.end for at in instants)


@dataclass(slots=True)
class Trail:
    """A unit's last ticks: what was remembered at the borders of blocks, and which ticks had no data."""

    until: int
    borders: dict[int, Mapping[str, Memory]] = field(default_factory=dict)
    holes: dict[int, frozenset[str]] = field(default_factory=dict)
    partial: set[int] = field(default_factory=set)
    silent: bool = False  # the newest tick brought no SLO any data
    sizes: dict[int, int] = field(default_factory=dict)  # samples of each tick
    skip: int = 0  # blocks
    vain: int = 0
    wait: int = 0  # ticks
    worse: int = 0
    thin_skip: int = 0
    thin_vain: int = 0

    def missing(self, block: Block) -> dict[int, frozenset[str]]:
        """The SLOs without data, by the end of each tick of a block that had such."""
        return {at: names for at, names in self.holes.items() if block.cuts([at])}

    def forget(self, before: int) -> None:
        """Drop what lies before a border."""
        self.borders = {at: memories for at, memories in self.borders.items() if at >= before}
        self.holes = {at: names for at, names in self.holes.items() if at > before}
        self.partial = {at for at in self.partial if at > before}
        self.sizes = {at: size for at, size in self.sizes.items() if at >= before}

    def thin(self, block: Block, interval: int) -> list[int]:
        """The first ticks of a block that had fewer samples than the one before them."""
        drops = [at for at, size in self.sizes.items() if size < self.sizes.get(at - interval, 0)]
        return sorted(at for at in drops if block.cuts([at]) and at != block.end)[:MOST_THIN]

    def pause(self) -> None:
        """A recount changed nothing: the next ones are further and further apart."""
        self.vain = min(self.vain + 1, MOST_SKIPPED)
        self.skip = 2**self.vain - 1

    def pause_thin(self, *, vain: bool) -> None:
        """As `pause`, for thin ticks alone: where scrapes fail often, most of them stay thin."""
        self.thin_vain = min(self.thin_vain + 1, MOST_SKIPPED + PATIENT) if vain else 0
        self.thin_skip = 2 ** max(self.thin_vain - PATIENT, 0) - 1


@dataclass(slots=True)
class Rechecks:
    """Follows what `advance` reads, and reads blocks again where data came late."""

    attempts: Attempts
    stepper: Stepper
    interval: int
    delay: int
    trails: dict[str, Trail] = field(default_factory=dict)

    def follow(self, attempts: Iterable[Attempt]) -> None:
        """Take note of what was read and committed."""
        for attempt in attempts:
            if attempt.reading is None:
                self.trails.pop(attempt.unit.key, None)
                continue
            trail = self.trails.get(attempt.unit.key)
            if trail is None or trail.until != attempt.ticks[0].start:
                start = attempt.ticks[0].start
                trail = self.trails[attempt.unit.key] = Trail(start, {start: attempt.memories})
            self._extend(trail, attempt)

    def _extend(self, trail: Trail, attempt: Attempt) -> None:
        reading = attempt.reading
        assert reading is not None
        for tick in attempt.ticks:
            missing = frozenset(
                name for name, counts in reading.counts.items() if not counts[tick.end].outcome.known
            )
            if missing:
                trail.holes[tick.end] = missing
            if any(counts[tick.end].outcome is Outcome.PARTIAL for counts in reading.counts.values()):
                trail.partial.add(tick.end)
        trail.until = last = attempt.ticks[-1].end
        trail.silent = not any(counts[last].outcome.known for counts in reading.counts.values())
        trail.sizes.update(reading.sizes)
        trail.borders.update(reading.kept)
        if len(trail.borders) > BORDERS:
            trail.forget(sorted(trail.borders)[-BORDERS])

    def run(self, report: Tally, *, enough: Callable[[], bool] = lambda: False) -> None:
        """Compare every block that is due, until it is enough; what cannot be asked now is left alone."""
        for unit in self.attempts.units:
            if enough():
                return
            trail = self.trails.get(unit.key)
            if trail is None or report.store_error is not None or unit.key in report.errors:
                continue
            try:
                self._follow_up(unit, trail, report)
            except Exception as error:  # noqa: BLE001 - one unit's fault must not stop the others (T12)
                self.stepper.ledger.unstage()
                trail.wait = 1
                fault = f"internal error: {type(error).__name__}: {error}"
                report.faults.update(dict.fromkeys(unit.slos, fault))

    def _follow_up(self, unit: Unit, trail: Trail, report: Tally) -> None:
        block = self._due(trail)
        if block is None or trail.silent:
            return  # nobody has data just now: what is not there may be there later
        if trail.wait:
            trail.wait -= 1
            return
        if trail.skip:
            trail.skip -= 1
        else:
            late = self._is_late(unit, trail, block, report)
            trail.wait = 1 if late is None else 0
            if late is None or (late and not self._recount(unit, trail, block, report)):
                return  # no whole answer now, or no place to write to: the next tick tries again
        self.trails[unit.key].forget(block.end)

    def _due(self, trail: Trail) -> Block | None:
        """The oldest block, if it ended long enough ago; the first one after a restart may be short."""
        borders = sorted(trail.borders)[:2]
        if len(borders) < 2 or borders[1] > trail.until - PATIENCE * self.interval:  # noqa: PLR2004 - both ends
            return None
        return Block(*borders)

    # comparing

    def _is_late(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool | None:
        """Whether something of a block came late; None where the server does not say."""
        if unit.batch is not None:
            return self._expression_is_late(unit, trail, block, report)
        ask = _Counted(self.attempts.asks[unit.datasource])
        comparison = Comparison(unit, trail, block, ask, self.interval)
        try:
            return comparison.is_late()
        except PrometheusError:
            return None  # told by the ticks themselves, if it lasts
        finally:
            report.samples += ask.samples
            report.doubts["inconsistent"] += comparison.gone

    def _expression_is_late(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool | None:
        """Whether an expression gives another value at the block's end, or fills a tick without data."""
        ticks = self.attempts.ticks(block.end - self.interval, block.end)
        again = self.attempts.read(Attempt(unit, ticks), {}, doubts={})
        if again.reading is None or again.reading.partial:
            return None
        report.samples += again.reading.samples
        found = again.reading.counts
        answered = {name for name, counts in found.items() if counts[block.end].outcome.known}
        if set(found) - answered - trail.holes.get(block.end, frozenset()):
            return None  # the server has less than it had
        if block.cuts(trail.partial) or any(names & answered for names in trail.missing(block).values()):
            return True
        return any(self._change(name, ticks, found[name]) is not None for name in answered)

    # counting again

    def _recount(self, unit: Unit, trail: Trail, block: Block, report: Tally) -> bool:
        """Count the block again, and what came after it, from what was remembered at its start.

        Returns whether the server gave a whole answer, as far as anybody can tell, and it is on disk.
        """
        memories = trail.borders[block.start]
        results = []
        for after, until in (block, (block.end, trail.until)):
            wanted = Attempt(unit, self.attempts.ticks(after, until))
            found = self.attempts.read(wanted, memories, doubts={})
            if found.reading is None or found.reading.partial:
                return False
            report.samples += found.reading.samples
            memories = found.reading.memories
            results.append(found)
        changes = self._changes(unit, results)
        if any(change.takes_away for change in changes.values()):
            report.doubts["inconsistent"] += 1
            trail.worse += 1
            trail.wait = 2 ** min(
                trail.worse, MOST_SKIPPED
            )  # it may be a backend that is short of memory just now
            return False
        if not changes:
            trail.pause()
            return True
        remembered = self.stepper.revise(results, changes, report)
        if report.store_error is not None:
            return False
        self.attempts.remember(remembered)
        fresh = self.trails[unit.key] = Trail(block.start)
        for found in results:
            self._extend(fresh, found)
        return True

    def _changes(self, unit: Unit, results: Sequence[Attempt]) -> dict[str, Revision]:
        ticks = [tick for found in results for tick in found.ticks]
        changes = {}
        for name in self.stepper.with_groups(unit.slos):
            if self.stepper.slos[name].slices is not None:  # what was judged stays judged
                continue
            counts: dict[int, Counts] = {}
            for found in results:
                assert found.reading is not None
                counts.update(found.reading.counts.get(name, {}))
            if any(tick.end not in counts for tick in ticks):  # a group that is not what it was
                continue
            change = self._change(name, ticks, counts)
            if change is not None:
                changes[name] = change
        return changes

    def _change(self, name: str, ticks: Sequence[Tick], counts: Mapping[int, Counts]) -> Revision | None:
        stepper = self.stepper
        begun = stepper.begun(name)
        live = [tick for tick in ticks if tick.end > begun]
        return revision(stepper.ledger.history, stepper.ids[name], live, counts)


@dataclass(slots=True)
class _Counted:
    """A way to ask that adds up the samples it was answered."""

    ask: Ask
    samples: int = 0

    def __call__(self, query: Query | RangeQuery) -> Answer:
        answer = self.ask(query)
        self.samples += sum(len(one.times) for one in answer.series)
        return answer


@dataclass(slots=True)
class Comparison:
    """What the server has now of a raw unit's block, beside what was remembered of it."""

    unit: Unit
    trail: Trail
    block: Block
    ask: Ask
    interval: int
    gone: int = 0  # feeds that have fewer samples than they had

    def is_late(self) -> bool | None:
        """Whether something came late; None where the answer is partial, or has less than there was."""
        found = [self._feed_is_late(feed) for feed in self.unit.feeds]
        if None in found or self.gone:
            return None
        return any(found) or self._thin_is_filled() or self._hole_is_filled()

    def _thin_is_filled(self) -> bool:
        """Whether a tick that had few samples has more now."""
        trail = self.trail
        thin = trail.thin(self.block, self.interval)
        if not thin:
            return False
        if trail.thin_skip:
            trail.thin_skip -= 1
            return False
        filled = any(self._size(at) > trail.sizes[at] for at in thin)
        trail.pause_thin(vain=not filled)
        return filled

    def _size(self, end: int) -> int:
        """How many samples a tick has now, in all feeds."""
        found = 0
        start = (end - self.interval) * 1000
        for feed in self.unit.feeds:
            for query in feed.queries(self.interval, end):
                lines = Lines.of(feed, sorting_of(feed), self.ask(query).series, start)
                found += sum(map(len, lines.times)) - sum(lines.done)
        return found

    def _feed_is_late(self, feed: RawFeed) -> bool | None:
        end = self.block.end
        answers = [self.ask(query) for query in feed.queries(self.interval, end)]
        if any(answer.partial for answer in answers):
            return None
        series = [one for answer in answers for one in answer.series]
        memory = self.trail.borders[end][feed.key]
        newer, gone = compare(feed, memory, series, end - self.interval, end)
        self.gone += gone
        return newer or self.block.cuts(self.trail.partial)

    def _hole_is_filled(self) -> bool:
        """Whether ticks without data have some now, by the selectors of the SLOs that had none."""
        holes = self.trail.missing(self.block)
        names = frozenset[str]().union(*holes.values())
        return any(self._fills(feed, holes, names) for feed in self.unit.feeds) if holes else False

    def _fills(self, feed: RawFeed, holes: Mapping[int, frozenset[str]], names: frozenset[str]) -> bool:
        first, last = min(holes) - self.interval, max(holes)
        wanted = [selector for slot, selector in feed.members if slot.slo in names and slot.role != "bad"]
        for query in feed.queries(last - first, last, wanted) if wanted else ():
            answer = self.ask(query)
            if any(self._is_in(feed, series, holes) for series in answer.series):
                return True
        return False

    def _is_in(self, feed: RawFeed, series: Series, holes: Mapping[int, frozenset[str]]) -> bool:
        names = {slot.slo for slot in feed.classify(series.labels)}
        return any(
            names & missing and any((at - self.interval) * 1000 < time <= at * 1000 for time in series.times)
            for at, missing in holes.items()
        )


def compare(
    feed: RawFeed, memory: Memory, series: Iterable[Series], start: int, end: int
) -> tuple[bool, bool]:
    """Whether samples of (start, end] are newer than those remembered at `end`; whether some are gone."""
    sorting = sorting_of(feed)
    lines = Lines.of(feed, sorting, series, start * 1000)
    newest: dict[int, tuple[int, float]] = {}  # by key: the newest sample and what a missing one amounts to
    for at, (key, _, lane) in enumerate(lines.places):
        kept = [
            time
            for time, value in zip(lines.times[at], lines.values[at], strict=True)
            if start * 1000 < time <= end * 1000 and is_count(value)
        ]
        active = memory.replicas.get(key)
        if not kept or (active is not None and lines.replicas is not None and lines.replicas[at] != active):
            continue
        job = memory.jobs.get(sorting.lanes[lane].job)
        spacing = USUAL_SPACING if job is None or job.spacing is None else job.spacing
        newest[key] = max(newest.get(key, (0, 0.0)), (kept[-1], A_SCRAPE * spacing))
    index, times = memory.roll.index, memory.times
    newer = any(
        key not in index or time - times[index[key]] >= scrape for key, (time, scrape) in newest.items()
    )
    known = {key: times[row] for key, row in index.items() if times[row] > start * 1000}
    gone = any(key not in newest or time - newest[key][0] >= newest[key][1] for key, time in known.items())
    return newer, gone
