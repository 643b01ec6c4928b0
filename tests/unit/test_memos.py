"""Memos by identity, and when garbage is looked for."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass

from slo_budget_tracker import garbage
from slo_budget_tracker.memos import by_identity


@dataclass(frozen=True)
class Thing:
    """Equal to others of the same size."""

    size: int


def test_a_function_by_identity_is_called_once_for_each_object():
    """Equal objects are two; one that is gone is forgotten, and its place in memory may be another's."""
    calls = []

    @by_identity
    def doubled(thing):
        calls.append(thing.size)
        return 2 * thing.size

    one, other = Thing(1), Thing(1)
    assert [2, 2, 2] == [doubled(one), doubled(one), doubled(other)]
    assert [1, 1] == calls
    for size in range(50):
        assert 2 * size == doubled(Thing(size))


def test_who_knows_already_need_not_call_it():
    """What was learnt of an object is what the function gives, as long as the object lives."""

    @by_identity
    def doubled(thing):
        """Twice the size."""
        return 2 * thing.size

    one = Thing(1)
    doubled.learn(one, 3)
    assert ("doubled", "Twice the size.", 3, 2) == (
        doubled.__name__,
        doubled.__doc__,
        doubled(one),
        doubled(Thing(1)),
    )


def test_no_garbage_is_looked_for_meanwhile():
    """It goes on afterwards, also after an error, and stays off where it was off."""
    assert gc.isenabled()
    with garbage.waiting():
        assert not gc.isenabled()
        with garbage.waiting():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


class Ring:
    """What refers to itself."""

    def __init__(self):
        self.ring = self


def test_what_ticks_leave_is_looked_through_once_in_a_while():
    """A cycle that nobody needs any more outlives a tick and its end, but not many of them."""
    sweep, outlived = garbage.Sweep(), []
    try:
        with garbage.waiting():
            left = weakref.ref(Ring())
            for _ in range(garbage.SELDOM):
                sweep.after_tick()
                outlived.append(left() is not None)
    finally:
        garbage.loosen()
    assert [True] * (garbage.SELDOM - 1) + [False] == outlived


def test_memory_is_prepared_wherever_the_c_library_is(monkeypatch):
    """With glibc it is told how to keep it; another C library is left alone."""
    garbage.prepare()
    told = []

    class Other:
        def __init__(self, _):
            told.append("asked")

    monkeypatch.setattr(garbage.ctypes, "CDLL", Other)
    garbage.prepare()
    assert ["asked"] == told
