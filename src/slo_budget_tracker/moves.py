"""Moves: an SLO that belongs to another shard now takes along what was counted, its alerts and its events.

At its start a shard lets go of what is no longer its own, and takes what is: in one transaction the counts,
alert states and undelivered events of another shard's ledger become its own, and the claim goes over. What a
running shard has stays its own until it starts again, so shards may be restarted one by one in any order;
what another one still evaluates is waited for. The ticks between the old shard's last and the new one's
first are filled from history, alerts keep their state meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
import structlog

from slo_budget_tracker import claims, schema, tables
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.changes import remembered, to_remember
from slo_budget_tracker.claims import UNSHARDED, Claims
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.contents import Contents
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.history import History
from slo_budget_tracker.instances import added_key, canonical, fill_key, kept_key
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.outbox import QUEUED
from slo_budget_tracker.rollcall import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from slo_budget_tracker.claims import Claim
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.rows import Row
    from slo_budget_tracker.shards import Shard
    from slo_budget_tracker.specs import SLO

RELEASED = "released"  # the ledger's fact: definitions of SLOs that are others' now
EPOCHS = ("epoch", "epoch_before", "epochs")
PAUSE = 10  # looks that are left out after something could not be taken
MARKS = tables.notes.name
MOVED = "moved:"  # before the state of deliveries that are no longer this ledger's business

log = structlog.get_logger()


@dataclass(slots=True)
class Moves:
    """What one shard may evaluate, and how it comes by it.

    Attributes:
        waiting: SLOs that belong here and are still evaluated by another shard, with its number.
        taken: SLOs that were taken over by the last call of `admit`.
    """

    shard: Shard
    ledger: Ledger
    claims: Claims
    namespace: str
    holder: str
    waiting: Mapping[str, int] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()
    whole: Sequence[SLO] = ()
    _begun: bool = False
    _unsettled: bool = False  # what was admitted last is not evaluated yet
    _pause: int = 0  # looks

    @classmethod
    def of(cls, ledger: Ledger, shard: Shard, *, base: str, holder: str) -> Moves:
        """Those of a shard whose ledger is open."""
        return cls(shard, ledger, Claims(base), shard.namespace(base), holder)

    def admit(self, slos: Sequence[SLO], *, at: int) -> list[SLO]:
        """Of the whole catalogue, what this shard evaluates from the data instant `at` on.

        Raises:
            LedgerError: the database cannot be asked.
        """
        self._unsettled = True
        with self.ledger.transaction() as connection:
            self.claims.make(connection)
            found = self.claims.read(connection)
            ledgers = self.claims.ledgers(connection)
        number = self.shard.index
        known = {slo.name for slo in slos}
        mine = {slo.name for slo in self.shard.share(slos)}
        held = {name for name, claim in found.items() if claim.shard == number and not claim.released}
        back = {name for name, claim in found.items() if claim.shard == number and claim.released} & mine
        if self._begun:
            mine |= held & known
        elsewhere = (held & known) - mine
        if elsewhere:
            self._release(elsewhere, at=at)
        fresh = mine - found.keys()
        wanted = {name: claim for name, claim in found.items() if name in mine - held - back}
        wanted |= self._of_one_alone(fresh, ledgers)
        by_name = {slo.name: slo for slo in slos}
        taken = self._take_all(wanted, ledgers, by_name, at=at) | self._take_back(back, by_name, at=at)
        with self.ledger.transaction() as connection:
            self.claims.claim(connection, fresh - wanted.keys(), number)
            self.claims.drop(connection, held - known, number)
            found = self.claims.read(connection)
        has = {name for name, claim in found.items() if claim.shard == number and not claim.released}
        self.taken = frozenset(taken)
        self.waiting = {name: found[name].shard for name in sorted(mine - has) if name in found}
        self.waiting |= dict.fromkeys(sorted(mine - has - found.keys()), UNSHARDED)
        self._begun = True
        there = has & mine
        return [slo for slo in slos if slo.name in there and there.issuperset(members_of(slo))]

    def settle(self, whole: Sequence[SLO]) -> None:
        """What was admitted of this catalogue is what runs."""
        self.whole, self._unsettled = whole, False

    def due(self) -> bool:
        """Whether something that is waited for can be taken now.

        Raises:
            LedgerError: the database cannot be asked.
        """
        if self._unsettled or not self.waiting:
            return self._unsettled
        if self._pause:
            self._pause -= 1
            return False
        with self.ledger.transaction() as connection:
            found = self.claims.read(connection)
            ledgers = self.claims.ledgers(connection)
            waited = [found[name] for name in self.waiting if name in found]
            if any(claim.released or claim.shard == self.shard.index for claim in waited):
                return True
            holders = {ledgers[number] for number in self.waiting.values() if number in ledgers}
            free = [one for one in sorted(holders) if claims.lock(connection, one)]
            for one in free:
                claims.unlock(connection, one)
        return bool(free)

    # --- letting go -----------------------------------------------------------------------------------------

    def _release(self, names: Collection[str], *, at: int) -> None:
        """They belong to others now; their queued events go with them."""
        definitions = remembered(self.ledger.meta.get(DEFINITIONS))
        kept = {name: one for name, one in definitions.items() if name not in names}
        released = remembered(self.ledger.meta.get(RELEASED))
        released |= {name: one for name, one in definitions.items() if name in names}

        def also(connection: Connection) -> None:
            _mark_moved(connection, names)
            self.claims.release(connection, names, self.shard.index)

        meta = {DEFINITIONS: to_remember(kept), RELEASED: to_remember(released)}
        gone = [i.id for i in self.ledger.instances.values() if i.slo in names and i.retired is None]
        self.ledger.commit(Entry(meta=meta, retired=dict.fromkeys(gone, at)), also=also)
        log.info("released to other shards", shard=str(self.shard), slos=len(names))

    def _take_back(self, names: Collection[str], slos: Mapping[str, SLO], *, at: int) -> set[str]:
        """What was let go of and nobody took is this shard's as before."""
        if not names:
            return set()

        def also(connection: Connection) -> None:
            _unmark_moved(connection, names)
            self.claims.take(connection, names, was=self.shard.index, shard=self.shard.index)

        self._adopt(self.ledger.contents, (), names, slos, at=at, also=also)
        return set(names)

    # --- taking over ----------------------------------------------------------------------------------------

    def _of_one_alone(self, names: Iterable[str], ledgers: Mapping[int, str]) -> dict[str, Claim]:
        """SLOs that a daemon counted which was alone before there were shards."""
        namespace = ledgers.get(UNSHARDED)
        if namespace is None:
            return {}
        with self.ledger.transaction() as connection:
            claims.look_into(connection, namespace)
            query = sa.select(tables.instances.c.slo).where(tables.instances.c.retired.is_(None))
            there = set(connection.execute(query).scalars())
            claims.look_into(connection, self.namespace)
        return {name: claims.Claim(UNSHARDED, released=False) for name in names if name in there}

    def _take_all(
        self,
        wanted: Mapping[str, Claim],
        ledgers: Mapping[int, str],
        slos: Mapping[str, SLO],
        *,
        at: int,
    ) -> set[str]:
        """Take what can be taken, shard by shard; one that cannot be read now is told and waited for."""
        taken: set[str] = set()
        for number in sorted({claim.shard for claim in wanted.values()}):
            theirs = {name: claim for name, claim in wanted.items() if claim.shard == number}
            if number == self.shard.index or number not in ledgers:
                continue
            try:
                taken |= self._take_from(number, ledgers[number], theirs, slos, at=at)
            except LedgerError as error:
                self._pause = PAUSE
                log.warning("not taken over", shard=str(self.shard), source=number, detail=str(error))
        return taken

    def _take_from(
        self,
        number: int,
        namespace: str,
        theirs: Mapping[str, Claim],
        slos: Mapping[str, SLO],
        *,
        at: int,
    ) -> set[str]:
        with self.ledger.transaction() as connection:
            stopped = claims.lock(connection, namespace)
        try:
            names = {name for name, claim in theirs.items() if claim.released or stopped}
            if not names:
                return set()
            with self.ledger.transaction() as connection:
                if stopped:
                    claims.depose(connection, namespace, own=self.namespace, holder=self.holder)
                contents, rows = _read(connection, namespace, own=self.namespace)

            def also(connection: Connection) -> None:
                _copy_events(connection, namespace, self.namespace, names)
                self.claims.take(connection, names, was=number, shard=self.shard.index, stopped=stopped)
                if stopped:
                    self._still_stopped(connection, namespace)
                    _leave(connection, namespace, contents, names, own=self.namespace, at=at)

            self._adopt(contents, rows, names, slos, at=at, also=also)
        finally:
            if stopped:
                with self.ledger.transaction() as connection:
                    claims.unlock(connection, namespace)
        log.info("taken over", shard=str(self.shard), source=number, slos=len(names))
        return names

    def _still_stopped(self, connection: Connection, namespace: str) -> None:
        """The lock is still this session's: with another connection it may have been lost meanwhile.

        Raises:
            LedgerError: the other shard runs again.
        """
        if not claims.lock(connection, namespace):
            raise LedgerError(f"the shard of {namespace} has started again")
        claims.unlock(connection, namespace)  # taken twice, let go once: the outer one is kept

    def _adopt(
        self,
        theirs: Contents,
        rows: Iterable[Row],
        names: Collection[str],
        slos: Mapping[str, SLO],
        *,
        at: int,
        also: Callable[[Connection], None],
    ) -> None:
        """Everything of these SLOs in one transaction, and their claims with it."""
        old = _last(theirs, names)
        ids = dict(zip((i.id for i in old), self.ledger.import_instances(old), strict=True))
        cursors: dict[str, int] = {}
        for instance in old:
            if instance.labels:
                continue
            new, span = ids[instance.id], theirs.history.span(instance.id)
            cursors |= {added_key(new): at, fill_key(new): at}
            filled = theirs.cursors.get(fill_key(instance.id))
            begun = theirs.cursors.get(added_key(instance.id), instance.born)
            kept = theirs.cursors.get(kept_key(instance.id), 0)
            complete = filled is not None and filled <= max(begun - slos[instance.slo].past, kept)
            cursors[kept_key(new)] = span.end if span is not None and complete else 0
        known = remembered(theirs.meta.get(RELEASED)) | remembered(theirs.meta.get(DEFINITIONS))
        definitions = remembered(self.ledger.meta.get(DEFINITIONS))
        definitions |= {name: known[name] for name in names if name in known}
        texts = [self.ledger.meta.get("epochs", ""), *(theirs.meta.get(key, "") for key in EPOCHS)]
        epochs = dict.fromkeys(one for text in texts for one in text.split(",") if one)
        self.ledger.commit(
            Entry(
                rows=[row for row in (_of(row, ids) for row in rows) if len(row.ids)],
                states={ids[i.id]: theirs.states[i.id] for i in old if i.id in theirs.states},
                cursors=cursors,
                slo_cursors={ids[i.id]: at for i in old},
                meta={DEFINITIONS: to_remember(definitions), "epochs": ",".join(epochs)},
            ),
            also=also,
        )


