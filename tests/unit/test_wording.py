"""Numbers, spans, bars and sparklines as people see them: absence is a dash, nothing is rounded to all or nothing."""

from decimal import Decimal

import pytest

from slo_budget_tracker import drawing, wording
from slo_budget_tracker.pages import address

DASH = "\N{EN DASH}"


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        (wording.share, None, DASH),
        (wording.share, 1.0, "100%"),
        (wording.share, 0.0, "0.0%"),
        (wording.share, 0.9999, "99.99%"),
        (wording.share, 0.00004, "0.004%"),
        (wording.share, -1.25, "\N{MINUS SIGN}125.0%"),
        (wording.share, 0.9999999999, "100.000000%"),
        (wording.target, Decimal("0.9990"), "99.9%"),
        (wording.rate, None, DASH),
        (wording.rate, 14.4, "14.4\N{MULTIPLICATION SIGN}"),
        (wording.rate, 1234.5, "1,234\N{MULTIPLICATION SIGN}"),
        (wording.count, None, DASH),
        (wording.count, 1234567.0, "1,234,567"),
        (wording.count, 3.0, "3"),
        (wording.count, -3.25, "\N{MINUS SIGN}3.2"),
        (wording.brief, None, DASH),
        (wording.brief, 1234567.0, "1.23 M"),
        (wording.brief, 0.4567, "0.457"),
        (wording.brief, -5e9, "\N{MINUS SIGN}5 G"),
        (wording.span, None, DASH),
        (wording.span, 0.4, "0 s"),
        (wording.span, 59.6, "1 min"),
        (wording.span, 273_600, "3 d 4 h"),
        (wording.span, 86_405, "1 d"),
        (wording.span, 3_661, "1 h 1 min"),
        (wording.instant, None, DASH),
        (wording.instant, 1_793_448_000, "2026-10-31 12:00 UTC"),
    ],
)  # fmt: skip
def test_words(word, value, expected):
    """Each form of a number."""
    assert expected == word(value)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, "\N{EN DASH}"), (3_600, "1 h"), (90 * 86_400, "over 30 d")]
)
def test_a_forecast_ends_with_the_window(seconds, expected):
    """What lies beyond the window is no forecast."""
    assert expected == wording.ends(seconds, 30 * 86_400)


@pytest.mark.parametrize(
    ("remaining", "bounds", "expected"),
    [
        (None, None, None),
        (0.5, None, (50.0, 0.0, None, None)),
        (-0.25, (-0.5, 0.1), (0.0, 25.0, 0.0, 10.0)),
        (-7.0, None, (0.0, 100.0, None, None)),
    ],
)
def test_bars(remaining, bounds, expected):
    """A bar never leaves its track."""
    assert expected == drawing.bar(remaining, bounds)


def test_sparklines_break_where_nothing_is_known():
    """Two lines around a hole, from the lowest budget to all of it."""
    spark = drawing.spark([1.0, 0.0, None, -1.0])
    assert ("2.0,2.0 40.7,15.0", "118.0,28.0") == spark.lines
    assert (15.0, (118.0, 28.0)) == (spark.zero, spark.last)
    assert None is drawing.spark([None, None])
    assert None is drawing.spark([0.5, None]).last


def test_addresses_are_quoted():
    """Names and group labels stand in an address as they must."""
    assert "/slos/a%2Fb?group.handler=%2Fpay%3Fx%3D1" == address("a/b", {"handler": "/pay?x=1"})


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (
            "1h burns 37.9426 and 5m burns 1000.44, at or above 14.4",
            "1h burns 37.9 and 5m burns 1000, at or above 14.4",
        ),
        ("5m burns 14.3999, below 14.4", "5m burns 14.3999, below 14.4"),
        ("5m burns 0.00123456, below 14.4", "5m burns 0.00123, below 14.4"),
        ("5m burns 0.0, below 14.4", "5m burns 0, below 14.4"),
        ("5m burns 3.21e-05, below 6", "5m burns 0.0000321, below 6"),
        ("A page fires: 1h burns 37.9426.", "A page fires: 1h burns 37.9."),
        ("12.3456% of the error budget remains", "12.3% of the error budget remains"),
        (
            "held: 127.0.0.1:9090 of 99.9876% is out of reach",
            "held: 127.0.0.1:9090 of 99.9876% is out of reach",
        ),
    ],
)
def test_reasons_have_three_digits(reason, shown):
    """What burns and what is left; a figure that would then be at the factor stays as it is."""
    assert shown == wording.reason(reason)


@pytest.mark.parametrize(
    ("worst", "best", "said"),
    [
        (0.25, 0.75, "25.0% to 75.0% is left"),
        (-156.2, 0.906, "at most 90.6% is left"),
        (0.0, 0.5, "at most 50.0% is left"),
        (-3.0, -0.2, "nothing is left in any case"),
    ],
)
def test_bounds_of_a_budget(worst, best, said):
    """Nobody is told by how many thousand percent a budget might be overspent."""
    assert said == wording.between(worst, best)
