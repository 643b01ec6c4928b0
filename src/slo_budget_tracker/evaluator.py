"""The cycle: read what is new, add it to the ledger, step every SLO through its ticks, in one transaction.

`Evaluator.advance(until)` is the daemon's tick, its catch-up and `replay`: they differ only in how many ticks
lie between the ledger's cursors and `until`. A unit whose requests fail keeps its cursor and its remembered
samples, so the next tick reads a longer range and nothing is lost.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.budget import exhaustion_window
from slo_budget_tracker.counting import Memory
from slo_budget_tracker.density import Density
from slo_budget_tracker.errors import BadAnswer, LedgerError, PrometheusError, QueryFailed
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import PERMANENT, Reading, Unit, read, split, units
from slo_budget_tracker.rows import Row
from slo_budget_tracker.specs import sli_hash
from slo_budget_tracker.ticks import Counts, Outcome, Tick, ticks_between
from slo_budget_tracker.verdict import Transition, Verdict, assess

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts

PIECE = 3_600  # seconds of data time in one transaction of a catch-up
GIVE_UP_AFTER = 300  # seconds of trying before ticks that cannot be read are stepped as unknown


@dataclass(frozen=True, slots=True)
class Report:
    """What one `advance` did; counters are of this call."""

    at: int
    snapshots: tuple[SLOSnapshot, ...]
    transitions: tuple[Transition, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)  # SLO ticks by outcome
    errors: Mapping[str, PrometheusError] = field(default_factory=dict)  # by unit
    faults: Mapping[str, str] = field(default_factory=dict)  # by SLO
    store_error: LedgerError | None = None
    samples: int = 0
    series: int = 0
    doubts: Mapping[str, int] = field(default_factory=dict)
    clamped: int = 0
    pending_seconds: int = 0  # data time that could not be read yet


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A unit's contiguous ticks, and what reading them brought."""

    unit: Unit
    ticks: Sequence[Tick]
    reading: Reading | None = None
    error: PrometheusError | None = None


