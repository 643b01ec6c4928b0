"""Timeline: the events of the ledger as people look at them, newest first, with what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

_EVENT, _PLACE = tables.events.c, tables.deliveries.c
_COLUMNS = (
    *(_EVENT.event_id, _EVENT.slo, _EVENT.sequence, _EVENT.kind, _EVENT.created, _EVENT.payload),
    *(_PLACE.state, _PLACE.settled_at, _PLACE.server_event_id, _PLACE.server_hash, _PLACE.detail),
)


class Wanted(NamedTuple):
    """Which events: all, or those of some SLO, of some kinds, in [since, until]; one page of them."""

    slo: str | None = None
    kinds: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int = 100
    offset: int = 0


class Happening(NamedTuple):
    """An event and its delivery; `settled_at` is wall clock, `receipt` the audit stream's id and hash."""

    event_id: str
    slo: str
    sequence: int
    kind: str
    at: int
    payload: Mapping[str, Any]
    delivery: str
    settled_at: int | None
    receipt: tuple[int, str] | None
    detail: str | None


class Found(NamedTuple):
    """A page of events and how many there are on all pages."""

    events: tuple[Happening, ...]
    total: int


def find(connection: Connection, wanted: Wanted) -> Found:
    """The events that are wanted, newest first; those of one instant in the order they were written."""
    chosen = list(_conditions(wanted))
    joined = tables.events.outerjoin(tables.deliveries, _EVENT.event_id == _PLACE.event_id)
    total = connection.execute(
        sa.select(sa.func.count()).select_from(tables.events).where(*chosen)
    ).scalar_one()
    order = (_EVENT.created.desc(), _EVENT.slo, _EVENT.sequence.desc())
    query = sa.select(*_COLUMNS).select_from(joined).where(*chosen).order_by(*order)
    rows = connection.execute(query.limit(wanted.limit).offset(wanted.offset)).all()
    return Found(tuple(_happening(row) for row in rows), total)


def _conditions(wanted: Wanted) -> list[sa.ColumnElement[bool]]:
    chosen: list[sa.ColumnElement[bool]] = []
    if wanted.slo is not None:
        chosen.append(_EVENT.slo == wanted.slo)
    if wanted.kinds:
        chosen.append(_EVENT.kind.in_(wanted.kinds))
    if wanted.since is not None:
        chosen.append(_EVENT.created >= wanted.since)
    if wanted.until is not None:
        chosen.append(_EVENT.created <= wanted.until)
    return chosen


def _happening(row: Any) -> Happening:
    event_id, slo, sequence, kind, at, payload, state, settled_at, number, digest, detail = row
    receipt = None if number is None or digest is None else (number, digest)
    return Happening(
        event_id,
        slo,
        sequence,
        kind,
        at,
        orjson.loads(payload),
        state or "pending",
        settled_at,
        receipt,
        detail,
    )
