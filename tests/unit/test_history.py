"""History by example: what a window is, what a row replaces, what thinning leaves."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from slo_budget_tracker.density import DAY, HOUR, Density
from slo_budget_tracker.history import History
from slo_budget_tracker.rows import CHANNELS, Row, disjoint, merge, pack, unpack
from slo_budget_tracker.ticks import Counts, Outcome, Tick, WindowCounts

NOW = 1_700_000_000 // HOUR * HOUR


def row(start, end, counts):
    """A row from `{id: (total, bad)}` or `{id: Outcome}`."""
    return Row.of(
        Tick(start, end),
        {
            number: Counts(0, 0, given) if isinstance(given, Outcome) else Counts(*given, Outcome.OK)
            for number, given in counts.items()
        },
    )


def window(history, at, seconds, instance=1):
    """One window of one instance."""
    return history.window(at, [seconds])[instance][seconds]


def test_a_window_is_the_sum_of_its_rows():
    """Two of three ticks are in the window: their counts and seconds, nothing else."""
    history = History()
    history.add([row(0, 60, {1: (10, 1)}), row(60, 120, {1: (20, 2)}), row(120, 180, {1: (40, 4)})])
    assert WindowCounts(120, 60.0, 6.0, 120.0) == window(history, 180, 120)


def test_an_empty_history_knows_nothing():
    """Without rows there are no instances, no points and no newest instant."""
    history = History()
    history.add([])
    assert ({}, None, 0) == (history.window(60, [60]), history.newest, history.nbytes)


def test_an_admitted_instance_has_windows_with_nothing_known():
    """An SLO that is registered and has no row yet is there, with coverage 0."""
    history = History()
    history.admit([7])
    assert {7: {60: WindowCounts(60, 0.0, 0.0, 0.0)}} == history.window(60, [60])
    assert history.span(7) is None


def test_nothing_is_known_before_the_first_row():
    """D22: two hours of data in a 30-day window are two hours known, not thirty days."""
    history = History()
    history.add([row(NOW - 2 * HOUR, NOW, {1: (100, 1)})])
    assert WindowCounts(30 * DAY, 100.0, 1.0, 7200.0) == window(history, NOW, 30 * DAY)


def test_nothing_is_known_after_the_last_row():
    """A window that ends in the future of the data counts what there is."""
    history = History()
    history.add([row(0, 60, {1: (10, 1)})])
    assert WindowCounts(120, 10.0, 1.0, 60.0) == window(history, 120, 120)


def test_an_edge_inside_a_row_takes_its_share():
    """A third of the row is in the window: a third of its counts and seconds."""
    history = History()
    history.add([row(0, 300, {1: (30, 3)})])
    assert WindowCounts(100, 10.0, 1.0, 100.0) == window(history, 300, 100)


def test_a_gap_between_rows_is_not_known():
    """D15: an outage between two ticks adds neither counts nor seconds."""
    history = History()
    history.add([row(0, 60, {1: (10, 0)}), row(600, 660, {1: (10, 0)})])
    assert WindowCounts(660, 20.0, 0.0, 120.0) == window(history, 660, 660)
    assert WindowCounts(540, 0.0, 0.0, 0.0) == window(history, 600, 540)


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.known])
def test_counts_of_a_tick_that_is_not_known_are_not_stored(outcome):
    """P7: whatever came with an error, a missed or an absent tick is in no sum."""
    history = History()
    history.add([Row.of(Tick(0, 60), {1: Counts(99, 9, outcome)})])
    absent = 60.0 if outcome is Outcome.NO_DATA else 0.0
    assert WindowCounts(60, 0.0, 0.0, 0.0, 0.0, absent) == window(history, 60, 60)


def test_a_partial_tick_is_known_and_marked():
    """P17: counts of a partial answer are stored, and the seconds say that they are partial."""
    history = History()
    history.add([Row.of(Tick(0, 60), {1: Counts(10, 1, Outcome.PARTIAL)})])
    assert WindowCounts(60, 10.0, 1.0, 60.0, 60.0) == window(history, 60, 60)


def test_a_revision_replaces_what_was_there():
    """D16: a late answer for a tick takes the place of the first one and is never added to it."""
    history = History()
    history.add([row(0, 60, {1: (10, 1), 2: (5, 0)}), row(60, 120, {1: Outcome.ERROR, 2: (5, 0)})])
    history.add([row(60, 120, {1: (20, 2)})])
    history.add([row(60, 120, {1: (20, 2)})])
    assert WindowCounts(120, 30.0, 3.0, 120.0) == window(history, 120, 120)
    assert WindowCounts(120, 10.0, 0.0, 120.0) == window(history, 120, 120, 2)


def test_a_later_row_of_one_batch_wins():
    """Two rows over the same tick in one call: the second one stands."""
    history = History()
    history.add([row(0, 60, {1: (10, 1)}), row(0, 60, {1: (7, 0)})])
    assert WindowCounts(60, 7.0, 0.0, 60.0) == window(history, 60, 60)


def test_filling_the_past_leaves_the_present_alone():
    """Rows before an instance's first one change windows that reach them, and only those."""
    history = History()
    history.add([row(NOW, NOW + 60, {1: (10, 1), 2: (1, 0)})])
    history.add([row(NOW - 3600, NOW, {1: (600, 6)}), row(NOW - 7200, NOW - 3600, {1: (300, 3)})])
    assert WindowCounts(60, 10.0, 1.0, 60.0) == window(history, NOW + 60, 60)
    assert WindowCounts(7260, 910.0, 10.0, 7260.0) == window(history, NOW + 60, 7260)
    assert WindowCounts(7260, 1.0, 0.0, 60.0) == window(history, NOW + 60, 7260, 2)


