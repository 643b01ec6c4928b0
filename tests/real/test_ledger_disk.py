"""Disks that are full, fail to sync or cannot be written: the ledger goes on, and says when it does not."""

from __future__ import annotations

import errno
import os

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from tests.real.failing_calls import SYNCS, WRITES, failing
from tests.real.ledgers import NOW, figures, one, registered, row


def entry(end, *, size=0):
    """A tick with something of everything."""
    return Entry(
        rows=[row(end - 60, end, {1: (10, 1), 2: (5, 0)})],
        states={1: {"burn": AlertState("firing", end)}},
        events=[Event(f"e-{end}", "slo-0", "slo_burn_started", end, {})],
        memories={"feed": os.urandom(size)},
        cursors={"feed": end},
        slo_cursors={1: end},
    )


@pytest.fixture
def ledger(url):
    """A ledger with one tick."""
    with Ledger.open(url) as opened:
        registered(opened)
        opened.commit(entry(NOW))
        yield opened


def until(ledger, end):
    """Check that everything stands at this tick, in memory and in the file."""
    ticks = (end - NOW) // 60 + 1
    assert (end, end, end) == (ledger.history.newest, ledger.cursor("feed"), ledger.slo_cursor(1))
    assert 10.0 * ticks == one(ledger, 3600, at=end).total
    assert [f"e-{NOW + 60 * i}" for i in range(ticks)] == [
        event.event_id for event in ledger.events(slo="slo-0")
    ]
    assert list(range(1, ticks + 1)) == [event.sequence for event in ledger.events(slo="slo-0")]


@pytest.mark.parametrize(
    ("calls", "number", "says"),
    [
        (WRITES, errno.ENOSPC, "database or disk is full"),
        (WRITES, errno.EROFS, "cannot be written"),
        (WRITES, errno.EIO, "disk I/O error"),
        ((*WRITES, *SYNCS), errno.EDQUOT, "cannot be written"),
    ],
    ids=["full", "read-only", "writes fail", "over quota"],
)
def test_a_disk_that_fails_is_survived(ledger, url, calls, number, says):
    """S3, S4: a failed commit changes nothing, reading goes on, and the same entry goes through afterwards."""
    again = entry(NOW + 60, size=50_000)
    for _ in range(3):
        error = failing(calls, number, lambda: ledger.commit(again))
        assert isinstance(error, LedgerError)
        assert says in str(error)
        until(ledger, NOW)
    assert 1 == failing(calls, number, lambda: ledger.stats().rows)
    ledger.commit(again)
    until(ledger, NOW + 60)
    before = figures(ledger)
    ledger.close()
    with Ledger.open(url) as opened:
        until(opened, NOW + 60)
        assert (before, None, []) == (figures(opened), opened.reset, opened._store.check(whole=True))


def test_syncs_that_fail_are_survived(ledger, url):
    """S4: what was not synced was not committed; written again once the disk syncs, it is there once."""
    again = entry(NOW + 60, size=50_000)
    for _ in range(3):
        error = failing(SYNCS, errno.EIO, lambda: ledger.commit(again))
        assert isinstance(error, LedgerError)
        assert "disk I/O error" in str(error)
        assert (NOW, NOW) == (ledger.history.newest, ledger.cursor("feed"))
        assert isinstance(failing(SYNCS, errno.EIO, ledger.events), (LedgerError, list))
    ledger.commit(again)
    until(ledger, NOW + 60)
    assert 2 == ledger.stats().rows
    ledger.close()
    with Ledger.open(url) as opened:
        until(opened, NOW + 60)
        assert (None, []) == (opened.reset, opened._store.check(whole=True))


def test_after_a_failed_sync_the_connection_is_another_one(ledger):
    """S4: an fsync that failed is never asked for again: the file is closed, opened and written anew."""
    before = ledger._store._connection
    failing(SYNCS, errno.EIO, lambda: ledger.commit(entry(NOW + 60)))
    assert ledger._store._connection is not before
    ledger.commit(entry(NOW + 60))
    until(ledger, NOW + 60)


def test_a_full_disk_keeps_the_connection(ledger):
    """S3: nothing needs to be opened anew, which would need room for the shared memory."""
    before = ledger._store._connection
    failing(WRITES, errno.ENOSPC, lambda: ledger.commit(entry(NOW + 60)))
    assert before is ledger._store._connection


class Doubtful:
    """A store whose commits go through while their caller is told that they failed."""

    def __init__(self, ledger, monkeypatch):
        self.store = ledger._store
        self.broken = True
        real = type(self.store)._durable_mark

        def durable_mark(store):
            if self.broken:
                raise disk_error()
            return real(store)

        monkeypatch.setattr(type(self.store), "_durable_mark", durable_mark)


def disk_error():
    """What SQLite says when a sync failed."""
    import sqlite3  # noqa: PLC0415

    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    return error


def failing_after_commit(ledger, monkeypatch):
    """Let the next COMMIT succeed in the file and fail to its caller."""
    store = ledger._store
    dialect = type(store._engine.dialect)
    real = dialect.do_commit
    told = []

    def do_commit(self, connection):
        real(self, connection)
        if not told:
            told.append(True)
            raise disk_error()

    monkeypatch.setattr(dialect, "do_commit", do_commit)


def test_a_commit_that_got_in_all_the_same_is_one(ledger, monkeypatch):
    """S4: whether a commit whose sync failed is in the file is read from the file, not guessed."""
    failing_after_commit(ledger, monkeypatch)
    stored = ledger.commit(entry(NOW + 60))
    assert ["e-" + str(NOW + 60)] == [event.event_id for event in stored]
    until(ledger, NOW + 60)
    assert 0 == ledger.generation


def test_a_commit_whose_fate_is_known_later_is_read_anew(ledger, monkeypatch):
    """S4: while nothing can be read it counts as failed; then memory follows the file, and repeating is harmless."""
    failing_after_commit(ledger, monkeypatch)
    doubtful = Doubtful(ledger, monkeypatch)
    with pytest.raises(LedgerError, match="disk I/O error"):
        ledger.commit(entry(NOW + 60))
    assert NOW == ledger.history.newest
    with pytest.raises(LedgerError, match="disk I/O error"):
        ledger.commit(entry(NOW + 60))
    doubtful.broken = False
    ledger.commit(entry(NOW + 60))
    assert 1 == ledger.generation
    until(ledger, NOW + 60)
    assert 2 == ledger.stats().rows
