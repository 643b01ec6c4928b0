"""Store: one SQLite file for one writer at a time, locked, checked, migrated; foreign errors are mapped here.

Durability is WAL with synchronous=FULL. One connection writes and checkpoints: with several of them SQLite
from 3.7.0 to 3.51.2 has a WAL-reset bug. After a failed write or sync the connection is closed and opened
anew, never asked to repeat an fsync; whether the transaction got in all the same is then read from the file.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slo_budget_tracker import schema
from slo_budget_tracker.copies import address, backup_path, copy_new, copy_over, put_aside
from slo_budget_tracker.errors import LedgerDamaged, LedgerError
from slo_budget_tracker.filesystems import mount_of
from slo_budget_tracker.marks import Lock, Mark, lineage, log_commits, read_mark, strange_log, why_older
from slo_budget_tracker.rows import DamageError
from slo_budget_tracker.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slo_budget_tracker.databases import Database

_SAFE_SQLITE = (3, 51, 3)
_BUSY_MILLISECONDS = 5000
_LOG_BYTES = 64 << 20  # what the log is cut to after a first fill made it long
_QUICK_BYTES = (
    256 << 20
)  # of larger files the counts are not checked twice: they are all read, with checksums
_KEEPS = frozenset({  # after these the connection is as good as before
    *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED),
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_INTERRUPT),
})  # fmt: skip
_COUNT = (
    "INSERT INTO fact (key, value) VALUES ('commits', '1') "
    "ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)"
)


class Store:
    """The open database; `begin` is the only way to it.

    Attributes:
        generation: how often it turned out later that a transaction of unknown fate had got in.
        older: why the file is not the one that was last written here, if so.
        epochs: the names under which events were sent from here, its own among them.
        warnings, remarks: what its owner should know, and what may interest.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.warnings: tuple[str, ...] = ()
        self.remarks: tuple[str, ...] = ()
        self.older: str | None = None
        self.epochs = ""
        self.generation = 0
        self._lock: Lock | None = None
        self._mark: Mark | None = None
        self._in_doubt = False
        self._immutable = False
        self._connection: sa.Connection | None = None
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        sa.event.listen(self._engine, "begin", self._start)

    @classmethod
    def open(
        cls, database: Database, *, read_only: bool = False, force: bool = False, mend: str | None = None
    ) -> Store:
        """Open or create the database that the URL names; an in-memory one for `sqlite://`.

        With `mend`, a log that belongs to another file is put aside under this suffix; else it is refused.
        """
        store = cls(database.path, read_only=read_only)
        try:
            if store.path is None:
                with store.begin() as connection:
                    metadata.create_all(connection)
            elif read_only:
                schema.version_of(store.path, read_only=True)
            else:
                store._prepare(store.path, force=force, mend=mend)
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        self.settle()
        mark = self._mark
        asked = None
        try:
            connection = self._opened()
            with connection.begin():
                changes = _driver(connection).total_changes
                yield connection
                if self._mark is not None and _driver(connection).total_changes != changes:
                    connection.exec_driver_sql(_COUNT)
                    asked = mark = read_mark(_driver(connection))
        except (SQLAlchemyError, sqlite3.Error) as error:
            if not self._survived(error, asked):
                raise self._fault(error) from error
        except (DamageError, UnicodeDecodeError) as error:
            raise self.damaged(str(error)) from error
        if asked is not None:
            self._note(mark)

    def settle(self) -> None:
        """Find out whether the transaction of unknown fate got in; nothing to do as a rule."""
        if not self._in_doubt or self._mark is None:
            return
        try:
            now = self._durable_mark()
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._close()
            raise self._fault(error) from error
        self._in_doubt = False
        if now != self._mark:
            self.generation += 1
            self._note(now)

    def check(self, *, whole: bool = False) -> list[str]:
        """What SQLite finds wrong, quickly or with every index; nothing when the file is sound."""
        with self.begin() as connection:
            if whole:
                commands = ["integrity_check(20)"]
            elif self.size() <= _QUICK_BYTES:
                commands = ["quick_check(20)"]
            else:
                commands = [f"quick_check('{name}')" for name in metadata.tables if name != "bucket"]
            lines = [str(line) for c in commands for (line,) in connection.exec_driver_sql(f"PRAGMA {c}")]
        return [line for line in lines if line != "ok"]

    @property
    def version(self) -> str:
        """The library's."""
        return sqlite3.sqlite_version

    def damaged(self, why: str) -> LedgerDamaged:
        """What is said of damage that was found in what it holds."""
        return LedgerDamaged(self, why)

    def size(self) -> int:
        """Bytes of the file and its write-ahead log; 0 for one in memory."""
        if self.path is None:
            return 0
        found = 0
        for part in (self.path, Path(f"{self.path}-wal")):
            with suppress(FileNotFoundError):
                found += part.stat().st_size
        return found

    def backup(self, target: Path) -> None:
        """Copy the database as it is now to a new file, while it is in use."""
        if self.path is None:
            raise LedgerError("a ledger in memory has nothing to back up")
        copy_new(self.path, target)

    @property
    def last(self) -> Mark | None:
        """What the last writer noted beside the file."""
        return None if self._lock is None else self._lock.before

    def close(self) -> None:
        """Close the connection, fold the write-ahead log into the file and let the lock go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __str__(self) -> str:
        return str(self.path or "in memory")

    # --- opening --------------------------------------------------------------------------------------------

    def _prepare(self, path: Path, *, force: bool, mend: str | None) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            mount = mount_of(path.parent)
            if mount is not None and mount.unsafe and not force:
                raise LedgerError(
                    f"the ledger {self} lies on {mount.kind} ({mount.point}), where file locks cannot be "
                    "relied on: put it on a local disk, or set ledger.force: true"
                )
            self._lock = Lock.take(path)
            fresh = _is_empty(path)
            if fresh and backup_path(path).exists() and not log_commits(Path(f"{path}-wal")):
                raise LedgerDamaged(self, "the file is gone or empty, and there is a backup of it")
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise LedgerError(f"the ledger {self} cannot be opened: {error.strerror}") from error
        if not fresh and strange_log(path):
            self._put_log_aside(path, mend)
        version = None if fresh else schema.version_of(path, read_only=False)
        if version not in (None, schema.newest()):
            copy_over(path, Path(f"{path}.before-{schema.newest()}"))
        if version != schema.newest():
            with self.begin() as connection:
                schema.upgrade(connection)
        problems = self.check()
        if problems:
            raise LedgerDamaged(self, problems[0])
        self._compare()
        self.warnings = tuple(_warnings(path, None if mount is None else mount.warning))
        self.remarks = tuple(_remarks())

    def _put_log_aside(self, path: Path, mend: str | None) -> None:
        why = "its write-ahead log was written upon another file"
        if mend is None:
            raise LedgerDamaged(self, why)
        put_aside(path, suffix=mend, parts=("-wal", "-shm"))
        self.older = why

    def _compare(self) -> None:
        """How far the file has come, and whether that is as far as it had come before."""
        assert self._lock is not None
        with self.begin() as connection:
            mark = read_mark(_driver(connection))
        self._mark = mark
        self.older = self.older or why_older(self._mark, self._lock.before)
        self.epochs = lineage(self._mark, self._lock.before)
        self._lock.note(self._mark)

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        where = address(self.path)
        self._immutable = self.read_only and where.endswith("immutable=1")
        connection = sqlite3.connect(
            where if self.read_only else f"{where.rpartition('?')[0]}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MILLISECONDS / 1000,
        )
        pragmas = ["mmap_size=0", "foreign_keys=ON"]
        pragmas += (
            ["query_only=ON"]
            if self.read_only
            else ["journal_mode=WAL", "synchronous=FULL", f"journal_size_limit={_LOG_BYTES}"]
        )
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _start(self, connection: sa.Connection) -> None:
        # the driver's own transactions would leave DDL outside and take the write lock late
        connection.exec_driver_sql("BEGIN" if self.read_only else "BEGIN IMMEDIATE")

    # --- connections and their ends -------------------------------------------------------------------------

    def _opened(self) -> sa.Connection:
        """The connection; a reader that began while nobody wrote looks anew once somebody does."""
        if self._immutable and self.path is not None and Path(f"{self.path}-wal").exists():
            self._close()
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _survived(self, error: SQLAlchemyError | sqlite3.Error, asked: Mark | None) -> bool:
        """Whether the transaction is in the file in spite of the error; closes what cannot be trusted."""
        if _code(error) in _KEEPS or self.path is None:
            return False
        self._close()
        if asked is None:
            return False
        self._in_doubt = True
        try:
            now = self._durable_mark()
        except (SQLAlchemyError, sqlite3.Error):
            self._close()
            return False
        self._in_doubt = False
        return now == asked

    def _durable_mark(self) -> Mark:
        """How far the file has come, written again and synced: what was there may be in memory only."""
        driver = _driver(self._opened())
        _, inside, written = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if inside != written:
            raise sqlite3.OperationalError(
                "what was written last cannot be made durable while it is being read"
            )
        return read_mark(driver)

    def _note(self, mark: Mark | None) -> None:
        self._mark = mark
        if self._lock is not None:
            self._lock.note(mark)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _fault(self, error: SQLAlchemyError | sqlite3.Error) -> LedgerError:
        if _code(error) in schema.DAMAGE:
            return LedgerDamaged(self, _reason(error))
        verb = "read" if self.read_only else "written"
        return LedgerError(f"the ledger {self} cannot be {verb}: {_reason(error)}")


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _is_empty(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


def _warnings(path: Path, mount: str | None) -> Iterator[str]:
    if path.stat().st_mode & 0o077:
        yield f"{path} can be read by others (mode {path.stat().st_mode & 0o777:o}), expected 600"
    if mount is not None:
        yield f"{path} lies in {mount}"


def _remarks() -> Iterator[str]:
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        yield f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug, fixed in 3.51.3; one writer avoids it"


def _code(error: SQLAlchemyError | sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where there is none."""
    found: Any = getattr(error, "orig", None) or error
    return int(getattr(found, "sqlite_errorcode", 0)) & 0xFF


def _reason(error: Any) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