@dataclass(slots=True)
class Evaluator:
    """Steps a catalogue of SLOs over data time; the only writer of counts, states and events.

    Args:
        slos: the catalogue; a reload makes a new evaluator over the same ledger.
        asks: how to ask each datasource.
        interval, delay: of the tick grid, seconds.
        workers: requests at once.
    """

    slos: Sequence[SLO]
    ledger: Ledger
    asks: Mapping[str, Ask]
    interval: int = 60
    delay: int = 30
    workers: int = 4
    replica_labels: Mapping[str, str | None] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Outcome] = field(default_factory=dict)  # what the last tick brought
    data_until: dict[str, int] = field(default_factory=dict)  # the end of the newest known tick
    _units: list[Unit] = field(default_factory=list)
    _failing_since: dict[str, int] = field(default_factory=dict)
    _piece: dict[str, int] = field(default_factory=dict)
    _memories: dict[str, Memory] = field(default_factory=dict)

    def prepare(self, at: int) -> Evaluator:
        """Plan the requests and register the SLOs; the first live tick of a new one ends after `at`."""
        self._units = list(units(plan(self.slos, replica_labels=self.replica_labels)))
        ids = self.ledger.register_all([(slo.name, {}, sli_hash(slo)) for slo in self.slos], at=at)
        self.ids = dict(zip((slo.name for slo in self.slos), ids, strict=True))
        return self

    def advance(self, until: int) -> Report:
        """Bring every SLO to the data instant `until`; what fails is left for the next call."""
        report = _Tally()
        while report.store_error is None and (attempts := self._attempts(until, report.errors)):
            results = self._read_all(attempts)
            for result in results:
                report.add(result)
            done = [result for result in results if result.reading is not None]
            gave_up = [self._rest(result.unit, until) for result in results if self._hopeless(result, until)]
            if done or gave_up:
                self._commit(done, gave_up, until, report)
        return self._report(until, report)

    def look(self, at: int) -> tuple[SLOSnapshot, ...]:
        """The figures of every SLO at a data instant, from the ledger alone; steps nothing."""
        windows = self._windows(at, self.slos)
        return tuple(self._assess(slo, at, windows, live=False).snapshot for slo in self.slos)

    # reading

    def _attempts(self, until: int, failed: Container[str]) -> list[_Attempt]:
        """The next piece of every unit that is behind and has not failed in this call."""
        found = []
        for unit in self._units:
            cursor = self._cursor(unit)
            ticks = ticks_between(cursor, until, interval=self.interval, delay=self.delay)
            longest = max(self._piece.get(unit.key, PIECE), self.interval)
            size = max(sum(tick.end - cursor <= longest for tick in ticks), 1)
            if ticks and unit.key not in failed:
                found.append(_Attempt(unit, ticks[:size]))
        return found

    def _cursor(self, unit: Unit) -> int:
        """Up to which data instant a unit was read."""
        cursors = [self.ledger.cursor(key) for key in _cursor_keys(unit)]
        known = [cursor for cursor in cursors if cursor is not None]
        return min(known, default=min(self.ledger.born(self.ids[slo]) for slo in unit.slos))

    def _rest(self, unit: Unit, until: int) -> _Attempt:
        """All ticks up to `until` of a unit that was given up: they are stepped as unknown."""
        ticks = ticks_between(self._cursor(unit), until, interval=self.interval, delay=self.delay)
        return _Attempt(unit, ticks)

    def _read_all(self, attempts: Sequence[_Attempt]) -> list[_Attempt]:
        """Read all units side by side; a refused batch is split until the poisoned member is alone."""
        results = []
        todo = list(attempts)
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            while todo:
                tried = list(pool.map(self._try, todo))
                todo = []
                for attempt in tried:
                    halves = split(attempt.unit) if isinstance(attempt.error, PERMANENT) else ()
                    if halves:
                        at = self._units.index(attempt.unit)
                        self._units[at : at + 1] = halves
                        todo += [_Attempt(half, attempt.ticks) for half in halves]
                    else:
                        results.append(attempt)
                        self._adapt(attempt)
        return results

    def _try(self, attempt: _Attempt) -> _Attempt:
        unit = attempt.unit
        memories = {}
        for feed in unit.feeds:
            memory = self._memories.get(feed.key)
            if memory is None:
                stored = self.ledger.memory(feed.key)
                memory = Memory.empty() if stored is None else Memory.loads(stored)
            memories[feed.key] = memory
        try:
            reading = read(unit, attempt.ticks, memories, self.asks[unit.datasource])
        except PrometheusError as error:
            return _Attempt(unit, attempt.ticks, error=error)
        return _Attempt(unit, attempt.ticks, reading=reading)

    def _adapt(self, attempt: _Attempt) -> None:
        """A range that was too much for the server is asked for in halves the next time."""
        key = attempt.unit.key
        if isinstance(attempt.error, (QueryFailed, BadAnswer)) and len(attempt.ticks) > 1:
            self._piece[key] = (attempt.ticks[-1].end - attempt.ticks[0].start) // 2
        elif attempt.reading is not None:
            self._failing_since.pop(key, None)

    def _hopeless(self, attempt: _Attempt, until: int) -> bool:
        """Whether a server that does answer has refused these ticks too long: they are stepped as unknown."""
        if not isinstance(attempt.error, PERMANENT):
            return False  # read, or the server does not answer at all: the past can still come
        since = self._failing_since.setdefault(attempt.unit.key, until)
        return until - since >= GIVE_UP_AFTER

    # concluding

    def _commit(
        self, done: Sequence[_Attempt], gave_up: Sequence[_Attempt], until: int, report: _Tally
    ) -> None:
        """Rows, states, events, memories and cursors of one piece: one transaction."""
        counts: dict[str, Mapping[int, Counts]] = {}
        memories: dict[str, Memory] = {}
        cursors: dict[str, int] = {}
        for attempt in done:
            assert attempt.reading is not None
            counts.update(attempt.reading.counts)
            memories.update(attempt.reading.memories)
            cursors.update(dict.fromkeys(_cursor_keys(attempt.unit), attempt.ticks[-1].end))
        for attempt in gave_up:
            unknown = {tick.end: Counts(0, 0, Outcome.UNKNOWN) for tick in attempt.ticks}
            counts.update(dict.fromkeys(attempt.unit.slos, unknown))
        spans = sorted({tick for attempt in (*done, *gave_up) for tick in attempt.ticks})
        rows = [Row.of(tick, self._by_id(counts, tick)) for tick in spans]
        self.ledger.stage(rows)
        states: dict[int, Mapping[str, AlertState]] = {}
        stepped: dict[int, int] = {}
        transitions: list[Transition] = []
        by_name = {slo.name: slo for slo in self.slos}
        for tick in spans:
            due = [
                by_name[name]
                for name, of_slo in counts.items()
                if tick.end in of_slo and tick.end > self._stepped(name, stepped)
            ]
            windows = self._windows(tick.end, due)
            for slo in due:
                self.seen[slo.name] = counts[slo.name][tick.end].outcome
                if self.seen[slo.name].known:
                    self.data_until[slo.name] = tick.end
                stepped[self.ids[slo.name]] = tick.end
                known = states.get(self.ids[slo.name])
                try:
                    verdict = self._assess(
                        slo, tick.end, windows, live=True, late=tick.end < until, states=known
                    )
                except Exception as error:  # noqa: BLE001 - one SLO's fault must not stop the others (T12)
                    report.faults[slo.name] = f"internal error: {type(error).__name__}: {error}"
                    continue
                report.verdicts[slo.name] = verdict
                states[self.ids[slo.name]] = verdict.states
                transitions += verdict.transitions
        entry = Entry(
            rows=rows,
            states=states,
            events=transitions,
            memories={key: memory.dumps() for key, memory in memories.items()},
            cursors=cursors,
            slo_cursors=stepped,
        )
        try:
            self.ledger.commit(entry)
        except LedgerError as error:
            report.store_error = error  # memories and cursors stay: the next tick reads the same ticks again
            return
        self._memories.update(memories)
        report.transitions += transitions

    def _by_id(self, counts: Mapping[str, Mapping[int, Counts]], tick: Tick) -> dict[int, Counts]:
        return {self.ids[slo]: of_slo[tick.end] for slo, of_slo in counts.items() if tick.end in of_slo}

    def _stepped(self, name: str, stepped: Mapping[int, int]) -> int:
        instance = self.ids[name]
        return stepped.get(instance) or self.ledger.slo_cursor(instance) or self.ledger.born(instance)

    def _windows(self, at: int, slos: Iterable[SLO]) -> Mapping[int, Mapping[int, WindowCounts]]:
        wanted = sorted({window for slo in slos for window in (*slo.windows, exhaustion_window(slo.window))})
        return self.ledger.history.window(at, wanted)

    def _assess(
        self,
        slo: SLO,
        at: int,
        windows: Mapping[int, Mapping[int, WindowCounts]],
        *,
        live: bool,
        late: bool = False,
        states: Mapping[str, AlertState] | None = None,
    ) -> Verdict:
        instance = self.ids[slo.name]
        return assess(
            slo,
            at=at,
            interval=self.interval,
            outcome=self.seen.get(slo.name, Outcome.MISSED),
            windows=windows[instance],
            states=self.ledger.states.get(instance, {}) if states is None else states,
            live=live,
            late=late,
        )

    def _report(self, until: int, report: _Tally) -> Report:
        """What came of it; an SLO that is behind shows its figures with the fault as its state."""
        behind = [
            slo
            for slo in self.slos
            if slo.name not in report.verdicts or report.verdicts[slo.name].snapshot.evaluated_at < until
        ]
        windows = self._windows(until, behind) if behind else {}
        for slo in behind:
            self.seen[slo.name] = Outcome.ERROR
            try:
                report.verdicts[slo.name] = self._assess(slo, until, windows, live=False)
            except Exception as error:  # noqa: BLE001 - as above
                report.faults[slo.name] = f"internal error: {type(error).__name__}: {error}"
        pending = sum(until - self._cursor(unit) for unit in self._units)
        return Report(
            at=until,
            snapshots=tuple(
                report.verdicts[slo.name].snapshot for slo in self.slos if slo.name in report.verdicts
            ),
            transitions=tuple(report.transitions),
            outcomes=report.outcomes,
            errors=report.errors,
            faults=report.faults,
            store_error=report.store_error,
            samples=report.samples,
            series=report.series,
            doubts=report.doubts,
            clamped=report.clamped,
            pending_seconds=pending,
        )


