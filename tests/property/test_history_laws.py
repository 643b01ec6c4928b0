"""Laws of History: a window is a sum, whatever the order, the density and what happened meanwhile."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.density import Density, Stage
from slo_budget_tracker.history import History
from slo_budget_tracker.rows import EVENTS, Row, merge, pack, unpack
from slo_budget_tracker.ticks import Counts, Outcome, Tick

TICK = 60
END = 120 * TICK  # two hours of ticks
SMALL = Density((Stage(20 * TICK, 5 * TICK), Stage(50 * TICK, 20 * TICK)))
FIGURES = ("total", "bad", "known", "partial", "absent")

counts = st.builds(
    lambda total, share, outcome: Counts(float(total), float(total * share // 4), outcome),
    st.one_of(st.integers(0, 300), st.integers(0, 10**9), st.integers(2**31, 2**45)),
    st.integers(0, 4),
    st.sampled_from([Outcome.OK, *Outcome]),
)


@st.composite
def histories(draw):
    """Rows of up to three instances: spans of one to seven ticks, with gaps, never twice over the same time."""
    rows = []
    for instance in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, 100)) * TICK
        for _ in range(draw(st.integers(0, 9))):
            start = at + draw(st.sampled_from([0, 0, 0, 1, 3])) * TICK
            at = start + draw(st.sampled_from([1, 1, 1, 2, 7])) * TICK
            rows.append(Row.of(Tick(start, at), {3 * instance: draw(counts)}))
    return draw(st.permutations(rows))


def together(rows, seed):
    """The same counts with the rows of equal spans joined, as live ticks have them."""
    by_span = {}
    for row in rows:
        by_span.setdefault((row.start, row.end), []).append(row)
    joined = [merged for same in by_span.values() for merged in merge(same)]
    np.random.default_rng(seed).shuffle(joined)
    return joined


def brute(rows, instance, start, end):
    """Sums over the rows inside (start, end], and over those the edges cut too."""
    inner, outer = dict.fromkeys(FIGURES, 0.0), dict.fromkeys(FIGURES, 0.0)
    for row in rows:
        if instance not in row.ids or row.end <= start or row.start >= end:
            continue
        at = row.ids.tolist().index(instance)
        for name in FIGURES:
            value = float(getattr(row, name)[at])
            outer[name] += value
            inner[name] += value if start <= row.start and row.end <= end else 0.0
    return inner, outer


def figures(history, instance, start, end):
    """A window as a dict."""
    found = history.window(end, [end - start], ids=[instance])[instance][end - start]
    return {name: getattr(found, name) for name in FIGURES}


def edges(rows, instance):
    """Where the instance's rows start and end."""
    return sorted({edge for row in rows if instance in row.ids for edge in (row.start, row.end)})


def ids(rows):
    """All instances of the rows."""
    return sorted({number for row in rows for number in row.ids.tolist()})


@given(histories(), st.integers(1, 4))
def test_windows_between_row_edges_are_exact_sums(rows, calls):
    """Added in any order and in any number of calls, every window between two row edges is the plain sum."""
    history = History()
    for call in range(calls):
        history.add(rows[call::calls])
    for instance in ids(rows):
        at = edges(rows, instance)
        for start, end in [*pairwise(at), *zip(at, reversed(at), strict=True)]:
            if start < end:
                inner, _ = brute(rows, instance, start, end)
                assert inner == figures(history, instance, start, end)


@st.composite
def words(draw):
    """What is said of some ticks and instances, again and again; failures are rare."""
    plain = st.builds(
        lambda total, fails: Counts(float(total), float(total * fails), Outcome.OK),
        st.integers(1, 70_000),
        st.sampled_from([False, False, True]),
    )
    said = []
    for _ in range(draw(st.integers(1, 12))):
        first, last = sorted(draw(st.tuples(st.integers(0, 20), st.integers(0, 20))))
        those = draw(st.lists(st.integers(0, 3), min_size=1, unique=True))
        ticks = [Tick(at * TICK, (at + 1) * TICK) for at in range(first, last + 1)]
        said.append([(tick, {one: draw(plain) for one in those}) for tick in ticks])
    return said


@given(words())
def test_what_was_said_last_of_each_tick_counts(said):
    """Whoever comes late, begins in the past or is said anew: each window is the sum of the last words."""
    history, last = History(), {}
    for batch in said:
        history.add([Row.of(*one) for one in batch])
        last |= {(tick, instance): one for tick, row in batch for instance, one in row.items()}
    rows = [Row.of(tick, {instance: one}) for (tick, instance), one in last.items()]
    for instance in ids(rows):
        for start, end in [*pairwise(edges(rows, instance)), (0, END)]:
            inner, _ = brute(rows, instance, start, end)
            assert inner == figures(history, instance, start, end)


@given(histories(), st.integers(0, END), st.integers(1, END))
def test_a_cut_row_gives_between_nothing_and_all_of_itself(rows, start, length):
    """The error of a prorated edge is bounded by the row that it cuts."""
    history = History()
    history.add(rows)
    for instance in ids(rows):
        inner, outer = brute(rows, instance, start, start + length)
        found = figures(history, instance, start, start + length)
        for name in FIGURES:
            slack = 1e-6 if name in EVENTS else 2.0  # stored seconds are whole ones
            assert inner[name] - slack <= found[name] <= outer[name] + slack


