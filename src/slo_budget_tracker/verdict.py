"""The verdict: everything one tick concluded about one SLO instance.

`run`, `evaluate` and `replay` call the same `assess` and differ only in the instants and counts they pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from slo_budget_tracker import alerts, budget, suspicions
from slo_budget_tracker.payloads import about
from slo_budget_tracker.snapshots import (
    NO_LABELS,
    AlertStatus,
    BudgetAlertStatus,
    BurnRateSample,
    RawFigures,
    SLOSnapshot,
    instant_text,
    number,
)
from slo_budget_tracker.ticks import TO_DATE, Outcome, WindowCounts
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState, Decision, Judgement, Rule, Turn
    from slo_budget_tracker.budget import Ratio, Sums
    from slo_budget_tracker.burns import Burns
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
NO_PAUSE = (0, 0)

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
    """What users see, what is remembered, what is told to others, and what was decided, by rule."""

    snapshot: SLOSnapshot
    states: Mapping[str, AlertState]
    transitions: tuple[Transition, ...]
    decisions: Mapping[str, Decision]

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why, by rule."""
        return {name: decision.reason for name, decision in self.decisions.items()}


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
    raw: Mapping[int, WindowCounts] | None = None,
    corrected_by: str = "",
    suspicion: str = "",
    burns: Burns | None = None,
) -> Verdict:
    """All that the tick ending at `at` concludes about one SLO instance.

    `windows` has the counts of `slo.windows` and, for `exhaustion_seconds`, of
    `budget.exhaustion_window(slo.window)`; a window that is not there is unknown. The counts of
    a calendar period are under `TO_DATE`. `live=False` only looks:
    the states come back as they were and nothing is told. `late` marks transitions of a catch-up.
    Where time was taken out of the windows, `raw` are the windows with it, and `corrected_by` names why.
    `suspicion` is what makes the tick's counts doubtful; when it lasts the snapshot says so.
    `burns` are what the alert windows of these say, where that was found out before (`burns.calm`).
    Where nothing changed the states are the very ones that were given.
    """
    rules, allowance, alert_windows, pauses = alerts.ruleset(slo.alerts, slo.target)
    figures = _figures(slo, at, windows, alert_windows if burns is None else ())
    sums, whole, recent = figures
    # Where missing data count as bad, a tick without any series says something.
    telling = OK if outcome is NO_DATA and slo.no_data == "bad" else outcome
    judgements = dict(burns.judgements) if burns is not None else _pairs(slo, sums, telling)
    judgements[DATA] = alerts.judge_data(outcome)  # keeps its place
    judgements |= _budgets(slo, at, figures, telling, states)
    lost_after = max(LOSS_SECONDS, LOSS_TICKS * interval) - interval  # the first tick lasted an interval

    decisions: dict[str, Decision] = {}
    for name, judgement in judgements.items():
        waits, keep = (lost_after, 0) if name == DATA else pauses.get(name, NO_PAUSE)
        decisions[name] = (
            alerts.step(
                states.get(name), judgement, at=at, seconds=interval, for_seconds=waits, keep_firing_for=keep
            )
            if live
            else alerts.look(states.get(name), judgement, at=at, for_seconds=waits)
        )
    if raw is not None:
        was = _figures(slo, at, raw, alert_windows)
        as_was = {**_pairs(slo, was.sums, telling), **_budgets(slo, at, was, telling, states)}
        decisions = {name: _owed(one, as_was.get(name), corrected_by) for name, one in decisions.items()}
    doubt = suspicions.stepped(
        states.get(suspicions.RULE), suspicion, outcome=outcome, at=at, interval=interval, live=live
    )
    snapshot = _snapshot(
        slo,
        at=at,
        outcome=outcome,
        doubt=doubt,
        whole=whole,
        recent=recent,
        allowance=allowance,
        samples=_samples(sums, alert_windows, allowance) if burns is None else burns.samples,
        statuses=_statuses(rules, decisions),
        budget_statuses=_budget_statuses(slo, decisions),
        raw=None if raw is None else _raw(was.whole, whole, allowance),
        labels=labels,
    )
    transitions = [
        _transition(slo, name, decision, snapshot=snapshot, rules=rules, late=late)
        for name, decision in decisions.items()
        if decision.turn is not None
    ]
    if doubt is not None:
        decisions[suspicions.RULE] = doubt
    after = {name: decision.state for name, decision in decisions.items()} if live else states
    return Verdict(
        snapshot,
        states if after == states else after,
        tuple(transitions),
        decisions,
    )


class Figures(NamedTuple):
    """Sums by window, of the SLO window, and of the window that tells how fast the budget goes."""

    sums: Mapping[int, Sums]
    whole: Sums
    recent: Sums


