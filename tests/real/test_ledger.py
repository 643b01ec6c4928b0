"""The ledger on real SQLite files: durable, atomic, alone, small, and the same after every restart."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from slo_budget_tracker import migrations, store, tables
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick, WindowCounts
from slo_budget_tracker.verdict import Transition

NOW = 1_700_000_000 // DAY * DAY + 11 * HOUR - 30
FIRING = AlertState("firing", NOW)
WINDOWS = [300, 1800, 3600, 21_600, DAY, 3 * DAY, 7 * DAY, 30 * DAY]


@pytest.fixture
def path(tmp_path):
    """Where a ledger may be."""
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def url(path):
    """Its URL."""
    return f"sqlite:///{path}"


def row(start, end, counts):
    """A row from `{id: (total, bad)}` or `{id: Outcome}`."""
    return Row.of(
        Tick(start, end),
        {
            number: Counts(0, 0, given) if isinstance(given, Outcome) else Counts(*given, Outcome.OK)
            for number, given in counts.items()
        },
    )


def figures(ledger, at=NOW, windows=WINDOWS):
    """All windows of all instances."""
    return ledger.history.window(at, windows)


def one(ledger, seconds, at=NOW, instance=1):
    """One window."""
    return ledger.history.window(at, [seconds])[instance][seconds]


def registered(ledger, count=2):
    """Ids of so many instances."""
    return ledger.register_all([(f"slo-{i}", {}, "h") for i in range(count)], at=NOW)


def lively(generator, span, ids):
    """A row of random traffic."""
    total = generator.poisson(1000 * span.seconds // 60, len(ids)).astype(np.float64)
    bad = generator.poisson(total / 1000).astype(np.float64)
    known = np.full(len(ids), span.seconds, np.int32)
    nothing = np.zeros(len(ids), np.int32)
    return Row(span.start, span.end, ids, total, bad, known, nothing, nothing, np.zeros(len(ids), np.uint8))


# --- what is written comes back ---------------------------------------------------------------------------------


def test_everything_of_an_entry_survives_a_restart(url):
    """T14: counts, states, events, memories, cursors and facts are there again, as they were."""
    event = Event("e-1", "slo-0", "slo_burn_started", NOW, {"burn_rate": 15.5})
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        stored = ledger.commit(
            Entry(
                rows=[row(NOW - 60, NOW, {first: (10, 1), second: Outcome.NO_DATA})],
                states={first: {"burn": FIRING}},
                events=[event],
                memories={"feed": b"\x00\xff"},
                cursors={"feed": NOW},
                slo_cursors={first: NOW},
                meta={"note": "kept"},
            )
        )
        before, epoch = figures(ledger), ledger.meta["epoch"]
    with Ledger.open(url) as again:
        assert before == figures(again)
        assert {first: {"burn": FIRING}} == again.states
        assert stored == again.events()
        assert (b"\x00\xff", None) == (again.memory("feed"), again.memory("other"))
        assert (NOW, None) == (again.cursor("feed"), again.cursor("other"))
        assert (NOW, None, NOW) == (again.slo_cursor(first), again.slo_cursor(second), again.born(first))
        assert ("kept", epoch, NOW) == (again.meta["note"], again.meta["epoch"], again.birth)
        assert 60 == again.outcomes(second)[Outcome.NO_DATA]
        assert [] == again.check()


def test_thirty_days_are_the_same_after_a_restart(url):
    """S12: filled backwards, ticked forwards, thinned on the way: a restart changes no figure by a bit."""
    generator = np.random.default_rng(7)
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 20))
        spans = ledger.history.density.spans(NOW - 30 * DAY, NOW, interval=60, delay=30)
        for at in range(len(spans), 0, -200):
            ledger.commit(Entry(rows=[lively(generator, s, ids) for s in spans[max(0, at - 200) : at]]))
        for end in range(NOW + 60, NOW + 4 * HOUR, 60):
            ledger.commit(Entry(rows=[lively(generator, Tick(end - 60, end), ids)]))
        end = ledger.history.newest
        before = figures(ledger, end)
        points = ledger.history.points.tolist()
        while ledger._unmerged:
            ledger.commit(Entry())
        merged = ledger.stats()
    with Ledger.open(url) as again:
        assert before == figures(again, end)
        assert points == again.history.points.tolist()
        assert len(points) - 1 == merged.rows
        assert {0, 300, 3600} == set(merged.rows_by_step)


def test_a_ledger_in_memory_works_alike():
    """`replay` and `evaluate` keep their ledger in memory."""
    with Ledger.open("sqlite://") as ledger:
        first, _ = registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})], states={first: {"burn": FIRING}}))
        assert WindowCounts(60, 10.0, 1.0, 60.0) == one(ledger, 60)
        assert (0, 1, []) == (ledger.stats().bytes, ledger.stats().rows, ledger.check())
        with pytest.raises(LedgerError, match="in memory"):
            ledger.backup(Path("nowhere"))


def test_figures_about_the_ledger(url, path):
    """`ledger stats`: sizes, rows by resolution, instances in use, events."""
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        ledger.retire([second], at=NOW)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})]))
        stats = ledger.stats()
        assert (1, {0: 1}, 1, 0, NOW, NOW) == (
            stats.rows,
            stats.rows_by_step,
            stats.instances,
            stats.events_pending,
            stats.birth,
            stats.newest,
        )
        assert stats.bytes >= path.stat().st_size > 0


# --- instances --------------------------------------------------------------------------------------------------


def test_the_same_slo_keeps_its_id_and_a_changed_sli_begins_anew(url):
    """C14: a changed SLI is a new generation, the old one is retired; changed back, its counts are there again."""
    with Ledger.open(url) as ledger:
        first = ledger.register("slo", {"b": "2", "a": "1"}, "old", at=NOW)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})]))
        assert first == ledger.register("slo", {"a": "1", "b": "2"}, "old", at=NOW + 60)
        second = ledger.register("slo", {"a": "1", "b": "2"}, "new", at=NOW + 60)
        other = ledger.register("slo", {"a": "9"}, "new", at=NOW + 60)
    with Ledger.open(url) as ledger:
        assert 3 == len({first, second, other})
        assert [(1, NOW + 60), (2, None), (1, None)] == [
            (ledger.instances[i].generation, ledger.instances[i].retired) for i in (first, second, other)
        ]
        assert first == ledger.register("slo", {"a": "1", "b": "2"}, "old", at=NOW + 120)
        assert (None, NOW + 120) == (ledger.instances[first].retired, ledger.instances[second].retired)
        assert WindowCounts(60, 10.0, 1.0, 60.0) == one(ledger, 60)
        assert (NOW, NOW) == (ledger.birth, ledger.born(first))


def test_retired_instances_keep_their_counts(url):
    """C15: an SLO that was removed is marked; its history stays."""
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1), second: (1, 0)})]))
        ledger.retire([first], at=NOW)
        ledger.retire([first], at=NOW + 60)
    with Ledger.open(url) as again:
        assert (NOW, None) == (again.instances[first].retired, again.instances[second].retired)
        assert 10.0 == one(again, 60).total


# --- events -----------------------------------------------------------------------------------------------------


def test_events_are_numbered_per_slo_without_gaps(url):
    """I3: sequence and previous id are given in the transaction; a rolled back event leaves no gap."""

    def event(number, slo):
        return Event(f"{slo}-{number}", slo, "slo_recovered", NOW + number, {})

    with Ledger.open(url) as ledger:
        ledger.commit(Entry(events=[event(1, "a"), event(2, "a"), event(1, "b")]))
        with pytest.raises(LedgerError, match="larger than 8192 bytes"):
            ledger.commit(
                Entry(events=[event(3, "a"), Event("big", "a", "slo_recovered", NOW, {"x": "y" * 9000})])
            )
    with Ledger.open(url) as ledger:
        ledger.commit(Entry(events=[event(4, "a")]))
        assert [(1, None, "a-1"), (2, "a-1", "a-2"), (3, "a-2", "a-4")] == [
            (e.sequence, e.previous_id, e.event_id) for e in ledger.events(slo="a")
        ]
        assert [2, 3] == [e.sequence for e in ledger.events(slo="a", after=1)]
        assert ["a-1", "b-1"] == [e.event_id for e in ledger.events(limit=2)]
        assert {"sequence": 3, "previous_id": "a-2"} == ledger.events(slo="a")[-1].payload


def test_an_event_that_is_there_already_is_not_written_again(url):
    """A15: the same transition told twice, by a retry or a replica's ledger, is one event."""
    transition = Transition(
        "slo_burn_started", "burn:page", NOW, "both burn", {"slo_name": "a", "burn_rate": 15}
    )
    with Ledger.open(url) as ledger:
        (stored,) = ledger.commit(Entry(events=[transition]))
        assert [] == ledger.commit(Entry(events=[transition]))
        assert [stored] == ledger.events()
        assert (stored.event_id, "slo_burn_started", "both burn") == (
            stored.payload["id"],
            stored.payload["event_kind"],
            stored.payload["reason"],
        )
        assert Event.of(transition).event_id == stored.event_id
        assert Event.of(transition, labels={"handler": "/pay"}).event_id != stored.event_id


