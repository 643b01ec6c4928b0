"""Claims: which shard has which SLO, as rows of the database that all shards share.

An SLO is evaluated by the shard that its row names, and by no other. It lets go of it (`released`) when it
starts again and finds that the SLO belongs elsewhere; another one takes it in the transaction that copies
what was counted. A shard whose lock is free does not run: what it had can be taken at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from slo_budget_tracker import leases
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.shards import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

UNSHARDED = -1  # the ledger of a daemon that was alone before there were shards
_TABLE = """
CREATE TABLE IF NOT EXISTS "{base}".claim (
    slo text COLLATE "C" PRIMARY KEY,
    shard integer NOT NULL,
    released boolean NOT NULL DEFAULT false
)
"""


class Claim(NamedTuple):
    """Whose an SLO is, and whether that shard has let go of it."""

    shard: int
    released: bool


class Claims:
    """The rows, in the namespace `base`; each call is inside a transaction of the caller's."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._table = f'"{base}".claim'

    def make(self, connection: Connection) -> None:
        """The table, where it is missing; shards that start at once wait for each other."""
        key = {"key": f"slo-budget-tracker/{self.base}/make"}
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
        there = sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
        if connection.execute(there, {"name": self.base}).scalar() is None:
            connection.execute(sa.schema.CreateSchema(self.base))
        connection.execute(sa.text(_TABLE.format(base=self.base)))

    def made(self, connection: Connection) -> bool:
        """Whether there have ever been shards here."""
        query = sa.text("SELECT to_regclass(:name) IS NOT NULL")
        return bool(connection.execute(query, {"name": self._table}).scalar_one())

    def read(self, connection: Connection) -> dict[str, Claim]:
        """All rows."""
        rows = connection.execute(sa.text(f"SELECT slo, shard, released FROM {self._table}"))  # noqa: S608
        return {slo: Claim(shard, released) for slo, shard, released in rows}

    def claim(self, connection: Connection, names: Iterable[str], shard: int) -> None:
        """Take what nobody has; where another was quicker, it is the other's."""
        statement = f"INSERT INTO {self._table} (slo, shard) VALUES (:slo, :shard) ON CONFLICT DO NOTHING"  # noqa: S608
        for name in sorted(names):
            connection.execute(sa.text(statement), {"slo": name, "shard": shard})

    def take(
        self, connection: Connection, names: Iterable[str], *, was: int, shard: int, stopped: bool = False
    ) -> None:
        """Take these over from another shard that has let go of them or is `stopped`, all or none.

        Raises:
            LedgerError: a third one was quicker.
        """
        statement = (
            f"INSERT INTO {self._table} AS it (slo, shard) VALUES (:slo, :shard) "  # noqa: S608
            "ON CONFLICT (slo) DO UPDATE SET shard = :shard, released = false "
            "WHERE it.shard = :was AND (it.released OR :stopped)"
        )
        for name in sorted(names):
            values = {"slo": name, "shard": shard, "was": was, "stopped": stopped}
            if connection.execute(sa.text(statement), values).rowcount != 1:
                raise LedgerError(f"the SLO {name} was taken over by another shard")

    def release(self, connection: Connection, names: Iterable[str], shard: int) -> None:
        """Let go of these: whose they are may take them."""
        self._change("UPDATE {} SET released = true", connection, names, shard)

    def drop(self, connection: Connection, names: Iterable[str], shard: int) -> None:
        """There are no such SLOs any more."""
        self._change("DELETE FROM {}", connection, names, shard)

    def _change(self, what: str, connection: Connection, names: Iterable[str], shard: int) -> None:
        statement = f"{what.format(self._table)} WHERE slo = :slo AND shard = :shard"
        for name in sorted(names):
            connection.execute(sa.text(statement), {"slo": name, "shard": shard})

    def ledgers(self, connection: Connection) -> dict[int, str]:
        """The namespaces with a ledger, by shard; that of a daemon alone is `UNSHARDED`."""
        query = sa.text(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relname = 'slo_cursor' AND c.relkind = 'r'"
        )
        found = {}
        for (name,) in connection.execute(query):
            number = UNSHARDED if name == self.base else number_of(name, self.base)
            if number is not None:
                found[number] = name
        return found


def lock(connection: Connection, namespace: str) -> bool:
    """Take the lock of another shard's ledger where that shard does not run; it cannot start meanwhile."""
    key = {"key": f"slo-budget-tracker/{namespace}"}
    query = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
    return bool(connection.execute(query, key).scalar_one())


def unlock(connection: Connection, namespace: str) -> None:
    """Let it go again."""
    key = {"key": f"slo-budget-tracker/{namespace}"}
    connection.execute(sa.text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))"), key)


def look_into(connection: Connection, namespace: str) -> None:
    """What follows in this transaction is about another ledger's tables."""
    connection.execute(sa.text("SELECT set_config('search_path', :name, true)"), {"name": namespace})


def depose(connection: Connection, namespace: str, *, own: str, holder: str) -> None:
    """End the term of a shard that does not run: should it only be cut off, it may not write any more."""
    look_into(connection, namespace)
    leases.take(connection, leases.read(connection), token="", holder=holder, place="")
    look_into(connection, own)
