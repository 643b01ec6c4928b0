"""Drawing: the small pictures of the list, as the numbers that SVG elements take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 120.0, 30.0
MARGIN = 2.0


class Bar(NamedTuple):
    """A budget as a bar from 0 to 100: what is left, or what is overspent, and the bounds of both."""

    left: float
    over: float
    worst: float | None
    best: float | None


class Spark(NamedTuple):
    """A line through what is known, broken where nothing is; `zero` is the height of an empty budget.

    `areas` are between the line and an empty budget.
    """

    lines: tuple[str, ...]
    areas: tuple[str, ...]
    zero: float
    last: tuple[float, float] | None


class Day(NamedTuple):
    """A day's square in a calendar: which column (week) and row (weekday, Monday is 0) it is in."""

    at: int
    week: int
    weekday: int


class Calendar(NamedTuple):
    """The squares of days in weeks, and where a month begins: (week, its name)."""

    days: tuple[Day, ...]
    weeks: int
    months: tuple[tuple[int, str], ...]


def calendar(starts: Sequence[int]) -> Calendar:
    """Days (UTC) as a calendar has them: a column for each week, from Monday down to Sunday."""
    dates = [datetime.fromtimestamp(at, UTC).date() for at in starts]
    first = dates[0].toordinal() - dates[0].weekday() if dates else 0
    days: list[Day] = []
    months: list[tuple[int, str]] = []
    for at, date in zip(starts, dates, strict=True):
        week = (date.toordinal() - first) // 7
        if not months or months[-1][1] != date.strftime("%b"):
            months.append((week, date.strftime("%b")))
        days.append(Day(at, week, date.weekday()))
    return Calendar(tuple(days), days[-1].week + 1 if days else 0, tuple(months))


def bar(remaining: float | None, bounds: tuple[float, float] | None) -> Bar | None:
    """The bar of a budget; None where nothing is known."""
    if remaining is None:
        return None
    worst, best = (None, None) if bounds is None else (_clamped(bounds[0]), _clamped(bounds[1]))
    return Bar(_clamped(remaining), _clamped(-remaining), worst, best)


def spark(values: Sequence[float | None]) -> Spark | None:
    """A sparkline of budgets, from their lowest (at most 0) to 1; None where nothing is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low = min(0.0, max(min(known), -2.0))
    x_step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)

    def point(place: int, value: float) -> tuple[float, float]:
        height = (min(max(value, low), 1.0) - low) / (1.0 - low)
        return round(MARGIN + place * x_step, 1), round(HEIGHT - MARGIN - height * (HEIGHT - 2 * MARGIN), 1)

    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(point(place, value))
    lines = tuple(" ".join(f"{x},{y}" for x, y in run) for run in runs if run)
    zero = point(0, 0.0)[1]
    areas = tuple(
        f"{run[0][0]},{zero} {line} {run[-1][0]},{zero}"
        for run, line in zip((run for run in runs if run), lines, strict=True)
    )
    return Spark(lines, areas, zero, runs[-1][-1] if runs[-1] else None)


def _clamped(share: float) -> float:
    return round(100 * min(max(share, 0.0), 1.0), 1)
