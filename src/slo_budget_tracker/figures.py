"""The daemon's figures about itself: frozen, replaced as a whole by each tick."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client import Metric

TICK_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took: observations up to each bound and above all, not cumulative, and their sum."""

    bounds: tuple[float, ...] = TICK_BOUNDS
    counts: tuple[int, ...] = (0,) * (len(TICK_BOUNDS) + 1)
    sum: float = 0.0

    def with_one(self, seconds: float) -> Durations:
        """The same with one more observation."""
        place = bisect_left(self.bounds, seconds)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return replace(self, counts=counts, sum=self.sum + seconds)


@dataclass(frozen=True, slots=True)
class OwnFigures:
    """What the daemon says about itself; None and empty mappings leave no sample behind.

    Counters count since the daemon's start; instants are epoch seconds.
    """

    version: str = ""
    prometheus_flavors: Mapping[str, str] = field(default_factory=dict)  # by datasource
    slos: int | None = None
    shard: tuple[int, int] | None = None  # its number, and how many there are
    shard_waiting: int | None = None  # SLOs of this shard that another one still evaluates
    ticks: Mapping[str, int] = field(default_factory=dict)  # SLO ticks by outcome
    tick_durations: Durations = Durations()
    last_tick_at: float | None = None
    ticks_missed: int = 0
    ticks_revised: int = 0  # SLO ticks that late data corrected
    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by (datasource, outcome)
    samples_read: Mapping[str, int] = field(default_factory=dict)  # by datasource
    prometheus_up: Mapping[str, bool] = field(default_factory=dict)  # by datasource, as the next three
    prometheus_auth_ok: Mapping[str, bool] = field(default_factory=dict)
    clock_skew: Mapping[str, float] = field(default_factory=dict)  # seconds, the server's clock minus ours
    certificate_expires_at: Mapping[str, float] = field(default_factory=dict)
    upstream_history: Mapping[str, float] = field(default_factory=dict)  # seconds by datasource
    series_remembered: int | None = None
    doubts: Mapping[str, int] = field(default_factory=dict)  # by kind: what counting left out when in doubt
    clamped: Mapping[str, int] = field(
        default_factory=dict
    )  # by SLO: ticks in which a part exceeded the whole
    groups_limited: Mapping[str, int] = field(default_factory=dict)  # ticks by SLO
    backfill_pending: int = 0  # ticks still to be fetched
    outbox_pending: int | None = None
    outbox_oldest_at: float | None = None
    deliveries: Mapping[str, int] = field(default_factory=dict)  # by outcome
    receipts_lost: int | None = None
    receipt_mismatches: int | None = None
    audit_target_ok: bool | None = None
    quarantined: int | None = None
    store_errors: int = 0
    leader: bool = True  # whether this daemon evaluates and sends
    lease_term: int | None = None  # of a ledger in PostgreSQL
    clock_jumps: Mapping[str, int] = field(default_factory=dict)  # by direction
    reload_successful: bool | None = None
    reload_at: float | None = None  # the last successful one
    web_config_ok: bool | None = None
    web_config_failures: int | None = None
    web_certificate_expires_at: float | None = None
    web_refused: Mapping[str, int] = field(default_factory=dict)  # by reason
    log_lines_dropped: int = 0
    ledger_bytes: int | None = None
    ledger_rows: int | None = None
    store_engine: str = ""  # "sqlite" or "postgresql"
    store_version: str = ""  # of its library or server
    process: tuple[Metric, ...] = ()  # tuple(prometheus_client.ProcessCollector(registry=None).collect())
