"""The daemon: a scheduler's ticks, the first fill beside them, the web server, and a quick clean end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from prometheus_client import ProcessCollector

from slo_budget_tracker import __version__
from slo_budget_tracker.errors import PrometheusError, TrackerError
from slo_budget_tracker.evaluator import Evaluator, density_of
from slo_budget_tracker.figures import OwnFigures
from slo_budget_tracker.filling import Filled, Filler
from slo_budget_tracker.gauges import identity, render
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.ticks import data_instant
from slo_budget_tracker.web import Display, build, compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slo_budget_tracker.gauges import Identity
    from slo_budget_tracker.queries import Answer, Query, RangeQuery
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.reports import Report
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO

STARTING = "no tick has been evaluated yet"
STOP_WITHIN = 4.0  # seconds for everything that hangs, when asked to stop
FILL_PAUSE = 10.0  # seconds to wait when Prometheus cannot answer the first fill
MOST_REASONS = 5
TOO_LONG_WITHOUT_TICK = 3  # intervals after which the daemon is not ready

log = structlog.get_logger()


def asks(clients: Mapping[str, Prometheus], *, budget: float) -> dict[str, Ask]:
    """How to ask each datasource within `budget` seconds, retries included; errors name who failed."""

    def ask(name: str, client: Prometheus, query: Query | RangeQuery) -> Answer:
        try:
            return client.ask(query, budget_seconds=budget)
        except PrometheusError as error:
            error.args = (f"datasource {name} at {client.address}: {error}",)
            raise

    return {name: partial(ask, name, client) for name, client in clients.items()}


def clients(settings: Settings) -> dict[str, Prometheus]:
    """One client for each datasource of the configuration."""
    return {name: Prometheus(datasource) for name, datasource in settings.datasources.items()}


@dataclass(slots=True)
class Daemon:
    """Runs a catalogue by its settings until it is told to stop."""

    settings: Settings
    slos: Sequence[SLO]
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own: OwnFigures = field(default_factory=OwnFigures)
    display: Display = field(default_factory=lambda: Display(compose(unready=[STARTING])))
    _last_at: int | None = None
    _filling: int = 0
    _troubles: set[str] = field(default_factory=set)
    _fill_trouble: str = ""

    def run(self) -> int:
        """Run until SIGTERM, SIGINT or `stop`; the exit status.

        Raises:
            TrackerError: the ledger or the address to listen on cannot be had.
        """
        self._catch_signals()
        evaluation = self.settings.evaluation
        budget = max(min(self.settings.longest_timeout * 2, evaluation.interval * 0.8), 1.0)
        sources = clients(self.settings)
        density = density_of(self.slos, interval=evaluation.interval)
        with Ledger.open(self.settings.ledger.url, density=density) as ledger:
            evaluator = Evaluator(
                slos=self.slos,
                ledger=ledger,
                asks=asks(sources, budget=budget),
                interval=evaluation.interval,
                delay=evaluation.delay,
                workers=self.settings.concurrency,
                replica_labels=self.settings.replica_labels,
            )
            start = self._now(evaluator)
            evaluator.prepare(start)
            self._publish(evaluator, sources, evaluator.look(self._newest(evaluator, start)))
            listen = self.settings.web.listen
            server = WebServer(build(self.display, listen=listen), listen=listen)
            server.start()
            log.info("started", version=__version__, slos=len(self.slos), listen=server.address)
            if self.settings.audit.url is not None:
                log.warning(
                    "audit.url is set: this version keeps events in the ledger and does not send them"
                )
            scheduler = self._schedule(evaluator, sources)
            filling = threading.Thread(target=self._fill, args=(evaluator, sources), name="fill", daemon=True)
            filling.start()
            self.stop.wait()
            self._end(scheduler, server, filling, sources)
        log.info("stopped")
        return 0

    # ticks

    def tick(self, evaluator: Evaluator, sources: Mapping[str, Prometheus]) -> Report | None:
        """One tick: bring every SLO to the newest data instant and publish what came of it."""
        with self._lock:
            at = self._now(evaluator)
            if self._last_at is not None and at <= self._last_at:
                self._note_clock(at)
                return None
            started = time.perf_counter()
            report = evaluator.advance(at)
            seconds = time.perf_counter() - started
            self._tell(report, seconds)
            self._account(report, evaluator, seconds)
            self._last_at = at
            self._publish(evaluator, sources, report.snapshots)
        return report

    def _safe_tick(self, evaluator: Evaluator, sources: Mapping[str, Prometheus]) -> None:
        if self.stop.is_set():
            return
        try:
            self.tick(evaluator, sources)
        except Exception as error:  # noqa: BLE001 - one bad tick must not end the daemon (T12)
            log.warning("tick failed", error=type(error).__name__, detail=str(error)[:200])
            self._own = replace(self._own, ticks=_more(self._own.ticks, {"internal_error": 1}))

    def _account(self, report: Report, evaluator: Evaluator, seconds: float) -> None:
        own = self._own
        missed = 0
        if self._last_at is not None:
            missed = max((report.at - self._last_at) // evaluator.interval - 1, 0)
        self._own = replace(
            own,
            ticks=_more(own.ticks, report.outcomes),
            tick_durations=own.tick_durations.with_one(seconds),
            last_tick_at=self.clock(),
            ticks_missed=own.ticks_missed + missed,
            doubts=_more(own.doubts, report.doubts),
            backfill_pending=(report.pending_seconds + self._filling) // evaluator.interval,
            store_errors=own.store_errors + (report.store_error is not None),
            series_remembered=report.series or own.series_remembered,
        )

    def _tell(self, report: Report, seconds: float) -> None:
        """One line when a trouble starts, one when it ends; transitions always."""
        now = {**{key: str(error) for key, error in report.errors.items()}, **report.faults}
        if report.store_error is not None:
            now["ledger"] = str(report.store_error)
        for key in sorted(now.keys() - self._troubles):
            log.warning("trouble", of=key, detail=now[key])
        for key in sorted(self._troubles - now.keys()):
            log.info("trouble is over", of=key)
        self._troubles = set(now)
        for transition in report.transitions:
            log.warning(
                transition.kind,
                slo=transition.payload["slo_name"],
                rule=transition.rule,
                at=_iso(transition.at),
                reason=transition.reason,
            )
        log.debug("tick", at=_iso(report.at), seconds=round(seconds, 3), samples=report.samples)

    def _publish(
        self, evaluator: Evaluator, sources: Mapping[str, Prometheus], snapshots: tuple[SLOSnapshot, ...]
    ) -> None:
        """Render once, swap once."""
        stats = evaluator.ledger.stats()
        self._own = replace(
            self._own,
            version=__version__,
            slos=len(self.slos),
            requests={
                (name, outcome): number
                for name, client in sources.items()
                for outcome, number in client.stats.requests.items()
            },
            samples_read={name: client.stats.samples for name, client in sources.items()},
            outbox_pending=stats.events_pending,
            ledger_bytes=stats.bytes,
            ledger_rows=stats.rows,
            process=tuple(ProcessCollector(registry=None).collect()),
        )
        now = self.clock()
        self.display.view = compose(
            metrics=render(snapshots, self.slos, self._own, now=now, data_until=self._data_until(evaluator)),
            snapshots=snapshots,
            unready=self._not_ready(),
            fresh_until=time.monotonic() + TOO_LONG_WITHOUT_TICK * evaluator.interval,
        )

    def _data_until(self, evaluator: Evaluator) -> dict[Identity, float]:
        """The end of each SLO's newest known tick."""
        found: dict[Identity, float] = {}
        for slo in self.slos:
            until = evaluator.data_until.get(slo.name)
            if until is not None:
                found[identity(slo.name, {})] = until
        return found

    def _not_ready(self) -> Iterator[str]:
        if self._last_at is None:
            yield STARTING
        for key in sorted(self._troubles)[:MOST_REASONS]:
            yield f"trouble with {key}"
        if self._fill_trouble:
            yield f"the first fill waits: {self._fill_trouble}"

    # first fill

    def _fill(self, evaluator: Evaluator, sources: Mapping[str, Prometheus]) -> None:
        """Fill what is not filled, newest first, beside the ticks; goes on where it was after a restart."""
        for filler in fillers(evaluator):
            self._filling = filler.remaining
            log.info("filling from history", slos=len(filler.slos), seconds=filler.remaining)
            filled: Filled | None = None
            while not self.stop.is_set():
                try:
                    filled = filled or filler.step(evaluator.asks, workers=1)
                    if filled is None:
                        log.info("filled", samples=filler.samples, given_up=dict(filler.given_up))
                        break
                    self._add(filled, evaluator, sources)
                except TrackerError as error:
                    self._fill_waits(str(error))
                except Exception as error:  # noqa: BLE001 - what is not filled stays unknown, the ticks go on
                    self._fill_waits(f"internal error: {type(error).__name__}: {error}")
                else:
                    filled, self._fill_trouble = None, ""
                    self._filling = filler.remaining

    def _add(self, filled: Filled, evaluator: Evaluator, sources: Mapping[str, Prometheus]) -> None:
        """One chunk into the ledger, and onto the page."""
        filled_to = {_fill_key(evaluator.ids[slo]): filled.filled_to for slo in filled.slos}
        with self._lock:
            if self.stop.is_set():
                return
            evaluator.ledger.commit(Entry(rows=filled.rows, cursors=filled_to))
            for slo, outcome in filled.newest.items():
                evaluator.seen.setdefault(slo, outcome)
            at = self._last_at or self._newest(evaluator, self._now(evaluator))
            self._publish(evaluator, sources, evaluator.look(at))

    def _fill_waits(self, why: str) -> None:
        """Told once per trouble; tried again after a pause."""
        if why != self._fill_trouble:
            log.warning("filling waits", detail=why)
        self._fill_trouble = why
        self.stop.wait(FILL_PAUSE)

    # time and ends

    def _now(self, evaluator: Evaluator) -> int:
        return data_instant(self.clock(), interval=evaluator.interval, delay=evaluator.delay)

    def _newest(self, evaluator: Evaluator, otherwise: int) -> int:
        """The instant of the ledger's last verdicts."""
        cursors = [evaluator.ledger.slo_cursor(instance) for instance in evaluator.ids.values()]
        return max((cursor for cursor in cursors if cursor is not None), default=otherwise)

    def _note_clock(self, at: int) -> None:
        if self._last_at is not None and at < self._last_at:
            log.warning("the clock went back", to=_iso(at), last_tick=_iso(self._last_at))
            self._own = replace(self._own, clock_jumps=_more(self._own.clock_jumps, {"backward": 1}))

    def _schedule(self, evaluator: Evaluator, sources: Mapping[str, Prometheus]) -> BackgroundScheduler:
        interval = evaluator.interval
        aligned = (int(self.clock() // interval) + 1) * interval
        scheduler = BackgroundScheduler(timezone=UTC)
        scheduler.add_job(
            self._safe_tick,
            IntervalTrigger(seconds=interval, start_date=datetime.fromtimestamp(aligned, UTC)),
            args=(evaluator, sources),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        scheduler.add_job(  # a restart does not wait for the next aligned instant to catch up
            self._safe_tick,
            args=(evaluator, sources),
            next_run_time=datetime.now(UTC) + timedelta(milliseconds=100),
        )
        scheduler.start()
        return scheduler

    def _catch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop.set())

    def _end(
        self,
        scheduler: BackgroundScheduler,
        server: WebServer,
        filling: threading.Thread,
        sources: Mapping[str, Prometheus],
    ) -> None:
        """Stop everything; what hangs is left behind after seconds: the ledger is consistent at any time."""
        watchdog = threading.Timer(STOP_WITHIN, _leave)
        watchdog.daemon = True
        watchdog.start()
        scheduler.shutdown(wait=False)
        for client in sources.values():
            client.close()
        server.stop()
        filling.join(STOP_WITHIN)
        with self._lock:
            watchdog.cancel()


def fillers(evaluator: Evaluator) -> Iterator[Filler]:
    """The fills that are due: SLOs that are filled down to the same instant are filled together."""
    ledger = evaluator.ledger
    together: dict[tuple[int, int], list[SLO]] = {}
    for slo in evaluator.slos:
        instance = evaluator.ids[slo.name]
        born = ledger.born(instance)
        filled_to = ledger.cursor(_fill_key(instance))
        together.setdefault((born, born if filled_to is None else filled_to), []).append(slo)
    for (born, filled_to), slos in sorted(together.items(), key=lambda item: item[0]):
        filler = Filler(
            slos=slos,
            ids=evaluator.ids,
            until=born,
            filled_to=filled_to,
            interval=evaluator.interval,
            delay=evaluator.delay,
            replica_labels=evaluator.replica_labels,
        ).prepare()
        if filler.remaining > 0:
            yield filler


def _fill_key(instance: int) -> str:
    return f"fill/{instance}"


def _more(counts: Mapping[str, int], further: Mapping[str, int]) -> dict[str, int]:
    return dict(Counter(counts) + Counter(further))


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _leave() -> None:
    """Something hangs in a foreign call: leave at once; nothing uncommitted was promised to anybody."""
    os._exit(0)


__all__ = ["Daemon", "PrometheusError", "asks", "clients", "fillers"]
