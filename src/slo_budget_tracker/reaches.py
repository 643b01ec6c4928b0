"""Reaches: how far back something was seen, found by halving to one part in a hundred of what is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slo_budget_tracker.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE, HOUR = 60, 3_600
STEPS = 7


def reach_of(seen: Callable[[int], bool], *, wanted: int, least: int) -> int:
    """Seconds back to which it was seen, at most `wanted`; `least` is how long a single look lasts."""
    known, unknown = 0, max(wanted - least, 1)
    if seen(unknown):
        return wanted
    for _ in range(STEPS):
        middle = (known + unknown) // 2
        known, unknown = (middle, unknown) if seen(middle) else (known, middle)
    return known


def said(seconds: float) -> str:
    """Seconds as they may be said about: whole hours, or minutes where there are no hours."""
    unit = HOUR if seconds >= HOUR else MINUTE
    return format_duration(max(int(seconds // unit * unit), MINUTE))
