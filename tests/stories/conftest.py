"""Each story, and how a replay of it reads."""

from __future__ import annotations

import pytest

from slo_budget_tracker import attempts, filling
from tests.stories.stage import as_past
from tests.stories.test_stories import STORIES


@pytest.fixture(params=STORIES, ids=lambda story: f"{story.file}: {story.name}")
def story(request):
    """Each story of each file, as it is in the past."""
    return as_past(request.param)


@pytest.fixture
def long_chunks(monkeypatch):
    """A month in which nothing was is filled in few pieces."""
    monkeypatch.setattr(filling, "RECENT_PIECE", filling.RECENT)
    monkeypatch.setattr(filling, "OLDER_PIECE", 30 * filling.OLDER_PIECE)


@pytest.fixture
def tick_by_tick(monkeypatch):
    """Each tick is read alone: a partial answer is that of its tick."""
    monkeypatch.setattr(attempts, "PIECE", 1)
