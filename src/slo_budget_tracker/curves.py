"""Curves: many cumulative functions over one shared list of points.

At each point a channel has a level, the numbers of all columns. Levels are not changed but replaced, so that
what was before is had back by keeping the list of them. Channels that were never anything but zero have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slo_budget_tracker.levels import GROUND, Level, Place, joined, levels, lifted, narrow, nbytes
from slo_budget_tracker.rows import CHANNELS, EVENTS, Row, anything

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray


class Change(NamedTuple):
    """What a channel was before it was changed."""

    channel: str
    before: Sequence[Level]


Journal = list[Change]


class Curves:
    """The arithmetic of History: append, cut, replace, thin and difference of cumulative functions."""

    def __init__(self) -> None:
        self.points = np.zeros(0, np.int64)  # the instants at which the functions are stored
        self._channels: dict[str, list[Level]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return self.points.nbytes + sum(map(nbytes, self._channels.values()))

    # --- shape ----------------------------------------------------------------------------------------------

    def keep(self, mask: NDArray[np.bool_]) -> int:
        """Keep some points, with straight lines between them; returns how many went."""
        dropped = int(mask.size - mask.sum())
        if dropped:
            kept = np.flatnonzero(mask).tolist()
            self.points = self.points[mask]
            for name, known in self._channels.items():
                self._channels[name] = joined([known[at] for at in kept])
        return dropped

    def keep_columns(self, columns: NDArray[np.int64]) -> None:
        """Keep some columns, in the order given."""
        place = Place.of(columns)
        for name, known in self._channels.items():
            self._channels[name] = list(levels(level.at(place) for level in known))

    # --- rows -----------------------------------------------------------------------------------------------

    def build(self, rows: Sequence[Row], columns: Sequence[NDArray[np.int64]]) -> None:
        """Start from nothing with rows that do not overlap per column: one running sum, written once."""
        if not rows:
            return
        self.points = np.unique(np.array([(row.start, row.end) for row in rows], np.int64))
        starts = np.searchsorted(self.points, [row.start for row in rows]).tolist()
        ends = np.searchsorted(self.points, [row.end for row in rows]).tolist()
        places = {id(column): Place.of(column) for column in columns}
        placed = [places[id(column)] for column in columns]
        for name in CHANNELS:
            present = [at for at, row in enumerate(rows) if anything(getattr(row, name))]
            if not present:
                continue
            ending: dict[int, list[tuple[Place, NDArray[np.float64]]]] = {}
            for at in present:
                ending.setdefault(ends[at], []).append((placed[at], getattr(rows[at], name)))
            known = self._channels[name] = list(levels(self._running(ending)))
            for at in present:
                if ends[at] - starts[at] > 1:
                    span, rise = (starts[at], ends[at]), getattr(rows[at], name)
                    _put(
                        known, placed[at], self._straight(name, span, known[starts[at]].at(placed[at]), rise)
                    )

    def _running(
        self, ending: Mapping[int, Sequence[tuple[Place, NDArray[np.float64]]]]
    ) -> Iterator[NDArray[np.float64]]:
        """The sum up to each point of rows by the point at which they end."""
        line = np.zeros(max(place.top for some in ending.values() for place, _ in some))
        for at in range(len(self.points)):
            for place, numbers in ending.get(at, ()):
                line[place.columns] += numbers
            yield line

    def cut(self, instants: Iterable[int]) -> None:
        """Store the functions at these instants too, so that rows may begin and end there."""
        old = self.points
        fresh = np.setdiff1d(np.fromiter(instants, np.int64), old)
        if not len(fresh):
            return
        self.points = np.union1d(old, fresh)
        if not len(old):
            return
        left = np.searchsorted(old, self.points, side="right") - 1
        inside = (left >= 0) & (left < len(old) - 1) & (old[left] != self.points)
        sources = list(zip(np.maximum(left, 0).tolist(), inside.tolist(), self.points.tolist(), strict=True))
        spans = old.tolist()
        for name, known in self._channels.items():
            self._channels[name] = [
                _between(name, known[at], known[at + 1], point - spans[at], spans[at + 1] - spans[at])
                if between
                else known[at]
                for at, between, point in sources
            ]

    def replace(
        self, rows: Sequence[Row], columns: NDArray[np.int64], journal: Journal | None = None
    ) -> None:
        """Make these columns rise by the rows over the rows' spans; the rest keeps its shape.

        The rows are ascending, do not overlap and all belong to the same columns; their edges are points.
        A journal is given what the numbers were before.
        """
        starts = np.searchsorted(self.points, [row.start for row in rows]).tolist()
        ends = np.searchsorted(self.points, [row.end for row in rows]).tolist()
        place = Place.of(columns)
        for name in CHANNELS:
            rises = [getattr(row, name) for row in rows]
            if name not in self._channels and not any(map(anything, rises)):
                continue
            known = self._channels.setdefault(name, [GROUND] * len(self.points))
            if journal is not None:
                journal.append(Change(name, known))
            self._channels[name] = self._raised(name, place, list(zip(starts, ends, rises, strict=True)))

    def restore(self, journal: Journal) -> None:
        """Undo the changes of a journal; the points are those of that time."""
        for change in reversed(journal):
            self._channels[change.channel] = list(change.before)

    def _raised(self, name: str, place: Place, steps: Sequence[tuple[int, int, NDArray[Any]]]) -> list[Level]:
        """A channel that rises by so much between two points each; everywhere else it keeps its shape."""
        known = list(self._channels[name])
        first, last = steps[0][0], steps[-1][1]
        shift, at = np.zeros(place.size), first
        lines: dict[int, NDArray[np.float64]] = {}
        for start, end, rise in steps:
            lines |= {between: known[between].at(place) + shift for between in range(at + 1, start + 1)}
            low = lines[start] if start > first else known[start].at(place)
            lines |= self._straight(name, (start, end), low, rise)
            lines[end] = low + rise
            shift, at = lines[end] - known[end].at(place), end
        # either all that is younger goes up, or all that is older goes down: whichever is less
        if len(known) - last <= first + 1:
            _move(known, slice(last + 1, None), place, shift)
        else:
            _move(known, slice(0, first + 1), place, -shift)
            del lines[last]
            lines = {between: line - shift for between, line in lines.items()}
        _put(known, place, lines)
        return known

    def _straight(
        self, name: str, span: tuple[int, int], low: NDArray[np.float64], rise: NDArray[Any]
    ) -> dict[int, NDArray[np.float64]]:
        """A straight line between two points, at those that others have between them."""
        start, end = span
        length = int(self.points[end] - self.points[start])
        parts = {at: int(self.points[at] - self.points[start]) for at in range(start + 1, end)}
        return {at: low + _whole(name, rise * float(part) / length) for at, part in parts.items()}

    # --- figures --------------------------------------------------------------------------------------------

    def difference(self, name: str, start: int, end: int, place: Place) -> NDArray[np.float64]:
        """F(end) - F(start) of these columns."""
        if not self._channels.get(name):
            return np.zeros(place.size)
        low, low_part = self._value(name, start, place)
        high, high_part = self._value(name, end, place)
        return (high - low) + (high_part - low_part)

    def _value(
        self, name: str, at: int, place: Place
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
        """F at the point before, and the rise since: apart, so that F's arbitrary zero never rounds it."""
        points, known = self.points, self._channels[name]
        left = int(np.searchsorted(points, at, side="right")) - 1
        low = known[max(left, 0)].at(place)
        if left < 0 or left == len(points) - 1 or points[left] == at:
            return low, 0.0
        share = int(at - points[left]) / int(points[left + 1] - points[left])
        return low, (known[left + 1].at(place) - low) * share

    def steps(self, name: str, edges: NDArray[np.int64], column: int) -> NDArray[np.float64]:
        """By how much one column rises between each two edges."""
        known = self._channels.get(name)
        if not known:
            return np.zeros(len(edges) - 1)
        points = self.points
        inside = np.clip(edges, points[0], points[-1])
        left = np.clip(np.searchsorted(points, inside, side="right") - 1, 0, max(len(points) - 2, 0))
        right = np.minimum(left + 1, len(points) - 1)
        needed, places = np.unique((left, right), return_inverse=True)
        reached = np.array([known[at].of(column) for at in needed.tolist()])
        low, high = reached[places].reshape(2, -1)
        share = (inside - points[left]) / np.maximum(points[right] - points[left], 1)
        part = np.where(share < 1, (high - low) * share, 0.0)
        whole = np.where(share < 1, low, high)
        return np.diff(whole) + np.diff(part)

    def total(self, name: str, column: int) -> int:
        """All of a channel of seconds in one column."""
        known = self._channels.get(name)
        return int(known[-1].of(column) - known[0].of(column)) if known else 0


