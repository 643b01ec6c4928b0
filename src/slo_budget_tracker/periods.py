"""Periods as people name them: 2026-10, 2026-Q3, 2026, 2026-10-05, or two times with dots between; in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from slo_budget_tracker.durations import parse_instant

_NAMED = re.compile(
    r"(?P<year>\d{4})(?:-Q(?P<quarter>[1-4])|-(?P<month>\d{2})(?:-(?P<day>\d{2}))?)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
EXPECTED = "2026-10, 2026-Q3, 2026, 2026-10-05 or FROM..TO"
DAY = 86_400


class Period(NamedTuple):
    """(start, end] in epoch seconds, and how it is called."""

    name: str
    start: int
    end: int

    @property
    def before(self) -> Period:
        """The period of the same length before it."""
        return Period(f"before {self.name}", 2 * self.start - self.end, self.start)

    @classmethod
    def of(cls, text: str, *, now: float) -> Period:
        """The period that a text names.

        Raises:
            ValueError: it names none, or one that has not begun.
        """
        try:
            found = _between(text, now) if ".." in text else _named(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text[:60]!r}, expected a period such as {EXPECTED}") from error
        if not found.start < found.end or found.start >= now:
            raise ValueError(f"{text[:60]!r}, expected a period that has begun and ends after its start")
        return found


def _between(text: str, now: float) -> Period:
    first, _, last = text.partition("..")
    return Period(text, _instant(first, now), _instant(last or "now", now))


def _instant(text: str, now: float) -> int:
    if _DATE.fullmatch(text):
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    return int(parse_instant(text, now=now))


def _named(text: str) -> Period:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year = int(found["year"])
    if found["day"]:
        start = _instant(text, 0)
        return Period(text, start, start + DAY)
    if found["quarter"]:
        first, months = 3 * int(found["quarter"]) - 2, 3
    elif found["month"]:
        first, months = int(found["month"]), 1
    else:
        first, months = 1, 12
    return Period(
        text, _first(year, first), _first(year + (first + months - 1) // 12, (first + months - 1) % 12 + 1)
    )


def _first(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())
