"""The daemon's cycle: a tick brings every SLO to the newest data instant, and publishes what came of it."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import structlog

from slo_budget_tracker import garbage, rollcall
from slo_budget_tracker.density import density_of
from slo_budget_tracker.errands import Beside
from slo_budget_tracker.errors import LedgerDeposed
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.inflight import Spread
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.rations import A_TICK
from slo_budget_tracker.readiness import INTERNAL
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.sources import Timebox, asks, budget, clients, probe, renewed, server_time
from slo_budget_tracker.ticks import data_instant

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.changes import Change
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.moves import Moves
    from slo_budget_tracker.prometheus import Prometheus
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.reports import Report
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.verdict import Transition

LARGEST_SKEW = 30.0  # seconds between a server's clock and ours
SHARE = 0.8  # of an interval that one tick may take
TURN = 5.0  # seconds of a catch-up before others get a chance
BREATH = 0.05  # seconds in which they do
PATIENCE = 1 / 60  # of an interval: how long slower datasources are waited for before the others are shown

log = structlog.get_logger()


def _nobody() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Cycle:
    """Ticks one evaluator, one at a time; whoever else writes to the ledger holds `lock`."""

    settings: Settings
    evaluator: Evaluator
    sources: Mapping[str, Prometheus]
    publisher: Publisher
    clock: Callable[[], float] = time.time
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    timebox: Timebox = field(default_factory=lambda: Timebox(math.inf))
    on_events: Callable[[], None] = _nobody  # called after events were committed
    on_tick: Callable[[], None] = _nobody  # called at the end of a tick, before garbage is looked for
    on_adoption: Callable[[], None] = _nobody  # called after another catalogue was taken over
    last_at: int | None = None
    filling: int = 0  # seconds of the first fill that are still to come
    progress_at: float = field(default_factory=time.monotonic)  # when a tick last came to an end
    moves: Moves | None = None
    _adopting: threading.RLock = field(default_factory=threading.RLock)
    _skewed: frozenset[str] = frozenset()
    _suspicious: frozenset[str] = frozenset()

    @classmethod
    def begin(
        cls,
        settings: Settings,
        slos: Sequence[SLO],
        ledger: Ledger,
        *,
        sources: Mapping[str, Prometheus] | None = None,
        clock: Callable[[], float] = time.time,
        stop: threading.Event | None = None,
        moves: Moves | None = None,
        publisher: Publisher | None = None,
        beside: bool = False,
    ) -> Self:
        """A cycle over a catalogue that has met the ledger, with the ledger's last verdicts published.

        `moves` says what of it is this shard's, where there are several; with `beside` late data are looked
        for beside the ticks, which do not wait for that.
        """
        sources = clients(settings) if sources is None else sources
        timebox = Timebox(SHARE * settings.evaluation.interval)
        stop = stop or threading.Event()
        evaluator = Evaluator(
            slos=(),
            ledger=ledger,
            asks=asks(sources, budget=budget(settings), left=timebox.left),
            interval=settings.evaluation.interval,
            delay=settings.evaluation.delay,
            workers=settings.concurrency,
            lanes=settings.lanes,
            patience=PATIENCE * settings.evaluation.interval,
            spread=Spread(settings.evaluation.spread_seconds, rest=stop.wait),
            ration=A_TICK,
            replica_labels=settings.replica_labels,
            delays=settings.delays,
            surveys=True,
        )
        publisher = publisher or Publisher(clock=clock)
        cycle = cls(settings, evaluator, sources, publisher, clock, stop, timebox=timebox, moves=moves)
        if beside:
            evaluator.beside = Beside(cycle.patient_asks(), cycle.lock)
        cycle.publisher.note(
            prometheus_flavors=probe(sources), reload_successful=True, reload_at=cycle.clock()
        )
        at = cycle.now()
        evaluator.slos = cycle.own(slos, at=at)
        changes, events = rollcall.call(evaluator.prepare(at), at=at, taken=cycle.taken)
        if moves is not None:
            moves.settle(slos)
        tell_events(events)
        for change in changes:
            log.info("definition", slo=change.slo, what=change.what)
        cycle.show()
        return cycle

    # shards

    def own(self, slos: Sequence[SLO], *, at: int) -> Sequence[SLO]:
        """Those of a catalogue that are evaluated here."""
        if self.moves is None:
            return slos
        found = self.moves.admit(slos, at=at)
        shard = self.moves.shard
        self.publisher.note(shard=(shard.index, shard.of), shard_waiting=len(self.moves.waiting))
        return found

    @property
    def taken(self) -> frozenset[str]:
        """SLOs that were taken over from other shards just now."""
        return frozenset() if self.moves is None else self.moves.taken

    def gather(self) -> None:
        """Take over what other shards have let go of; what cannot be taken now is for the next time."""
        with self._adopting:  # a reload meanwhile would be undone
            if self.moves is not None and self.moves.due():
                self.adopt(self.settings, self.moves.whole)

    # time

    def now(self) -> int:
        """The newest data instant that is there: by our clock, but none in the servers' future (T1)."""
        interval, delay = self.settings.evaluation.interval, self.settings.evaluation.delay
        return data_instant(self._wall(), interval=interval, delay=delay)

    def _wall(self) -> float:
        ours = self.clock()
        theirs = server_time(self.sources)
        if theirs is not None and ours - theirs > LARGEST_SKEW:
            probe(self.sources)
            theirs = server_time(self.sources)
        return ours if theirs is None or ours - theirs <= LARGEST_SKEW else theirs

    def newest(self, otherwise: int) -> int:
        """The instant of the ledger's last verdicts."""
        ledger = self.evaluator.ledger
        cursors = [ledger.slo_cursor(instance) for instance in self.evaluator.ids.values()]
        return max((cursor for cursor in cursors if cursor is not None), default=otherwise)

    # what is shown

    @property
    def slos(self) -> Sequence[SLO]:
        """The whole catalogue, other shards' SLOs too."""
        return self.evaluator.slos if self.moves is None else self.moves.whole

    def show(self, unchanged: Container[str] = ()) -> None:
        """Publish what the ledger knows, without a tick; the caller holds the lock or is alone.

        What is shown of SLOs that are `unchanged` stays as it is.
        """
        at = self.last_at or self.newest(self.now())
        known = {
            key_of(one.name, one.labels.items()): one
            for one in self.publisher.snapshots
            if one.name in unchanged and one.evaluated_at == at
        }
        faults: dict[str, str] = {}
        found = self.evaluator.look(at, known, faults=faults)
        self.publisher.publish(self.evaluator, self.sources, found, prepared=False)
        for name, fault in faults.items():
            log.warning("trouble", of=name, detail=fault)

    def patient_asks(self) -> dict[str, Ask]:
        """How to ask outside of ticks."""
        return asks(self.sources, budget=budget(self.settings))

    def _beside(self, settings: Settings, sources: Mapping[str, Prometheus]) -> Beside | None:
        if self.evaluator.beside is None:
            return None
        return Beside(asks(sources, budget=budget(settings)), self.lock)

    # catalogues

    def adopt(self, settings: Settings, slos: Sequence[SLO]) -> tuple[Change, ...]:
        """Evaluate another catalogue from the next tick on; where this fails, what ran goes on.

        Raises:
            LedgerError: the ledger cannot be written now.
        """
        with self._adopting:  # one at a time
            return self._adopt(settings, slos)

    def _adopt(self, settings: Settings, slos: Sequence[SLO]) -> tuple[Change, ...]:
        old = self.sources
        sources = renewed(old, self.settings, settings)
        with self.lock, garbage.waiting():
            at = max(self.now(), self.last_at or 0)
            ledger = self.evaluator.ledger
            whole, slos = slos, self.own(slos, at=at)
            evaluator = replace(
                self.evaluator,
                slos=slos,
                asks=asks(sources, budget=budget(settings), left=self.timebox.left),
                beside=self._beside(settings, sources),
                workers=settings.concurrency,
                lanes=settings.lanes,
                replica_labels=settings.replica_labels,
                delays=settings.delays,
                ids={},
                seen={},
                data_until={},
            ).prepare(at)
            evaluator.inherit(self.evaluator)
            changes, events = rollcall.call(evaluator, at=at, taken=self.taken)
            ledger.grow(density_of(slos, interval=evaluator.interval))
            running = {slo.name: slo for slo in self.evaluator.slos}
            self.evaluator.end()
            self.settings, self.evaluator, self.sources = settings, evaluator, sources
            if self.moves is not None:
                self.moves.settle(whole)
            tell_events(events)
            self.show(frozenset(slo.name for slo in slos if running.get(slo.name) is slo))
            garbage.settle()
        for name, client in old.items():
            if sources.get(name) is not client:
                client.close()
        if events:
            self.on_events()
        self.on_adoption()
        return changes

    # ticks

    def tick(self) -> Report | None:
        """Bring every SLO to the newest data instant, piece by piece, and publish after each piece.

        A long catch-up takes its turns: between two of them others get the lock, and after most of an
        interval the next tick goes on. A datasource that is slow is waited for without the lock, after what
        the others brought was published.
        """
        self.timebox.open()
        report, began = None, time.perf_counter()
        while True:
            turn = Timebox(TURN)
            with self.lock:
                at = self.now()
                if report is None and self.last_at is not None and at <= self.last_at:
                    break
                report = self._advance(at, turn, began)
            if report.under_way:
                self.evaluator.rest(min(TURN, self.timebox.left()))
            else:
                began = time.perf_counter()
            if not (report.stopped or report.under_way) or self.timebox.over() or self.stop.wait(BREATH):
                break
        self.progress_at = time.monotonic()
        if report is not None and report.under_way:
            self._clocked(time.perf_counter() - began)
        return report

    def _clocked(self, seconds: float) -> None:
        """A tick has come to its end, or to the end of its time."""
        self.publisher.note(tick_durations=self.publisher.own.tick_durations.with_one(seconds))

    def _advance(self, at: int, turn: Timebox, began: float) -> Report:
        with garbage.waiting():
            started = time.perf_counter()
            report = self.evaluator.advance(at, enough=lambda: turn.over() or self.stop.is_set())
            seconds = time.perf_counter() - started
            self._tell(report, seconds)
            self._account(report)
            if not report.under_way:  # else what is awaited belongs to this tick too
                self._clocked(time.perf_counter() - began)
            self.last_at = at
            self.progress_at = time.monotonic()
            self.publisher.publish(self.evaluator, self.sources, report.snapshots)
            self.on_tick()
        if report.transitions:
            self.on_events()
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
            self.publisher.refresh()

    def _account(self, report: Report) -> None:
        own, interval = self.publisher.own, self.evaluator.interval
        missed = 0
        if self.last_at is not None:
            missed = max((report.at - self.last_at) // interval - 1, 0)
        self.publisher.count(ticks=report.outcomes, doubts=report.doubts, clamped=report.clamped)
        self.publisher.note(
            last_tick_at=self.clock(),
            ticks_missed=own.ticks_missed + missed,
            ticks_revised=own.ticks_revised + report.revised,
            backfill_pending=(report.pending_seconds + self.filling) // interval,
            store_errors=own.store_errors + (report.store_error is not None),
            series_remembered=report.series,
        )

    def _tell(self, report: Report, seconds: float) -> None:
        """One line when a trouble starts, one when it ends; transitions always."""
        readiness = self.publisher.readiness
        now = dict(readiness.troubles)  # at the end of the daemon: what is broken off is nobody's trouble
        if not self.stop.is_set():
            now = {**{key: str(error) for key, error in report.errors.items()}, **report.faults}
        if report.store_error is not None:
            now["ledger"] = str(report.store_error)
        if isinstance(report.store_error, LedgerDeposed):
            self.stop.set()
        for key in sorted(now.keys() - readiness.troubles.keys()):
            log.warning("trouble", of=key, detail=now[key])
        for key in sorted(readiness.troubles.keys() - now.keys()):
            log.info("trouble is over", of=key)
        concluded = bool(report.outcomes or self.evaluator.seen or not self.evaluator.slos)
        readiness.ticked = readiness.ticked or concluded  # a first tick may find that none is due yet
        readiness.troubles = now
        readiness.failed(name for name, fault in report.faults.items() if fault.startswith(INTERNAL))
        tell_events(report.transitions)
        self._tell_suspicions(report)
        self._tell_skew()
        log.debug("tick", at=instant_text(report.at), seconds=round(seconds, 3), samples=report.samples)

    def _tell_suspicions(self, report: Report) -> None:
        """One line when an SLO's figures become doubtful, one when they are no more (D4, D21)."""
        doubtful = [one for one in report.snapshots if one.suspicious]
        now = {key_of(one.name, one.labels.items()): one.suspicious for one in doubtful}
        for key in sorted(now.keys() - self._suspicious):
            log.warning("suspicious", slo=key, detail=now[key])
        for key in sorted(self._suspicious - now.keys()):
            log.info("no longer suspicious", slo=key)
        self._suspicious = frozenset(now)

    def _tell_skew(self) -> None:
        """One line when a server's clock differs too much from ours, one when it does no more (P30)."""
        skews = {name: client.stats.clock_skew_seconds or 0.0 for name, client in self.sources.items()}
        now = frozenset(name for name, skew in skews.items() if abs(skew) > LARGEST_SKEW)
        for name in sorted(now - self._skewed):
            log.warning("the clocks differ", datasource=name, server_is_ahead_by=round(skews[name], 1))
        for name in sorted(self._skewed - now):
            log.info("the clocks agree again", datasource=name)
        self._skewed = now


def tell_events(events: Iterable[Transition]) -> None:
    """Every event is a line, wherever else it goes."""
    for event in events:
        log.warning(
            event.kind,
            slo=event.payload["slo_name"],
            rule=event.rule,
            at=instant_text(event.at),
            reason=event.reason,
        )
