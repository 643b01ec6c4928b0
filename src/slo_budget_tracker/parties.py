"""Parties: units that are read side by side: what each asks about odd targets is asked for all at once.

Each goes on by itself once its questions are answered; what goes wrong with one is its own. Where there are
many joints a party has several: two targets of each metric are as many as one question names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.errors import PrometheusError
from slo_budget_tracker.joints import JOINED, REFUSED
from slo_budget_tracker.reading import SLOW
from slo_budget_tracker.targets import joined, part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.answers import Answer, Query
    from slo_budget_tracker.reading import Ask, Reading, Steps, Unit
    from slo_budget_tracker.reports import Attempt

JOINTS = 8  # in a party
A_LANE = 4  # parties at least: a server is asked several things at once, and its requests can be spread


def gathered(
    attempts: Iterable[Attempt], joined: Callable[[Unit], str | None], lanes: int
) -> list[tuple[Attempt, ...]]:
    """Who is read side by side, in order: units that are read together and are to read the same ticks."""
    joints: dict[tuple[str, bool, int, int], list[Attempt]] = {}
    for one in attempts:
        joint = joined(one.unit)
        key = (joint or one.unit.key, joint is not None, one.ticks[0].start, one.ticks[-1].end)
        joints.setdefault(key, []).append(one)
    many = sum(shared for _, shared, *_ in joints)
    most = JOINED * min(JOINTS, max(many // (A_LANE * lanes), 1))
    found: list[list[Attempt]] = []
    begun: dict[tuple[int, int], list[Attempt]] = {}
    for (_, shared, start, end), some in joints.items():
        party = begun.get((start, end)) if shared else None
        if party is None or len(party) + len(some) > most:
            party = []
            found.append(party)
        party += some
        if shared:
            begun[start, end] = party
    return [tuple(party) for party in found]


def _never(*_: int) -> bool:
    return False


@dataclass(slots=True)
class Party:
    """Readings that go on in step, each with its way to ask, until they are to ask alone.

    What was to be asked for several and is refused each asks by itself, to its end, before the next begins:
    a party that asks one thing may so ask a hundred. After the first none begins where `used_up` says that
    the tick has no requests left. `alone` says whether one of them is not read together with others any more.
    """

    readings: Sequence[tuple[Steps, Ask]]
    alone: Callable[[int], bool] = _never
    used_up: Callable[[], bool] = _never
    _ended: dict[int, Reading | Exception] = field(default_factory=dict)
    _wanted: dict[int, tuple[Query, ...]] = field(default_factory=dict)

    def read(self) -> list[Reading | Exception | None]:
        """What each brought, or why it brought nothing; None where it is to be read in the next tick."""
        for at in range(len(self.readings)):
            self._go_on(at, None)
        some_alone = False
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            known, refused = self._asked_as_one(wanted)
            for at, questions in wanted.items():
                alone = self.alone(at) or not refused.isdisjoint(questions)
                if alone and some_alone and self.used_up():
                    continue
                some_alone = some_alone or alone
                self._answer(at, questions, known)
                while alone and at in self._wanted:
                    self._answer(at, self._wanted.pop(at), {})
        return [self._ended.get(at) for at in range(len(self.readings))]

    def _go_on(self, at: int, answers: tuple[Answer, ...] | None) -> None:
        steps, _ = self.readings[at]
        try:
            self._wanted[at] = next(steps) if answers is None else steps.send(answers)
        except StopIteration as done:
            self._ended[at] = done.value
        except Exception as error:  # noqa: BLE001 - told as this one's
            self._ended[at] = error

    def _answer(
        self, at: int, questions: Iterable[Query], known: Mapping[Query, Answer | PrometheusError]
    ) -> None:
        """Go on with one of them as far as its questions bring it."""
        try:
            answers = tuple(self._answer_to(at, query, known) for query in questions)
        except Exception as error:  # noqa: BLE001 - told as this one's
            self._ended[at] = error
        else:
            self._go_on(at, answers)

    def _answer_to(self, at: int, query: Query, known: Mapping[Query, Answer | PrometheusError]) -> Answer:
        found = known.get(query) if query.about is not None else None
        if isinstance(found, PrometheusError):
            raise found
        return self.readings[at][1](query) if found is None else found

    def _asked_as_one(
        self, wanted: Mapping[int, tuple[Query, ...]]
    ) -> tuple[dict[Query, Answer | PrometheusError], set[Query]]:
        """What several ask about targets, in one question; and what was too much for one."""
        asker = {query: at for at, queries in wanted.items() for query in queries}
        known: dict[Query, Answer | PrometheusError] = {}
        refused: set[Query] = set()
        for question, queries in joined(asker):
            try:
                answer = self.readings[asker[queries[0]]][1](question)
            except PrometheusError as error:
                if isinstance(error, REFUSED) or error.reason in SLOW:
                    refused.update(queries)
                else:
                    known |= dict.fromkeys(queries, error)
                continue
            for query in queries:
                own = None if query.about is None else part(answer, query.about)
                if own is not None:
                    known[query] = own
        return known, refused
