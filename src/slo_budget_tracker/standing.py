"""Standing: how an SLO is in one word, healthy to exhausted, and why in sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.snapshots import AlertStatus, BudgetAlertStatus, SLOSnapshot

Standing = Literal["healthy", "at_risk", "exhausted", "error", "no_data"]
STANDINGS: tuple[Standing, ...] = (
    "exhausted",
    "at_risk",
    "error",
    "no_data",
    "healthy",
)  # the most urgent first
LITTLE = 0.25  # of the budget: less is a risk
SOON = 3 * 86_400  # seconds: a budget that ends earlier is at risk
SILENT = {"no_data": "Prometheus has no series for it", "error": "Prometheus or the query failed"}


class Judged(NamedTuple):
    """How an SLO is, and the sentences that say why."""

    standing: Standing
    reasons: tuple[str, ...]


def judge(one: SLOSnapshot) -> Judged:
    """How an SLO is by its last evaluation; the first reason is the decisive one.

    Exhausted before everything else: a lack of data does not bring a budget back. Then an error, or no
    data: of an SLO that nobody sees nobody can say that it is well.
    """
    exhausted, missing, risks = _exhausted(one), _missing(one), tuple(_risks(one))
    reasons = (*exhausted, *missing, *risks)
    if exhausted:
        return Judged("exhausted", reasons)
    if missing:
        return Judged("error" if one.state == "error" else "no_data", reasons)
    if risks:
        return Judged("at_risk", reasons)
    return Judged("healthy", ("No alert fires and the budget lasts.",))


def tally(snapshots: Iterable[SLOSnapshot]) -> dict[str, int]:
    """How many SLOs are how, and how many alerts fire."""
    found = tuple(snapshots)
    counts = Counter(judge(one).standing for one in found)
    firing = sum(len(firing_of(one)) for one in found)
    return {**{name: counts[name] for name in STANDINGS}, "alerts_firing": firing}


def firing_of(one: SLOSnapshot) -> tuple[AlertStatus | BudgetAlertStatus, ...]:
    """The alerts of an SLO that fire, on burn rates and on the budget."""
    return tuple([alert for alerts in (one.alerts, one.budget_alerts) for alert in alerts if alert.firing])


def pair(alert: AlertStatus) -> str:
    """A pair of windows in words: `page over 1h and 5m`."""
    long, short = format_duration(alert.long_window_seconds), format_duration(alert.short_window_seconds)
    return f"{alert.severity} over {long}" + ("" if long == short else f" and {short}")


def _exhausted(one: SLOSnapshot) -> tuple[str, ...]:
    if not one.budget_exhausted:
        return ()
    over = -(one.error_budget_remaining or 0.0)
    spent = f"overspent by {over:.1%}" if over > 0 else "spent"
    return (f"The error budget of {format_duration(one.window_seconds)} is {spent}.",)


def _missing(one: SLOSnapshot) -> tuple[str, ...]:
    if one.state in SILENT:
        return (f"The last tick brought nothing: {SILENT[one.state]}.",)
    return () if one.error_budget_remaining is not None else ("Nothing is known of its window yet.",)


def _risks(one: SLOSnapshot) -> Iterable[str]:
    if one.suspicious:
        yield f"Its figures are suspicious: {one.suspicious}."
    for alert in one.alerts:
        if alert.firing:
            yield f"A {pair(alert)} fires: {alert.reason}."
    for rule in one.budget_alerts:
        if rule.firing:
            yield f"A {rule.severity} on the budget fires: {rule.reason}."
    left = one.error_budget_remaining
    if left is not None and 0 < left < LITTLE:
        yield f"Only {left:.1%} of the error budget is left."
    if one.exhaustion_seconds is not None and 0 < one.exhaustion_seconds < min(SOON, one.window_seconds // 4):
        hours = format_duration(one.exhaustion_seconds // 60 * 60)
        yield f"At the pace of the last hours the budget is spent in {hours}."
