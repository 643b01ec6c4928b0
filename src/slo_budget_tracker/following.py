"""Following: what a daemon shows while another one leads: the ledger's last verdicts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.lookout import looked
from slo_budget_tracker.sources import clients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.changes import Change
    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.publishing import Publisher
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO

LOOKS = 4  # in an interval

log = structlog.get_logger()


@dataclass(slots=True)
class Follower:
    """Reads the ledger that another daemon writes, and publishes it; steps nothing, sends nothing."""

    settings: Settings
    slos: Sequence[SLO]
    publisher: Publisher
    database: Database
    stop: threading.Event = field(default_factory=threading.Event)
    _ledger: Ledger | None = None
    _next: float = 0.0  # monotonic
    _any_change_at: float = 0.0  # monotonic
    _stale: bool = True
    _trouble: str = ""
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def adopt(self, settings: Settings, slos: Sequence[SLO]) -> tuple[Change, ...]:
        """Show another catalogue, as far as the leader knows it; nothing is told: that is the leader's."""
        with self._guard:
            self.settings, self.slos, self._stale = settings, slos, True
        return ()

    def look(self) -> None:
        """Publish what the leader has written since the last look; troubles are told once."""
        with self._guard:
            if time.monotonic() < self._next and not self._stale:
                return
            self._next = time.monotonic() + self.settings.evaluation.interval / LOOKS
            try:
                fresh = self._read()
                if fresh or self._stale:
                    self._show()
            except LedgerError as error:
                self.suffer(str(error))
                return
            self._stale = False
            self._recover()

    def suffer(self, why: str) -> None:
        """Say why nothing newer can be shown."""
        if self._trouble != why:
            log.warning("trouble", of="ledger", detail=why)
        self._trouble = why
        self.publisher.readiness.troubles = {"ledger": why}
        self.leave()
        self.publisher.refresh()

    def leave(self) -> None:
        """Read no more."""
        ledger, self._ledger, self._stale = self._ledger, None, True
        if ledger is not None:
            ledger.close()

    def _recover(self) -> None:
        if self._trouble:
            log.info("trouble is over", of="ledger")
        self._trouble = ""
        self.publisher.readiness.troubles = {}
        self.publisher.refresh()

    def _read(self) -> bool:
        """Whether there is anything new."""
        now = time.monotonic()
        if self._ledger is None:
            self._ledger = Ledger.open(self.database, read_only=True)
            fresh = True
        else:
            fresh = self._ledger.refresh(any_change=now >= self._any_change_at)
        if fresh:
            self._any_change_at = now + self.settings.evaluation.interval
        return fresh

    def _show(self) -> None:
        assert self._ledger is not None
        found = looked(self._ledger, self.slos, self.settings)
        if found is None:
            return
        self.publisher.readiness.ticked = True
        self.publisher.publish(found.evaluator, clients(self.settings), found.snapshots)
        display = self.publisher.display
        display.notebook = display.notebook._replace(add=self._refused, erase=self._refused)

    def _refused(self, _: object) -> bool:
        leader = self.publisher.display.role.leader or "another daemon"
        raise LedgerError(f"marks are taken by the daemon that leads, and that is {leader}")
