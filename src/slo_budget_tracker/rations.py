"""Rations: how many requests one tick may take; what is over waits for the next tick, and comes first then.

A usual tick takes far less. What asks for much more at once (all targets restarted, hours to be caught up,
ten thousand metrics to be compared with what came late) is spread over ticks: what waits is read later, never
left out. Nobody may fall behind for ever, so a ration is never less than what a tick takes in which nothing
happens, and a third more.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slo_budget_tracker.answers import Answer, Query, RangeQuery
    from slo_budget_tracker.reading import Ask, Unit

A_TICK = 950  # requests, after which nothing further is begun: with what is under way then, about a thousand


@dataclass(slots=True)
class Ration:
    """Counts what each datasource is asked in one tick, from any thread.

    Attributes:
        most: requests in a tick; None is no bound.
        usual: requests that a tick takes in which nothing happens, by datasource.
    """

    most: int | None = None
    usual: Mapping[str, int] = field(default_factory=dict)
    _asked: Counter[str] = field(default_factory=Counter)
    _guard: Lock = field(default_factory=Lock)

    def begin(self, usual: Mapping[str, int]) -> None:
        """A new tick."""
        with self._guard:
            self.usual = usual
            self._asked.clear()

    def used_up(self, datasource: str) -> bool:
        """Whether nothing further of this tick is begun."""
        if self.most is None:
            return False
        usual = self.usual.get(datasource, 0)
        with self._guard:
            return self._asked[datasource] >= max(self.most, usual + usual // 3)

    def counted(self, asks: Mapping[str, Ask]) -> dict[str, Ask]:
        """The same ways to ask, each request counted."""
        return {name: partial(self._ask, name, ask) for name, ask in asks.items()}

    def _ask(self, datasource: str, ask: Ask, query: Query | RangeQuery) -> Answer:
        with self._guard:
            self._asked[datasource] += 1
        return ask(query)


def usual(units: Iterable[Unit], joined: Callable[[Unit], str | None]) -> Counter[str]:
    """How many requests a tick takes in which nothing happens, by datasource."""
    found: Counter[str] = Counter()
    joints: set[str] = set()
    for unit in units:
        joint = joined(unit)
        if joint is None:
            found[unit.datasource] += sum(feed.width for feed in unit.feeds) or 1
        elif joint not in joints:
            joints.add(joint)
            found[unit.datasource] += 1
    return found
