"""The daemon: what is wired to what, and how it lives and leaves."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker import __version__, garbage, logs
from slo_budget_tracker.claims import refuse_shared
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import LedgerDeposed, LedgerError, LedgerInUse, UsageError
from slo_budget_tracker.following import LeadersLedger
from slo_budget_tracker.leading import Leading
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.levers import Lever
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.moves import Moves
from slo_budget_tracker.notifying import Notifier
from slo_budget_tracker.onlookers import Onlooker
from slo_budget_tracker.overviews import ShardsLedgers
from slo_budget_tracker.postgres import LOCK_SECONDS, holder
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.reloading import Reloader
from slo_budget_tracker.roles import Role
from slo_budget_tracker.seats import Seat
from slo_budget_tracker.signals import Wishes
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

IN_USE_SECONDS = 60.0  # in which whoever was killed, or takes SLOs over, lets a ledger in PostgreSQL go
EVENTS_KEPT = 400 * 86_400  # seconds, and as long as they may be sent again

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
    overview: bool = False  # show what all shards concluded, evaluate nothing
    wishes: Wishes = field(default_factory=Wishes)
    on_filling: Callable[[int, int], None] | None = None  # told how far the past is filled
    notifier: Notifier = field(default_factory=lambda: Notifier.of(os.environ))
    publisher: Publisher = field(init=False)
    _protector: Protector = field(init=False)
    _reloader: Reloader | None = field(init=False, default=None)
    _web: WebServer | None = field(init=False, default=None)
    _digest: str = field(init=False, default="")
    _in_use_since: float | None = field(init=False, default=None)  # monotonic, at the start

    def __post_init__(self) -> None:
        self.publisher = Publisher(clock=self.clock)

    @property
    def stop(self) -> threading.Event:
        """Set it to end the daemon."""
        return self.wishes.stop

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or `stop`; the exit status.

        Over a ledger in PostgreSQL it leads or follows, and changes between the two as often as need be.

        Raises:
            TrackerError: the ledger or the address to listen on cannot be had.
        """
        self._digest = self.files.digest(self.settings) if self.files is not None else ""
        self._protector = Protector.of(self.settings.web, clock=self.clock)
        self.publisher.protection = self._protector.figures
        if self.overview:
            self._show_all()
        elif self._database().in_postgresql:
            self._run_seated()
        else:
            self._lead(None)
        self.wishes.end()
        self.notifier.stopping()
        self._close_doors()
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
        if self.shard is None and not self.overview:
            return found
        if not found.in_postgresql:
            raise UsageError(
                "shards hand over what they counted in a PostgreSQL that all of them share, expected "
                "ledger.url postgresql+psycopg://… with --shard"
            )
        return (
            found if self.shard is None else replace(found, namespace=self.shard.namespace(found.namespace))
        )

    def _moves(self, ledger: Ledger) -> Moves | None:
        if self.shard is None:
            return None
        base = self.settings.ledger.database.namespace
        return Moves.of(ledger, self.shard, base=base, holder=holder())

    def _show_all(self) -> None:
        """The page over all shards, until the end."""
        sight = ShardsLedgers(self._database())
        overview = Onlooker(self.settings, self.slos, self.publisher, sight, self.stop)
        overview.look()
        self._open_doors(overview)
        overview.run()

    def _run_seated(self) -> None:
        ledger = self.settings.ledger
        seconds = min(ledger.lease, self.settings.evaluation.interval)
        seat = Seat(self._database(), seconds=seconds)
        threading.Thread(target=self._end_with, args=(seat,), name="seat", daemon=True).start()
        try:
            while not self.stop.is_set():
                if self._follow(seat):
                    self._lead(seat)
                    seat.release()
        finally:
            seat.close()

    def _end_with(self, seat: Seat) -> None:
        self.stop.wait()
        seat.end()

    def _follow(self, seat: Seat) -> bool:
        """Show what another daemon concludes until the seat is free; whether it is ours now."""
        sight = LeadersLedger(self._database())
        follower = Onlooker(self.settings, self.slos, self.publisher, sight, self.stop)
        try:
            while not self.stop.is_set():
                try:
                    if seat.attempt():
                        seat.keep()
                        return True
                except LedgerError as error:
                    if self._web is None:
                        raise
                    follower.suffer(str(error))
                else:
                    self.publisher.play(seat.role)
                    follower.glance()
                if self._open_doors(follower):
                    log.info("following", leader=seat.role.leader or "nobody yet")
                self.notifier.alive()
                self.stop.wait(seat.pause)
            return False
        finally:
            self.settings, self.slos = follower.settings, follower.slos
            follower.leave()

    def _lead(self, seat: Seat | None) -> None:
        """Evaluate and send until the daemon's end, or until another one has the seat."""
        over = self.stop if seat is None else seat.over
        try:
            with garbage.waiting():
                ledger = self._opened(seat)
                garbage.last()
            with ledger:
                _introduce(ledger)
                with garbage.waiting():
                    cycle = Cycle.begin(
                        self.settings,
                        self.slos,
                        ledger,
                        clock=self.clock,
                        stop=over,
                        publisher=self.publisher,
                        moves=self._moves(ledger),
                        beside=True,
                    )
                    cycle.on_tick = garbage.Sweep().after_tick
                    garbage.settle()
                self.publisher.play(Role() if seat is None else seat.role)
                self.publisher.refresh()
                self.publisher.display.begin()  # before the first tick needs the processor, too
                may_send = _always if seat is None else seat.valid
                leading = Leading(cycle, ledger, self.notifier, self.clock, may_send, self.on_filling)
                self._open_doors(cycle)
                leading.start()
                over.wait()
                if self.stop.is_set():
                    self.wishes.end()
                    self.notifier.stopping()
                leading.halt()
                if self.stop.is_set():
                    self._close_doors()
                leading.end()
                garbage.loosen()
                self.settings, self.slos = cycle.settings, cycle.slos
        except LedgerError as error:
            if seat is None or (self._web is None and not self._passes(error)):
                raise
            if self._web is not None:
                log.warning("trouble", of="ledger", detail=str(error))
            self.stop.wait(seat.pause)

    def _passes(self, error: LedgerError) -> bool:
        """Whether a trouble at the start is one of moments, as far as it has lasted; told once."""
        if isinstance(error, LedgerDeposed):  # another one leads now: this one follows
            return True
        if not isinstance(error, LedgerInUse):
            return False
        now = time.monotonic()
        if self._in_use_since is None:
            self._in_use_since = now - LOCK_SECONDS
            log.warning("waiting for the ledger", seconds=round(IN_USE_SECONDS), detail=str(error))
        return now - self._in_use_since < IN_USE_SECONDS

    def _opened(self, seat: Seat | None) -> Ledger:
        settings = self.settings
        if seat is not None and self.shard is None:
            refuse_shared(self._database())
        return Ledger.open(
            self._database(),
            density=density_of(self.slos, interval=settings.evaluation.interval),
            now=int(self.clock()),
            force=settings.ledger.force,
            keep_events=EVENTS_KEPT + settings.audit.resend,
            keep_unsent=settings.audit.url is not None,
            term=None if seat is None else seat.term,
        )

    def _open_doors(self, runs: Cycle | Onlooker) -> bool:
        """Serve, reload and say so, once; what runs may change later. Whether this was the first time."""
        if self._web is not None:
            if self._reloader is not None:
                self._reloader.cycle = runs
            return False
        self._reloader = self._made_reloader(runs)
        self._web = self._server(runs, self._reloader)
        if not self.stop.is_set():
            if self._reloader is not None:
                self._reloader.start(digest=self._digest)
            self.notifier.ready(f"{len(self.slos)} SLOs")
        return True

    def _close_doors(self) -> None:
        if self._reloader is not None:
            self._reloader.end()
        web, self._web = self._web, None
        if web is not None:
            web.stop(within=2.0)

    def _made_reloader(self, runs: Cycle | Onlooker) -> Reloader | None:
        files = self.files
        if files is None:
            return None
        reloader = Reloader(runs, files, self.notifier, self._protector, ends=self.stop)
        self.wishes.reload = reloader.request

        def paths() -> list[Path]:
            named = files.paths(reloader.cycle.settings)
            return [*named, *([files.config] if files.config is not None else [])]

        Watcher(paths, reloader.hint, self.stop).start()
        return reloader

    def _server(self, runs: Cycle | Onlooker, reloader: Reloader | None) -> WebServer:
        web = self.settings.web
        lever = None
        if web.reload and web.reload_token_file is not None and reloader is not None:
            lever = Lever(reloader.request, web.reload_token_file)
        pen = web.annotations_token_file if web.annotations else None
        app = build(
            runs.publisher.display, listen=web.listen, lever=lever, pen=pen, protector=self._protector
        )
        server = WebServer(app, listen=web.listen, protector=self._protector)
        server.start()
        self._protector.start(self.stop)
        for warning in self._protector.warnings():
            log.warning("web", warning=warning)
        log.info("started", version=__version__, slos=len(self.slos), listen=server.address)
        return server


def _always() -> bool:
    return True


def _introduce(ledger: Ledger) -> None:
    """What is to be said of the ledger once."""
    if ledger.reset is not None:
        log.warning("the ledger was reset", why=str(ledger.reset))
    for warning in ledger.warnings:
        log.warning("ledger", warning=warning)
    for remark in ledger.remarks:
        log.info("ledger", remark=remark)
