"""How an SLO is in one word, and why: exhausted before no data before at risk before healthy."""

from decimal import Decimal

import pytest

from slo_budget_tracker.snapshots import AlertStatus
from slo_budget_tracker.standing import judge, tally
from tests.unit.test_web import NOTHING, snapshot

WELL = snapshot("well")._replace(error_budget_remaining=0.8)
FIRING = AlertStatus("page", 3_600, 300, Decimal("14.4"), "held", 0, "1h burns 20")
SPENT = {"budget_exhausted": True, "error_budget_remaining": -0.25}


@pytest.mark.parametrize(
    ("changes", "standing", "reason"),
    [
        ({}, "healthy", "No alert fires and the budget lasts."),
        (SPENT, "exhausted", "The error budget of 30d is overspent by 25.0%."),
        ({**SPENT, "error_budget_remaining": 0.0}, "exhausted", "The error budget of 30d is spent."),
        ({**SPENT, "state": "no_data"}, "exhausted", "The error budget of 30d is overspent by 25.0%."),
        ({"state": "error"}, "error", "The last tick brought nothing: Prometheus or the query failed."),
        ({"error_budget_remaining": None}, "no_data", "Nothing is known of its window yet."),
        ({"alerts": (FIRING,)}, "at_risk", "A page over 1h and 5m fires: 1h burns 20."),
        ({"error_budget_remaining": 0.1}, "at_risk", "Only 10.0% of the error budget is left."),
        (
            {"exhaustion_seconds": 7_230.0},
            "at_risk",
            "At the pace of the last hours the budget is spent in 2h.",
        ),
        ({"exhaustion_seconds": 20 * 86_400.0}, "healthy", "No alert fires and the budget lasts."),
        ({"state": "no_traffic"}, "healthy", "No alert fires and the budget lasts."),
    ],
)
def test_standing_and_its_first_reason(changes, standing, reason):
    """The most urgent thing that is true decides."""
    judged = judge(WELL._replace(**changes))
    assert (standing, reason) == (judged.standing, judged.reasons[0])


def test_tally():
    """All SLOs by how they are, and all alerts that fire."""
    assert {
        "exhausted": 1,
        "at_risk": 1,
        "error": 0,
        "no_data": 1,
        "healthy": 2,
        "alerts_firing": 1,
    } == tally([WELL, WELL, WELL._replace(**SPENT), WELL._replace(alerts=(FIRING,)), NOTHING])
