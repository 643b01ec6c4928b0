"""Postgres: one namespace of a PostgreSQL database for one writer at a time: locked, fenced, migrated.

The writer's session holds an advisory lock, and each of its transactions locks the row of its term. A broken
connection is replaced; whether its last transaction got in is read from the ledger's count of commits once
the lock is ours again: then the broken session has ended, and nothing of it can come later.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from slo_budget_tracker import leases, schema, sessions
from slo_budget_tracker.errors import LedgerDamaged, LedgerDeposed, LedgerError, LedgerInUse
from slo_budget_tracker.marks import Mark, lineage
from slo_budget_tracker.plugs import Plug
from slo_budget_tracker.processes import this_process
from slo_budget_tracker.rows import DamageError
from slo_budget_tracker.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slo_budget_tracker.databases import Database

PAUSE = 1.0  # seconds after a connection that failed, in which no other one is tried
LOCK_SECONDS = 5.0  # in which a session that was ended lets its lock go, as a rule
_COUNT = sa.text(
    "INSERT INTO fact (key, value) VALUES ('commits', '1') ON CONFLICT (key) "
    "DO UPDATE SET value = CAST(CAST(fact.value AS BIGINT) + 1 AS TEXT)"
)
_HOME = sa.text(
    "SELECT (SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), "
    "(SELECT oid FROM pg_namespace WHERE nspname = :namespace), "
    "(SELECT timeline_id FROM pg_control_checkpoint())"
)


@dataclass(frozen=True, slots=True)
class Term:
    """The right to write that a seat has taken: its number, and the token of whoever has it."""

    number: int
    token: str


def new_token() -> str:
    """What tells one writer from all others."""
    return secrets.token_hex(8)


def holder() -> str:
    """Who this is, in words."""
    return f"process {os.getpid()} on {socket.gethostname()}"


class Postgres:
    """The open database; `begin` is the only way to it.

    Attributes:
        generation: how often what was believed about the last transaction turned out otherwise.
        epochs: the names under which events were sent from here, its own among them.
        older: why it is not the database that was last written, if so.
        warnings, remarks: what its owner should know, and what may interest.
    """

    path: Path | None = None
    last: Mark | None = None

    def __init__(self, database: Database, *, read_only: bool = False, term: Term | None = None) -> None:
        self.database = database
        self.read_only = read_only
        self.warnings: tuple[str, ...] = ()
        self.remarks: tuple[str, ...] = ()
        self.older: str | None = None
        self.epochs = ""
        self.generation = 0
        self.version = ""
        self._own = term is None  # nobody else keeps the term alive, or ends it
        self._token = new_token() if term is None else term.token
        self._term = None if term is None else term.number
        self._mark: Mark | None = None
        self._connection: sa.Connection | None = None
        self._wrote = False
        self._closed = False
        self._not_before = 0.0  # monotonic
        self._fault: LedgerError | None = None
        self._plug = Plug(database.timeout)
        name = leases.APPLICATION if read_only else leases.application(self._token)
        self._engine = sessions.engine_of(database, name=name, read_only=read_only, plug=self._plug)
        sa.event.listen(self._engine, "before_cursor_execute", self._see)

    @classmethod
    def open(cls, database: Database, *, read_only: bool = False, term: Term | None = None) -> Postgres:
        """Open the namespace, made and migrated for a writer; without a term, the writer takes the next one.

        Raises:
            LedgerError: it is out of reach, from a newer program or another one's.
            LedgerInUse: another session has it, for LOCK_SECONDS.
            LedgerDeposed: the term is over.
        """
        store = cls(database, read_only=read_only, term=term)
        try:
            if read_only:
                with store._mapped(), store._engine.connect() as connection:
                    _check_version(database, connection, read_only=True)
                    store.version = _version(connection)
            else:
                store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        mark = asked = None
        try:
            connection = self._opened()
            with connection.begin():
                self._wrote = False
                if self._term is not None:
                    leases.fence(connection, self._term)
                yield connection
                if self._wrote and self._mark is not None:
                    connection.execute(_COUNT)
                    asked = mark = _read_mark(connection)
                self._plug.arm()
            self._plug.disarm()
        except SQLAlchemyError as error:
            if not self._survived(error, asked):
                raise self._told(error) from error
        except (DamageError, UnicodeDecodeError) as error:
            raise self.damaged(str(error)) from error
        except LedgerDeposed:
            self._close()
            raise
        finally:
            self._plug.disarm()
        if mark is not None:
            self._mark = mark

    def settle(self) -> None:
        """Find out whether a transaction of unknown fate got in; nothing to do as a rule."""
        if not self.read_only:
            with self._mapped():
                self._opened()

    def check(self, *, whole: bool = False) -> list[str]:  # noqa: ARG002 - as of a file
        """Whether all tables are there: PostgreSQL sees to its files itself."""
        with self.begin() as connection:
            found = set(sa.inspect(connection).get_table_names(schema=self.database.namespace))
        return [f"the table {name} is gone" for name in metadata.tables if name not in found]

    def damaged(self, why: str) -> LedgerDamaged:
        """What is said of damage that was found in what it holds."""
        return LedgerDamaged(self, why, then=sessions.RESTORE)

    def size(self) -> int:
        """Bytes of all tables with their indexes."""
        query = sa.text(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :namespace AND c.relkind = 'r'"
        )
        with self.begin() as connection:
            return int(connection.execute(query, {"namespace": self.database.namespace}).scalar_one())

    def backup(self, target: Path) -> None:
        """PostgreSQL has a better way, which the error says."""
        url = self.database.url
        parts = [f"--host={url.host}" if url.host else "", f"--port={url.port}" if url.port else ""]
        parts += [f"--username={url.username}" if url.username else "", f"--schema={self.database.namespace}"]
        options = " ".join(part for part in parts if part)
        raise LedgerError(
            "a ledger in PostgreSQL is copied by PostgreSQL's own tools, also while it is in use: "
            f"pg_dump {options} --format=custom --file={target} {url.database or ''}".rstrip()
        )

    def close(self) -> None:
        """Close the connection, which lets the lock go."""
        self._closed = True
        if self._own and self._term is not None and self._connection is not None:
            with suppress(SQLAlchemyError), self._connection.begin():
                leases.release(self._connection, self._term)
        self._close()
        self._plug.close()
        self._engine.dispose()

    def __str__(self) -> str:
        return str(self.database)

    # --- opening --------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make what is missing, take the lock, bring the schema to this program's version."""
        with self._mapped():
            with self._engine.begin() as connection:
                bootstrap(connection, self.database)
            connection = self._opened()
            with connection.begin():
                if self._term is not None:
                    leases.fence(connection, self._term)
                version = _check_version(self.database, connection, read_only=False)
                if version != schema.newest():
                    schema.upgrade(connection)
                home = _home(connection, self.database)
                mark = _read_mark(connection)
                before = connection.execute(sa.text("SELECT value FROM fact WHERE key = 'home'")).scalar()
                if before != home:
                    values = {"home": home}
                    statement = "INSERT INTO fact (key, value) VALUES ('home', :home) "
                    connection.execute(
                        sa.text(f"{statement} ON CONFLICT (key) DO UPDATE SET value = excluded.value"), values
                    )
                self.version = _version(connection)
                self.warnings = tuple(_warnings(connection))
            self.older = _why_older(before, home)
            self.epochs = lineage(mark, None)
            self._mark = mark

    def _opened(self) -> sa.Connection:
        """The connection; a new one has the lock, and knows how far the ledger has come."""
        if self._connection is not None:
            return self._connection
        if self._closed:
            raise LedgerError(f"the ledger {self} is closed")
        if self._fault is not None and time.monotonic() < self._not_before:
            raise self._fault
        try:
            self._connection = self._engine.connect()
            if not self.read_only:
                self._claim(self._connection)
        except (SQLAlchemyError, LedgerError) as error:
            self._close()
            found = error if isinstance(error, LedgerError) else self._told(error)
            self._not_before, self._fault = time.monotonic() + PAUSE, found
            raise found from error
        self._fault = None
        return self._connection

    def _claim(self, connection: sa.Connection) -> None:
        """Take the lock, the term where none was given, and see whether the ledger is where it was left."""
        ends = time.monotonic() + LOCK_SECONDS
        with connection.begin():
            leases.end_sessions(connection, leases.application(self._token))
        while True:
            with connection.begin():
                if leases.lock(connection, self.database.namespace):
                    break
                lease = leases.read(connection)
            if self._term not in {None, lease.term}:
                raise LedgerDeposed(f"the ledger is led by {lease.holder or 'another daemon'} now")
            if time.monotonic() > ends:
                raise LedgerInUse(f"the ledger {self} is in use by {self._user(lease)}")
            time.sleep(0.05)
        with connection.begin():
            if self._term is None:
                seen = leases.read(connection)
                self._term = leases.take(
                    connection, seen, token=self._token, holder=holder(), place=this_process()
                )
            elif self._mark is not None:
                leases.fence(connection, self._term)
                self._compare(_read_mark(connection))

    def _user(self, lease: leases.Lease) -> str:
        """Who has the lock: whoever has the lease or, where that is ours, a session that is not over yet."""
        if lease.token == self._token:
            return "a session of a daemon that was killed, or of a shard that takes SLOs over"
        return f"the {lease.holder or 'unknown process'}"

    def _compare(self, now: Mark) -> None:
        assert self._mark is not None
        if (now.epoch, now.commits) == (self._mark.epoch, self._mark.commits):
            return
        if now.epoch == self._mark.epoch and now.commits < self._mark.commits:
            raise LedgerDeposed(f"the ledger {self} is older than what was last written: it is read anew")
        self.generation += 1
        self._mark = now

    # --- connections and their ends -------------------------------------------------------------------------

    def _see(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._wrote = self._wrote or sessions.writes(statement)

    def _survived(self, error: SQLAlchemyError, asked: Mark | None) -> bool:
        """Whether the transaction got in, in spite of the error; closes what cannot be trusted."""
        if not sessions.is_lost(error):
            return False
        self._close()
        if asked is None or self.read_only:
            return False
        known, before = self._mark, self.generation
        try:
            self._opened()
        except LedgerError:
            return False  # the next connection finds out
        if self._mark != asked:
            return False
        assert known is not None
        self.generation = before
        return True

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()
        self._plug.drop()

    def _told(self, error: SQLAlchemyError) -> LedgerError:
        return sessions.fault(self.database, error, verb="read" if self.read_only else "written")

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._told(error) from error


def bootstrap(connection: sa.Connection, database: Database) -> None:
    """The namespace and the row of the lease, made by whoever comes first."""
    names = {"namespace": database.namespace}
    key = {"key": f"slo-budget-tracker/{database.namespace}/make"}
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)
    there = sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :namespace")
    if connection.execute(there, names).scalar() is None:
        connection.execute(sa.schema.CreateSchema(database.namespace))
    if connection.execute(sa.text("SELECT to_regclass('lease')")).scalar() is None:
        leases.make(connection)


