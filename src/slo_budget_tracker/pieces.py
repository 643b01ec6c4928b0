"""Pieces: what one transaction of a tick is to write, as it comes together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.outcomes import NO_DATA
from slo_budget_tracker.rows import Row
from slo_budget_tracker.slices import Part
from slo_budget_tracker.ticks import Counts, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reports import Attempt
    from slo_budget_tracker.slices import Cut
    from slo_budget_tracker.ticks import Tick
    from slo_budget_tracker.verdict import Transition


@dataclass(slots=True)
class Piece:
    """What one transaction is to write."""

    counts: dict[str, dict[int, Counts]] = field(default_factory=dict)
    found: dict[Tick, dict[int, Counts]] = field(default_factory=dict)
    memories: dict[str, Memory] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    states: dict[int, Mapping[str, AlertState]] = field(default_factory=dict)
    stepped: dict[int, int] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    revised: int = 0
    spans: dict[Tick, dict[int, Counts]] = field(default_factory=dict)  # that are no ticks

    def add(self, attempt: Attempt, ids: Mapping[str, int]) -> None:
        """The counts of one attempt that was read."""
        assert attempt.reading is not None
        self.memories.update(attempt.reading.memories)
        counts = {key: of_key for key, of_key in attempt.reading.counts.items() if key in ids}
        for key, of_key in counts.items():
            self.counts.setdefault(key, {}).update(of_key)
        for tick in attempt.ticks:
            row = {ids[key]: of_key[tick.end] for key, of_key in counts.items() if tick.end in of_key}
            self.found.setdefault(tick, {}).update(row)

    def add_unknown(self, name: str, instance: int, ticks: Iterable[Tick]) -> None:
        """Ticks of one SLO that were given up."""
        for tick in ticks:
            counts = self.counts.setdefault(name, {})[tick.end] = Counts(0, 0, Outcome.UNKNOWN)
            self.found.setdefault(tick, {})[instance] = counts

    def add_absent(self, found: Mapping[Tick, Iterable[int]]) -> None:
        """Spans that are over, and in which some had no series: written, not stepped."""
        for span, instances in found.items():
            self.spans.setdefault(span, {}).update(dict.fromkeys(instances, NO_DATA))

    def rows(self) -> list[Row]:
        """The counts by tick, oldest first, then those of other spans."""
        rows = [Row.of(tick, self.found[tick]) for tick in sorted(self.found) if self.found[tick]]
        return [*rows, *(Row.of(span, self.spans[span]) for span in sorted(self.spans))]

    def take(self, key: str, instance: int) -> list[Part]:
        """The ticks of an SLO that counts slices; they are no rows of their own any more."""
        taken = [tick for tick in sorted(self.found) if self.found[tick].pop(instance, None) is not None]
        return [Part.of(tick, self.counts[key][tick.end]) for tick in taken]

    def put_slices(self, instance: int, cut: Cut) -> None:
        """Slices that are over, and the ticks of the one that is not."""
        for span, counts in cut.over.items():
            self.spans.setdefault(span, {})[instance] = counts
        for part in (part for parts in cut.begun.values() for part in parts):
            counts = Counts(part.total, part.bad, part.outcome)
            self.found.setdefault(part.span, {})[instance] = counts

    def entry(self) -> Entry:
        """All of it, for the ledger."""
        return Entry(
            rows=self.rows(),
            states=self.states,
            events=self.transitions,
            memories={key: memory.dumps() for key, memory in self.memories.items()},
            cursors=self.cursors,
            slo_cursors=self.stepped,
        )
