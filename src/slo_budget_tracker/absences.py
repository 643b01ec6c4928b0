"""Absences: spans in which an SLO had an answer, and a group of it that is found later had no series.

They are as long as they may be: between what is said of the SLO and what is not, a handful for weeks. Where
one ends, cells end into which the ledger merges what it has, so that nothing beside it is spread over it. As
long as each tick is kept on its own each is one, too: what comes late takes the place of a tick.
"""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.density import cell_end
from slo_budget_tracker.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from slo_budget_tracker.density import Density
    from slo_budget_tracker.history import History
    from slo_budget_tracker.ticks import WindowCounts

YOUNG = 81  # edges, however long ticks are: of so many ticks late data are looked for
ROUNDED = 2  # seconds that the whole ones between two points may lack of what was stored


def absences(history: History, slo: int, begun: Mapping[int, int], until: int) -> dict[Tick, list[int]]:
    """By span, the groups of an SLO without series up to an instant, of which nothing is said.

    Args:
        history: what is known.
        slo: the instance of the SLO.
        begun: by the instance of each group, the instant from which it is looked at.
        until: where all of them end.
    """
    points = history.points
    inner = points[(points > min(begun.values())) & (points < until)]
    edges: NDArray[np.int64] = np.unique(np.concatenate((list(begun.values()), inner, [until])))
    recent = min(until - history.density.stages[0].age, int(edges[-YOUNG:][0]))
    answered = np.array([_is_answered(part) for part in history.parts(slo, edges.tolist())])
    found: dict[Tick, list[int]] = {}
    for group, start in begun.items():
        own = history.parts(group, edges.tolist())
        silent = answered & (edges[:-1] >= start) & np.array([not part.known for part in own])
        for is_silent, some in groupby(range(len(silent)), key=silent.__getitem__):
            if is_silent:
                which = list(some)
                run = edges[which[0] : which[-1] + 2]
                for edge in pairwise(run[_kept(run, history.density, recent=recent)].tolist()):
                    found.setdefault(Tick(*edge), []).append(group)
    return found


def _is_answered(part: WindowCounts) -> bool:
    """Whether there was a whole answer at all ticks of a part: what it does not have is not there."""
    return not part.partial and part.window - part.known - part.absent < min(ROUNDED, part.window)


def _kept(edges: NDArray[np.int64], density: Density, *, recent: int) -> NDArray[np.bool_]:
    """Which edges stay: the young ones, and before them the last one that ends a cell of each size."""
    kept = edges > recent
    kept[[0, -1]] = True
    young = 1 + int(np.argmax(kept[1:]))
    for stage in density.stages:
        cells = cell_end(edges[: young + 1], stage.step)
        kept[np.flatnonzero(cells[1:] > cells[:-1])[-1:]] = True
    return kept