def _check_version(database: Database, connection: sa.Connection, *, read_only: bool) -> str | None:
    found: str | None = None
    if connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar() is not None:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    elif connection.execute(sa.text("SELECT to_regclass('fact')")).scalar() is not None:
        raise LedgerDamaged(database, "its schema version is gone", then=sessions.RESTORE)
    if found is None and read_only:
        raise LedgerError(f"there is no ledger at {database}{_shards_beside(database, connection)}")
    if found is not None:
        schema.check_version(str(database), found, read_only=read_only)
    return found


def _shards_beside(database: Database, connection: sa.Connection) -> str:
    """Where the ledgers of shards are, if this is the place that they share."""
    query = sa.text("SELECT nspname FROM pg_namespace WHERE nspname ~ :pattern ORDER BY nspname")
    pattern = f"^{database.namespace}_shard_[0-9]+$"
    names = connection.execute(query, {"pattern": pattern}).scalars().all()
    return f", its shards have theirs: name one by ledger.namespace, such as {names[0]}" if names else ""


def _read_mark(connection: sa.Connection) -> Mark:
    query = sa.text("SELECT key, value FROM fact WHERE key IN ('epoch', 'epoch_before', 'epochs', 'commits')")
    facts = {str(key): str(value) for key, value in connection.execute(query)}
    number = facts.pop("commits", "0")
    return Mark(commits=int(number) if number.isdigit() else 0, **{"epoch": "", **facts})


def _home(connection: sa.Connection, database: Database) -> str:
    """Which database this is: the cluster, the database in it, the namespace, and the cluster's timeline."""
    found = connection.execute(_HOME, {"namespace": database.namespace}).one()
    return "/".join(map(str, found))


def _why_older(before: str | None, now: str) -> str | None:
    if before is None or before == now:
        return None
    if before.rpartition("/")[0] == now.rpartition("/")[0]:
        return "the database server was promoted or put back, what was written last may be missing"
    return "it is a copy that was put back"


def _version(connection: sa.Connection) -> str:
    return str(connection.execute(sa.text("SHOW server_version")).scalar_one()).split(" ", 1)[0]


def _warnings(connection: sa.Connection) -> Iterator[str]:
    if connection.execute(sa.text("SHOW fsync")).scalar_one() != "on":
        yield "PostgreSQL runs with fsync = off: after a power loss the ledger may be damaged"
    if connection.execute(sa.text("SHOW full_page_writes")).scalar_one() != "on":
        yield "PostgreSQL runs with full_page_writes = off: after a power loss the ledger may be damaged"