# --- revisions --------------------------------------------------------------------------------------------------


def reopened(ledger, url):
    """The figures after a restart, beside those before."""
    before = figures(ledger), ledger.outcomes(1), ledger.outcomes(2)
    ledger.close()
    with Ledger.open(url) as again:
        return before, (figures(again), again.outcomes(1), again.outcomes(2))


def test_late_counts_replace_a_failed_tick(url):
    """P25: the failed tick of one SLO is fetched later; its neighbour's counts stay as they are."""
    ledger = Ledger.open(url)
    registered(ledger)
    ledger.commit(Entry(rows=[row(NOW - 120, NOW - 60, {1: Outcome.ERROR, 2: (5, 0)})]))
    ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (20, 2), 2: (5, 0)})]))
    assert [Tick(NOW - 120, NOW - 60)] == ledger.missing(1, since=0)
    for _ in range(2):
        ledger.commit(Entry(revised=[row(NOW - 120, NOW - 60, {1: (10, 1)})]))
    assert WindowCounts(300, 30.0, 3.0, 120.0) == one(ledger, 300)
    assert WindowCounts(300, 10.0, 0.0, 120.0) == one(ledger, 300, instance=2)
    before, after = reopened(ledger, url)
    assert before == after


def test_one_wide_row_replaces_many(url):
    """A row over several stored ticks takes the place of all of them."""
    ledger = Ledger.open(url)
    registered(ledger)
    ledger.commit(Entry(rows=[row(t, t + 60, {1: (1, 1), 2: (1, 0)}) for t in range(NOW - 300, NOW, 60)]))
    ledger.commit(Entry(rows=[row(NOW - 240, NOW, {1: (100, 0)})]))
    assert WindowCounts(300, 101.0, 1.0, 300.0) == one(ledger, 300)
    assert WindowCounts(300, 5.0, 0.0, 300.0) == one(ledger, 300, instance=2)
    before, after = reopened(ledger, url)
    assert before == after


