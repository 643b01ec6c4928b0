"""Laws of every kind of SLO at once: how the ticks came about makes no difference."""

from __future__ import annotations

import os
from operator import itemgetter

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.property.mixtures import MINUTES, live

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
EXAMPLES = settings(  # a smaller example of a world is hardly clearer, and takes long to find
    max_examples=100 if SOAK else 2, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
SEEDS = st.integers(0, 10**9)
EACH = range(1, MINUTES + 1)
MOMENTS = st.frozensets(st.integers(1, MINUTES - 1), max_size=5)


@st.composite
def spans(draw):
    """Minutes of up to three outages that are over in the end."""
    found = set()
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(1, MINUTES - 2))
        found |= set(range(first, min(first + draw(st.integers(1, 30)), MINUTES - 1)))
    return frozenset(found)


def assert_same(expected, found, parts):
    """By instance, so that a failure names it; groups that are gone are looked for once an hour, so some are left."""
    for part in parts:
        one, other = getattr(expected, part), getattr(found, part)
        for key in one.keys() & other.keys():
            assert (part, key, one[key]) == (part, key, other[key])


@EXAMPLES
@given(SEEDS, MOMENTS)
def test_catching_up_is_having_been_there(seed, stops):
    """Counts of each tick, figures, states and all that is told are the same however many ticks are read at once."""
    there, caught_up = live(seed, EACH), live(seed, [*sorted(stops), MINUTES])
    assert_same(there, caught_up, ["ticks", "outcomes", "figures", "states"])
    assert [(slo, *what) for slo, _, *what in there.told] == [
        (slo, *what) for slo, _, *what in caught_up.told
    ]
    for lived in (there, caught_up):
        assert sorted(lived.told, key=itemgetter(0, 2)) == lived.told  # in order of time, too


@EXAMPLES
@given(SEEDS, spans(), spans(), MOMENTS)
def test_outages_and_restarts_change_no_count(seed, silent, other_silent, restarts):
    """P24, P25, T14: whichever datasource was out of reach, and whenever the daemon began anew."""
    expected = live(seed, EACH)
    found = live(seed, EACH, silent=silent, other_silent=other_silent, restarts=restarts)
    assert_same(expected, found, ["ticks", "outcomes", "figures"])


@pytest.mark.long
@settings(max_examples=1)
@given(SEEDS)
def test_a_life_is_the_same_twice(seed):
    """The world is one and the same for a seed: what differs in the laws above is the daemon's."""
    assert live(seed, EACH) == live(seed, EACH)
