"""Old rows are merged in bounded batches, and the file stays small."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.ledger import Entry, Ledger
from tests.real.ledgers import NOW, figures, lively, one, registered, row


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
        gone = [earlier - later for earlier, later in pairwise(counts)]
        assert (True, True) == (min(gone) >= 0, sum(gone) > 1_000)
        assert max(gone) <= 60  # some thirty in one commit, and the cell that they end in
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


def test_a_thousand_slos_of_thirty_days_take_little_room(url, path):
    """S12: at most 8 KiB per SLO; what ten years and a restart take is shown by the bench."""
    generator = np.random.default_rng(6)
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 1000))
        spans = ledger.history.density.spans(NOW - 30 * DAY, NOW, interval=60, delay=30)
        ledger.commit(Entry(rows=[lively(generator, span, ids) for span in spans]))
    with Ledger.open(url) as again:
        assert len(spans) == again.stats().rows
    assert path.stat().st_size / 1000 < 8 * 1024
