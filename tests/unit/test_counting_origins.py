"""Counting where origins are far apart: processes born in holes, clocks that are ahead, counters that fall to zero."""

from __future__ import annotations

import pytest

from slo_budget_tracker.ticks import Tick
from tests.unit.tsdb import Story

T = 1_000_000  # where stories begin, seconds
POD = {"job": "shop", "instance": "a:80"}
OTHER = {"job": "shop", "instance": "b:80"}
OLD = T - 50_000  # the start of a process that runs for long


def scrape(told, after, target=POD, **values):
    """A scrape so many seconds after the story's begin."""
    told.db.scrape(round((T + after) * 1000), target, **values)


def steadily(told, until, *, since=-40, hole=(0, 0), **values):
    """A scrape of the first pod each 30 s, but for a hole."""
    for after in range(since, until, 30):
        if not hole[0] <= after < hole[1]:
            scrape(told, after, start=OLD, c200=100, **values)


@pytest.mark.parametrize(
    ("found", "counted"),
    [
        pytest.param(1_200 + 4 * 30, 50, id="four scrapes after the hole"),
        pytest.param(1_200 + 14 * 30, 0, id="fourteen scrapes after it"),
    ],
)
def test_a_process_born_in_a_hole_is_new_for_ten_scrapes(found, counted):
    """D8: nobody could see it begin; discovered soon after the hole it counts from zero, later it is a baseline."""
    told = Story()
    steadily(told, 2_000, hole=(300, 1_200))
    for after in range(found, 2_000, 30):
        scrape(told, after, OTHER, start=T + 400, c200=50)
    assert (counted, 0) == told.read(2_000 // 60 * 60)


@pytest.mark.parametrize(
    ("hole", "counted"),
    [pytest.param(600, 70, id="the hole's worth too"), pytest.param(60, 5, id="two scrapes are no hole")],
)
def test_a_first_value_of_unknown_origin_may_be_worth_a_hole(hole, counted):
    """Four scrapes' worth and what a hole before it may have held; growth of 5 a scrape."""
    told = Story()
    for after in range(-40, 1_000, 30):
        if not 300 <= after < 300 + hole:
            scrape(told, after, c200=100)
    first = 300 + hole + 10
    scrape(told, first, OTHER, c200=65)
    scrape(told, first + 30, OTHER, c200=70)
    assert (counted, 0) == told.read(960)


def test_a_counter_that_falls_to_zero_and_passes_its_old_value():
    """D6: zero is a sample like any other: what follows is counted from it."""
    told = Story()
    for after, value in ((-10, 100), (20, 0), (50, 150)):
        scrape(told, after, c200=value)
    assert ((150, 0), {}) == (told.read(), told.doubts)


def test_a_waiting_first_value_of_a_counter_that_begins_again_is_a_doubt():
    """Nobody will know what it was worth: the new value counts, the old one is noted."""
    told = Story()
    scrape(told, -10, c200=100)
    scrape(told, 20, OTHER, c200=10)
    scrape(told, 50, OTHER, c200=4)
    assert ((4, 0), {"held": 1}) == (told.read(), told.doubts)


def test_a_process_whose_clock_is_ahead_did_not_start_again():
    """Its start lies after its last scrape by our clock, and is the same as ever: it was away, not replaced."""
    told = Story()
    ahead = T + 1_800
    for after in (-40, -10):
        scrape(told, after, start=ahead, c200=100)
    told.read(3_600)
    scrape(told, 3_610, start=ahead, c200=160)
    assert (60, 0) == told.read()
    scrape(told, 3_670, start=ahead, c200=170)
    assert (10, 0) == told.read()


def test_sizes_are_the_samples_of_each_tick():
    """How many samples a tick had is kept by tick, so that a later look can tell whether some came late."""
    told = Story()
    scrape(told, -10, c200=1)
    for after in (10, 20, 30, 70):
        scrape(told, after, c200=1, c500=1)
    ticks = [Tick(T, T + 60), Tick(T + 60, T + 120)]
    sizes = told.db.count(told.feed, told.memory, ticks).sizes
    assert {T + 60: 6, T + 120: 2} == {end: size.read for end, size in sizes.items()}


def test_a_pod_that_is_replaced_in_its_first_tick_and_passes_its_old_value():
    """No fall tells of it, only the process' start: what is missing waits for the next growth."""
    told = Story()
    steadily(told, 0)
    scrape(told, 10, OTHER, start=T + 5, c200=20)
    scrape(told, 40, OTHER, start=T + 30, c200=25)
    assert (25, 0) == told.read()
    scrape(told, 70, OTHER, start=T + 30, c200=45)
    assert (40, 0) == told.read()
