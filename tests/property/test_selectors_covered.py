"""Laws of sets of selectors: what is read covers what was asked for, and is sorted as by trying every selector."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.index import Index, cover, disjoint, pieces
from slo_budget_tracker.selectors import Matcher, Selector

VALUES = ("", "a", "b", "a.b", "500", "503")
LABELS = ("code", "job", "path")
MATCHERS = st.one_of(
    st.builds(Matcher, st.sampled_from(LABELS), st.just("="), st.sampled_from(VALUES)),
    st.builds(
        Matcher,
        st.sampled_from(LABELS),
        st.sampled_from(("=~", "!~")),
        st.sampled_from(("a|b", "5..", "a\\.b|500", ".+", ".*", "a|", "50[03]")),
    ),
    st.builds(Matcher, st.sampled_from(LABELS), st.just("!="), st.sampled_from(VALUES)),
)
SELECTORS = st.builds(
    lambda matchers: Selector("m", tuple(sorted(matchers, key=lambda m: (m.label, m.operator, m.value)))),
    st.sets(MATCHERS, max_size=4),
)
SERIES = [
    {label: value for label, value in zip(LABELS, values, strict=True) if value}
    for values in product(VALUES, repeat=len(LABELS))
]


@given(st.lists(SELECTORS, min_size=1, max_size=25))
def test_a_cover_selects_all_and_nothing_twice(selectors):
    """Every series of a selector is in exactly one selector of the cover."""
    covering = cover(selectors)
    counts = {sum(one.matches(labels) for one in covering) for labels in SERIES}
    wanted = {
        sum(one.matches(labels) for one in covering)
        for labels in SERIES
        if any(one.matches(labels) for one in selectors)
    }
    assert counts <= {0, 1}
    assert wanted <= {1}


@given(st.lists(SELECTORS, min_size=1, max_size=25), st.randoms())
def test_a_cover_does_not_depend_on_the_order(selectors, random):
    """The same selectors in another order, or twice, are read in the same way."""
    shuffled = [*selectors, selectors[0]]
    random.shuffle(shuffled)
    assert cover(selectors) == cover(shuffled)


@given(st.lists(SELECTORS, max_size=60))
def test_an_index_finds_what_trying_all_finds(selectors):
    """The index is a faster way to the same answer."""
    members = list(enumerate(selectors))
    index = Index.of(members)
    for labels in SERIES[::5]:
        assert {n for n, one in members if one.matches(labels)} == set(index.find(labels))


@given(SELECTORS, SELECTORS)
def test_disjoint_selectors_share_no_series(one, other):
    """What is plainly disjoint is disjoint."""
    if disjoint(one, other):
        assert [] == [labels for labels in SERIES if one.matches(labels) and other.matches(labels)]


@given(
    st.sets(st.text(st.characters(min_codepoint=32, max_codepoint=300), min_size=1), min_size=1, max_size=30),
    st.integers(20, 200),
)
def test_pieces_are_a_partition(values, limit):
    """Each value of a list is in exactly one piece, and every piece is short or a single value."""
    from slo_budget_tracker.index import alternation  # noqa: PLC0415 - used here only

    whole = Selector("m", (alternation("job", frozenset(values)),))
    found = pieces(whole, limit)
    assert [1] * len(values) == [sum(piece.matches({"job": value}) for piece in found) for value in values]
    assert all(len(str(piece).encode()) <= limit or piece.matchers[0].operator == "=" for piece in found)
    assert all(disjoint(one, other) for one, other in combinations(found, 2))