def test_the_same_tick_twice_in_one_entry_counts_once(url):
    """The later row of one entry stands, on disk too."""
    ledger = Ledger.open(url)
    registered(ledger)
    ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (9, 9), 2: (1, 0)}), row(NOW - 60, NOW, {1: (4, 1)})]))
    assert WindowCounts(300, 4.0, 1.0, 60.0) == one(ledger, 300)
    before, after = reopened(ledger, url)
    assert before == after


def merged_outage(ledger):
    """A day ago: of each five minutes of SLO 1 the last two ticks were missed; since then all is known."""
    registered(ledger)
    start = (NOW - DAY) // HOUR * HOUR - 30
    ticks = [Tick(t, t + 60) for t in range(start, start + HOUR, 60)]
    ledger.commit(
        Entry(
            rows=[
                row(*tick, {1: (10, 1) if i % 5 < 3 else Outcome.MISSED, 2: (5, 0)})
                for i, tick in enumerate(ticks)
            ]
        )
    )
    ledger.commit(Entry(rows=[row(start + HOUR, NOW, {1: (10, 1), 2: (5, 0)})]))
    while ledger._unmerged:
        ledger.commit(Entry())
    assert 300 in ledger.stats().rows_by_step
    return start, [tick for i, tick in enumerate(ticks) if i % 5 >= 3]


