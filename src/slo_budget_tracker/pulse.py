"""Pulse: once a second, a look at the clocks and a sign of life; it sees what no tick can see itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker import clocks

if TYPE_CHECKING:
    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.notifying import Notifier
    from slo_budget_tracker.scheduling import Schedule

BEAT = 1.0  # seconds
PATIENCE = 3  # intervals without a tick after which the watchdog hears nothing more
LEAST_PATIENCE = 60.0  # seconds

log = structlog.get_logger()


@dataclass(slots=True)
class Pulse:
    """Watches time for a cycle: jumps of the clock, sleep, pauses, and ticks that stay away."""

    cycle: Cycle
    schedule: Schedule
    notifier: Notifier
    _told_alive: float = 0.0

    def start(self) -> None:
        """Beat in a thread of its own."""
        threading.Thread(target=self.run, name="pulse", daemon=True).start()

    def run(self) -> None:
        """Beat until the daemon stops."""
        before = clocks.read(self.cycle.clock)
        while not self.cycle.stop.wait(BEAT):
            after = clocks.read(self.cycle.clock)
            self.judge(clocks.leap(before, after, expected=BEAT))
            self.sign_of_life(after.monotonic)
            before = after

    def judge(self, leap: clocks.Leap) -> None:
        """Tell and count what happened to time; the schedule follows the wall clock."""
        if leap.wall:
            direction = "forward" if leap.wall > 0 else "backward"
            log.warning("the wall clock was set", direction=direction, seconds=round(leap.wall, 1))
            self._count(direction)
        if leap.asleep:
            log.warning("the machine was asleep", seconds=round(leap.asleep, 1))
            self._count("asleep")
        if leap.paused:
            log.warning("the process was paused", seconds=round(leap.paused, 1))
            self._count("paused")
        if any(leap):
            self.schedule.realign()

    def sign_of_life(self, now: float) -> None:
        """Tell the service manager's watchdog, but only while ticks progress (T15)."""
        within = self.notifier.watchdog_seconds
        patience = max(PATIENCE * self.cycle.evaluator.interval, LEAST_PATIENCE)
        if within is None or now - self.cycle.progress_at > patience:
            return
        if now - self._told_alive >= within / 2 - BEAT:
            self._told_alive = now
            self.notifier.alive()

    def _count(self, direction: str) -> None:
        self.cycle.publisher.count(clock_jumps={direction: 1})
