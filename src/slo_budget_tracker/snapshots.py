"""What users see of one SLO instance at one data instant (JSON of the API, `evaluate` and `replay`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class BurnRateSample:
    """One window's figures; unknown numbers are None."""

    window_seconds: int
    burn_rate: float | None
    success_ratio: float | None
    sample_count: float | None
    failures: float | None
    coverage: float


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """One alert pair as users see it: state is quiet, pending, firing or held; `since` a data instant."""

    severity: str
    long_window_seconds: int
    short_window_seconds: int
    threshold: Decimal
    state: str
    since: int | None
    reason: str
    suppressed_by: str | None = None


@dataclass(frozen=True, slots=True)
class SLOSnapshot:
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
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_breached(self) -> bool:
        """Whether the success ratio is below the target (strictly); unknown is not breached."""
        return bool(self.breached)

    @property
    def is_budget_exhausted(self) -> bool:
        """Whether nothing of the error budget remains; unknown is not exhausted."""
        return bool(self.budget_exhausted)
