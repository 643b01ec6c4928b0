"""Trails: the last ticks of what is read together, as far as they are still to be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.sizes import NOTHING, Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.memory import Memory

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

    def missing(self, block: Block) -> dict[int, frozenset[str]]:
        """The SLOs without data, by the end of each tick of a block that had such."""
        return {at: names for at, names in self.holes.items() if block.cuts([at])}

    def pauses(self, block: Block) -> bool:
        """Whether recounts were in vain for long: then nothing but ticks without data is asked about."""
        return self.skip > 0 and not block.cuts(self.partial)

    def forget(self, before: int) -> None:
        """Drop what lies before a border; a block behind it has not been put off."""
        if min(self.borders, default=before) < before:
            self.wait = 0
        self.borders = {at: memories for at, memories in self.borders.items() if at >= before}
        self.holes = {at: names for at, names in self.holes.items() if at > before}
        self.partial = {at for at in self.partial if at > before}
        self.sizes = {at: size for at, size in self.sizes.items() if at >= before}

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
        """No answer that could be taken over: the next tries are further and further apart."""
        self.worse += 1
        self.wait = 2 ** min(self.worse, MOST_SKIPPED)

    def is_well(self) -> None:
        """A whole block was compared, and is what it was: whatever was in vain before is forgotten."""
        self.vain = self.worse = 0

    def pause_thin(self, *, vain: bool) -> None:
        """As `pause`, for thin ticks alone: where scrapes fail often, most of them stay thin."""
        self.thin_vain = min(self.thin_vain + 1, MOST_SKIPPED + PATIENT) if vain else 0
        self.thin_skip = 2 ** max(self.thin_vain - PATIENT, 0) - 1