def test_late_counts_fill_the_unknown_seconds_of_a_merged_row(url):
    """P25: what comes after its ticks were merged to five minutes is added to them, exactly once."""
    ledger = Ledger.open(url)
    start, missed = merged_outage(ledger)
    end = start + HOUR
    assert WindowCounts(HOUR, 360.0, 36.0, 2160.0) == one(ledger, HOUR, at=end)
    for tick in missed:
        ledger.stage([row(*tick, {1: (20, 2)})])
        ledger.commit(Entry(revised=[row(*tick, {1: (20, 2)})]))
    assert WindowCounts(HOUR, 360.0 + 480.0, 36.0 + 48.0, 3600.0) == one(ledger, HOUR, at=end)
    ledger.commit(Entry(revised=[row(*missed[0], {1: (20, 2)})]))
    assert WindowCounts(HOUR, 840.0, 84.0, 3600.0) == one(ledger, HOUR, at=end)
    assert 1 == ledger.stats().refused
    assert WindowCounts(HOUR, 300.0, 0.0, 3600.0) == one(ledger, HOUR, at=end, instance=2)
    before, after = reopened(ledger, url)
    assert before == after


def test_given_up_ticks_in_a_merged_row_are_unknown_for_ever(url):
    """P26: missed seconds turn into unknown ones; nothing is counted, and they still add up."""
    ledger = Ledger.open(url)
    _, missed = merged_outage(ledger)
    before = ledger.outcomes(1)
    ledger.commit(Entry(revised=[row(*tick, {1: Outcome.UNKNOWN}) for tick in missed]))
    after = ledger.outcomes(1)
    assert (len(missed) * 60, 0) == (after[Outcome.UNKNOWN], after[Outcome.MISSED])
    assert sum(before.values()) == sum(after.values())
    one_open, again = reopened(ledger, url)
    assert one_open == again


