"""The daemon's tick with a clock of the bench's own, and its first fill."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slo_budget_tracker import filling, specfiles
from slo_budget_tracker.daemon import asks, clients
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.figures import OwnFigures
from slo_budget_tracker.filling import Filler
from slo_budget_tracker.gauges import render
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slo_budget_tracker.prometheus import Prometheus
    from slo_budget_tracker.settings import Settings

DAY = 86_400


@dataclass
class Stepped:
    """An evaluator on a SQLite ledger, ticked at given instants; each tick renders the gauges as the daemon does."""

    evaluator: Evaluator
    sources: Mapping[str, Prometheus]
    page: bytes = b""

    @classmethod
    def open(
        cls, config: Path, *, at: int, made: Callable[[Settings], Mapping[str, Prometheus]] = clients
    ) -> Stepped:
        """Read the configuration and the SLO files, open the ledger, plan; `made` makes who is asked."""
        settings = load_settings(config, {})
        slos = specfiles.load(settings.slo_files).slos
        sources = made(settings)
        evaluator = Evaluator(
            slos=slos,
            ledger=Ledger.open(settings.ledger.url),
            asks=asks(sources, budget=60),
            interval=settings.evaluation.interval,
            delay=settings.evaluation.delay,
            workers=settings.concurrency,
        )
        return cls(evaluator.prepare(at), sources)

    def tick(self, at: int) -> dict[str, int]:
        """One tick; its outcomes."""
        report = self.evaluator.advance(at)
        assert not report.errors, report.errors
        self.page = render(report.snapshots, self.evaluator.slos, OwnFigures(), now=time.time())
        return dict(report.outcomes)

    def requests(self) -> int:
        """Requests so far."""
        return sum(sum(client.stats.requests.values()) for client in self.sources.values())

    def samples(self) -> int:
        """Samples read so far."""
        return sum(client.stats.samples for client in self.sources.values())

    def age(self, *, days: int, share: float = 0.002) -> None:
        """Give the ledger the rows it would have after so many days, and mark them as filled."""
        ledger, ids = self.evaluator.ledger, np.array(sorted(self.evaluator.ids.values()))
        random = np.random.default_rng(1)
        end = min(ledger.born(int(one)) for one in ids)
        rows = []
        for step, until in ((300, end - 3 * DAY), (3_600, end - days * DAY)):
            while end > until:
                total = random.poisson(25.0 * step, len(ids)).astype(float)
                nothing = np.zeros(len(ids), np.int32)
                rows.append(
                    Row(
                        start=end - step,
                        end=end,
                        ids=ids,
                        total=total,
                        bad=random.poisson(share * total).astype(float),
                        known=np.full(len(ids), step, np.int32),
                        partial=nothing,
                        absent=nothing,
                        outcome=np.zeros(len(ids), np.uint8),
                    )
                )
                end -= step
        for first in range(0, len(rows), 100):
            piece = rows[first : first + 100]
            ledger.stage(piece)
            ledger.commit(Entry(rows=piece, cursors={f"fill/{one}": piece[-1].start for one in ids.tolist()}))

    def close(self) -> None:
        """Close the ledger and the clients."""
        self.evaluator.ledger.close()
        for client in self.sources.values():
            client.close()


def restore(config: Path) -> float:
    """Seconds to open the ledger, read what it remembers and render its last verdicts, as a restart does."""
    settings = load_settings(config, {})
    slos = specfiles.load(settings.slo_files).slos
    started = time.perf_counter()
    with Ledger.open(settings.ledger.url) as ledger:
        cursors = [ledger.slo_cursor(instance) for instance in ledger.instances]
        at = max(cursor for cursor in cursors if cursor is not None)
        evaluator = Evaluator(slos=slos, ledger=ledger, asks={}, interval=60, delay=30).prepare(at)
        page = render(evaluator.look(at), slos, OwnFigures(), now=time.time())
        taken = time.perf_counter() - started
    assert page.count(b"\nslo_error_budget_remaining{") == len(slos)
    return taken


def fill(
    config: Path, *, at: int, count: int | None = None, of: int | None = None, chunks: int = 10**6
) -> dict[str, Any]:
    """The first fill of a fresh ledger for the catalogue's first `count` SLOs, or only the newest chunks of it.

    `of` is how large the catalogue is that the `count` stand for: they get their share of the raw budget.
    """
    settings = load_settings(config, {})
    slos = specfiles.load(settings.slo_files).slos[:count]
    if of is not None:
        filling.RAW_BUDGET = filling.RAW_BUDGET * len(slos) // of
    sources = clients(settings)
    with Ledger.open(f"sqlite:///{config.with_name('fill.db')}") as ledger:
        evaluator = Evaluator(slos=slos, ledger=ledger, asks=asks(sources, budget=60)).prepare(at)
        filler = Filler(slos=slos, ids=evaluator.ids, until=at, filled_to=at, interval=60, delay=30).prepare()
        done = 0
        while done < chunks and (filled := filler.step(evaluator.asks, workers=1)) is not None:
            ledger.stage(filled.rows)
            ledger.commit(Entry(rows=filled.rows))
            done += 1
    config.with_name("fill.db").unlink()
    requests = sum(sum(client.stats.requests.values()) for client in sources.values())
    for client in sources.values():
        client.close()
    return {"samples": filler.samples, "requests": requests, "given_up": dict(filler.given_up)}
