"""Counts that come late, twice or on another grid: on disk as in memory, and never counted twice."""

from __future__ import annotations

import pytest

from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.ticks import Outcome, Tick, WindowCounts
from tests.real.ledgers import NOW, figures, one, registered, row


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
