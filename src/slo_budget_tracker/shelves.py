"""Shelves: the ledgers in which a catalogue's SLOs lie: one, or those of all shards of its database."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.claims import survey
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.instances import last_generations
from slo_budget_tracker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.density import Density
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.specs import SLO


class Shelf(NamedTuple):
    """A ledger, and the SLOs whose counts are there; `moving` ones are let go of, and not taken yet."""

    ledger: Ledger
    slos: Sequence[SLO]
    moving: frozenset[str] = frozenset()

    def instances(self) -> dict[str, Instance]:
        """Those of its SLOs as they are defined, by key."""
        hashes = {slo.name: sli_hash(slo) for slo in self.slos}
        every = self.ledger.instances.values()
        there = [one for one in every if one.retired is None and one.slo not in self.moving]
        there += last_generations(every, self.moving)
        return {
            key_of(one.slo, one.labels.items()): one for one in there if hashes.get(one.slo) == one.sli_hash
        }


@contextmanager
def shelves(database: Database, slos: Sequence[SLO], *, density: Density | None) -> Iterator[list[Shelf]]:
    """Where these SLOs are, to be read beside running daemons; of shards each SLO where its own has it.

    Raises:
        LedgerError: there is none, or one cannot be read.
    """
    with ExitStack() as stack:

        def opened(place: Database) -> Ledger:
            return stack.enter_context(Ledger.open(place, read_only=True, density=density))

        shards = survey(database) if database.in_postgresql else None
        if shards is None or not shards.claims:
            yield [Shelf(opened(database), slos)]
            return
        found = []
        for number, namespace in sorted(shards.ledgers.items()):
            here = {name: claim for name, claim in shards.claims.items() if claim.shard == number}
            moving = frozenset(name for name, claim in here.items() if claim.released)
            ledger = opened(replace(database, namespace=namespace))
            found.append(Shelf(ledger, [slo for slo in slos if slo.name in here], moving))
        yield found
