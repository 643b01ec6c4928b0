"""Doubts: events that were attempted and not confirmed are looked for before they are sent again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.receipts import adoptable
from slo_budget_tracker.searches import Search

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.auditstream import AuditStream
    from slo_budget_tracker.couriers import Server
    from slo_budget_tracker.outbox import Outbox, Parcel

BEFORE = 3_600  # seconds: what was confirmed so long before an attempt has a lower number, whatever clocks do


@dataclass(slots=True)
class Doubts:
    """Finds out which of the events the server has; what it finds is confirmed at once, and kept in mind."""

    stream: AuditStream
    server: Server
    outbox: Outbox
    clock: Callable[[], float]
    pause: Callable[[float], bool]  # whether to stop
    deliveries: Counter[str]
    settle: float  # seconds after which what is still not there is taken not to come
    _search: Search | None = None

    def clear_up(self, queues: Mapping[str, Sequence[Parcel]]) -> bool:
        """Look for what is in doubt; whether the search has come to its end.

        At first contact after the ledger was put back from a copy, for everything that the server has of us
        since: the same transitions are found out once more.

        Raises:
            AuditError: the server cannot be asked now.
        """
        instances = self.outbox.instances()
        first = self.server.known is None and len(instances) > 1
        if not first and not any(one.state == "attempted" for queue in queues.values() for one in queue):
            return True
        if self._search is None:
            self._search = Search(instances)
        if first and not self._go_on(self._search, None, self._since_reset()):
            return False
        self.server.known = self._search.found
        doubtful = self.outbox.doubtful()
        if not doubtful:
            return True
        if not self._found(self._search, doubtful):
            return False
        missing = self._missing(doubtful)
        if missing and not self.pause(self.settle):  # the last request may still be on its way in
            if not self._found(self._search, missing):
                return False
            self.outbox.resume([one.event_id for one in self._missing(missing)])
        return True

    def forget(self) -> None:
        """The server is not what it was: nothing is known of it."""
        self.server.known = self._search = None

    def _since_reset(self) -> int:
        reset_at = self.outbox.fact("reset_at")
        return self.outbox.floor(before=None if reset_at is None else int(reset_at))

    def _found(self, search: Search, doubtful: Sequence[Parcel]) -> bool:
        """Search for events and take over what is found; whether the search has come to its end."""
        begun = min(one.attempted_at or 0 for one in doubtful)
        return self._go_on(search, doubtful, self.outbox.floor(before=begun - BEFORE))

    def _go_on(self, search: Search, doubtful: Sequence[Parcel] | None, floor: int) -> bool:
        wanted = None if doubtful is None else {one.event_id for one in doubtful}
        try:
            return search.go_on(self.stream, wanted=wanted, floor=floor, stop=lambda: self.pause(0))
        finally:
            if doubtful is not None:
                self._adopt(search, doubtful)

    def _adopt(self, search: Search, doubtful: Iterable[Parcel]) -> None:
        found = [(one, receipt) for one in doubtful if (receipt := adoptable(one, search.found))]
        if not found:
            return
        self.outbox.confirm({one.event_id: receipt for one, receipt in found}, at=int(self.clock()))
        for one, receipt in found:
            self.server.gave(one, receipt)
        with self.server.lock:
            self.deliveries["adopted"] += len(found)

    def _missing(self, doubtful: Sequence[Parcel]) -> list[Parcel]:
        known = self.server.known or {}
        return [one for one in doubtful if adoptable(one, known) is None]
