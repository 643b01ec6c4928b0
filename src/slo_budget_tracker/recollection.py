"""Recollection: what feeds remember from one reading to the next, as the ledger has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.counting import Memory
from slo_budget_tracker.sorting import sorting_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.feeds import RawFeed
    from slo_budget_tracker.ledger import Ledger


@dataclass(slots=True)
class Recollection:
    """Reads a memory from the ledger once, and takes over what is committed then."""

    ledger: Ledger
    _memories: dict[str, Memory] = field(default_factory=dict)

    def inherit(self, other: Recollection, same: Iterable[RawFeed]) -> None:
        """Go on with what another remembers of feeds that are the same."""
        known = other._memories
        self._memories |= {feed.key: known[feed.key] for feed in same if feed.key in known}

    def forget(self) -> None:
        """The ledger is not what it was: what was remembered of it is read again."""
        self._memories.clear()

    def update(self, memories: Mapping[str, Memory]) -> None:
        """Take over what was committed."""
        self._memories.update(memories)

    def at(self, start: int, feeds: Iterable[RawFeed]) -> tuple[dict[str, Memory], dict[str, int]]:
        """What feeds remember that are read on from `start`, and the doubt where that cannot be read."""
        memories = {}
        damaged = 0
        for feed in feeds:
            try:
                memories[feed.key] = self._memory(feed.key, start)
            except ValueError:  # begun anew: what a series counted while nobody remembered it is left out
                memories[feed.key] = Memory.empty()
                damaged += 1
        return memories, {"memory_damaged": damaged} if damaged else {}

    def _memory(self, key: str, start: int) -> Memory:
        """What a feed remembers, if it was read exactly up to `start`; else it begins anew there."""
        if self.ledger.cursor(key) != start:
            return Memory.empty()
        known = self._memories.get(key)
        if known is not None and known.until == 1000 * start:  # else the ledger was told to begin anew
            return known
        stored = self.ledger.memory(key)
        return Memory.empty() if stored is None else Memory.loads(stored)

    def series(self) -> int | None:
        """Of how many a last sample is remembered, those that are gone too; None before any was read."""
        return sum(map(len, self._memories.values())) if self._memories else None

    def spacings(self, feeds: Iterable[RawFeed]) -> dict[str, float]:
        """The usual time between two scrapes, in seconds, of all that is counted for an SLO; the longest."""
        found: dict[str, float] = {}
        for feed in feeds:
            jobs = memory.jobs if (memory := self._memories.get(feed.key)) is not None else {}
            for lane in sorting_of(feed).lanes if jobs else ():
                spacing = jobs[lane.job].spacing if lane.job in jobs else None
                for slot in lane.slots if spacing is not None else ():
                    found[slot.slo] = max(found.get(slot.slo, 0.0), (spacing or 0) / 1000)
        return found
