"""In flight: readings that are under way, by datasource, so that a slow one delays no other.

Each datasource has threads of its own, as many as it may be asked at once. What it is asked at one time is a
flight; a flight has landed when all of it is answered, refused batches taken apart and asked again included.
Whoever waits for flights waits for the first, and a little longer for the others; those that are still under
way then are taken up by the next call. Everything but the reading itself happens in the caller's thread.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.reports import Attempt

    Settle = Callable[[Attempt], Sequence[Attempt]]
    Parties = Callable[[Sequence[Attempt]], Sequence[Sequence[Attempt]]]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the requests of one flight are put apart: each waits for its turn within `seconds` (T13)."""

    seconds: float = 0.0
    rest: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def turns(self, many: int, lanes: int) -> Callable[[int], None]:
        """Waits for the turn of the n-th of so many requests; as many as there are lanes go at once."""
        gap = self.seconds / many if many > lanes else 0.0
        began = self.clock()

        def turn(number: int) -> None:
            left = began + number * gap - self.clock() if gap else 0.0
            if left > 0:
                self.rest(left)

        return turn


AT_ONCE = Spread()


@dataclass(slots=True)
class _Flight:
    pool: ThreadPoolExecutor
    lanes: int
    under_way: set[Future[Sequence[Attempt]]] = field(default_factory=set)
    landed: list[Attempt] = field(default_factory=list)
    late: bool = False  # it was waited for, in vain
    begun: bool = False  # and not taken up: it may be over with nothing landed

    @property
    def over(self) -> bool:
        return self.begun and not self.under_way


def _each_alone(attempts: Sequence[Attempt]) -> list[tuple[Attempt, ...]]:
    return [(attempt,) for attempt in attempts]


@dataclass(slots=True)
class InFlight:
    """Reads attempts in the threads of their datasources.

    Args:
        read: reads a party of attempts in another thread; raises nothing but what must stop the caller.
        lanes: how many requests each datasource may be asked at once; `otherwise` for those not named.
        parties: which attempts are read side by side, in one thread.
    """

    read: Callable[[Sequence[Attempt]], Sequence[Attempt]]
    lanes: Mapping[str, int]
    otherwise: int = 4
    spread: Spread = AT_ONCE
    parties: Parties = _each_alone
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _answered: SimpleQueue[tuple[_Flight, Future[Sequence[Attempt]]]] = field(default_factory=SimpleQueue)
    _early: deque[tuple[_Flight, Future[Sequence[Attempt]]]] = field(
        default_factory=deque
    )  # seen, not taken up

    @property
    def datasources(self) -> frozenset[str]:
        """Whose answers are still awaited or not taken up."""
        return frozenset(name for name, one in self._flights.items() if one.under_way or one.landed)

    def start(self, attempts: Iterable[Attempt]) -> None:
        """Read these; where there is one datasource, a single one is read in the caller's thread."""
        by_source: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            by_source.setdefault(attempt.unit.datasource, []).append(attempt)
        for name, members in by_source.items():
            flight, parties = self._flight(name), self.parties(members)
            if len(self.lanes) <= 1 and (flight.lanes == 1 or (not flight.under_way and len(parties) == 1)):
                for party in parties:
                    self._watch(flight, _done(self.read, party))
                continue
            newest = all(len(attempt.ticks) == 1 for attempt in members)  # a catch-up is in a hurry
            turn = (self.spread if newest else AT_ONCE).turns(len(parties), flight.lanes)
            for number, party in enumerate(parties):
                self._watch(flight, flight.pool.submit(self._at_turn, turn, number, party))

    def _watch(self, flight: _Flight, future: Future[Sequence[Attempt]]) -> None:
        """Who is answered says so: looking at ten thousand each time one of them is takes minutes."""
        flight.begun = True
        flight.under_way.add(future)

        def answered(done: Future[Sequence[Attempt]]) -> None:
            if done in flight.under_way:  # else it was dropped, and nobody would take it up
                self._answered.put((flight, done))

        future.add_done_callback(answered)

    def begin(self) -> None:
        """A new call waits again for whoever was late, and has answered since."""
        for flight in self._flights.values():
            flight.late = flight.late and bool(flight.under_way or flight.landed)

    def land(self, settle: Settle, *, patience: float | None) -> list[Attempt]:
        """The attempts of all flights that are over by now.

        Waits until all are over; with `patience`, until the first is and so many seconds for the others, and
        no more for those that were waited for before. `settle` is called with each answered attempt and says
        what is read instead of it, if anything.
        """
        ends: float | None = None
        while True:
            self._sort(settle)
            flights = [one for one in self._flights.values() if patience is None or not one.late]
            if not any(flight.under_way for flight in flights):
                break
            if patience is not None and ends is None and any(flight.over for flight in flights):
                ends = time.monotonic() + patience
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                break
            self.rest(left)
        for flight in self._flights.values():
            flight.late = flight.late or bool(flight.under_way)
        return self._taken()

    def look(self, settle: Settle) -> list[Attempt]:
        """The attempts of the flights that are over, without waiting."""
        self._sort(settle)
        return self._taken()

    def rest(self, seconds: float | None) -> None:
        """Wait until something is answered, or so long."""
        if any(flight.under_way for flight in self._flights.values()) and not self._early:
            with suppress(Empty):
                self._early.append(self._answered.get(timeout=None if seconds is None else max(seconds, 0)))

    def drop(self) -> None:
        """What is under way is of no use any more; its answers are not awaited."""
        for flight in self._flights.values():
            flight.under_way.clear()
            flight.landed.clear()
            flight.begun = False
        self._early.clear()
        with suppress(Empty):
            while True:
                self._answered.get_nowait()

    def end(self) -> None:
        """Nothing further is asked: what is under way is the last."""
        self.drop()
        for flight in self._flights.values():
            flight.pool.shutdown(wait=False, cancel_futures=True)

    def _taken(self) -> list[Attempt]:
        taken = []
        for flight in self._flights.values():
            if flight.over:
                taken += flight.landed
                flight.landed, flight.begun = [], False
        return taken

    def _sort(self, settle: Settle) -> None:
        """Take the answered ones out of the air; what is to be read instead of one starts at once."""
        while not self._answered.empty():
            self._early.append(self._answered.get())
        while self._early:
            flight, future = self._early.popleft()
            if future not in flight.under_way:
                continue  # it was dropped
            flight.under_way.remove(future)
            for attempt in future.result():
                instead = settle(attempt)
                if instead:
                    self.start(instead)
                else:
                    flight.landed.append(attempt)

    def _at_turn(
        self, turn: Callable[[int], None], number: int, party: Sequence[Attempt]
    ) -> Sequence[Attempt]:
        turn(number)
        return self.read(party)

    def _flight(self, name: str) -> _Flight:
        if name not in self._flights:
            lanes = max(self.lanes.get(name, self.otherwise), 1)
            pool = ThreadPoolExecutor(max_workers=lanes, thread_name_prefix=f"ask {name}")
            self._flights[name] = _Flight(pool, lanes)
        return self._flights[name]


def _done(
    read: Callable[[Sequence[Attempt]], Sequence[Attempt]], party: Sequence[Attempt]
) -> Future[Sequence[Attempt]]:
    """A party that was read already."""
    future: Future[Sequence[Attempt]] = Future()
    future.set_result(read(party))
    return future
