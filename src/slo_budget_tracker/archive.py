"""The archive: what the ledger remembers, for whoever shows it, from any thread."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker import timeline
from slo_budget_tracker.annotations import add_annotation, find_annotations, remove_annotation
from slo_budget_tracker.instances import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.annotations import Annotation, Marked, Sought
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.ticks import WindowCounts


@dataclass(slots=True)
class Archive:
    """Reads of an open ledger; made anew whenever its instances may have changed."""

    ledger: Ledger
    _ids: dict[tuple[str, str], int] | None = field(default=None)

    def courses(
        self,
        name: str,
        labels: Mapping[str, str],
        ends: Sequence[int],
        windows: Iterable[int],
        width: int | None = None,
    ) -> Mapping[int, Sequence[WindowCounts]] | None:
        """What is known of each window that ends at each instant; None when there is no such instance.

        Of slices of that width, which end at the instants, only those that are over.
        """
        with self.ledger.still():
            instance = self._instance(name, labels)
            if instance is None:
                return None
            return self.ledger.history.courses(instance, ends, windows, width=width)

    def born(self, name: str, labels: Mapping[str, str]) -> int | None:
        """The data instant at which an instance was first known; None when there is no such instance."""
        with self.ledger.still():
            instance = self._instance(name, labels)
            return None if instance is None else self.ledger.born(instance)

    def _instance(self, name: str, labels: Mapping[str, str]) -> int | None:
        if self._ids is None:
            self._ids = {
                (one.slo, canonical(one.labels)): number
                for number, one in self.ledger.instances.items()
                if one.retired is None
            }
        return self._ids.get((name, canonical(labels)))

    def events(self, wanted: timeline.Wanted) -> timeline.Found:
        """The events that are wanted, newest first.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with self.ledger.transaction() as connection:
            return timeline.find(connection, wanted)

    def marks(self, sought: Sought) -> Marked:
        """The annotations that are sought, newest first.

        Raises:
            LedgerError: the file cannot be read now.
        """
        with self.ledger.transaction() as connection:
            return find_annotations(connection, sought)

    def annotate(self, one: Annotation) -> bool:
        """Keep an annotation; False when it is there already.

        Raises:
            LedgerError: it cannot be written now.
        """
        with self.ledger.transaction() as connection:
            return add_annotation(connection, one)

    def erase(self, mark_id: str) -> bool:
        """Take an annotation away; False when there is none.

        Raises:
            LedgerError: it cannot be written now.
        """
        with self.ledger.transaction() as connection:
            return remove_annotation(connection, mark_id)
