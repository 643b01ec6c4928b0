"""What a ledger need not keep for ever goes in small batches, and nothing that anybody still needs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sqlalchemy as sa

from slo_budget_tracker import retention, tables
from slo_budget_tracker.density import DAY, HOUR, Density
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.memory import Memory
from tests.real.ledgers import NOW, registered, row

KEEP = 10 * DAY
REMEMBERED = Memory.empty().dumps()


def told(ledger, slo, days):
    """One event of the SLO per day of age."""
    ledger.commit(
        Entry(
            events=[Event(f"{slo}-{n}", slo, "slo_recovered", NOW - n * DAY, {}) for n in sorted(days)[::-1]]
        )
    )


def settled(ledger, *event_ids, state="delivered"):
    """Let the outbox say what became of events."""
    with ledger.transaction() as connection:
        where = tables.deliveries.c.event_id.in_(event_ids)
        connection.execute(sa.update(tables.deliveries).where(where).values(state=state))


def left(ledger, slo):
    """The ages in days of what is still there."""
    return [int(event.event_id.split("-")[-1]) for event in ledger.events(slo=slo)]


def a_day_passes(ledger, end=NOW):
    """Ticks past midnight, and some more so that everything that is due gets its turn; returns how many."""
    midnight = end // DAY * DAY + DAY
    ledger.commit(Entry(rows=[row(end, midnight + 60, {1: (1, 0)})]))
    commits = 0
    while ledger._unmerged or ledger._retention.due:
        ledger.commit(Entry())
        commits += 1
    return commits


@pytest.fixture
def ledger(url):
    """A ledger that keeps delivered events for ten days."""
    with Ledger.open(url, keep_events=KEEP) as opened:
        registered(opened)
        opened.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        yield opened


def test_delivered_events_go_when_nobody_can_ask_for_them(ledger):
    """S11: older than the horizon and delivered; the oldest that is not delivered keeps all after it."""
    for slo in ("a", "b", "c"):
        told(ledger, slo, [30, 25, 20, 12, 5, 1])
    settled(ledger, *(f"a-{n}" for n in (30, 25, 20, 12, 5, 1)))
    settled(ledger, *(f"b-{n}" for n in (30, 20, 12)))
    settled(ledger, *(f"c-{n}" for n in (30, 25)), state="quarantined")
    a_day_passes(ledger)
    assert ([5, 1], [25, 20, 12, 5, 1], [30, 25, 20, 12, 5, 1]) == tuple(left(ledger, slo) for slo in "abc")
    assert [] == ledger.check()


def test_the_newest_event_of_an_slo_stays(ledger, url):
    """S11: however old it is: the next one names it and follows its sequence."""
    told(ledger, "a", [300, 200, 100])
    settled(ledger, "a-300", "a-200", "a-100")
    a_day_passes(ledger)
    assert [100] == left(ledger, "a")
    ledger.close()
    with Ledger.open(url) as again:
        (event,) = again.commit(Entry(events=[Event("new", "a", "slo_recovered", NOW, {})]))
        assert (4, "a-100", []) == (event.sequence, event.previous_id, again.check())


def test_without_an_audit_url_events_go_when_they_are_old(url):
    """A21, S11: nobody will ask for them: what is older than the horizon goes, sent or not, but for the newest."""
    with Ledger.open(url, keep_events=KEEP, keep_unsent=False) as ledger:
        registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))
        for slo in ("a", "b", "c"):
            told(ledger, slo, [30, 25, 20, 12, 5, 1])
        told(ledger, "d", [300, 200])
        settled(ledger, "b-30", "b-12", state="attempted")
        settled(ledger, "c-25", state="quarantined")
        a_day_passes(ledger)
        assert [[5, 1], [5, 1], [5, 1], [200]] == [left(ledger, slo) for slo in "abcd"]
        assert [] == ledger.check()


def test_events_go_in_bounded_batches(ledger, monkeypatch):
    """S11: no commit removes more than some events, of all SLOs together, nor looks at more than some SLOs."""
    monkeypatch.setattr(retention, "_EVENTS", 10)
    monkeypatch.setattr(retention, "_SLOS", 2)
    for slo, most in zip("abcde", (53, 24, 53, 23, 53), strict=True):
        told(ledger, slo, range(20, most))
        settled(ledger, *(f"{slo}-{n}" for n in range(20, most)))
    before, commit = [len(ledger.events())], ledger.commit

    def counted(entry):
        stored = commit(entry)
        before.append(len(ledger.events()))
        return stored

    monkeypatch.setattr(ledger, "commit", counted)
    a_day_passes(ledger)
    assert [[20]] * 5 == [left(ledger, slo) for slo in "abcde"]
    gone = [earlier - later for earlier, later in pairwise(before)]
    assert (10, 3 * 32 + 3 + 2) == (max(gone), sum(gone))


def test_the_round_is_made_once_a_day(ledger):
    """S11: between midnights of the data nothing is looked at."""
    a_day_passes(ledger)
    midnight = ledger.history.newest
    ledger.commit(Entry(rows=[row(midnight, midnight + HOUR, {1: (1, 0)})]))
    assert not ledger._retention.due


def test_memories_that_nobody_reads_go(ledger):
    """S12: what was remembered of a feed is removed a month after it was read last; its cursor stays."""
    ledger.commit(
        Entry(
            memories={"old": REMEMBERED, "new": REMEMBERED},
            cursors={"old": NOW - 32 * DAY, "new": NOW - 20 * DAY},
        )
    )
    a_day_passes(ledger)
    assert (None, REMEMBERED) == (ledger.memory("old"), ledger.memory("new"))
    assert NOW - 32 * DAY == ledger.cursor("old")


def test_rosters_that_no_row_has_go(url):
    """S12: each combination of SLOs that was ever written together leaves a roster; merging makes it useless."""
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 6))
        start = NOW - 9 * DAY
        for n in range(1, 4):
            ledger.commit(
                Entry(rows=[row(start + n * 60, start + n * 60 + 60, {int(i): (1, 0) for i in ids[:n]})])
            )
        a_day_passes(ledger)
        for _ in range(3):
            ledger._retention.begin()
            ledger.commit(Entry())
        with ledger._store.begin() as connection:
            used = set(connection.execute(sa.select(tables.buckets.c.roster)).scalars())
            assert used == set(connection.execute(sa.select(tables.rosters.c.id)).scalars())
        assert [] == ledger.check()


def test_a_reload_may_ask_for_finer_counts(url):
    """C14: the density grows to what both catalogues need, at every age the finer of the two."""
    with Ledger.open(url, density=Density.of(interval=60)) as ledger:
        ledger.grow(Density.of(interval=60, longest_short=DAY, longest_window=90 * DAY))
        assert Density.of(interval=60, longest_short=DAY, longest_window=90 * DAY) == ledger.history.density
        ledger.grow(Density.of(interval=10))
        ages = [(stage.age, stage.step) for stage in ledger.history.density.stages]
        assert [(25 * HOUR, 60), (3 * DAY + 6 * HOUR, HOUR), (92 * DAY, DAY)] == ages
