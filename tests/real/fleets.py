"""Shards of one catalogue over one PostgreSQL and a Prometheus in memory, each a cycle that a test ticks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from slo_budget_tracker.backfill import fillers
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.databases import Database
from slo_budget_tracker.instances import fill_key
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.moves import Moves
from slo_budget_tracker.shards import Shard, owner
from tests.unit.cycling import Client, Clock, settings
from tests.unit.serving import INTERVAL, Server, availability, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = [f"slo-{n}" for n in range(12)]
SLOS = [availability(name) for name in NAMES]


def burning():
    """Half of all requests fail for half an hour: each alert starts before the 30th tick and ends after it."""
    return Server(traffic(Server().db, broken=(0, 1_800)))


@dataclass
class Fleet:
    """Daemons of one catalogue over one Prometheus in memory; each is a cycle on a ledger of its own."""

    base: Database
    drop: Callable[[], None]
    slos: list = field(default_factory=lambda: list(SLOS))
    clock: Clock = field(default_factory=Clock)
    server: Server = field(default_factory=burning)
    running: dict[int, Cycle] = field(default_factory=dict)

    def start(self, index, of):
        """Start one daemon, or start it again with another count."""
        self.stop(index)
        shard = Shard(index, of)
        ledger = Ledger.open(self.namespaced(shard.namespace(self.base.namespace)))
        moves = Moves.of(ledger, shard, base=self.base.namespace, holder=f"shard {index}")
        sources = {"default": Client(self.server, self.clock)}
        self.running[index] = Cycle.begin(
            settings(), self.slos, ledger, sources=sources, clock=self.clock, moves=moves
        )
        return self.running[index]

    def namespaced(self, name):
        """A ledger's place in the database."""
        return Database(self.base.url, namespace=name)

    def reset(self):
        """Nobody runs, and nothing was ever counted."""
        for index in list(self.running):
            self.stop(index)
        self.drop()

    def stop(self, index):
        """End it, as a signal or a fault would."""
        if index in self.running:
            self.running.pop(index).evaluator.ledger.close()

    def fill(self, cycle):
        """The past of what has none."""
        for filler in fillers(cycle.evaluator):
            while (filled := filler.step(cycle.patient_asks(), workers=1)) is not None:
                cursors = {fill_key(cycle.evaluator.ids[slo]): filled.filled_to for slo in filled.slos}
                cycle.evaluator.ledger.commit(Entry(rows=filled.rows, cursors=cursors))

    def tick(self, times=1):
        """So many ticks of all of them."""
        for _ in range(times):
            self.clock.now += INTERVAL
            for cycle in self.running.values():
                cycle.tick()

    def placed(self):
        """The shard of each SLO, by who evaluates it."""
        found = [(slo.name, index) for index, cycle in self.running.items() for slo in cycle.evaluator.slos]
        assert len(found) == len(dict(found)), "an SLO is evaluated twice"
        return dict(found)

    def snapshots(self):
        """The figures of each SLO."""
        at = self.clock.now
        cycles = self.running.values()
        return {one.name: one for cycle in cycles for one in cycle.evaluator.look(cycle.last_at or int(at))}

    def events(self, name):
        """What was told of an SLO, in order, by every ledger that knows of it."""
        return [
            [(event.sequence, event.kind) for event in cycle.evaluator.ledger.events(slo=name)]
            for cycle in self.running.values()
        ]


@pytest.fixture
def fleet(postgresql):
    """No daemon yet; in the end none."""
    base = Database.of(postgresql.url(namespace=f"test_{secrets.token_hex(6)}"))

    def drop():
        for name in [base.namespace, *(f"{base.namespace}_shard_{n}" for n in range(5))]:
            postgresql.sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    fleet = Fleet(base, drop)
    yield fleet
    fleet.reset()


@pytest.fixture
def alone():
    """What one daemon without shards has after so many ticks."""

    def figures(times):
        clock = Clock()
        sources = {"default": Client(burning(), clock)}
        cycle = Cycle.begin(settings(), SLOS, Ledger.open("sqlite://"), sources=sources, clock=clock)
        for _ in range(times):
            clock.now += INTERVAL
            cycle.tick()
        return {
            one.name: (one.total, one.failures, state(one)) for one in cycle.evaluator.look(cycle.last_at)
        }

    return figures


def state(snapshot):
    """Of its only alert."""
    return snapshot.alerts[0].state


def figures(fleet):
    """Total, failures and alert state of every SLO."""
    return {name: (one.total, one.failures, state(one)) for name, one in fleet.snapshots().items()}


def expected(of):
    """Whose each SLO is, by the hash."""
    return {name: owner(name, of=of) for name in NAMES}
