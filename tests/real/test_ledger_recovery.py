"""Damaged, older and foreign files: put aside, mended from the last good copy, and never in silence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from slo_budget_tracker.copies import backup_path
from slo_budget_tracker.errors import LedgerDamaged, LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.ticks import Tick
from tests.real.ledgers import NOW, figures, lively, one, registered, row

LATER = NOW + 1000


def filled(url, *, instances=300, ticks=100):
    """A ledger with some history and an event; returns its figures and its epoch."""
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, instances))
        generator = np.random.default_rng(3)
        spans = [Tick(t, t + 60) for t in range(NOW - 60 * ticks, NOW, 60)]
        ledger.commit(
            Entry(
                rows=[lively(generator, span, ids) for span in spans],
                events=[Event("first", "slo-0", "slo_burn_started", NOW, {})],
            )
        )
        return figures(ledger), ledger.meta["epoch"]


def further(url):
    """One tick and one event more."""
    with Ledger.open(url) as ledger:
        event = Event("second", "slo-0", "slo_recovered", NOW + 60, {})
        ledger.commit(Entry(rows=[row(NOW, NOW + 60, {1: (1, 0)})], events=[event]))


def resets(ledger):
    """What the audit stream will be told of resets."""
    return [event.payload for event in ledger.events(slo="*")]


def ruin(path):
    """Overwrite the file from the middle on."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(np.random.default_rng(4).bytes(size // 2))


@pytest.fixture
def kept(url, path):
    """A ledger with a last good copy beside it; its figures and epoch."""
    before = filled(url)
    with Ledger.open(url) as ledger:
        assert ledger.keep_backup(LATER)
    assert 0o600 == backup_path(path).stat().st_mode & 0o777
    return before


def test_a_damaged_file_is_mended_from_the_last_good_copy(url, path, kept):
    """S5: put aside under the time, the copy put back, a new epoch, and the audit stream is told which."""
    before, epoch = kept
    further(url)
    ruin(path)
    damaged = path.read_bytes()
    with Ledger.open(url, now=LATER) as ledger:
        assert before == figures(ledger)
        aside = path.with_name(f"ledger.db.corrupt-{LATER}")
        assert damaged == aside.read_bytes()
        (told,) = resets(ledger)
        assert (epoch, ledger.meta["epoch"]) == (told["epoch_before"], told["epoch"])
        assert epoch != ledger.meta["epoch"]
        assert aside.name in told["reason"]
        assert "the last backup was put back" in told["reason"]
        assert ["first"] == [event.event_id for event in ledger.events(slo="slo-0")]
        assert [] == ledger.check()
    with Ledger.open(url, now=LATER) as again:
        assert (None, 1) == (again.reset, len(resets(again)))


def test_without_a_copy_a_new_ledger_says_that_it_is_new(url, path):
    """S5: never a silent empty history: a new epoch, the old one named, and an event."""
    _, epoch = filled(url)
    ruin(path)
    with Ledger.open(url, now=LATER) as ledger:
        assert (None, {}) == (ledger.history.newest, dict(ledger.instances))
        (told,) = resets(ledger)
        assert (epoch, None) == (told["epoch_before"], told["counts_until"])
        assert "a new ledger was begun" in told["reason"]
        assert path.with_name(f"ledger.db.corrupt-{LATER}").exists()


def test_a_damaged_copy_is_put_aside_too(url, path, kept):
    """S5: where the copy is no better, a new ledger is begun, and both files are kept."""
    ruin(path)
    ruin(backup_path(path))
    with Ledger.open(url, now=LATER) as ledger:
        assert ledger.history.newest is None
        assert 1 == len(resets(ledger))
    assert 3 == sum("corrupt" in file.name for file in path.parent.iterdir())
    assert not backup_path(path).exists()


@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
def test_nobody_but_the_daemon_mends(url, path, read_only):
    """S5: commands say that the file is damaged and leave every byte."""
    filled(url)
    ruin(path)
    before = path.read_bytes()
    with pytest.raises(LedgerDamaged, match="is damaged"):
        Ledger.open(url, read_only=read_only)
    assert before == path.read_bytes()


