"""What it costs to show what others conclude: a follower's and an overview's looks at a ledger in PostgreSQL.

python -m tests.bench followers [SLOS]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.databases import Database
from slo_budget_tracker.density import density_of
from slo_budget_tracker.following import LeadersLedger
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.moves import Moves
from slo_budget_tracker.onlookers import Onlooker
from slo_budget_tracker.overviews import ShardsLedgers
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.shards import Shard
from tests.bench.stores import row
from tests.postgresql import PostgreSQLServer, postgresql_binary
from tests.unit.cycling import Client, Clock, settings
from tests.unit.serving import BEGIN, INTERVAL, Server, availability, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400


@dataclass
class Cost:
    """Seconds of wall time and of CPU: of reading all of a ledger, of reading what a tick brought, of showing it."""

    whole: tuple[float, float]
    read: list[tuple[float, float]] = field(default_factory=list)
    shown: list[tuple[float, float]] = field(default_factory=list)

    def __str__(self) -> str:
        told = [f"all {self.whole[0]:.3f} s ({self.whole[1]:.3f})"]
        for name, costs in (("what a tick brought", self.read), ("showing it", self.shown)):
            wall, cpu = (median(one[place] for one in costs) for place in (0, 1))
            told.append(f"{name} {wall:.3f} s ({cpu:.3f})")
        return ", ".join(told)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and CPU of this process."""
    begun, worked = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begun, time.process_time() - worked


def by_name(runs: Cycle | Onlooker) -> dict[str, object]:
    """What is shown."""
    return {one.name: one for one in runs.publisher.snapshots}


def measure(url: str, *, slos: int, days: int = 30, ticks: int = 5) -> dict[str, Cost]:
    """The looks of a follower, and of an overview of one shard, at as many SLOs."""
    catalogue = [availability(f"slo-{number}", window=days * DAY) for number in range(slos)]
    clock, server = Clock(), Server(traffic(Server().db))
    shard, base = Shard(0, 1), Database.of(url)
    home = Database(base.url, namespace=shard.namespace(base.namespace))
    with Ledger.open(home) as ledger:
        cycle = Cycle.begin(
            settings(),
            catalogue,
            ledger,
            sources={"default": Client(server, clock)},
            clock=clock,
            moves=Moves.of(ledger, shard, base=base.namespace, holder="bench"),
        )
        ids = np.array(sorted(cycle.evaluator.ids.values()))
        generator = np.random.default_rng(1)
        spans = ledger.history.density.spans(BEGIN - days * DAY, BEGIN, interval=INTERVAL, delay=30)
        for part in range(0, len(spans), 500):
            ledger.commit(Entry(rows=[row(generator, span, ids) for span in spans[part : part + 500]]))

        def tick() -> None:
            clock.now += INTERVAL
            cycle.tick()

        tick()
        sights = {"follower": LeadersLedger(home), "overview": ShardsLedgers(base)}
        found = {}
        for name, sight in sights.items():
            one = Onlooker(settings(), catalogue, Publisher(clock=clock), sight)
            read = partial(sight.refresh, density_of(catalogue, interval=settings().evaluation.interval))
            found[name] = Cost(timed(read))
            for _ in range(ticks):
                tick()
                found[name].read.append(timed(read))
                one._stale = True
                found[name].shown.append(timed(one.look))
            assert by_name(cycle) == by_name(one)
            one.leave()
    return found


def main() -> None:
    """A table of what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("slos", nargs="?", type=int, default=1_000)
    slos = parser.parse_args().slos
    if postgresql_binary() is None:
        print("PostgreSQL is not installed: apt-get install postgresql")
        return
    with PostgreSQLServer() as server:
        print(f"{slos:,} SLOs of 30 days; wall time (CPU)")
        for name, cost in measure(server.url(), slos=slos).items():
            print(f"{name}: {cost}")
