"""Revisions: what counts that come later may take away from those that were, and what they may not."""

from __future__ import annotations

import pytest

from slo_budget_tracker.history import History
from slo_budget_tracker.revisions import revision
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick

IDLE, GONE = Counts(0, 0, Outcome.NO_TRAFFIC), Counts(0, 0, Outcome.NO_DATA)


def ok(total, bad=0):
    """A tick that was read whole."""
    return Counts(total, bad, Outcome.OK)


def part(total, bad=0):
    """A tick that was read in part."""
    return Counts(total, bad, Outcome.PARTIAL)


def takes_away(before, after, fewer=()):
    """Whether the later counts of some ticks take something away; None where they are no others."""
    ticks = [Tick(60 * at, 60 * at + 60) for at in range(len(before))]
    history = History()
    history.add([Row.of(tick, {1: one}) for tick, one in zip(ticks, before, strict=True)])
    counts = {tick.end: one for tick, one in zip(ticks, after, strict=True)}
    found = revision(history, 1, ticks, counts, fewer=fewer)
    return None if found is None else found.takes_away


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([ok(9, 1), ok(9)], [ok(9, 1), ok(9)], None),
        ([ok(9, 1), ok(9)], [ok(9, 1), ok(11)], False),
        ([ok(5), ok(13)], [ok(9), ok(9)], False),
        ([ok(9, 1), ok(9)], [ok(9), ok(11)], True),
    ],
    ids=["the same", "more", "events that were a tick later", "a failure less"],
)
def test_fewer_events_or_failures_are_taken_away(before, after, expected):
    """D16, I2: over all ticks together, as what comes late moves events from one tick to another."""
    assert expected == takes_away(before, after)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([ok(9), part(30), ok(9)], [ok(9), ok(9), ok(9)], False),
        ([ok(9), part(5), ok(30)], [ok(9), ok(9), ok(9)], False),
        ([ok(9), part(5), IDLE, ok(30)], [ok(9), ok(9), ok(9), ok(9)], False),
        ([ok(9), part(5), ok(13), ok(30)], [ok(9), ok(9), ok(9), ok(9)], True),
        ([ok(9), part(5), ok(13), ok(9, 3)], [ok(9), ok(9), ok(9), ok(9)], True),
        ([ok(9), part(5), ok(9), ok(13)], [ok(9), ok(9), ok(9), ok(9)], False),
        ([ok(9, 3), part(5), ok(13)], [ok(9), ok(9), ok(9)], True),
        ([ok(9), part(5, 3), ok(9)], [ok(9), GONE, ok(9)], True),
    ],
    ids=[
        "what was read in part was more",
        "what was left out seemed to be new in the next tick",
        "and had no events in that one",
        "events of a later tick",
        "failures of a later tick",
        "events that were two ticks later",
        "failures of the tick before",
        "the tick in part has nothing now",
    ],
)
def test_an_answer_in_part_makes_no_more_a_guess_than_itself_and_the_next_tick(before, after, expected):
    """P17, I2: what was counted in these may give way to the whole answer; every other tick keeps what it had."""
    assert expected == takes_away(before, after)


@pytest.mark.parametrize(
    ("before", "fewer", "expected"),
    [(IDLE, (), False), (IDLE, {60}, False), (IDLE, {120}, True), (ok(1), (), True)],
    ids=["idle", "another tick has fewer samples", "it has fewer samples", "it had events"],
)
def test_a_tick_becomes_unknown_only_where_nothing_of_it_is_lost(before, fewer, expected):
    """P21, I2: how long a last sample counted was a guess; that samples were there was none."""
    assert expected == takes_away([ok(9), before], [ok(9), GONE], fewer)
