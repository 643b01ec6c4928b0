"""Stories told live and stories replayed by the code of the `replay` command are one."""

from __future__ import annotations

import pytest

from slo_budget_tracker import attempts, filling
from tests.stories.replaying import live, on_the_storys_clock, replayed
from tests.stories.stage import BASE, as_past
from tests.stories.test_stories import STORIES, rule_name, told

FIGURES = ("state", "coverage", "total", "failures", "error_budget_remaining", "burn_rate", "breached")


@pytest.fixture(params=STORIES, ids=lambda story: f"{story.file}: {story.name}")
def story(request):
    """Each story of each file, as it is in the past."""
    return as_past(request.param)


@pytest.fixture(autouse=True)
def _long_chunks(monkeypatch):
    """A month in which nothing was is filled in few pieces."""
    monkeypatch.setattr(filling, "RECENT_PIECE", filling.RECENT)
    monkeypatch.setattr(filling, "OLDER_PIECE", 30 * filling.OLDER_PIECE)


@pytest.fixture
def tick_by_tick(monkeypatch):
    """Each tick is read alone: a partial answer is that of its tick."""
    monkeypatch.setattr(attempts, "PIECE", 1)


@pytest.mark.usefixtures("tick_by_tick")
def test_a_replay_tells_the_story(story):
    """Every transition at its instant, by its rule and for its reason, and the figures at the end, as told live."""
    last = len(story.ticks) * story.interval
    result, verdicts = replayed(story, until=last), live(story)
    assert told(verdicts) == [
        (one.at - BASE, one.kind, rule_name(one.rule), one.reason) for one in result.transitions
    ]
    (final,) = result.final
    shown, expected = on_the_storys_clock(final), verdicts[last].snapshot
    assert {name: getattr(expected, name) for name in FIGURES} == {
        name: getattr(shown, name) for name in FIGURES
    }
    assert [(one.state, one.since) for one in expected.alerts] == [
        (one.state, one.since) for one in shown.alerts
    ]
