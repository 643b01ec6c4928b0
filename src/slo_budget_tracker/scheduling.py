"""Scheduling: ticks at aligned instants of the wall clock, one at a time, late ones joined to one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

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
            IntervalTrigger(seconds=self.interval, start_date=self._next()),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler.add_job(self.tick, next_run_time=datetime.now(UTC) + AT_ONCE)
        self._scheduler.start()

    def stop(self) -> None:
        """Start no more ticks; one under way is not waited for."""
        self._scheduler.shutdown(wait=False)

    def _next(self) -> datetime:
        aligned = (int(self.clock() // self.interval) + 1) * self.interval
        return datetime.fromtimestamp(aligned, UTC)
