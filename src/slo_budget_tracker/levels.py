"""Levels: what many cumulative functions have reached at a point, in as few bytes as the numbers allow.

A level is a base, which it shares with its neighbours, and what came since. Bases are whole and nothing came
that is negative, so that their sum is the number that was put in, to the last bit.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

MOST_OF_ONE_BASE = 16  # levels: more would need wider numbers, fewer more bases
_WIDTHS = tuple((np.dtype(name), float(np.iinfo(name).max)) for name in ("u1", "u2", "u4"))


class Place(NamedTuple):
    """Some columns: those below `top`."""

    columns: slice | NDArray[np.int64]
    size: int
    top: int

    @classmethod
    def of(cls, columns: NDArray[np.int64]) -> Place:
        """A slice where the columns stand side by side: several times faster than picking each."""
        size = len(columns)
        first, last = (int(columns[0]), int(columns[-1])) if size else (0, -1)
        if size and last - first == size - 1 and (np.diff(columns) == 1).all():
            return cls(slice(first, last + 1), size, last + 1)
        return cls(columns, size, int(columns.max(initial=-1)) + 1)

    @classmethod
    def first(cls, width: int) -> Place:
        """So many columns from the first one on."""
        return cls(slice(0, width), width, width)

    def read(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The numbers of these columns; those of columns that came later are 0."""
        if self.top <= len(numbers):
            return numbers[self.columns]
        found = np.zeros(self.size)
        if isinstance(self.columns, slice):
            known = numbers[self.columns]
            found[: len(known)] = known
        else:
            old = self.columns < len(numbers)
            found[old] = numbers[self.columns[old]]
        return found


class Level(NamedTuple):
    """What each column has reached, `base` and `rise` together; columns beyond their lengths are at 0."""

    base: NDArray[Any]
    rise: NDArray[Any]

    def at(self, place: Place) -> NDArray[np.float64]:
        """What some columns have reached."""
        found: NDArray[np.float64] = np.add(place.read(self.base), place.read(self.rise), dtype=np.float64)
        return found

    @property
    def width(self) -> int:
        """Columns from here on are at 0."""
        return max(len(self.base), len(self.rise))

    def line(self, width: int = 0) -> NDArray[np.float64]:
        """What all columns have reached, of at least so many."""
        return self.at(Place.first(max(self.width, width)))

    def of(self, column: int) -> float:
        """What one column has reached."""
        base, rise = self
        found = base.item(column) if column < len(base) else 0.0
        return float(found + rise.item(column)) if column < len(rise) else float(found)


GROUND = Level(np.zeros(0), np.zeros(0))


def levels(lines: Iterable[NDArray[np.float64]], before: Sequence[Level] = ()) -> Iterator[Level]:
    """Levels of what was reached at points that follow each other, and on those `before` them."""
    run = next((list(some) for _, some in groupby(reversed(before), _base)), [])
    base, size = (run[0].base, len(run)) if run else (GROUND.base, MOST_OF_ONE_BASE)
    wide = _padded(base, 0)
    for found in lines:
        width = max(len(found), len(wide))  # a level of older columns may follow one of newer ones
        line, wide = _at_least(found, width), _at_least(wide, width)
        rise = line - wide
        if size >= MOST_OF_ONE_BASE or rise.min(initial=0) < 0:
            wide, size = np.floor(line), 0
            base, rise = narrow(wide), line - wide
        yield Level(base, narrow(rise))
        size += 1


def lifted(some: Iterable[Level], place: Place, shift: NDArray[np.float64]) -> list[Level]:
    """The levels with some columns moved by whole numbers."""
    found = []
    for _, run in groupby(some, _base):
        same = list(run)
        base = _padded(same[0].base, place.top)
        base[place.columns] += shift
        kept = narrow(base)
        found += [level._replace(base=kept) for level in same]
    return found


def joined(some: Iterable[Level]) -> list[Level]:
    """The same levels on fewer bases, where some were taken out."""
    found: list[Level] = []
    size = MOST_OF_ONE_BASE
    for _, run in groupby(some, _base):
        same = list(run)
        size += len(same)
        if size > MOST_OF_ONE_BASE:
            found += same
            size = len(same)
        else:
            found += list(levels((level.line() for level in same), found))
    return found


def narrow(numbers: NDArray[np.float64]) -> NDArray[Any]:
    """The same numbers in as few bytes as they go: equal ones once, whole ones as narrow as they are."""
    if not numbers.size:
        return numbers
    low, high = numbers.min(), numbers.max()
    if low == high:
        return np.broadcast_to(low, len(numbers))
    kind = next((kind for kind, most in _WIDTHS if high <= most), None)
    if low < 0 or kind is None:
        return numbers
    whole = numbers.astype(kind)
    return whole if (whole == numbers).all() else numbers


def nbytes(some: Iterable[Level]) -> int:
    """Bytes of memory that the numbers take."""
    arrays = {id(numbers): numbers for level in some for numbers in level}
    return sum(numbers.nbytes if numbers.strides != (0,) else numbers.itemsize for numbers in arrays.values())


def _base(level: Level) -> int:
    return id(level.base)


def _at_least(numbers: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return numbers if len(numbers) >= width else _padded(numbers, width)


def _padded(numbers: NDArray[Any], width: int) -> NDArray[np.float64]:
    """A copy with room for so many columns."""
    found = np.zeros(max(len(numbers), width))
    found[: len(numbers)] = numbers
    return found
