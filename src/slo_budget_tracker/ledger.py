"""Ledger: counts, alert states, events, memories and cursors of all SLOs, one transaction at a time.

What a transaction brought is in memory only after it is on disk. A failed one changes neither.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.density import HOUR, Density
from slo_budget_tracker.entries import Entry, Event, LedgerStats, StoredEvent
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.history import History
from slo_budget_tracker.instances import Instance, canonical, enrol
from slo_budget_tracker.rows import disjoint
from slo_budget_tracker.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slo_budget_tracker.history import Staged
    from slo_budget_tracker.instances import Wanted
    from slo_budget_tracker.rows import Row
    from slo_budget_tracker.ticks import Outcome, Tick

MAX_PAYLOAD_BYTES = 8192

__all__ = ["Entry", "Event", "Instance", "Ledger", "LedgerStats", "StoredEvent"]


class Ledger:
    """The open ledger. One thread writes; what it hands out is not changed afterwards."""

    def __init__(self, store: Store, *, density: Density | None = None) -> None:
        self._store = store
        self._guard = threading.RLock()
        self._buckets = Buckets()
        self._instances: dict[int, Instance] = {}
        self._cursors: dict[str, int] = {}
        self._slo_cursors: dict[int, int] = {}
        self._meta: dict[str, str] = {}
        self._unmerged = True
        self._staged: Staged | None = None
        self.history = History(density=density)
        self.states: dict[int, dict[str, AlertState]] = {}

    @classmethod
    def open(cls, url: str, *, read_only: bool = False, density: Density | None = None) -> Ledger:
        """Open the ledger that the URL names, with its history; `read_only` works beside a running daemon."""
        ledger = cls(Store.open(url, read_only=read_only), density=density)
        try:
            ledger._load()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            ledger.close()
            raise LedgerError(f"the ledger {ledger._store} is damaged: {error}") from error
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Close the file and let its lock go."""
        with self._guard:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what is known --------------------------------------------------------------------------------------

    @property
    def instances(self) -> Mapping[int, Instance]:
        """All instances by id, the retired ones too."""
        return self._instances

    @property
    def meta(self) -> Mapping[str, str]:
        """Facts kept with the ledger: `epoch`, made once per ledger; `birth`, when in data time it began."""
        return self._meta

    @property
    def birth(self) -> int | None:
        """The data instant at which this ledger began; ticks before it never send events."""
        return int(self._meta["birth"]) if "birth" in self._meta else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be and does not hinder."""
        return self._store.warnings

    def cursor(self, feed: str) -> int | None:
        """The data instant until which the feed was read."""
        return self._cursors.get(feed)

    def born(self, instance: int) -> int:
        """The data instant at which the instance was first registered: its live ticks end after it."""
        return self._instances[instance].born

    def slo_cursor(self, instance: int) -> int | None:
        """The data instant until which the instance's state machine was stepped."""
        return self._slo_cursors.get(instance)

    def outcomes(self, instance: int) -> dict[Outcome, int]:
        """Seconds of each outcome since the instance's first row; they add up to the time elapsed."""
        return self.history.outcomes(instance)

    def missing(self, instance: int, *, since: int, until: int | None = None) -> list[Tick]:
        """Spans with seconds that were missed or failed and may still be fetched."""
        return self.history.missing(instance, since=since, until=until)

    def memory(self, feed: str) -> bytes | None:
        """What counting remembered of the feed's series."""
        query = sa.select(tables.memories.c.payload).where(tables.memories.c.feed == feed)
        with self._guard, self._store.begin() as connection:
            return connection.execute(query).scalar()

    def events(self, *, slo: str | None = None, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Events in order per SLO; with `slo` those of one SLO after a sequence number."""
        table = tables.events
        query = sa.select(table).where(table.c.sequence > after)
        if slo is not None:
            query = query.where(table.c.slo == slo)
        query = query.order_by(table.c.created, table.c.slo, table.c.sequence).limit(limit)
        with self._guard, self._store.begin() as connection:
            found = connection.execute(query).mappings().all()
        return [StoredEvent(**{**row, "payload": orjson.loads(row["payload"])}) for row in found]

    def stats(self) -> LedgerStats:
        """Figures about the ledger itself."""
        steps = sa.select(tables.buckets.c.step, sa.func.count()).group_by(tables.buckets.c.step)
        with self._guard, self._store.begin() as connection:
            rows = {int(step): int(count) for step, count in connection.execute(steps)}
            events = connection.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar_one()
        return LedgerStats(
            bytes=self._store.size(),
            memory_bytes=self.history.nbytes,
            rows=sum(rows.values()),
            rows_by_step=rows,
            instances=sum(instance.retired is None for instance in self._instances.values()),
            events_pending=events,
            refused=self._buckets.refused,
            birth=self.birth,
            newest=self.history.newest,
        )

    def check(self) -> list[str]:
        """What a quick check of the file finds wrong; nothing when it is sound."""
        with self._guard:
            return self._store.check()

    def backup(self, target: Path) -> None:
        """Copy the ledger to a new file while it is in use."""
        with self._guard:
            self._store.backup(target)

    # --- what changes ---------------------------------------------------------------------------------------

    def register(self, slo: str, labels: Mapping[str, str], sli_hash: str, *, at: int) -> int:
        """The id of an instance; a new one where name, labels or SLI were not seen before."""
        return self.register_all([(slo, labels, sli_hash)], at=at)[0]

    def register_all(self, wanted: Sequence[Wanted], *, at: int) -> list[int]:
        """The ids of many instances, in one transaction; a changed SLI retires the generation before it."""
        with self._guard:
            enrolment = enrol(self._instances, wanted, at=at)
            self._write_instances(enrolment.changed, birth=at)
            return enrolment.ids

    def retire(self, ids: Iterable[int], *, at: int) -> None:
        """Mark instances as taken out; their counts stay."""
        with self._guard:
            gone = [self._instances[i] for i in ids if self._instances[i].retired is None]
            self._write_instances({i.id: replace(i, retired=at) for i in gone}, birth=at)

    def stage(self, rows: Sequence[Row]) -> None:
        """Show rows in `history` before they are committed, so that verdicts of the same entry can see them.

        The next `commit` or `unstage` takes them out of sight again; what was committed is there to stay.
        """
        with self._guard:
            self.unstage()
            self._staged = self.history.stage(rows)

    def unstage(self) -> None:
        """Take staged rows out of `history` again."""
        with self._guard:
            if self._staged is not None:
                self.history.undo(self._staged)
                self._staged = None

    def commit(self, entry: Entry) -> list[StoredEvent]:
        """Write all of the entry or nothing of it; returns the events that were new, in their places."""
        states = {i: dict(s) for i, s in entry.states.items() if self.states.get(i) != dict(s)}
        meta = dict(entry.meta)
        events = [event if isinstance(event, Event) else Event.of(event) for event in entry.events]
        with self._guard:
            self.unstage()
            rows = [*entry.rows, *entry.revised]
            now = self._thinning_instant(rows)
            if now is not None:
                meta["thinned_at"] = str(now)
            thinned_at = int({**self._meta, **meta}.get("thinned_at", "0"))
            old = thinned_at - self.history.density.stages[0].age
            unmerged = self._unmerged or now is not None or any(row.end <= old for row in rows)
            try:
                with self._store.begin() as connection:
                    effects = self._write_rows(connection, rows)
                    _upsert(
                        connection,
                        tables.states,
                        [{"instance": i, "payload": _states_json(s)} for i, s in states.items()],
                    )
                    _upsert(
                        connection,
                        tables.memories,
                        [{"feed": feed, "payload": data} for feed, data in entry.memories.items()],
                    )
                    _upsert(
                        connection,
                        tables.cursors,
                        [{"feed": feed, "instant": at} for feed, at in entry.cursors.items()],
                    )
                    _upsert(
                        connection,
                        tables.slo_cursors,
                        [{"instance": i, "instant": at} for i, at in entry.slo_cursors.items()],
                    )
                    _upsert(connection, tables.facts, [{"key": k, "value": v} for k, v in meta.items()])
                    stored = [e for e in (_store_event(connection, event) for event in events) if e]
                    if unmerged:
                        unmerged = self._buckets.thin(connection, self.history.density, now=thinned_at)
            except BaseException:
                self._buckets.forget()
                raise
            self._unmerged = unmerged
            self.states.update(states)
            self._cursors.update(entry.cursors)
            self._slo_cursors.update(entry.slo_cursors)
            self._meta.update(meta)
            self.history.add(effects)
            self.history.thin(thinned_at)
            return stored

    # --- inside ---------------------------------------------------------------------------------------------

    def _load(self) -> None:
        with self._store.begin() as connection:
            for row in connection.execute(sa.select(tables.instances)).mappings():
                self._instances[row["id"]] = Instance(**{**row, "labels": orjson.loads(row["labels"])})
            self._meta = dict(connection.execute(sa.select(tables.facts)).all())
            self._cursors = dict(connection.execute(sa.select(tables.cursors)).all())
            self._slo_cursors = dict(connection.execute(sa.select(tables.slo_cursors)).all())
            for instance, payload in connection.execute(sa.select(tables.states)):
                rules = orjson.loads(payload)
                self.states[instance] = {rule: AlertState.from_json(s) for rule, s in rules.items()}
            self.history.admit(self._instances)
            self.history.add(self._buckets.load(connection))
        if "thinned_at" in self._meta:
            self.history.thin(int(self._meta["thinned_at"]))
        if "epoch" not in self._meta and not self._store.read_only:
            self.commit(Entry(meta={"epoch": uuid.uuid4().hex}))

    def _write_rows(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Row]:
        """Write the rows, and say which rows History has to take in for them."""
        clear, effects = [], []
        apart = disjoint(rows)
        for row in rows:
            untouched = self.history.untouched(row) if apart else np.zeros(len(row.ids), np.bool_)
            if untouched.all():
                clear.append(row)
                continue
            effects += self._buckets.revise(connection, row.only(~untouched))
            clear.append(row.only(untouched))
        self._buckets.insert(connection, clear)
        return [*effects, *clear]

    def _thinning_instant(self, rows: Sequence[Row]) -> int | None:
        """A full hour of data time, when the rows lead past one: the instant to thin at."""
        newest = max((row.end for row in rows), default=None)
        if newest is None:
            return None
        hour = max(newest, self.history.newest or newest) // HOUR * HOUR
        return hour if hour > int(self._meta.get("thinned_at", 0)) else None

    def _write_instances(self, changed: Mapping[int, Instance], *, birth: int) -> None:
        if not changed:
            return
        meta = {} if "birth" in self._meta else {"birth": str(birth)}
        values = [
            {
                "id": i.id,
                "slo": i.slo,
                "labels": canonical(i.labels),
                "sli_hash": i.sli_hash,
                "generation": i.generation,
                "born": i.born,
                "retired": i.retired,
            }
            for i in changed.values()
        ]
        with self._store.begin() as connection:
            _upsert(connection, tables.instances, values)
            _upsert(connection, tables.facts, [{"key": k, "value": v} for k, v in meta.items()])
        self._meta.update(meta)
        self._instances.update(changed)
        self.history.admit(changed)


def _states_json(states: Mapping[str, AlertState]) -> str:
    return orjson.dumps({rule: state.to_json() for rule, state in states.items()}).decode()


def _upsert(connection: sa.Connection, table: sa.Table, values: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those with the same primary key."""
    if not values:
        return
    from sqlalchemy.dialects.sqlite import insert  # noqa: PLC0415

    statement = insert(table)
    key = list(table.primary_key.columns)
    rest = {c.name: statement.excluded[c.name] for c in table.columns if c not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=rest), values)


def _store_event(connection: sa.Connection, event: Event) -> StoredEvent | None:
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
    payload = {**event.payload, "sequence": sequence, "previous_id": previous}
    text = orjson.dumps(payload).decode()
    if len(text.encode()) > MAX_PAYLOAD_BYTES:
        raise LedgerError(
            f"the event {event.event_id} of {event.slo} is larger than {MAX_PAYLOAD_BYTES} bytes"
        )
    stored = StoredEvent(event.event_id, event.slo, event.kind, event.created, sequence, previous, payload)
    connection.execute(
        sa.insert(table).values(
            event_id=stored.event_id,
            slo=stored.slo,
            kind=stored.kind,
            created=stored.created,
            sequence=sequence,
            previous_id=previous,
            payload=text,
        )
    )
    return stored
