"""Attempts: which ticks of which unit are read next, and what is done about those that cannot be read.

A unit whose requests fail keeps its cursor and its remembered samples, so the next call reads a longer range
and nothing is lost. Two kinds of failure are told apart:

- the server does not answer (refused, hangs, 5xx, 401): its ticks are *missed*. They wait, with alerts held,
  until it is back; then they are read and stepped in order, however long that took.
- the server answers others, or refuses this unit for good (4xx, 422, unusable answers): after GIVE_UP_AFTER
  seconds of trying its ticks are stepped as *unknown*. Counts that come later correct the budget.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slo_budget_tracker.counting import SEED_SECONDS
from slo_budget_tracker.cursors import Cursors
from slo_budget_tracker.errors import BadAnswer, PrometheusError, QueryFailed, QueryRejected
from slo_budget_tracker.inflight import AT_ONCE, InFlight, Spread
from slo_budget_tracker.joints import Shared
from slo_budget_tracker.memos import while_alive
from slo_budget_tracker.parties import Party, gathered
from slo_budget_tracker.rations import Ration, usual
from slo_budget_tracker.reading import PERMANENT, SLOW, Unit, apart, read, split, steps
from slo_budget_tracker.recollection import Recollection
from slo_budget_tracker.reports import Attempt
from slo_budget_tracker.ticks import Tick, ticks_between
from slo_budget_tracker.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.counting import Memory
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.reading import Ask

BLOCK = 10  # ticks that are compared at once with what the server has of them some minutes later
PIECE = 3_600  # seconds of data time in one transaction of a catch-up
GIVE_UP_AFTER = 300  # seconds of trying before ticks that cannot be read are stepped as unknown
JOIN_AFTER = 3_600  # seconds after which batches that were split are tried together again
NOT_ASKED = "no_time"  # the reason of an error where a tick's time was used up before a unit's turn


@dataclass(slots=True, weakref_slot=True)
class Attempts:
    """Reads units piece by piece from where the ledger says they stand; writes nothing.

    `goals` says how far each datasource is read in this call, by data instant; `lanes` how many requests
    it may be asked at once (`workers` where it does not say), `patience` for how many seconds a slower one is
    waited for before the others are taken (None: until it has answered).
    """

    ledger: Ledger
    asks: Mapping[str, Ask]
    ids: Mapping[str, int]
    interval: int
    delay: int
    workers: int
    planned: Sequence[Unit]
    lanes: Mapping[str, int] = field(default_factory=dict)
    patience: float | None = None
    spread: Spread = AT_ONCE
    ration: Ration = field(default_factory=Ration)
    units: list[Unit] = field(default_factory=list)
    failing_since: dict[str, int] = field(default_factory=dict)
    goals: Mapping[str, int] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)  # datasources, in this call
    _split_at: int | None = None
    _piece: dict[str, int] = field(default_factory=dict)
    _flights: InFlight = field(init=False)
    shared: Shared = field(default_factory=Shared)
    _failed: set[str] = field(default_factory=set)  # in this tick, where its calls go on: not asked twice
    _last_errors: dict[str, PrometheusError] = field(default_factory=dict)  # of units that fail
    turns: Turns = field(init=False)
    cursors: Cursors = field(init=False)
    recollection: Recollection = field(init=False)

    def __post_init__(self) -> None:
        self.turns = Turns(self.interval)
        self.cursors = Cursors(self.ledger, self.ids)
        self.recollection = Recollection(self.ledger)
        self.asks = self.ration.counted(self.asks)
        flown, parties = while_alive(self._flown), while_alive(self._parties)
        self._flights = InFlight(flown, self.lanes, self.workers, self.spread, parties)

    def prepare(self) -> Attempts:
        """The planned units, batches apart where their SLOs were read up to different instants."""
        self.units = [part for unit in self.planned for part in apart(unit, self.cursors.of_expressions)]
        self.shared = Shared.of(unit.feeds[0] for unit in self.units if len(unit.feeds) == 1)
        return self

    def begin(self, goals: Mapping[str, int], *, going_on: bool = False) -> None:
        """A new call: to new goals nobody has answered yet, and what was split long ago is joined again.

        Where it is `going_on` to the same goals, what failed on the way is not tried again.
        """
        self.shared.begin()
        self._flights.begin()
        self.cursors.begin()
        if goals != self.goals or not (going_on or self._flights.datasources):
            self._failed.clear()
        if goals != self.goals:
            self._answered.clear()
            self.ration.begin(usual(self.units, self.joined))
        self.goals = goals
        now = max(goals.values(), default=0)
        joined = self._split_at is not None and now - self._split_at >= JOIN_AFTER
        if joined and not self._flights.datasources:
            self._split_at = None
            self.prepare()
        self.turns.begin()

    def inherit(self, other: Attempts) -> None:
        """Go on with another's patience, turns, and what it remembers of feeds that are the same."""
        known = {unit.key for unit in self.units}
        self.failing_since |= {key: at for key, at in other.failing_since.items() if key in known}
        self._piece |= {key: seconds for key, seconds in other._piece.items() if key in known}
        self._last_errors |= {key: error for key, error in other._last_errors.items() if key in known}
        self.turns.inherit(other.turns, self.ids, {unit.datasource for unit in self.units})
        feeds = {feed.key: feed for unit in other.units for feed in unit.feeds}
        every = (feed for unit in self.units for feed in unit.feeds)
        self.recollection.inherit(other.recollection, (one for one in every if feeds.get(one.key) == one))

    def pending(self, failed: Container[str]) -> list[Attempt]:
        """The next piece of every unit that is behind, not under way and has not failed in this call."""
        found = []
        later = self.under_way | self._used_up()
        for unit in self.turns.from_first(self.units):
            if unit.datasource in later:
                continue  # its next flight begins when this one is over, or in the next tick
            cursor = self.cursors.of(unit)
            ticks = self.ticks(cursor, self.goals[unit.datasource])
            longest = max(self._piece.get(unit.key, PIECE), self.interval)
            size = max(sum(tick.end - cursor <= longest for tick in ticks), 1)
            if ticks and unit.key not in failed:
                found.append(Attempt(unit, ticks[:size]))
        return self.turns.in_order(found, self.goals)

    def _used_up(self) -> set[str]:
        """The datasources that are asked nothing further in this tick."""
        return {name for name in self.goals if self.ration.used_up(name)}

    def end(self, *, stopped: bool) -> None:
        """A call is over, and with it the tick of each datasource that has answered.

        Where the call was `stopped`, only of those that are asked nothing further.
        """
        used_up = self._used_up() - self.under_way
        over = used_up if stopped else self.goals.keys() - self.under_way
        left_behind: dict[str, set[str]] = {}
        for unit in self.units if used_up else ():
            behind = unit.datasource in used_up and self.cursors.of(unit) < self.goals[unit.datasource]
            if behind and unit.key not in self._last_errors:  # which is told
                left_behind.setdefault(unit.datasource, set()).update(unit.slos)
        self.turns.end({name: self.goals[name] for name in over}, left_behind)

    def ticks(self, after: int, until: int) -> list[Tick]:
        """The ticks of the grid between two data instants."""
        return ticks_between(after, until, interval=self.interval, delay=self.delay)

    def read_all(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Read these and return what is there: all of them, or those of datasources that were fast enough.

        A refused batch is split until the poisoned member is alone. What is not there yet is returned by a
        later call, which starts nothing where it is called with nothing and then does not wait either.
        """
        self._flights.start(attempts)
        if attempts or self.patience is None:
            landed = self._flights.land(self._instead, patience=self.patience)
        else:
            landed = self._flights.look(self._instead)
        for attempt in landed:
            self._note(attempt)
        return landed

    @property
    def under_way(self) -> frozenset[str]:
        """The datasources whose answers are still to come, or to be taken up."""
        return self._flights.datasources

    def failing(self) -> list[tuple[Unit, PrometheusError]]:
        """The units that failed when last tried, and how, where their next turn is still to come."""
        datasources = self.under_way | self._used_up()
        units = [unit for unit in self.units if unit.datasource in datasources] if self._last_errors else []
        return [(unit, self._last_errors[unit.key]) for unit in units if unit.key in self._last_errors]

    def failed(self) -> list[tuple[Unit, PrometheusError]]:
        """The units that failed in this tick already, where this call goes on waiting for others."""
        return [(u, self._last_errors[u.key]) for u in self.units if u.key in self._failed]

    def rest(self, seconds: float) -> None:
        """Wait until something is answered, or so long; nothing else may be done with this meanwhile."""
        self._flights.rest(seconds)

    def _instead(self, attempt: Attempt) -> list[Attempt]:
        """What is read instead of an attempt that failed: a shorter range, or two halves of a batch."""
        shorter = self._shorter(attempt)
        if shorter is not None:
            return [shorter]
        halves = split(attempt.unit) if isinstance(attempt.error, PERMANENT) else ()
        if halves:
            self._split(attempt.unit, halves)
        return [Attempt(half, attempt.ticks) for half in halves]

    def _split(self, unit: Unit, halves: Iterable[Unit]) -> None:
        at = self.units.index(unit)
        self.units[at : at + 1] = halves
        if self._split_at is None:
            self._split_at = self.goals[unit.datasource]

    def _note(self, attempt: Attempt) -> None:
        """Since when a unit fails, and who answers at all."""
        unit = attempt.unit
        if attempt.error is not None and attempt.error.reason == NOT_ASKED:
            return
        if attempt.reading is None:
            self.failing_since.setdefault(unit.key, self.goals[unit.datasource])
            assert attempt.error is not None
            self._last_errors[unit.key] = error = attempt.error.with_traceback(None)
            error.__context__ = None  # the frames of both would hold all of this
            self._failed.add(unit.key)
            self.turns.tried(unit, self.goals[unit.datasource], failed=True)
            return
        self.failing_since.pop(unit.key, None)
        self.pass_over(unit)
        self.turns.tried(unit, attempt.ticks[-1].end, failed=False)
        self._answered.add(unit.datasource)
        if attempt.ticks[-1].end == self.goals[unit.datasource]:
            self._piece.pop(unit.key, None)  # caught up: what was too long once need not be so again

    def pass_over(self, unit: Unit) -> None:
        """It was read, or its hole is left behind: it is read on in this call."""
        self._last_errors.pop(unit.key, None)
        self._failed.discard(unit.key)

    def failing_slos(self) -> set[str]:
        """The SLOs of which something fails just now."""
        return {name for unit in self.units if unit.key in self.failing_since for name in unit.slos}

    def attempt(self, attempt: Attempt) -> Attempt:
        """Read a unit; whatever goes wrong is its own (T12), but for the ledger."""
        memories, doubts = self._remembered(attempt)
        return self.read(attempt, memories, doubts=doubts)

    def _remembered(self, attempt: Attempt) -> tuple[dict[str, Memory], dict[str, int]]:
        return self.recollection.at(attempt.ticks[0].start, attempt.unit.feeds)

    def read(self, attempt: Attempt, memories: Mapping[str, Memory], *, doubts: Mapping[str, int]) -> Attempt:
        """Read the ticks of an attempt, going on from these memories."""
        unit = attempt.unit
        try:
            ask = self._ask(attempt)
            reading = read(unit, attempt.ticks, memories, ask, keep=self.borders(attempt.ticks))
        except Exception as error:  # noqa: BLE001 - a fault of ours in one unit must not stop the others
            return attempt.failed(error)
        return Attempt(unit, attempt.ticks, reading=reading.doubting(doubts), memories=memories)

    def _parties(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, ...]]:
        """What is read side by side of one datasource."""
        lanes = self.lanes.get(attempts[0].unit.datasource, self.workers)
        return gathered(attempts, self.joined, lanes)

    def _side_by_side(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Read units of joints; each goes on from what it remembers."""
        remembered = [self._remembered(attempt) for attempt in attempts]
        found = Party(
            [
                (steps(one.unit, one.ticks, memories, keep=self.borders(one.ticks)), self._ask(one))
                for one, (memories, _) in zip(attempts, remembered, strict=True)
            ],
            alone=lambda at: self.joined(attempts[at].unit) is None,
            used_up=lambda: self.ration.used_up(attempts[0].unit.datasource),
        ).read()
        return [
            one.failed(reading)
            if isinstance(reading, Exception)
            else Attempt(one.unit, one.ticks, reading=reading.doubting(doubts), memories=memories)
            for one, reading, (memories, doubts) in zip(attempts, found, remembered, strict=True)
            if reading is not None
        ]

    def _ask(self, attempt: Attempt) -> Ask:
        """How to ask for an attempt: together with others that stand where it does."""
        unit, ask = attempt.unit, self.asks[attempt.unit.datasource]
        joint = self.shared.joint_of.get(unit.feeds[0].key) if len(unit.feeds) == 1 else None
        if joint is None:
            return ask
        start, end = attempt.ticks[0].start, attempt.ticks[-1].end
        mine = self.ledger.cursor(unit.feeds[0].key)
        beside = sum(self.ledger.cursor(feed.key) == mine for feed in joint.feeds)
        return self.shared.ask(unit.feeds[0], (end - start, SEED_SECONDS), ask) if beside > 1 else ask

    def joined(self, unit: Unit) -> str | None:
        """With whom a unit is read together; None where it is read alone."""
        joint = self.shared.joint_of.get(unit.feeds[0].key) if len(unit.feeds) == 1 else None
        return None if joint is None else joint.key

    def fresh(self) -> None:
        """What is asked from now on is asked anew, whatever was answered before."""
        self.shared.begin()

    def borders(self, ticks: Iterable[Tick]) -> frozenset[int]:
        """The instants at which a block of ticks ends: what was remembered there is kept for a while."""
        ends = (tick.end for tick in ticks)
        return frozenset(end for end in ends if (end + self.delay) // self.interval % BLOCK == 0)

    def beside(self, asks: Mapping[str, Ask]) -> Attempts:
        """The same to read with beside it, asking in another way; what is remembered is one for both."""
        other = copy(self)
        other.asks, other.shared = self.ration.counted(asks), Shared(self.shared.joint_of)
        return other

    def close(self) -> None:
        """Nothing is asked any more."""
        self._flights.end()

    def forget(self) -> None:
        """The ledger is not what it was: what was remembered of it is read again."""
        self.recollection.forget()
        self._flights.drop()

    def remember(self, memories: Mapping[str, Memory]) -> None:
        """Take over what was committed."""
        self.recollection.update(memories)

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

    def hopeless(self, attempt: Attempt) -> bool:
        """Whether a server that does answer has not given these ticks for too long: they are unknown."""
        source = attempt.unit.datasource
        if (
            attempt.error is None
            or attempt.error.reason == NOT_ASKED
            or not (isinstance(attempt.error, PERMANENT) or source in self._answered)
        ):
            return False  # read, or the server does not answer at all: the past can still come
        return self.goals[source] - self.failing_since[attempt.unit.key] >= GIVE_UP_AFTER

    def is_hole_given_up(self, attempt: Attempt) -> bool:
        """Whether an expression fails at an old tick only: that one is left behind, not all after it."""
        return attempt.passable and self.hopeless(attempt)

    def _flown(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """What came of a party; nothing where the tick's ration was used up before its turn."""
        if self.ration.used_up(attempts[0].unit.datasource):
            return []
        if len(attempts) > 1:
            return self._side_by_side(attempts)
        return [self._tried(one) for one in attempts]

    def _tried(self, attempt: Attempt) -> Attempt:
        """An attempt, and where it fails for long at an old tick, whether the newest one can be read."""
        found = self.attempt(attempt)
        unit, error = found.unit, found.error
        if unit.batch is None or not isinstance(error, PERMANENT) or isinstance(error, QueryRejected):
            return found
        goal = self.goals[unit.datasource]
        since = self.failing_since.get(unit.key, goal)
        newest = self.ticks(goal - self.interval, goal)
        if goal - since < GIVE_UP_AFTER or [*found.ticks] == newest:
            return found
        return replace(found, passable=self.attempt(Attempt(unit, newest)).reading is not None)

    def unread(self, unit: Unit, stepped: int) -> Attempt:
        """The ticks of a unit that was given up, if not stepped before: stepped as unknown now."""
        return Attempt(unit, self.ticks(max(self.cursors.of(unit), stepped), self.goals[unit.datasource]))
