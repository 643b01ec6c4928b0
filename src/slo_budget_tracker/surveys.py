"""Surveys: how often the sources of expressions are scraped, as they say when asked, a few in each tick."""

from __future__ import annotations

from dataclasses import dataclass, field
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
AGAIN = 600  # seconds after which one of which nothing could be told is asked again


@dataclass(slots=True)
class Surveys:
    """What is known of a catalogue's expressions with short windows."""

    slos: Sequence[SLO]
    _asked: dict[str, float | None] = field(default_factory=dict)  # by SLO: what its source said
    _in_vain: dict[str, int] = field(default_factory=dict)  # by SLO: when it was asked and nothing was said

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
            if slo.name in old._asked
            and (known[slo.name].sli, known[slo.name].datasource) == (slo.sli, slo.datasource)
        }

    def ask(self, datasource: str, at: int, ask: Ask) -> None:
        """Ask about the next few of a datasource; it is good to know, and nothing is lost without it."""
        due = sorted(self._unknown(datasource, at), key=lambda slo: self._in_vain.get(slo.name, 0))
        for slo in due[:SURVEYED]:
            assert slo.sli.kind == "promql"
            seconds = None
            if any(too_short(slo, LONGEST_SCRAPE)):
                try:
                    seconds = scrape_interval(selectors_of(slo.sli), lambda text: ask(Query(text, at)))
                except PrometheusError:
                    self._in_vain[slo.name] = at
                    continue
            self._asked[slo.name] = seconds

    def _unknown(self, datasource: str, at: int) -> Iterator[SLO]:
        """Of whom nothing is known, but for those that were asked in vain just now."""
        for slo in self.slos:
            if slo.datasource == datasource and slo.sli.kind == "promql" and slo.name not in self._asked:
                tried = self._in_vain.get(slo.name)
                if tried is None or at - tried >= AGAIN:
                    yield slo
