"""Trails: the last ticks of what is read together, as far as they are still to be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.attempts import BLOCK
from slo_budget_tracker.sizes import NOTHING, Size
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reports import Attempt

BORDERS = 3  # so many ends of blocks are kept in mind: what is older was read late, compared, or is a doubt
MOST_BORDERS = 7  # of expressions, which remember nothing there, and where something is known to be missing
MOST_THIN = 3  # ticks of a block that are read again because they had few samples
PATIENT = 3  # times in a row that this, or a recount, may be in vain before it is done less often
MOST_SKIPPED = 6  # blocks of doubling pauses where recounts change nothing


class Block(NamedTuple):
    """The ticks that are compared at once: (start, end] in data time."""

    start: int
    end: int

    def cuts(self, instants: Iterable[int]) -> bool:
        """Whether any of the ticks that end at these instants belongs to the block."""
        return any(self.start < at <= self.end for at in instants)


class Aside(NamedTuple):
    """Until which data instant a block waits, and how often it was put aside."""

    until: int = 0
    times: int = 0


NOT_ASIDE = Aside()


@dataclass(slots=True)
class Trail:
    """A unit's last ticks: what was remembered at the borders of blocks, and which ticks had no data."""

    until: int
    borders: dict[int, Mapping[str, Memory]] = field(default_factory=dict)
    holes: dict[int, frozenset[str]] = field(default_factory=dict)
    partial: set[int] = field(default_factory=set)
    memories: Mapping[str, Memory] = field(default_factory=dict)  # at the end
    silent: bool = False  # the newest tick brought no SLO any data
    sizes: dict[int, Size] = field(default_factory=dict)  # of each tick
    skip: int = 0  # blocks
    vain: int = 0
    wait: int = 0  # ticks
    worse: int = 0
    thin_skip: int = 0
    thin_vain: int = 0
    aside: dict[int, Aside] = field(default_factory=dict)  # by the end of blocks that others go before
    passed: set[int] = field(default_factory=set)  # ends of blocks behind these that need no look
    yielding: set[int] = field(default_factory=set)  # ends of blocks that were read late, or brought nothing

    def due(self, last: int) -> Block | None:
        """The oldest block up to an instant that is still to be compared, and not put aside just now."""
        blocks = [Block(*ends) for ends in pairwise(sorted(self.borders)) if ends[1] <= last]
        return next((one for one in blocks if one.end not in self.passed and not self.waits(one)), None)

    def waits(self, block: Block) -> bool:
        """Whether a block is put aside."""
        return self.aside.get(block.end, NOT_ASIDE).until > self.until

    def done(self, block: Block) -> None:
        """A block needs no further look; what lies before the oldest one that does is forgotten."""
        self.passed.add(block.end)
        for end in sorted(self.borders)[1:]:
            if end not in self.passed:
                return
            self.forget(end)

    def before(self, start: int) -> Trail:
        """What is to be compared of the ticks before a border; blocks that were compared are not, again."""
        return Trail(
            start,
            {at: memories for at, memories in self.borders.items() if at <= start},
            {at: names for at, names in self.holes.items() if at <= start},
            {at for at in self.partial if at <= start},
            sizes={at: size for at, size in self.sizes.items() if at <= start},
            aside={at: one for at, one in self.aside.items() if at <= start},
            passed=set(self.passed),
            yielding=set(self.yielding),
        )

    def missing(self, block: Block) -> dict[int, frozenset[str]]:
        """The SLOs without data, by the end of each tick of a block that had such."""
        return {at: names for at, names in self.holes.items() if block.cuts([at])}

    def has_nothing(self, block: Block, interval: int, slos: Iterable[str]) -> bool:
        """Whether no tick of a block had data for any of these SLOs."""
        ends = range(block.start + interval, block.end + 1, interval)
        return all(self.holes.get(at, frozenset()).issuperset(slos) for at in ends)

    def pauses(self, block: Block) -> bool:
        """Whether recounts were in vain for long: then nothing but ticks without data is asked about."""
        return self.skip > 0 and not block.cuts(self.partial)

    def add(self, attempt: Attempt, *, goal: int, interval: int) -> int:
        """Go on with what was read up to a goal; how many blocks are given up that nobody has compared."""
        reading = attempt.reading
        assert reading is not None
        for tick in attempt.ticks:
            found = {name: counts[tick.end] for name, counts in reading.counts.items() if tick.end in counts}
            missing = frozenset(name for name, one in found.items() if not one.outcome.known)
            if missing:
                self.holes[tick.end] = missing
            if any(one.outcome is Outcome.PARTIAL for one in found.values()):
                self.partial.add(tick.end)
        self.until = last = attempt.ticks[-1].end
        known = any(counts[last].outcome.known for counts in reading.counts.values())
        self.sizes.update(reading.sizes)
        # data are there for a while after their last sample, also where the server just now has none at all
        self.silent = not known or self.is_empty(
            last, _expected_within(reading.memories, last, interval), interval
        )
        self.memories = reading.memories
        if not reading.kept:
            return 0
        start = max(self.borders)
        late = {end for end in reading.kept if end <= goal - BLOCK * interval}
        if late and start not in self.yielding:  # an outage: what came before it does not yield
            self.borders[attempt.ticks[0].start] = attempt.memories
        self.borders.update(reading.kept)
        self.yielding |= late
        if self.silent and self.has_nothing(Block(start, last), interval, attempt.unit.slos):
            self.yielding |= reading.kept.keys()
        waits = attempt.unit.batch is not None or self.holes or self.partial or self.aside
        return self._make_room(MOST_BORDERS if waits else BORDERS, whole=BLOCK * interval)

    def _make_room(self, most: int, *, whole: int) -> int:
        """Keep so many borders; how many blocks are given up that nobody has compared.

        Blocks that yield are passed over before the oldest is given up, and those in a row become one: after
        however long an outage what came before it is still to be compared. Blocks of less than `whole`
        seconds, which end where an outage begins, take no room.
        """
        given_up = 0
        while True:
            blocks = [Block(*ends) for ends in pairwise(sorted(self.borders))]
            passed = self.passed & self.yielding
            taken = [one for one in blocks if one.end - one.start >= whole and one.end not in passed]
            if len(taken) < most:
                return given_up
            first = next((one for one in blocks if one.end in self.yielding - passed), None)
            if first is None:
                given_up += self.forget(blocks[0].end)
            else:
                self._pass_over(first)

    def _pass_over(self, block: Block) -> None:
        self.passed.add(block.end)
        self.holes = {at: names for at, names in self.holes.items() if not block.cuts([at])}
        self.partial = {at for at in self.partial if not block.cuts([at])}
        self.sizes = {at: size for at, size in self.sizes.items() if at == block.end or not block.cuts([at])}
        if block.start in self.passed & self.yielding:
            del self.borders[block.start]
            self.sizes.pop(block.start, None)
            self.passed.remove(block.start)
            self.yielding.remove(block.start)

    def forget(self, before: int) -> int:
        """Drop what lies before a border; how many blocks of it nobody has compared.

        A block behind it has not been put off.
        """
        gone = [end for end in sorted(self.borders)[1:] if end <= before and end not in self.passed]
        if min(self.borders, default=before) < before:
            self.wait = 0
        self.borders = {at: memories for at, memories in self.borders.items() if at >= before}
        self.holes = {at: names for at, names in self.holes.items() if at > before}
        self.partial = {at for at in self.partial if at > before}
        self.sizes = {at: size for at, size in self.sizes.items() if at >= before}
        self.aside = {at: one for at, one in self.aside.items() if at > before}
        self.passed = {at for at in self.passed if at > before}
        self.yielding = {at for at in self.yielding if at > before}
        return len(gone)

    def fewer(self, sizes: Mapping[int, Size]) -> list[int]:
        """The ticks that have fewer samples than were read of them."""
        return [at for at, size in sizes.items() if size.read < self.sizes.get(at, NOTHING).read]

    def is_empty(self, end: int, ticks: int, interval: int) -> bool:
        """Whether so many ticks up to an instant brought no raw samples; expressions have none to bring."""
        found = [self.sizes.get(end - number * interval) for number in range(ticks)]
        return all(size == NOTHING for size in found)

    def thin(self, block: Block, interval: int, *, single: bool) -> list[int]:
        """The ticks of a block that lack the most samples of those that the one before lets expect.

        Where each sample is a `single` event, what comes in a tick may have been there in the one before.
        """
        lacks: dict[int, int] = {}
        for at in (at for at in self.sizes if block.cuts([at]) and at != block.end):
            before, after = (self.sizes.get(one, NOTHING) for one in (at - interval, at + interval))
            lacks[at] = max(self.sizes[at].lacks(before), after.come if single else 0)
        thin = [at for at, lack in lacks.items() if lack > 0]
        return sorted(thin, key=lambda at: (-lacks[at], at))[:MOST_THIN]

    def pause(self, *, patience: int = 0) -> None:
        """It was in vain: the next times are further and further apart, once patience is at its end."""
        self.vain = min(self.vain + 1, MOST_SKIPPED + patience)
        self.skip = 2 ** max(self.vain - patience, 0) - 1

    def put_off(self) -> None:
        """No whole answer: the next tries are further and further apart."""
        self.worse += 1
        self.wait = 2 ** min(self.worse, MOST_SKIPPED)

    def put_aside(self, block: Block, interval: int, *, recounted: bool = True) -> None:
        """There is less than there was: the next tries are as far apart, and blocks behind go before."""
        self.worse += recounted
        times = self.aside.get(block.end, NOT_ASIDE).times + 1
        ticks = 1 + 2 ** min(max(times, self.worse if recounted else 0), MOST_SKIPPED)
        self.aside[block.end] = Aside(self.until + ticks * interval, times)

    def is_well(self) -> None:
        """A whole block was compared, and is what it was: whatever was in vain before is forgotten."""
        self.vain = self.worse = 0

    def pause_thin(self, *, vain: bool) -> None:
        """As `pause`, for thin ticks alone: where scrapes fail often, most of them stay thin."""
        self.thin_vain = min(self.thin_vain + 1, MOST_SKIPPED + PATIENT) if vain else 0
        self.thin_skip = 2 ** max(self.thin_vain - PATIENT, 0) - 1


def _expected_within(memories: Mapping[str, Memory], at: int, interval: int) -> int:
    """In how many ticks up to an instant there should be a sample: more where scrapes are rare."""
    spacings = [spacing for memory in memories.values() for spacing in memory.spacings(at * 1000)]
    return max(1, ceil(1.5 * min(spacings, default=0) / (1000 * interval)))
