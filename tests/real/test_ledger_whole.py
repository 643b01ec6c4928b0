"""All of an entry or nothing of it, on a full disk and under kill -9 too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.ticks import WindowCounts
from tests.real.ledgers import FIRING, NOW, figures, one, registered, row


def test_a_failed_commit_changes_neither_file_nor_memory(url):
    """I3: an entry that fails at its last statement leaves no count, state, event or cursor behind."""
    ledger = Ledger.open(url)
    registered(ledger)
    ledger.commit(
        Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})], states={1: {"burn": FIRING}}, cursors={"f": NOW})
    )
    before = figures(ledger)
    rows = [row(NOW, NOW + 60, {1: (99, 9), 2: (1, 0)})]
    ledger.stage(rows)
    with pytest.raises(LedgerError, match="larger than"):
        ledger.commit(
            Entry(
                rows=rows,
                states={1: {"burn": AlertState("quiet", NOW + 60)}},
                events=[Event("x", "slo-0", "slo_recovered", NOW, {"x": "y" * 9000})],
                memories={"f": b"new"},
                cursors={"f": NOW + 60},
                slo_cursors={1: NOW + 60},
                meta={"a": "b"},
            )
        )
    for opened in (ledger, None):
        if opened is None:
            ledger.close()
            opened = Ledger.open(url)  # noqa: PLW2901 - the same questions after a restart
        assert before == figures(opened)
        assert NOW == opened.history.newest
        assert ({1: {"burn": FIRING}}, NOW, None, None, []) == (
            opened.states,
            opened.cursor("f"),
            opened.memory("f"),
            opened.slo_cursor(1),
            opened.events(),
        )
        assert "a" not in opened.meta
    opened.close()


def test_a_new_roster_of_a_failed_commit_is_not_believed(url):
    """A roster that was rolled back is written again by the next commit, not referred to."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        big = Event("x", "slo-0", "slo_recovered", NOW, {"x": "y" * 9000})
        with pytest.raises(LedgerError):
            ledger.commit(Entry(rows=[row(NOW - 60, NOW, {2: (1, 0)})], events=[big]))
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {2: (1, 0)})]))
    with Ledger.open(url) as again:
        assert WindowCounts(60, 1.0, 0.0, 60.0) == one(again, 60, instance=2)


def test_a_full_disk_is_survived_without_a_restart(url, path):
    """S3: the commit says so, memory stays as it was, and the same entry goes through when there is space."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        connection = ledger._store._connection
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()
        entry = Entry(rows=[row(NOW, NOW + 60, {1: (10, 1)})], memories={"feed": os.urandom(50_000)})
        with pytest.raises(LedgerError, match="cannot be written: database or disk is full"):
            ledger.commit(entry)
        assert NOW == ledger.history.newest
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.rollback()
        ledger.commit(entry)
        assert (NOW + 60, entry.memories["feed"]) == (ledger.history.newest, ledger.memory("feed"))


def test_staged_rows_are_seen_and_committed_once(url):
    """Verdicts of a tick see its rows before they are durable; afterwards they are there once."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        rows = [row(NOW - 60, NOW, {1: (10, 1), 2: (1, 0)})]
        ledger.stage(rows)
        assert 10.0 == one(ledger, 60).total
        ledger.stage(rows)
        ledger.commit(Entry(rows=rows))
        assert WindowCounts(3600, 10.0, 1.0, 60.0) == one(ledger, 3600)
        ledger.stage([row(NOW, NOW + 60, {1: (5, 0)})])
        ledger.unstage()
        assert (NOW, 0.0) == (ledger.history.newest, one(ledger, 60, at=NOW + 60).total)


@pytest.fixture
def killed(url):
    """A call that lets a writer run for some seconds, kills it, and says what it was told is durable."""
    command = [sys.executable, "-m", "tests.real.ledger_writer", url]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as zygote:

        def run(seconds):
            zygote.stdin.write(f"{seconds}\n")
            zygote.stdin.flush()
            return [int(line) for line in iter(zygote.stdout.readline, "killed\n")]

        yield run


def test_killed_at_any_time_nothing_durable_is_lost(url, killed):
    """S1: kill -9 twenty times; what was reported as committed is there, whole, and nothing is there by halves."""
    durable = 0
    for attempt in range(40):
        if attempt >= 20 and durable:
            break
        told = killed(
            0.1 + 0.017 * attempt + 0.2 * max(attempt - 19, 0)
        )  # longer where the machine is too busy
        with Ledger.open(url) as ledger:
            at = ledger.cursor("feed") or 0
            assert max(told, default=durable) <= at
            durable = at
            if at:
                windows = ledger.history.window(at, [at])
                assert (7.0 * at / 60, 3.0 * at / 60) == (windows[1][at].total, windows[2][at].total)
                assert (at, at) == (ledger.slo_cursor(1), ledger.states[1]["rule"].since)
                assert str(at).encode() == ledger.memory("feed")
            events = ledger.events(slo="one", limit=100_000)
            assert list(range(1, at // 60 + 1)) == [event.sequence for event in events]
            assert [] == ledger._store.check(whole=True)
    assert durable > 0
