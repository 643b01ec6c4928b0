"""Claims: which shard has which SLO, as rows of the database that all shards share.

An SLO is evaluated by the shard that its row names, and by no other. It lets go of it (`released`) when it
starts again and finds that the SLO belongs elsewhere, or when another one asks for it (`wanted`) and the
files say the same; another one takes it in the transaction that copies what was counted. A shard whose lock
is free does not run: what it had can be taken at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from slo_budget_tracker import leases, sessions
from slo_budget_tracker.errors import LedgerError, UsageError
from slo_budget_tracker.shards import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from slo_budget_tracker.databases import Database

UNSHARDED = -1  # the ledger of a daemon that was alone before there were shards
_TABLE = """
CREATE TABLE IF NOT EXISTS "{base}".claim (
    slo text COLLATE "C" PRIMARY KEY,
    shard integer NOT NULL,
    released boolean NOT NULL DEFAULT false,
    wanted integer
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
        column = sa.text(
            "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attname = 'wanted'"
        )
        if (
            connection.execute(column, {"table": self._table}).scalar() is None
        ):  # made before it was asked for
            connection.execute(sa.text(f"ALTER TABLE {self._table} ADD COLUMN wanted integer"))

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
            "ON CONFLICT (slo) DO UPDATE SET shard = :shard, released = false, wanted = NULL "
            "WHERE it.shard = :was AND (it.released OR :stopped)"
        )
        for name in sorted(names):
            values = {"slo": name, "shard": shard, "was": was, "stopped": stopped}
            if connection.execute(sa.text(statement), values).rowcount != 1:
                raise LedgerError(f"the SLO {name} was taken over by another shard")

    def release(self, connection: Connection, names: Iterable[str], shard: int) -> None:
        """Let go of these: whose they are may take them."""
        self._change("UPDATE {} SET released = true", connection, names, shard)

    def asked_of(self, connection: Connection, shard: int) -> set[str]:
        """What it has, has not let go of, and others would like to have."""
        where = "shard = :shard AND wanted <> :shard AND NOT released"
        query = f"SELECT slo FROM {self._table} WHERE {where}"  # noqa: S608
        return set(connection.execute(sa.text(query), {"shard": shard}).scalars())

    def ask(self, connection: Connection, names: Iterable[str], shard: int) -> None:
        """Say which of the others' SLOs a shard would like to have: these, and no more."""
        values = {"names": sorted(names), "shard": shard}
        for statement in (
            "SET wanted = NULL WHERE wanted = :shard AND slo <> ALL(:names)",
            "SET wanted = :shard WHERE slo = ANY(:names) AND wanted IS DISTINCT FROM :shard",
        ):
            connection.execute(sa.text(f"UPDATE {self._table} {statement}"), values)

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


class Survey(NamedTuple):
    """Who has which SLO, and the namespace of each shard's ledger."""

    claims: Mapping[str, Claim]
    ledgers: Mapping[int, str]


def survey(database: Database) -> Survey:
    """What shards there are in this namespace; looks, and leaves no traces.

    Raises:
        LedgerError: PostgreSQL is out of reach.
    """
    claims = Claims(database.namespace)
    engine = sessions.engine_of(database, name=leases.APPLICATION, read_only=True)
    try:
        with engine.connect() as connection:
            found = claims.read(connection) if claims.made(connection) else {}
            return Survey(found, claims.ledgers(connection))
    except SQLAlchemyError as error:
        raise sessions.fault(database, error, verb="read") from error
    finally:
        engine.dispose()


def refuse_shared(database: Database) -> None:
    """See that nobody evaluates alone what shards evaluate.

    Raises:
        UsageError: shards have SLOs here.
        LedgerError: PostgreSQL is out of reach.
    """
    shards = sorted({claim.shard for claim in survey(database).claims.values()})
    if shards:
        raise UsageError(
            f"the ledger {database} is shared by shards ({', '.join(map(str, shards))} have its SLOs): start "
            "this daemon as one of them with --shard i/n, as their page with --shard all, or as the only one "
            "that is left, which takes all SLOs over, with --shard 0/1"
        )


def look_into(connection: Connection, namespace: str) -> None:
    """What follows in this transaction is about another ledger's tables."""
    connection.execute(sa.text("SELECT set_config('search_path', :name, true)"), {"name": namespace})


def depose(connection: Connection, namespace: str, *, own: str, holder: str) -> None:
    """End the term of a shard that does not run: should it only be cut off, it may not write any more."""
    look_into(connection, namespace)
    leases.take(connection, leases.read(connection), token="", holder=holder, place="")
    look_into(connection, own)
