"""Density: how closely stored points stand, by age; one rule for memory, disk and first fill.

Time is cut into cells of a step's length, (k - 1) * step < t <= k * step. A cell that lies wholly beyond an
age keeps its last point only. Steps divide each other, so a coarse cell's last point is the last one of its
finest cell too, and thinning early, late or twice ends in the same points.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.ticks import Tick, align_down

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from slo_budget_tracker.specs import SLO

MINUTE = 60
HOUR = 3600
DAY = 86400


@dataclass(frozen=True, slots=True)
class Stage:
    """Beyond `age` seconds one point per `step` seconds is enough."""

    age: int
    step: int


@dataclass(frozen=True, slots=True)
class Density:
    """The stages, youngest first; younger than the first one every tick keeps its own point."""

    stages: tuple[Stage, ...]

    @classmethod
    def of(
        cls, *, interval: int = 60, longest_short: int = 6 * HOUR, longest_window: int = 30 * DAY
    ) -> Density:
        """Ticks for the longest short window, then 5 minutes, hours for the SLO windows, days for ever.

        Where ticks are shorter than a minute, the 5 minutes are one.
        """
        fine = max(longest_short, 6 * HOUR) + HOUR
        middle = max(3 * DAY + 6 * HOUR, fine)
        coarse = max(longest_window, 30 * DAY) + 2 * DAY
        return cls(
            (
                Stage(fine, MINUTE if interval < MINUTE else 5 * MINUTE),
                Stage(middle, HOUR),
                Stage(coarse, DAY),
            )
        )

    def with_all_of(self, other: Density) -> Density:
        """What keeps every point that one of the two keeps, as far as stages can say."""
        stages: list[Stage] = []
        for age in sorted({stage.age for stage in (*self.stages, *other.stages)}):
            step = min(self._step_at(age), other._step_at(age))
            if step > (stages[-1].step if stages else 0):
                stages.append(Stage(age, step))
        return Density(tuple(stages))

    def _step_at(self, age: int) -> int:
        return max((stage.step for stage in self.stages if stage.age <= age), default=0)

    def steps(self, points: NDArray[np.int64], *, now: int) -> NDArray[np.int64]:
        """The step of the cell that each point belongs to at `now`; 0 where it is still on its own."""
        steps = np.zeros(len(points), np.int64)
        for stage in self.stages:
            steps[cell_end(points, stage.step) <= now - stage.age] = stage.step
        return steps

    def kept(self, points: NDArray[np.int64], *, now: int) -> NDArray[np.bool_]:
        """Which of the ascending points stay at `now`; the first and the last one always do."""
        keep = np.ones(len(points), np.bool_)
        if len(points) < 3:  # noqa: PLR2004 - with two points there is nothing between the first and the last
            return keep
        steps = self.steps(points, now=now)
        cells = cell_end(points, np.maximum(steps, 1))
        keep[:-1] = (steps[:-1] == 0) | (steps[1:] != steps[:-1]) | (cells[1:] != cells[:-1])
        keep[0] = True
        return keep

    def spans(self, start: int, until: int, *, interval: int, delay: int) -> list[Tick]:
        """The spans from `start` to `until` as they would be stored at `until`: what a first fill reads.

        Inner edges are on the grid `k * interval - delay`, so that live ticks and filled spans share points.
        """
        if until <= start:
            return []
        first = align_down(start, interval=interval, delay=delay) + interval
        grid = np.arange(first, until, interval, dtype=np.int64)
        points = np.concatenate(([start], grid, [until])).astype(np.int64)
        edges: list[int] = points[self.kept(points, now=until)].tolist()
        return [Tick(a, b) for a, b in pairwise(edges)]


def cell_end(points: NDArray[np.int64], step: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """The end of the cell (k - 1) * step < t <= k * step that holds each point."""
    return -(-points // step) * step


def density_of(slos: Iterable[SLO], *, interval: int) -> Density:
    """How closely a ledger of these SLOs keeps its counts, by age."""
    known = list(slos)
    return Density.of(
        interval=interval,
        longest_short=max((alert.short for slo in known for alert in slo.alerts), default=0),
        longest_window=max((slo.window for slo in known), default=0),
    )
