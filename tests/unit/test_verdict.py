"""What one tick concludes about one SLO instance."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from decimal import Decimal

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.hashes import definition_hash
from slo_budget_tracker.payloads import query_text
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.snapshots import AlertStatus, BurnRateSample, SLOSnapshot
from slo_budget_tracker.specs import (
    SLO,
    BurnRateAlert,
    LatencySli,
    PromqlSli,
    RequestsSli,
)
from slo_budget_tracker.ticks import Outcome, WindowCounts
from slo_budget_tracker.verdict import Transition, assess

AT = 1_793_448_000  # 2026-10-31T12:00:00Z
DAY = 86_400
REQUESTS = RequestsSli(total=(Selector("r"),), bad=(Selector("e"),))
PAGE = BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal("14.4"))
TICKET = BurnRateAlert(severity="ticket", long=21_600, short=300, burn_rate=Decimal(6))
CALM = AlertState("quiet", 60)
STATES = {"burn:page:3600:300": CALM, "data": CALM, "budget": CALM}


def slo(*, sli=REQUESTS, alerts=(PAGE,), window=30 * DAY, target="0.999"):
    """An objective of 99.9 % over 30 days with one page."""
    return SLO(
        name="checkout",
        target=Decimal(target),
        window=window,
        sli=sli,
        alerts=alerts,
        labels=(("team", "payments"),),
    )


def counts(**bad):
    """A request a second in every window, of which so many failed: `w300=5`."""
    windows = {300: 0, 3_600: 0, 21_600: 0, 30 * DAY: 0} | {int(k[1:]): v for k, v in bad.items()}
    return {window: WindowCounts(window, window, failed, window) for window, failed in windows.items()}


def verdict(windows=None, *, states=STATES, outcome=Outcome.OK, of=None, **options):
    """The verdict of a minute."""
    return assess(
        of or slo(),
        at=AT,
        interval=60,
        outcome=outcome,
        windows=counts() if windows is None else windows,
        states=states,
        **options,
    )


def test_a_snapshot_has_every_figure():
    """All fields, from a window with 1,296 of 2,592 allowed failures and 6 in the last six hours."""
    snapshot = verdict(counts(w300=3, w3600=6, w21600=6, w2592000=1_296), labels={"handler": "/pay"}).snapshot
    assert (
        SLOSnapshot(
            name="checkout",
            unit="requests",
            target=Decimal("0.999"),
            window_seconds=30 * DAY,
            evaluated_at=AT,
            state="ok",
            coverage=1.0,
            total=2_592_000,
            failures=1_296,
            success_ratio=0.9995,
            error_budget_remaining=0.5,
            burn_rate=0.5,
            error_budget_remaining_bounds=(0.5, 0.5),
            events_remaining=1_296.0,
            exhaustion_seconds=1_296 * 3_600.0,
            breached=False,
            budget_exhausted=False,
            burn_rate_samples=(
                BurnRateSample(300, 10.0, 0.99, 300, 3, 1.0),
                BurnRateSample(3_600, 5 / 3, 3_594 / 3_600, 3_600, 6, 1.0),
            ),
            alerts=(
                AlertStatus("page", 3_600, 300, Decimal("14.4"), "quiet", 60, "5m burns 10, below 14.4"),
            ),
            labels={"handler": "/pay"},
        )
        == snapshot
    )


def test_without_labels_and_alerts_there_are_none():
    """An SLO with `alerts: none` still has its budget."""
    snapshot = verdict(of=slo(alerts=())).snapshot
    assert ((), (), {}) == (snapshot.burn_rate_samples, snapshot.alerts, dict(snapshot.labels))
    assert 1.0 == snapshot.error_budget_remaining


def test_windows_that_are_not_there_are_unknown():
    """No figure is made up, and nothing moves."""
    result = verdict({}, outcome=Outcome.NO_DATA)
    assert (None, 0.0, None, None) == (
        result.snapshot.total,
        result.snapshot.coverage,
        result.snapshot.breached,
        result.snapshot.exhaustion_seconds,
    )
    assert [BurnRateSample(w, None, None, None, None, 0.0) for w in (300, 3_600)] == list(
        result.snapshot.burn_rate_samples
    )
    assert () == result.transitions


def test_the_pace_of_a_short_window_is_that_of_its_quarter():
    """An hour's budget lasts as long as its last quarter of an hour says."""
    windows = {w: WindowCounts(w, w, bad, w) for w, bad in ((3_600, 18), (900, 9), (300, 0), (21_600, 900))}
    assert 1_800.0 == verdict(windows, of=slo(window=3_600, target="0.99")).snapshot.exhaustion_seconds


def test_without_the_counts_of_the_pace_nobody_says_how_long():
    """The figure is absent, not endless."""
    windows = counts(w2592000=10)
    del windows[21_600]
    assert None is verdict(windows).snapshot.exhaustion_seconds


