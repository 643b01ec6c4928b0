"""Stories told live and stories replayed by the code of the `replay` command are one."""

from __future__ import annotations

import pytest

from tests.stories.replaying import live, on_the_storys_clock, replayed
from tests.stories.stage import BASE
from tests.stories.test_stories import rule_name, told

FIGURES = ("state", "coverage", "total", "failures", "error_budget_remaining", "burn_rate", "breached")


pytestmark = pytest.mark.usefixtures("long_chunks")


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
