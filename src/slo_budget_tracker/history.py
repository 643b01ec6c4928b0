"""History: one cumulative function F(t) per SLO instance and channel, so that any window is a difference.

F is stored at shared points of data time, closely for young ones and sparsely for old ones, and is linear
between them: a window is F(at) - F(at - window), exact where both edges are points, prorated inside a row
that an edge cuts. F is flat where nothing is stored, so nothing before an instance's first row is known. F's
zero is arbitrary: rows filled in before the others move the older side of F down, not all younger ones up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.curves import Curves
from slo_budget_tracker.density import Density
from slo_budget_tracker.levels import Place
from slo_budget_tracker.rows import SECONDS, Row, disjoint
from slo_budget_tracker.ticks import Outcome, Tick, WindowCounts
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from slo_budget_tracker.curves import Journal

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class WindowArrays:
    """The same window of many instances; `ids[i]` has `total[i]` events and so on (see WindowCounts)."""

    window: int
    ids: NDArray[np.int64]
    total: NDArray[np.float64]
    bad: NDArray[np.float64]
    known: NDArray[np.float64]
    partial: NDArray[np.float64]
    absent: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """How to undo rows that were staged."""

    journal: Journal
    first: NDArray[np.int64]
    last: NDArray[np.int64]


class History:
    """Counts of all SLO instances over all stored time, at falling density with age.

    A row replaces what is stored for its instances in (start, end], and leaves everything outside as it was.
    """

    def __init__(self, *, density: Density | None = None) -> None:
        self.density = density or Density.of()
        self._curves = Curves()
        self._lookup = np.full(64, -1, np.int64)  # column by id; ids are the ledger's small whole numbers
        self._ids = np.zeros(0, np.int64)
        self._first = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The instances that have rows, in the order they came."""
        return self._ids

    @property
    def points(self) -> NDArray[np.int64]:
        """The instants at which F is stored, ascending."""
        return self._curves.points

    @property
    def newest(self) -> int | None:
        """The end of the newest row, None while there is none."""
        newest = int(self._last.max(initial=-_NEVER))
        return None if newest == -_NEVER else newest

    @property
    def nbytes(self) -> int:
        """Bytes of memory held by the numbers."""
        return self._curves.nbytes

    def span(self, instance: int) -> Tick | None:
        """From the start of the instance's first row to the end of its last one; None without rows."""
        column = self._column(instance)
        return None if column is None else Tick(int(self._first[column]), int(self._last[column]))

    def admit(self, ids: Iterable[int]) -> None:
        """Make instances known before they have rows: their windows are then there, with nothing known."""
        self._admit(np.fromiter(ids, np.int64))

    def untouched(self, row: Row) -> NDArray[np.bool_]:
        """For which of the row's instances it lies wholly before the first or after the last stored row."""
        columns = self._columns(row.ids)
        fresh = columns < 0
        if not len(self._ids):
            return fresh
        return fresh | (self._last[columns] <= row.start) | (self._first[columns] >= row.end)

    def add(self, rows: Iterable[Row]) -> None:
        """Take in rows of any age and order; later ones replace earlier ones over the same span."""
        self._add(rows, None)

    def stage(self, rows: Sequence[Row]) -> Staged:
        """Add rows so that it can be undone to the last bit; nothing else may be added until then."""
        self._admit(np.unique(np.concatenate([np.zeros(0, np.int64), *(row.ids for row in rows)])))
        staged = Staged([], self._first.copy(), self._last.copy())
        self._curves.cut(point for row in rows for point in (row.start, row.end))
        self._add(rows, staged.journal)
        return staged

    def undo(self, staged: Staged) -> None:
        """Bring back what was stored before the rows were staged; instances that came since then stay."""
        self._curves.restore(staged.journal)
        size = len(staged.first)
        self._first[:size], self._last[:size] = staged.first, staged.last

    def thin(self, now: int) -> int:
        """Drop the points that their age makes dispensable at `now`; returns how many."""
        return self._curves.keep(self.density.kept(self.points, now=now))

    def drop(self, ids: Iterable[int]) -> None:
        """Forget instances and all their counts."""
        gone = np.isin(self._ids, np.fromiter(ids, np.int64))
        self._curves.keep_columns(np.flatnonzero(~gone))
        self._ids, self._first, self._last = self._ids[~gone], self._first[~gone], self._last[~gone]
        self._lookup[:] = -1
        self._lookup[self._ids] = np.arange(len(self._ids))

    def arrays(self, at: int, window: int, *, ids: NDArray[np.int64] | None = None) -> WindowArrays:
        """What is known of (at - window, at], for all instances or those given."""
        which, names = self._which(ids)
        found, channels = which >= 0, {}
        place = Place.of(which[found])
        for channel in ("total", "bad", "known", "partial", "absent"):
            values = channels[channel] = np.zeros(len(names))
            values[found] = self._curves.difference(channel, at - window, at, place)
        return WindowArrays(window, names, **channels)

    def window(
        self, at: int, windows: Sequence[int], *, ids: Sequence[int] | None = None
    ) -> dict[int, dict[int, WindowCounts]]:
        """What is known of each window that ends at `at`, by instance and window length."""
        wanted = None if ids is None else np.array(ids, np.int64)
        lengths = list(windows)
        names: list[int] = []
        found = []
        for window in lengths:
            figures = self.arrays(at, window, ids=wanted)
            columns = (figures.total, figures.bad, figures.known, figures.partial, figures.absent)
            numbers = zip(repeat(window), *(column.tolist() for column in columns), repeat(None))
            found.append(list(map(make, repeat(WindowCounts), numbers)))
            names = figures.ids.tolist()
        return {
            name: dict(zip(lengths, counts, strict=True)) for name, *counts in zip(names, *found, strict=True)
        }

    def parts(self, instance: int, edges: Sequence[int]) -> list[WindowCounts]:
        """What is known from each of the ascending edges to the next."""
        column = self._column(instance)
        lengths = [max(b - a, 1) for a, b in pairwise(edges)]
        if column is None:
            return [WindowCounts(seconds, 0.0, 0.0, 0.0) for seconds in lengths]
        names, at = ("total", "bad", "known", "partial", "absent"), np.array(edges, np.int64)
        found = [self._curves.steps(name, at, column).tolist() for name in names]
        return [WindowCounts(*numbers) for numbers in zip(lengths, *found, strict=True)]

    def closely(self, edges: Sequence[int], *, near: int) -> list[bool]:
        """Whether points are stored within `near` seconds of both ends of each part: old ones are sparse."""
        at = np.array(edges, np.int64)
        low, high = (np.searchsorted(self.points, at + shift) for shift in (1 - near, near))
        stored = (high > low).tolist()
        return [a and b for a, b in pairwise(stored)]

    def told_apart(self, edges: Sequence[int]) -> list[bool]:
        """Whether there is a point at each of these instants: what is old is merged."""
        apart: list[bool] = np.isin(np.array(edges, np.int64), self.points).tolist()
        return apart

    def tells_apart(self, edges: Sequence[int]) -> bool:
        """Whether there is a point at all of these instants."""
        return all(self.told_apart(edges))

    def courses(
        self, instance: int, ends: Sequence[int], windows: Iterable[int], *, width: int | None = None
    ) -> dict[int, list[WindowCounts]]:
        """What is known of each window that ends at each of the instants, by window, in their order.

        With the `width` of slices, which the last instant is an end of, rows after the last slice that was
        over are not counted: they are parts of one.
        """
        at = np.array(ends, np.int64)
        lengths = sorted(set(windows))
        edges = np.unique(np.concatenate([at, *(at - window for window in lengths)]))
        column = self._column(instance)
        seen = edges
        if width is not None and column is not None:
            seen = np.minimum(edges, (self._last[column] - at[-1]) // width * width + at[-1])
        rises = []
        for name in ("total", "bad", "known", "partial", "absent"):
            steps = np.zeros(max(len(edges) - 1, 0))
            if column is not None:
                steps = self._curves.steps(name, seen, column)
            rises.append(np.concatenate(([0.0], np.cumsum(steps))))
        place, result = np.searchsorted(edges, at), {}
        for window in lengths:
            before = np.searchsorted(edges, at - window)
            # sums of prorated parts: what a float adds below a billionth of an event is nobody's
            parts = [np.round(rise[place] - rise[before], 9).tolist() for rise in rises]
            result[window] = [WindowCounts(window, *numbers) for numbers in zip(*parts, strict=True)]
        return result

    def outcomes(self, instance: int) -> dict[Outcome, int]:
        """Seconds of each outcome since the instance's first row; they add up to the time elapsed (I1)."""
        column = self._column(instance)
        if column is None:
            return dict.fromkeys(Outcome, 0)
        sums = {name: self._curves.total(name, column) for name in SECONDS}
        elapsed = int(self._last[column] - self._first[column])
        tally = {
            Outcome.OK: sums["known"] - sums["partial"] - sums["idle"],
            Outcome.NO_TRAFFIC: sums["idle"],
            Outcome.PARTIAL: sums["partial"],
            Outcome.NO_DATA: sums["absent"],
            Outcome.ERROR: sums["error"],
            Outcome.UNKNOWN: sums["unknown"],
        }
        return {**tally, Outcome.MISSED: elapsed - sum(tally.values())}

    def missing(self, instance: int, *, since: int, until: int | None = None) -> list[Tick]:
        """The stored spans after `since` with seconds that were missed or failed and may still be fetched."""
        column, newest = self._column(instance), self.newest
        if column is None or newest is None:
            return []
        low, high = max(since, int(self._first[column])), min(newest, until or newest)
        if high <= low:
            return []
        points = self.points[(self.points > low) & (self.points < high)]
        edges = np.concatenate(([low], points, [high]))
        final = sum(self._curves.steps(name, edges, column) for name in ("known", "absent", "unknown"))
        open_seconds = np.diff(edges) - final
        return [Tick(int(edges[i]), int(edges[i + 1])) for i in np.flatnonzero(open_seconds >= 1).tolist()]

    def _column(self, instance: int) -> int | None:
        column = int(self._lookup[instance]) if 0 <= instance < len(self._lookup) else -1
        return None if column < 0 or self._last[column] < self._first[column] else column

    def _columns(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(ids) and int(ids.max()) >= len(self._lookup):
            known = ids < len(self._lookup)
            columns = np.full(len(ids), -1, np.int64)
            columns[known] = self._lookup[ids[known]]
            return columns
        return self._lookup[ids]

    def _which(self, ids: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if ids is None:
            return np.arange(len(self._ids)), self._ids
        return self._columns(ids), ids

    def _admit(self, ids: NDArray[np.int64]) -> None:
        """Give every new instance a column."""
        fresh = np.unique(ids[self._columns(ids) < 0])
        if not len(fresh):
            return
        top = int(fresh.max())
        if top >= len(self._lookup):
            grown = np.full(max(top + 1, 2 * len(self._lookup)), -1, np.int64)
            grown[: len(self._lookup)] = self._lookup
            self._lookup = grown
        self._lookup[fresh] = len(self._ids) + np.arange(len(fresh))
        self._ids = np.concatenate((self._ids, fresh))
        self._first = np.concatenate((self._first, np.full(len(fresh), _NEVER)))
        self._last = np.concatenate((self._last, np.full(len(fresh), -_NEVER)))

    def _add(self, rows: Iterable[Row], journal: Journal | None) -> None:
        batch = [row for row in rows if len(row.ids)]
        rosters = {id(row.ids): row.ids for row in batch}  # rows of one roster share its array
        self._admit(np.unique(np.concatenate([np.zeros(0, np.int64), *rosters.values()])))
        columns = {key: self._columns(ids) for key, ids in rosters.items()}
        if not len(self.points) and disjoint(batch):
            self._curves.build(batch, [columns[id(row.ids)] for row in batch])
        else:
            self._merge(batch, journal)
        spans: dict[int, list[Row]] = {}
        for row in batch:
            spans.setdefault(id(row.ids), []).append(row)
        for key, some in spans.items():
            place = columns[key]
            self._first[place] = np.minimum(self._first[place], min(row.start for row in some))
            self._last[place] = np.maximum(self._last[place], max(row.end for row in some))

    def _merge(self, batch: Sequence[Row], journal: Journal | None) -> None:
        """Replace the rows' spans; where none of them overlap, all rows of the same instances at once."""
        self._curves.cut(point for row in batch for point in (row.start, row.end))
        groups: dict[object, list[Row]] = {}
        alone = len(batch) == 1 or not disjoint(batch)
        for index, row in enumerate(batch):
            groups.setdefault(index if alone else row.ids.tobytes(), []).append(row)
        for group in groups.values():
            ordered = sorted(group, key=lambda row: row.start)
            self._curves.replace(ordered, self._columns(ordered[0].ids), journal)
