"""Laws of every kind of SLO at once: how the ticks came about makes no difference."""

from __future__ import annotations

import os
from operator import itemgetter

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from slo_budget_tracker.groups import name_of
from tests.property.mixtures import MINUTES, Late, catalogue, live, probing, rounded, tick_counts

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


QUIET = 36  # from this minute on nothing is wrong any more
WATCHED = range(1, QUIET + 31)
LATE_EXAMPLES = settings(
    max_examples=300 if SOAK else 2, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
SOURCES = st.sampled_from(["", "", "", "a_total", "b_total", "requests", "failures", "ratio"])


@st.composite
def delays(draw):
    """What is late: of everything, of one metric's pods, or of one expression."""
    first = draw(st.integers(480, 60 * QUIET - 490))
    return Late(first, first + draw(st.integers(15, 200)), draw(st.integers(20, 280)), draw(SOURCES))


@st.composite
def faults(draw):
    """Answers that are none, or not all, by minute and datasource."""
    found = {}
    for _ in range(draw(st.integers(0, 3))):
        first = draw(st.integers(8, QUIET - 2))
        last = min(first + draw(st.integers(1, 6)), QUIET)
        source, kind = (
            draw(st.sampled_from(["default", "other"])),
            draw(st.sampled_from(["empty", "partial"])),
        )
        found |= dict.fromkeys([(minute, source) for minute in range(first, last)], kind)
    return tuple(found.items())


def during(kind, first, last, source="default"):
    """The same fault from one minute to another."""
    return tuple(((minute, source), kind) for minute in range(first, last))


FOUND_WRONG = {  # histories that were
    "a group is first seen behind answers in part": (
        9,
        [Late(1_103, 1_223, 193), Late(1_283, 1_483, 144)],
        during("partial", 9, 20, "other") + during("partial", 13, 17),
    ),
    "a restart in the last second, and then no answers": (
        27,
        [Late(1_221, 1_341, 127), Late(1_446, 1_461, 85)],
        during("empty", 7, 11),
    ),
    "a fall behind late scrapes at the end of ten ticks": (
        1_058,
        [Late(465, 585, 190, "failures"), Late(1_126, 1_156, 190), Late(1_566, 1_766, 240)],
        during("partial", 11, 16, "other") + during("partial", 8, 9, "other"),
    ),
    "late scrapes while others come back": (
        2_218,
        [Late(477, 492, 96, "b_total"), Late(925, 940, 271)],
        during("empty", 14, 16, "other"),
    ),
    "late scrapes in the fourth of the ticks that lack samples": (
        787,
        [Late(676, 692, 39), Late(1_476, 1_675, 237), Late(1_000, 1_016, 157)],
        during("empty", 32, 33),
    ),
    "a group ends while scrapes seem to be rare": (
        34,
        [Late(805, 986, 79)],
        during("empty", 23, 29, "other"),
    ),
    "the first probes of a target are late": (162, [Late(1_545, 1_671, 203, "b_total")], ()),
    "answers in part make known targets new ones": (
        246,
        [Late(608, 748, 29, "failures"), Late(514, 693, 34, "ratio")],
        during("partial", 28, 32) + during("empty", 12, 17),
    ),
    "a late probe behind a scrape that failed": (
        504,
        [Late(1_259, 1_316, 160), Late(642, 826, 94, "b_total"), Late(1_597, 1_701, 156)],
        during("partial", 9, 12, "other") + during("partial", 8, 12),
    ),
}


def stands(said, true):
    """Whether what an expression said of a tick stands, for the SLO and its groups: else something is taken away."""
    return any(true[key].known < one.known for key, one in said.items()) or any(
        true[key].total < one.total or true[key].bad < one.bad for key, one in said.items() if not one.partial
    )


def by_family(counts, names):
    """What a tick brought to the SLOs of these names, each with its groups."""
    return [{key: one for key, one in counts.items() if name_of(key) == name} for name in names]


def assert_counted_as_in_time(seed, late, troubles):
    """Live through a world twice, once with what is late and the answers that are wrong."""
    slos = (*(one.model_copy(update={"corrections": ()}) for one in catalogue(seed)), probing())
    expressions = [one.name for one in slos if one.sli.kind == "promql"]
    raw = {one.name for one in slos if one.slices is None and one.sli.kind not in {"promql", "composite"}}
    said, ends = {}, []

    def note(minute, evaluator, ledger):
        said[minute] = tick_counts(minute, evaluator, ledger)
        if minute == WATCHED[-1]:
            ends.append({at: tick_counts(at, evaluator, ledger) for at in WATCHED})

    live(seed, WATCHED, slos=slos, workers=1, watch=note)
    live(seed, WATCHED, slos=slos, workers=1, watch=note, late=late, faults=troubles)
    true, found = ends
    assert true[QUIET].keys() == found[QUIET].keys()
    for key in (key for key in true[QUIET] if name_of(key) in raw):
        assert [(at, key, true[at][key].known) for at in WATCHED] == [
            (at, key, found[at][key].known) for at in WATCHED
        ]
        for part in ("total", "bad"):
            expected, counted = (sum(getattr(one[at][key], part) for at in WATCHED) for one in ends)
            assert (key, part, expected) == (key, part, counted)
    for at in WATCHED:
        for first in by_family(said[at], expressions):
            expected = first if stands(first, true[at]) else true[at]
            for key in first:
                assert (at, key, *rounded(expected[key][1:4])) == (at, key, *rounded(found[at][key][1:4]))
                assert found[at][key].partial == 0 or found[at][key] == first[key]


@LATE_EXAMPLES
@example(*FOUND_WRONG["answers in part make known targets new ones"])
@given(SEEDS, st.lists(delays(), max_size=3), faults())
def test_what_comes_late_is_counted_as_if_it_had_come_in_time(seed, late, troubles):
    """D16, P17, P19: half an hour later every SLO has what a reader in time has, expressions the worst that was said.

    Left out are slices, which stay as they were judged, composites, which have no counts of their own, and
    corrections, which leave counts as they are.
    """
    assert_counted_as_in_time(seed, late, troubles)


@pytest.mark.long
@pytest.mark.parametrize("history", FOUND_WRONG)
def test_what_was_counted_wrong_once_is_counted_right(history):
    """D16, P17, P19: the histories that the law above has found wrong."""
    assert_counted_as_in_time(*FOUND_WRONG[history])


@pytest.mark.long
@settings(max_examples=1)
@given(SEEDS)
def test_a_life_is_the_same_twice(seed):
    """The world is one and the same for a seed: what differs in the laws above is the daemon's."""
    assert live(seed, EACH) == live(seed, EACH)