@pytest.mark.parametrize("how", ["removed", "emptied", "zeroed", "no tables"])
def test_a_file_that_is_gone_comes_back_from_its_copy(url, path, kept, how):
    """S5: a ledger that vanished or is blank is mended as a damaged one is."""
    size = path.stat().st_size
    path.unlink()
    if how != "removed":
        path.write_bytes({"emptied": b"", "zeroed": bytes(size), "no tables": BLANK}[how])
    with Ledger.open(url, now=LATER) as ledger:
        assert kept[0] == figures(ledger)
        assert "put back" in resets(ledger)[0]["reason"]


BLANK = (
    b"SQLite format 3\x00" + bytes.fromhex("100001010040202000000001000000010000000000000000") + bytes(4056)
)


def test_a_damaged_copy_never_replaces_a_good_one(url, path, kept):
    """S5: a copy is read as a whole before it takes the older one's place."""
    good = backup_path(path).read_bytes()
    with Ledger.open(url) as ledger:
        with ledger._store.begin() as connection:
            connection.exec_driver_sql("UPDATE bucket SET payload = x'00' WHERE id = 1")
        with pytest.raises(LedgerDamaged):
            ledger.keep_backup(LATER + 86_400)
    assert good == backup_path(path).read_bytes()


def test_copies_are_kept_as_often_as_asked(url, path, kept):
    """S5: not before the last one is old enough, and never when it is switched off."""
    with Ledger.open(url) as ledger:
        assert not ledger.keep_backup(LATER + 3599, every=3600)
        assert not ledger.keep_backup(LATER + 3600, every=0)
        assert ledger.keep_backup(LATER + 3600, every=3600)
    assert LATER + 3600 == backup_path(path).stat().st_mtime


# --- older copies -----------------------------------------------------------------------------------------------


def test_a_restored_copy_begins_a_new_epoch(url, path, tmp_path):
    """S13, the drill: copy while in use, go on, restore; no (epoch, sequence) is used twice."""
    before, epoch = filled(url)
    with Ledger.open(url) as ledger:
        ledger.backup(tmp_path / "copy.db")
    further(url)
    shutil.copyfile(tmp_path / "copy.db", path)
    with Ledger.open(url, now=LATER) as ledger:
        assert before == figures(ledger)
        assert epoch == ledger.meta["epoch_before"] != ledger.meta["epoch"]
        assert "it is a copy that was put back" == resets(ledger)[0]["reason"]
        (again,) = ledger.commit(Entry(events=[Event("second", "slo-0", "slo_recovered", NOW + 60, {})]))
        assert (2, "first") == (again.sequence, again.previous_id)
    with Ledger.open(url, now=LATER) as ledger:
        assert (None, 1) == (ledger.reset, len(resets(ledger)))


def test_an_older_file_is_noticed_however_it_was_copied(url, path, tmp_path):
    """S13: a copy by `cp` tells nothing of itself; the mark beside the ledger knows how far it had come."""
    filled(url)
    shutil.copyfile(path, tmp_path / "copy.db")
    further(url)
    shutil.copyfile(tmp_path / "copy.db", path)
    with Ledger.open(url, now=LATER) as ledger:
        assert "it is older than what was last written" == str(ledger.reset)
        assert 1 == len(resets(ledger))


def test_another_ledger_in_its_place_is_noticed(url, path, tmp_path):
    """S6: the file of another ledger is not taken for this one's."""
    filled(url)
    other = tmp_path / "other.db"
    filled(f"sqlite:///{other}", instances=2)
    shutil.copyfile(other, path)
    with Ledger.open(url, now=LATER) as ledger:
        assert "it is not the file that was last written" == str(ledger.reset)


