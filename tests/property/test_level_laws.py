"""Laws of levels: whatever is put in comes out to the last bit, however narrow it is kept."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.levels import MOST_OF_ONE_BASE, Place, joined, levels, lifted, narrow, nbytes

NUMBERS = st.one_of(
    st.sampled_from([0, 1, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**45]),
    st.integers(0, 10**6),
    st.integers(0, 400).map(lambda quarters: quarters / 4),
)
COLUMNS = 4
RISES = st.lists(st.lists(NUMBERS, min_size=1, max_size=COLUMNS), min_size=1, max_size=50)


def lines(rises):
    """What each column has reached after each rise; columns come one after the other."""
    wide = [np.pad(np.array(rise, float), (0, COLUMNS - len(rise))) for rise in rises]
    reached = accumulate(wide)
    tops = accumulate((len(rise) for rise in rises), max)
    return [line[:top] for line, top in zip(reached, tops, strict=True)]


def whole(line):
    """A line with a number for each column."""
    return [*line.tolist(), *[0.0] * (COLUMNS - len(line))]


@given(RISES, st.integers(0, 50))
def test_levels_are_the_lines_they_were_made_of(rises, first):
    """Made at once or in two goes, with counts of any size and with fractions, each level is its line."""
    found = lines(rises)
    made = list(levels(found[:first]))
    made += levels(found[first:], made)
    assert [whole(line) for line in found] == [whole(level.line()) for level in made]
    assert [[line.of(column) for column in range(COLUMNS)] for line in made] == [
        whole(line) for line in found
    ]


@given(RISES, st.lists(st.integers(0, COLUMNS - 1), min_size=1))
def test_lines_of_any_widths_follow_each_other(rises, cuts):
    """A line ends where its last columns are at 0, whatever the one before had: they stay at 0."""
    found = [line[: 1 + cuts[at % len(cuts)]] for at, line in enumerate(lines(rises))]
    assert [whole(line) for line in found] == [whole(level.line()) for level in levels(found)]


@given(RISES, st.lists(st.integers(0, COLUMNS - 1), unique=True))
def test_some_columns_are_read_as_all_are(rises, columns):
    """In any order, and where a column came later than the level it is at 0."""
    found = lines(rises)
    place = Place.of(np.array(columns, np.int64))
    assert [[whole(line)[column] for column in columns] for line in found] == [
        level.at(place).tolist() for level in levels(found)
    ]


@given(RISES, st.integers(-(2**40), 2**40), st.integers(0, COLUMNS - 1))
def test_lifted_levels_are_as_much_higher(rises, shift, column):
    """One column moved by a whole number, up or down; the others stay where they are."""
    place = Place.of(np.array([column]))
    moved = lifted(levels(lines(rises)), place, np.array([float(shift)]))
    higher = [0.0] * COLUMNS
    higher[column] = float(shift)
    assert [(np.array(whole(line)) + higher).tolist() for line in lines(rises)] == [
        whole(level.line()) for level in moved
    ]


@given(RISES, st.randoms(use_true_random=False))
def test_levels_left_over_are_joined_unchanged(rises, random):
    """Whatever was taken out, the others are what they were, on bases that are well used."""
    kept = [level for level in levels(lines(rises)) if random.random() < 0.3]
    found = joined(kept)
    assert [whole(level.line()) for level in kept] == [whole(level.line()) for level in found]
    pairs = list(zip(found, found[MOST_OF_ONE_BASE:], strict=False))
    assert [] == [one for one, other in pairs if one.base is other.base]


@given(st.lists(NUMBERS))
def test_narrow_numbers_are_equal(numbers):
    """Whole numbers as narrow as they are, equal ones once, and what does not fit as it was."""
    wide = np.array(numbers, float)
    assert wide.tolist() == narrow(wide).tolist()


def test_ordinary_counts_take_few_bytes():
    """Seconds that all SLOs have alike take none, counts up to 65,535 in sixteen points two bytes each."""
    size, points = 1_000, 16
    counts = np.random.default_rng(1).poisson(1_500, (points, size)).cumsum(axis=0).astype(float)
    seconds = np.repeat(60.0 * np.arange(1, points + 1)[:, None], size, axis=1)
    assert nbytes(levels(seconds)) < 1_000
    assert nbytes(levels(counts)) <= 2 * points * size + 2 * size
