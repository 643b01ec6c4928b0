"""The verdict: everything one tick concluded about one SLO instance.

`run`, `evaluate` and `replay` call the same `assess` and differ only in the instants and counts they pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from slo_budget_tracker import alerts, budget
from slo_budget_tracker.alerts import Burn
from slo_budget_tracker.snapshots import (
    NO_LABELS,
    AlertStatus,
    BurnRateSample,
    SLOSnapshot,
    instant_text,
    number,
)
from slo_budget_tracker.ticks import Outcome, WindowCounts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState, Decision, Judgement, Rule, Turn
    from slo_budget_tracker.budget import Ratio
    from slo_budget_tracker.specs import SLO, Sli

DATA = "data"
BUDGET = "budget"
LOSS_SECONDS = 300
LOSS_TICKS = 3

KINDS = {
    DATA: {alerts.Turn.STARTED: "slo_data_lost", alerts.Turn.ENDED: "slo_data_restored"},
    BUDGET: {alerts.Turn.STARTED: "slo_budget_exhausted", alerts.Turn.ENDED: "slo_budget_restored"},
}
BURN_KINDS = {alerts.Turn.STARTED: "slo_burn_started", alerts.Turn.ENDED: "slo_recovered"}

# A missed tick is an answer Prometheus still owes; one that was given up left nothing known.
DATA_STATES = {
    Outcome.OK: "ok",
    Outcome.NO_TRAFFIC: "no_traffic",
    Outcome.PARTIAL: "partial",
    Outcome.NO_DATA: "no_data",
    Outcome.ERROR: "error",
    Outcome.MISSED: "error",
    Outcome.UNKNOWN: "no_data",
}


@dataclass(frozen=True, slots=True)
class Transition:
    """A change that others are told of; `payload` has the figures of contract and audit event."""

    kind: str
    rule: str
    at: int
    reason: str
    payload: Mapping[str, Any]
    late: bool = False


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
    `budget.exhaustion_window(slo.window)`; a window that is not there is unknown. `live=False` only looks:
    the states come back as they were and nothing is told. `late` marks transitions of a catch-up.
    """
    rules = alerts.rules(slo.alerts, slo.target)
    allowance = budget.allowed(slo.target)
    burns = {window: _burn(windows.get(window), window, allowance) for window in alerts.windows(slo.alerts)}
    whole = burns.get(slo.window) or _burn(windows.get(slo.window), slo.window, allowance)
    remaining = budget.remaining(whole.sums, allowance)

    judged = [
        (rule.name, _judge(rule, burns, outcome), rule.pair.for_seconds, rule.pair.keep_firing_for)
        for rule in rules
    ]
    data_lost_after = max(LOSS_SECONDS, LOSS_TICKS * interval) - interval  # the first tick lasted an interval
    judged.append((DATA, alerts.judge_data(outcome), data_lost_after, 0))
    judged.append((BUDGET, alerts.judge_budget(whole.sums, allowance, outcome=outcome, left=remaining), 0, 0))
    decisions: dict[str, Decision] = {}
    for name, judgement, for_seconds, keep_firing_for in judged:
        decisions[name] = (
            alerts.step(
                states.get(name),
                judgement,
                at=at,
                seconds=interval,
                for_seconds=for_seconds,
                keep_firing_for=keep_firing_for,
            )
            if live
            else alerts.look(states.get(name), judgement, at=at, for_seconds=for_seconds)
        )

    recent = windows.get(budget.exhaustion_window(slo.window))
    snapshot = SLOSnapshot(
        name=slo.name,
        unit=_unit(slo.sli),
        target=slo.target,
        window_seconds=slo.window,
        evaluated_at=at,
        state=DATA_STATES[outcome],
        coverage=budget.coverage(whole.sums),
        total=budget.sample_count(whole.sums),
        failures=budget.failures(whole.sums),
        success_ratio=budget.success_ratio(whole.sums),
        error_budget_remaining=remaining,
        burn_rate=whole.rate,
        error_budget_remaining_bounds=budget.bounds(whole.sums, allowance),
        events_remaining=budget.events_remaining(whole.sums, allowance),
        exhaustion_seconds=budget.exhaustion_seconds(
            whole.sums, None if recent is None else budget.exact(recent), allowance
        ),
        breached=budget.breached(whole.sums, allowance),
        budget_exhausted=budget.exhausted(whole.sums, allowance),
        burn_rate_samples=tuple([_sample(window, burn) for window, burn in burns.items()]),
        alerts=_statuses(rules, decisions),
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


def _burn(counts: WindowCounts | None, window: int, allowance: Ratio) -> Burn:
    sums = budget.exact(counts or WindowCounts(window, 0, 0, 0))
    return Burn(sums, budget.burn_rate(sums, allowance))


def _judge(rule: Rule, burns: Mapping[int, Burn], outcome: Outcome) -> Judgement:
    return alerts.judge_pair(rule, outcome=outcome, long=burns[rule.pair.long], short=burns[rule.pair.short])


def _unit(sli: Sli) -> str:
    """What is counted; an error ratio weighs each tick alike, so its events are ticks."""
    return "ticks" if sli.kind == "promql" and sli.error_ratio is not None else "requests"


def _sample(window: int, burn: Burn) -> BurnRateSample:
    sums = burn.sums
    return BurnRateSample(
        window,
        burn.rate,
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


def _transition(
    slo: SLO, name: str, decision: Decision, *, snapshot: SLOSnapshot, rules: Sequence[Rule], late: bool
) -> Transition:
    """What others are told: a burn with its long window's figures, the rest with the SLO window's."""
    rule = next((rule for rule in rules if rule.name == name), None)
    turn = cast("Turn", decision.turn)
    kind = BURN_KINDS[turn] if rule else KINDS[name][turn]
    figures: SLOSnapshot | BurnRateSample = snapshot
    count = snapshot.total
    if rule:
        figures = next(s for s in snapshot.burn_rate_samples if s.window_seconds == rule.pair.long)
        count = figures.sample_count
    payload = {
        "event_kind": kind,
        "slo_name": slo.name,
        "instance": dict(snapshot.labels),
        "labels": dict(slo.labels),
        "window_seconds": figures.window_seconds,
        "short_window_seconds": rule.pair.short if rule else None,
        "severity": rule.pair.severity if rule else None,
        "threshold": number(rule.pair.burn_rate) if rule else None,
        "burn_rate": figures.burn_rate,
        "success_ratio": figures.success_ratio,
        "sample_count": None if count is None else number(count),
        "error_budget_remaining": snapshot.error_budget_remaining,
        "reason": decision.reason,
        "evaluated_at": instant_text(snapshot.evaluated_at),
        "late": late,
    }
    return Transition(kind, name, snapshot.evaluated_at, decision.reason, payload, late)
