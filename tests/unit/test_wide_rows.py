"""Counts that are merged are replaced as a whole, by rows of whichever instances there were at each tick."""

from __future__ import annotations

from slo_budget_tracker.density import HOUR, Density, Stage
from slo_budget_tracker.entries import Entry
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick


def rows(of_tick):
    """Five ticks; the second instance begins amid them."""
    ticks = [Tick(at, at + 60) for at in range(0, 300, 60)]
    return [
        Row.of(tick, {one: Counts(of_tick, 1, Outcome.OK) for one in ((1,) if tick.end < 180 else (1, 2))})
        for tick in ticks
    ]


def test_an_instance_that_begins_amid_merged_ticks_keeps_no_other_from_being_counted_again():
    """D16: a revision of merged ticks is on disk, and in memory, for each instance as wide as it is stored."""
    with Ledger.open("sqlite://", density=Density((Stage(HOUR, 300),))) as ledger:
        ledger.commit(Entry(rows=rows(10)))
        ledger.commit(Entry(rows=[Row.of(Tick(7_140, 7_200), {1: Counts(0, 0, Outcome.OK)})]))
        assert not ledger.history.tells_apart([60])
        before = [Row.of(Tick(at, at + 60), {2: Counts(0, 0, Outcome.NO_DATA)}) for at in (0, 60)]
        ledger.commit(Entry(revised=[*rows(17), *before]))
        found = ledger.history.window(300, [300])
        assert ([85, 51], 0) == ([found[one][300].total for one in (1, 2)], ledger._buckets.refused)
