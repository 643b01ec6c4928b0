"""The Python API for notebooks and scripts: objectives, evaluated against a Prometheus at an instant.

    registry = SLORegistry("http://localhost:9090")
    registry.register(SLODefinition(
        "checkout-availability", 0.999,
        total='http_requests_total{job="checkout"}', bad='http_requests_total{job="checkout", code=~"5.."}',
    ))
    for snapshot in registry.snapshot_all():
        print(snapshot.name, snapshot.error_budget_remaining)

Everything is counted by the same code as in the daemon; nothing is stored.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cached_property, partial
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.gauges import render
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.selectors import Selector, parse_selector
from slo_budget_tracker.snapshots import BurnRateSample, SLOSnapshot
from slo_budget_tracker.specs import (
    DEFAULT_BURN_RATE_THRESHOLD,
    DEFAULT_BURN_RATE_WINDOWS,
    DEFAULT_WINDOW,
    SLO,
    RequestsSli,
    simple,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from slo_budget_tracker.reading import Ask

    Selection = str | Sequence[str]
    Instant = datetime | float

__all__ = [
    "BurnRateAlert",
    "BurnRateSample",
    "PrometheusExporter",
    "SLODefinition",
    "SLORegistry",
    "SLOSnapshot",
]

REQUEST_BUDGET = 60.0  # seconds for one question with its retries


@dataclass(frozen=True)
class SLODefinition:
    """One objective over request counters; refused with a ValueError where it makes no sense.

    Attributes:
        name: unique in its registry; lower case letters, digits and dashes.
        target: the share of requests that must succeed, in (0, 1).
        window_seconds: length of the rolling SLO window.
        burn_rate_windows: windows whose burn rate is looked at, each at most the SLO window.
        burn_rate_threshold: the burn rate that is too high in any of them, above 1.
        description: for people.
        total: a selector, or several whose series are summed: all requests.
        bad: the same for the requests that failed; or
        good: for those that succeeded.
    """

    name: str
    target: float | Decimal
    window_seconds: int = DEFAULT_WINDOW
    burn_rate_windows: Sequence[int] = DEFAULT_BURN_RATE_WINDOWS
    burn_rate_threshold: float | Decimal = DEFAULT_BURN_RATE_THRESHOLD
    description: str = ""
    total: Selection = field(default=(), kw_only=True)
    bad: Selection | None = field(default=None, kw_only=True)
    good: Selection | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        faults = list(self._faults())
        if faults:
            raise ValueError(f"SLO {self.name!r}: {'; '.join(faults)}")
        _ = self.slo

    def _faults(self) -> Iterator[str]:
        """What the SLO itself does not find: numbers that are none, and what only this form demands."""
        if _decimal(self.target) is None:
            yield f"target: {self.target!r} is no number"
        threshold = _decimal(self.burn_rate_threshold)
        if threshold is None or threshold <= 1:
            yield f"burn_rate_threshold: {self.burn_rate_threshold!r} is not above 1"
        for window in self.burn_rate_windows:
            if not 0 < window <= self.window_seconds:
                yield f"burn_rate_windows: {window!r} is not in (0, {self.window_seconds!r}]"
        if not self.total:
            yield "total: no selector, such as 'http_requests_total{job=\"checkout\"}'"

    @cached_property
    def slo(self) -> SLO:
        """The same as the daemon knows it."""
        try:
            return SLO(
                name=self.name,
                description=self.description,
                target=_exact(self.target),
                window=self.window_seconds,
                sli=RequestsSli(
                    total=_selectors("total", self.total),
                    bad=None if self.bad is None else _selectors("bad", self.bad),
                    good=None if self.good is None else _selectors("good", self.good),
                ),
                alerts=simple(tuple(self.burn_rate_windows), _exact(self.burn_rate_threshold)),
            )
        except ValidationError as error:
            faults = "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
            raise ValueError(f"SLO {self.name!r}: {faults}") from error
        except ValueError as error:
            raise ValueError(f"SLO {self.name!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class BurnRateAlert:
    """An objective whose budget burns too fast right now, in one window (or in a long and a short one)."""

    slo_name: str
    window_seconds: int
    burn_rate: float
    threshold: Decimal
    success_ratio: float
    sample_count: float
    short_window_seconds: int
    severity: str = "page"


@dataclass(slots=True)  # not frozen: `prometheus.Connection` has plain attributes
class Source:
    """How the Prometheus of a registry is reached."""

    url: str
    timeout: float = 30.0
    headers: Mapping[str, str] = field(default_factory=dict)
    basic_auth: None = None
    bearer_token_file: Path | None = None
    tls: None = None
    max_response_bytes: int = 64 << 20
    concurrency: int = 4


class SLORegistry:
    """Objectives that are evaluated together against one Prometheus.

    `replica_label` names the label that tells the replicas of a highly available pair apart. `interval` and
    `delay` are the daemon's: an evaluation is at an instant `k * interval - delay`. `ask` replaces the
    requests (for tests), `clock` the time.
    """

    def __init__(
        self,
        prometheus_url: str = "http://localhost:9090",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        replica_label: str | None = None,
        interval: int = 60,
        delay: int = 20,
        ask: Ask | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.source = Source(prometheus_url, timeout=timeout, headers=headers or {})
        self.grid = Grid(interval=interval, delay=delay, replica_labels={"default": replica_label})
        self._ask = ask
        self._client: Prometheus | None = None
        self._clock = clock
        self._slos: dict[str, SLO] = {}

    def register(self, *definitions: SLODefinition | SLO) -> None:
        """Add objectives (of files: `register(*specfiles.load(paths).slos)`); a name twice is refused."""
        for definition in definitions:
            slo = definition.slo if isinstance(definition, SLODefinition) else definition
            if slo.name in self._slos:
                raise ValueError(f"SLO {slo.name!r} is registered already")
            self._slos[slo.name] = slo

    @property
    def slos(self) -> tuple[SLO, ...]:
        """What is registered, in the order of registration."""
        return tuple(self._slos.values())

    def snapshot_all(self, at: Instant | None = None) -> list[SLOSnapshot]:
        """All figures of each objective at the data instant `at` (aligned down; the newest one if not given).

        Raises:
            PrometheusError: Prometheus is out of reach or refuses to answer.
        """
        if not self._slos:
            return []
        instant = self._clock() - self.grid.delay if at is None else _seconds(at)
        asks = dict.fromkeys({slo.datasource for slo in self.slos}, self._asking())
        return list(evaluate_at(self.slos, asks, at=instant, grid=self.grid))

    def snapshot(self, name: str, at: Instant | None = None) -> SLOSnapshot:
        """One objective's figures.

        Raises:
            UsageError: nothing of that name is registered.
        """
        if name not in self._slos:
            raise UsageError(f"there is no SLO {name!r}; registered are {', '.join(self._slos) or 'none'}")
        return next(one for one in self.snapshot_all(at) if one.name == name)

    def check_burn_rates(self, at: Instant | None = None) -> list[BurnRateAlert]:
        """What burns too fast at an instant: certainly so, even if everything unknown was good."""
        return burning(self.snapshot_all(at))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _asking(self) -> Ask:
        if self._ask is not None:
            return self._ask
        if self._client is None:
            self._client = Prometheus(self.source)
        return partial(self._client.ask, budget_seconds=max(REQUEST_BUDGET, 2 * self.source.timeout))


class PrometheusExporter:
    """The gauges of a registry's objectives as text, for a file or a push."""

    def __init__(self, registry: SLORegistry) -> None:
        self.registry = registry

    def render(self, at: Instant | None = None) -> str:
        """Evaluate and write the gauges in Prometheus' text format."""
        return render(self.registry.snapshot_all(at), self.registry.slos, None).decode()


