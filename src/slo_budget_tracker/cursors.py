"""Cursors: up to which data instant the ledger says each unit was read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.instances import added_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.reading import Unit


@dataclass(slots=True)
class Cursors:
    """Looks up where units stand; where live ticks begin is looked up once in a call."""

    ledger: Ledger
    ids: Mapping[str, int]
    _begun_units: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """A new call."""
        self._begun_units.clear()

    def of(self, unit: Unit) -> int:
        """Up to which data instant a unit was read.

        Feeds that a changed catalogue brought together may stand at different instants. They go on at the
        newest: what is counted already must not be counted again with a memory that is ahead of it.
        """
        cursors = [self.ledger.cursor(key) for key in cursor_keys(unit)]
        known = [cursor for cursor in cursors if cursor is not None]
        begun = self._begun_units.get(unit.key)
        if begun is None:
            begun = self._begun_units[unit.key] = min(map(self._begun, unit.slos))
        if not known:
            former = [self.ledger.cursor(feed.former) for feed in unit.feeds if feed.former is not None]
            known = [cursor for cursor in former if cursor is not None]
        return max([begun, *known])

    def of_expressions(self, name: str) -> int:
        """Up to which data instant the expressions of an SLO were read."""
        return max(self.ledger.cursor(_expression_key(name)) or 0, self._begun(name))

    def _begun(self, name: str) -> int:
        """Where an SLO's live ticks begin; what another daemon counted before is not read again."""
        instance = self.ids[name]
        return max(self.ledger.born(instance), self.ledger.cursor(added_key(instance)) or 0)


def cursor_keys(unit: Unit) -> list[str]:
    """Where the ledger keeps how far a unit was read; batches may be split, so theirs are per SLO."""
    return [feed.key for feed in unit.feeds] or [_expression_key(slo) for slo in unit.slos]


def _expression_key(slo: str) -> str:
    return f"expression/{slo}"
