"""Publishing: the last verdicts and the daemon's figures about itself, rendered once per change."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prometheus_client import ProcessCollector

from slo_budget_tracker import __version__
from slo_budget_tracker.figures import OwnFigures
from slo_budget_tracker.gauges import identity, render
from slo_budget_tracker.readiness import STARTING, Readiness
from slo_budget_tracker.web import Display, compose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.gauges import Identity
    from slo_budget_tracker.prometheus import Prometheus
    from slo_budget_tracker.snapshots import SLOSnapshot

FRESH_FOR = 3  # intervals after which a view is too old


@dataclass(slots=True)
class Publisher:
    """Holds what is shown; any thread may note figures, who publishes swaps the view once."""

    clock: Callable[[], float] = time.time
    display: Display = field(default_factory=lambda: Display(compose(unready=[STARTING])))
    readiness: Readiness = field(default_factory=Readiness)
    own: OwnFigures = field(default_factory=OwnFigures)
    _guard: threading.RLock = field(default_factory=threading.RLock)

    def note(self, **figures: Any) -> None:
        """Replace some of the daemon's figures; they are shown with the next view."""
        with self._guard:
            self.own = replace(self.own, **figures)

    def count(self, **further: Mapping[str, int]) -> None:
        """Add to counters that are kept by label."""
        with self._guard:
            now = {name: dict(getattr(self.own, name)) for name in further}
            self.note(**{name: dict(Counter(now[name]) + Counter(more)) for name, more in further.items()})

    def publish(
        self,
        evaluator: Evaluator,
        sources: Mapping[str, Prometheus],
        snapshots: tuple[SLOSnapshot, ...],
    ) -> None:
        """Render once, swap once."""
        stats = evaluator.ledger.stats()
        with self._guard:
            self.note(
                version=__version__,
                slos=len(evaluator.slos),
                requests={
                    (name, outcome): number
                    for name, client in sources.items()
                    for outcome, number in client.stats.requests.items()
                },
                samples_read={name: client.stats.samples for name, client in sources.items()},
                outbox_pending=stats.events_pending,
                ledger_bytes=stats.bytes,
                ledger_rows=stats.rows,
                process=tuple(ProcessCollector(registry=None).collect()),
            )
            now = self.clock()
            metrics = render(snapshots, evaluator.slos, self.own, now=now, data_until=_data_until(evaluator))
            self.display.view = compose(
                metrics=metrics,
                snapshots=snapshots,
                unready=self.readiness.reasons(),
                fresh_until=time.monotonic() + FRESH_FOR * evaluator.interval,
            )


def _data_until(evaluator: Evaluator) -> dict[Identity, float]:
    """The end of each SLO's newest known tick."""
    known = {slo.name: evaluator.data_until.get(slo.name) for slo in evaluator.slos}
    return {identity(name, {}): until for name, until in known.items() if until is not None}