@pytest.mark.parametrize("old", [(1,), (1, 2)], ids=["of one other", "of two others"])
def test_a_late_row_without_failures_takes_none_of_others(old):
    """A new instance's first row lies in the past, and then the others' failures are revised."""
    history = History()
    ticks = range(NOW, NOW + 600, 60)
    history.add([row(at, at + 60, dict.fromkeys(old, (10, 1))) for at in ticks])
    history.add([row(NOW + 120, NOW + 180, {3: (5, 0)})])
    history.add([row(at, at + 60, dict.fromkeys(old, (10, 2))) for at in ticks])
    assert WindowCounts(600, 5.0, 0.0, 60.0) == window(history, NOW + 600, 600, 3)
    assert [WindowCounts(600, 100.0, 20.0, 600.0)] * len(old) == [
        window(history, NOW + 600, 600, one) for one in old
    ]


def test_large_whole_numbers_stay_exact():
    """D20: sums near 2**53 lose nothing, however often the past is filled in."""
    history = History()
    large = float(2**52)
    history.add([row(60, 120, {1: (large, 1)})])
    history.add([row(0, 60, {1: (large - 1, 1)})])
    assert WindowCounts(120, 2.0**53 - 1, 2.0, 120.0) == window(history, 120, 120)


def test_staged_rows_can_be_taken_back():
    """What was staged and not committed leaves no trace in any window."""
    history = History()
    history.add([row(0, 60, {1: (10, 1)}), row(60, 120, {1: Outcome.MISSED})])
    before = history.window(240, [60, 120, 180, 240])
    staged = [row(60, 180, {1: (99, 9), 2: (5, 5)})]
    undo = history.stage(staged)
    assert WindowCounts(120, 99.0, 9.0, 120.0) == window(history, 180, 120)
    history.undo(undo)
    assert before[1] == history.window(240, [60, 120, 180, 240])[1]
    assert (None, Tick(0, 120), 120) == (history.span(2), history.span(1), history.newest)


def test_dropped_instances_are_gone_and_the_others_stay():
    """A dropped instance has no windows any more; its neighbour's are as before."""
    history = History()
    history.add([row(0, 60, {1: (10, 1), 2: (20, 2), 3: (30, 3)})])
    history.drop([2])
    history.add([row(60, 120, {3: (1, 0), 4: (4, 0)})])
    assert {1: 10.0, 3: 31.0, 4: 4.0} == {i: w[120].total for i, w in history.window(120, [120]).items()}


def test_windows_of_some_instances():
    """Asked for by id, in the order asked; an id that nobody knows has nothing."""
    history = History()
    history.add([row(0, 60, {1: (10, 1), 2: (20, 2)})])
    found = history.window(60, [60], ids=[2, 9, 500])
    assert {2: 20.0, 9: 0.0, 500: 0.0} == {number: windows[60].total for number, windows in found.items()}


