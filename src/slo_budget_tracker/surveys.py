"""Surveys: how often the sources of expressions are scraped, as they say when asked, a few in each tick."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from slo_budget_tracker.answers import Query
from slo_budget_tracker.errors import PrometheusError
from slo_budget_tracker.scraping import LONGEST_SCRAPE, scrape_interval, selectors_of
from slo_budget_tracker.suspicions import too_short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.specs import SLO

SURVEYED = 2  # expressions in a tick


@dataclass(slots=True)
class Surveys:
    """What is known of a catalogue's expressions with short windows."""

    slos: Sequence[SLO]
    _asked: dict[str, float | None] = field(default_factory=dict)  # by SLO: what its source said

    @property
    def spacings(self) -> dict[str, float]:
        """Seconds between two scrapes, by SLO."""
        return {name: seconds for name, seconds in self._asked.items() if seconds is not None}

    def inherit(self, old: Surveys) -> None:
        """What is the same need not be asked again."""
        known = {slo.name: slo for slo in old.slos}
        self._asked |= {
            slo.name: old._asked[slo.name]
            for slo in self.slos
            if slo.name in old._asked and known[slo.name].sli == slo.sli
        }

    def ask(self, datasource: str, at: int, ask: Ask) -> None:
        """Ask about the next few of a datasource; it is good to know, and nothing is lost without it."""
        for slo in list(islice(self._unknown(datasource), SURVEYED)):
            assert slo.sli.kind == "promql"
            self._asked[slo.name] = None
            if any(too_short(slo, LONGEST_SCRAPE)):
                with suppress(PrometheusError):
                    read = selectors_of(slo.sli)
                    self._asked[slo.name] = scrape_interval(read, lambda text: ask(Query(text, at)))

    def _unknown(self, datasource: str) -> Iterator[SLO]:
        for slo in self.slos:
            if slo.datasource == datasource and slo.sli.kind == "promql" and slo.name not in self._asked:
                yield slo
