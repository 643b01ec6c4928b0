"""Laws of the budget: exact as fractions are, monotone, indifferent to scale and order, honest about gaps."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from slo_budget_tracker import budget
from slo_budget_tracker.history import History
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick, WindowCounts

WINDOW = 3_600
TARGETS = st.sampled_from(
    ["0.5", "0.9", "0.95", "0.97", "0.99", "0.9985", "0.999", "0.9995", "0.9999", "0.99999"]
).map(Decimal)
FACTORS = st.sampled_from(["1", "2.8", "3", "6", "14.4", "16.8"]).map(Decimal)


@st.composite
def windows(draw, *, least=0, fractions=False):
    """Counts of one window; with `fractions`, quarters of events and of seconds as at a window's edge."""
    unit = 4 if fractions else 1
    known = draw(st.integers(1, WINDOW * unit))
    total = draw(st.integers(least, 10_000_000 * unit))
    bad = draw(st.one_of(st.integers(0, total), st.integers(0, min(total, 20_000))))
    partial = draw(st.integers(0, known))
    return WindowCounts(WINDOW, total / unit, bad / unit, known / unit, partial / unit)


@given(
    st.one_of(windows(fractions=True), windows(), st.just(WindowCounts(WINDOW, 0, 0, 0))),
    TARGETS,
)
def test_all_figures_at_once_are_each_by_itself(counts, target):
    """The five figures of a window that are made together are to the last bit what each function says."""
    sums, allowance = budget.exact(counts), budget.allowed(target)
    assert (
        budget.burn_rate(sums, allowance),
        budget.success_ratio(sums),
        budget.sample_count(sums),
        budget.failures(sums),
        budget.coverage(sums),
    ) == budget.figures(sums, allowance)


@given(st.floats(0, 1e9), st.one_of(st.floats(0, 1e9), st.integers(0, 10**9)), st.floats(0, WINDOW))
def test_counts_over_one_denominator_are_the_same_numbers(total, bad, known):
    """Whatever fractions an edge leaves, the integers over their scale are exactly the counts."""
    sums = budget.exact(WindowCounts(WINDOW, total, bad, known, known / 3))
    assume(sums.known)
    assert (Fraction(total), Fraction(bad)) == (
        Fraction(sums.total, sums.scale),
        Fraction(sums.bad, sums.scale),
    )
    assert (Fraction(known), Fraction(known) - Fraction(known / 3)) == (
        Fraction(sums.known, sums.second),
        Fraction(sums.trusted, sums.second),
    )


@given(windows(least=1, fractions=True), TARGETS, FACTORS)
def test_every_figure_is_the_rounded_fraction(counts, target, factor):
    """Fractions give the same figure and the same decision, to the last bit (D20)."""
    sums, allowance = budget.exact(counts), budget.allowed(target)
    total, bad, known = (Fraction(value) for value in (counts.total, counts.bad, counts.known))
    allowed, limit, mean = 1 - Fraction(target), Fraction(factor) * (1 - Fraction(target)), total / known
    worst = 1 - (bad + mean * (WINDOW - known)) / (mean * WINDOW) / allowed
    best = 1 - bad / (mean * WINDOW) / allowed
    assert {
        "success": float(1 - bad / total),
        "burn": float(bad / total / allowed),
        "remaining": float(1 - bad / total / allowed),
        "events": float(allowed * total - bad),
        "bounds": (float(worst), float(best)),
        "breached": 1 - bad / total < Fraction(target),
        "exhausted": 1 - bad / total / allowed <= 0,
        "reaches": bad / total >= limit,
        "surely": bad / (mean * WINDOW) >= limit,
        "covered": Fraction(counts.known) - Fraction(counts.partial) >= Fraction(8, 10) * WINDOW,
        "coverage": float(known / WINDOW),
    } == {
        "success": budget.success_ratio(sums),
        "burn": budget.burn_rate(sums, allowance),
        "remaining": budget.remaining(sums, allowance),
        "events": budget.events_remaining(sums, allowance),
        "bounds": budget.bounds(sums, allowance),
        "breached": budget.breached(sums, allowance),
        "exhausted": budget.exhausted(sums, allowance),
        "reaches": budget.reaches(sums, budget.allowed(target, factor)),
        "surely": budget.surely_reaches(sums, budget.allowed(target, factor)),
        "covered": budget.well_covered(sums),
        "coverage": budget.coverage(sums),
    }


@given(windows(least=1, fractions=True), windows(least=1, fractions=True), TARGETS)
def test_the_end_of_the_budget_is_the_rounded_fraction(counts, pace, target):
    """Events remaining over bad events per known second."""
    left = (1 - Fraction(target)) * Fraction(counts.total) - Fraction(counts.bad)
    assume(left > 0 and pace.bad)
    expected = left / (Fraction(pace.bad) / Fraction(pace.known))
    assert float(expected) == budget.exhaustion_seconds(
        budget.exact(counts), budget.exact(pace), budget.allowed(target)
    )


