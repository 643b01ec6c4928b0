"""Rolls of remembered series: each version is one more, and only the newest holds what series are looked up with."""

from __future__ import annotations

from slo_budget_tracker.memory import Memory, Roll

OLD, NEW = Roll((11, 12), (1, 2)), ((13, 14), (1, 3))
DERIVED = {"index", "order", "packed", "_targets"}


def looked_up(roll: Roll) -> set[str]:
    """What a roll holds beside its keys and targets."""
    return DERIVED & vars(roll).keys()


def test_a_longer_roll_finds_old_and_new_series():
    """The index that was taken over and continued is the one that would be made."""
    old = Roll(OLD.keys, OLD.targets)
    assert {11: 0, 12: 1} == old.index
    longer = old.extended(*NEW)
    assert "index" in vars(longer)
    assert Roll(longer.keys, longer.targets).index == longer.index == {11: 0, 12: 1, 13: 2, 14: 3}


def test_a_roll_that_was_never_looked_up_is_extended_as_well():
    """There is nothing to take over: it is made when it is needed."""
    longer = Roll(OLD.keys, OLD.targets).extended(*NEW)
    assert set() == looked_up(longer)
    assert {11: 0, 12: 1, 13: 2, 14: 3} == longer.index


def test_an_old_roll_holds_nothing_that_can_be_made_again_and_is_what_it_was():
    """Blocks are compared with what was remembered where they began, so a few old versions stay in memory."""
    old = Roll(OLD.keys, OLD.targets)
    before = (old.index, old.packed, old.rows_of(2))
    assert DERIVED == looked_up(old)
    old.extended(*NEW)
    assert set() == looked_up(old)
    assert before == (old.index, old.packed, old.rows_of(2))


def test_a_memory_without_some_series_leaves_nothing_behind_either():
    """As when series that were silent for a day are forgotten."""
    old = Roll(OLD.keys, OLD.targets)
    memory = Memory(roll=old, times=[1, 2], values=[3.0, 4.0])
    assert {11: 0, 12: 1} == old.index
    fewer = memory.without({11})
    assert set() == looked_up(old)
    assert ((12,), [2], [4.0]) == (fewer.roll.keys, fewer.times, fewer.values)
