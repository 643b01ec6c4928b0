"""The verdict: everything one tick concluded about one SLO instance.

`run`, `evaluate` and `replay` call the same `assess` and differ only in the instants and counts they pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slo_budget_tracker import alerts, budget
from slo_budget_tracker.payloads import about
from slo_budget_tracker.snapshots import (
    NO_LABELS,
    AlertStatus,
    BudgetAlertStatus,
    BurnRateSample,
    SLOSnapshot,
    instant_text,
    number,
)
from slo_budget_tracker.ticks import TO_DATE, Outcome, WindowCounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState, Decision, Judgement, Rule, Turn
    from slo_budget_tracker.budget import Ratio, Sums
    from slo_budget_tracker.specs import SLO

DATA = "data"
BUDGET = "budget"
LOSS_SECONDS = 300
LOSS_TICKS = 3

KINDS: dict[str, dict[Turn | None, str]] = {
    DATA: {"started": "slo_data_lost", "ended": "slo_data_restored"},
    BUDGET: {"started": "slo_budget_exhausted", "ended": "slo_budget_restored"},
}
BURN_KINDS: dict[Turn | None, str] = {"started": "slo_burn_started", "ended": "slo_recovered"}
BUDGET_ALERT_KINDS: dict[Turn | None, str] = {
    "started": "slo_budget_alert_started",
    "ended": "slo_budget_alert_recovered",
}
OK, NO_DATA = Outcome.OK, Outcome.NO_DATA

# A missed tick is an answer Prometheus still owes; so does one that was given up.
DATA_STATES = {
    Outcome.OK: "ok",
    Outcome.NO_TRAFFIC: "no_traffic",
    Outcome.PARTIAL: "partial",
    Outcome.NO_DATA: "no_data",
    Outcome.ERROR: "error",
    Outcome.MISSED: "error",
    Outcome.UNKNOWN: "error",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """A change that others are told of; `payload` has what the audit event is to say beyond these fields."""

    kind: str
    rule: str
    at: int
    reason: str
    payload: Mapping[str, Any]
    late: bool = False
    group: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What users see, what is remembered, what is told to others, and why, by rule."""

    snapshot: SLOSnapshot
    states: Mapping[str, AlertState]
    transitions: tuple[Transition, ...]
    reasons: Mapping[str, str]


def assess(
    slo: SLO,
    *,
    at: int,
    interval: int,
    outcome: Outcome,
    windows: Mapping[int, WindowCounts],
    states: Mapping[str, AlertState],
    live: bool = True,
    late: bool = False,
    labels: Mapping[str, str] = NO_LABELS,
) -> Verdict:
    """All that the tick ending at `at` concludes about one SLO instance.

    `windows` has the counts of `slo.windows` and, for `exhaustion_seconds`, of
    `budget.exhaustion_window(slo.window)`; a window that is not there is unknown. The counts of
    a calendar period are under `TO_DATE`. `live=False` only looks:
    the states come back as they were and nothing is told. `late` marks transitions of a catch-up.
    """
    rules, allowance, alert_windows = alerts.ruleset(slo.alerts, slo.target)
    sums = {window: _sums(windows, window) for window in alert_windows}
    recent = budget.exhaustion_window(slo.window)
    if recent not in sums:
        sums[recent] = _sums(windows, recent)
    whole = sums.get(slo.window)
    if slo.calendar is not None:
        so_far = windows.get(TO_DATE) or WindowCounts(slo.budget_span(at), 0, 0, 0, ahead=0)
        whole = budget.exact(so_far)
    elif whole is None:
        whole = _sums(windows, slo.window)
    # Where missing data count as bad, a tick without any series says something.
    telling = OK if outcome is NO_DATA and slo.no_data == "bad" else outcome
    judged = [
        (rule.name, _judge(rule, sums, telling), rule.pair.for_seconds, rule.pair.keep_firing_for)
        for rule in rules
    ]
    data_lost_after = max(LOSS_SECONDS, LOSS_TICKS * interval) - interval  # the first tick lasted an interval
    judged.append((DATA, alerts.judge_data(outcome), data_lost_after, 0))
    about_budget = [(BUDGET, alerts.judge_remaining(whole, allowance, outcome=telling))]
    for rule in alerts.budget_rules(slo.budget_alerts):
        judgement = alerts.judge_budget_rule(rule, whole, sums[recent], allowance, outcome=telling)
        about_budget.append((rule.name, judgement))
    for name, judgement in about_budget:
        if slo.calendar is not None:
            start = at - whole.window // whole.second
            judgement = alerts.in_new_period(states.get(name), judgement, start, telling)  # noqa: PLW2901
        judged.append((name, judgement, 0, 0))

    decisions: dict[str, Decision] = {}
    for name, judgement, for_seconds, keep in judged:
        state = states.get(name)
        decisions[name] = (
            alerts.step(
                state, judgement, at=at, seconds=interval, for_seconds=for_seconds, keep_firing_for=keep
            )
            if live
            else alerts.look(state, judgement, at=at, for_seconds=for_seconds)
        )
    snapshot = _snapshot(
        slo,
        at=at,
        outcome=outcome,
        whole=whole,
        recent=sums[recent],
        allowance=allowance,
        samples=tuple([_sample(window, sums[window], allowance) for window in alert_windows]),
        statuses=_statuses(rules, decisions),
        budget_statuses=_budget_statuses(slo, decisions),
        labels=labels,
    )
    transitions = [
        _transition(slo, name, decision, snapshot=snapshot, rules=rules, late=late)
        for name, decision in decisions.items()
        if decision.turn is not None
    ]
    return Verdict(
        snapshot,
        {name: decision.state for name, decision in decisions.items()} if live else states,
        tuple(transitions),
        {name: decision.reason for name, decision in decisions.items()},
    )


