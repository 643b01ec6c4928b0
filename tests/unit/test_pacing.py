"""When a server may be asked (row P13, P14)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slo_budget_tracker.pacing import Gate, Lanes, pause


def test_lanes_are_halved_and_widened_by_one_per_round():
    """P13: 8, then 4, then 2; after two good answers 3; never above what is configured, never below 1."""
    lanes = Lanes(8)
    found = [lanes.limit]
    for _ in range(5):
        lanes.narrow()
        found.append(lanes.limit)
    assert [8, 4, 2, 1, 1, 1] == found
    steps = []
    for _ in range(60):
        lanes.widen()
        steps.append(lanes.limit)
    assert (2, 8) == (steps[0], steps[-1])
    assert steps == sorted(steps)


def test_a_taken_lane_comes_free_again():
    """Even after an error."""
    lanes = Lanes(0)

    def fail():
        with lanes.lane(0) as free:
            assert free
            with lanes.lane(0) as second:
                assert not second
            raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            fail()


def test_a_gate_opens_by_itself_and_is_never_shortened():
    """P13 P15: the longest of what was asked for holds."""
    clock = SimpleNamespace(now=100.0)
    gate = Gate(lambda: clock.now)
    found = [gate.wait]
    for shut in (10, 3):
        gate.shut(shut)
        found.append(gate.wait)
    clock.now = 111.0
    assert [0.0, 10.0, 10.0, 0.0] == [*found, gate.wait]


@pytest.mark.parametrize(
    ("tries", "longest", "share", "expected"),
    [(1, 30, 1.0, 0.25), (2, 30, 1.0, 0.5), (3, 30, 0.5, 0.5), (10, 30, 1.0, 30), (1, 30, 0.0, 0.0)],
)
def test_pauses_have_full_jitter(tries, longest, share, expected):
    """P1 P14: anywhere between nothing and a limit that doubles, at most half of the budget."""
    assert expected == pause(tries, longest=longest, random_share=lambda: share)
