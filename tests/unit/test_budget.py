"""The formulas of budget and burn rate: exact at their edges."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker import budget
from slo_budget_tracker.budget import Bounds, Ratio, Sums
from slo_budget_tracker.ticks import WindowCounts

HOUR = 3_600


def sums(total, bad, known=HOUR, partial=0, window=HOUR):
    """Exact counts of one window."""
    return budget.exact(WindowCounts(window, total, bad, known, partial))


def allowed(target="0.999", factor="1"):
    """The error ratio at which the target burns at the factor."""
    return budget.allowed(Decimal(target), Decimal(factor))


def test_whole_counts_stay_as_they_are():
    """Floats without a fraction become the same integers."""
    assert Sums(1000, 3, 1, 3_540, 3_480, HOUR, 1) == sums(1000.0, 3.0, 3_540.0, 60.0)


def test_fractional_counts_are_exact_rationals():
    """Counts and seconds that a window's edge has cut share a denominator."""
    assert Sums(4002, 1, 4, 7_001, 6_998, 2 * HOUR, 2) == sums(1000.5, 0.25, 3_500.5, 1.5)
    assert Sums(4000, 1, 4, HOUR, HOUR, HOUR, 1) == sums(1000.0, 0.25)
    assert Sums(2001, 2, 2, HOUR, HOUR, HOUR, 1) == sums(1000.5, 1.0)
    assert Sums(1, 1, 1, 7_000, 6_999, 2 * HOUR, 2) == sums(1, 1, 3_500.0, 0.5)


def test_more_known_than_the_window_is_all_of_it():
    """A tick that reaches over the window's start adds nothing to its coverage."""
    assert Sums(10, 1, 1, HOUR, HOUR, HOUR, 1) == sums(10, 1, HOUR + 60)


@pytest.mark.parametrize("known", [0, 0.0, -1], ids=["none", "none as a float", "less than none"])
def test_where_nothing_is_known_there_are_no_counts(known):
    """Events without a known second are not used."""
    assert Sums(0, 0, 1, 0, 0, HOUR, 1) == sums(10, 1, known)


@pytest.mark.parametrize(
    ("target", "factor", "expected"),
    [
        ("0.999", "1", Ratio(1, 1_000)),
        ("0.999", "14.4", Ratio(9, 625)),
        ("0.99999", "1", Ratio(1, 100_000)),
        ("0.5", "2", Ratio(1, 1)),
    ],
)
def test_the_allowed_error_ratio_is_exact(target, factor, expected):
    """1 - 0.99999 is one in a hundred thousand, not 1.0000000000065512e-05 (D20)."""
    assert expected == allowed(target, factor)


@pytest.mark.parametrize(
    ("window", "expected"),
    [(HOUR, 900), (86_400, 21_600), (86_400 - 4, 21_599), (30 * 86_400, 21_600)],
    ids=["a quarter", "exactly six hours", "just under", "thirty days"],
)
def test_the_pace_is_taken_from_six_hours_or_a_quarter_of_the_window(window, expected):
    """The shorter of six hours and a quarter of the window."""
    assert expected == budget.exhaustion_window(window)


def test_figures_of_a_window_with_traffic():
    """Two failures of a thousand at 99.9 %: burnt twice over."""
    known = sums(1_000, 2)
    assert 0.998 == budget.success_ratio(known)
    assert 2.0 == budget.burn_rate(known, allowed())
    assert -1.0 == budget.remaining(known, allowed())
    assert -1.0 == budget.events_remaining(known, allowed())
    assert 1_000.0 == budget.sample_count(known)
    assert 2.0 == budget.failures(known)
    assert 1.0 == budget.coverage(known)


def test_fractional_figures_are_in_events_not_in_shares():
    """The common denominator does not leak into any figure."""
    cut = sums(1_000.5, 0.25, 1_800.5)
    assert 1_000.5 == budget.sample_count(cut)
    assert 0.25 == budget.failures(cut)
    assert (1_000.5 - 0.25) / 1_000.5 == budget.success_ratio(cut)
    assert 0.7505 == budget.events_remaining(cut, allowed())
    assert 1_800.5 / HOUR == budget.coverage(cut)


