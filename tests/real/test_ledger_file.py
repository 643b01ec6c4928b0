"""The ledger's file: private, durable, alone with one writer, open to readers, never somebody else's."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from slo_budget_tracker import store
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from tests.real.ledgers import NOW, figures, registered, row


def test_the_files_are_private_and_a_wider_mode_is_told(url, path):
    """S14: the database, its log and its lock are for their owner only."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        assert {0o600} == {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert not any("mode" in warning for warning in ledger.warnings)
    path.chmod(0o644)
    with Ledger.open(url) as ledger:
        assert f"{path} can be read by others (mode 644), expected 600" == ledger.warnings[0]


def test_sqlite_with_the_reset_bug_is_told(url, monkeypatch):
    """S8: the warning names the version; a fixed one has none."""
    monkeypatch.setattr(store.sqlite3, "sqlite_version_info", (3, 51, 3))
    with Ledger.open(url) as ledger:
        assert () == ledger.remarks
    monkeypatch.setattr(store.sqlite3, "sqlite_version_info", (3, 51, 2))
    with Ledger.open(url) as ledger:
        assert "WAL-reset bug" in ledger.remarks[0]


def test_writes_are_durable_and_one_connection_does_them(url):
    """S2: write-ahead log, synchronous=FULL, no memory map."""
    with Ledger.open(url) as ledger, ledger._store.begin() as connection:
        wanted = {
            "journal_mode": "wal",
            "synchronous": 2,
            "mmap_size": 0,
            "busy_timeout": 5000,
            "foreign_keys": 1,
        }
        assert wanted == {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}


def test_a_second_writer_is_told_who_holds_the_ledger(url, path):
    """S7: one sentence with the holder's pid; readers are welcome; after the end it is free again."""
    with Ledger.open(url):
        with pytest.raises(LedgerError) as refused:
            Ledger.open(url)
        assert f"the ledger {path} is in use by the process {os.getpid()}" == str(refused.value)
    Ledger.open(url).close()


def test_a_reader_beside_the_writer_sees_whole_entries(url):
    """A read-only ledger opens beside a running daemon, sees what is committed, and cannot write."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})], cursors={"f": NOW}))
        with Ledger.open(url, read_only=True) as reader:
            assert (figures(ledger), NOW) == (figures(reader), reader.cursor("f"))
            for write in (
                lambda: reader.commit(Entry(cursors={"f": 0})),
                lambda: reader.register("new", {}, "h", at=NOW),
            ):
                with pytest.raises(LedgerError, match="readonly database"):
                    write()
        ledger.commit(Entry(cursors={"f": NOW + 60}))


def test_there_must_be_a_ledger_to_read(url, path):
    """Read-only never makes a file."""
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.open(url, read_only=True)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"this is no database, whatever its name says\n" * 50, "file is not a database"),
        (None, "is not a ledger of slo-budget-tracker"),
    ],
    ids=["a text file", "another program's database"],
)
def test_foreign_files_are_refused_untouched(url, path, content, sentence):
    """A wrong path in the configuration never writes into somebody else's file."""
    path.parent.mkdir()
    if content is None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (id)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=sentence):
        Ledger.open(url)
    assert before == path.read_bytes()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+psycopg://u:S3CR3T@h/d", "postgresql is not supported yet"),
        ("nonsense", "url cannot be read"),
        ("sqlite:////proc/nowhere/ledger.db", "cannot be opened"),
    ],
)
def test_urls_that_cannot_be_served_are_named(url, sentence):
    """H14: one sentence, without the password that the URL may hold."""
    with pytest.raises(LedgerError, match=sentence) as refused:
        Ledger.open(url)
    assert "S3CR3T" not in str(refused.value)
