"""Chance: the binomial tail against the exact sum, and what it makes of low traffic."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import comb

import pytest

from slo_budget_tracker import alerts, budget
from slo_budget_tracker.chance import at_least
from slo_budget_tracker.specs import BurnRateAlert
from slo_budget_tracker.ticks import Outcome, WindowCounts

HOUR = 3_600


def exactly(bad, total, ratio):
    """The tail as a sum of fractions."""
    p = Fraction(ratio)
    return sum(comb(total, k) * p**k * (1 - p) ** (total - k) for k in range(bad, total + 1))


@pytest.mark.parametrize("total", [1, 2, 3, 10, 69])
@pytest.mark.parametrize("ratio", ["0.0001", "0.0144", "0.3", "0.9"])
def test_the_tail_is_the_exact_sum(total, ratio):
    """To nine digits, on both sides of the mean."""
    for bad in range(total + 2):
        expected = 1.0 if bad == 0 else float(exactly(bad, total, Decimal(ratio))) if bad <= total else 0.0
        assert expected == pytest.approx(at_least(bad, total, float(ratio)), rel=1e-9, abs=1e-300)


def test_large_counts_are_quick_and_sane():
    """A billion requests: at the mean a coin's toss, a little above it next to nothing."""
    assert 0.5 == pytest.approx(at_least(14_400_000, 10**9, 0.0144), abs=0.01)
    assert at_least(14_500_000, 10**9, 0.0144) < 1e-100
    assert (0.0, 1.0, 0.0, 1.0) == (
        at_least(3, 2, 0.5),
        at_least(0, 2, 0.5),
        at_least(1, 2, 0.0),
        at_least(2, 2, 1.0),
    )


def judged(bad, total, **guard):
    """What a tick says about an hour with so many requests, the failures in its last five minutes."""
    pair = BurnRateAlert(severity="page", long=HOUR, short=300, burn_rate=Decimal("14.4"), **guard)
    (rule,) = alerts.ruleset((pair,), Decimal("0.999")).rules
    long = budget.exact(WindowCounts(HOUR, total, bad, HOUR))
    short = budget.exact(WindowCounts(300, max(bad, 1), bad, 300))
    return alerts.judge_pair(rule, outcome=Outcome.OK, long=long, short=short)


@pytest.mark.parametrize(
    ("bad", "total", "guard", "finding"),
    [
        pytest.param(1, 10, {}, "burning", id="one of ten pages where nothing guards"),
        pytest.param(1, 10, {"minimum_bad": 2}, "lingering", id="one is fewer than two"),
        pytest.param(2, 10, {"minimum_bad": 2}, "burning", id="two are two"),
        pytest.param(1, 10, {"confidence": Decimal("0.99")}, "lingering", id="one of ten may be chance"),
        pytest.param(2, 10, {"confidence": Decimal("0.99")}, "burning", id="two of ten are hardly chance"),
        pytest.param(15, 1_000, {}, "burning", id="just above the factor"),
        pytest.param(15, 1_000, {"confidence": Decimal("0.99")}, "lingering", id="just above may be chance"),
        pytest.param(25, 1_000, {"confidence": Decimal("0.99")}, "burning", id="25 of 1000 are not"),
        pytest.param(
            14_700, 10**6, {"confidence": Decimal("0.99")}, "burning", id="much traffic needs 2 % more"
        ),
    ],
)
def test_guards_of_low_traffic(bad, total, guard, finding):
    """D19: too few failures, or too likely ones, start nothing and say why."""
    found = judged(bad, total, **guard)
    assert finding == found.finding
    assert (finding == "lingering") == found.reason.startswith("insufficient events")


def test_the_reason_names_the_chance():
    """What the page and the event show: counts, factor, probability."""
    reason = judged(1, 10, confidence=Decimal("0.99")).reason
    assert reason.endswith("so many of 10 fail by chance at 14.4 (p 0.14)")
