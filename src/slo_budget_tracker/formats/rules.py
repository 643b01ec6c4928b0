"""Native SLOs as plain rules for Prometheus: recorded error ratios and the alerts over them.

Only estimates of what the daemon counts: the ratios are Prometheus' own, with its extrapolation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.ratios import Ratio, error_ratio, ratio_of
from slo_budget_tracker.selectors import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.specs import SLO, BurnRateAlert

_KINDS = ("requests", "latency", "promql", "probe", "condition")


def document(slos: Sequence[SLO]) -> dict[str, Any]:
    """A rule file with one group for each SLO; ValueError says what has no rule."""
    return {"groups": [{"name": f"slo-{slo.name}", "rules": list(_rules(slo))} for slo in slos]}


def _rules(slo: SLO) -> Iterator[dict[str, Any]]:
    labels = {"slo": slo.name, **({"service": slo.service} if slo.service else {})}
    windows = sorted({slo.window, *(w for alert in slo.alerts for w in (alert.long, alert.short))})
    for window in windows:
        yield {"record": _record(window), "expr": _ratio(slo, format_duration(window)), "labels": labels}
    for alert in slo.alerts:
        yield _alert(slo, alert, labels)


def _ratio(slo: SLO, window: str) -> str:
    sli = slo.sli
    if sli.kind == "probe":
        good = " + ".join(f"sum(count_over_time(({one} == 1)[{window}:]))" for one in sli.up)
        total = " + ".join(f"sum(count_over_time({one}[{window}]))" for one in sli.up)
        return error_ratio(Ratio(good, total, good=True), window)
    if sli.kind == "condition":
        held = f"({sli.expr}) {sli.op} bool {sli.limit.normalize():f}"
        return f"1 - avg_over_time(({held})[{window}:])"
    return error_ratio(ratio_of(slo), window)


def _alert(slo: SLO, alert: BurnRateAlert, labels: dict[str, str]) -> dict[str, Any]:
    budget = f"{1 - slo.target:f}"
    ratios = [
        f"{_record(window)}{{slo={quote(slo.name)}}} >= ({alert.burn_rate.normalize():f} * {budget})"
        for window in dict.fromkeys((alert.long, alert.short))
    ]
    long, short = format_duration(alert.long), format_duration(alert.short)
    rule: dict[str, Any] = {
        "alert": "ErrorBudgetBurn",
        "expr": " and ".join(ratios),
        "labels": {**labels, "severity": alert.severity, "long_window": long, "short_window": short},
        "annotations": {
            "summary": f"{slo.name} burns its error budget {alert.burn_rate.normalize():f} times too fast"
        },
    }
    if alert.for_seconds:
        rule["for"] = format_duration(alert.for_seconds)
    if alert.keep_firing_for:
        rule["keep_firing_for"] = format_duration(alert.keep_firing_for)
    return rule


def _record(window: int) -> str:
    return f"slo:error_ratio:{format_duration(window)}"
