"""Errands: what is asked beside the ticks, each datasource in a thread of its own: none delays another.

Ticks do not wait for an errand. Everything in it but the asking itself is done under the guard that ticks
hold too: it is let go of for the time of each question. What is of no use any more when the answer is there,
as another catalogue runs or a ledger was read anew, is an error like any other that a server gives.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.errors import OVERTAKEN, Unreachable
from slo_budget_tracker.reports import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.answers import Answer, Query, RangeQuery
    from slo_budget_tracker.reading import Ask

    Work = Callable[[Tally, Ask], None]


@dataclass(frozen=True, slots=True)
class Beside:
    """How to ask beside the ticks, and what whoever steps and writes holds meanwhile."""

    asks: Mapping[str, Ask]
    guard: threading.Lock


@dataclass(slots=True)
class Errands:
    """At most one errand for each datasource at a time; who calls holds the guard."""

    beside: Beside
    _busy: set[str] = field(default_factory=set)
    _done: list[Tally] = field(default_factory=list)
    _over: bool = False

    def start(self, datasource: str, work: Work) -> bool:
        """Do this once the caller lets go of the guard; False while the one before is still under way."""
        if datasource in self._busy or self._over:
            return False
        self._busy.add(datasource)
        name = f"errand {datasource}"
        threading.Thread(target=self._run, args=(datasource, work), name=name, daemon=True).start()
        return True

    def taken(self) -> list[Tally]:
        """What came of those that are done."""
        done = list(self._done)
        self._done.clear()
        return done

    def inherit(self, old: Errands) -> None:
        """What came of another's errands is told here, those that are still under way included."""
        self._done = old._done

    def end(self) -> None:
        """What is under way is of no use any more, and begins nothing new."""
        self._over = True

    def _run(self, datasource: str, work: Work) -> None:
        report = Tally()

        def ask(query: Query | RangeQuery) -> Answer:
            if not self._over:
                self.beside.guard.release()
                try:
                    answer = self.beside.asks[datasource](query)
                finally:
                    self.beside.guard.acquire()
                if not self._over:
                    return answer
            raise Unreachable("nobody wants to know any more", reason=OVERTAKEN)

        with self.beside.guard:
            try:
                if not self._over:
                    work(report, ask)
            finally:
                self._busy.discard(datasource)
                self._done.append(report)
