"""Which shard evaluates an SLO: evenly, for ever the same, and few move when their number changes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.shards import Shard, families, namespace_of, number_of, owner
from slo_budget_tracker.slis import CompositeSli, Member
from tests.unit.serving import availability

NAMES = [f"service-{n}-availability" for n in range(2_000)]


def journey(name, *members):
    """A composite of these."""
    return availability(name, sli=CompositeSli(members=tuple(Member(slo=one) for one in members)))


def test_an_owner_is_the_same_for_ever():
    """A hash of another program, platform or version would move SLOs between daemons."""
    found = [owner(name, of=5) for name in ("checkout-availability", "search-latency", "a", "b", "c")]
    assert [4, 2, 0, 3, 3] == found


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_each_slo_has_one_shard_and_each_shard_its_share(of):
    """No SLO twice, none left out, no shard with much more than its share."""
    slos = [availability(name) for name in NAMES[:600]]
    shares = [Shard(index, of).share(slos) for index in range(of)]
    assert sorted(slo.name for share in shares for slo in share) == sorted(NAMES[:600])
    assert max(map(len, shares)) < 1.35 * 600 / of


@given(st.integers(1, 40))
def test_one_shard_more_moves_its_share_and_nothing_else(of):
    """Whoever moves, moves to the new one; about one in n + 1 does."""
    before = {name: owner(name, of=of) for name in NAMES}
    after = {name: owner(name, of=of + 1) for name in NAMES}
    moved = [name for name in NAMES if before[name] != after[name]]
    assert {of} == {after[name] for name in moved}
    expected = len(NAMES) / (of + 1)
    assert abs(len(moved) - expected) < 5 * expected**0.5


def test_a_composite_stays_with_its_members():
    """Its figures are its members': they are evaluated in one place, through composites of composites too."""
    slos = [*map(availability, "abcdefgh"), journey("ab", "a", "b"), journey("bc", "b", "c")]
    assert {"a"} == {families(slos)[name] for name in ("a", "b", "c", "ab", "bc")}
    assert "d" == families(slos)["d"]
    (share,) = [
        share for index in range(4) if "ab" in (share := [s.name for s in Shard(index, 4).share(slos)])
    ]
    assert {"a", "b", "c", "ab", "bc"} <= set(share)


def test_spread_over_many():
    """A million SLOs would be spread as evenly as these."""
    sizes = Counter(owner(name, of=10) for name in NAMES)
    assert 10 == len(sizes)
    assert max(sizes.values()) < 1.25 * len(NAMES) / 10


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3/3", "the last of 3 is 2/3"),
        ("0", "such as 0/3"),
        ("1/0", "such as 0/3"),
        ("-1/3", "such as 0/3"),
        ("0/5000", "such as 0/3"),
        ("a/b", "such as 0/3"),
        ("\u0661/\u0663", "such as 0/3"),
    ],
)
def test_what_is_no_shard_is_told(text, says):
    """One sentence: what was found and what is expected."""
    with pytest.raises(UsageError, match=says):
        Shard.parse(text)


def test_a_namespace_is_that_of_the_number_alone():
    """However many there are: what stays with a shard stays where it is."""
    assert "slo_shard_2" == Shard(2, 3).namespace("slo") == Shard.parse("2/9").namespace("slo")
    assert [2, None, None] == [
        number_of(name, "slo") for name in (namespace_of("slo", 2), "slo", "slo_shard_x")
    ]
    assert "2/9" == str(Shard.parse("2/9"))
