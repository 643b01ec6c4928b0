"""What an SLO is: frozen values in one shape, whatever file they were read from."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from slo_budget_tracker.selectors import Selector  # noqa: TC001 - pydantic reads it at run time

DAY = 86_400
DEFAULT_WINDOW = 30 * DAY
DEFAULT_BURN_RATE_WINDOWS = (3_600, 21_600)
DEFAULT_BURN_RATE_THRESHOLD = Decimal("14.4")

Severity = Literal["page", "ticket"]


class Frozen(BaseModel):
    """Base of all specs: immutable, strict, nothing unknown."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", arbitrary_types_allowed=True)


class RequestsSli(Frozen):
    """A ratio of counters; each of `total` and `bad` (or `good`) is a sum of selectors."""

    kind: Literal["requests"] = "requests"
    total: tuple[Selector, ...]
    bad: tuple[Selector, ...] | None = None
    good: tuple[Selector, ...] | None = None


class LatencySli(Frozen):
    """Requests faster than `threshold` seconds, from a classic histogram (base name, no _bucket)."""

    kind: Literal["latency"] = "latency"
    histogram: Selector
    threshold: Decimal


class PromqlSli(Frozen):
    """Free PromQL with `$window`: two of bad, good and total, or an error ratio per tick (`unweighted`)."""

    kind: Literal["promql"] = "promql"
    bad: str | None = None
    good: str | None = None
    total: str | None = None
    error_ratio: str | None = None
    window: int = 300


Sli = Annotated[RequestsSli | LatencySli | PromqlSli, Field(discriminator="kind")]


class BurnRateAlert(Frozen):
    """A pair of windows (seconds) that fires when both burn at or above `burn_rate`.

    Source: SRE Workbook, "Alerting on SLOs", 6: Multiwindow, Multi-Burn-Rate Alerts.
    `for_seconds`: how long the condition must hold before firing; `keep_firing_for`: how long the condition
    must be over before it ends. Long and short are equal in the seed's simple form (`burn_rate:`).
    """

    severity: Severity = "page"
    long: int
    short: int
    burn_rate: Decimal
    for_seconds: int = 0
    keep_firing_for: int = 0

    @property
    def rule(self) -> str:
        """The stable name of the rule within its SLO: state and events are kept by it."""
        return f"burn:{self.severity}:{self.long}:{self.short}"


class SLO(Frozen):
    """One service-level objective: name, SLI, target, rolling window, alerts."""

    name: str
    description: str = ""
    service: str = ""
    owner: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    datasource: str = "default"
    target: Decimal  # a ratio in (0, 1)
    window: int = DEFAULT_WINDOW  # seconds
    sli: Sli
    alerts: tuple[BurnRateAlert, ...] = ()
    source: str = ""  # file:line, for messages; no part of the identity

    @property
    def error_budget(self) -> Fraction:
        """The share of events that may fail, 1 - target, exact."""
        return 1 - Fraction(self.target)

    @property
    def windows(self) -> tuple[int, ...]:
        """Every window this SLO needs, in seconds, ascending: its alerts' and its own."""
        return tuple(sorted({self.window, *(w for a in self.alerts for w in (a.long, a.short))}))