def test_figures_of_a_target_whose_budget_is_no_unit_fraction():
    """0.9985 allows 3 of 2,000: 6 of 8,000 are half of it, 12 all, 13 too many."""
    allowance = allowed("0.9985")
    assert Ratio(3, 2_000) == allowance
    half = sums(8_000, 6)
    assert (0.5, 0.5, 6.0, Bounds(0.5, 0.5)) == (
        budget.burn_rate(half, allowance),
        budget.remaining(half, allowance),
        budget.events_remaining(half, allowance),
        budget.bounds(half, allowance),
    )
    # known for half the time: as many requests again, of which all or none failed
    assert Bounds(1 - 8_006 / 24, 1 - 6 / 24) == budget.bounds(sums(8_000, 6, HOUR // 2), allowance)
    assert 900.0 == budget.exhaustion_seconds(half, sums(2_000, 6, 900, window=900), allowance)
    assert [(False, False), (False, True), (True, True)] == [
        (budget.breached(sums(8_000, bad), allowance), budget.exhausted(sums(8_000, bad), allowance))
        for bad in (11, 12, 13)
    ]


def test_one_request_in_one_second_is_enough_to_know():
    """The smallest counts are counts."""
    one = sums(1, 1, 1, window=1)
    assert (True, True, True, True) == (
        budget.breached(one, allowed()),
        budget.exhausted(one, allowed()),
        budget.reaches(one, allowed()),
        budget.surely_reaches(one, allowed()),
    )
    assert 1 / HOUR == budget.coverage(sums(1, 0, 1))


def test_figures_without_traffic():
    """Ratios are absent, counts 0, the whole budget remains, nothing is breached."""
    idle = sums(0, 0)
    assert None is budget.success_ratio(idle)
    assert None is budget.burn_rate(idle, allowed())
    assert 1.0 == budget.remaining(idle, allowed())
    assert 0.0 == budget.events_remaining(idle, allowed())
    assert 0.0 == budget.sample_count(idle)
    assert 0.0 == budget.failures(idle)
    assert False is budget.breached(idle, allowed())
    assert False is budget.exhausted(idle, allowed())
    assert Bounds(1.0, 1.0) == budget.bounds(idle, allowed())
    assert None is budget.exhaustion_seconds(idle, idle, allowed())


def test_figures_of_the_unknown():
    """Where nothing is known, every figure is absent and the coverage 0."""
    nothing = sums(0, 0, 0)
    figures = [
        budget.success_ratio(nothing),
        budget.burn_rate(nothing, allowed()),
        budget.remaining(nothing, allowed()),
        budget.events_remaining(nothing, allowed()),
        budget.sample_count(nothing),
        budget.failures(nothing),
        budget.breached(nothing, allowed()),
        budget.exhausted(nothing, allowed()),
        budget.bounds(nothing, allowed()),
        budget.exhaustion_seconds(nothing, sums(100, 1), allowed()),
    ]
    assert [None] * 10 == figures
    assert 0.0 == budget.coverage(nothing)


@pytest.mark.parametrize(
    ("bad", "breached", "exhausted"),
    [(0, False, False), (9, False, False), (10, False, True), (11, True, True)],
    ids=["no failure", "one left", "exactly the allowed ones", "one too many"],
)
def test_breached_is_strict_and_exhausted_is_not(bad, breached, exhausted):
    """Exactly the allowed failures meet the target and leave nothing, at five nines (D20)."""
    known = sums(1_000_000, bad)
    assert (breached, exhausted) == (
        budget.breached(known, allowed("0.99999")),
        budget.exhausted(known, allowed("0.99999")),
    )
    assert (10 - bad) / 10 == budget.remaining(known, allowed("0.99999"))


def test_the_bounds_are_those_of_all_bad_and_all_good():
    """Half of the window known with 1 % failed: the rest decides between 0.5 % and 50.5 %."""
    assert Bounds(worst=1 - 50.5, best=0.5) == budget.bounds(sums(1_000, 10, HOUR // 2), allowed("0.99"))


def test_the_bounds_without_known_traffic_weigh_seconds():
    """Nothing served in the known half: the unknown half may have failed wholly."""
    assert Bounds(worst=1 - 50.0, best=1.0) == budget.bounds(sums(0, 0, HOUR // 2), allowed("0.99"))


def test_two_hours_of_thirty_days():
    """Coverage 0.0028 and wide bounds, not 100 % (D22)."""
    known = sums(7_200, 0, 7_200, window=30 * 86_400)
    assert 7_200 / 2_592_000 == budget.coverage(known)
    assert 1.0 == budget.remaining(known, allowed())
    worst, best = budget.bounds(known, allowed())
    assert 1.0 == best
    assert pytest.approx(1 - 1_000 * 359 / 360) == worst


@pytest.mark.parametrize(
    ("bad", "reaches"), [(143, False), (144, True), (145, True)], ids=["below", "equal", "above"]
)
def test_the_factor_itself_is_reached(bad, reaches):
    """144 of 10,000 burn at exactly 14.4; one failure less does not."""
    limit = allowed("0.999", "14.4")
    assert reaches is budget.reaches(sums(10_000, bad), limit)
    assert reaches is budget.surely_reaches(sums(10_000, bad), limit)


@pytest.mark.parametrize(
    ("bad", "surely"),
    [(287, False), (288, True)],
    ids=["not if the rest is good", "even if the rest is good"],
)
def test_the_unknown_half_counts_as_good(bad, surely):
    """With half the window known, twice the failures are needed to be sure."""
    half = sums(10_000, bad, HOUR // 2)
    limit = allowed("0.999", "14.4")
    assert (True, surely) == (budget.reaches(half, limit), budget.surely_reaches(half, limit))


@pytest.mark.parametrize("counts", [(0, 0, HOUR), (0, 0, 0)], ids=["no traffic", "nothing known"])
def test_nothing_reaches_a_factor_without_events(counts):
    """0 of 0 is no error ratio."""
    assert (False, False) == (
        budget.reaches(sums(*counts), allowed()),
        budget.surely_reaches(sums(*counts), allowed()),
    )


@pytest.mark.parametrize(
    ("known", "partial", "expected"),
    [(240, 0, True), (239, 0, False), (300, 60, True), (300, 61, False), (239.5, 0, False), (0, 0, False)],
    ids=["80 %", "just under", "80 % whole", "too much partial", "half a second short", "nothing"],
)
def test_well_covered_is_four_fifths_of_whole_ticks(known, partial, expected):
    """Partial answers do not cover (P17)."""
    assert expected is budget.well_covered(sums(10, 0, known, partial, window=300))


@pytest.mark.parametrize(
    ("bad", "recent", "expected"),
    [
        (40, (1_000, 0, 900), None),
        (40, (1_000, 20, 900), 900.0),
        (40, (1_000, 20, 450), 450.0),
        (40, (1_000.5, 10.5, 450.5), 20 * 450.5 / 10.5),
        (60, (1_000, 0, 900), 0.0),
        (61, (1_000, 5, 900), 0.0),
        (40, (0, 0, 0), None),
    ],
    ids=[
        "nothing burns",
        "20 left, 20 per quarter hour",
        "half of the quarter hour known",
        "cut at the edge",
        "exhausted and calm",
        "overspent",
        "the last quarter hour unknown",
    ],
)
def test_how_long_the_rest_lasts(bad, recent, expected):
    """Events remaining over bad events per known second."""
    total, failed, known = recent
    pace = sums(total, failed, known, window=900)
    assert expected == budget.exhaustion_seconds(sums(6_000, bad), pace, allowed("0.99"))


def test_how_long_the_rest_lasts_when_both_windows_are_cut():
    """Fractions of events in the SLO window and in the pace: 20.25 left, 4.5 failed in 450.5 s."""
    whole, pace = sums(6_025.0, 40.0), sums(1_000.5, 4.5, 450.5, window=900)
    assert 20.25 * 450.5 / 4.5 == budget.exhaustion_seconds(whole, pace, allowed("0.99"))
    cut = sums(6_012.5, 40.0)
    assert 20.125 * 450.5 / 4.5 == budget.exhaustion_seconds(cut, pace, allowed("0.99"))
