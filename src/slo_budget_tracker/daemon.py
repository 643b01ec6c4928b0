"""The daemon: what is wired to what, and how it lives and leaves."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker import __version__, garbage, logs
from slo_budget_tracker.backfill import Backfill
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.errors import LedgerError, TrackerError, UsageError
from slo_budget_tracker.evaluator import density_of
from slo_budget_tracker.horizons import Horizons
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.levers import Lever
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.moves import Moves
from slo_budget_tracker.notifying import Notifier
from slo_budget_tracker.postgres import holder
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.pulse import Pulse
from slo_budget_tracker.reloading import Reloader
from slo_budget_tracker.scheduling import Schedule
from slo_budget_tracker.signals import STOP_WITHIN, Wishes
from slo_budget_tracker.sources import asks, clients
from slo_budget_tracker.watching import Watcher
from slo_budget_tracker.web import build

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from slo_budget_tracker.configuration import Files
    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.shards import Shard
    from slo_budget_tracker.specs import SLO

EVENTS_KEPT = 400 * 86_400  # seconds, and as long as they may be sent again
BACKUP_LOOK = 60.0  # seconds between two looks whether a backup is due

log = structlog.get_logger()

__all__ = ["Daemon", "asks", "clients"]


@dataclass(slots=True)
class Daemon:
    """Runs a catalogue by its settings until told to stop; with `files`, reloads them when they change."""

    settings: Settings
    slos: Sequence[SLO]
    files: Files | None = None
    clock: Callable[[], float] = time.time
    shard: Shard | None = None
    wishes: Wishes = field(default_factory=Wishes)
    notifier: Notifier = field(default_factory=lambda: Notifier.of(os.environ))

    @property
    def stop(self) -> threading.Event:
        """Set it to end the daemon."""
        return self.wishes.stop

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or `stop`; the exit status.

        Raises:
            TrackerError: the ledger or the address to listen on cannot be had.
        """
        density = density_of(self.slos, interval=self.settings.evaluation.interval)
        digest = self.files.digest(self.settings) if self.files is not None else ""
        protector = Protector.of(self.settings.web, clock=self.clock)
        now, force = int(self.clock()), self.settings.ledger.force
        keep = EVENTS_KEPT + self.settings.audit.resend
        with garbage.waiting():
            ledger = Ledger.open(
                self._database(),
                density=density,
                now=now,
                force=force,
                keep_events=keep,
                keep_unsent=self.settings.audit.url is not None,
            )
        with ledger:
            _introduce(ledger)
            with garbage.waiting():
                cycle = Cycle.begin(
                    self.settings,
                    self.slos,
                    ledger,
                    clock=self.clock,
                    stop=self.stop,
                    moves=self._moves(ledger),
                )
            garbage.settle()
            reloader = self._reloader(cycle, protector)
            server = self._server(cycle, reloader, protector)
            schedule = Schedule(cycle.safe_tick, interval=cycle.evaluator.interval, clock=self.clock)
            backfill = Backfill(cycle)
            cycle.on_adoption = backfill.wake
            delivery = Delivery(ledger=ledger, settings=self.settings.audit, clock=self.clock).start()
            cycle.on_events = delivery.wake
            cycle.publisher.delivery = delivery.figures
            cycle.publisher.protection = protector.figures
            if not self.stop.is_set():
                schedule.start()
                backfill.start()
                Pulse(cycle, schedule, self.notifier).start()
                Horizons(cycle).start()
                threading.Thread(
                    target=self._keep_backups, args=(ledger,), name="backup", daemon=True
                ).start()
                threading.Thread(target=self._gather, args=(cycle,), name="shards", daemon=True).start()
                if reloader is not None:
                    reloader.start(digest=digest)
                self.notifier.ready(f"{len(self.slos)} SLOs")
            self.stop.wait()
            self.wishes.end()
            self.notifier.stopping()
            self._end(
                cycle,
                server=server,
                schedule=schedule,
                backfill=backfill,
                reloader=reloader,
                delivery=delivery,
            )
        self.wishes.ended()
        log.info("stopped")
        logs.drain(0.5)
        return 0

    def _database(self) -> Database:
        """Where the ledger is; each shard has a namespace of its own.

        Raises:
            UsageError: a shard without PostgreSQL.
        """
        found = self.settings.ledger.database
        if self.shard is None:
            return found
        if not found.in_postgresql:
            raise UsageError(
                "shards hand over what they counted in a PostgreSQL that all of them share, expected "
                "ledger.url postgresql+psycopg://… with --shard"
            )
        return replace(found, namespace=self.shard.namespace(found.namespace))

    def _moves(self, ledger: Ledger) -> Moves | None:
        if self.shard is None:
            return None
        base = self.settings.ledger.database.namespace
        return Moves.of(ledger, self.shard, base=base, holder=holder())

    def _gather(self, cycle: Cycle) -> None:
        """Take over what other shards let go of, as soon as they do."""
        while cycle.moves is not None and not self.stop.wait(cycle.evaluator.interval):
            try:
                cycle.gather()
            except TrackerError as error:
                log.warning("nothing taken over", shard=str(self.shard), detail=str(error))

    def _reloader(self, cycle: Cycle, protector: Protector) -> Reloader | None:
        files = self.files
        if files is None:
            return None
        reloader = Reloader(cycle, files, self.notifier, protector)
        self.wishes.reload = reloader.request

        def paths() -> list[Path]:
            named = files.paths(cycle.settings)
            return [*named, *([files.config] if files.config is not None else [])]

        Watcher(paths, reloader.hint, self.stop).start()
        return reloader

    def _server(self, cycle: Cycle, reloader: Reloader | None, protector: Protector) -> WebServer:
        web = self.settings.web
        lever = None
        if web.reload and web.reload_token_file is not None and reloader is not None:
            lever = Lever(reloader.request, web.reload_token_file)
        pen = web.annotations_token_file if web.annotations else None
        app = build(cycle.publisher.display, listen=web.listen, lever=lever, pen=pen, protector=protector)
        server = WebServer(app, listen=web.listen, protector=protector)
        server.start()
        protector.start(self.stop)
        for warning in protector.warnings():
            log.warning("web", warning=warning)
        log.info("started", version=__version__, slos=len(self.slos), listen=server.address)
        return server

    def _keep_backups(self, ledger: Ledger) -> None:
        """Now and then a copy of the ledger, in a thread of its own: copying takes its time."""
        every = self.settings.ledger.backup_every
        while every and not self.stop.wait(BACKUP_LOOK):
            try:
                ledger.keep_backup(self.clock(), every=every)
            except LedgerError as error:
                log.warning("no backup of the ledger", detail=str(error))

    def _end(
        self,
        cycle: Cycle,
        *,
        server: WebServer,
        schedule: Schedule,
        backfill: Backfill,
        reloader: Reloader | None,
        delivery: Delivery,
    ) -> None:
        """Stop everything; what hangs is left behind after seconds: the ledger is consistent at any time."""
        schedule.stop()
        for client in cycle.sources.values():
            client.close()
        if reloader is not None:
            reloader.end()
        server.stop(within=2.0)
        backfill.join(STOP_WITHIN)
        with cycle.lock:
            pass  # a tick under way has come to its end
        delivery.stop(within=1.0)


def _introduce(ledger: Ledger) -> None:
    """What is to be said of the ledger once."""
    if ledger.reset is not None:
        log.warning("the ledger was reset", why=str(ledger.reset))
    for warning in ledger.warnings:
        log.warning("ledger", warning=warning)
    for remark in ledger.remarks:
        log.info("ledger", remark=remark)
