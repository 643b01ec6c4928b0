"""The ledger's file: private, durable, alone with one writer, open to readers, never somebody else's."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from slo_budget_tracker import store
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.filesystems import Mount, mount_of
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.ticks import WindowCounts
from tests.real.failing_calls import failing
from tests.real.ledgers import FIRING, NOW, figures, one, registered, row

REMEMBERED = Memory.empty().dumps()


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


def test_one_connection_reads_and_writes(url, path):
    """S8: after commits, questions, checks and thinning one descriptor is open on the file, and one on its log."""

    def connections():
        links = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.exists()]
        return links.count(str(path)), links.count(f"{path}-wal")

    with Ledger.open(url) as ledger:
        registered(ledger)
        for end in range(NOW, NOW + 3 * 3_600, 600):
            ledger.commit(Entry(rows=[row(end - 600, end, {1: (10, 1)})], memories={"feed": REMEMBERED}))
        found = (ledger.events(), ledger.memory("feed"), ledger.stats().rows, ledger.check())
        assert ([], REMEMBERED, []) == (found[0], found[1], found[3])
        assert (1, 1) == connections()
    assert (0, 0) == connections()


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


def test_a_ledger_in_memory_works_alike():
    """`replay` and `evaluate` keep their ledger in memory."""
    with Ledger.open("sqlite://") as ledger:
        first, _ = registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})], states={first: {"burn": FIRING}}))
        assert WindowCounts(60, 10.0, 1.0, 60.0) == one(ledger, 60)
        assert (0, 1, []) == (ledger.stats().bytes, ledger.stats().rows, ledger.check())
        with pytest.raises(LedgerError, match="in memory"):
            ledger.backup(Path("nowhere"))


def names(path):
    """What lies beside the ledger."""
    return {file.name for file in path.parent.iterdir()}


def test_a_reader_leaves_no_traces(url, path):
    """S6: who only looks at a ledger that nobody uses leaves no log and no shared memory behind."""
    Ledger.open(url).close()
    before = names(path), path.read_bytes(), path.stat().st_mtime_ns
    with Ledger.open(url, read_only=True) as reader:
        assert [] == reader.check()
        assert before[0] == names(path)
    assert before == (names(path), path.read_bytes(), path.stat().st_mtime_ns)


def test_a_reader_notices_that_a_daemon_has_begun(url):
    """A reader that came first sees what the daemon writes later."""
    with Ledger.open(url) as ledger:
        registered(ledger)
    with Ledger.open(url, read_only=True) as reader, Ledger.open(url) as ledger:
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        assert (1, []) == (reader.stats().rows, reader.check())


def test_a_ledger_on_a_read_only_file_system_can_be_read(url, path):
    """S4: a ledger that was closed needs nothing to be written for looking at it; opening it to write is refused."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))

    def look():
        with Ledger.open(url, read_only=True) as reader:
            return one(reader, 60).total, reader.check()

    calls = ("pwrite64", "write", "ftruncate")
    assert (10.0, []) == failing(calls, errno.EROFS, look)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    assert (10.0, []) == look()


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:26 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
31 30 0:27 / /home/some\\040one rw - xfs /dev/vdb rw
32 22 0:28 / /var/lib/containers rw - overlay overlay rw,lowerdir=/l
33 22 0:29 / /dev/shm rw - tmpfs tmpfs rw
34 22 0:29 / /hidden rw - ext4 /dev/vdc rw
35 22 0:30 / /hidden rw - cifs //server/share rw
broken line
"""


@pytest.mark.parametrize(
    ("where", "kind", "unsafe"),
    [
        ("/srv/ledger", "ext4", False),
        ("/home/me/var", "nfs4", True),
        ("/home/some one/var", "xfs", False),
        ("/homeless", "ext4", False),
        ("/var/lib/containers/x", "overlay", False),
        ("/hidden/x", "cifs", True),
    ],
)
def test_file_systems_are_told_by_their_mounts(tmp_path, where, kind, unsafe):
    """S9: the last of the longest mount points above a path, with its escapes."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found = mount_of(Path(where), mounts=str(mounts))
    assert (kind, unsafe) == (found.kind, found.unsafe)


def test_where_the_kernel_does_not_say_nothing_is_refused(tmp_path):
    """S9: no /proc, no opinion."""
    assert mount_of(tmp_path, mounts=str(tmp_path / "nothing")) is None


def test_a_file_system_without_locks_is_refused(url, path, monkeypatch):
    """S9: NFS is refused with what to do, and opened when forced to; nothing is made there before."""
    monkeypatch.setattr(store, "mount_of", lambda _: Mount("nfs4", "/home"))
    with pytest.raises(
        LedgerError, match=r"lies on nfs4 \(/home\).*put it on a local disk, or set ledger.force"
    ):
        Ledger.open(url)
    assert not path.exists()
    Ledger.open(url, force=True).close()


def test_a_layer_of_a_container_is_told(url, path, monkeypatch):
    """S9: locks work on overlay, but the file goes with the container: a warning, no more."""
    monkeypatch.setattr(store, "mount_of", lambda _: Mount("overlay", "/"))
    with Ledger.open(url) as ledger:
        expected = "the container's own layer, which goes with the container: put it on a volume"
        assert (f"{path} lies in {expected}",) == ledger.warnings


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
        ("mysql://u:S3CR3T@h/d", "a ledger in mysql is not supported"),
        ("nonsense", "url cannot be read"),
        ("sqlite:////proc/nowhere/ledger.db", "cannot be opened"),
    ],
)
def test_urls_that_cannot_be_served_are_named(url, sentence):
    """H14: one sentence, without the password that the URL may hold."""
    with pytest.raises(LedgerError, match=sentence) as refused:
        Ledger.open(url)
    assert "S3CR3T" not in str(refused.value)


def test_a_link_and_its_file_are_one_ledger(url, path):
    """S7 S13: who opens it by a link has the same lock and the same log as who opens the file itself."""
    other = path.with_name("link.db")
    with Ledger.open(url) as ledger:
        registered(ledger)
        other.symlink_to(path)
        with pytest.raises(LedgerError, match=str(os.getpid())):
            Ledger.open(f"sqlite:///{other}")
        with Ledger.open(f"sqlite:///{other}", read_only=True) as reader:
            assert ledger.instances == reader.instances
