"""Handovers: what a ledger has of an SLO, and how another one takes it over: counts, states, events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from slo_budget_tracker import claims, schema, tables
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.changes import remembered, to_remember
from slo_budget_tracker.contents import Contents
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.history import History
from slo_budget_tracker.holes import Holes
from slo_budget_tracker.instances import last_generations
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.outbox import QUEUED
from slo_budget_tracker.rollcall import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from sqlalchemy import Connection

    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.rows import Row

RELEASED = "released"  # the ledger's fact: definitions of SLOs that are others' now
EPOCHS = ("epoch", "epoch_before", "epochs")
MARKS = tables.notes.name
MOVED = "moved:"  # before the state of deliveries that are no longer this ledger's business


def adopt(
    ledger: Ledger,
    theirs: Contents,
    rows: Iterable[Row],
    pasts: Mapping[str, int],
    *,
    at: int,
    also: Callable[[Connection], None],
) -> None:
    """Everything of these SLOs in one transaction, and what is `also` to be written with it.

    `pasts` has them by name, with the seconds of the past that each one's windows need.
    """
    old = last_generations(theirs.instances.values(), pasts)
    ids = dict(zip((i.id for i in old), ledger.import_instances(old), strict=True))
    cursors: dict[str, int] = {}
    for instance in old:
        if instance.labels:
            continue
        span = theirs.history.span(instance.id)
        counted = None if span is None else span.end
        holes = Holes.of(theirs.cursors.get, instance.id, born=instance.born)
        cursors |= holes.moved(counted=counted, at=at, past=pasts[instance.slo]).cursors(ids[instance.id])
    known = remembered(theirs.meta.get(RELEASED)) | remembered(theirs.meta.get(DEFINITIONS))
    definitions = remembered(ledger.meta.get(DEFINITIONS))
    definitions |= {name: known[name] for name in pasts if name in known}
    texts = [ledger.meta.get("epochs", ""), *(theirs.meta.get(key, "") for key in EPOCHS)]
    epochs = dict.fromkeys(one for text in texts for one in text.split(",") if one)
    ledger.commit(
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

    def load(
        self,
        connection: Connection,
        *,
        after: int | None = None,
        narrow: bool = False,  # noqa: ARG002 - they are wide: they are calculated with and written again
    ) -> Iterator[Row]:
        """All rows."""
        self.rows = list(super().load(connection, after=after))
        return iter(self.rows)


def _of(row: Row, ids: Mapping[int, int]) -> Row:
    """A row of these instances only, under their new ids."""
    mine = row.only(np.isin(row.ids, np.fromiter(ids, np.int64)))
    return replace(mine, ids=np.array([ids[one] for one in mine.ids.tolist()], np.int64))


def read(connection: Connection, namespace: str, *, own: str) -> tuple[Contents, list[Row]]:
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


def leave(
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


def mark_moved(connection: Connection, names: Iterable[str]) -> None:
    """Events of these that wait to be delivered wait for the next one who has them."""
    place = tables.deliveries.c
    queued = sa.update(tables.deliveries).where(place.slo.in_(sorted(names)), place.state.in_(QUEUED))
    connection.execute(queued.values(state=sa.literal(MOVED) + place.state))


def unmark_moved(connection: Connection, names: Iterable[str]) -> None:
    """They wait here again."""
    place = tables.deliveries.c
    moved = sa.update(tables.deliveries).where(place.slo.in_(sorted(names)), place.state.like(f"{MOVED}%"))
    connection.execute(moved.values(state=sa.func.replace(place.state, MOVED, "")))


def copy_events(connection: Connection, source: str, own: str, names: Iterable[str]) -> None:
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