def _put(known: list[Level], place: Place, lines: Mapping[int, NDArray[np.float64]]) -> None:
    """Let some columns reach these lines at points that follow each other."""
    if not lines:
        return
    low, high = min(lines), max(lines) + 1

    def whole() -> Iterator[NDArray[np.float64]]:
        for at in range(low, high):
            line = known[at].line(place.top)
            line[place.columns] = lines[at]
            yield line

    known[low:high] = list(levels(whole(), known[:low]))


def _move(known: list[Level], some: slice, place: Place, shift: NDArray[np.float64]) -> None:
    """Move some columns up or down at some points."""
    if not shift.any():
        return
    if (np.floor(shift) == shift).all():
        known[some] = lifted(known[some], place, shift)
        return
    points = range(len(known))[some]
    _put(known, place, {at: known[at].at(place) + shift for at in points})


def _between(name: str, one: Level, other: Level, part: int, length: int) -> Level:
    """The level on a straight line from one to the other."""
    place = Place.first(max(one.width, other.width))
    rise = _whole(name, (other.at(place) - one.at(place)) * part / length)
    return Level(one.base, narrow(place.read(one.rise) + rise))


def _whole(name: str, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds are whole ones: of rises that were multiplied first, so that those of whole spans are exact."""
    return numbers if name in EVENTS else np.trunc(numbers)
