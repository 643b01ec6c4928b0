"""The outbox: what became of each event at the audit stream, in the ledger's own file.

An event enters it in the transaction that makes it. Then its state goes `pending` -> `attempted` (before the
request leaves) -> `delivered` (with the server's receipt), or `quarantined` where the server refuses it for
good, or `skipped` where it arose before there was a server and nobody wants it.
What is `attempted` may be there already: it is looked up before it is sent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.entries import DAEMON, Event, StoredEvent
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.payloads import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    Begin = Callable[[], AbstractContextManager[sa.Connection]]

QUEUED = ("pending", "attempted")
MARGIN = 1_000  # numbers: a server may store what is under way at the same time in any order
STATES = ("pending", "attempted", "delivered", "quarantined", "skipped")
_EVENT, _PLACE = tables.events.c, tables.deliveries.c
_JOINED = sa.join(tables.events, tables.deliveries, _EVENT.event_id == _PLACE.event_id)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the audit stream gave for an event: its number there and its hash."""

    server_event_id: int
    server_hash: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """An event with what is known of its delivery; instants of attempts are wall clock.

    Attributes:
        text: the payload, the same bytes at every attempt.
        life: which life of the server the receipt is from.
        disowned: an event of the server that says it is this one and is not what was sent.
    """

    event_id: str
    slo: str
    sequence: int
    kind: str
    created: int
    text: str
    state: str
    attempts: int
    attempted_at: int | None
    settled_at: int | None
    receipt: Receipt | None
    life: int | None
    disowned: int | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many events wait, the data instant of the oldest, and how many nobody takes."""

    pending: int
    oldest: int | None
    quarantined: int


def store_event(connection: sa.Connection, event: Event, *, instance: str) -> StoredEvent | None:
    """Give the event its place after the last one of its SLO; None when it is already there."""
    table = tables.events
    if connection.execute(sa.select(table.c.slo).where(table.c.event_id == event.event_id)).first():
        return None
    last = connection.execute(
        sa.select(table.c.sequence, table.c.event_id)
        .where(table.c.slo == event.slo)
        .order_by(table.c.sequence.desc())
        .limit(1)
    ).first()
    sequence, previous = (last[0] + 1, last[1]) if last else (1, None)
    payload = {**event.payload, "sequence": sequence, "previous_id": previous, "instance": instance}
    text = orjson.dumps(payload)
    if len(text) > MOST_BYTES:
        raise LedgerError(f"the event {event.event_id} of {event.slo} is larger than {MOST_BYTES} bytes")
    stored = StoredEvent(event.event_id, event.slo, event.kind, event.created, sequence, previous, payload)
    connection.execute(
        sa.insert(table).values(
            event_id=stored.event_id,
            slo=stored.slo,
            kind=stored.kind,
            created=stored.created,
            sequence=sequence,
            previous_id=previous,
            payload=text.decode(),
        )
    )
    connection.execute(
        sa.insert(tables.deliveries).values(
            event_id=stored.event_id, slo=stored.slo, sequence=sequence, state="pending", attempts=0
        )
    )
    return stored


class Outbox:
    """Reads and writes deliveries; each call is one short transaction of what `begin` gives."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin

    # --- what is known --------------------------------------------------------------------------------------

    def waiting(self) -> Waiting:
        """What the daemon shows of it."""
        counted = sa.select(_PLACE.state, sa.func.count()).where(_PLACE.state.in_((*QUEUED, "quarantined")))
        oldest = sa.select(sa.func.min(_EVENT.created)).select_from(_JOINED).where(_PLACE.state.in_(QUEUED))
        with self._begin() as connection:
            counts = {str(state): int(n) for state, n in connection.execute(counted.group_by(_PLACE.state))}
            found = connection.execute(oldest).scalar()
        return Waiting(sum(counts.get(state, 0) for state in QUEUED), found, counts.get("quarantined", 0))

    def queues(self, *, limit: int = 50) -> dict[str, list[Parcel]]:
        """The first events that wait, of every SLO in its order."""
        place = sa.func.row_number().over(partition_by=_PLACE.slo, order_by=_PLACE.sequence)
        ranked = (
            sa.select(_PLACE.event_id, place.label("place"))
            .where(_PLACE.state.in_(QUEUED))
            .subquery("ranked")
        )
        chosen = sa.select(ranked.c.event_id).where(ranked.c.place <= limit)
        found: dict[str, list[Parcel]] = {}
        for parcel in self._parcels(_PLACE.event_id.in_(chosen)):
            found.setdefault(parcel.slo, []).append(parcel)
        return found

    def doubtful(self) -> list[Parcel]:
        """What was attempted and not confirmed."""
        return self._parcels(_PLACE.state == "attempted")

    def last_receipt(self) -> Parcel | None:
        """The delivered event that the server put last, in its present life."""
        alive = (_PLACE.state == "delivered", _PLACE.life == self.life())
        found = self._parcels(*alive, order=(_PLACE.server_event_id.desc(),), limit=1)
        return found[0] if found else None

    def parcels(self, *, slo: str | None = None, states: Sequence[str] = STATES) -> list[Parcel]:
        """All of them in order, or those of one SLO, in some states."""
        chosen: list[sa.ColumnElement[bool]] = [_PLACE.state.in_(states)]
        if slo is not None:
            chosen.append(_PLACE.slo == slo)
        return self._parcels(*chosen)

    def life(self) -> int:
        """How often the server was seen to have forgotten."""
        return int(self.fact("audit_life") or 0)

    def fact(self, key: str) -> str | None:
        """A fact kept with the ledger."""
        with self._begin() as connection:
            return connection.execute(
                sa.select(tables.facts.c.value).where(tables.facts.c.key == key)
            ).scalar()

    def instances(self) -> tuple[str, ...]:
        """The names under which this ledger's events were sent: its epoch now, and those before it."""
        before = (self.fact("epochs") or "").split(",")
        found = (self.fact("epoch"), self.fact("epoch_before"), *before)
        return tuple(dict.fromkeys(name for name in found if name))

    def floor(self, *, before: int | None = None) -> int:
        """A number of the server's present life that lies behind all that it stored after an instant."""
        chosen = [_PLACE.state == "delivered", _PLACE.life == self.life()]
        if before is not None:
            chosen.append(_PLACE.settled_at < before)
        with self._begin() as connection:
            found = connection.execute(sa.select(sa.func.max(_PLACE.server_event_id)).where(*chosen)).scalar()
        return max(int(found or 0) - MARGIN, 0)

    # --- what changes ---------------------------------------------------------------------------------------

    def attempt(self, parcel: Parcel, *, at: int) -> None:
        """Note that the event may be there from now on."""
        self._update([parcel.event_id], state="attempted", attempts=_PLACE.attempts + 1, attempted_at=at)

    def confirm(self, receipts: Mapping[str, Receipt], *, at: int) -> None:
        """Note what the server gave for the events; nothing is left to do for them."""
        with self._begin() as connection:
            life = _life(connection)
            for event_id, receipt in receipts.items():
                connection.execute(
                    sa.update(tables.deliveries)
                    .where(_PLACE.event_id == event_id)
                    .values(
                        state="delivered",
                        settled_at=at,
                        server_event_id=receipt.server_event_id,
                        server_hash=receipt.server_hash,
                        life=life,
                        detail=None,
                    )
                )

    def quarantine(self, event_id: str, reason: str, *, at: int) -> None:
        """Put an event aside that the server refuses for good."""
        self._update([event_id], state="quarantined", detail=reason, settled_at=at)

    def resume(self, event_ids: Sequence[str]) -> None:
        """The server was looked through and does not have these: they wait like new ones."""
        self._update(event_ids, state="pending")

    def release(self, event_ids: Iterable[str] | None) -> list[str]:
        """Put quarantined events (all where none are named) back into the queue; says which."""
        chosen = sa.select(_PLACE.event_id).where(_PLACE.state == "quarantined")
        with self._begin() as connection:
            held = set(connection.execute(chosen).scalars())
            freed = sorted(held if event_ids is None else held & set(event_ids))
            _write(connection, freed, {"state": "attempted", "detail": None})
        return freed

    def skip_all(self) -> int:
        """Leave out what waits and was never attempted, but for what the daemon tells of itself."""
        own = sa.select(_EVENT.event_id).where(_EVENT.slo == DAEMON)
        with self._begin() as connection:
            changed = connection.execute(
                sa.update(tables.deliveries)
                .where(_PLACE.state == "pending", _PLACE.event_id.not_in(own))
                .values(state="skipped")
            )
        return int(changed.rowcount)

    def forget(self, *, since: int) -> int:
        """The server has lost its memory: what was delivered and is from `since` on is in doubt again."""
        lost = (
            sa.select(_EVENT.event_id)
            .select_from(_JOINED)
            .where(_PLACE.state == "delivered", _EVENT.created >= since)
        )
        with self._begin() as connection:
            _set_fact(connection, "audit_life", str(_life(connection) + 1))
            changed = connection.execute(
                sa.update(tables.deliveries)
                .where(_PLACE.event_id.in_(lost))
                .values(state="attempted", server_event_id=None, server_hash=None, life=None, disowned=None)
            )
        return int(changed.rowcount)

    def disown(self, parcel: Parcel, event: Event, *, altered: bool) -> None:
        """The server shows something else than it confirmed: tell so, and queue the event again."""
        disowned = parcel.receipt.server_event_id if altered and parcel.receipt else None
        with self._begin() as connection:
            instance = connection.execute(
                sa.select(tables.facts.c.value).where(tables.facts.c.key == "epoch")
            ).scalar()
            store_event(connection, event, instance=instance or "")
            _write(
                connection,
                [parcel.event_id],
                {"state": "attempted", "disowned": disowned, "server_event_id": None, "server_hash": None},
            )

    def note(self, key: str, value: str) -> None:
        """Keep a fact with the ledger."""
        with self._begin() as connection:
            _set_fact(connection, key, value)

    # --- inside ---------------------------------------------------------------------------------------------

    def _update(self, event_ids: Sequence[str], **values: Any) -> None:
        with self._begin() as connection:
            _write(connection, event_ids, values)

    def _parcels(
        self,
        *chosen: sa.ColumnElement[bool],
        order: Sequence[sa.ColumnElement[Any]] = (_PLACE.slo, _PLACE.sequence),
        limit: int | None = None,
    ) -> list[Parcel]:
        columns = (
            *(_EVENT.event_id, _EVENT.slo, _EVENT.sequence, _EVENT.kind, _EVENT.created),
            _EVENT.payload.label("text"),
            *(_PLACE.state, _PLACE.attempts, _PLACE.attempted_at, _PLACE.settled_at),
            *(_PLACE.server_event_id, _PLACE.server_hash, _PLACE.life, _PLACE.disowned, _PLACE.detail),
        )
        query = sa.select(*columns).select_from(_JOINED).where(*chosen).order_by(*order).limit(limit)
        with self._begin() as connection:
            return [_parcel(row) for row in connection.execute(query).mappings()]


def _parcel(row: sa.RowMapping) -> Parcel:
    fields = dict(row)
    number, digest = fields.pop("server_event_id"), fields.pop("server_hash")
    return Parcel(**fields, receipt=None if number is None or digest is None else Receipt(number, digest))


def _write(connection: sa.Connection, event_ids: Sequence[str], values: Mapping[str, Any]) -> None:
    for event_id in event_ids:
        connection.execute(sa.update(tables.deliveries).where(_PLACE.event_id == event_id).values(**values))


def _life(connection: sa.Connection) -> int:
    found = connection.execute(sa.select(tables.facts.c.value).where(tables.facts.c.key == "audit_life"))
    return int(found.scalar() or 0)


def _set_fact(connection: sa.Connection, key: str, value: str) -> None:
    tables.upsert(connection, tables.facts, [{"key": key, "value": value}])
