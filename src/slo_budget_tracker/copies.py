"""Copies of a ledger's file: whole, private, marked as copies; and damaged files that are put aside."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from slo_budget_tracker.errors import LedgerError

BESIDE = ("", "-wal", "-shm")


def address(path: Path) -> str:
    """How to look at a file without leaving traces: nobody has it open while there is no log beside it."""
    how = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    return f"file:{quote(str(path))}?{how}"


def backup_path(path: Path) -> Path:
    """Where the daemon keeps the last good copy."""
    return Path(f"{path}.backup")


def copy_new(source: Path, target: Path) -> None:
    """A consistent copy, also of a ledger in use, as one file that must not exist yet.

    Raises:
        LedgerError: it cannot be read or written; no half of a copy is left behind.
    """
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as error:
        raise _fault(source, target, error.strerror) from error
    try:
        _copy(source, target)
    except (OSError, sqlite3.Error) as error:
        _remove(target)
        raise _fault(source, target, error) from error


def copy_over(source: Path, target: Path) -> None:
    """A copy that takes the place of an older one once it is whole and on disk."""
    part = prepare_over(source, target)
    finish_over(part, target)


def prepare_over(source: Path, target: Path) -> Path:
    """The copy under another name, to be looked at before it takes the older one's place."""
    part = Path(f"{target}.part")
    _remove(part)
    copy_new(source, part)
    return part


def finish_over(part: Path, target: Path, *, now: float | None = None) -> None:
    """Let a prepared copy take the older one's place, as of `now`."""
    try:
        if now is not None:
            os.utime(part, (now, now))
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise _fault(part, target, error.strerror) from error


def put_back(backup: Path, path: Path) -> None:
    """The last good copy as the ledger's file; the copy stays."""
    copy_over(backup, path)


def put_aside(path: Path, *, suffix: str, parts: tuple[str, ...] = BESIDE) -> Path:
    """Rename a file and what lies beside it, never over something; returns the file's new name."""
    target = Path(f"{path}.{suffix}")
    number = 1
    while any(Path(f"{target}{part}").exists() for part in BESIDE):
        number += 1
        target = Path(f"{path}.{suffix}.{number}")
    try:
        for part in parts:
            with suppress(FileNotFoundError):
                Path(f"{path}{part}").rename(f"{target}{part}")
        _sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be put aside: {error.strerror}") from error
    return target


def _copy(source: Path, target: Path) -> None:
    with (
        closing(sqlite3.connect(address(source), uri=True)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        old.backup(new)
        # one file that can be read anywhere, and that knows what it is
        new.execute("PRAGMA journal_mode=DELETE")
        new.execute("INSERT OR REPLACE INTO fact SELECT 'copy_of', value FROM fact WHERE key = 'epoch'")
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    for part in (*BESIDE, "-journal"):
        with suppress(OSError):
            Path(f"{path}{part}").unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fault(source: Path, target: Path, why: object) -> LedgerError:
    return LedgerError(f"the ledger {source} cannot be copied to {target}: {why}")
