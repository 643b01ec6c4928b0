"""Store: one SQLite file for one writer at a time, locked, checked, migrated; foreign errors are mapped here.

Durability is WAL with synchronous=FULL. One connection writes and checkpoints: with several of them SQLite
from 3.7.0 to 3.51.2 has a WAL-reset bug. After any failure of the database the connection is closed and
opened anew, never asked to repeat an fsync.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from slo_budget_tracker import migrations
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.rows import DamageError
from slo_budget_tracker.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

_REMEDY = "move it away and restore a backup, or start anew"
_SAFE_SQLITE = (3, 51, 3)
_BUSY_MILLISECONDS = 5000


class Store:
    """The open database; `begin` is the only way to it."""

    def __init__(self, path: Path | None, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.warnings: tuple[str, ...] = ()
        self._lock: int | None = None
        self._connection: sa.Connection | None = None
        self._engine = sa.create_engine("sqlite://", creator=self._connect, poolclass=NullPool)
        sa.event.listen(self._engine, "begin", self._start)

    @classmethod
    def open(cls, url: str, *, read_only: bool = False) -> Store:
        """Open or create the database that the URL names; an in-memory one for `sqlite://`."""
        store = cls(_path(url), read_only=read_only)
        try:
            if store.path is None:
                with store.begin() as connection:
                    metadata.create_all(connection)
            elif read_only:
                store._check_version()
            else:
                store._prepare(store.path)
        except BaseException:
            store.close()
            raise
        return store

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                yield self._connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            self._reopen()
            verb = "read" if self.read_only else "written"
            raise LedgerError(f"the ledger {self} cannot be {verb}: {_reason(error)}") from error
        except DamageError as error:
            raise LedgerError(f"the ledger {self} is damaged ({error}): {_REMEDY}") from error

    def check(self) -> list[str]:
        """What SQLite's quick check finds wrong; nothing when the file is sound."""
        with self.begin() as connection:
            lines = [str(line) for (line,) in connection.exec_driver_sql("PRAGMA quick_check(20)")]
        return [] if lines == ["ok"] else lines

    def size(self) -> int:
        """Bytes of the file and its write-ahead log; 0 for one in memory."""
        if self.path is None:
            return 0
        parts = (self.path, Path(f"{self.path}-wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def backup(self, target: Path) -> None:
        """Copy the database as it is now to a new file, while it is in use."""
        if self.path is None:
            raise LedgerError("a ledger in memory has nothing to back up")
        _copy(self.path, target)

    def close(self) -> None:
        """Close the connection, fold the write-ahead log into the file and let the lock go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __str__(self) -> str:
        return str(self.path or "in memory")

    # --- opening --------------------------------------------------------------------------------------------

    def _prepare(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            fresh = not path.exists() or path.stat().st_size == 0
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise LedgerError(f"the ledger {self} cannot be opened: {error.strerror}") from error
        version = None if fresh else self._check_version()
        if version not in (None, migrations.REVISIONS[-1]):
            _copy(path, Path(f"{path}.before-{migrations.REVISIONS[-1]}"))
        if version != migrations.REVISIONS[-1]:
            with self.begin() as connection:
                _migrate(connection)
        problems = self.check()
        if problems:
            raise LedgerError(f"the ledger {self} is damaged ({problems[0]}): {_REMEDY}")
        self.warnings = tuple(_warnings(path))

    def _check_version(self) -> str | None:
        """The schema version of an existing file, without touching it; None for one without any table."""
        assert self.path is not None
        if not self.path.exists():
            raise LedgerError(f"there is no ledger at {self.path}")
        # without a log nobody has it open, and an immutable look leaves no new files beside it
        how = "mode=ro" if Path(f"{self.path}-wal").exists() else "immutable=1"
        try:
            with closing(sqlite3.connect(f"file:{quote(str(self.path))}?{how}", uri=True)) as peek:
                tables = {
                    name for (name,) in peek.execute("SELECT name FROM sqlite_master WHERE type='table'")
                }
                if not tables and not self.read_only:
                    return None
                if "alembic_version" not in tables:
                    raise LedgerError(f"{self.path} is not a ledger of slo-budget-tracker")
                version = str(peek.execute("SELECT version_num FROM alembic_version").fetchone()[0])
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self} cannot be read: {error}") from error
        if version not in migrations.REVISIONS:
            raise LedgerError(
                f"the ledger {self} has schema {version}, this program's is {migrations.REVISIONS[-1]}: "
                "run the newer program, or restore a backup made before its upgrade"
            )
        if self.read_only and version != migrations.REVISIONS[-1]:
            raise LedgerError(
                f"the ledger {self} has the older schema {version}: start the daemon once to upgrade it"
            )
        return version

    def _connect(self) -> sqlite3.Connection:
        if self.path is None:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        mode = "ro" if self.read_only else "rw"
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MILLISECONDS / 1000,
        )
        pragmas = ["mmap_size=0", "foreign_keys=ON"]
        pragmas += ["query_only=ON"] if self.read_only else ["journal_mode=WAL", "synchronous=FULL"]
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _start(self, connection: sa.Connection) -> None:
        # the driver's own transactions would leave DDL outside and take the write lock late
        connection.exec_driver_sql("BEGIN" if self.read_only else "BEGIN IMMEDIATE")

    def _reopen(self) -> None:
        if self._connection is not None and self.path is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def _path(url: str) -> Path | None:
    try:
        parsed = sa.make_url(url)
    except SQLAlchemyError as error:
        raise LedgerError(
            "the ledger's url cannot be read, expected for example sqlite:///var/ledger.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise LedgerError(
            f"a ledger in {parsed.get_backend_name()} is not supported yet, expected sqlite:///PATH"
        )
    return None if parsed.database in (None, "", ":memory:") else Path(str(parsed.database))


def _lock(path: Path) -> int:
    """Hold the lock file beside the database until the process ends, whatever way it ends."""
    handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise LedgerError(f"the ledger {path} is in use by the process {holder}") from error
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle


def _migrate(connection: sa.Connection) -> None:
    """Bring the schema to the newest version inside the connection's transaction."""
    from alembic import command  # noqa: PLC0415 - a fifth of a second, and only for new and old files
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _copy(source: Path, target: Path) -> None:
    """A consistent copy, readable by the owner only."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger {source} cannot be copied to {target}: {error}") from error


def _warnings(path: Path) -> Iterator[str]:
    if path.stat().st_mode & 0o077:
        yield f"{path} can be read by others (mode {path.stat().st_mode & 0o777:o}), expected 600"
    if sqlite3.sqlite_version_info < _SAFE_SQLITE:
        yield f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug, fixed in 3.51.3; one writer avoids it"


def _reason(error: Any) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
