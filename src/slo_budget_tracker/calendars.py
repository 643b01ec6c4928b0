"""Calendar periods: weeks, months, quarters and years of a time zone and its clock changes.

They begin at midnight of a Monday or of the first of a month, quarter or year; or where `start` says, a local
date and time at which some period begins: all others begin at the same weekday or day and time of day. Where
a month has no such day, the period begins on its last one.
"""

from __future__ import annotations

import calendar
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from slo_budget_tracker.errors import shown
from slo_budget_tracker.slis import Defect, Frozen
from slo_budget_tracker.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

PeriodUnit = Literal["week", "month", "quarter", "year"]
NOMINAL_DAYS: dict[PeriodUnit, int] = {"week": 7, "month": 30, "quarter": 91, "year": 365}
_LOCAL = {"localtime", "posixrules", "Factory"}  # names that mean something else on every machine
_DAY = 86_400
_MONTHS: dict[PeriodUnit, int] = {"month": 1, "quarter": 3, "year": 12}
_USUAL = datetime(2001, 1, 1)  # noqa: DTZ001 - of any zone; a Monday with which a year begins
_START = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.0+)?Z?)?", re.ASCII
)


class Calendar(Frozen):
    """Periods of one kind; unless `start` says more they begin at the first instant of a day in the zone."""

    unit: PeriodUnit
    timezone: str = "UTC"
    start: str | None = None  # ISO 8601, local: one of the instants at which a period begins

    @property
    def nominal(self) -> int:
        """Seconds that factors are computed with, whatever the length of a period."""
        return NOMINAL_DAYS[self.unit] * _DAY

    def period(self, at: int) -> Tick:
        """The period (start, end] that an instant belongs to."""
        base = self._base
        local = datetime.fromtimestamp(at - 1, zone(self.timezone)).replace(tzinfo=None)
        if self.unit == "week":
            number = (local - base) // timedelta(days=7)
        else:
            months = (local.year - base.year) * 12 + local.month - base.month
            number = months // _MONTHS[self.unit]
        while self._begin(number) >= at:
            number -= 1
        while self._begin(number + 1) < at:
            number += 1
        return Tick(self._begin(number), self._begin(number + 1))

    @property
    def _base(self) -> datetime:
        return datetime.fromisoformat(self.start) if self.start is not None else _USUAL

    def _begin(self, number: int) -> int:
        return _begin(self._base, self.unit, number, self.timezone)

    def _defects(self) -> Iterator[Defect]:
        if self.timezone in _LOCAL or not _is_zone(self.timezone):
            expected = "a zone of the IANA database such as Europe/Berlin or UTC"
            yield Defect("timezone", shown(self.timezone, most=60), expected)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """A time zone of the IANA database; ValueError or KeyError for what is none."""
    return ZoneInfo(name)


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except (ValueError, KeyError, OSError):
        return False
    return True


def parse_start(text: str, unit: PeriodUnit) -> str | None:
    """A local date and time in ISO 8601, None where periods begin there anyway.

    Raises:
        ValueError: it is none.
    """
    found = _START.fullmatch(text)
    if found is None:
        raise ValueError("no date and time")
    start = datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 - of the zone
    months = 0 if unit == "week" else (start.year - _USUAL.year) * 12 + start.month - 1
    is_usual = (
        (start - _USUAL) % timedelta(days=7) == timedelta()
        if unit == "week"
        else months % _MONTHS[unit] == 0 and start == start.replace(day=1, hour=0, minute=0, second=0)
    )
    return None if is_usual else start.isoformat()


@lru_cache(maxsize=4_096)
def _begin(base: datetime, unit: PeriodUnit, number: int, timezone: str) -> int:
    """The instant of a local time; of two the first, and in a gap as if the clock had not jumped yet.

    So 02:30 on the day on which 02:00 becomes 03:00 is 03:30, and a midnight that is none is the jump itself.
    """
    if unit == "week":
        local = base + timedelta(days=7 * number)
    else:
        year, month = divmod(base.year * 12 + base.month - 1 + number * _MONTHS[unit], 12)
        day = min(base.day, calendar.monthrange(year, month + 1)[1])
        local = base.replace(year=year, month=month + 1, day=day)
    return int(local.replace(tzinfo=zone(timezone)).timestamp())