def _snapshot(
    slo: SLO,
    *,
    at: int,
    outcome: Outcome,
    whole: Sums,
    recent: Sums,
    allowance: Ratio,
    samples: tuple[BurnRateSample, ...],
    statuses: tuple[AlertStatus, ...],
    budget_statuses: tuple[BudgetAlertStatus, ...],
    labels: Mapping[str, str],
) -> SLOSnapshot:
    return SLOSnapshot(
        name=slo.name,
        unit=slo.unit,
        target=slo.target,
        window_seconds=slo.window,
        evaluated_at=at,
        state=DATA_STATES[outcome],
        coverage=budget.coverage(whole),
        total=budget.sample_count(whole),
        failures=budget.failures(whole),
        success_ratio=budget.success_ratio(whole),
        error_budget_remaining=budget.remaining(whole, allowance),
        burn_rate=budget.burn_rate(whole, allowance),
        error_budget_remaining_bounds=budget.bounds(whole, allowance),
        events_remaining=budget.events_remaining(whole, allowance),
        exhaustion_seconds=budget.exhaustion_seconds(whole, recent, allowance),
        breached=budget.breached(whole, allowance),
        budget_exhausted=budget.exhausted(whole, allowance),
        burn_rate_samples=samples,
        alerts=statuses,
        budget_alerts=budget_statuses,
        labels=labels,
        rollup=bool(slo.group_by) and not labels,
    )


def _sums(windows: Mapping[int, WindowCounts], window: int) -> Sums:
    return budget.exact(windows.get(window) or WindowCounts(window, 0, 0, 0))


def _judge(rule: Rule, sums: Mapping[int, Sums], outcome: Outcome) -> Judgement:
    return alerts.judge_pair(rule, outcome=outcome, long=sums[rule.pair.long], short=sums[rule.pair.short])


def _sample(window: int, sums: Sums, allowance: Ratio) -> BurnRateSample:
    return BurnRateSample(
        window,
        budget.burn_rate(sums, allowance),
        budget.success_ratio(sums),
        budget.sample_count(sums),
        budget.failures(sums),
        budget.coverage(sums),
    )


def _statuses(rules: Sequence[Rule], decisions: Mapping[str, Decision]) -> tuple[AlertStatus, ...]:
    firing = [rule for rule in rules if decisions[rule.name].state.state == "firing"]
    statuses = []
    for rule in rules:
        decision = decisions[rule.name]
        statuses.append(
            AlertStatus(
                rule.pair.severity,
                rule.pair.long,
                rule.pair.short,
                rule.pair.burn_rate,
                decision.shown,
                decision.state.since,
                decision.reason,
                alerts.suppressor(rule, firing) if firing and decision.shown != "quiet" else None,
            )
        )
    return tuple(statuses)


def _budget_statuses(slo: SLO, decisions: Mapping[str, Decision]) -> tuple[BudgetAlertStatus, ...]:
    return tuple(
        BudgetAlertStatus(
            rule.alert.severity,
            rule.alert.what,
            decision.shown,
            decision.state.since,
            decision.reason,
        )
        for rule in alerts.budget_rules(slo.budget_alerts)
        for decision in (decisions[rule.name],)
    )


def _transition(
    slo: SLO, name: str, decision: Decision, *, snapshot: SLOSnapshot, rules: Sequence[Rule], late: bool
) -> Transition:
    """What others are told: a burn with its long window's figures, the rest with the SLO window's."""
    rule = next((rule for rule in rules if rule.name == name), None)
    of_budget = next((one for one in slo.budget_alerts if one.rule == name), None)
    kind = (BURN_KINDS if rule else BUDGET_ALERT_KINDS if of_budget else KINDS[name])[decision.turn]
    severity = rule.pair.severity if rule else of_budget.severity if of_budget else None
    figures: SLOSnapshot | BurnRateSample = snapshot
    count = snapshot.total
    if rule:
        figures = next(s for s in snapshot.burn_rate_samples if s.window_seconds == rule.pair.long)
        count = figures.sample_count
    payload = {
        **about(slo, group=snapshot.labels),
        "event_kind": kind,
        "window_seconds": figures.window_seconds,
        "short_window_seconds": rule.pair.short if rule else None,
        "severity": severity,
        "threshold": number(rule.pair.burn_rate) if rule else None,
        "burn_rate": figures.burn_rate,
        "success_ratio": figures.success_ratio,
        "sample_count": None if count is None else number(count),
        "error_budget_remaining": snapshot.error_budget_remaining,
        "reason": decision.reason,
        "evaluated_at": instant_text(snapshot.evaluated_at),
        "late": late,
    }
    if of_budget:
        payload["rule"] = of_budget.what
    return Transition(
        kind, name, snapshot.evaluated_at, decision.reason, payload, late, group=snapshot.labels
    )
