"""What lies between two readings of the clocks, and what the pulse makes of it."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest

from slo_budget_tracker.clocks import Leap, Reading, leap, read
from slo_budget_tracker.notifying import Notifier
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.pulse import Pulse
from slo_budget_tracker.ticks import data_instant

START = Reading(1_000_000.0, 500.0, 900.0)


def later(*, wall, monotonic, boot):
    """A reading so many seconds after the first."""
    return Reading(START.wall + wall, START.monotonic + monotonic, START.boot + boot)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param({"wall": 1, "monotonic": 1, "boot": 1}, Leap(0, 0, 0), id="a second passes"),
        pytest.param({"wall": 2, "monotonic": 1, "boot": 1}, Leap(0, 0, 0), id="a leap second (T3)"),
        pytest.param({"wall": 3_601, "monotonic": 1, "boot": 1}, Leap(3_600, 0, 0), id="set forward (T1)"),
        pytest.param({"wall": -3_599, "monotonic": 1, "boot": 1}, Leap(-3_600, 0, 0), id="set back (T2)"),
        pytest.param({"wall": 28_801, "monotonic": 1, "boot": 28_801}, Leap(0, 28_800, 0), id="asleep (T4)"),
        pytest.param({"wall": 601, "monotonic": 601, "boot": 601}, Leap(0, 0, 600), id="stopped (T5)"),
        pytest.param({"wall": 4, "monotonic": 4, "boot": 4}, Leap(0, 0, 0), id="a busy machine"),
    ],
)
def test_what_happened_between_two_readings(after, expected):
    """T1 to T5: a set clock, sleep and a pause are told apart; a leap second and a busy machine are nothing."""
    assert expected == leap(START, later(**after), expected=1.0)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns"])
@pytest.mark.parametrize(
    "begin",
    [1_792_800_000, 1_774_656_000, 1_483_142_400],
    ids=["autumn", "spring", "leap"],
)
def test_civil_time_moves_no_tick(monkeypatch, zone, begin):
    """T3: through daylight saving and a smeared leap second, wherever we are, ticks are a minute apart, each once."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    smear = 1 / 86_400
    walls = [begin + second * (1 - smear) for second in range(0, 2 * 86_400, 7)]
    instants = sorted({data_instant(wall, interval=60, delay=30) for wall in walls})
    assert {60} == {later - earlier for earlier, later in pairwise(instants)}
    assert {30} == {instant % 60 for instant in instants}
    monkeypatch.undo()
    time.tzset()


def test_the_clocks_of_this_machine_agree():
    """Two readings at once have nothing between them."""
    assert Leap(0, 0, 0) == leap(read(), read(), expected=0.0)


class Realigned:
    """A schedule that counts."""

    times = 0

    def realign(self):
        """Count."""
        self.times += 1


class Told(Notifier):
    """A service manager that counts the signs of life."""

    def alive(self):
        """Count."""
        object.__setattr__(self, "heard", getattr(self, "heard", 0) + 1)


def pulse(*, watchdog=None, interval=60):
    """A pulse over a cycle that only has what the pulse looks at."""
    cycle = SimpleNamespace(
        publisher=Publisher(),
        evaluator=SimpleNamespace(interval=interval),
        progress_at=1_000.0,
        stop=threading.Event(),
    )
    return Pulse(cycle, Realigned(), Told("", watchdog))


@pytest.mark.parametrize(
    ("what", "counted"),
    [
        (Leap(3_600, 0, 0), {"forward": 1}),
        (Leap(-3_600, 0, 0), {"backward": 1}),
        (Leap(0, 28_800, 0), {"asleep": 1}),
        (Leap(0, 0, 600), {"paused": 1}),
    ],
)
def test_leaps_are_counted_and_the_schedule_follows(what, counted):
    """T1, T2, T4, T5: the next tick is at the next aligned instant of the clock as it is now."""
    beating = pulse()
    beating.judge(what)
    beating.judge(Leap(0, 0, 0))
    assert (counted, 1) == (beating.cycle.publisher.own.clock_jumps, beating.schedule.times)


def test_the_watchdog_hears_of_us_while_ticks_progress():
    """T15: within three intervals of the last tick, twice per period; after that no more."""
    beating = pulse(watchdog=20.0)
    for now in range(1_000, 1_400):
        beating.sign_of_life(float(now))
    assert 21 == beating.notifier.heard


def test_without_a_watchdog_nobody_hears():
    """T15: a service manager that did not ask is not told."""
    beating = pulse()
    beating.sign_of_life(1_000.0)
    assert not hasattr(beating.notifier, "heard")
