"""The cycle: read what is new, add it to the ledger, step every SLO through its ticks, in one transaction.

`Evaluator.advance(until)` is the daemon's tick, its catch-up and `replay`: they differ only in how many ticks
lie between the ledger's cursors and `until`.

Every tick of every SLO ends with one outcome. While a server does not answer, its ticks are *missed*: they
wait unstepped, alerts are held, `slo_data_lost` is sent after max(5 min, 3 ticks). When it is back they are
read and stepped in order, their events marked late. What a server that answers has not given after five
minutes is stepped as *unknown*; counts that come later correct budgets and send `slo_burn_revised` only. So
at any time the seconds that the ledger has by outcome and those still missed add up to the time elapsed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from slo_budget_tracker import sorting
from slo_budget_tracker.attempts import Attempts
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.errands import Errands
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.groups import name_of
from slo_budget_tracker.inflight import AT_ONCE, Spread
from slo_budget_tracker.lookback import Lookback
from slo_budget_tracker.queries import plan
from slo_budget_tracker.rations import Ration
from slo_budget_tracker.reading import units
from slo_budget_tracker.rechecks import Rechecks
from slo_budget_tracker.reports import Report, Tally
from slo_budget_tracker.rosters import Roster
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.stepping import Stepper
from slo_budget_tracker.surveys import Surveys
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.errands import Beside
    from slo_budget_tracker.errors import PrometheusError
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.reading import Ask, Unit
    from slo_budget_tracker.reports import Attempt
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Counts


NO_SNAPSHOTS: Mapping[str, SLOSnapshot] = MappingProxyType({})
AGEING = 3_600  # seconds between two looks for groups that are gone


def _never() -> bool:
    return False


@dataclass(slots=True)
class Evaluator:
    """Steps a catalogue of SLOs over data time.

    Args:
        slos: the catalogue; a reload makes a new evaluator over the same ledger.
        asks: how to ask each datasource.
        interval, delay: of the tick grid, seconds.
        surveys: whether sources are asked how often they are scraped, for expressions with short windows.
        delays: of datasources whose data come later; they are read as many whole ticks later as it takes.
        workers: requests at once, for datasources that `lanes` does not name.
        beside: how servers are asked beside the calls, which then must hold its guard; without, late data are
            looked for at the end of each call.
        patience: seconds that a slower datasource is waited for before the others are stepped; None: until it
            has answered. `spread` says how its requests are put apart.
        ration: requests of a datasource in a tick, after which the rest is for the next; None: no bound.
    """

    slos: Sequence[SLO]
    ledger: Ledger
    asks: Mapping[str, Ask]
    interval: int = 60
    delay: int = 30
    workers: int = 4
    lanes: Mapping[str, int] = field(default_factory=dict)
    patience: float | None = None
    spread: Spread = AT_ONCE
    ration: int | None = None
    beside: Beside | None = None
    replica_labels: Mapping[str, str | None] = field(default_factory=dict)
    delays: Mapping[str, int] = field(default_factory=dict)
    surveys: bool = False  # whether sources are asked how often they are scraped, where nothing else tells
    ids: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Outcome] = field(default_factory=dict)  # what the last tick brought
    data_until: dict[str, int] = field(default_factory=dict)  # the end of the newest known tick
    _stepper: Stepper = field(init=False)
    _roster: Roster = field(init=False)
    _planned: tuple[Attempts, Rechecks] | None = field(init=False, default=None)
    _aged: dict[str, int] = field(init=False, default_factory=dict)  # by datasource, the hour
    _lookback: Lookback = field(init=False)
    _generation: int = field(init=False, default=0)  # of the ledger
    _stopped: bool = field(init=False, default=False)  # in the midst of a catch-up

    def prepare(self, at: int) -> Evaluator:
        """Register the SLOs; the first live tick of a new one ends after `at`."""
        self.ids = {}
        self._planned = None
        self._roster = Roster(self.ledger, {}, self.ids).register(self.slos, at=at)
        self._stepper = Stepper(
            slos=self._roster.slos,
            composites=self._roster.composites,
            ids=self.ids,
            ledger=self.ledger,
            interval=self.interval,
            with_groups=self._roster.with_groups,
            crowded=self._roster.crowded,
            seen=self.seen,
            data_until=self.data_until,
        )
        errands = None if self.beside is None else Errands(self.beside)
        self._lookback = Lookback(Surveys(self.slos), self.surveys, errands)
        self._remember()
        return self

    @property
    def _attempts(self) -> Attempts:
        """How requests are made."""
        return self._plan()[0]

    @property
    def _rechecks(self) -> Rechecks:
        """How late data are looked for."""
        return self._plan()[1]

    def _plan(self) -> tuple[Attempts, Rechecks]:
        """The requests, planned when the first of them is due: what the ledger knows is shown before."""
        if self._planned is None:
            attempts = Attempts(
                ledger=self.ledger,
                asks=self.asks,
                ids=self.ids,
                interval=self.interval,
                delay=self.delay,
                workers=self.workers,
                lanes=self.lanes,
                patience=self.patience,
                spread=self.spread,
                ration=Ration(self.ration),
                planned=units(plan(self.slos, replica_labels=self.replica_labels)),
            ).prepare()
            admit = self._roster.admit_late
            rechecks = Rechecks(attempts, self._stepper, admit, self.interval, self.delay)
            self._planned = attempts, rechecks
        return self._planned

    def _remember(self) -> None:
        """What the last tick before a restart brought: until the next one it is still what is known."""
        ended: dict[int, list[str]] = {}
        for name, instance in self.ids.items():
            at = self.ledger.slo_cursor(instance)
            if at is not None:
                ended.setdefault(at, []).append(name)
        for at, names in ended.items():
            last = self.ledger.history.window(at, [self.interval])
            for name in names:
                self.seen[name] = last[self.ids[name]][self.interval].outcome
                if self.seen[name].known:
                    self.data_until[name] = at

    def inherit(self, old: Evaluator) -> Evaluator:
        """Go on where an evaluator of the catalogue before was; call it once prepared.

        What fails since long ago still does, and units that are the same go on comparing what came late.
        The old one may go on, too, where this one is not taken over in the end.
        """
        self._generation = old._generation
        self._attempts.inherit(old._attempts)
        self._lookback.inherit(old._lookback)
        feeds = {feed.key: feed for unit in old._attempts.units for feed in unit.feeds}
        for feed in (feed for unit in self._attempts.units for feed in unit.feeds if feed.key in feeds):
            sorting.inherit(feed, feeds[feed.key])
        same = set(self._attempts.units) & set(old._attempts.units)
        self._rechecks.trails |= {
            unit.key: trail for unit in same if (trail := old._rechecks.trails.get(unit.key)) is not None
        }
        return self

    def end(self) -> None:
        """Nothing is asked for it any more."""
        self._lookback.end()
        if self._planned is not None:
            self._attempts.close()

    def goal(self, datasource: str, until: int) -> int:
        """The data instant that a datasource is read up to when the others are at `until`."""
        later = max(self.delays.get(datasource, self.delay) - self.delay, 0)
        return until - -(-later // self.interval) * self.interval

    def advance(self, until: int, *, enough: Callable[[], bool] = _never) -> Report:
        """Bring every SLO to the data instant `until`; what fails is left for the next call.

        `enough` is asked after each committed piece of a catch-up (an hour of data time at most): when it
        says so the call ends there, its report is `stopped`, and the next one goes on with what did not fail.
        """
        report = Tally()
        generation = getattr(self.ledger, "generation", 0)
        if generation != self._generation:
            self._generation = generation
            self._attempts.forget()
            self._rechecks.trails.clear()
        goals = {name: self.goal(name, until) for name in dict.fromkeys(slo.datasource for slo in self.slos)}
        self._attempts.begin(goals, going_on=self._stopped)
        _carry(report, self._attempts.failed())
        feeds = (feed for unit in self._attempts.units for feed in unit.feeds)
        spacings = self._attempts.recollection.spacings(feeds)
        self._stepper.spacings = spacings | self._lookback.surveys.spacings
        self._stopped, first = False, True
        while not self._stopped and report.store_error is None:
            attempts = self._attempts.pending(report.errors)
            if not attempts and not (self._attempts.under_way and first):
                break
            first = False
            self._advance_piece(attempts, goals, report)
            # a call may take long, too, that leaves nothing to be read: that is no catch-up
            self._stopped = enough() and bool(self._attempts.pending(report.errors))
        if report.store_error is None:
            self._attempts.end(stopped=self._stopped)
        _carry(report, self._attempts.failing())
        self._tell_waiting(report)
        if report.store_error is None:
            self._stepper.tell_losses(self._failing(goals), goals, report)
        if report.store_error is None and not self._stopped:
            self._lookback.run(self._rechecks, report, enough=enough)
            self._age_out(until, report)
        for errand in self._lookback.taken():
            report.take(errand)
        return self._report(until, goals, report)

    def _age_out(self, until: int, report: Tally) -> None:
        """Once an hour: groups without series, where all is answered; what fails may have some."""
        hour, sources = until // AGEING, self._attempts.goals.keys()
        due = {name for name in sources - self._attempts.under_way if self._aged.get(name) != hour}
        if not due:
            return
        self._aged |= dict.fromkeys(due, hour)
        try:
            report.transitions += self._roster.age_out(
                until, self.data_until, awaited=sources - due, failing=self._attempts.failing_slos()
            )
        except LedgerError as error:
            report.store_error = error

    def _advance_piece(self, attempts: Sequence[Attempt], goals: Mapping[str, int], report: Tally) -> None:
        """One piece of every unit that is behind: read, sorted out and committed."""
        try:
            results = [self._roster.admit(one) for one in self._attempts.read_all(attempts)]
        except LedgerError as error:
            report.store_error = error
            return
        done, gave_up = [], []
        for result in results:
            report.add(result)
            if result.reading is not None:
                done.append(result)
            elif self._attempts.is_hole_given_up(result):
                done.append(result)
                del report.errors[result.unit.key]
                self._attempts.pass_over(result.unit)
            elif self._attempts.hopeless(result):
                stepped = min(map(self._stepper.stepped, result.unit.slos))
                gave_up.append(self._attempts.unread(result.unit, stepped))
        self._roster.compose()
        report.faults.update(self._roster.crowded)
        if done or gave_up:
            remembered = self._stepper.commit(done, gave_up, goals, report)
            if report.store_error is None:
                self._attempts.remember(remembered)
                self._rechecks.follow(done, report)

    def _failing(self, goals: Mapping[str, int]) -> dict[str, int]:
        """The SLOs whose ticks wait because nobody answers, with the data instant since when."""
        since = self._attempts.failing_since
        return {
            name: since[unit.key]
            for unit in self._attempts.units
            if unit.key in since
            for name in self._roster.with_groups(unit.slos)
            if self._stepper.stepped(name) < goals[unit.datasource]
        }

    def _tell_waiting(self, report: Tally) -> None:
        """What tick after tick is left behind is in trouble, though nothing of it fails."""
        for datasource, (names, since) in self._attempts.turns.waiting.items():
            fault = f"since {instant_text(since)} each tick had more to ask {datasource} than it may"
            report.faults |= dict.fromkeys(names - report.faults.keys(), fault)

    def look(
        self,
        at: int,
        known: Mapping[str, SLOSnapshot] = NO_SNAPSHOTS,
        *,
        faults: dict[str, str] | None = None,
    ) -> tuple[SLOSnapshot, ...]:
        """The figures of every SLO at a data instant, from the ledger alone; steps nothing.

        Instances whose snapshot is `known` are not looked at again. With `faults` a fault of ours in one of
        them is put there, and the others are shown (T12).
        """
        keys = self.instances()
        found = self._stepper.look(at, [key for key in keys if key not in known], faults)
        every = {**known, **found}
        return tuple(every[key] for key in keys if key in every)

    def instances(self) -> list[str]:
        """The keys of all instances: each SLO, and its groups behind it."""
        return self._roster.with_groups(slo.name for slo in self.slos)

    def limited(self) -> Mapping[str, int]:
        """Ticks of SLOs that had more groups than they may, by name."""
        return dict(self._roster.limited)

    def enrol(self, counts: Mapping[str, Mapping[int, Counts]]) -> Mapping[str, Mapping[int, Counts]]:
        """Past counts of all groups that there may be; new ones are known from then on."""
        return self._roster.enrol(counts)

    def _report(self, until: int, goals: Mapping[str, int], report: Tally) -> Report:
        """What came of it; an SLO that is behind shows its figures with the fault as its state."""
        keys = self.instances()
        waiting = self._waiting()
        behind = [
            key
            for key in keys
            if key not in report.snapshots or report.snapshots[key].evaluated_at < self._goal_of(key, goals)
        ]
        for key in behind:
            stepped = self._stepper.stepped(key)
            if name_of(key) in report.faults:
                self.seen[key] = Outcome.ERROR
            elif stepped < self._goal_of(key, goals) and key not in waiting:
                self.seen[key] = Outcome.MISSED
        self._look_again(
            behind, {key: self._goal_of(key, goals) for key in behind if key not in waiting}, report
        )
        pending = sum(
            max(goals[unit.datasource] - self._attempts.cursors.of(unit), 0) for unit in self._attempts.units
        )
        return Report(
            at=until,
            snapshots=tuple(report.snapshots[key] for key in keys if key in report.snapshots),
            transitions=tuple(report.transitions),
            outcomes=report.outcomes,
            errors=report.errors,
            faults=report.faults,
            store_error=report.store_error,
            samples=report.samples,
            series=self._attempts.recollection.series(),
            doubts=report.doubts,
            clamped=report.clamped,
            pending_seconds=pending,
            revised=report.revised,
            stopped=self._stopped,
            under_way=bool(self._attempts.under_way),
        )

    def rest(self, seconds: float) -> None:
        """Wait until a slow datasource has answered something, or so long."""
        self._attempts.rest(seconds)

    def _waiting(self) -> set[str]:
        """The instances whose datasource's answers are still to come: until then they are as they were."""
        slow = self._attempts.under_way
        slos = self._roster.slos
        return {
            key
            for key, slo in (slos.items() if slow else ())
            if not slow.isdisjoint(slos[one].datasource for one in members_of(slo) or (key,))
        }

    def _goal_of(self, key: str, goals: Mapping[str, int]) -> int:
        return goals[self._roster.slos[key].datasource]

    def _look_again(self, behind: Iterable[str], goals: Mapping[str, int], report: Tally) -> None:
        """Figures of SLOs not stepped to their goal: at the goal, or later if the clock went back (T2).

        Those without a goal here are waited for: theirs are of where they stand.
        """
        together: dict[int, list[str]] = {}
        for key in behind:
            at = max(goals.get(key, 0), self._stepper.stepped(key))
            together.setdefault(at, []).append(key)
        for at, keys in together.items():
            report.snapshots |= self._stepper.look(at, keys, report.faults)


def _carry(report: Tally, failing: Iterable[tuple[Unit, PrometheusError]]) -> None:
    """What is known to fail stays told."""
    for unit, error in failing:
        report.errors.setdefault(unit.key, error)
        report.faults.update({name: str(error) for name in unit.slos if name not in report.faults})
