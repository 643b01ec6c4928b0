"""What of an SLO's past is still to be filled: alone, after a move, and after moves in quick succession."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.holes import Hole, Holes

PAST = 1_000
BORN = 10_000


@pytest.mark.parametrize(
    ("holes", "expected"),
    [
        pytest.param(Holes(BORN, BORN), [Hole(0, BORN)], id="new: the whole window"),
        pytest.param(Holes(BORN, 9_500), [Hole(0, 9_500)], id="half filled: the older half"),
        pytest.param(Holes(BORN, 9_000), [], id="filled to the start of the window: nothing"),
        pytest.param(
            Holes(BORN, BORN, 9_900), [Hole(9_900, BORN)], id="moved: what nobody counted meanwhile"
        ),
        pytest.param(Holes(BORN, 9_900, 9_900), [], id="moved and filled: nothing"),
        pytest.param(
            Holes(BORN, 9_950, 9_900, 9_500),
            [Hole(9_900, 9_950), Hole(0, 9_500)],
            id="moved while it was filled: the gap first, then what was left",
        ),
        pytest.param(
            Holes(BORN, 9_900, 9_900, 9_500), [Hole(0, 9_500)], id="the gap is filled: what was left"
        ),
        pytest.param(Holes(BORN, 9_300, 9_900, 9_500), [Hole(0, 9_300)], id="and that in part"),
        pytest.param(Holes(BORN, 9_900, 9_900, 9_500, 9_400), [Hole(9_400, 9_500)], id="down to a floor"),
        pytest.param(Holes(BORN, 9_900, 9_900, 8_500), [], id="what was left is out of the window by now"),
    ],
)
def test_what_is_open(holes, expected):
    """Newest first; nothing that another ledger had counted, nothing before the window."""
    assert expected == list(holes.open(PAST))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param(Holes(BORN, 9_000), [Hole(10_100, 10_160)], id="complete: only the gap"),
        pytest.param(Holes(BORN, 9_500), [Hole(10_100, 10_160), Hole(0, 9_500)], id="half filled"),
        pytest.param(
            Holes(BORN, 9_950, 9_900), [Hole(10_100, 10_160), Hole(9_900, 9_950)], id="moved again in a hurry"
        ),
        pytest.param(
            Holes(BORN, 9_950, 9_900, 9_700, 9_600),
            [Hole(10_100, 10_160), Hole(9_600, 9_950)],
            id="the third hole is joined to the second",
        ),
    ],
)
def test_a_move_keeps_what_was_filled(before, expected):
    """Counted up to 10,100 there, read from 10,160 here."""
    assert expected == list(before.moved(counted=10_100, at=10_160, past=PAST).open(PAST))


def test_what_has_no_counts_is_filled_as_if_it_were_new():
    """Nobody had read a tick of it."""
    assert Holes(BORN, BORN) == Holes(9_000, 8_500, 8_900, 8_700).moved(counted=None, at=BORN, past=PAST)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(0, 400)), max_size=6))
def test_whatever_is_open_is_filled_once_and_nothing_is_forgotten(moves):
    """Through any number of moves, each after so much of the filling: uncounted time is always in a hole."""
    now, holes, counted = BORN, Holes(BORN, BORN), set()
    for ticks, pause, filled in moves:
        counted |= set(range(now, now + ticks))
        for _ in range(filled):
            found = holes.open(PAST)
            if not found:
                break
            top = found[0].top - 1
            counted.add(top)
            holes = Holes(holes.begun, top, holes.kept, holes.left, holes.floor)
        end = now + ticks
        now = end + pause
        holes = holes.moved(counted=end, at=now, past=PAST)
        open_ = {at for hole in holes.open(PAST) for at in range(max(hole.bottom, now - PAST), hole.top)}
        assert set(range(now - PAST, now)) - counted <= open_


def test_cursors_are_read_as_they_were_written():
    """From one ledger to the next start."""
    holes = Holes(BORN, 9_950, 9_900, 9_700, 9_600)
    assert holes == Holes.of(holes.cursors(7).get, 7, born=1)
    assert Holes(BORN, BORN) == Holes.of({}.get, 7, born=BORN)
