"""Durations and instants: what people write, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.durations import format_duration, parse_duration, parse_fine_duration, parse_instant

NOW = 1_793_448_000.0  # 2026-10-31T12:00:00Z


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30d", 2_592_000),
        ("1h30m", 5_400),
        ("2w", 1_209_600),
        ("1y", 31_536_000),
        ("0", 0),
        ("0s", 0),
        ("90s", 90),
        ("1000ms", 1),
    ],
)
def test_durations_of_prometheus_are_whole_seconds(text, seconds):
    """The units of Prometheus, with a year of 365 days."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "1m1h",
        "1h1h",
        "1.5h",
        "-1h",
        "1 h",
        "1H",
        "1500ms",
        "h",
        "\u0661h",
        "101y",
        "9999999999999s",
        "1h\n",
    ],
)
def test_other_durations_are_refused(text):
    """Bare numbers, wrong order, fractions, signs, blanks, other digits and centuries are errors."""
    with pytest.raises(ValueError, match=r"duration|whole|years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300ms", "0.3"), ("2.5s", "2.5"), ("1s", "1"), ("0.005s", "0.005"), ("1s500ms", "1.5")],
)
def test_fine_durations_are_exact(text, seconds):
    """Fractions of a second are decimals, not floats."""
    assert Decimal(seconds) == parse_fine_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2_592_000, "30d"),
        (5_400, "1h30m"),
        (0, "0s"),
        (0.3, "300ms"),
        (-60, "-1m"),
        (Decimal("1.5"), "1s500ms"),
        (75, "1m15s"),
    ],
)
def test_durations_are_printed_short(seconds, text):
    """Without units that are zero."""
    assert text == format_duration(seconds)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-10-31T12:00:00Z", NOW),
        ("2026-10-31t13:00:00+01:00", NOW),
        ("2026-10-31T12:00:00.5z", NOW + 0.5),
        ("1793448000", NOW),
        ("1793448000.25", NOW + 0.25),
        ("now", NOW),
        ("-2h", NOW - 7_200),
        ("+90s", NOW + 90),
    ],
)
def test_instants_in_every_accepted_form(text, instant):
    """RFC 3339 with a zone, epoch seconds, relative to now."""
    assert instant == parse_instant(text, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-10-31",
        "2026-10-31T12:00:00",
        "20261031T120000Z",
        "1793448000000",
        "-2",
        "yesterday",
        "2026-13-01T00:00:00Z",
        "nan",
        "1e9",
    ],
)
def test_other_instants_are_refused(text):
    """Times without a zone, milliseconds, impossible dates and words are errors."""
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text, now=NOW)
