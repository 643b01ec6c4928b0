"""Following: what a daemon shows while another one leads: the ledger's last verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.lookout import looked
from slo_budget_tracker.sources import clients

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.density import Density
    from slo_budget_tracker.publishing import Publisher
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO


@dataclass(slots=True)
class LeadersLedger:
    """The ledger that the leader of a pair writes."""

    database: Database
    ledger: Ledger | None = None

    def refresh(self, density: Density) -> bool:
        """Read what the leader has written since.

        Raises:
            LedgerError: it cannot be read.
        """
        if self.ledger is None:
            self.ledger = Ledger.open(self.database, read_only=True, density=density)
            return True
        return self.ledger.refresh()

    def show(self, settings: Settings, slos: Sequence[SLO], publisher: Publisher) -> Mapping[str, str]:
        """Publish its last verdicts."""
        assert self.ledger is not None
        found = looked(self.ledger, slos, settings)
        if found is None:
            return {}
        publisher.readiness.ticked = True
        publisher.publish(found.evaluator, clients(settings), found.snapshots)
        display = publisher.display

        def refused(_: object) -> bool:
            leader = display.role.leader or "another daemon"
            raise LedgerError(f"marks are taken by the daemon that leads, and that is {leader}")

        display.notebook = display.notebook._replace(add=refused, erase=refused)
        return found.faults

    def close(self) -> None:
        """Read no more."""
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            ledger.close()
