"""Power loss: whatever part of the write-ahead log reached the disk, the ledger opens and agrees with itself."""

from __future__ import annotations

import random

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.memory import Memory
from tests.real.ledgers import row

COMMITS = 12


def steps(ledger, count):
    """So many commits of one tick each; every one carries counts, a state, an event, a memory and cursors."""
    (one,) = ledger.register_all([("one", {}, "h")], at=0)
    for at in range(60, 60 * count + 60, 60):
        ledger.commit(
            Entry(
                rows=[row(at - 60, at, {one: (7, 1)})],
                states={one: {"rule": AlertState("firing" if at % 120 else "quiet", at)}},
                events=[Event(f"id-{at}", "one", "slo_burn_started", at, {"at": at})],
                memories={"feed": Memory.empty().dumps()},
                cursors={"feed": at},
                slo_cursors={one: at},
            )
        )


@pytest.fixture
def image(url, path):
    """The file and its log as they are in the middle of the daemon's life."""
    with Ledger.open(url) as ledger:
        steps(ledger, COMMITS)
        return path.read_bytes(), path.with_name("ledger.db-wal").read_bytes()


def agreed(folder, file, log):
    """Until when the ledger of this image knows things; all of them must know the same."""
    path = folder / "ledger.db"
    for one in folder.iterdir():
        one.unlink()
    path.write_bytes(file)
    path.with_name("ledger.db-wal").write_bytes(log)
    with Ledger.open(f"sqlite:///{path}") as ledger:
        assert ([], None) == (ledger.check(), ledger.reset)
        at = ledger.cursor("feed") or 0
        assert list(range(1, at // 60 + 1)) == [event.sequence for event in ledger.events(slo="one")]
        if at:
            known = ledger.history.window(at, [at])[1][at]
            assert (7 * at / 60, at / 60, at) == (known.total, known.bad, known.known)
            assert (at, at) == (ledger.slo_cursor(1), ledger.states[1]["rule"].since)
        return at // 60


def lengths(log):
    """Frames of 24 and 4096 bytes after 32: the borders, the bytes beside them, and some in the middle."""
    borders = range(32, len(log) + 1, 4096 + 24)
    beside = [border + offset for border in borders for offset in (-1, 0, 1, 24, 2000)]
    return [0, 10, *(length for length in beside if 0 <= length <= len(log))]


def check_images(image, folder, chosen):
    """Ever longer parts of the log never tell less."""
    folder.mkdir()
    file, log = image
    known = [agreed(folder, file, log[:length]) for length in sorted(chosen)]
    assert known == sorted(known)
    assert (0, COMMITS) == (known[0], agreed(folder, file, log))


def test_every_part_of_the_log_is_a_ledger(image, tmp_path):
    """S2: the log cut at some frames and beside them: the last whole commit stands, with all that is in it."""
    check_images(image, tmp_path / "crashed", random.Random(2).sample(lengths(image[1]), 40))


@pytest.mark.long
def test_every_part_of_the_log_at_all_borders_is_a_ledger(image, tmp_path):
    """S2: the same at every frame."""
    check_images(image, tmp_path / "crashed", lengths(image[1]))


def test_a_torn_last_frame_is_no_commit(image, tmp_path):
    """S2: the last frame was half written over something else: the commit before it stands."""
    (tmp_path / "torn").mkdir()
    file, log = image
    garbage = random.Random(3).randbytes(2048)
    assert COMMITS - 1 == agreed(tmp_path / "torn", file, log[:-2048] + garbage)
    assert COMMITS - 1 == agreed(tmp_path / "torn", file, log[:-2048] + bytes(2048))


def test_a_hole_in_the_log_ends_it(image, tmp_path):
    """S2: a disk that writes out of order leaves a hole; what comes after it does not count."""
    (tmp_path / "hole").mkdir()
    file, log = image
    middle = 32 + (4096 + 24) * ((len(log) - 32) // (4096 + 24) // 2)
    known = agreed(tmp_path / "hole", file, log[:middle] + bytes(4096 + 24) + log[middle + 4096 + 24 :])
    assert 0 < known < COMMITS