class _Rows(Buckets):
    """Reads a ledger's rows, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []

    def load(self, connection: Connection) -> Iterator[Row]:
        """All rows."""
        self.rows = list(super().load(connection))
        return iter(self.rows)


def _of(row: Row, ids: Mapping[int, int]) -> Row:
    """A row of these instances only, under their new ids."""
    mine = row.only(np.isin(row.ids, np.fromiter(ids, np.int64)))
    return replace(mine, ids=np.array([ids[one] for one in mine.ids.tolist()], np.int64))


def _last(theirs: Contents, names: Collection[str]) -> list[Instance]:
    """The generations that counted last: what is there, or went with its SLO; not groups that were gone."""
    newest: dict[tuple[str, str], Instance] = {}
    for one in sorted(theirs.instances.values(), key=lambda one: one.generation):
        if one.slo in names:
            newest[one.slo, canonical(one.labels)] = one
    gone = {one.slo: one.retired for one in newest.values() if not one.labels}
    return [one for one in newest.values() if one.retired is None or one.retired == gone.get(one.slo)]


def _read(connection: Connection, namespace: str, *, own: str) -> tuple[Contents, list[Row]]:
    """Another ledger as it is now."""
    claims.look_into(connection, namespace)
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    if version != schema.newest():
        raise LedgerError(
            f"the ledger in {namespace} is of another version: start its shard with this one once"
        )
    buckets = _Rows()
    contents = Contents.read(connection, buckets, History())
    claims.look_into(connection, own)
    return contents, buckets.rows


def _leave(
    connection: Connection, namespace: str, theirs: Contents, names: Collection[str], *, own: str, at: int
) -> None:
    """What a shard that does not run would have done itself: let go, so that it retires nothing later."""
    known = remembered(theirs.meta.get(DEFINITIONS))
    facts = {
        DEFINITIONS: {name: one for name, one in known.items() if name not in names},
        RELEASED: remembered(theirs.meta.get(RELEASED)) | {n: one for n, one in known.items() if n in names},
    }
    claims.look_into(connection, namespace)
    values = [{"key": key, "value": to_remember(value)} for key, value in facts.items()]
    tables.upsert(connection, tables.facts, values)
    place = tables.instances.c
    gone = sa.update(tables.instances).where(place.slo.in_(sorted(names)), place.retired.is_(None))
    connection.execute(gone.values(retired=at))
    claims.look_into(connection, own)


def _mark_moved(connection: Connection, names: Iterable[str]) -> None:
    place = tables.deliveries.c
    queued = sa.update(tables.deliveries).where(place.slo.in_(sorted(names)), place.state.in_(QUEUED))
    connection.execute(queued.values(state=sa.literal(MOVED) + place.state))


def _unmark_moved(connection: Connection, names: Iterable[str]) -> None:
    place = tables.deliveries.c
    moved = sa.update(tables.deliveries).where(place.slo.in_(sorted(names)), place.state.like(f"{MOVED}%"))
    connection.execute(moved.values(state=sa.func.replace(place.state, MOVED, "")))


def _copy_events(connection: Connection, source: str, own: str, names: Iterable[str]) -> None:
    """The events of these SLOs go over, in their places; those that wait to be delivered wait here."""
    chosen = {"names": sorted(names)}
    life = "SELECT coalesce((SELECT value FROM {}.fact WHERE key = 'audit_life'), '0')::integer"
    theirs, ours = (f"({life.format(schema_)})" for schema_ in (source, own))
    for statement in (
        f"DELETE FROM {own}.event WHERE slo = ANY(:names)",  # noqa: S608 - namespaces are checked
        f"INSERT INTO {own}.event SELECT * FROM {source}.event WHERE slo = ANY(:names)",  # noqa: S608
        f"INSERT INTO {own}.delivery SELECT * FROM {source}.delivery WHERE slo = ANY(:names)",  # noqa: S608
        f"UPDATE {own}.delivery SET state = replace(state, '{MOVED}', '') WHERE slo = ANY(:names)",  # noqa: S608
        f"UPDATE {own}.delivery SET life = CASE WHEN life = {theirs} THEN {ours} ELSE -1 END "  # noqa: S608, ISC004
        "WHERE slo = ANY(:names) AND life IS NOT NULL",
        f"DELETE FROM {source}.event WHERE slo = ANY(:names)",  # noqa: S608 - with their deliveries
        f"INSERT INTO {own}.{MARKS} SELECT * FROM {source}.{MARKS} ON CONFLICT DO NOTHING",  # noqa: S608
    ):
        connection.execute(sa.text(statement), chosen)