@given(windows(least=1), TARGETS)
def test_one_more_failure_never_leaves_more(counts, target):
    """Neither the budget nor a bound of it nor the events remaining."""
    assume(counts.bad < counts.total)
    allowance = budget.allowed(target)
    before, after = budget.exact(counts), budget.exact(counts._replace(bad=counts.bad + 1))
    assert budget.remaining(after, allowance) < budget.remaining(before, allowance)
    assert budget.events_remaining(after, allowance) < budget.events_remaining(before, allowance)
    assert budget.bounds(after, allowance).worst <= budget.bounds(before, allowance).worst
    assert budget.bounds(after, allowance).best < budget.bounds(before, allowance).best


@given(windows(least=1), TARGETS)
def test_one_more_success_never_leaves_less(counts, target):
    """A good event adds its share of allowed failures."""
    allowance = budget.allowed(target)
    more = counts._replace(total=counts.total + 1)
    assert budget.remaining(budget.exact(more), allowance) >= budget.remaining(
        budget.exact(counts), allowance
    )


@given(windows(least=1), TARGETS, st.sampled_from([0.25, 0.5, 2, 3, 1_000]))
def test_ratios_do_not_depend_on_the_scale(counts, target, scale):
    """Twice the traffic with twice the failures burns alike, also for fractions of events."""
    allowance = budget.allowed(target)
    scaled = budget.exact(counts._replace(total=counts.total * scale, bad=counts.bad * scale))
    sums = budget.exact(counts)
    for figure in (budget.remaining, budget.burn_rate, budget.bounds, budget.exhausted, budget.breached):
        assert figure(sums, allowance) == figure(scaled, allowance)


@given(windows(), TARGETS)
def test_what_remains_and_what_burned_are_one(counts, target):
    """What burned is 1 - remaining; breached is negative, exhausted is not positive."""
    sums, allowance = budget.exact(counts), budget.allowed(target)
    remaining, burn = budget.remaining(sums, allowance), budget.burn_rate(sums, allowance)
    assert (remaining < 0) == budget.breached(sums, allowance)
    assert (remaining <= 0) == budget.exhausted(sums, allowance)
    assert abs(remaining + (burn or 0.0) - 1) <= 1e-12 * max(1.0, abs(remaining))


@given(windows(), TARGETS)
def test_the_bounds_hold_what_remains(counts, target):
    """What is known lies between all bad and all good."""
    sums, allowance = budget.exact(counts), budget.allowed(target)
    worst, best = budget.bounds(sums, allowance)
    assert worst <= budget.remaining(sums, allowance) <= best


@given(windows(least=1), TARGETS)
def test_the_bounds_are_reached_when_the_unknown_comes_true(counts, target):
    """Filled with good ticks at mean traffic the budget is the best bound, with bad ones the worst."""
    allowance = budget.allowed(target)
    # as many events again as the unknown seconds would have had, over a common denominator
    total, bad = counts.total * WINDOW, counts.bad * counts.known
    good = budget.exact(WindowCounts(WINDOW, total, bad, WINDOW))
    poor = budget.exact(WindowCounts(WINDOW, total, bad + counts.total * (WINDOW - counts.known), WINDOW))
    worst, best = budget.bounds(budget.exact(counts), allowance)
    assert (worst, best) == (budget.remaining(poor, allowance), budget.remaining(good, allowance))


@given(windows(), TARGETS, st.data())
def test_knowing_less_never_narrows_the_bounds(counts, target, data):
    """Any known tick that becomes unknown leaves the bounds as wide or wider (I2)."""
    seconds = data.draw(st.integers(1, int(counts.known)))
    assume(seconds < counts.known)
    total = data.draw(st.integers(0, int(counts.total)))
    bad = data.draw(
        st.integers(max(0, int(counts.bad - (counts.total - total))), int(min(total, counts.bad)))
    )
    less = WindowCounts(WINDOW, counts.total - total, counts.bad - bad, counts.known - seconds)
    allowance = budget.allowed(target)
    before, after = (budget.bounds(budget.exact(c), allowance) for c in (counts, less))
    slack = 1e-12 * abs(after.worst)  # two rounded figures are subtracted
    assert before.best - before.worst <= after.best - after.worst + slack


@given(st.permutations(range(12)), st.lists(st.integers(0, 50), min_size=12, max_size=12), TARGETS)
def test_the_order_in_which_counts_arrive_is_no_matter(order, bads, target):
    """Late, filled or in order: the same rows are the same budget."""
    rows = [
        Row.of(Tick(60 * k, 60 * (k + 1)), {1: Counts(50, bad, Outcome.OK if bad % 7 else Outcome.PARTIAL)})
        for k, bad in enumerate(bads)
    ]
    figures = []
    for arrival in (range(12), order):
        history = History()
        for k in arrival:
            history.add([rows[k]])
        figures.append(
            budget.remaining(budget.exact(history.window(720, [720])[1][720]), budget.allowed(target))
        )
    assert figures[0] == figures[1]
