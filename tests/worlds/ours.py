"""This project's own way over the worlds: the daemon's client, planner, counting and ledger, as `evaluate` runs them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from slo_budget_tracker.api import Source
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.filling import Filler
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, RequestsSli, workbook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.history import History
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.ticks import WindowCounts
    from tests.worlds.history import World

INTERVAL, DELAY = 60, 30
TARGET = Decimal("0.999")
WINDOW = 30 * 86_400


@contextmanager
def asking(url: str, *, timeout: float = 60) -> Iterator[dict[str, Ask]]:
    """The daemon's own client for one server, as the only datasource."""
    client = Prometheus(Source(url, timeout=timeout, headers={}))
    try:
        yield {"default": lambda query: client.ask(query, budget_seconds=timeout)}
    finally:
        client.close()


def availability(name: str, *, total: str, bad: str) -> SLO:
    """An availability SLO of 30 days with the workbook's alerts."""
    alerts, _ = workbook(TARGET, WINDOW, tick=INTERVAL)
    sli = RequestsSli(total=(parse_selector(total),), bad=(parse_selector(bad),))
    return SLO(name=name, target=TARGET, window=WINDOW, sli=sli, alerts=alerts)


def slos(worlds: Sequence[World]) -> list[SLO]:
    """One SLO for each world, named after it."""
    return [availability(world.name, total=world.total, bad=world.bad) for world in worlds]


@dataclass
class Filled:
    """A ledger's history after a fill (or live ticks), and what it cost."""

    history: History
    ids: dict[str, int]
    seconds: float
    samples: int = 0
    doubts: Counter[str] = field(default_factory=Counter)

    def window(self, name: str, at: int, seconds: int) -> WindowCounts:
        """The counts of one SLO in (at - seconds, at]."""
        return self.history.window(at, [seconds])[self.ids[name]][seconds]


def fill(url: str, worlds: Sequence[World], *, at: int) -> Filled:
    """The first fill of a fresh ledger at `at`: 30 days from Prometheus' history."""
    started = time.perf_counter()
    with asking(url) as asks, Ledger.open("sqlite://") as ledger:
        evaluator = Evaluator(
            slos=slos(worlds), ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY
        ).prepare(at)
        filler = Filler(
            slos=evaluator.slos, ids=evaluator.ids, until=at, filled_to=at, interval=INTERVAL, delay=DELAY
        ).prepare()
        while (filled := filler.step(asks)) is not None:
            ledger.stage(filled.rows)
            ledger.commit(Entry(rows=filled.rows))
        seconds = time.perf_counter() - started
        return Filled(ledger.history, dict(evaluator.ids), seconds, filler.samples, filler.doubts)


def run(url: str, worlds: Sequence[World], *, start: int, end: int) -> Filled:
    """Live ticks over past time: the ledger is born at `start`, then every tick up to `end` is read and stepped."""
    started = time.perf_counter()
    with asking(url) as asks, Ledger.open("sqlite://") as ledger:
        evaluator = Evaluator(slos=slos(worlds), ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY)
        evaluator.prepare(start)
        samples, doubts = 0, Counter()
        for at in range(start + INTERVAL, end + 1, INTERVAL):
            report = evaluator.advance(at)
            assert not report.errors, report.errors
            samples += report.samples
            doubts.update(report.doubts)
        return Filled(ledger.history, dict(evaluator.ids), time.perf_counter() - started, samples, doubts)
