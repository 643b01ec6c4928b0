"""Ledger: counts, alert states, events, memories and cursors of all SLOs, one transaction at a time.

What a transaction brought is in memory only after it is on disk. A failed one changes neither.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
import sqlalchemy as sa

from slo_budget_tracker import copies, tables
from slo_budget_tracker.contents import UNREADABLE, Contents, write_facts
from slo_budget_tracker.databases import Database
from slo_budget_tracker.density import DAY, HOUR, Density
from slo_budget_tracker.entries import Entry, Event, LedgerStats, StoredEvent
from slo_budget_tracker.errors import LedgerDamaged
from slo_budget_tracker.history import History
from slo_budget_tracker.holdings import Holdings
from slo_budget_tracker.instances import Instance, enrol, retired
from slo_budget_tracker.outbox import store_event
from slo_budget_tracker.recovery import Reset, epoch_entry, recovered
from slo_budget_tracker.retention import KEEP_EVENTS, Retention
from slo_budget_tracker.rows import disjoint
from slo_budget_tracker.stores import AnyStore, Term, open_store
from slo_budget_tracker.tables import upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.history import Staged
    from slo_budget_tracker.instances import Wanted
    from slo_budget_tracker.rows import Row
    from slo_budget_tracker.verdict import Transition

__all__ = ["Entry", "Event", "Instance", "Ledger", "LedgerStats", "StoredEvent"]


class Ledger(Holdings):
    """The open ledger. One thread writes; what it hands out is not changed afterwards.

    Attributes:
        generation: goes up when what was believed not written turns out to be, and memory is read anew.
        reset: why this ledger is not what it was when it was last written, if so.
    """

    def __init__(
        self, store: AnyStore, *, density: Density | None = None, retention: Retention | None = None
    ) -> None:
        super().__init__(Contents(History(density=density)), store)
        self._retention = retention or Retention()
        self._unmerged = True
        self._staged: Staged | None = None
        self.generation = 0
        self.reset: Reset | None = None

    @classmethod
    def open(
        cls,
        url: str | Database,
        *,
        read_only: bool = False,
        density: Density | None = None,
        now: int | None = None,
        force: bool = False,
        keep_events: int = KEEP_EVENTS,
        keep_unsent: bool = True,
        term: Term | None = None,
    ) -> Ledger:
        """Open the ledger that the URL names, with its history; `read_only` works beside a running daemon.

        Args:
            url: where it is.
            read_only: look, and leave no traces.
            density: how closely counts are kept, by age.
            now: the time, for whoever may mend: a damaged file is then put aside under it and the last good
                copy put back. Without, damage is an error.
            force: open it on a file system whose locks cannot be relied on.
            keep_events: how long events are kept that were delivered, seconds.
            keep_unsent: whether the others are kept until they are delivered, however long that takes.
            term: the right to write to one in PostgreSQL, where it was taken before.

        Raises:
            LedgerDamaged: it is not what was written, and nobody may mend it.
            LedgerError: it is in use, from a newer program, somebody else's, or cannot be read.
        """

        def reopen() -> Ledger:
            store = open_store(database, read_only=read_only, force=force, mend=suffix, term=term)
            retention = Retention(keep_events=keep_events, keep_unsent=keep_unsent)
            return cls(store, density=density, retention=retention)._read()  # noqa: SLF001 - its own

        database = Database.of(url)
        suffix = None if now is None else f"corrupt-{now}"
        reset = None
        try:
            ledger = reopen()
        except LedgerDamaged as damage:
            path = database.path
            if read_only or suffix is None or path is None:
                raise
            ledger, reset = recovered(path, damage, reopen, suffix=suffix)
        try:
            ledger._begin_epoch(reset, now)  # noqa: SLF001 - its own
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

    # --- copies and other daemons ---------------------------------------------------------------------------

    def keep_backup(self, now: float, *, every: int = 86_400) -> bool:
        """Make the copy that damage is mended from, when the last one is old enough; whether one was made.

        It takes the place of the older one only when all of it can be read again.
        """
        path = self._store.path
        if path is None or every <= 0:
            return False
        target = copies.backup_path(path)
        if target.exists() and now - target.stat().st_mtime < every:
            return False
        part = copies.prepare_over(path, target)
        with Ledger.open(f"sqlite:///{part}", read_only=True, density=self.history.density) as copy:
            problems = copy.check(quick=True)
        if problems:
            raise LedgerDamaged(path, problems[0])
        copies.finish_over(part, target, now=now)
        return True

    def refresh(self) -> bool:
        """For a ledger that is only read: read what another daemon wrote since; whether figures changed."""
        with self._guard, self._store.begin() as connection:
            query = sa.select(tables.facts.c.value).where(tables.facts.c.key == "commits")
            if connection.execute(query).scalar() == self._now.meta.get("commits"):
                return False
            try:
                found = self._now.newer(connection, self._buckets)
                if found is None:
                    self._buckets.forget()
                    fresh = History(density=self.history.density)
                    self._now = Contents.read(connection, self._buckets, fresh)
                    return True
            except UNREADABLE as error:
                raise self._store.damaged(f"{type(error).__name__}: {error}") from error
            return self._now.take(found)

    # --- what changes ---------------------------------------------------------------------------------------

    def register(self, slo: str, labels: Mapping[str, str], sli_hash: str, *, at: int) -> int:
        """The id of an instance; a new one where name, labels or SLI were not seen before."""
        return self.register_all([(slo, labels, sli_hash)], at=at)[0]

    def register_all(self, wanted: Sequence[Wanted], *, at: int) -> list[int]:
        """The ids of many instances, in one transaction; a changed SLI retires the generation before it."""
        with self._guard:
            self._settle()
            enrolment = enrol(self._now.instances, wanted, at=at)
            self._write_instances(enrolment.changed, birth=at)
            return enrolment.ids

    def import_instances(self, others: Sequence[Instance]) -> list[int]:
        """The ids of another ledger's instances here: born when they were, and not retired."""
        with self._guard:
            self._settle()
            wanted = [(one.slo, one.labels, one.sli_hash) for one in others]
            enrolment = enrol(self._now.instances, wanted, at=0)
            changed = dict(enrolment.changed)
            for number, one in zip(enrolment.ids, others, strict=True):
                changed[number] = replace(one, id=number, retired=None)
            self._write_instances(changed, birth=min((one.born for one in others), default=0))
            return enrolment.ids

    def retire(self, ids: Iterable[int], *, at: int) -> None:
        """Mark instances as taken out; their counts stay."""
        with self._guard:
            self._write_instances(retired(self._now.instances, dict.fromkeys(ids, at)), birth=at)

    def grow(self, density: Density) -> None:
        """Keep counts as closely as `density` too: what a new SLO needs, from now on."""
        with self._guard:
            self.history.density = self.history.density.with_all_of(density)

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

    def commit(
        self, entry: Entry, *, also: Callable[[sa.Connection], None] | None = None
    ) -> list[StoredEvent]:
        """Write all of the entry or nothing of it; returns the events that were new, in their places.

        `also` writes in the same transaction; what it raises undoes all of it.
        """
        meta = dict(entry.meta)
        with self._guard:
            self.unstage()
            self._settle()
            rows = [*entry.rows, *entry.revised]
            states = {i: dict(s) for i, s in entry.states.items() if self.states.get(i) != dict(s)}
            gone = retired(self._now.instances, entry.retired)
            now = self._thinning_instant(rows)
            if now is not None:
                meta["thinned_at"] = str(now)
            thinned_at = int({**self._now.meta, **meta}.get("thinned_at", "0"))
            old = thinned_at - self.history.density.stages[0].age
            unmerged = self._unmerged or now is not None or any(row.end <= old for row in rows)
            try:
                with self._store.begin() as connection:
                    effects = self._write_rows(connection, rows, merged=old)
                    write_facts(connection, replace(entry, states=states, meta=meta))
                    upsert(connection, tables.instances, [one.stored() for one in gone.values()])
                    stored = self._write_events(connection, entry.events, meta)
                    if also is not None:
                        also(connection)
                    if unmerged:
                        unmerged = self._buckets.thin(connection, self.history.density, now=thinned_at)
                    elif self._retention.due:
                        self._retention.step(connection, self._buckets, now=thinned_at)
            except BaseException:
                self._buckets.forget()
                raise
            if now is not None and now % DAY == 0:
                self._retention.begin()
            self._unmerged = unmerged
            self.states.update(states)
            self._now.instances.update(gone)
            self.history.admit(gone)
            self._now.cursors.update(entry.cursors)
            self._now.slo_cursors.update(entry.slo_cursors)
            self._now.meta.update(meta)
            self.history.add(effects)
            self.history.thin(thinned_at)
            return stored

    # --- inside ---------------------------------------------------------------------------------------------

    def _read(self) -> Self:
        """Read everything into memory."""
        try:
            with self._store.begin() as connection:
                self._now = Contents.read(connection, self._buckets, History(density=self.history.density))
            if not self._store.read_only:
                self._now.texts.clear()  # who writes need not compare
        except UNREADABLE as error:
            self.close()
            raise self._store.damaged(f"{type(error).__name__}: {error}") from error
        except BaseException:
            self.close()
            raise
        return self

    def _begin_epoch(self, reset: Reset | None, now: int | None) -> None:
        """A new ledger has a name of its own; one that is not what it was gets a new one and says so."""
        if self._store.read_only:
            return
        older = None if self._store.older is None else Reset(self._store.older)
        self.reset = reset or older
        if self.reset is not None:
            last = self._store.last
            before = self._now.meta.get("epoch") or (last.epoch if last else "")
            at = now if now is not None else self.history.newest or 0
            names, newest = self._store.epochs, self.history.newest
            self.commit(epoch_entry(self.reset, before=before, epochs=names, newest=newest, at=at))
        elif "epoch" not in self._now.meta:
            self.commit(Entry(meta={"epoch": uuid.uuid4().hex}))

    def _settle(self) -> None:
        """Where a transaction of unknown fate got in after all, memory is read anew."""
        self._store.settle()
        if self._store.generation != self.generation:
            self._buckets.forget()
            with self._store.begin() as connection:
                self._now = Contents.read(connection, self._buckets, History(density=self.history.density))
            self.generation = self._store.generation

    def _write_events(
        self, connection: sa.Connection, events: Iterable[Event | Transition], meta: Mapping[str, str]
    ) -> list[StoredEvent]:
        instance = {**self._now.meta, **meta}.get("epoch", "")
        made = (event if isinstance(event, Event) else Event.of(event) for event in events)
        places = (store_event(connection, event, instance=instance) for event in made)
        return [place for place in places if place]

    def _write_rows(self, connection: sa.Connection, rows: Sequence[Row], *, merged: int) -> list[Row]:
        """Write the rows, and say which rows History has to take in for them.

        What is stored up to the instant `merged` may be wider than rows.
        """
        clear, touched = [], []
        apart = disjoint(rows)
        for row in rows:
            untouched = self.history.untouched(row) if apart else np.zeros(len(row.ids), np.bool_)
            if untouched.all():
                clear.append(row)
                continue
            touched.append(row.only(~untouched))
            clear.append(row.only(untouched))
        if apart:
            touched = self._as_wide(connection, touched, merged)
        effects = [effect for row in touched for effect in self._buckets.revise(connection, row)]
        self._buckets.insert(connection, clear)
        return [*effects, *clear]

    def _as_wide(self, connection: sa.Connection, rows: Sequence[Row], merged: int) -> list[Row]:
        """The rows, old ones as wide as what they replace."""
        old = [row for row in rows if row.end <= merged]
        wide = self._buckets.joined(connection, old) if old else []
        return [*wide, *(row for row in rows if row.end > merged)]

    def _thinning_instant(self, rows: Sequence[Row]) -> int | None:
        """A full hour of data time, when the rows lead past one: the instant to thin at."""
        newest = max((row.end for row in rows), default=None)
        if newest is None:
            return None
        hour = max(newest, self.history.newest or newest) // HOUR * HOUR
        return hour if hour > int(self._now.meta.get("thinned_at", 0)) else None

    def _write_instances(self, changed: Mapping[int, Instance], *, birth: int) -> None:
        if not changed:
            return
        meta = {} if "birth" in self._now.meta else {"birth": str(birth)}
        values = [instance.stored() for instance in changed.values()]
        with self._store.begin() as connection:
            upsert(connection, tables.instances, values)
            upsert(connection, tables.facts, [{"key": k, "value": v} for k, v in meta.items()])
        self._now.meta.update(meta)
        self._now.instances.update(changed)
        self.history.admit(changed)
