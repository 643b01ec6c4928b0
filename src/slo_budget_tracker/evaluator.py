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
from slo_budget_tracker.errors import BadAnswer, LedgerError, PrometheusError, QueryFailed, QueryRejected
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import PERMANENT, SLOW, Unit, apart, read, split, units
from slo_budget_tracker.reports import Attempt, Report, Tally
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
        ids = self.ledger.register_all([(slo.name, {}, sli_hash(slo)) for slo in self.slos], at=at)
        self.ids = dict(zip((slo.name for slo in self.slos), ids, strict=True))
        planned = units(plan(self.slos, replica_labels=self.replica_labels))
        self._units = [part for unit in planned for part in apart(unit, self._read_until)]
        for slo in self.slos:
            self._remember(slo.name)
        return self

    def _read_until(self, name: str) -> int:
        """Up to which data instant the expressions of an SLO were read."""
        cursor = self.ledger.cursor(_expression_key(name))
        return self.ledger.born(self.ids[name]) if cursor is None else cursor

    def _remember(self, name: str) -> None:
        """What the last tick before a restart brought: until the next one it is still what is known."""
        at = self.ledger.slo_cursor(self.ids[name])
        if at is not None:
            last = self.ledger.history.window(at, [self.interval])[self.ids[name]][self.interval]
            self.seen[name] = _outcome(last)
            if self.seen[name].known:
                self.data_until[name] = at

    def advance(self, until: int) -> Report:
        """Bring every SLO to the data instant `until`; what fails is left for the next call."""
        report = Tally()
        while report.store_error is None and (attempts := self._attempts(until, report.errors)):
            try:
                results = self._read_all(attempts)
            except LedgerError as error:
                report.store_error = error
                break
            for result in results:
                report.add(result)
            done = [result for result in results if result.reading is not None]
            gave_up = []
            for result in results:
                if not self._hopeless(result, until):
                    continue
                if self._is_hole(result, until):
                    done.append(result)
                    del report.errors[result.unit.key]
                else:
                    gave_up.append(self._rest(result.unit, until))
            if done or gave_up:
                self._commit(done, gave_up, until, report)
            for result in done:
                if result.ticks[-1].end == until:  # caught up: what was too long once need not be so again
                    self._piece.pop(result.unit.key, None)
        return self._report(until, report)

    def look(self, at: int) -> tuple[SLOSnapshot, ...]:
        """The figures of every SLO at a data instant, from the ledger alone; steps nothing."""
        windows = self._windows(at, self.slos)
        return tuple(self._assess(slo, at, windows, live=False).snapshot for slo in self.slos)

    # reading

    def _attempts(self, until: int, failed: Container[str]) -> list[Attempt]:
        """The next piece of every unit that is behind and has not failed in this call."""
        found = []
        for unit in self._units:
            cursor = self._cursor(unit)
            ticks = ticks_between(cursor, until, interval=self.interval, delay=self.delay)
            longest = max(self._piece.get(unit.key, PIECE), self.interval)
            size = max(sum(tick.end - cursor <= longest for tick in ticks), 1)
            if ticks and unit.key not in failed:
                found.append(Attempt(unit, ticks[:size]))
        return found

    def _cursor(self, unit: Unit) -> int:
        """Up to which data instant a unit was read.

        Feeds that a changed catalogue brought together may stand at different instants. They go on at the
        newest: what is counted already must not be counted again with a memory that is ahead of it.
        """
        cursors = [self.ledger.cursor(key) for key in _cursor_keys(unit)]
        known = [cursor for cursor in cursors if cursor is not None]
        return max(known, default=min(self.ledger.born(self.ids[slo]) for slo in unit.slos))

    def _rest(self, unit: Unit, until: int) -> Attempt:
        """The ticks up to `until` of a unit that was given up, if not done before: stepped as unknown."""
        stepped = max(self._cursor(unit), min(self._stepped(name, {}) for name in unit.slos))
        ticks = ticks_between(stepped, until, interval=self.interval, delay=self.delay)
        return Attempt(unit, ticks)

    def _read_all(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Read all units side by side; a refused batch is split until the poisoned member is alone."""
        results = []
        todo = list(attempts)
        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            while todo:
                tried = list(pool.map(self._try, todo))
                todo = []
                for attempt in tried:
                    shorter = self._shorter(attempt)
                    halves = split(attempt.unit) if isinstance(attempt.error, PERMANENT) else ()
                    if shorter is not None:
                        todo.append(shorter)
                    elif halves:
                        at = self._units.index(attempt.unit)
                        self._units[at : at + 1] = halves
                        todo += [Attempt(half, attempt.ticks) for half in halves]
                    else:
                        results.append(attempt)
                        if attempt.reading is not None:
                            self._failing_since.pop(attempt.unit.key, None)
        return results

    def _try(self, attempt: Attempt) -> Attempt:
        """Read a unit; whatever goes wrong is its own (T12), but for the ledger."""
        unit = attempt.unit
        memories = {}
        for feed in unit.feeds:
            memories[feed.key] = self._memory(feed.key, attempt.ticks[0].start)
        try:
            reading = read(unit, attempt.ticks, memories, self.asks[unit.datasource])
        except PrometheusError as error:
            return Attempt(unit, attempt.ticks, error=error)
        except Exception as error:  # noqa: BLE001 - a fault of ours in one unit must not stop the others
            fault = BadAnswer(f"internal error: {type(error).__name__}: {error}", reason="internal")
            return Attempt(unit, attempt.ticks, error=fault)
        return Attempt(unit, attempt.ticks, reading=reading)

    def _memory(self, key: str, start: int) -> Memory:
        """What a feed remembers, if it was read exactly up to `start`; else it begins anew there."""
        if self.ledger.cursor(key) != start:
            return Memory.empty()
        known = self._memories.get(key)
        if known is not None:
            return known
        stored = self.ledger.memory(key)
        return Memory.empty() if stored is None else Memory.loads(stored)

    def _shorter(self, attempt: Attempt) -> Attempt | None:
        """The older half of a range that was too much for the server; further ranges are as short (P12).

        Where time ran out, the half is for the next tick: a server that hangs would take all of this one.
        """
        slow = attempt.error is not None and attempt.error.reason in SLOW
        if not (slow or isinstance(attempt.error, (QueryFailed, BadAnswer))) or len(attempt.ticks) == 1:
            return None
        half = attempt.ticks[: len(attempt.ticks) // 2]
        self._piece[attempt.unit.key] = half[-1].end - half[0].start
        return None if slow else Attempt(attempt.unit, half)

    def _hopeless(self, attempt: Attempt, until: int) -> bool:
        """Whether a server that does answer has refused these ticks too long: they are stepped as unknown."""
        if not isinstance(attempt.error, PERMANENT):
            return False  # read, or the server does not answer at all: the past can still come
        since = self._failing_since.setdefault(attempt.unit.key, until)
        return until - since >= GIVE_UP_AFTER

    def _is_hole(self, attempt: Attempt, until: int) -> bool:
        """Whether an expression fails at an old tick only: that one is left behind, not all after it."""
        newest = ticks_between(until - self.interval, until, interval=self.interval, delay=self.delay)
        if (
            attempt.unit.batch is None
            or isinstance(attempt.error, QueryRejected)
            or [*attempt.ticks] == newest
        ):
            return False
        return self._try(Attempt(attempt.unit, newest)).reading is not None

    # concluding

    def _commit(self, done: Sequence[Attempt], gave_up: Sequence[Attempt], until: int, report: Tally) -> None:
        """Rows, states, events, memories and cursors of one piece: one transaction."""
        counts: dict[str, Mapping[int, Counts]] = {}
        found: dict[Tick, dict[int, Counts]] = {}
        memories: dict[str, Memory] = {}
        cursors: dict[str, int] = {}
        for attempt in (*done, *gave_up):
            unknown = {tick.end: Counts(0, 0, Outcome.UNKNOWN) for tick in attempt.ticks}
            brought = dict.fromkeys(attempt.unit.slos, unknown)
            counts.update(brought if attempt.reading is None else attempt.reading.counts)
            memories.update({} if attempt.reading is None else attempt.reading.memories)
            for tick in attempt.ticks:
                row = {self.ids[name]: counts[name][tick.end] for name in attempt.unit.slos}
                found.setdefault(tick, {}).update(row)
        for attempt in done:
            cursors.update(dict.fromkeys(_cursor_keys(attempt.unit), attempt.ticks[-1].end))
        spans = sorted(found)
        rows = [Row.of(tick, found[tick]) for tick in spans]
        self.ledger.stage(rows)
        states: dict[int, Mapping[str, AlertState]] = {}
        stepped: dict[int, int] = {}
        transitions: list[Transition] = []
        outcomes: Counter[str] = Counter()
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
                outcomes[self.seen[slo.name].name.lower()] += 1
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
        report.outcomes.update(outcomes)

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

    def _report(self, until: int, report: Tally) -> Report:
        """What came of it; an SLO that is behind shows its figures with the fault as its state."""
        behind = [
            slo
            for slo in self.slos
            if slo.name not in report.verdicts or report.verdicts[slo.name].snapshot.evaluated_at < until
        ]
        at = max((self._stepped(slo.name, {}) for slo in behind), default=until)
        at = max(at, until)  # the clock may have gone back (T2)
        windows = self._windows(at, behind) if behind else {}
        for slo in behind:
            if slo.name in report.faults or self._stepped(slo.name, {}) < until:
                self.seen[slo.name] = Outcome.ERROR
            try:
                report.verdicts[slo.name] = self._assess(slo, at, windows, live=False)
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
            pending_seconds=pending,
        )


def density_of(slos: Iterable[SLO], *, interval: int) -> Density:
    """How closely a ledger of these SLOs keeps its counts, by age."""
    known = list(slos)
    return Density.of(
        interval=interval,
        longest_short=max((alert.short for slo in known for alert in slo.alerts), default=0),
        longest_window=max((slo.window for slo in known), default=0),
    )


def _outcome(tick: WindowCounts) -> Outcome:
    """The outcome of a tick by what the ledger keeps of it."""
    if tick.known > 0:
        return Outcome.PARTIAL if tick.partial > 0 else Outcome.OK if tick.total > 0 else Outcome.NO_TRAFFIC
    return Outcome.NO_DATA if tick.absent > 0 else Outcome.ERROR


def _cursor_keys(unit: Unit) -> list[str]:
    """Where the ledger keeps how far a unit was read; batches may be split, so theirs are per SLO."""
    return [feed.key for feed in unit.feeds] or [_expression_key(slo) for slo in unit.slos]


def _expression_key(slo: str) -> str:
    return f"expression/{slo}"
