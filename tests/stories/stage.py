"""A story as a Prometheus would have it: counters scraped six times a tick, with the answers the story tells of.

What is not there has no samples; an error is a sample that no counter can have; a partial answer says so. Ticks that
were missed or given up have no meaning in the past, which a server either has or has not: they are errors here.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from tests.stories.story import Story

BASE = 200 * 86_400  # the instant at which every story begins
SCRAPES = 6  # in a tick
POD = {"job": "story", "instance": "story:80"}
RANGE = re.compile(r"(?P<metric>\w+)(?:\{.*\})?\[(?P<seconds>\d+)s\]$")
UNREADABLE = {Outcome.ERROR, Outcome.MISSED, Outcome.UNKNOWN}


def as_past(story: Story) -> Story:
    """The same story where every tick that could not be read is an error."""
    ticks = [replace(one, outcome=Outcome.ERROR) if one.outcome in UNREADABLE else one for one in story.ticks]
    return replace(story, ticks=ticks)


@dataclass
class Stage:
    """Answers instant queries about the story's counters, its `up` and its process start."""

    story: Story
    samples: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = bad = 0.0
        step = self.story.interval / SCRAPES
        for number, tick in enumerate(self.story.ticks):
            if tick.outcome is Outcome.NO_DATA:
                continue
            start = BASE + number * self.story.interval
            for scrape in range(SCRAPES):
                if scrape == 1:
                    total, bad = total + tick.total, bad + tick.bad
                time = round((start + (scrape + 0.5) * step) * 1000)
                self._put("up", time, 1)
                self._put("process_start_time_seconds", time, BASE)
                self._put("requests_total", time, math.inf if tick.outcome is Outcome.ERROR else total)
                self._put("failures_total", time, bad)

    def _put(self, metric: str, time: int, value: float) -> None:
        self.samples.setdefault(metric, []).append((time, value))

    def __call__(self, query: Query) -> Answer:
        """The raw samples of a range, by the story's own clock."""
        found = RANGE.fullmatch(query.expression)
        if found is None:  # of a day before: of a target that is known nothing new is learnt there
            return Answer(())
        until, seconds = query.at * 1000, int(found["seconds"])
        samples = self.samples.get(found["metric"], [])
        first, last = (bisect_right(samples, (at, math.inf)) for at in (until - seconds * 1000, until))
        inside = samples[first:last]
        series = Series({"__name__": found["metric"], **POD}, [t for t, _ in inside], [v for _, v in inside])
        return Answer((series,) if inside else (), partial=self._partial(query.at - seconds, query.at))

    def _partial(self, after: int, until: int) -> bool:
        first, last = ((at - BASE) // self.story.interval for at in (after, until))
        return any(one.outcome is Outcome.PARTIAL for one in self.story.ticks[max(first, 0) : max(last, 0)])
