"""Turns: whose ticks are read first where a tick's requests do not suffice for all, and who waits for long.

The oldest come first: they may have waited for their datasource's next ration. What failed when it was last
tried comes last, who waits for longest first: its cursor stays the oldest, and others are not to wait for it.
What has waited so for LONG ticks, though, has one turn in ten, however much there is to be read of others: it
may have failed but once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from slo_budget_tracker.reading import Unit
    from slo_budget_tracker.reports import Attempt

LONG = 10  # ticks after which what was last tried in vain waits no more for all others
OTHERS = 9  # turns of others between two of those
SHORT_AFTER = 1_800  # seconds of ticks in which not all had a turn: no catch-up takes that long


@dataclass(slots=True)
class Turns:
    """Puts in order what is to be read; `interval` is that of the tick grid, seconds.

    Attributes:
        waiting: the SLOs that the last tick of a datasource left behind, where each of half an hour left some
            behind, and since when, by datasource.
    """

    interval: int
    waiting: dict[str, tuple[frozenset[str], int]] = field(default_factory=dict)
    _first: int = 0
    _in_vain: dict[str, int] = field(default_factory=dict)  # by SLO: when it was last tried, if it failed
    _short_since: dict[str, int] = field(default_factory=dict)  # by datasource

    def inherit(self, other: Turns, known: Container[str], sources: Container[str]) -> None:
        """Go on with what was known of these SLOs and datasources under another catalogue."""
        self._in_vain |= {name: at for name, at in other._in_vain.items() if name in known}
        self._short_since |= {name: at for name, at in other._short_since.items() if name in sources}
        for source, (names, since) in other.waiting.items():
            if source in sources:
                self.waiting[source] = frozenset(name for name in names if name in known), since

    def begin(self) -> None:
        """A new call: where its time runs out it is not always the same that wait (T13)."""
        self._first += 1

    def from_first(self, units: Sequence[Unit]) -> Iterator[Unit]:
        """All units, beginning at another one in each call."""
        first = self._first % max(len(units), 1)
        yield from units[first:]
        yield from units[:first]

    def tried(self, unit: Unit, at: int, *, failed: bool) -> None:
        """A unit was read up to a data instant, or failed."""
        if failed:
            self._in_vain |= dict.fromkeys(unit.slos, at)
            return
        for name in unit.slos if self._in_vain else ():
            self._in_vain.pop(name, None)

    def in_order(self, attempts: Sequence[Attempt], goals: Mapping[str, int]) -> list[Attempt]:
        """Who is read first, and who last, of each datasource."""
        oldest = sorted(attempts, key=lambda one: one.ticks[0].start)
        if not self._in_vain:
            return oldest
        by_source: dict[str, list[Attempt]] = {}
        for one in oldest:
            by_source.setdefault(one.unit.datasource, []).append(one)
        return [one for source, some in by_source.items() for one in self._in_turn(some, goals[source])]

    def _in_turn(self, oldest: Sequence[Attempt], goal: int) -> list[Attempt]:
        """The same of one datasource."""
        healthy, failing = [], []
        for one in oldest:
            at = min(self._in_vain.get(name, 0) for name in one.unit.slos)
            if at:
                failing.append((at, one))
            else:
                healthy.append(one)
        failing.sort(key=lambda entry: entry[0])
        found: list[Attempt] = []
        late = [one for at, one in failing if goal - at >= LONG * self.interval]
        for turn, one in enumerate(late):
            found += [one, *healthy[turn * OTHERS : (turn + 1) * OTHERS]]
        return [*found, *healthy[len(late) * OTHERS :], *(one for _, one in failing[len(late) :])]

    def end(self, goals: Mapping[str, int], left_behind: Mapping[str, set[str]]) -> None:
        """A tick of these datasources is over, and has left these SLOs behind."""
        for source, goal in goals.items():
            self.waiting.pop(source, None)
            if source not in left_behind:
                self._short_since.pop(source, None)
                continue
            since = self._short_since.setdefault(source, goal)
            if goal - since >= SHORT_AFTER:
                self.waiting[source] = frozenset(left_behind[source]), since
