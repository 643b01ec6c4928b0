"""What one tick's answers mean: the outcomes of counts, the units that are read together."""

import math

import pytest

from slo_budget_tracker.outcomes import combine
from slo_budget_tracker.queries import Plan, RawFeed, Slot
from slo_budget_tracker.reading import units
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.ticks import Counts, Outcome

TOTAL_BAD = frozenset({"total", "bad"})
TOTAL_GOOD = frozenset({"total", "good"})


@pytest.mark.parametrize(
    ("wanted", "values", "expected"),
    [
        pytest.param(TOTAL_BAD, {"total": 10, "bad": 1}, Counts(10, 1, Outcome.OK), id="total and bad"),
        pytest.param(TOTAL_GOOD, {"total": 10, "good": 9}, Counts(10, 1, Outcome.OK), id="total and good"),
        pytest.param(TOTAL_BAD, {"total": 10}, Counts(10, 0, Outcome.OK), id="D9: no error series ever"),
        pytest.param(TOTAL_GOOD, {"total": 3}, Counts(3, 3, Outcome.OK), id="no good series beside traffic"),
        pytest.param(
            TOTAL_BAD, {"total": 0, "bad": 0}, Counts(0, 0, Outcome.NO_TRAFFIC), id="P19: present 0"
        ),
        pytest.param(TOTAL_BAD, {}, Counts(0, 0, Outcome.NO_DATA), id="P19: nothing at all"),
        pytest.param(TOTAL_BAD, {"bad": 2}, Counts(0, 0, Outcome.ERROR), id="D10: errors without a total"),
        pytest.param(
            TOTAL_BAD, {"bad": 0}, Counts(0, 0, Outcome.NO_DATA), id="D10: idle errors without a total"
        ),
        pytest.param(TOTAL_BAD, {"total": -1}, Counts(0, 0, Outcome.ERROR), id="D5: negative"),
        pytest.param(
            frozenset({"good", "bad"}), {"good": 3, "bad": 1}, Counts(4, 1, Outcome.OK), id="good and bad"
        ),
        pytest.param(
            frozenset({"good", "bad"}), {}, Counts(0, 0, Outcome.NO_DATA), id="neither good nor bad"
        ),
        pytest.param(
            frozenset({"error_ratio"}), {"error_ratio": 0.25}, Counts(1, 0.25, Outcome.OK), id="ratio"
        ),
        pytest.param(
            frozenset({"error_ratio"}),
            {"error_ratio": math.nan},
            Counts(0, 0, Outcome.NO_TRAFFIC),
            id="D1: 0/0",
        ),
        pytest.param(frozenset({"error_ratio"}), {}, Counts(0, 0, Outcome.NO_DATA), id="no ratio"),
    ],
)
def test_roles_become_counts(wanted, values, expected):
    """Each combination of present and absent parts has one outcome (D1, D5, D9, D10, P19)."""
    assert expected == combine(wanted, values, partial=False)


@pytest.mark.parametrize(
    ("wanted", "values", "expected"),
    [
        pytest.param(
            TOTAL_GOOD, {"total": 10, "good": 11}, Counts(10, 0, Outcome.OK, "good"), id="good above total"
        ),
        pytest.param(
            TOTAL_BAD, {"total": 10, "bad": 11}, Counts(10, 10, Outcome.OK, "bad"), id="bad above total"
        ),
        pytest.param(
            frozenset({"error_ratio"}),
            {"error_ratio": 1.5},
            Counts(1, 1, Outcome.OK, "bad"),
            id="ratio above 1",
        ),
    ],
)
def test_more_than_everything_is_clamped_and_noted(wanted, values, expected):
    """Parts that exceed the whole are cut to it, and that is told (D4)."""
    assert expected == combine(wanted, values, partial=False)


@pytest.mark.parametrize("values", [{}, {"bad": 0}])
def test_a_partial_answer_without_a_series_says_nothing(values):
    """P17: the server has not said that there is none: where missing data are bad, this is not."""
    assert Counts(0, 0, Outcome.ERROR) == combine(TOTAL_BAD, values, partial=True)


def test_partial_answers_are_marked():
    """Counts of a partial response are kept with their mark (P17)."""
    assert Counts(10, 1, Outcome.PARTIAL) == combine(TOTAL_BAD, {"total": 10, "bad": 1}, partial=True)


def feed(metric, *slots):
    """A raw feed of one metric."""
    selector = Selector(metric)
    return RawFeed(f"default/{metric}", "default", metric, tuple((s, selector) for s in slots), (selector,))


def test_feeds_that_share_an_slo_are_one_unit():
    """A ratio of two metrics is read as a whole; unrelated metrics fail alone."""
    plan = Plan(
        raw=(
            feed("a_total", Slot("one", "total"), Slot("two", "total")),
            feed("b_total", Slot("one", "bad")),
            feed("c_total", Slot("three", "total"), Slot("three", "bad")),
        )
    )

    assert [("one", "two"), ("three",)] == [unit.slos for unit in units(plan)]
