"""Shards over one PostgreSQL change their number under load and are killed while SLOs move: nothing is lost or doubled."""

from __future__ import annotations

import secrets

import pytest

from tests.walks import walk

pytestmark = [pytest.mark.postgresql, pytest.mark.prometheus, pytest.mark.long]


def test_shards_change_their_number_under_load(tmp_path, postgresql, audit_stream):
    """From 2 to 3 and back, three times each: each request counted once, each event told once, moved only what had to be."""
    found = walk(tmp_path, postgresql, f"walk_{secrets.token_hex(4)}", audit_stream, changes=6, interval=2)
    print(f"\n{found}")
    assert ([], [], [], [], []) == (found.wrong, found.lost, found.doubled, found.astray, found.unobserved)
    assert (6, found.due) == (found.changes, found.moved)
    assert min(found.moved, found.requests, found.events, found.kills.total()) > 0
