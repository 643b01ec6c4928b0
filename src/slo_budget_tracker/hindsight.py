"""Hindsight: what expressions say now of ticks that they were asked about some minutes ago.

A counter's ticks are parts of one telescoped difference; an expression has a value of its own at each tick,
so each is judged by itself:

- where there was no answer, or one in part, there is one now: that is taken;
- where there are more events than there were, or more bad ones, data came late: the new counts are taken;
- where there would be fewer of either, what was said then stands (of an SLO with groups, for all of them).
  It may be that data came late, but as well that another replica answers or that some are lost, and no fault
  raises a budget;
- where there is no answer now, what was said stands, and the server is asked once more later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.revisions import Difference, falls
from slo_budget_tracker.ticks import Counts, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slo_budget_tracker.history import History
    from slo_budget_tracker.ticks import Tick

    Answered = Mapping[str, Mapping[int, Counts]]

NOTHING = Counts(0, 0, Outcome.NO_DATA)


class Hindsight(NamedTuple):
    """The counts to take over, by key and tick end; whether the server says less, or nothing any more."""

    counts: Answered
    less: bool = False
    gone: bool = False


def hindsight(
    history: History,
    ids: Mapping[str, int],
    families: Sequence[Sequence[str]],
    ticks: Sequence[Tick],
    counts: Answered,
    *,
    begun: Callable[[str], int],
) -> Hindsight:
    """Judge stored ticks; a family is an SLO and its groups, `begun` says where live ticks begin."""
    taken: dict[str, dict[int, Counts]] = {}
    less = gone = False
    starts = {key: begun(key) for family in families for key in family}
    instances = [ids[key] for key in starts]
    for tick in ticks:
        stored = history.window(tick.end, [tick.seconds], ids=instances)
        for family in families:
            now = {
                key: counts.get(key, {}).get(tick.end, NOTHING) for key in family if starts[key] < tick.end
            }
            seen = [Difference.of([tick], stored[ids[key]][tick.seconds], [new]) for key, new in now.items()]
            if not any(one.changed for one in seen):
                continue
            if any(one.lost for one in seen):
                gone = True
            elif any(not one.completed and falls(one.before, one.after) for one in seen):
                less = True
            else:
                for key, new in now.items():
                    taken.setdefault(key, {})[tick.end] = new
    return Hindsight(taken, less=less, gone=gone)
