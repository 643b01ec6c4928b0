"""Retention: what a ledger need not keep for ever goes in small batches, once a day, beside the ticks.

Counts stay, merged to days. Events stay at least `keep_events` seconds and until they are delivered, or for
just so long where there is nobody to deliver them to; the newest of each SLO stays, as the next one follows
it. Annotations go as old events do. Memories of feeds that nobody reads are of no use after a month.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.annotations import forget_annotations
from slo_budget_tracker.density import DAY
from slo_budget_tracker.outbox import STATES

if TYPE_CHECKING:
    from collections.abc import Container

    from slo_budget_tracker.buckets import Buckets

KEEP_EVENTS = 400 * DAY
KEEP_MEMORIES = 30 * DAY
SETTLED = frozenset({"delivered", "skipped"})

_SLOS = 50  # looked at in one transaction
_EVENTS = 200  # removed in one transaction, whosever they are


class Retention:
    """What is still to be looked at of this day's round."""

    def __init__(self, *, keep_events: int = KEEP_EVENTS, keep_unsent: bool = True) -> None:
        self.keep_events = keep_events
        self.settled = SETTLED if keep_unsent else frozenset(STATES)
        self.due = True
        self._slos: list[str] | None = None

    def begin(self) -> None:
        """Begin a round."""
        self.due, self._slos = True, None

    def step(self, connection: sa.Connection, buckets: Buckets, *, now: int) -> None:
        """One batch, inside a transaction of the ledger; `due` tells whether there is more."""
        if self._slos is None:
            self._slos = list(connection.execute(sa.select(tables.events.c.slo).distinct()).scalars())
            _forget_memories(connection, before=now - KEEP_MEMORIES)
            forget_annotations(connection, before=now - self.keep_events)
            buckets.forget_unused(connection)
        before, room = now - self.keep_events, _EVENTS
        for _ in range(min(_SLOS, len(self._slos))):
            room -= _remove_events(connection, self._slos[-1], before=before, settled=self.settled, most=room)
            if not room:
                return
            self._slos.pop()
        self.due = bool(self._slos)


def _remove_events(
    connection: sa.Connection, slo: str, *, before: int, settled: Container[str], most: int
) -> int:
    """Remove the oldest events of an SLO that may go, none behind one that stays; how many went."""
    event, place = tables.events.c, tables.deliveries.c
    oldest = (
        sa.select(event.event_id, event.sequence, event.created, place.state)
        .join_from(tables.events, tables.deliveries, event.event_id == place.event_id)
        .where(event.slo == slo)
        .order_by(event.sequence)
    )
    first = connection.execute(oldest.limit(1)).first()
    if first is None or first.created >= before:
        return 0
    newest = connection.execute(sa.select(sa.func.max(event.sequence)).where(event.slo == slo)).scalar_one()
    found = connection.execute(oldest.limit(most)).all()
    gone = [
        row.event_id
        for row in takewhile(
            lambda row: row.created < before and row.state in settled and row.sequence < newest, found
        )
    ]
    for table, column in ((tables.deliveries, place.event_id), (tables.events, event.event_id)):
        connection.execute(sa.delete(table).where(column.in_(gone)))
    return len(gone)


def _forget_memories(connection: sa.Connection, *, before: int) -> None:
    """Memories of feeds that were read last so long ago that none of their series can go on."""
    cursor, memory = tables.cursors.c, tables.memories.c
    old = sa.select(cursor.feed).where(cursor.instant < before)
    connection.execute(sa.delete(tables.memories).where(memory.feed.in_(old)))
