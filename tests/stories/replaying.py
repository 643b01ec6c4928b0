"""Stories run replay-style: by the code of the `replay` command, over a past that a server has."""

from __future__ import annotations

from types import SimpleNamespace

from slo_budget_tracker.replays import Grid, replay
from tests.stories.stage import BASE, Stage
from tests.stories.test_stories import summed, sums, tell, windows_of


def replayed(story, *, until):
    """The replay of a story from its first live tick on, on the story's own clock."""
    start = max(story.live - story.interval, 0)
    result = replay(
        [story.slo],
        {"default": Stage(story)},
        start=BASE + start,
        end=BASE + until,
        grid=Grid(interval=story.interval, delay=0, workers=1),
    )
    assert {} == {key: error for key, error in result.errors.items() if "infinite" not in error}
    return result


def live(story):
    """The verdicts of a story told tick by tick, as `tell` has them."""
    running = sums(story)
    return tell(
        story,
        lambda at: {window: summed(story, running, at=at, window=window) for window in windows_of(story)},
    )


def on_the_storys_clock(one):
    """A snapshot whose instants begin with the story."""
    alerts = tuple(SimpleNamespace(**alert._asdict()) for alert in one.alerts)
    for alert in alerts:
        alert.since = None if alert.since is None else alert.since - BASE
    return SimpleNamespace(**(one._asdict() | {"alerts": alerts, "evaluated_at": one.evaluated_at - BASE}))
