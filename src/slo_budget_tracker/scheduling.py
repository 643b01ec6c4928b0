"""Scheduling: ticks at aligned instants of the wall clock, one at a time, late ones joined to one."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers import SchedulerNotRunningError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

EACH = "each interval"
AT_ONCE = timedelta(milliseconds=100)


class Schedule:
    """Calls `tick` at each aligned instant until it is stopped."""

    def __init__(
        self, tick: Callable[[], None], *, interval: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.tick = tick
        self.interval = interval
        self.clock = clock
        self._scheduler = BackgroundScheduler(timezone=UTC)

    def start(self) -> None:
        """Begin at the next aligned instant, and at once: a restart does not wait to catch up."""
        self._scheduler.add_job(
            self.tick,
            self._trigger(),
            id=EACH,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.add_job(self.tick, next_run_time=datetime.now(UTC) + AT_ONCE)
        self._scheduler.start()

    def realign(self) -> None:
        """The wall clock is another: the next tick is at its next aligned instant, and one now (T1, T2)."""
        with suppress(JobLookupError):  # not started yet, or stopped
            self._scheduler.reschedule_job(EACH, trigger=self._trigger())
            self._scheduler.add_job(self.tick, next_run_time=datetime.now(UTC))

    def stop(self) -> None:
        """Start no more ticks; one under way is not waited for."""
        with suppress(SchedulerNotRunningError):  # the end came before the start
            self._scheduler.shutdown(wait=False)

    def _trigger(self) -> IntervalTrigger:
        aligned = (int(self.clock() // self.interval) + 1) * self.interval
        return IntervalTrigger(seconds=self.interval, start_date=datetime.fromtimestamp(aligned, UTC))