@dataclass(slots=True)
class _Tally:
    """What adds up during one `advance`."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: dict[str, PrometheusError] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    doubts: Counter[str] = field(default_factory=Counter)
    store_error: LedgerError | None = None
    samples: int = 0
    series: int = 0
    clamped: int = 0

    def add(self, attempt: _Attempt) -> None:
        """Count an attempt."""
        if attempt.error is not None:
            self.errors[attempt.unit.key] = attempt.error
            self.faults.update(dict.fromkeys(attempt.unit.slos, str(attempt.error)))
        if attempt.reading is not None:
            self.samples += attempt.reading.samples
            self.series += attempt.reading.series
            self.doubts.update(attempt.reading.doubts)
            self.clamped += attempt.reading.clamped
            self.faults.update(attempt.reading.faults)
            for of_slo in attempt.reading.counts.values():
                self.outcomes.update(counts.outcome.name.lower() for counts in of_slo.values())


def density_of(slos: Iterable[SLO], *, interval: int) -> Density:
    """How closely a ledger of these SLOs keeps its counts, by age."""
    known = list(slos)
    return Density.of(
        interval=interval,
        longest_short=max((alert.short for slo in known for alert in slo.alerts), default=0),
        longest_window=max((slo.window for slo in known), default=0),
    )


def _cursor_keys(unit: Unit) -> list[str]:
    """Where the ledger keeps how far a unit was read; batches may be split, so theirs are per SLO."""
    return [feed.key for feed in unit.feeds] or [f"expression/{slo}" for slo in unit.slos]
