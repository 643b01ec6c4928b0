"""What came late shortly before an outage: the block it belongs to is compared once the outage is over."""

from __future__ import annotations

import pytest

from slo_budget_tracker.ledger import Ledger
from tests.property.histories import History, Pod, Watch, counts
from tests.unit.test_rechecks import STEADY, truth

LAST = 99  # ticks
DIED = 55  # scrapes: its last ones come 200 s late
HISTORY = History((STEADY, Pod(-40, DIED, frozenset(), (DIED - 7, DIED))), late=((DIED - 1, DIED, 200),))


@pytest.mark.parametrize("ticks", [1, 9, 12, 20, 40, 60])
def test_what_came_late_before_an_outage_is_found_after_it(ticks):
    """D16, P21: however long it took, what is read of it at once pushes no older block out."""
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, HISTORY.simulate(2 * LAST))
        for tick in [*range(1, 31), *range(30 + ticks, LAST + 1)]:
            watch.tick(tick)
        expected, found = (
            [sum(column) for column in zip(*some, strict=True)]
            for some in (truth(HISTORY, LAST)[0], counts(ledger, 1, LAST))
        )
    assert expected == found
