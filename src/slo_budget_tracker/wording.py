"""Wording: numbers, spans and instants as people read them; absence is a dash, never a number."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from slo_budget_tracker.durations import format_duration

if TYPE_CHECKING:
    from slo_budget_tracker.specs import SLO

NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"
_SIX_DIGITS = re.compile(r"(?<=burns )\d+\.\d+(?:e[+-]\d+)?|\d+\.\d+(?=% of the error budget remains)")
_FEW_DIGITS = 10  # below it a number has decimals
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def share(value: float | None, digits: int = 1) -> str:
    """A ratio as a percentage; what rounds to all or nothing and is not says so with more digits."""
    if value is None:
        return NOTHING
    if value == 1:
        return "100%"
    text = f"{100 * abs(value):,.{digits}f}"
    while digits < 6 and value not in {0, 1} and float(text.replace(",", "")) in {0, 100}:  # noqa: PLR2004
        digits += 1
        text = f"{100 * abs(value):,.{digits}f}"
    return f"{MINUS if value < 0 and float(text.replace(',', '')) else ''}{text}%"


def between(worst: float, best: float) -> str:
    """What is left of a budget of whose window something is not known: how overspent it may be is no news."""
    if best <= 0:
        return "nothing is left in any case"
    return f"at most {share(best)} is left" if worst <= 0 else f"{share(worst)} to {share(best)} is left"


def target(value: Decimal) -> str:
    """An objective as it was written: 99.9%."""
    return f"{(value * 100).normalize():f}%"


def rate(value: float | None) -> str:
    """How many times faster than allowed the budget goes, in three digits."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}{TIMES}" if value >= 100 else f"{value:.3g}{TIMES}"  # noqa: PLR2004 - three digits


def count(value: float | None) -> str:
    """A number of events, whole where it is large."""
    if value is None:
        return NOTHING
    sign = MINUS if value < 0 else ""
    plain = abs(value)
    return sign + (f"{plain:,.0f}" if plain >= _FEW_DIGITS or plain == int(plain) else f"{plain:.1f}")


def brief(value: float | None) -> str:
    """A number in three digits with a unit: 1.23 M."""
    if value is None:
        return NOTHING
    plain = abs(value)
    for size, unit in _UNITS:
        if plain >= size:
            return f"{MINUS if value < 0 else ''}{plain / size:.3g} {unit}"
    return f"{MINUS if value < 0 else ''}{plain:.3g}"


def span(seconds: float | None) -> str:
    """How long, in its two largest units: 3 d 4 h."""
    if seconds is None:
        return NOTHING
    rest = round(seconds)
    first = next((place for place, (size, _) in enumerate(_SPANS) if rest >= size), len(_SPANS) - 1)
    parts = []
    for size, unit in _SPANS[first : first + 2]:
        number, rest = divmod(rest, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts) or "0 s"


def ends(seconds: float | None, window: int) -> str:
    """When a budget is spent; what lies beyond the window itself is no forecast."""
    return f"over {span(window)}" if seconds is not None and seconds > window else span(seconds)


def bar(done: int, whole: int, elapsed: float, *, width: int = 30) -> str:
    """How far something is, as a line of text: a bar, the share, and how long it still takes at this pace."""
    part = min(done / whole, 1.0) if whole else 1.0
    filled = int(part * width)
    left = f", {span(elapsed * (1 - part) / part)} left" if 0 < part < 1 else ""
    return f"{'━' * filled}{'╌' * (width - filled)} {part:.0%}{left}"


def period(slo: SLO | None, seconds: int) -> str:
    """What a budget is for: a rolling window or a calendar period."""
    if slo is None or slo.calendar is None:
        return f"over {format_duration(seconds)}"
    zone = "" if slo.calendar.timezone == "UTC" else f" ({slo.calendar.timezone})"
    return f"per {slo.calendar.unit}{zone}"


def instant(at: int | None) -> str:
    """A data instant, UTC, to the minute."""
    return NOTHING if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


window = format_duration


def reason(text: str) -> str:
    """A reason with three digits of what burns or is left, unless they would say it is at the factor."""

    def brisk(found: re.Match[str]) -> str:
        value = Decimal(found[0])
        digits = max(2 - value.adjusted(), 0) if value else 0
        short = f"{round(value, digits).normalize():f}"
        return found[0] if re.search(rf"(?:below|at|above) {re.escape(short)}(?![\d.]\d|\d)", text) else short

    return _SIX_DIGITS.sub(brisk, text)


KINDS = {
    "slo_burn_started": "Burn alert started",
    "slo_recovered": "Burn alert ended",
    "slo_burn_revised": "Corrected by late data",
    "slo_budget_alert_started": "Budget alert started",
    "slo_budget_alert_recovered": "Budget alert ended",
    "slo_budget_exhausted": "Error budget exhausted",
    "slo_budget_restored": "Error budget restored",
    "slo_data_lost": "Data lost",
    "slo_data_restored": "Data back",
    "slo_definition_changed": "Definition changed",
    "slo_retired": "Retired",
    "slo_correction_applied": "Correction applied",
    "store_reset": "Ledger reset",
    "audit_mismatch_detected": "Audit stream disagrees",
}
MARKS = {"deploy": "Deploy", "incident": "Incident", "note": "Note"}
STANDINGS = {
    "healthy": "Healthy",
    "at_risk": "At risk",
    "exhausted": "Exhausted",
    "error": "Error",
    "no_data": "No data",
}
DELIVERIES = {
    "pending": "waits for delivery",
    "attempted": "sent, not confirmed yet",
    "delivered": "delivered",
    "quarantined": "refused by the audit stream",
    "skipped": "kept here only",
}
DATA = {
    "ok": "ok",
    "no_traffic": "no traffic",
    "no_data": "no data",
    "partial": "partial answer",
    "error": "error",
}
