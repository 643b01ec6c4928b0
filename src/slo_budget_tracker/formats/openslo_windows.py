"""OpenSLO's time windows, rolling and calendar, and its shorthand for durations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slo_budget_tracker.calendars import parse_start
from slo_budget_tracker.durations import format_duration, parse_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats.trees import text, tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.calendars import PeriodUnit
    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.drafts import Draft

_SHORTHAND = re.compile(r"([1-9][0-9]{0,4})([mhdwMQY])", re.ASCII)
_EXAMPLE = "a duration such as 5m, 4w or 1M"
_DAYS = {"M": 30, "Q": 90, "Y": 365}
_CALENDAR: dict[str, PeriodUnit] = {
    "1w": "week",
    "1M": "month",
    "1Q": "quarter",
    "3M": "quarter",
    "1Y": "year",
    "12M": "year",
}


def seconds_of(draft: Draft, node: Node | None, *, minutes: bool = False) -> int | None:
    """Seconds of a shorthand; with `minutes` a bare number is minutes."""
    found = draft.text(node, expected=_EXAMPLE)
    if found is None:
        return None
    if minutes and found.text.isdecimal():
        return int(found.text) * 60
    short = _SHORTHAND.fullmatch(found.text)
    if short is None:
        draft.refuse(found, shown(found.text), _EXAMPLE)
        return None
    if short[2] in _DAYS:
        days = int(short[1]) * _DAYS[short[2]]
        draft.warn(found, f"{short[0]} that rolls is read as {days}d")
        return days * 86_400
    return parse_duration(short[0])


def window_of(draft: Draft, spec: Mapping[str, Node], place: Node) -> Node | None:
    """The native `window:`; None with a fault."""
    items = draft.items(spec.get("timeWindow"), expected="a list of one window")
    if not items:
        draft.warn(place, "no timeWindow: 30d that roll are taken")
        return text(place, "30d")
    if len(items) > 1:
        draft.refuse(items[1], "a second window", "one", "write an SLO for each")
        return None
    found = draft.mapping(items[0], ("duration", "isRolling", "calendar"), required=("duration",))
    if draft.flag(found.get("isRolling"), default="calendar" not in found):
        draft.left_out(found, ("calendar",), "the window rolls")
        seconds = seconds_of(draft, found.get("duration"))
        return text(items[0], format_duration(seconds)) if seconds is not None else None
    return _calendar(draft, items[0], found)


def _calendar(draft: Draft, node: Node, found: Mapping[str, Node]) -> Node | None:
    duration = draft.text(found.get("duration"), expected=_EXAMPLE)
    period = _CALENDAR.get(duration.text) if duration is not None else None
    if duration is None:
        return None
    if period is None:
        draft.refuse(duration, f"{shown(duration.text)} by the calendar", "1w, 1M, 1Q or 1Y")
        return None
    calendar = draft.mapping(found.get("calendar"), ("startTime", "timeZone"))
    start = draft.text(calendar.get("startTime"))
    begin = None
    if start is not None:
        try:
            begin = parse_start(start.text, period)
        except ValueError:
            draft.refuse(start, shown(start.text), "a date and time such as 2026-01-05 00:00:00")
            return None
    zone = draft.text(calendar.get("timeZone"))
    first = text(start, begin) if begin is not None and start is not None else None
    return tree(node, {"calendar": text(duration, period), "timezone": zone, "start": first})
