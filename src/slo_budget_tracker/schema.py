"""Schema: which version a ledger has, told without touching it, and how it becomes the newest one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from slo_budget_tracker import migrations
from slo_budget_tracker.copies import address, backup_path
from slo_budget_tracker.errors import LedgerDamaged, LedgerError

if TYPE_CHECKING:
    import sqlalchemy as sa

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_OURS = b"slo_cursor"  # a table's name that no other program has, in clear in the first pages
_FIRST_PAGES = 1 << 16


def newest() -> str:
    """The version that this program writes."""
    return migrations.REVISIONS[-1]


def version_of(path: Path, *, read_only: bool) -> str | None:
    """The version of an existing file, untouched; None for a file without any table that may be written.

    Raises:
        LedgerError: another program's file, one from a newer program, or one that must be upgraded first.
        LedgerDamaged: a ledger, but it cannot be read.
    """
    if not path.exists():
        raise LedgerError(f"there is no ledger at {path}")
    try:
        found = _look(path, read_only=read_only)
    except UnicodeDecodeError as error:
        raise LedgerDamaged(path, str(error)) from error
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    if found is not None:
        check_version(path, found, read_only=read_only)
    return found


def check_version(ledger: object, found: str, *, read_only: bool) -> None:
    """Whether this program can work with a schema version.

    Raises:
        LedgerError: it is from a newer program, or must be upgraded first.
        LedgerDamaged: it is none.
    """
    if found not in migrations.REVISIONS and not (found.isdigit() and len(found) == len(newest())):
        raise LedgerDamaged(ledger, f"its schema version is {found!r}")
    if found not in migrations.REVISIONS:
        raise LedgerError(
            f"the ledger {ledger} has schema {found}, this program's is {newest()}: "
            "run the newer program, or restore a backup made before its upgrade"
        )
    if read_only and found != newest():
        raise LedgerError(
            f"the ledger {ledger} has the older schema {found}: start the daemon once to upgrade it"
        )


def _look(path: Path, *, read_only: bool) -> str | None:
    with closing(sqlite3.connect(address(path), uri=True)) as peek:
        tables = {name for (name,) in peek.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if not tables and not read_only and not _is_ours(path):
            return None
        if "alembic_version" not in tables and _is_ours(path):
            raise LedgerDamaged(path, "its schema version is gone")
        if "alembic_version" not in tables:
            raise LedgerError(f"{path} is not a ledger of slo-budget-tracker")
        row = peek.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else "nothing"


def _unreadable(path: Path, error: sqlite3.Error) -> LedgerError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in DAMAGE | {sqlite3.SQLITE_ERROR} and _is_ours(path):
        return LedgerDamaged(path, str(error))
    return LedgerError(f"the ledger {path} cannot be read: {error}")


def _is_ours(path: Path) -> bool:
    """Whether an unreadable file was a ledger: it names a table of ours, or a copy is kept beside it."""
    if backup_path(path).exists():
        return True
    with path.open("rb") as data:
        return _OURS in data.read(_FIRST_PAGES)


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema to the newest version inside the connection's transaction."""
    from alembic import command  # noqa: PLC0415 - a fifth of a second, and only for new and old files
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
