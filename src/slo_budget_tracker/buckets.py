"""Buckets: rows on disk, one blob per span and roster; per instance the spans never overlap.

A roster is an immutable list of instance ids, found by the hash of its content. A row that is written over
stored spans takes their place; one inside a wider, already merged span fills that span's unobserved seconds.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from slo_budget_tracker.density import cell_end
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.rows import CHANNELS, DamageError, Row, merge, pack, unpack
from slo_budget_tracker.tables import buckets, rosters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from slo_budget_tracker.density import Density

_BATCH = 30_000  # instances' spans merged in one transaction: some 40 ms of CPU
_PER_BUCKET = 1_000  # what a bucket costs beside its numbers, in such
_LOOK_AHEAD = 400


class _Bucket(NamedTuple):
    id: int
    start: int
    end: int
    step: int
    ids: NDArray[np.int64]


class Buckets:
    """Reads and writes rows inside transactions that the ledger holds."""

    def __init__(self) -> None:
        self._rosters: dict[int, NDArray[np.int64]] = {}
        self._by_digest: dict[bytes, int] = {}
        self.refused = 0

    def forget(self) -> None:
        """Forget what a transaction that was rolled back may have left in the caches."""
        self._rosters.clear()
        self._by_digest.clear()

    def newest(self, connection: sa.Connection) -> int:
        """The highest number of a row; 0 without rows."""
        return int(connection.execute(sa.select(sa.func.max(buckets.c.id))).scalar() or 0)

    def load(
        self, connection: sa.Connection, *, after: int | None = None, narrow: bool = False
    ) -> Iterator[Row]:
        """All rows, in no order: read from the table itself, as an index may be damaged unnoticed.

        With `after` those of higher numbers only: what was written since that one was the highest. With
        `narrow` they are for summing up only (see `unpack`).
        """
        known = max(self._rosters, default=0) if after is not None else 0
        members_of = sa.select(rosters.c.id, rosters.c.members).where(rosters.c.id > known)
        for number, members in connection.execute(members_of):
            self._rosters[number] = _ids(members)
        query = sa.select(buckets.c.start_at, buckets.c.end_at, buckets.c.roster, buckets.c.payload)
        if after is not None:
            query = query.where(buckets.c.id > after)
        for start, end, roster, payload in connection.execute(query):
            if roster not in self._rosters:
                raise DamageError(f"the roster of ({start}, {end}] is gone")
            yield unpack(payload, start=start, end=end, ids=self._rosters[roster], narrow=narrow)

    def forget_unused(self, connection: sa.Connection, *, limit: int = 5) -> None:
        """Remove some rosters that no row has any more; each costs a look at all rows."""
        used = sa.select(buckets.c.roster)
        unused = sa.select(rosters.c.id).where(rosters.c.id.not_in(used)).limit(limit)
        gone = connection.execute(unused).scalars().all()
        connection.execute(sa.delete(rosters).where(rosters.c.id.in_(gone)))
        if gone:
            self.forget()

    def by_step(self, connection: sa.Connection) -> dict[int, int]:
        """How many rows there are, by the seconds they were merged to."""
        query = sa.select(buckets.c.step, sa.func.count()).group_by(buckets.c.step)
        return {int(step): int(count) for step, count in connection.execute(query)}

    def insert(self, connection: sa.Connection, rows: Sequence[Row], *, step: int = 0) -> None:
        """Write rows over spans where nothing is stored for their instances."""
        values = [
            {
                "start_at": row.start,
                "end_at": row.end,
                "step": step,
                "roster": self._roster(connection, row.ids),
                "payload": pack(row),
            }
            for row in rows
            if len(row.ids)
        ]
        if values:
            connection.execute(sa.insert(buckets), values)

    def revise(self, connection: sa.Connection, row: Row) -> list[Row]:
        """Write a row over whatever is stored; returns the rows that History has to take in for it."""
        effects = []
        for bucket in self._overlapping(connection, row):
            common: NDArray[np.bool_] = np.isin(bucket.ids, row.ids)
            if not common.any():
                continue
            stored = self._read(connection, bucket)
            old = stored.only(common)
            rests = [stored.only(~common)]
            if bucket.start < row.start or bucket.end > row.end:
                if bucket.start <= row.start and row.end <= bucket.end:
                    mine: NDArray[np.bool_] = np.isin(row.ids, old.ids)
                    filled = self._fill(old, row.only(mine))
                    row = row.only(~mine)
                    rests.append(filled)
                    effects.append(filled)
                else:
                    outside = _outside(old, row)
                    rests += outside
                    effects += outside
            _delete(connection, [bucket])
            self.insert(connection, rests, step=bucket.step)
        self.insert(connection, [row])
        return [*effects, row]

    def joined(self, connection: sa.Connection, rows: Sequence[Row]) -> list[Row]:
        """Rows that do not overlap; of each instance those that fill a wider stored span together as one."""
        rows, joined = sorted(rows, key=lambda row: row.end), []
        ends = [row.end for row in rows]
        wide = buckets.c.end_at - buckets.c.start_at > min(row.seconds for row in rows)
        begun = min(row.start for row in rows)
        for bucket in self._select(
            connection, wide & (buckets.c.end_at > begun) & (buckets.c.start_at < ends[-1])
        ):
            places = range(bisect_right(ends, bucket.start), bisect_right(ends, bucket.end))
            inside = [at for at in places if rows[at].start >= bucket.start]
            filled = _filled_by([rows[at] for at in inside], bucket)
            if len(inside) < 2 or not len(filled):  # noqa: PLR2004 - one row alone is as wide as the span
                continue
            for at in inside:
                mine = np.isin(rows[at].ids, filled)
                joined.append(rows[at].only(mine))
                rows[at] = rows[at].only(~mine)
            joined[-len(inside) :] = merge(joined[-len(inside) :])
        return [*joined, *(row for row in rows if len(row.ids))]

    def thin(self, connection: sa.Connection, density: Density, *, now: int) -> bool:
        """Merge one bounded batch of old buckets, as History.thin drops points; whether there may be more."""
        spent = 0
        for stage in reversed(density.stages):
            limit = (now - stage.age) // stage.step * stage.step
            finer = (buckets.c.step < stage.step) & (buckets.c.end_at <= limit)
            due = sa.select(buckets.c.end_at).where(finer).order_by(buckets.c.end_at).limit(_LOOK_AHEAD)
            while spent < _BATCH and (ends := connection.execute(due).scalars().all()):
                cells = np.unique(cell_end(np.array(ends, np.int64), stage.step)).tolist()
                spent += self._merge_cells(connection, cells, stage.step, budget=_BATCH - spent)
        return spent >= _BATCH

    def _merge_cells(self, connection: sa.Connection, cells: Sequence[int], step: int, *, budget: int) -> int:
        """Merge the buckets of each cell, until the budget is spent; returns what was."""
        spent = 0
        within = (buckets.c.end_at > cells[0] - step) & (buckets.c.end_at <= cells[-1])
        found: dict[int, list[_Bucket]] = {}
        for bucket in self._select(connection, within):
            found.setdefault(-(-bucket.end // step) * step, []).append(bucket)
        alone: list[int] = []
        for cell in cells:
            members = found[cell]
            if len(members) == 1:
                alone.append(members[0].id)
                continue
            if spent >= budget:
                break
            merged = merge([self._read(connection, bucket) for bucket in members])
            _delete(connection, members)
            self.insert(connection, merged, step=step)
            spent += sum(len(bucket.ids) + _PER_BUCKET for bucket in members)
        if alone:
            connection.execute(sa.update(buckets).where(buckets.c.id.in_(alone)).values(step=step))
        return spent + len(alone)

    def _overlapping(self, connection: sa.Connection, row: Row) -> list[_Bucket]:
        return self._select(connection, (buckets.c.end_at > row.start) & (buckets.c.start_at < row.end))

    def _select(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[_Bucket]:
        columns = (buckets.c.id, buckets.c.start_at, buckets.c.end_at, buckets.c.step, buckets.c.roster)
        found = connection.execute(sa.select(*columns).where(where).order_by(buckets.c.end_at)).all()
        return [
            _Bucket(number, start, end, step, self._members(connection, roster))
            for number, start, end, step, roster in found
        ]

    def _read(self, connection: sa.Connection, bucket: _Bucket) -> Row:
        query = sa.select(buckets.c.payload).where(buckets.c.id == bucket.id)
        payload = connection.execute(query).scalar_one()
        return unpack(payload, start=bucket.start, end=bucket.end, ids=bucket.ids)

    def _fill(self, stored: Row, row: Row) -> Row:
        """Put a narrower row into a wider stored one, in place of seconds that were not observed.

        Where too few such seconds are left, the stored figures stand: counting twice is worse than missing.
        """
        row = row.only(np.argsort(row.ids)[np.searchsorted(np.sort(row.ids), stored.ids)])
        new, values = row.channels(), stored.channels()
        stated = new["known"] + new["absent"] + new["error"] + new["unknown"]
        fits = stored.seconds - values["known"] >= stated
        self.refused += int((~fits).sum())
        taken = np.where(fits, stated, 0)
        missed = stored.seconds - sum(values[name] for name in ("known", "absent", "error", "unknown"))
        taken = taken - np.minimum(taken, missed)
        for name in ("error", "unknown", "absent"):
            part = np.minimum(taken, values[name])
            values[name] = values[name] - part
            taken = taken - part
        for name in CHANNELS:
            values[name] = values[name] + np.where(fits, new[name], 0).astype(values[name].dtype)
        return Row.from_channels(stored.start, stored.end, stored.ids, values)

    def _members(self, connection: sa.Connection, roster: int) -> NDArray[np.int64]:
        if roster not in self._rosters:
            query = sa.select(rosters.c.members).where(rosters.c.id == roster)
            self._rosters[roster] = _ids(connection.execute(query).scalar_one())
        return self._rosters[roster]

    def _roster(self, connection: sa.Connection, ids: NDArray[np.int64]) -> int:
        plain = ids.astype("<i8").tobytes()
        digest = hashlib.sha256(plain).digest()
        if digest not in self._by_digest:
            query = sa.select(rosters.c.id).where(rosters.c.digest == digest)
            number = connection.execute(query).scalar()
            if number is None:
                new = sa.insert(rosters).values(digest=digest, members=zlib.compress(plain))
                key = connection.execute(new).inserted_primary_key
                assert key is not None
                number = int(key[0])
            self._by_digest[digest] = number
            self._rosters[number] = ids
        return self._by_digest[digest]


def _delete(connection: sa.Connection, members: Sequence[_Bucket]) -> None:
    connection.execute(sa.delete(buckets).where(buckets.c.id.in_([bucket.id for bucket in members])))


def _filled_by(rows: Sequence[Row], bucket: _Bucket) -> NDArray[np.int64]:
    """The instances of a stored span of which these rows have every second."""
    if sum(row.seconds for row in rows) < bucket.end - bucket.start:
        return np.zeros(0, np.int64)
    ids, places = np.unique(np.concatenate([row.ids for row in rows]), return_inverse=True)
    seconds = np.bincount(places, np.repeat([row.seconds for row in rows], [len(row.ids) for row in rows]))
    return np.intersect1d(ids[seconds == bucket.end - bucket.start], bucket.ids)


def _ids(members: bytes) -> NDArray[np.int64]:
    try:
        return np.frombuffer(zlib.decompress(members), "<i8").astype(np.int64)
    except (zlib.error, ValueError) as error:
        raise DamageError(f"a stored roster: {error}") from error


def _outside(stored: Row, row: Row) -> list[Row]:
    """What is left of a stored row beside one that cuts it; only a row without counts can be cut."""
    if stored.known.any():
        raise LedgerError(
            f"counts of ({row.start}, {row.end}] cut those stored for ({stored.start}, {stored.end}]: "
            "a revision covers whole stored rows, or lies inside one"
        )
    parts = [(stored.start, min(row.start, stored.end)), (max(row.end, stored.start), stored.end)]
    left: list[Row] = []
    for start, end in parts:
        if end > start:
            share: dict[str, Any] = {
                name: (values * ((end - start) / stored.seconds)).astype(values.dtype)
                for name, values in stored.channels().items()
            }
            left.append(Row.from_channels(start, end, stored.ids, share))
    return left
