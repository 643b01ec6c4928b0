"""Durations and instants as people write them: `30d`, `1h30m`, `300ms`, `-2h`, RFC 3339."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from decimal import Decimal

# The grammar of Prometheus: every unit at most once, from the largest to the smallest.
_GRAMMAR = re.compile(
    r"(?:([0-9]{1,12})y)?(?:([0-9]{1,12})w)?(?:([0-9]{1,12})d)?(?:([0-9]{1,12})h)?"
    r"(?:([0-9]{1,12})m)?(?:([0-9]{1,12})s)?(?:([0-9]{1,12})ms)?",
    re.ASCII,
)
_MILLISECONDS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_LONGEST = 100 * _MILLISECONDS[0]
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?", re.ASCII)
_FINE_SECONDS = re.compile(r"([0-9]{1,12}\.[0-9]{1,9})s", re.ASCII)
# datetime.fromisoformat accepts far more than RFC 3339 (`20261031`, `2026-W44`): the shape is checked first.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]{1,6})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


def _milliseconds(text: str) -> int:
    if text == "0":
        return 0
    found = _GRAMMAR.fullmatch(text) if text else None
    if found is None:
        raise ValueError("not a duration such as 30d, 1h30m or 300ms")
    total = sum(int(n) * unit for n, unit in zip(found.groups(), _MILLISECONDS, strict=True) if n)
    if total > _LONGEST:
        raise ValueError("longer than 100 years")
    return total


def parse_duration(text: str) -> int:
    """Seconds of a Prometheus duration (`30d`, `1h30m`); ValueError unless these are whole seconds."""
    seconds, rest = divmod(_milliseconds(text), 1_000)
    if rest:
        raise ValueError("not a whole number of seconds")
    return seconds


def parse_fine_duration(text: str) -> Decimal:
    """Seconds of a duration that may be shorter than one (`300ms`, `2.5s`), exact."""
    fraction = _FINE_SECONDS.fullmatch(text)
    if fraction is not None:
        return Decimal(fraction[1])
    return Decimal(_milliseconds(text)) / 1_000


def format_duration(seconds: float | Decimal) -> str:
    """The shortest Prometheus duration: 2592000 is `30d`, 5400 is `1h30m`, 0.3 is `300ms`."""
    sign = "-" if seconds < 0 else ""
    rest, fraction = divmod(round(abs(Decimal(seconds)) * 1_000), 1_000)
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    if fraction:
        parts.append(f"{fraction}ms")
    return sign + "".join(parts) if parts else "0s"


def parse_instant(text: str, *, now: float) -> float:
    """Epoch seconds of `2026-10-31T12:00:00Z`, `1793448000`, `now`, or a time relative to `now` (`-2h`)."""
    if text == "now":
        return now
    if text[:1] in {"-", "+"}:
        offset = _milliseconds(text[1:]) / 1_000
        return now - offset if text[0] == "-" else now + offset
    if _NUMBER.fullmatch(text):
        instant = float(text)
        if not math.isfinite(instant) or instant >= 253_402_300_800:  # noqa: PLR2004 - the year 10000
            raise ValueError("after the year 9999; epoch seconds are expected, not milliseconds")
        return instant
    if not _RFC3339.fullmatch(text):
        raise ValueError(
            "not a time: RFC 3339 with a zone (2026-10-31T12:00:00Z), epoch seconds or -2h expected"
        )
    return datetime.fromisoformat(text.upper()).astimezone(UTC).timestamp()
