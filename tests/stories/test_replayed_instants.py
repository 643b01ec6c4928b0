"""Stories replayed up to every instant that they name, and read by the hour."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slo_budget_tracker import attempts, replays
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.replays import Grid, evaluate_at
from tests.stories.replaying import live, on_the_storys_clock, replayed
from tests.stories.stage import BASE, Stage
from tests.stories.test_stories import found, rule_name, told

pytestmark = pytest.mark.usefixtures("long_chunks")


@pytest.mark.long
@pytest.mark.usefixtures("tick_by_tick")
def test_a_replay_shows_what_the_story_shows(story):
    """States and figures at each instant that the story names: `replay` up to there, `evaluate` before the birth."""
    verdicts = live(story)
    for at in sorted({line.at for line in story.expectations}):
        if at >= max(story.live, story.interval):
            (snapshot,) = replayed(story, until=at).final
        else:
            grid = Grid(interval=story.interval, delay=0, workers=1)
            (snapshot,) = evaluate_at([story.slo], {"default": Stage(story)}, at=BASE + at, grid=grid)
        shown = SimpleNamespace(snapshot=on_the_storys_clock(snapshot), reasons={})
        for line in story.expectations:
            if line.at != at or line.value.startswith(("budget ", "data ")):
                continue
            where = f"{format_duration(at)} {line.subject}"
            assert f"{where} {found(verdicts[at], line)}" == f"{where} {found(shown, line)}"


@pytest.mark.long
def test_long_pieces_tell_the_same(story, monkeypatch):
    """Read by the hour, as a replay does, the transitions are the same; only partial answers reach further."""
    monkeypatch.setattr(replays, "REPLAY_PIECE", 6 * 3_600)
    if any(one.outcome.name == "PARTIAL" for one in story.ticks):
        monkeypatch.setattr(attempts, "PIECE", 1)
    result = replayed(story, until=len(story.ticks) * story.interval)
    assert [(at, kind, rule) for at, kind, rule, _ in told(live(story))] == [
        (one.at - BASE, one.kind, rule_name(one.rule)) for one in result.transitions
    ]
