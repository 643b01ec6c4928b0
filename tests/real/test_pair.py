"""Two daemons over one PostgreSQL: one leads, one follows; nothing is lost or doubled whatever happens to them."""

from __future__ import annotations

import pytest

from tests.pairs import INTERVAL, survive

pytestmark = pytest.mark.postgresql


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


def check(found):
    """The show's figures."""
    print(f"\n{found}")
    assert (0, 0) == (found.lost, found.doubled)
    assert found.events > 0


def test_a_pair_survives_kills_pauses_and_cuts(tmp_path, url, audit_stream):
    """The leader is killed, paused past its lease, cut off and silenced once each: no event lost or doubled."""
    check(survive(tmp_path, url, audit_stream, rounds=1))


@pytest.mark.long
def test_a_pair_survives_them_all_for_a_long_time(tmp_path, url, audit_stream):
    """The show: 25 of each."""
    found = survive(tmp_path, url, audit_stream, rounds=25)
    check(found)
    assert found.seconds[len(found.seconds) // 2] < 2 * INTERVAL