def _figures(
    slo: SLO, at: int, windows: Mapping[int, WindowCounts], alert_windows: tuple[int, ...]
) -> Figures:
    recent = budget.exhaustion_window(slo.window)
    sums = {window: _sums(windows, window) for window in alert_windows}
    if recent not in sums:
        sums[recent] = _sums(windows, recent)
    if slo.calendar is not None:
        so_far = windows.get(TO_DATE) or WindowCounts(slo.budget_span(at), 0, 0, 0, ahead=0)
        return Figures(sums, budget.exact(so_far), sums[recent])
    whole = sums[slo.window] if slo.window in sums else _sums(windows, slo.window)
    return Figures(sums, whole, sums[recent])


def _pairs(slo: SLO, sums: Mapping[int, Sums], outcome: Outcome) -> dict[str, Judgement]:
    """What the tick says about each pair of windows."""
    return {
        rule.name: alerts.judge_pair(
            rule, outcome=outcome, long=sums[rule.pair.long], short=sums[rule.pair.short]
        )
        for rule in alerts.ruleset(slo.alerts, slo.target).rules
    }


def _budgets(
    slo: SLO, at: int, figures: Figures, outcome: Outcome, states: Mapping[str, AlertState]
) -> dict[str, Judgement]:
    """What the tick says about the budget."""
    _, whole, recent = figures
    allowance = alerts.ruleset(slo.alerts, slo.target).allowance
    found = {BUDGET: alerts.judge_remaining(whole, allowance, outcome=outcome)}
    for rule in alerts.budget_rules(slo.budget_alerts):
        found[rule.name] = alerts.judge_budget_rule(rule, whole, recent, allowance, outcome=outcome)
    if slo.calendar is not None:
        start = at - slo.budget_span(at)
        for name, judgement in found.items():
            found[name] = alerts.in_new_period(states.get(name), judgement, start, outcome)
    return found


def _owed(decision: Decision, as_was: Judgement | None, corrected_by: str) -> Decision:
    """The decision; what is over only because time was taken out says so."""
    if decision.turn != "ended" or as_was is None or as_was.finding not in {"burning", "lingering"}:
        return decision
    return decision._replace(reason=f"{decision.reason}; by the correction {corrected_by}")


def _raw(was: Sums, now: Sums, allowance: Ratio) -> RawFigures:
    return RawFigures(
        (was.window // was.second) - (now.window // now.second),
        budget.sample_count(was),
        budget.failures(was),
        budget.success_ratio(was),
        budget.remaining(was, allowance),
        budget.burn_rate(was, allowance),
    )


def _snapshot(
    slo: SLO,
    *,
    at: int,
    outcome: Outcome,
    doubt: Decision | None,
    whole: Sums,
    recent: Sums,
    allowance: Ratio,
    samples: tuple[BurnRateSample, ...],
    statuses: tuple[AlertStatus, ...],
    budget_statuses: tuple[BudgetAlertStatus, ...],
    raw: RawFigures | None,
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
        events_remaining=None if slo.unit == "ratio" else budget.events_remaining(whole, allowance),
        exhaustion_seconds=budget.exhaustion_seconds(whole, recent, allowance),
        breached=budget.breached(whole, allowance),
        budget_exhausted=budget.exhausted(whole, allowance),
        burn_rate_samples=samples,
        alerts=statuses,
        budget_alerts=budget_statuses,
        labels=labels,
        raw=raw,
        suspicious=doubt.reason if doubt is not None and doubt.state.state == "firing" else "",
        rollup=bool(slo.group_by) and not labels,
    )


def _samples(
    sums: Mapping[int, Sums], windows: Sequence[int], allowance: Ratio
) -> tuple[BurnRateSample, ...]:
    found = [(window, *budget.figures(sums[window], allowance)) for window in windows]
    return tuple([make(BurnRateSample, figures) for figures in found])


def _sums(windows: Mapping[int, WindowCounts], window: int) -> Sums:
    return budget.exact(windows.get(window) or WindowCounts(window, 0, 0, 0))


def _statuses(rules: Sequence[Rule], decisions: Mapping[str, Decision]) -> tuple[AlertStatus, ...]:
    firing = [rule for rule in rules if decisions[rule.name].state.state == "firing"]
    statuses = []
    for rule in rules:
        state, shown, _, reason = decisions[rule.name]
        above = alerts.suppressor(rule, firing) if firing and shown != "quiet" else None
        statuses.append(make(AlertStatus, (*rule.shown, shown, state.since, reason, above)))
    return tuple(statuses)


def _budget_statuses(slo: SLO, decisions: Mapping[str, Decision]) -> tuple[BudgetAlertStatus, ...]:
    return tuple(
        [
            BudgetAlertStatus(
                rule.alert.severity,
                rule.alert.what,
                decision.shown,
                decision.state.since,
                decision.reason,
            )
            for rule in alerts.budget_rules(slo.budget_alerts)
            for decision in (decisions[rule.name],)
        ]
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