def test_borders_cut_time_into_parts():
    """Each part has its own counts, whatever its length; of an unknown instance nothing is known."""
    history = History()
    history.add([row(0, 60, {1: (10, 1)}), row(60, 120, {1: (20, 2)})])
    assert [
        WindowCounts(90, 5.0, 0.5, 30.0),
        WindowCounts(90, 25.0, 2.5, 90.0),
        WindowCounts(1, 0.0, 0.0, 0.0),
        WindowCounts(30, 0.0, 0.0, 0.0),
    ] == history.parts(1, [-60, 30, 120, 120, 150])
    assert [WindowCounts(60, 0.0, 0.0, 0.0)] == history.parts(9, [0, 60])


def test_parts_are_kept_closely_where_both_ends_are_points():
    """What lies in one old row has no detail; a point that is less than a tick away will do."""
    history = History()
    history.add([row(0, 7_200, {1: (10, 1)}), row(7_200, 10_790, {1: (20, 2)})])
    assert [False, False, True, False] == history.closely([0, 3_600, 7_200, 10_800, 14_400], near=60)


def test_outcomes_add_up_to_the_time_elapsed():
    """I1: a tick nobody stored is a missed one."""
    history = History()
    stored = [Outcome.NO_TRAFFIC, Outcome.PARTIAL, Outcome.NO_DATA, Outcome.ERROR, Outcome.UNKNOWN]
    history.add([row(60 * i, 60 * i + 60, {1: outcome}) for i, outcome in enumerate(stored)])
    history.add([row(360, 420, {1: (1, 0)})])
    assert dict.fromkeys(Outcome, 60) == history.outcomes(1)
    assert dict.fromkeys(Outcome, 0) == history.outcomes(2)


def test_missing_spans_are_those_that_may_still_be_fetched():
    """P25: missed and failed ticks are fetched later; absent and unknown ones are final."""
    history = History()
    stored = [(1, 0), Outcome.MISSED, Outcome.NO_DATA, Outcome.ERROR, Outcome.UNKNOWN, (1, 0)]
    history.add([row(60 * i, 60 * i + 60, {1: given}) for i, given in enumerate(stored)])
    assert [Tick(60, 120), Tick(180, 240)] == history.missing(1, since=0)
    assert [Tick(60, 120)] == history.missing(1, since=-600, until=180)
    assert [] == history.missing(1, since=360)
    assert [] == history.missing(2, since=0)


def test_thinning_drops_old_points_only():
    """Ticks for 7 hours, then 5 minutes, hours beyond 3 days and 6 hours, days beyond 32 days."""
    history = History()
    start = NOW // DAY * DAY - 40 * DAY
    history.add([row(t, t + 300, {1: (5, 0)}) for t in range(start, NOW - 12 * HOUR, 300)])
    history.add([row(t, t + 60, {1: (1, 0)}) for t in range(NOW - 12 * HOUR, NOW, 60)])
    history.thin(NOW)
    steps = np.diff(history.points)
    assert [DAY, HOUR, 300, 60] == list(dict.fromkeys(steps.tolist()))
    assert 7 * HOUR // 60 == (steps == 60).sum()
    length = NOW - start
    assert WindowCounts(length, length / 60, 0.0, float(length)) == window(history, NOW, length)
    assert 0 == history.thin(NOW)


def test_short_ticks_are_thinned_to_minutes():
    """Where ticks are shorter than a minute, the middle density is one minute."""
    assert (60, 300) == tuple(Density.of(interval=i).stages[0].step for i in (15, 60))


def test_the_longest_short_window_keeps_its_ticks():
    """A short window of 12 hours is exact: its ticks are kept for an hour more."""
    assert 13 * HOUR == Density.of(longest_short=12 * HOUR).stages[0].age


def test_a_first_fill_reads_what_would_be_stored():
    """Filled spans are those that thinning leaves, on the grid of the live ticks."""
    density = Density.of()
    spans = density.spans(NOW - 30 * DAY - 17, NOW - 30, interval=60, delay=30)
    history = History()
    history.add([row(t.start, t.end, {1: (1, 0)}) for t in spans])
    assert 0 == history.thin(NOW - 30)
    assert {0} == {(t.start + 30) % 60 for t in spans[1:]}
    assert (NOW - 30 * DAY - 17, NOW - 30) == (spans[0].start, spans[-1].end)
    assert [] == density.spans(NOW, NOW, interval=60, delay=30)


