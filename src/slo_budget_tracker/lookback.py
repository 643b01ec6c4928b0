"""Lookback: what is asked once a tick was read: what came late for those before it, how often it is scraped.

It is done at the end of a call, where all have answered; or as errands beside the calls, for each datasource
that has answered, once for each of its ticks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slo_budget_tracker.attempts import Attempts
    from slo_budget_tracker.errands import Errands
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.rechecks import Rechecks
    from slo_budget_tracker.reports import Tally
    from slo_budget_tracker.surveys import Surveys


@dataclass(slots=True)
class Lookback:
    """Looks back on a catalogue's ticks; `surveyed`: sources are asked how often they are scraped, too."""

    surveys: Surveys
    surveyed: bool
    errands: Errands | None = None
    _looked_at: dict[str, int] = field(default_factory=dict)  # by datasource, data instant

    def run(self, rechecks: Rechecks, report: Tally, *, enough: Callable[[], bool]) -> None:
        """Look back now, or send somebody who does."""
        attempts = rechecks.attempts
        if self.errands is not None:
            self._send(self.errands, rechecks, report)
        elif not attempts.under_way:
            attempts.fresh()
            rechecks.run(report, enough=enough)
            for name, goal in attempts.goals.items() if self.surveyed else ():
                if _units_of(name, attempts) - report.errors.keys():
                    self.surveys.ask(name, goal, attempts.asks[name])

    def _send(self, errands: Errands, rechecks: Rechecks, report: Tally) -> None:
        attempts = rechecks.attempts
        for name in attempts.goals.keys() - attempts.under_way:
            goal = attempts.goals[name]
            if self._looked_at.get(name) == goal:
                continue
            units = _units_of(name, attempts)
            failing = units & report.errors.keys()
            surveyed_at = goal if self.surveyed and failing != units else None
            work = partial(self._errand, rechecks, name, failing=failing, surveyed_at=surveyed_at)
            if errands.start(name, work):
                self._looked_at[name] = goal

    def _errand(
        self,
        rechecks: Rechecks,
        name: str,
        report: Tally,
        ask: Ask,
        *,
        failing: set[str],
        surveyed_at: int | None,
    ) -> None:
        rechecks.beside(name, failing, report, ask)
        if surveyed_at is not None:
            self.surveys.ask(name, surveyed_at, ask)

    def inherit(self, old: Lookback) -> None:
        """Go on with what another catalogue's sources said, and tell what its errands have found."""
        self.surveys.inherit(old.surveys)
        if self.errands is not None and old.errands is not None:
            self.errands.inherit(old.errands)

    def taken(self) -> Sequence[Tally]:
        """What came of errands that are done."""
        return () if self.errands is None else self.errands.taken()

    def end(self) -> None:
        """Nothing is asked any more."""
        if self.errands is not None:
            self.errands.end()


def _units_of(datasource: str, attempts: Attempts) -> set[str]:
    return {unit.key for unit in attempts.units if unit.datasource == datasource}