@given(histories(), st.integers(0, 2**32 - 1))
def test_rows_joined_or_apart_are_the_same_function(rows, seed):
    """One row for many instances says what a row for each says."""
    apart, joined = History(), History()
    apart.add(rows)
    for row in together(rows, seed):
        joined.add([row])
    for instance in ids(rows):
        for end in range(TICK, END, 23 * TICK):
            one, other = figures(apart, instance, 0, end), figures(joined, instance, 0, end)
            for name in FIGURES:
                slack = 1e-6 if name in EVENTS else 2.0
                assert abs(one[name] - other[name]) <= slack


@given(histories(), st.integers(0, 3 * END))
def test_thinning_keeps_every_window_between_kept_points(rows, now):
    """Points that stay have the value they had, to the last bit; thinning again changes nothing."""
    history, thinned = History(density=SMALL), History(density=SMALL)
    history.add(rows)
    thinned.add(rows)
    thinned.thin(now)
    points = thinned.points.tolist()
    assert set(points) <= set(history.points.tolist())
    for instance in ids(rows):
        for start, end in pairwise(points):
            assert figures(history, instance, start, end) == figures(thinned, instance, start, end)
    assert 0 == thinned.thin(now)


@given(histories(), st.integers(0, 2 * END), st.integers(0, 2 * END))
def test_thinning_early_or_late_ends_in_the_same_points(rows, one, two):
    """Two thinnings, the later one last, leave what the later one alone leaves."""
    twice, once = History(density=SMALL), History(density=SMALL)
    for history, instants in ((twice, sorted((one, two))), (once, [max(one, two)])):
        history.add(rows)
        for instant in instants:
            history.thin(instant)
    assert once.points.tolist() == twice.points.tolist()


@given(histories())
def test_outcomes_add_up_to_the_time_elapsed(rows):
    """I1: seconds of all outcomes are those between an instance's first and last row, and none is negative."""
    history = History(density=SMALL)
    history.add(rows)
    history.thin(END)
    for instance in ids(rows):
        tally = history.outcomes(instance)
        span = history.span(instance)
        assert span.seconds == sum(tally.values())
        assert all(seconds >= 0 for seconds in tally.values())


@given(histories())
def test_a_row_replaces_what_was_stored_over_its_span(rows):
    """After a replacement the history is the one that never had the replaced rows."""
    history, never = History(), History()
    history.add(rows)
    spoilt = [
        Row.of(Tick(row.start, row.end), {int(i): Counts(123.0, 45.0, Outcome.OK) for i in row.ids})
        for row in rows[::2]
    ]
    history.add(spoilt)
    history.add(rows[::2])
    never.add(rows)
    for instance in ids(rows):
        at = edges(rows, instance)
        for start, end in pairwise(at):
            assert figures(never, instance, start, end) == figures(history, instance, start, end)


@given(histories(), histories())
def test_staged_rows_leave_no_trace(rows, staged):
    """Staged and undone: every window between the rows' edges is what it was."""
    history, never = History(), History()
    history.add(rows)
    never.add(rows)
    history.undo(history.stage(staged))
    assert never.newest == history.newest
    for instance in ids(rows):
        assert never.outcomes(instance) == history.outcomes(instance)
        at = edges(rows, instance)
        for start, end in pairwise(at):
            assert figures(never, instance, start, end) == figures(history, instance, start, end)


@given(histories())
def test_storage_gives_back_the_same_numbers(rows):
    """Packed and unpacked rows are equal, joined or apart."""
    for row in together(rows, 1):
        again = unpack(pack(row), start=row.start, end=row.end, ids=row.ids)
        for name, values in row.channels().items():
            assert values.tolist() == getattr(again, name).tolist()


@st.composite
def happenings(draw):
    """Ticks of some of five instances, in any order, again and again; some are staged only, some instances dropped."""
    chosen = st.lists(st.integers(0, 4), min_size=1, unique=True)
    numbers = st.one_of(
        st.integers(0, 300), st.integers(2**31, 2**40), st.integers(0, 999).map(lambda quarters: quarters / 4)
    )
    found = []
    for _ in range(draw(st.integers(1, 15))):
        first, ids = draw(st.sampled_from([0, 0, 3, 9, 30])), draw(chosen)
        failures = draw(st.sampled_from([numbers, st.just(0)]))
        rows = [
            {number: (draw(numbers), draw(failures)) for number in ids}
            for _ in range(draw(st.sampled_from([1, 2, 20])))
        ]
        found.append((draw(st.sampled_from(["add", "add", "add", "stage", "drop"])), first, ids, rows))
    return found


@given(happenings())
def test_whatever_happens_every_tick_has_what_was_said_of_it_last(happened):
    """Late ticks, new instances in the past, revisions, undone ones: counts of any size, to the last bit."""
    history, said = History(), {}
    for what, first, ids, rows in happened:
        if what == "drop":
            history.drop(ids)
            said = {key: one for key, one in said.items() if key[1] not in ids}
            continue
        ticks = [Tick((first + at) * TICK, (first + at + 1) * TICK) for at in range(len(rows))]
        made = [
            Row.of(tick, {number: Counts(float(a), float(b), Outcome.OK) for number, (a, b) in row.items()})
            for tick, row in zip(ticks, rows, strict=True)
        ]
        if what == "stage":
            history.undo(history.stage(made))
            continue
        history.add(made)
        said |= {
            (tick.end, number): one
            for tick, row in zip(ticks, rows, strict=True)
            for number, one in row.items()
        }
    for number in {number for _, number in said}:
        for end in range(TICK, 90 * TICK, TICK):
            total, bad = said.get((end, number), (0, 0))
            found = figures(history, number, end - TICK, end)
            assert (total, bad, TICK if (end, number) in said else 0) == (
                found["total"],
                found["bad"],
                found["known"],
            )
