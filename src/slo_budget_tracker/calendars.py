"""Calendar periods: weeks (from Monday), months, quarters and years of a time zone and its clock changes."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from slo_budget_tracker.slis import Defect, Frozen
from slo_budget_tracker.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

PeriodUnit = Literal["week", "month", "quarter", "year"]
NOMINAL_DAYS: dict[PeriodUnit, int] = {"week": 7, "month": 30, "quarter": 91, "year": 365}
_LOCAL = {"localtime", "posixrules", "Factory"}  # names that mean something else on every machine
_DAY = 86_400


class Calendar(Frozen):
    """Periods of one kind; they begin at the first instant of a day in the zone."""

    unit: PeriodUnit
    timezone: str = "UTC"

    @property
    def nominal(self) -> int:
        """Seconds that factors are computed with, whatever the length of a period."""
        return NOMINAL_DAYS[self.unit] * _DAY

    def period(self, at: int) -> Tick:
        """The period (start, end] that an instant belongs to."""
        day = datetime.fromtimestamp(at - 1, zone(self.timezone)).date()
        first = _first_day(day, self.unit)
        return Tick(_begin(first, self.timezone), _begin(_next_first_day(first, self.unit), self.timezone))

    def _defects(self) -> Iterator[Defect]:
        if self.timezone in _LOCAL or not _is_zone(self.timezone):
            expected = "a zone of the IANA database such as Europe/Berlin or UTC"
            yield Defect("timezone", f"{self.timezone[:60]!a}", expected)


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


def _first_day(day: date, unit: PeriodUnit) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(month=3 * ((day.month - 1) // 3) + 1, day=1)
    return day.replace(month=1, day=1)


def _next_first_day(first: date, unit: PeriodUnit) -> date:
    longest = {"week": 7, "month": 31, "quarter": 92, "year": 366}[unit]
    return _first_day(first + timedelta(days=longest), unit)


@lru_cache(maxsize=4_096)
def _begin(day: date, timezone: str) -> int:
    """The first instant of a day; where there is no midnight, the one at which the clock jumps over it."""
    return int(datetime.combine(day, time(), zone(timezone)).timestamp())
