"""Clocks: the wall clock beside two that nobody sets; what lies between two readings of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST_LEAP = 2.0  # seconds: leap seconds and what a time daemon corrects are less (T3)
SMALLEST_PAUSE = 10.0


class Reading(NamedTuple):
    """Three clocks at one moment, seconds: `boot` runs on while the machine sleeps, `monotonic` does not."""

    wall: float
    monotonic: float
    boot: float


class Leap(NamedTuple):
    """What happened between two readings, seconds, 0 where nothing did."""

    wall: float  # the wall clock was set by so much
    asleep: float  # the machine was suspended for so long
    paused: float  # this process did not run for so long (SIGSTOP, starvation), or the whole machine


def read(wall: Callable[[], float] = time.time) -> Reading:
    """All clocks now."""
    return Reading(wall(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))


def leap(before: Reading, after: Reading, *, expected: float) -> Leap:
    """What happened between two readings that should be `expected` seconds apart."""
    elapsed = after.boot - before.boot
    running = after.monotonic - before.monotonic
    return Leap(
        wall=_if_large(after.wall - before.wall - elapsed, SMALLEST_LEAP),
        asleep=_if_large(elapsed - running, SMALLEST_LEAP),
        paused=_if_large(running - expected, SMALLEST_PAUSE),
    )


def _if_large(seconds: float, least: float) -> float:
    return seconds if abs(seconds) >= least else 0.0
