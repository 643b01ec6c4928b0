"""Ticks: aligned data instants, and what one of them brought for one SLO instance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

TO_DATE = 0  # stands for a calendar period so far, where windows are told apart by their length


Cut = Literal["good", "bad"]


class Tick(NamedTuple):
    """The half-open span of data time (start, end], both in whole seconds since the epoch."""

    start: int
    end: int

    @property
    def seconds(self) -> int:
        """Length of the span."""
        return self.end - self.start


class Outcome(IntEnum):
    """What a tick brought; each tick of each SLO instance has exactly one final outcome."""

    OK = 0
    NO_TRAFFIC = 1  # data present, total 0
    PARTIAL = 2  # an answer with partial-response warnings: stored, never used for a recovery
    NO_DATA = 3  # Prometheus answered that no series exists
    ERROR = 4  # Prometheus or the query failed (may still be fetched later)
    MISSED = 5  # not asked yet: to be fetched later
    UNKNOWN = 6  # given up: unknown for ever (unless late data come)

    @property
    def known(self) -> bool:
        """Whether counts of such a tick take part in sums and coverage."""
        return self <= Outcome.PARTIAL

    @property
    def whole(self) -> bool:
        """Whether there was an answer, and not in part: what it does not have is not there."""
        return self in {Outcome.OK, Outcome.NO_TRAFFIC, Outcome.NO_DATA}


@dataclass(frozen=True, slots=True)
class Counts:
    """Events of one SLO instance in one tick; counts are 0 where the outcome is not known."""

    total: float
    bad: float
    outcome: Outcome
    cut: Cut | None = None  # the part that exceeded the total and was cut to it


def data_instant(now: float, *, interval: int, delay: int) -> int:
    """The newest data instant (tick - delay) that is complete at the wall-clock time `now`, in seconds."""
    return int(now // interval) * interval - delay


def align_down(instant: float, *, interval: int, delay: int) -> int:
    """The latest data instant of the grid `k * interval - delay` that is not after `instant`."""
    return int((instant + delay) // interval) * interval - delay


def ticks_between(after: int, until: int, *, interval: int, delay: int) -> list[Tick]:
    """The ticks that lead from the data instant `after` to the grid instants up to `until`.

    The first one covers the remainder when `after` is not on the grid (a changed interval or delay).
    """
    ticks = []
    start = after
    end = align_down(after, interval=interval, delay=delay) + interval
    while end <= until:
        ticks.append(Tick(start, end))
        start = end
        end += interval
    return ticks


class WindowCounts(NamedTuple):
    """What is known about one SLO instance over one window that ends at a data instant.

    `total` and `bad` are sums over known ticks (fractional only where the window's edge cuts a stored row).
    `known`, `partial` and `absent` are seconds: observed at all; of these with a partial-response warning;
    answered "no series exists". Of a calendar period the window is the part that is over, and `ahead` the
    events to be expected in the rest of it.
    """

    window: int
    total: float
    bad: float
    known: float
    partial: float = 0
    absent: float = 0
    ahead: float | None = None

    @property
    def outcome(self) -> Outcome:
        """What a tick brought of which the ledger keeps these counts."""
        if self.known > 0:
            if self.partial > 0:
                return Outcome.PARTIAL
            return Outcome.OK if self.total > 0 else Outcome.NO_TRAFFIC
        return Outcome.NO_DATA if self.absent > 0 else Outcome.ERROR