def burning(snapshots: Iterable[SLOSnapshot]) -> list[BurnRateAlert]:
    """The alerts of some snapshots that fire, with the figures of their long windows."""
    found = []
    for snapshot in snapshots:
        samples = {sample.window_seconds: sample for sample in snapshot.burn_rate_samples}
        for alert in snapshot.alerts:
            long = samples[alert.long_window_seconds]
            known = long.burn_rate is not None and long.success_ratio is not None
            if alert.state in {"firing", "held"} and known:
                found.append(
                    BurnRateAlert(
                        slo_name=snapshot.name,
                        window_seconds=alert.long_window_seconds,
                        burn_rate=long.burn_rate or 0.0,
                        threshold=alert.threshold,
                        success_ratio=long.success_ratio or 0.0,
                        sample_count=long.sample_count or 0.0,
                        short_window_seconds=alert.short_window_seconds,
                        severity=alert.severity,
                    )
                )
    return found


def _selectors(role: str, selection: Selection) -> tuple[Selector, ...]:
    found = []
    for text in [selection] if isinstance(selection, str) else selection:
        try:
            found.append(parse_selector(text))
        except ValueError as error:
            raise ValueError(f"{role}: {text!r}: {error}") from error
    return tuple(found)


def _decimal(number: object) -> Decimal | None:
    """The number as it is written: 0.999 is 999/1000, not the nearest binary fraction."""
    try:
        found = Decimal(str(number))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _exact(number: float | Decimal) -> Decimal:
    found = _decimal(number)
    assert found is not None
    return found


def _seconds(at: Instant) -> float:
    """An instant in epoch seconds; a time without a zone is not guessed."""
    if not isinstance(at, datetime):
        return float(at)
    if at.tzinfo is None:
        raise UsageError(f"{at.isoformat()} has no time zone; give one, for example datetime.now(UTC)")
    return at.timestamp()
