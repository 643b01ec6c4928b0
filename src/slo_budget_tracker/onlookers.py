"""Onlookers: daemons that show what others conclude: they read ledgers, evaluate nothing and send nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.readiness import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.changes import Change
    from slo_budget_tracker.density import Density
    from slo_budget_tracker.publishing import Publisher
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO

LOOKS = 4  # in an interval

log = structlog.get_logger()


class Sight(Protocol):
    """What is looked at: the ledgers, and how what is in them is published."""

    def refresh(self, density: Density) -> bool:
        """Read what is new, as closely as is said when it begins; whether anything is.

        Raises:
            LedgerError: it cannot be read.
        """

    def show(self, settings: Settings, slos: Sequence[SLO], publisher: Publisher) -> Mapping[str, str]:
        """Publish what was read; the faults of ours that were met, by SLO."""

    def close(self) -> None:
        """Read no more; the next `refresh` begins anew."""


@dataclass(slots=True)
class Onlooker:
    """Looks at a sight again and again and publishes what is new; troubles are told once."""

    settings: Settings
    slos: Sequence[SLO]
    publisher: Publisher
    sight: Sight
    stop: threading.Event = field(default_factory=threading.Event)
    _next: float = 0.0  # monotonic
    _stale: bool = True
    _density: Density | None = None
    _troubles: Mapping[str, str] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return self.settings.evaluation.interval / LOOKS

    def run(self) -> None:
        """Look again and again until the stop."""
        while not self.stop.wait(self.pause):
            self.look()
        self.leave()

    def adopt(self, settings: Settings, slos: Sequence[SLO]) -> tuple[Change, ...]:
        """Show another catalogue, as far as the ledgers know it; nothing is told: others do that."""
        with self._guard:
            self.settings, self.slos, self._stale = settings, slos, True
        return ()

    def glance(self) -> None:
        """Look, where it is time to."""
        if self._stale or time.monotonic() >= self._next:
            self.look()

    def look(self) -> None:
        """Publish what was written since the last look."""
        with self._guard:
            self._next = time.monotonic() + self.pause
            try:
                faults = self._troubles
                if self._refreshed() or self._stale:
                    faults = self.sight.show(self.settings, self.slos, self.publisher)
                    self._stale = False
                self._tell({key: fault for key, fault in faults.items() if key != "ledger"})
            except LedgerError as error:
                self._suffer("ledger", str(error))
            except Exception as error:  # noqa: BLE001 - one bad look must not end the daemon (T12)
                self._suffer("the page", f"{INTERNAL}: {type(error).__name__}: {error}")
            self.publisher.refresh()

    def suffer(self, why: str) -> None:
        """Say why nothing newer can be shown."""
        with self._guard:
            self._suffer("ledger", why)
            self.publisher.refresh()

    def leave(self) -> None:
        """Read no more."""
        with self._guard:
            self._close()

    def _refreshed(self) -> bool:
        """Whether there is anything new; other SLOs that need other densities are read anew."""
        density = density_of(self.slos, interval=self.settings.evaluation.interval)
        if density != self._density:
            self._close()
            self._density = density
        return self.sight.refresh(density)

    def _suffer(self, of: str, why: str) -> None:
        self._tell({of: why})
        self._close()

    def _close(self) -> None:
        self.sight.close()
        self._stale = True

    def _tell(self, now: Mapping[str, str]) -> None:
        """One line when a trouble starts, one when it ends."""
        for key in sorted(key for key in now if now[key] != self._troubles.get(key)):
            log.warning("trouble", of=key, detail=now[key])
        for key in sorted(self._troubles.keys() - now.keys()):
            log.info("trouble is over", of=key)
        self._troubles = self.publisher.readiness.troubles = now
