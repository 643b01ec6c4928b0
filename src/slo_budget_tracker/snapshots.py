"""What users see of one SLO instance at one data instant (JSON of the API, `evaluate` and `replay`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

NO_LABELS: Mapping[str, str] = MappingProxyType({})


class BurnRateSample(NamedTuple):
    """One window's figures; unknown numbers are None."""

    window_seconds: int
    burn_rate: float | None
    success_ratio: float | None
    sample_count: float | None
    failures: float | None
    coverage: float


class AlertStatus(NamedTuple):
    """One alert pair as users see it; `since` is the data instant of the state's first tick.

    `state` is quiet, pending, firing, or held: firing, while the tick says nothing (pending stays pending).
    """

    severity: str
    long_window_seconds: int
    short_window_seconds: int
    threshold: Decimal
    state: str
    since: int | None
    reason: str
    suppressed_by: str | None = None

    @property
    def firing(self) -> bool:
        """Whether the pair fires, held or not: the value of `slo_burn_alert_firing`."""
        return self.state in {"firing", "held"}


class BudgetAlertStatus(NamedTuple):
    """One budget alert as users see it; `rule` is `remaining_below:10%` or `exhausted_within:4h`."""

    severity: str
    rule: str
    state: str
    since: int | None
    reason: str

    @property
    def firing(self) -> bool:
        """Whether it fires, held or not: the value of `slo_budget_alert_firing`."""
        return self.state in {"firing", "held"}


@dataclass(frozen=True, slots=True)
class RawFigures:
    """The SLO window as it was counted, with the time that corrections took out of it."""

    corrected_seconds: int
    total: float | None
    failures: float | None
    success_ratio: float | None
    error_budget_remaining: float | None
    burn_rate: float | None


class SLOSnapshot(NamedTuple):
    """All figures of one SLO instance; ratios are 0..1, durations seconds, unknown numbers None."""

    name: str
    unit: str
    target: Decimal
    window_seconds: int
    evaluated_at: int
    state: str
    coverage: float
    total: float | None
    failures: float | None
    success_ratio: float | None
    error_budget_remaining: float | None
    burn_rate: float | None
    error_budget_remaining_bounds: tuple[float, float] | None  # (worst, best)
    events_remaining: float | None
    exhaustion_seconds: float | None
    breached: bool | None
    budget_exhausted: bool | None
    burn_rate_samples: tuple[BurnRateSample, ...] = ()
    alerts: tuple[AlertStatus, ...] = ()
    labels: Mapping[str, str] = NO_LABELS
    budget_alerts: tuple[BudgetAlertStatus, ...] = ()
    raw: RawFigures | None = None
    suspicious: str = ""  # what makes its figures doubtful, once it lasts
    rollup: bool = False  # over all groups of an SLO that has groups

    @property
    def is_breached(self) -> bool:
        """Whether the success ratio is below the target (strictly); unknown is not breached."""
        return bool(self.breached)

    @property
    def is_budget_exhausted(self) -> bool:
        """Whether nothing of the error budget remains; unknown is not exhausted."""
        return bool(self.budget_exhausted)


@lru_cache(maxsize=256)
def instant_text(at: int) -> str:
    """A data instant in RFC 3339, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def snapshot_json(snapshot: SLOSnapshot) -> dict[str, Any]:
    """A snapshot as the API, `evaluate` and `replay` print it: unknown numbers are null, times RFC 3339."""
    bounds = snapshot.error_budget_remaining_bounds
    shown: dict[str, Any] = {
        "name": snapshot.name,
        "labels": dict(snapshot.labels),
        "unit": snapshot.unit,
        "target": float(snapshot.target),
        "window_seconds": snapshot.window_seconds,
        "evaluated_at": instant_text(snapshot.evaluated_at),
        "state": snapshot.state,
        "coverage": snapshot.coverage,
        "total": _count(snapshot.total),
        "failures": _count(snapshot.failures),
        "success_ratio": snapshot.success_ratio,
        "error_budget_remaining": snapshot.error_budget_remaining,
        "burn_rate": snapshot.burn_rate,
        "error_budget_remaining_bounds": None if bounds is None else {"worst": bounds[0], "best": bounds[1]},
        "exhaustion_seconds": snapshot.exhaustion_seconds,
        "breached": snapshot.breached,
        "budget_exhausted": snapshot.budget_exhausted,
        "burn_rate_samples": [_sample_json(sample) for sample in snapshot.burn_rate_samples],
        "alerts": [_alert_json(alert) for alert in snapshot.alerts],
    }
    if snapshot.budget_alerts:
        shown["budget_alerts"] = [_budget_alert_json(alert) for alert in snapshot.budget_alerts]
    if snapshot.suspicious:
        shown["suspicious"] = snapshot.suspicious
    if snapshot.raw is not None:
        raw = snapshot.raw
        shown["raw"] = {
            "corrected_seconds": raw.corrected_seconds,
            "total": _count(raw.total),
            "failures": _count(raw.failures),
            "success_ratio": raw.success_ratio,
            "error_budget_remaining": raw.error_budget_remaining,
            "burn_rate": raw.burn_rate,
        }
    return shown


def seed_json(snapshot: SLOSnapshot) -> dict[str, Any]:
    """A snapshot with the fields of slo-budget-tracker 0.1.1, for `/slo`; unknown is null, not 1.0."""
    return {
        "name": snapshot.name,
        "target": float(snapshot.target),
        "window_seconds": snapshot.window_seconds,
        "total": _count(snapshot.total),
        "failures": _count(snapshot.failures),
        "success_ratio": snapshot.success_ratio,
        "error_budget_remaining": snapshot.error_budget_remaining,
        "burn_rate": snapshot.burn_rate,
        "burn_rate_samples": [
            {
                "window_seconds": sample.window_seconds,
                "burn_rate": sample.burn_rate,
                "success_ratio": sample.success_ratio,
                "sample_count": _count(sample.sample_count),
            }
            for sample in snapshot.burn_rate_samples
        ],
        "is_breached": snapshot.is_breached,
        "is_budget_exhausted": snapshot.is_budget_exhausted,
    }


def _sample_json(sample: BurnRateSample) -> dict[str, Any]:
    return {
        "window_seconds": sample.window_seconds,
        "burn_rate": sample.burn_rate,
        "success_ratio": sample.success_ratio,
        "sample_count": _count(sample.sample_count),
        "failures": _count(sample.failures),
        "coverage": sample.coverage,
    }


def _alert_json(alert: AlertStatus) -> dict[str, Any]:
    return {
        "severity": alert.severity,
        "long_window_seconds": alert.long_window_seconds,
        "short_window_seconds": alert.short_window_seconds,
        "threshold": number(alert.threshold),
        "state": alert.state,
        "since": None if alert.since is None else instant_text(alert.since),
        "reason": alert.reason,
        "suppressed_by": alert.suppressed_by,
    }


def _budget_alert_json(alert: BudgetAlertStatus) -> dict[str, Any]:
    return {
        "severity": alert.severity,
        "rule": alert.rule,
        "state": alert.state,
        "since": None if alert.since is None else instant_text(alert.since),
        "reason": alert.reason,
    }


def _count(value: float | None) -> int | float | None:
    return None if value is None else number(value)


def number(value: float | Decimal) -> int | float:
    """The number for JSON: whole ones as integers."""
    return int(value) if value == int(value) else float(value)
