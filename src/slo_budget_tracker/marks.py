"""Marks: the lock file beside a ledger says who has it open, and how far it had come.

The mark is written after each commit and never synced: it may be behind the ledger, but a ledger that is
behind its mark is an older copy. Where a write-ahead log lies beside the file, the two are compared as well.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from slo_budget_tracker.errors import LedgerError

_WIDTH = 1_280
_MOST_EPOCHS = 32
_LOG_HEADER = struct.Struct(">8I")
_FRAME_HEADER = struct.Struct(">6I")
_FACTS = ("epoch", "epoch_before", "epochs", "copy_of", "commits")


class Mark(NamedTuple):
    """How far a ledger has come: its commits since `epoch` began, and what it was before.

    `epochs` are the names of all epochs before, the newest first, with commas.
    """

    epoch: str
    commits: int
    epoch_before: str = ""
    epochs: str = ""
    copy_of: str = ""


class Lock:
    """The lock of a ledger's writer, held until the process ends, whatever way it ends."""

    def __init__(self, handle: int, *, before: Mark | None) -> None:
        self._handle = handle
        self.before = before

    @classmethod
    def take(cls, path: Path) -> Lock:
        """Take it, or say who has it.

        Raises:
            LedgerError: another process has it.
        """
        handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        words = os.pread(handle, _WIDTH, 0).decode("ascii", "replace").split()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            holder = words[0] if words else "unknown"
            raise LedgerError(f"the ledger {path} is in use by the process {holder}") from error
        lock = cls(handle, before=_mark(words[1:]))
        lock.note(lock.before)
        return lock

    def note(self, mark: Mark | None) -> None:
        """Write down how far the ledger has come; a full disk is no reason to fail: the block is there."""
        told = f"{os.getpid()}"
        if mark and mark.epoch:
            told = f"{told} {mark.epoch} {mark.commits} {mark.epochs}".rstrip()
        with suppress(OSError):
            os.pwrite(self._handle, told.ljust(_WIDTH - 1).encode() + b"\n", 0)

    def release(self) -> None:
        """Let it go."""
        os.close(self._handle)


def why_older(now: Mark, before: Mark | None) -> str | None:
    """Why the ledger at hand is not the one that was last written here; None when it may well be."""
    if now.copy_of:
        return "it is a copy that was put back"
    if before is None:
        return None
    if not now.epoch:
        return "the ledger that was here is gone"
    if now.epoch == before.epoch:
        return "it is older than what was last written" if now.commits < before.commits else None
    return None if now.epoch_before == before.epoch else "it is not the file that was last written"


def lineage(now: Mark, before: Mark | None) -> str:
    """The epochs under which events were sent from here, as far as the ledger and its lock tell."""
    told = [now.epoch, *now.epochs.split(","), now.epoch_before]
    if before is not None:
        told += [before.epoch, *before.epochs.split(",")]
    return ",".join([name for name in dict.fromkeys(told) if name][:_MOST_EPOCHS])


def strange_log(path: Path) -> bool:
    """Whether the write-ahead log beside the file was written upon another file, or an older state of it."""
    inside = log_commits(Path(f"{path}-wal"))
    if not inside:
        return False
    try:
        base, whole = _peek(path, "immutable=1"), _peek(path, "mode=ro")
    except (sqlite3.Error, UnicodeDecodeError):
        return False  # not to be told from here: the checks of the whole file say
    if base.epoch not in ("", whole.epoch, whole.epoch_before):
        return True
    return base.commits < whole.commits - inside


def log_commits(log: Path) -> int:
    """How many transactions a write-ahead log holds, by its headers alone."""
    try:
        data = log.open("rb")
    except OSError:
        return 0
    found = 0
    with data:
        head = data.read(_LOG_HEADER.size)
        if len(head) < _LOG_HEADER.size:
            return 0
        _, _, page, _, *salts = _LOG_HEADER.unpack(head)[:6]
        while len(frame := data.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            _, size, *salted = _FRAME_HEADER.unpack(frame)[:4]
            if salted != salts:
                break
            found += size > 0
            data.seek(page, os.SEEK_CUR)
    return found


def read_mark(connection: sqlite3.Connection) -> Mark:
    """How far the ledger behind a connection has come."""
    questions = ", ".join("?" * len(_FACTS))
    query = f"SELECT key, value FROM fact WHERE key IN ({questions})"  # noqa: S608 - only question marks
    facts = dict(connection.execute(query, _FACTS).fetchall())
    number = str(facts.pop("commits", "0"))
    return Mark(commits=int(number) if number.isdigit() else 0, **{"epoch": "", **facts})


def _peek(path: Path, how: str) -> Mark:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{how}", uri=True)) as connection:
        tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'fact'").fetchone()
        return read_mark(connection) if tables[0] else Mark("", 0)


def _mark(words: list[str]) -> Mark | None:
    """The mark that a lock file holds, if it can be read."""
    if len(words) not in {2, 3} or not words[1].isdigit():  # epoch, commits and perhaps epochs before
        return None
    return Mark(words[0], int(words[1]), epochs=words[2] if len(words) > 2 else "")  # noqa: PLR2004
