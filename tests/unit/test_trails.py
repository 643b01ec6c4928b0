"""Trails: what is still to be compared is put off, but not forgotten, while servers do not say what they have."""

from __future__ import annotations

import pytest

from slo_budget_tracker.answers import Answer
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.ledger import Ledger
from tests.property.histories import History, Pod, Watch, after, counts


def nobody(_):
    """No answer."""
    raise Unreachable("no connection", reason="refused")


def in_part(_):
    """An answer that may lack anything."""
    return Answer((), partial=True, warnings=("a store is away",))


@pytest.mark.parametrize("said", [nobody, in_part])
def test_a_pause_is_one_of_blocks_and_not_of_tries(said):
    """P1, P17, D16: where recounts were in vain, a block is passed only once its holes were asked about in whole."""
    with Ledger.open("sqlite://") as ledger:
        one = Watch(ledger, History((Pod(-40, 400, frozenset(), (0, 0)),)).simulate(80))
        for tick in range(1, 25):
            one.tick(tick, fault="empty" if tick == 14 else None)
        (trail,) = (one for one in one.evaluator._rechecks.trails.values() if one.memories)
        trail.skip, true = 5, one.simulator.ask
        one.simulator.ask = lambda query: said(query) if query.at < after(20) else true(query)
        for tick in range(25, 31):
            one.tick(tick)
        assert 5 == trail.skip
        one.simulator.ask = true
        for tick in range(31, 33):
            one.tick(tick)
        assert 60 == counts(ledger, 1, 14)[-1][2]


def test_what_a_trail_holds_is_bounded_where_nobody_has_data_for_long():
    """D16, P24: blocks that are passed over leave nothing behind, however many there are."""
    gone = History((Pod(-40, 60, frozenset(), (0, 0)),), gaps=((60, 1_200),))
    with Ledger.open("sqlite://") as ledger:
        one = Watch(ledger, gone.simulate(1_200))
        held = []
        for tick in range(1, 501):
            one.tick(tick)
            if tick in {200, 500}:
                trails = one.evaluator._rechecks.trails.values()
                held.append(
                    [
                        [len(part) for part in (t.borders, t.holes, t.sizes, t.aside, t.passed, t.yielding)]
                        for t in trails
                    ]
                )
        assert held[0] == held[1]
