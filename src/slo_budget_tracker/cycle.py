"""The daemon's cycle: a tick brings every SLO to the newest data instant, and publishes what came of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.readiness import INTERNAL
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.ticks import data_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.prometheus import Prometheus
    from slo_budget_tracker.publishing import Publisher
    from slo_budget_tracker.reports import Report

log = structlog.get_logger()


@dataclass(slots=True)
class Cycle:
    """Ticks one evaluator, one at a time; whoever else writes to the ledger holds `lock`."""

    evaluator: Evaluator
    sources: Mapping[str, Prometheus]
    publisher: Publisher
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    last_at: int | None = None
    filling: int = 0  # seconds of the first fill that are still to come

    def now(self) -> int:
        """The newest data instant by the clock."""
        evaluator = self.evaluator
        return data_instant(self.clock(), interval=evaluator.interval, delay=evaluator.delay)

    def newest(self, otherwise: int) -> int:
        """The instant of the ledger's last verdicts."""
        ledger = self.evaluator.ledger
        cursors = [ledger.slo_cursor(instance) for instance in self.evaluator.ids.values()]
        return max((cursor for cursor in cursors if cursor is not None), default=otherwise)

    def show(self) -> None:
        """Publish what the ledger knows, without a tick; the caller holds the lock or is alone."""
        at = self.last_at or self.newest(self.now())
        self.publisher.publish(self.evaluator, self.sources, self.evaluator.look(at))

    def tick(self) -> Report | None:
        """Bring every SLO to the newest data instant and publish what came of it."""
        with self.lock:
            at = self.now()
            if self.last_at is not None and at <= self.last_at:
                return None
            started = time.perf_counter()
            report = self.evaluator.advance(at)
            seconds = time.perf_counter() - started
            self._tell(report, seconds)
            self._account(report, seconds)
            self.last_at = at
            self.publisher.publish(self.evaluator, self.sources, report.snapshots)
        return report

    def safe_tick(self) -> None:
        """A tick whose faults end nothing but itself (T12)."""
        if self.stop.is_set():
            return
        try:
            self.tick()
        except Exception as error:  # noqa: BLE001 - one bad tick must not end the daemon (T12)
            log.warning("tick failed", error=type(error).__name__, detail=str(error)[:200])
            self.publisher.readiness.failed([""])
            self.publisher.count(ticks={"internal_error": 1})

    def _account(self, report: Report, seconds: float) -> None:
        own, interval = self.publisher.own, self.evaluator.interval
        missed = 0
        if self.last_at is not None:
            missed = max((report.at - self.last_at) // interval - 1, 0)
        self.publisher.count(ticks=report.outcomes, doubts=report.doubts)
        self.publisher.note(
            tick_durations=own.tick_durations.with_one(seconds),
            last_tick_at=self.clock(),
            ticks_missed=own.ticks_missed + missed,
            backfill_pending=(report.pending_seconds + self.filling) // interval,
            store_errors=own.store_errors + (report.store_error is not None),
            series_remembered=report.series or own.series_remembered,
        )

    def _tell(self, report: Report, seconds: float) -> None:
        """One line when a trouble starts, one when it ends; transitions always."""
        readiness = self.publisher.readiness
        now = {**{key: str(error) for key, error in report.errors.items()}, **report.faults}
        if report.store_error is not None:
            now["ledger"] = str(report.store_error)
        for key in sorted(now.keys() - readiness.troubles):
            log.warning("trouble", of=key, detail=now[key])
        for key in sorted(readiness.troubles - now.keys()):
            log.info("trouble is over", of=key)
        readiness.ticked = True
        readiness.troubles = set(now)
        readiness.failed(name for name, fault in report.faults.items() if fault.startswith(INTERNAL))
        for transition in report.transitions:
            log.warning(
                transition.kind,
                slo=transition.payload["slo_name"],
                rule=transition.rule,
                at=instant_text(transition.at),
                reason=transition.reason,
            )
        log.debug("tick", at=instant_text(report.at), seconds=round(seconds, 3), samples=report.samples)
