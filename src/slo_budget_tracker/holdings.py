"""Holdings: what can be asked of an open ledger, its file included; nothing is changed by it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from slo_budget_tracker import soundness, tables
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.contents import Contents, Known
from slo_budget_tracker.entries import LedgerStats, StoredEvent
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.outbox import QUEUED
from slo_budget_tracker.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from slo_budget_tracker.stores import AnyStore


class Holdings(Known):
    """What a ledger has in memory, and what lies in its store."""

    def __init__(self, contents: Contents, store: AnyStore) -> None:
        super().__init__(contents)
        self._store = store
        self._guard = threading.RLock()
        self._buckets = Buckets()
        self._stats: LedgerStats | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be and does not hinder."""
        return self._store.warnings

    @property
    def remarks(self) -> tuple[str, ...]:
        """What may interest and is no fault."""
        return self._store.remarks

    def memory(self, feed: str) -> bytes | None:
        """What counting remembered of the feed's series."""
        query = sa.select(tables.memories.c.payload).where(tables.memories.c.feed == feed)
        with self._guard, self._store.begin() as connection:
            return connection.execute(query).scalar()

    def events(self, *, slo: str | None = None, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Events by data instant; with `slo` those of one SLO after a sequence number, in sequence."""
        table = tables.events
        query = sa.select(table).where(table.c.sequence > after)
        if slo is not None:
            query = query.where(table.c.slo == slo)
        order = (table.c.sequence,) if slo is not None else (table.c.created, table.c.slo, table.c.sequence)
        query = query.order_by(*order).limit(limit)
        with self._guard, self._store.begin() as connection:
            found = connection.execute(query).mappings().all()
        return [StoredEvent(**{**row, "payload": orjson.loads(row["payload"])}) for row in found]

    @property
    def path(self) -> Path | None:
        """The file; None for a ledger in memory or in PostgreSQL."""
        return self._store.path

    @property
    def engine(self) -> tuple[str, str]:
        """What keeps it, and its version."""
        return ("sqlite" if isinstance(self._store, Store) else "postgresql"), self._store.version

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One short transaction of the outbox, on the only connection that writes; of no count, no state."""
        with self._guard, self._store.begin() as connection:
            yield connection

    def still(self) -> AbstractContextManager[object]:
        """Nothing in memory changes while this is held: for readers in other threads, who are to be quick."""
        return self._guard

    def stats(self) -> LedgerStats:
        """Figures about the ledger itself; the last known ones while the store is in trouble."""
        with self._guard:
            try:
                self._stats = self._counted()
            except LedgerError:
                if self._stats is None:
                    raise
                self._stats = replace(self._stats, newest=self.history.newest)
            return self._stats

    def check(self, *, quick: bool = False) -> list[str]:
        """What is wrong with the file and, unless `quick`, with what it says; nothing when it is sound."""
        with self._guard:
            problems = self._store.check(whole=not quick)
            if not problems and not quick:
                with self._store.begin() as connection:
                    problems = soundness.problems(connection, density=self.history.density)
            return problems

    def backup(self, target: Path) -> None:
        """Copy the ledger to a new file while it is in use; ticks need not wait."""
        self._store.backup(target)

    def _counted(self) -> LedgerStats:
        with self._store.begin() as connection:
            rows = self._buckets.by_step(connection)
            waiting = sa.select(sa.func.count()).where(tables.deliveries.c.state.in_(QUEUED))
            events = connection.execute(waiting).scalar_one()
        return LedgerStats(
            bytes=self._store.size(),
            memory_bytes=self.history.nbytes,
            rows=sum(rows.values()),
            rows_by_step=rows,
            instances=sum(instance.retired is None for instance in self.instances.values()),
            events_pending=events,
            refused=self._buckets.refused,
            birth=self.birth,
            newest=self.history.newest,
        )