def test_a_row_must_end_after_it_starts():
    """A span of no length is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"not \(60, 60\]"):
        row(60, 60, {1: (1, 0)})


@pytest.mark.parametrize(
    "values", [[0.0, 0.0], [3.0, 70_000.0], [1.5, 2.0], [2.0**40, 1.0], [255.0, 256.0]], ids=str
)
def test_packed_rows_come_back_as_they_were(values):
    """Narrow, wide, fractional and equal numbers survive storage bit by bit."""
    first = Row.of(
        Tick(0, 60), {5 * i: Counts(v, v / 2, Outcome(i)) for i, v in enumerate([*values, 7.0, 1.0, 1.0])}
    )
    again = unpack(pack(first), start=0, end=60, ids=first.ids)
    narrow = unpack(pack(first), start=0, end=60, ids=first.ids, narrow=True)
    for name in CHANNELS:
        assert (
            getattr(first, name).tolist() == getattr(again, name).tolist() == getattr(narrow, name).tolist()
        )
    assert first.outcome.tolist() == again.outcome.tolist()


@pytest.mark.parametrize("data", [b"", b"junk", pack(row(0, 60, {1: (1, 0)}))[:-3]], ids=len)
def test_damaged_bytes_are_refused(data):
    """S5: bytes that are not a row's are an error, never a row of something."""
    with pytest.raises(ValueError, match=r"stored counts of \(0, 60\]"):
        unpack(data, start=0, end=60, ids=np.array([1]))


def test_damage_that_zlib_overlooks_is_refused():
    """S5: +1 -2 +1 in a row has the same Adler-32; such came of one flipped bit in a thousand of a real file."""
    whole = row(0, 60, {at: (2 + at % 7, 2) for at in range(1, 600)})
    plain = bytearray(zlib.decompress(pack(whole)))
    found = zlib.adler32(plain)
    for at, by in ((-500, 1), (-499, -2), (-498, 1)):
        plain[at] += by
    assert found == zlib.adler32(plain)
    with pytest.raises(ValueError, match="are damaged"):
        unpack(zlib.compress(bytes(plain)), start=0, end=60, ids=whole.ids)


@pytest.mark.parametrize("form", [1, 2])
def test_rows_of_older_programs_are_read(form):
    """S10: without a seal, or with one of span and instances only."""
    first = row(0, 60, {1: (7, 2), 5: (9, 3)})
    plain = zlib.decompress(pack(first))
    seal = zlib.crc32(first.ids.astype("<i8").tobytes(), zlib.crc32(struct.pack("<qq", 0, 60)))
    older = bytes([form]) + (struct.pack("<I", seal) if form > 1 else b"") + plain[5:]
    again = unpack(zlib.compress(older), start=0, end=60, ids=first.ids)
    assert first.total.tolist() == again.total.tolist()
    assert first.bad.tolist() == again.bad.tolist()


def test_bytes_of_another_format_are_refused():
    """S10: a row that a newer program wrote is not guessed at."""
    with pytest.raises(ValueError, match="unknown format"):
        unpack(zlib.compress(b"\x09" * 100), start=0, end=60, ids=np.array([1]))


def test_merging_sums_and_keeps_spans_apart():
    """Instances with the same first start and last end share a merged row."""
    merged = merge([row(0, 60, {1: (1, 1), 2: (2, 0)}), row(60, 120, {2: (4, 1), 1: (8, 0), 3: (1, 0)})])
    assert [(0, 120, [1, 2], [9.0, 6.0]), (60, 120, [3], [1.0])] == [
        (r.start, r.end, r.ids.tolist(), r.total.tolist()) for r in merged
    ]


def test_rows_overlap_only_for_the_same_instance():
    """Two instances over the same span are apart; one instance twice is not."""
    assert disjoint([row(0, 60, {1: (1, 0)}), row(0, 60, {2: (1, 0)}), row(60, 90, {1: (1, 0)})])
    assert not disjoint([row(0, 60, {1: (1, 0)}), row(30, 90, {2: (1, 0), 1: (1, 0)})])
