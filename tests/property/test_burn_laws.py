"""Laws of burns found at once: where they are sure of a figure it is the exact one, and nearly always they are."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker import alerts, budget, burns
from slo_budget_tracker.history import WindowArrays
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.snapshots import BurnRateSample
from slo_budget_tracker.specs import SLO, BurnRateAlert, RequestsSli
from slo_budget_tracker.ticks import Outcome, WindowCounts

EVENTS = st.one_of(
    st.integers(0, 10**12).map(float),
    st.floats(0, 1e12, allow_subnormal=False),
    st.fractions(0, 10**6, max_denominator=300).map(float),
)
PAIRS = (
    BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal("14.4")),
    BurnRateAlert(severity="ticket", long=86_400, short=3_600, burn_rate=Decimal(1)),
)
TARGETS = st.sampled_from(["0.95", "0.999", "0.9999", "0.99973", "0.987654321"]).map(Decimal)


@given(
    st.lists(st.tuples(EVENTS, EVENTS), min_size=1, max_size=20), st.integers(1, 10**9), st.integers(1, 10**9)
)
def test_quotients_are_the_nearest_floats(pairs, times, by):
    """Of two counts, each times a whole number, as of integers; hardly ever nobody knows."""
    bad = np.array([min(pair) for pair in pairs])
    total = np.array([max(pair) + 1.0 for pair in pairs])
    rates = burns.quotient(burns.product(bad, times), burns.product(total, by))
    shares = burns.quotient(burns.difference(total, bad), (total, np.zeros(len(pairs))))
    for rate, share, some, all_ in zip(
        rates.tolist(), shares.tolist(), bad.tolist(), total.tolist(), strict=True
    ):
        assert float(Fraction(some) * times / (Fraction(all_) * by)) == rate or math.isnan(rate)
        assert float((Fraction(all_) - Fraction(some)) / Fraction(all_)) == share or math.isnan(share)
    assert np.isnan(rates).sum() + np.isnan(shares).sum() <= len(pairs)


@st.composite
def windows(draw):
    """What is known of the three windows of one SLO; longer ones have at least as many events."""
    known = {}
    total = bad = 0.0
    for length in (300, 3_600, 86_400):
        total += draw(EVENTS)
        bad = min(bad + total * draw(st.sampled_from([0.0, 1e-5, 1e-3, 0.0144, 0.5])), total)
        seen = float(length) if draw(st.integers(0, 3)) else draw(st.floats(0, length))
        known[length] = WindowCounts(length, total, bad, seen, draw(st.sampled_from([0.0, 0.0, 0.0, seen])))
    return known


@given(st.lists(windows(), min_size=1, max_size=12), TARGETS)
def test_what_is_found_at_once_is_what_is_found_one_by_one(known, target):
    """Figures and judgements of whoever is calm are those that `budget` and `alerts` give, to the last bit."""
    sli = RequestsSli(total=(Selector("r"),), bad=(Selector("e"),))
    slo = SLO(name="shop", target=target, window=86_400 * 30, sli=sli, alerts=PAIRS)
    ids = np.arange(len(known))

    def arrays(window, wanted):
        columns = ([getattr(one[window], name) for one in known] for name in WindowCounts._fields[1:6])
        return WindowArrays(window, ids, *(np.array(column, np.float64)[wanted] for column in columns))

    rules, allowance, lengths, _ = alerts.ruleset(slo.alerts, slo.target)
    for instance, found in burns.calm([(slo, int(one)) for one in ids], arrays).items():
        sums = {length: budget.exact(known[instance][length]) for length in lengths}
        judged = {
            rule.name: alerts.judge_pair(
                rule, outcome=Outcome.OK, long=sums[rule.pair.long], short=sums[rule.pair.short]
            )
            for rule in rules
        }
        figures = tuple(
            BurnRateSample(length, *budget.figures(sums[length], allowance)) for length in lengths
        )
        assert burns.Burns(figures, judged) == found


def test_calm_is_what_most_are():
    """Of a thousand SLOs that burn about half as fast as they may, nearly all are found at once."""
    random = np.random.default_rng(3)
    sli = RequestsSli(total=(Selector("r"),), bad=(Selector("e"),))
    slo = SLO(name="shop", target=Decimal("0.999"), window=86_400 * 30, sli=sli, alerts=PAIRS)

    def arrays(window, ids):
        total = random.uniform(0.5, 1, len(ids)) * window * 100
        bad = total * random.uniform(4e-4, 6e-4, len(ids))
        nothing = np.zeros(len(ids))
        return WindowArrays(window, ids, total, bad, nothing + window, nothing, nothing)

    assert 990 < len(burns.calm([(slo, one) for one in range(1_000)], arrays))


def test_targets_of_too_many_digits_are_left_to_whole_numbers():
    """A float cannot hold what such a budget is multiplied with."""
    sli = RequestsSli(total=(Selector("r"),), bad=(Selector("e"),))
    slo = SLO(name="shop", target=Decimal("0.99999999999999999"), window=86_400 * 30, sli=sli, alerts=PAIRS)

    def arrays(window, ids):
        nothing = np.zeros(len(ids))
        return WindowArrays(window, ids, nothing + 1, nothing, nothing + window, nothing, nothing)

    assert {} == burns.calm([(slo, 0)], arrays)
    assert {0} == burns.calm([(slo.model_copy(update={"target": Decimal("0.99")}), 0)], arrays).keys()
