"""Holes: what of an instance's past is still to be filled, and what becomes of that when it moves.

A ledger that counted an instance from its beginning has one hole: from where its live ticks begin down to
the start of its window, filled from above. An instance that came from another ledger has two: what nobody
counted while it moved, and below what was counted, what the other ledger had not filled yet. Where they end
and how far they are filled are cursors of the ledger:

    window ... floor ####### left ......... kept ####### fill ... added, live ticks
                     (older)    (counted)       (newer)    (filled)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from slo_budget_tracker.instances import added_key, fill_key, floor_key, kept_key, left_key

if TYPE_CHECKING:
    from collections.abc import Callable


class Hole(NamedTuple):
    """Data time that nobody has counted: (bottom, top]; a bottom of 0 is the start of the window."""

    bottom: int
    top: int


@dataclass(frozen=True, slots=True)
class Holes:
    """The cursors of one instance; 0 where there is none.

    Attributes:
        begun: where its live ticks begin.
        filled: down to here it is filled.
        kept: up to here another ledger had counted it.
        left, floor: the top and the bottom of what was not filled there.
    """

    begun: int
    filled: int
    kept: int = 0
    left: int = 0
    floor: int = 0

    @classmethod
    def of(cls, cursor: Callable[[str], int | None], instance: int, *, born: int) -> Self:
        """Those of an instance that was born at a data instant, from its ledger's cursors."""
        added = cursor(added_key(instance))
        begun = born if added is None else added
        filled = cursor(fill_key(instance))
        kept, left, floor = (cursor(key(instance)) or 0 for key in (kept_key, left_key, floor_key))
        return cls(begun, begun if filled is None else filled, kept, left, floor)

    def open(self, past: int) -> tuple[Hole, ...]:
        """What is still to be filled of so many seconds before the live ticks, newest first."""
        newer, older = Hole(self.kept, self.filled), Hole(self.floor, min(self.left, self.filled))
        return tuple(hole for hole in (newer, older) if max(hole.bottom, self.begun - past) < hole.top)

    def moved(self, *, counted: int | None, at: int, past: int) -> Self:
        """Those that the instance has in the ledger which goes on with it at `at`.

        `counted` is up to where there are counts. Of three holes the older two become one.
        """
        if counted is None:
            return type(self)(at, at)
        older = self.open(past)
        if not older:
            return type(self)(at, at, counted)
        return type(self)(at, at, counted, min(older[0].top, counted), older[-1].bottom)

    def cursors(self, instance: int) -> dict[str, int]:
        """As a ledger keeps them."""
        keys = (added_key, fill_key, kept_key, left_key, floor_key)
        values = (self.begun, self.filled, self.kept, self.left, self.floor)
        return {key(instance): value for key, value in zip(keys, values, strict=True)}
