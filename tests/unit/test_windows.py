"""Windows on the tick grid, whatever the delay that shifts it."""

from __future__ import annotations

import pytest

from slo_budget_tracker.ticks import Tick
from slo_budget_tracker.windows import on_grid

HOUR = 3_600


@pytest.mark.parametrize("delay", [0, 1, 20, 30, 59])
def test_a_period_in_whole_ticks_begins_with_the_tick_that_has_its_border(delay):
    """The last instant of the grid by each border, for any delay between data and tick."""
    at = 100 * HOUR - delay
    assert Tick(90 * HOUR - delay, 114 * HOUR - delay) == on_grid(Tick(90 * HOUR, 114 * HOUR), at, 60)


def test_a_border_on_the_grid_stays():
    """Nothing is moved where nothing has to be."""
    assert Tick(90 * HOUR, 114 * HOUR) == on_grid(Tick(90 * HOUR, 114 * HOUR), 100 * HOUR, 60)
