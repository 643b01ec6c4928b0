"""The daemon: what is wired to what, and how it lives and leaves."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker import __version__
from slo_budget_tracker.backfill import Backfill
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.evaluator import Evaluator, density_of
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.scheduling import Schedule
from slo_budget_tracker.sources import asks, clients
from slo_budget_tracker.web import build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO

STOP_WITHIN = 4.0  # seconds for everything that hangs, when asked to stop

log = structlog.get_logger()

__all__ = ["Daemon", "asks", "clients"]


@dataclass(slots=True)
class Daemon:
    """Runs a catalogue by its settings until it is told to stop."""

    settings: Settings
    slos: Sequence[SLO]
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or `stop`; the exit status.

        Raises:
            TrackerError: the ledger or the address to listen on cannot be had.
        """
        self._catch_signals()
        evaluation = self.settings.evaluation
        density = density_of(self.slos, interval=evaluation.interval)
        with Ledger.open(self.settings.ledger.url, density=density) as ledger:
            cycle = self._cycle(ledger)
            cycle.evaluator.prepare(cycle.now())
            cycle.show()
            listen = self.settings.web.listen
            server = WebServer(build(cycle.publisher.display, listen=listen), listen=listen)
            server.start()
            log.info("started", version=__version__, slos=len(self.slos), listen=server.address)
            if self.settings.audit.url is not None:
                log.warning(
                    "audit.url is set: this version keeps events in the ledger and does not send them"
                )
            schedule = Schedule(cycle.safe_tick, interval=evaluation.interval, clock=self.clock)
            schedule.start()
            backfill = Backfill(cycle)
            backfill.start()
            self.stop.wait()
            self._end(schedule, server, backfill, cycle)
        log.info("stopped")
        return 0

    def _cycle(self, ledger: Ledger) -> Cycle:
        evaluation = self.settings.evaluation
        sources = clients(self.settings)
        budget = max(min(self.settings.longest_timeout * 2, evaluation.interval * 0.8), 1.0)
        evaluator = Evaluator(
            slos=self.slos,
            ledger=ledger,
            asks=asks(sources, budget=budget),
            interval=evaluation.interval,
            delay=evaluation.delay,
            workers=self.settings.concurrency,
            replica_labels=self.settings.replica_labels,
        )
        return Cycle(evaluator, sources, Publisher(clock=self.clock), clock=self.clock, stop=self.stop)

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop.set())

    def _end(self, schedule: Schedule, server: WebServer, backfill: Backfill, cycle: Cycle) -> None:
        """Stop everything; what hangs is left behind after seconds: the ledger is consistent at any time."""
        watchdog = threading.Timer(STOP_WITHIN, _leave)
        watchdog.daemon = True
        watchdog.start()
        schedule.stop()
        for client in cycle.sources.values():
            client.close()
        server.stop()
        backfill.join(STOP_WITHIN)
        with cycle.lock:
            watchdog.cancel()


def _leave() -> None:
    """Something hangs in a foreign call: leave at once; nothing uncommitted was promised to anybody."""
    os._exit(0)
