"""Publishing: the last verdicts and the daemon's figures about itself, rendered once per change."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import ProcessCollector

from slo_budget_tracker import __version__, logs
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.delivery import DeliveryFigures
from slo_budget_tracker.figures import OwnFigures
from slo_budget_tracker.gauges import Page, identity
from slo_budget_tracker.groups import labels_of, name_of
from slo_budget_tracker.protection import WebFigures
from slo_budget_tracker.readiness import STARTING, Readiness
from slo_budget_tracker.web import Display, Notebook, Past, compose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.gauges import Identity
    from slo_budget_tracker.prometheus import Prometheus, Stats
    from slo_budget_tracker.resources import Reloaded
    from slo_budget_tracker.roles import Role
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO

FRESH_FOR = 3  # intervals after which a view is too old


class Shown(NamedTuple):
    """What is shown of the SLOs."""

    snapshots: tuple[SLOSnapshot, ...] = ()
    slos: tuple[SLO, ...] = ()
    data_until: Mapping[Identity, float] = MappingProxyType({})
    fresh_until: float | None = None


@dataclass(slots=True)
class Publisher:
    """Holds what is shown; any thread may note figures, who publishes swaps the view once."""

    clock: Callable[[], float] = time.time
    display: Display = field(default_factory=lambda: Display(compose(unready=[STARTING])))
    readiness: Readiness = field(default_factory=Readiness)
    own: OwnFigures = field(default_factory=OwnFigures)
    delivery: Callable[[], DeliveryFigures] | None = None
    protection: Callable[[], WebFigures] | None = None
    faults: tuple[str, ...] = ()  # for which the last reload was refused
    _shown: Shown = field(default_factory=Shown)
    _page: Page = field(default_factory=Page)  # of what is shown
    _guard: threading.RLock = field(default_factory=threading.RLock)

    @property
    def snapshots(self) -> tuple[SLOSnapshot, ...]:
        """What is shown of the SLOs."""
        return self._shown.snapshots

    def note(self, **figures: Any) -> None:
        """Replace some of the daemon's figures; they are shown with the next view."""
        with self._guard:
            self.own = replace(self.own, **figures)

    def count(self, **further: Mapping[str, int]) -> None:
        """Add to counters that are kept by label."""
        with self._guard:
            now = {name: dict(getattr(self.own, name)) for name in further}
            self.note(**{name: dict(Counter(now[name]) + Counter(more)) for name, more in further.items()})

    def reloaded(self, result: Reloaded) -> None:
        """Note how a reload went; what it means for figures is published by who swapped the catalogue."""
        with self._guard:
            self.faults = tuple(result.faults)
            self.note(reload_successful=not result.faults)
            if not result.faults:
                self.note(reload_at=self.clock())
        self.refresh()

    def horizons(self, reaches: Mapping[str, float], remarks: Sequence[str]) -> None:
        """Note how far back the servers' histories reach, and what is to be known of it."""
        self.note(upstream_history=dict(reaches))
        self.display.remarks = tuple(remarks)
        self.refresh()

    def play(self, role: Role) -> None:
        """Say who leads; shown with the next view."""
        with self._guard:
            self.display.role = role
            self.note(leader=role.leads, lease_term=role.term)

    def publish(
        self,
        evaluator: Evaluator,
        sources: Mapping[str, Prometheus],
        snapshots: tuple[SLOSnapshot, ...],
        *,
        prepared: bool = True,
    ) -> None:
        """Take in what a tick concluded, render once, swap once; only who holds the cycle's lock calls it.

        Of a tick, what was asked for before is `prepared` for whoever asks next.
        """
        archive = Archive(evaluator.ledger)
        self.publish_all(
            [evaluator],
            sources,
            snapshots,
            past=Past(archive.courses, archive.events, archive.born),
            notebook=Notebook(archive.marks, archive.annotate, archive.erase),
            prepared=prepared,
        )

    def publish_all(
        self,
        evaluators: Sequence[Evaluator],
        sources: Mapping[str, Prometheus],
        snapshots: tuple[SLOSnapshot, ...],
        *,
        past: Past,
        notebook: Notebook,
        prepared: bool = True,
    ) -> None:
        """The same of several evaluators, each with some of the SLOs, and what is known of their past."""
        stats = [one.ledger.stats() for one in evaluators]
        engine, engine_version = evaluators[0].ledger.engine if evaluators else ("", "")
        slos = tuple(slo for one in evaluators for slo in one.slos)
        by_name = {name: client.stats for name, client in sources.items()}
        with self._guard:
            self.note(
                version=__version__,
                slos=len(slos),
                groups_limited={name: n for one in evaluators for name, n in one.limited().items()},
                clamped={slo.name: n for slo in slos if (n := self.own.clamped.get(slo.name))},
                requests={
                    (name, outcome): times
                    for name, asked in by_name.items()
                    for outcome, times in asked.requests.items()
                },
                samples_read={name: asked.samples for name, asked in by_name.items()},
                prometheus_up=_known(by_name, "up"),
                prometheus_auth_ok=_known(by_name, "auth_ok"),
                clock_skew=_known(by_name, "clock_skew_seconds"),
                certificate_expires_at=_known(by_name, "certificate_expires"),
                ledger_bytes=sum(one.bytes for one in stats),
                ledger_rows=sum(one.rows for one in stats),
                store_engine=engine,
                store_version=engine_version,
            )
            self.display.past, self.display.notebook = past, notebook
            self.display.datasources = {name: client.address for name, client in sources.items()}
            interval = self.display.interval
            for one in evaluators[:1]:
                self.display.interval, self.display.delay = interval, _delay = one.interval, one.delay
            known = [_data_until(one) for one in evaluators]
            self._shown = Shown(
                snapshots,
                slos,
                {key: until for one in known for key, until in one.items()},
                time.monotonic() + FRESH_FOR * interval,
            )
            self._page = Page.of(snapshots, slos, self._shown.data_until, before=self._page)
            self.refresh(prepared=prepared)

    def refresh(self, *, prepared: bool = False) -> None:
        """Show the last verdicts with the figures of now; they are rendered when somebody asks."""
        sent = DeliveryFigures() if self.delivery is None else self.delivery()
        web = WebFigures() if self.protection is None else self.protection()
        with self._guard:
            shown = self._shown
            self.note(
                outbox_pending=sent.pending,
                outbox_oldest_at=sent.oldest_at,
                deliveries=sent.deliveries,
                receipts_lost=sent.receipts_lost,
                receipt_mismatches=sent.mismatches,
                quarantined=sent.quarantined,
                audit_target_ok=sent.target_ok,
                web_config_ok=web.ok,
                web_config_failures=web.failures,
                web_certificate_expires_at=web.expires,
                web_refused=web.refused,
            )
            self.note(
                process=tuple(ProcessCollector(registry=None).collect()), log_lines_dropped=logs.dropped()
            )
            page, own, now = self._page, self.own, self.clock()
            view = compose(
                metrics=lambda: page.printed(own, now=now),
                snapshots=shown.snapshots,
                slos=shown.slos,
                unready=self.readiness.reasons(),
                fresh_until=shown.fresh_until,
                faults=self.faults,
            )
            self.display.show(view, prepared=prepared)


def _known(stats: Mapping[str, Stats], figure: str) -> dict[str, Any]:
    """A figure of each client that knows it."""
    found = {name: getattr(one, figure) for name, one in stats.items()}
    return {name: value for name, value in found.items() if value is not None}


def _data_until(evaluator: Evaluator) -> dict[Identity, float]:
    """The end of each SLO's newest known tick."""
    known = evaluator.data_until
    return {
        identity(name_of(key), labels_of(key)): known[key] for key in evaluator.instances() if key in known
    }