def test_a_ledger_that_was_moved_with_nothing_else_goes_on(url, path, tmp_path):
    """S13: the newest state on another machine is the same ledger."""
    _, epoch = filled(url)
    shutil.copyfile(path, tmp_path / "moved.db")
    with Ledger.open(f"sqlite:///{tmp_path / 'moved.db'}", now=LATER) as ledger:
        assert (None, epoch) == (ledger.reset, ledger.meta["epoch"])


# --- logs that do not belong to the file ------------------------------------------------------------------------


@pytest.fixture
def crashed(url, path, tmp_path):
    """An older state of the file, and file and log as a kill leaves them some commits later."""
    filled(url, instances=3)
    older = path.read_bytes()
    further(url)
    with Ledger.open(url) as ledger:
        for end in range(NOW + 120, NOW + 420, 60):
            ledger.commit(Entry(rows=[row(end - 60, end, {1: (1, 0)})]))
        newer, log = path.read_bytes(), path.with_name("ledger.db-wal").read_bytes()
        shutil.copyfile(f"{path}.lock", tmp_path / "lock")

    def put(file, *, log=log):
        path.write_bytes(file)
        path.with_name("ledger.db-wal").write_bytes(log)
        shutil.copyfile(tmp_path / "lock", f"{path}.lock")

    return older, newer, put


def test_a_log_of_its_own_is_read(url, crashed):
    """S6: after a kill the log is replayed, and nothing is amiss."""
    _, newer, put = crashed
    put(newer)
    with Ledger.open(url, now=LATER) as ledger:
        assert (None, NOW + 360) == (ledger.reset, ledger.history.newest)


def test_a_log_upon_an_older_file_is_never_mixed_in(url, path, crashed):
    """S6: an older copy was put under the log: the log is put aside, the copy stands, the stream is told."""
    older, _, put = crashed
    put(older)
    with pytest.raises(LedgerError, match="written upon another file"):
        Ledger.open(url)
    with Ledger.open(url, now=LATER) as ledger:
        assert NOW == ledger.history.newest
        assert ["first"] == [event.event_id for event in ledger.events(slo="slo-0")]
        assert "its write-ahead log was written upon another file" == resets(ledger)[0]["reason"]
        assert [] == ledger.check()
    assert path.with_name(f"ledger.db.corrupt-{LATER}-wal").exists()


def test_a_log_that_was_deleted_is_noticed(url, crashed):
    """S6: what was in the log only is gone: older than what was last written, and the stream is told."""
    _, newer, put = crashed
    put(newer, log=b"")
    with Ledger.open(url, now=LATER) as ledger:
        assert "it is older than what was last written" == resets(ledger)[0]["reason"]
        assert [] == ledger.check()


def test_shared_memory_that_was_left_behind_does_no_harm(url, path, crashed):
    """S6: `-shm` of another life is made anew."""
    _, newer, put = crashed
    put(newer)
    path.with_name("ledger.db-shm").write_bytes(np.random.default_rng(5).bytes(32_768))
    with Ledger.open(url, now=LATER) as ledger:
        assert (None, NOW + 360, []) == (ledger.reset, ledger.history.newest, ledger.check())
        assert 1.0 == one(ledger, 60, at=NOW + 360).total


def test_a_kill_while_mending_is_mended(url, path, kept):
    """S5: put aside and killed before anything took its place: the next start goes on, and tells."""
    path.unlink()
    with Ledger.open(url, now=LATER) as ledger:
        assert (kept[0], 1) == (figures(ledger), len(resets(ledger)))


def test_a_ledger_that_was_removed_is_not_begun_in_silence(url, path):
    """S5: no file, no copy, but the mark says that there was a ledger: a new epoch, told to the stream."""
    _, epoch = filled(url)
    path.unlink()
    with Ledger.open(url, now=LATER) as ledger:
        assert ("the ledger that was here is gone", epoch) == (
            resets(ledger)[0]["reason"],
            resets(ledger)[0]["epoch_before"],
        )
    with Ledger.open(url, now=LATER) as again:
        assert again.reset is None
