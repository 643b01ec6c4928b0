"""Snapshots as JSON: the contract's form and the seed's."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from slo_budget_tracker.snapshots import (
    AlertStatus,
    BurnRateSample,
    SLOSnapshot,
    instant_text,
    number,
    seed_json,
    snapshot_json,
)

KNOWN = SLOSnapshot(
    name="checkout-availability",
    unit="requests",
    target=Decimal("0.999"),
    window_seconds=2_592_000,
    evaluated_at=1_793_448_000,
    state="ok",
    coverage=1.0,
    total=1_234_567.0,
    failures=1_180.5,
    success_ratio=0.99904,
    error_budget_remaining=0.0442,
    burn_rate=0.956,
    error_budget_remaining_bounds=(0.04, 0.05),
    events_remaining=54.0,
    exhaustion_seconds=None,
    breached=False,
    budget_exhausted=False,
    burn_rate_samples=(BurnRateSample(300, 1.2, 0.9988, 5_400.0, 6.0, 1.0),),
    alerts=(AlertStatus("page", 3_600, 300, Decimal("14.4"), "quiet", 1_793_447_940, "5m burns 1.2"),),
    labels={"handler": "/pay"},
)
UNKNOWN = SLOSnapshot(
    name="new",
    unit="ticks",
    target=Decimal("0.5"),
    window_seconds=3_600,
    evaluated_at=0,
    state="no_data",
    coverage=0.0,
    total=None,
    failures=None,
    success_ratio=None,
    error_budget_remaining=None,
    burn_rate=None,
    error_budget_remaining_bounds=None,
    events_remaining=None,
    exhaustion_seconds=None,
    breached=None,
    budget_exhausted=None,
    burn_rate_samples=(BurnRateSample(300, None, None, None, None, 0.0),),
    alerts=(AlertStatus("ticket", 3_600, 300, Decimal(6), "held", None, "held", "burn:page:60:60"),),
)


def test_a_snapshot_in_json_is_the_contract_to_the_letter():
    """Keys in their order, whole numbers as integers, times in RFC 3339."""
    assert (
        '{"name": "checkout-availability", "labels": {"handler": "/pay"}, "unit": "requests",'
        ' "target": 0.999, "window_seconds": 2592000, "evaluated_at": "2026-10-31T12:00:00Z",'
        ' "state": "ok", "coverage": 1.0, "total": 1234567, "failures": 1180.5,'
        ' "success_ratio": 0.99904, "error_budget_remaining": 0.0442, "burn_rate": 0.956,'
        ' "error_budget_remaining_bounds": {"worst": 0.04, "best": 0.05}, "exhaustion_seconds": null,'
        ' "breached": false, "budget_exhausted": false,'
        ' "burn_rate_samples": [{"window_seconds": 300, "burn_rate": 1.2, "success_ratio": 0.9988,'
        ' "sample_count": 5400, "failures": 6, "coverage": 1.0}],'
        ' "alerts": [{"severity": "page", "long_window_seconds": 3600, "short_window_seconds": 300,'
        ' "threshold": 14.4, "state": "quiet", "since": "2026-10-31T11:59:00Z",'
        ' "reason": "5m burns 1.2", "suppressed_by": null}]}'
    ) == json.dumps(snapshot_json(KNOWN))


def test_unknown_numbers_are_null():
    """No figure stands in for one that is not known."""
    found = snapshot_json(UNKNOWN)
    nulls = {key for key, value in found.items() if value is None}
    assert {
        "total", "failures", "success_ratio", "error_budget_remaining", "burn_rate",
        "error_budget_remaining_bounds", "exhaustion_seconds", "breached", "budget_exhausted",
    } == nulls  # fmt: skip
    assert {
        "window_seconds": 300, "burn_rate": None, "success_ratio": None, "sample_count": None,
        "failures": None, "coverage": 0.0,
    } == found["burn_rate_samples"][0]  # fmt: skip
    assert (None, 6, "burn:page:60:60") == tuple(
        found["alerts"][0][key] for key in ("since", "threshold", "suppressed_by")
    )
    assert {} == found["labels"]


def test_the_seed_form_has_the_seed_fields():
    """`/slo` for dashboards made for slo-budget-tracker 0.1.1."""
    assert {
        "name": "checkout-availability",
        "target": 0.999,
        "window_seconds": 2_592_000,
        "total": 1_234_567,
        "failures": 1_180.5,
        "success_ratio": 0.99904,
        "error_budget_remaining": 0.0442,
        "burn_rate": 0.956,
        "burn_rate_samples": [
            {"window_seconds": 300, "burn_rate": 1.2, "success_ratio": 0.9988, "sample_count": 5_400}
        ],
        "is_breached": False,
        "is_budget_exhausted": False,
    } == seed_json(KNOWN)


def test_the_seed_form_of_the_unknown_is_not_all_good():
    """The seed said 1.0 where nothing was known."""
    found = seed_json(UNKNOWN)
    assert [None] * 5 == [
        found[key] for key in ("total", "failures", "success_ratio", "error_budget_remaining", "burn_rate")
    ]
    assert (False, False) == (UNKNOWN.is_breached, UNKNOWN.is_budget_exhausted)


@pytest.mark.parametrize(
    ("state", "firing"), [("quiet", False), ("pending", False), ("firing", True), ("held", True)]
)
def test_a_held_alert_still_fires(state, firing):
    """`slo_burn_alert_firing` is held through no data, errors and restarts."""
    assert firing is AlertStatus("page", 3_600, 300, Decimal(1), state, 0, "").firing


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5.0, "5"), (5.5, "5.5"), (0.0, "0"), (-1.0, "-1"), (Decimal("14.4"), "14.4"), (Decimal("6.0"), "6"),
     (2.0**53, "9007199254740992")],
)  # fmt: skip
def test_whole_numbers_are_printed_as_integers(value, expected):
    """Counts are counts."""
    assert expected == json.dumps(number(value))


def test_instants_are_utc():
    """RFC 3339 with a Z."""
    assert "1970-01-01T00:00:00Z" == instant_text(0)
