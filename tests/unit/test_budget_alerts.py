"""Budget alerts: little is left, or it will not last; and missing data that count as bad."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.gauges import render
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.snapshots import snapshot_json
from slo_budget_tracker.specs import SLO, BudgetAlert, BurnRateAlert, RequestsSli
from slo_budget_tracker.ticks import Outcome, WindowCounts
from slo_budget_tracker.verdict import assess

DAY = 86_400
SLI = RequestsSli(total=(Selector("x_total"),), bad=(Selector("bad_total"),))
LITTLE = BudgetAlert(severity="ticket", remaining_below=Decimal("0.1"))
SOON = BudgetAlert(severity="page", exhausted_within=14_400)


def slo(*budget_alerts, **options):
    """99 % over four days: of 40,000 requests 400 may fail; the last six hours are 2,500."""
    given = {"name": "shop", "target": Decimal("0.99"), "window": 4 * DAY, "sli": SLI} | options
    return SLO(**given, budget_alerts=budget_alerts)


def windows(bad, recent_bad=0, *, known=4 * DAY, recent_known=21_600):
    """The counts of the SLO window and of the last six hours."""
    total = 40_000 * known // (4 * DAY)
    return {
        4 * DAY: WindowCounts(4 * DAY, total, bad, known),
        21_600: WindowCounts(21_600, 2_500 * recent_known // 21_600, recent_bad, recent_known),
    }


def verdict(one, counts, *, states=None, at=10 * DAY, outcome=Outcome.OK):
    """The verdict of one tick."""
    return assess(one, at=at, interval=60, outcome=outcome, windows=counts, states=states or {})


def told(found):
    """The transitions of budget alerts."""
    return [
        (t.kind, t.payload["severity"], t.payload["rule"]) for t in found.transitions if "rule" in t.payload
    ]


@pytest.mark.parametrize(
    ("bad", "state"),
    [
        pytest.param(359, "quiet", id="10.25 % are left"),
        pytest.param(360, "quiet", id="exactly 10 % are not below 10 %"),
        pytest.param(361, "firing", id="9.75 % are"),
        pytest.param(500, "firing", id="overspent is below, too"),
    ],
)
def test_remaining_below_is_exact(bad, state):
    """Strictly below, in whole numbers (D20)."""
    (status,) = verdict(slo(LITTLE), windows(bad)).snapshot.budget_alerts
    assert ("ticket", "remaining_below:10%", state) == (status.severity, status.rule, status.state)


@pytest.mark.parametrize(
    ("bad", "recent", "state"),
    [
        pytest.param(99, 450, "quiet", id="301 left at 75 an hour: just over four hours"),
        pytest.param(100, 450, "firing", id="300 left at 75 an hour: four hours"),
        pytest.param(100, 0, "quiet", id="nothing burns"),
        pytest.param(400, 0, "firing", id="nothing is left"),
    ],
)
def test_exhausted_within_looks_at_the_recent_rate(bad, recent, state):
    """What is left over the failures per second of the last six hours."""
    (status,) = verdict(slo(SOON), windows(bad, recent)).snapshot.budget_alerts
    assert ("exhausted_within:4h", state) == (status.rule, status.state)


def test_they_start_and_recover_as_events():
    """One event each way, with severity and rule."""
    one = slo(LITTLE, SOON)
    first = verdict(one, windows(390, 400))
    assert [
        ("slo_budget_alert_started", "ticket", "remaining_below:10%"),
        ("slo_budget_alert_started", "page", "exhausted_within:4h"),
    ] == told(first)
    still = verdict(one, windows(390, 400), states=first.states, at=10 * DAY + 60)
    assert [] == told(still)
    over = verdict(one, windows(10, 1), states=still.states, at=10 * DAY + 120)
    assert [
        ("slo_budget_alert_recovered", "ticket", "remaining_below:10%"),
        ("slo_budget_alert_recovered", "page", "exhausted_within:4h"),
    ] == told(over)


def test_they_fire_only_when_the_unknown_would_not_change_it():
    """Half of the window is unknown: 361 failures of 20,000 spend it anyway, 200 would not were the rest good."""
    sure, unsure = (verdict(slo(LITTLE), windows(bad, known=2 * DAY)) for bad in (361, 190))
    states = [found.snapshot.budget_alerts[0].state for found in (sure, unsure)]
    assert ["firing", "quiet"] == states
    reason = unsure.snapshot.budget_alerts[0].reason
    assert "5% of the error budget remains, but more than that were the unknown ticks good" == reason


@pytest.mark.parametrize("outcome", [Outcome.NO_DATA, Outcome.ERROR, Outcome.MISSED, Outcome.PARTIAL])
def test_they_are_held_while_nothing_is_said(outcome):
    """I2: no fault ends an alert."""
    first = verdict(slo(LITTLE), windows(390))
    held = verdict(slo(LITTLE), windows(0), states=first.states, at=10 * DAY + 60, outcome=outcome)
    assert ("held", []) == (held.snapshot.budget_alerts[0].state, told(held))


def test_gauge_and_json():
    """`slo_budget_alert_firing{severity,rule}`, and a list in the snapshot of SLOs that have such alerts."""
    snapshot = verdict(slo(LITTLE, SOON), windows(390)).snapshot
    page = render([snapshot], [], None).decode()
    assert 'slo_budget_alert_firing{rule="remaining_below:10%",severity="ticket",slo="shop"} 1' in page
    assert 'slo_budget_alert_firing{rule="exhausted_within:4h",severity="page",slo="shop"} 0' in page
    shown = snapshot_json(snapshot)["budget_alerts"]
    assert [("remaining_below:10%", "firing"), ("exhausted_within:4h", "quiet")] == [
        (one["rule"], one["state"]) for one in shown
    ]
    assert "budget_alerts" not in snapshot_json(verdict(slo(), windows(390)).snapshot)


PAIR = BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal(2))


@pytest.mark.parametrize(
    ("no_data", "outcome", "state"),
    [
        ("bad", Outcome.NO_DATA, "firing"),
        ("bad", Outcome.ERROR, "quiet"),
        ("bad", Outcome.PARTIAL, "firing"),
        ("bad", Outcome.MISSED, "quiet"),
        ("hold", Outcome.NO_DATA, "quiet"),
    ],
)
def test_only_an_answer_without_series_counts_as_bad(no_data, outcome, state):
    """`no_data: bad` lets a tick without any series speak; errors and missed ticks say nothing (I2)."""
    counts = {**windows(0), 3_600: WindowCounts(3_600, 100, 50, 3_600), 300: WindowCounts(300, 10, 10, 300)}
    found = verdict(slo(alerts=(PAIR,), no_data=no_data), counts, outcome=outcome)
    assert state == found.snapshot.alerts[0].state
