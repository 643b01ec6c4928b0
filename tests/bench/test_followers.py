"""The bench of onlookers runs, in small."""

from __future__ import annotations

import secrets

import pytest

from tests.bench import followers


@pytest.mark.postgresql
def test_onlookers_show_what_was_concluded_and_cost_little(postgresql):
    """Three SLOs of two days: both show what the one that evaluates shows, and each figure is there."""
    found = followers.measure(
        postgresql.url(namespace=f"test_{secrets.token_hex(6)}"), slos=3, days=2, ticks=1
    )
    assert {"follower", "overview"} == found.keys()
    assert "what a tick brought" in str(found["follower"])
