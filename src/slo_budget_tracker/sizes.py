"""Sizes: how many raw samples a tick brought, and whether it lacks some that the tick before lets expect."""

from __future__ import annotations

from typing import NamedTuple


class Size(NamedTuple):
    """A tick's samples; those of series that are new or back, and how many more a whole tick has of these."""

    read: int = 0
    come: int = 0
    growing: int = 0

    def plus(self, other: Size) -> Size:
        """The samples of both."""
        return Size(self.read + other.read, self.come + other.come, self.growing + other.growing)

    def lacks(self, before: Size) -> int:
        """How many samples fewer than in the tick before its series have; less than 0: they have more."""
        return before.read + before.growing - (self.read - self.come)


NOTHING = Size()