@pytest.mark.parametrize(
    ("sli", "unit"),
    [
        (REQUESTS, "requests"),
        (LatencySli(histogram=Selector("h"), threshold=Decimal("0.3")), "requests"),
        (PromqlSli(bad="b[$window]", total="t[$window]"), "requests"),
        (PromqlSli(error_ratio="e[$window]"), "ticks"),
    ],
    ids=["requests", "latency", "promql counts", "promql error ratio"],
)
def test_the_unit_follows_from_the_sli(sli, unit):
    """An error ratio weighs every tick alike: its events are ticks."""
    assert unit == verdict(of=slo(sli=sli)).snapshot.unit


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.OK, "ok"),
        (Outcome.NO_TRAFFIC, "no_traffic"),
        (Outcome.PARTIAL, "partial"),
        (Outcome.NO_DATA, "no_data"),
        (Outcome.ERROR, "error"),
        (Outcome.MISSED, "error"),
        (Outcome.UNKNOWN, "error"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_data_state_is_that_of_the_tick(outcome, state):
    """A missed tick is an answer Prometheus owes; one given up left no data."""
    assert state == verdict(outcome=outcome).snapshot.state


def test_a_burn_is_told_with_the_figures_of_its_long_window():
    """The seed's payload keys and all that were added."""
    result = verdict(counts(w300=30, w3600=72, w2592000=1_296), labels={"handler": "/pay"})
    reason = "1h burns 20 and 5m burns 100, at or above 14.4"
    payload = {
        "event_kind": "slo_burn_started",
        "slo_name": "checkout",
        "labels": {"team": "payments", "handler": "/pay"},
        "definition_hash": definition_hash(slo()),
        "query": query_text(slo()),
        "window_seconds": 3_600,
        "short_window_seconds": 300,
        "severity": "page",
        "threshold": 14.4,
        "burn_rate": 20.0,
        "success_ratio": 0.98,
        "sample_count": 3_600,
        "error_budget_remaining": 0.5,
        "reason": reason,
        "evaluated_at": "2026-10-31T12:00:00Z",
        "late": False,
    }
    group = {"handler": "/pay"}
    told = Transition("slo_burn_started", "burn:page:3600:300", AT, reason, payload, group=group)
    assert (told,) == result.transitions
    assert AlertState("firing", AT) == result.states["burn:page:3600:300"]
    assert reason == result.reasons["burn:page:3600:300"]


def test_a_recovery_is_told_too():
    """The pair that ends is named by its rule."""
    result = verdict(counts(w3600=72), states=STATES | {"burn:page:3600:300": AlertState("firing", 60)})
    assert [("slo_recovered", "burn:page:3600:300", "5m burns 0, below 14.4", 20.0)] == [
        (t.kind, t.rule, t.reason, t.payload["burn_rate"]) for t in result.transitions
    ]


def test_the_budget_is_told_with_the_figures_of_the_slo_window():
    """No severity, no threshold, no short window."""
    result = verdict(counts(w2592000=2_592))
    told = result.transitions[0]
    assert ("slo_budget_exhausted", "budget", AT, False) == (told.kind, told.rule, told.at, told.late)
    assert {
        "window_seconds": 30 * DAY,
        "short_window_seconds": None,
        "severity": None,
        "threshold": None,
        "burn_rate": 1.0,
        "success_ratio": 0.999,
        "sample_count": 2_592_000,
        "error_budget_remaining": 0.0,
    }.items() <= told.payload.items()


def test_a_budget_with_something_left_is_restored():
    """One failure less than the allowed ones."""
    result = verdict(counts(w2592000=2_591), states=STATES | {"budget": AlertState("firing", 60)})
    assert ["slo_budget_restored"] == [t.kind for t in result.transitions]


@pytest.mark.parametrize(
    ("progress", "interval", "kinds"),
    [
        (120, 60, []),
        (180, 60, ["slo_data_lost"]),
        (0, 150, []),
        (150, 150, ["slo_data_lost"]),
        (60, 100, []),
        (100, 100, ["slo_data_lost"]),
    ],
    ids=[
        "4 min",
        "5 min",
        "2 ticks of 150 s",
        "3 ticks of 150 s",
        "under 3 ticks of 100 s",
        "5 min of 100 s",
    ],
)
def test_data_are_lost_after_five_minutes_or_three_ticks(progress, interval, kinds):
    """The longer of both counts; the first tick without data lasted an interval itself (P26)."""
    result = assess(
        slo(),
        at=AT,
        interval=interval,
        outcome=Outcome.NO_DATA,
        windows=counts(),
        states=STATES | {"data": AlertState("pending", 60, progress)},
    )
    assert kinds == [t.kind for t in result.transitions]


def test_data_that_are_back_are_told_with_nothing_known():
    """A count that is unknown stays absent in the payload."""
    result = verdict({}, outcome=Outcome.NO_TRAFFIC, states={"data": AlertState("firing", 60)})
    assert [("slo_data_restored", None)] == [(t.kind, t.payload["sample_count"]) for t in result.transitions]


def test_a_late_transition_says_so():
    """Twice: for the machinery and for the reader of the event (T14)."""
    told = verdict(counts(w2592000=2_592), late=True).transitions[0]
    assert (True, True) == (told.late, told.payload["late"])


def test_the_first_live_tick_starts_what_is_true():
    """No states yet: the pair fires at once, since now."""
    result = verdict(counts(w300=30, w3600=72), states={})
    assert ["slo_burn_started"] == [t.kind for t in result.transitions]
    assert {
        "burn:page:3600:300": AlertState("firing", AT),
        "data": AlertState("quiet", AT),
        "budget": AlertState("quiet", AT),
    } == result.states


def test_a_look_changes_and_tells_nothing():
    """The states are the ones that came; the alert is shown as a first tick would find it."""
    states = {}
    result = verdict(counts(w300=30, w3600=72, w2592000=9_999), states=states, live=False)
    assert states is result.states
    assert () == result.transitions
    assert "firing" == result.snapshot.alerts[0].state


def test_a_look_after_a_restart_holds_what_fires():
    """Before the first tick nobody knows more than before (contract: restarts hold)."""
    states = STATES | {"burn:page:3600:300": AlertState("firing", 60)}
    alert = verdict(states=states, outcome=Outcome.MISSED, live=False).snapshot.alerts[0]
    assert ("held", 60, "held: this tick has not been fetched yet") == (
        alert.state,
        alert.since,
        alert.reason,
    )


def test_unchanged_states_are_the_same_objects():
    """Only changed ones need to be written."""
    result = verdict()
    assert [True] * 3 == [result.states[name] is state for name, state in STATES.items()]


def test_the_state_of_a_rule_that_is_gone_is_dropped():
    """A pair that is no longer defined leaves nothing behind."""
    result = verdict(states=STATES | {"burn:page:86400:300": AlertState("firing", 60)})
    assert set(STATES) == set(result.states)


def test_a_ticket_is_suppressed_while_a_page_fires_even_if_held():
    """It keeps its own state; a quiet one carries nothing."""
    states = STATES | {
        "burn:page:3600:300": AlertState("firing", 60),
        "burn:ticket:21600:300": AlertState("firing", 120),
    }
    two = slo(alerts=(PAGE, TICKET))
    held = verdict(states=states, outcome=Outcome.ERROR, of=two).snapshot.alerts
    assert [("held", None), ("held", "burn:page:3600:300")] == [(a.state, a.suppressed_by) for a in held]
    ended = verdict(counts(w300=3, w3600=72, w21600=200), states=states, of=two).snapshot.alerts
    assert [("quiet", None), ("firing", None)] == [(a.state, a.suppressed_by) for a in ended]
    quiet = verdict(counts(w300=30, w3600=72), states=STATES, of=two).snapshot.alerts
    assert [("firing", None), ("quiet", None)] == [(a.state, a.suppressed_by) for a in quiet]


def test_keep_firing_for_and_for_come_from_the_pair():
    """Patience of the definition, not of the machine."""
    patient = PAGE.model_copy(update={"for_seconds": 120, "keep_firing_for": 120})
    burning, calm = counts(w300=30, w3600=72), counts(w3600=72)
    assert "pending" == verdict(burning, of=slo(alerts=(patient,))).snapshot.alerts[0].state
    firing = STATES | {"burn:page:3600:300": AlertState("firing", 60)}
    assert "firing" == verdict(calm, states=firing, of=slo(alerts=(patient,))).snapshot.alerts[0].state
    pending = STATES | {"burn:page:3600:300": AlertState("pending", 60, 60)}
    assert "firing" == verdict(burning, states=pending, of=slo(alerts=(patient,))).snapshot.alerts[0].state


def test_verdicts_and_all_in_them_are_frozen():
    """Values are replaced, never patched."""
    result = verdict(counts(w300=30, w3600=72))
    sample, alert = result.snapshot.burn_rate_samples[0], result.snapshot.alerts[0]
    for value in (result, result.transitions[0], result.states["data"]):
        with pytest.raises(FrozenInstanceError):
            setattr(value, fields(value)[0].name, 0)
        assert not hasattr(value, "__dict__")
    for value in (result.snapshot, sample, alert):
        with pytest.raises(AttributeError):
            setattr(value, value._fields[0], 0)


def test_states_that_stay_are_the_very_ones():
    """Whoever keeps them sees at once that there is nothing to write."""
    assert verdict(states=STATES).states is STATES
    assert verdict(counts(w3600=72, w300=72), states=STATES).states is not STATES
