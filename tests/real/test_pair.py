"""Two daemons over one PostgreSQL: one leads, one follows; nothing is lost or doubled whatever happens to them."""

from __future__ import annotations

import pytest

from tests.pairs import INTERVAL, survive
from tests.ratios import NAMES

pytestmark = pytest.mark.postgresql
MOST = (5, 3, 7)  # ticks: the longest takeover, the longest time between two answers, the oldest gauges


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


def check(found, show):
    """The show's figures: two ticks are what is promised; the rest is for a machine that others use, too."""
    for line in str(found).splitlines():
        show(line)
    assert (0, 0) == (found.lost, found.doubled)
    assert found.compared >= 2 * len(NAMES)
    ticks = [seconds / INTERVAL for seconds in (found.seconds[-1], found.hole, found.oldest)]
    assert [True] * 3 == [one < most for one, most in zip(ticks, MOST, strict=True)], ticks


def test_a_pair_survives_kills_pauses_and_cuts(tmp_path, url, audit_stream, show):
    """The leader is killed, paused past its lease, cut off and silenced once each: no event lost or doubled."""
    check(survive(tmp_path, url, audit_stream, rounds=1), show)


@pytest.mark.long
def test_a_pair_survives_them_all_for_a_long_time(tmp_path, url, audit_stream, show):
    """The show: 25 of each."""
    found = survive(tmp_path, url, audit_stream, rounds=25)
    check(found, show)
    assert found.seconds[len(found.seconds) // 2] < 2 * INTERVAL