def test_a_row_that_cuts_stored_counts_is_refused(url):
    """Half of a stored row cannot be replaced: one clear sentence, and nothing has changed."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 300, NOW, {1: (10, 1)})]))
        before = figures(ledger)
        with pytest.raises(LedgerError, match="cut those stored for"):
            ledger.commit(Entry(rows=[row(NOW - 120, NOW + 60, {1: (10, 1)})]))
        assert before == figures(ledger)


def test_a_changed_interval_may_cut_rows_without_counts(url):
    """Missed ticks of one minute are fetched later on a grid of ninety seconds."""
    ledger = Ledger.open(url)
    registered(ledger)
    spans = [Tick(t, t + 60) for t in range(NOW - 180, NOW, 60)]
    ledger.commit(Entry(rows=[row(*span, {1: Outcome.MISSED, 2: (1, 0)}) for span in spans]))
    ledger.commit(Entry(rows=[row(NOW - 90, NOW, {1: (9, 0)})]))
    assert WindowCounts(90, 9.0, 0.0, 90.0) == one(ledger, 90)
    assert {Outcome.OK: 90, Outcome.MISSED: 90} == {o: s for o, s in ledger.outcomes(1).items() if s}
    before, after = reopened(ledger, url)
    assert before == after


# --- all or nothing ---------------------------------------------------------------------------------------------


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


def test_a_full_disk_is_survived_without_a_restart(url):
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
        ledger.commit(entry)  # the connection was opened anew, without the limit
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
    for attempt in range(20):
        told = killed(0.1 + 0.017 * attempt)
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
            assert [] == ledger.check()
    assert durable > 0


# --- the file ---------------------------------------------------------------------------------------------------


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
        assert () == ledger.warnings
    monkeypatch.setattr(store.sqlite3, "sqlite_version_info", (3, 51, 2))
    with Ledger.open(url) as ledger:
        assert "WAL-reset bug" in ledger.warnings[0]


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


@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
def test_a_schema_from_a_newer_program_is_refused_untouched(url, path, read_only):
    """S10: a downgrade is refused with a hint, and the file keeps every byte."""
    Ledger.open(url).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"has schema 9999.*run the newer program"):
        Ledger.open(url, read_only=read_only)
    assert before == path.read_bytes()
    assert {"ledger.db", "ledger.db.lock"} >= {file.name for file in path.parent.iterdir()}


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """A program with one migration more than this one; returns how to make that migration fail."""
    folder = tmp_path / "newer"
    (folder / "versions").mkdir(parents=True)
    own = Path(migrations.__file__).parent
    for name in ("env.py", "script.py.mako", "versions/v0001_first.py"):
        (folder / name).write_text((own / name).read_text())
    script = folder / "versions" / "v0002_next.py"

    def write(extra=""):
        script.write_text(
            "from alembic import op\nimport sqlalchemy as sa\n"
            "revision = '0002'\ndown_revision = '0001'\n"
            f"def upgrade():\n    op.create_table('extra', sa.Column('id', sa.Integer))\n    {extra}\n"
        )

    write()
    monkeypatch.setattr(migrations, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
    return write


def upgraded(monkeypatch, url):
    """A ledger of this version with some counts, then the newer program."""
    with monkeypatch.context() as old:
        old.setattr(migrations, "REVISIONS", ("0001",))
        old.setattr(migrations, "__file__", str(Path(store.__file__).parent / "migrations" / "__init__.py"))
        with Ledger.open(url) as ledger:
            registered(ledger)
            ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))


def test_an_upgrade_makes_a_backup_first(url, path, monkeypatch, next_version):
    """S10: the older file is kept beside the upgraded one, whole and private; readers wait for the daemon."""
    upgraded(monkeypatch, url)
    with pytest.raises(LedgerError, match="older schema 0001: start the daemon once"):
        Ledger.open(url, read_only=True)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
    backup = Path(f"{path}.before-0002")
    assert 0o600 == backup.stat().st_mode & 0o777
    monkeypatch.setattr(migrations, "REVISIONS", ("0001",))
    with Ledger.open(f"sqlite:///{backup}") as old:
        assert 10.0 == one(old, 60).total


def test_an_upgrade_that_fails_leaves_the_old_schema(url, monkeypatch, next_version):
    """S10: migrations are one transaction: a failing one leaves no table of it behind."""
    upgraded(monkeypatch, url)
    next_version(extra="op.execute('SELECT nonsense FROM nowhere')")
    with pytest.raises(LedgerError, match="no such table: nowhere"):
        Ledger.open(url)
    monkeypatch.setattr(migrations, "REVISIONS", ("0001",))
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
        assert "extra" not in sa.inspect(ledger._store._engine).get_table_names()


def test_migrations_and_tables_agree(url):
    """The tables that migrations make in a file are those the program writes to, column by column."""
    Ledger.open(url).close()

    def shape(engine):
        found = sa.inspect(engine)
        return {
            table: (
                [
                    (c["name"], str(c["type"]), c["nullable"], c["primary_key"])
                    for c in found.get_columns(table)
                ],
                sorted((i["name"], tuple(i["column_names"])) for i in found.get_indexes(table)),
                sorted(tuple(u["column_names"]) for u in found.get_unique_constraints(table)),
                [(f["constrained_columns"], f["referred_table"]) for f in found.get_foreign_keys(table)],
            )
            for table in found.get_table_names()
            if table != "alembic_version"
        }

    fresh = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    tables.metadata.create_all(fresh)
    migrated = sa.create_engine(url)
    assert shape(fresh) == shape(migrated)
    fresh.dispose()
    migrated.dispose()


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


def test_a_damaged_file_is_never_read_as_empty(url, path):
    """S5: flipped bytes are an error that names the file and what to do, never silent empty history."""
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 300))
        generator = np.random.default_rng(3)
        spans = [Tick(t, t + 60) for t in range(NOW - 6000, NOW, 60)]
        ledger.commit(Entry(rows=[lively(generator, span, ids) for span in spans]))
        expected = figures(ledger)
    sound = path.read_bytes()
    noticed = []
    chance = np.random.default_rng(4)
    for offset in chance.integers(0, len(sound), 60).tolist():
        damaged = bytearray(sound)
        damaged[offset : offset + 64] = chance.bytes(len(damaged[offset : offset + 64]))
        path.write_bytes(damaged)
        try:
            with Ledger.open(url) as ledger:
                same = expected == figures(ledger)
        except LedgerError as error:
            noticed.append(str(error))
        else:
            assert same
    assert noticed
    assert [] == [sentence for sentence in noticed if str(path) not in sentence]


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


def test_a_backup_is_a_whole_ledger(url, tmp_path):
    """S13: copied while in use, private, never over an existing file."""
    target = tmp_path / "backup.db"
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        ledger.backup(target)
        with pytest.raises(LedgerError, match="cannot be copied"):
            ledger.backup(target)
    assert 0o600 == target.stat().st_mode & 0o777
    with Ledger.open(f"sqlite:///{target}") as copy:
        assert 10.0 == one(copy, 60).total


# --- merging ----------------------------------------------------------------------------------------------------


def test_old_rows_are_merged_in_bounded_batches(url):
    """S11: rows of many feeds become one per cell, a bounded part of them per commit, without changing a sum."""
    generator = np.random.default_rng(5)
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 40))
        spans = ledger.history.density.spans(NOW - 5 * DAY, NOW, interval=60, delay=30)
        for part in np.array_split(ids, 4):
            ledger.commit(Entry(rows=[lively(generator, span, part) for span in spans]))
        before = figures(ledger)
        counts = [ledger.stats().rows]
        while ledger._unmerged:
            ledger.commit(Entry())
            counts.append(ledger.stats().rows)
        assert counts == sorted(counts, reverse=True)
        assert len(counts) > 3
        assert before == figures(ledger)
    with Ledger.open(url) as again:
        assert before == figures(again)


def test_rows_that_come_after_their_cell_was_merged_join_it(url):
    """An SLO that is added later is filled into hours that were merged long before."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        spans = ledger.history.density.spans(NOW - 5 * DAY, NOW, interval=60, delay=30)
        for number in (1, 2):
            ledger.commit(Entry(rows=[row(*span, {number: (span.seconds, number)}) for span in spans]))
            ledger.commit(
                Entry(rows=[row(NOW + (number - 1) * HOUR, NOW + number * HOUR, {1: (1, 0), 2: (1, 0)})])
            )
            while ledger._unmerged:
                ledger.commit(Entry())
        assert 5 * DAY == one(ledger, 5 * DAY, at=NOW).total == one(ledger, 5 * DAY, at=NOW, instance=2).total
        before = figures(ledger)
    with Ledger.open(url) as again:
        assert before == figures(again)


def test_a_thousand_slos_of_thirty_days_open_fast_and_take_little_room(url, path):
    """S12: CPU seconds of a restart and bytes per SLO, with a wide margin for slow machines."""
    generator = np.random.default_rng(6)
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 1000))
        spans = ledger.history.density.spans(NOW - 30 * DAY, NOW, interval=60, delay=30)
        ledger.commit(Entry(rows=[lively(generator, span, ids) for span in spans]))
    started = time.process_time()
    with Ledger.open(url) as again:
        seconds = time.process_time() - started
        assert len(spans) == again.stats().rows
    assert path.stat().st_size / 1000 < 16 * 1024
    assert seconds < 2
