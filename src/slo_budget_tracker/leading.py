"""Leading: what works while a daemon leads: ticks, fills, deliveries, backups; begun and ended together."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.backfill import Backfill
from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.errors import LedgerError, TrackerError
from slo_budget_tracker.horizons import Horizons
from slo_budget_tracker.pulse import Pulse
from slo_budget_tracker.scheduling import Schedule
from slo_budget_tracker.signals import STOP_WITHIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.notifying import Notifier

BACKUP_LOOK = 60.0  # seconds between two looks whether a backup is due

log = structlog.get_logger()


def _always() -> bool:
    return True


@dataclass(slots=True)
class Leading:
    """Works from `start` until the cycle's `stop` is set; then `halt`, then `end`."""

    cycle: Cycle
    ledger: Ledger
    notifier: Notifier
    clock: Callable[[], float] = time.time
    may_send: Callable[[], bool] = _always
    on_filling: Callable[[int, int], None] | None = None  # told how far the past is filled
    _schedule: Schedule = field(init=False)
    _backfill: Backfill = field(init=False)
    _delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        cycle = self.cycle
        self._schedule = Schedule(cycle.safe_tick, interval=cycle.evaluator.interval, clock=self.clock)
        self._backfill = Backfill(cycle) if self.on_filling is None else Backfill(cycle, self.on_filling)
        self._delivery = Delivery(
            ledger=self.ledger, settings=cycle.settings.audit, clock=self.clock, may_send=self.may_send
        )
        cycle.on_adoption = self._backfill.wake
        cycle.on_events = self._delivery.wake

    def start(self) -> None:
        """Begin with everything."""
        cycle = self.cycle
        if not cycle.stop.is_set():
            Pulse(cycle, self._schedule, self.notifier).start()
        self._delivery.start()
        cycle.publisher.delivery = self._delivery.figures
        if cycle.stop.is_set():
            return
        self._schedule.start()
        self._backfill.start()
        Horizons(cycle).start()
        for work, name in ((self._keep_backups, "backup"), (self._gather, "shards")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def halt(self) -> None:
        """Begin nothing more, and break off what is being asked."""
        self._schedule.stop()
        for client in self.cycle.sources.values():
            client.close()

    def end(self) -> None:
        """Wait for what is under way; what hangs is left behind: the ledger is consistent at any time."""
        self._backfill.join(STOP_WITHIN)
        with self.cycle.lock:  # a tick under way has come to its end
            self.cycle.evaluator.end()
        self._delivery.stop(within=1.0)
        self.cycle.publisher.delivery = None

    def _keep_backups(self) -> None:
        """Now and then a copy of the ledger's file, in a thread of its own: copying takes its time."""
        every = self.cycle.settings.ledger.backup_every if self.ledger.path is not None else 0
        while every and not self.cycle.stop.wait(BACKUP_LOOK):
            try:
                self.ledger.keep_backup(self.clock(), every=every)
            except LedgerError as error:
                log.warning("no backup of the ledger", detail=str(error))

    def _gather(self) -> None:
        """Take over what other shards let go of, as soon as they do; a trouble is told once."""
        cycle, told = self.cycle, ""
        while cycle.moves is not None and not cycle.stop.wait(cycle.evaluator.interval):
            try:
                cycle.gather()
                trouble = ""
            except TrackerError as error:
                trouble = str(error)
            if trouble and trouble != told:
                log.warning("nothing taken over", shard=str(cycle.moves.shard), detail=trouble)
            told = trouble
