"""Laws of counting: how a past is read does not matter, and what is known to have happened is what is counted."""

from __future__ import annotations

import math
import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.counting import Memory
from slo_budget_tracker.ticks import Tick
from tests.unit.tsdb import BAD, METRIC, TOTAL, Story, Tsdb, feed_of

BEGIN = 1_000_000  # seconds
TICK = 60
TICKS = 12
SPACING = 15


def past(seed):
    """A server's samples over twelve ticks: targets with crashes, holes, late births, renames, all at random."""
    dice = random.Random(seed)
    db = Tsdb()
    usual = dice.choice([5, 20, 60])  # how rare odd things are
    for number in range(dice.randint(1, 3)):
        tells_start = dice.random() < 0.5
        labels = {"job": dice.choice("ab"), "instance": f"i{number}"}
        offset = dice.randrange(15_000)
        start, counters, silent = BEGIN - dice.randrange(5_000), {}, 0
        for at in range(BEGIN - 300, BEGIN + TICK * TICKS, SPACING):
            what = dice.choice([""] * usual + ["crash", "silent", "label", "down", "odd"])
            if what == "crash":
                start, counters = at, {}
            silent = dice.randint(1, 20) if what == "silent" else silent - 1
            if what == "label":
                labels = {**labels, "env": dice.choice("xy")}
            for code in dice.sample(["c200", "c500", "c503"], dice.randint(0, 2)):
                counters[code] = counters.get(code, 0) + dice.randint(0, 50)
            shown = dict(counters)
            if what == "odd" and shown:
                shown[dice.choice(list(shown))] = dice.choice([math.nan, -1.0, math.inf, 3.0])
            if silent <= 0:
                db.scrape(at * 1000 + offset, labels, start=start if tells_start else None,
                          up=int(what != "down"), **shown)  # fmt: skip
    return db


SEEDS = st.integers(0, 2**32)


def read(db, splits):
    """Counts, presence and memory after reading all ticks, cut into reads at `splits`."""
    ticks = [Tick(end - TICK, end) for end in range(BEGIN + TICK, BEGIN + TICK * TICKS + 1, TICK)]
    memory, counts, present, doubts = Memory.empty(), {}, {}, {}
    edges = sorted({0, len(ticks), *splits})
    for first, last in pairwise(edges):
        tally = db.count(feed_of(), memory, ticks[first:last])
        memory = Memory.loads(tally.memory.dumps())
        counts |= {end: {k: v for k, v in one.items() if v} for end, one in tally.counts.items()}
        present |= tally.present
        for doubt, times in tally.doubts.items():
            doubts[doubt] = doubts.get(doubt, 0) + times
    return counts, present, doubts, memory.dumps()


@given(SEEDS, st.sets(st.integers(1, TICKS - 1)))
def test_catching_up_equals_having_been_there(seed, splits):
    """P25: any split of the same ticks into reads gives the same counts, presence, doubts and memory."""
    db = past(seed)
    assert read(db, range(1, TICKS)) == read(db, splits)


@given(st.lists(st.tuples(st.integers(1, 120), st.integers(0, 1000)), min_size=1, max_size=40))
def test_one_counter_without_a_process_start_counts_as_promql_does(steps):
    """D6: growth plus the new value after each fall, over all samples: PromQL's increase without extrapolation."""
    told = Story(at=BEGIN)
    told.db.put(METRIC, {"job": "a", "instance": "i", "code": "500"}, (BEGIN - 5) * 1000, 500)
    at, last, expected = BEGIN, 500, 0
    for after, value in steps:
        at += after
        told.db.put(METRIC, {"job": "a", "instance": "i", "code": "500"}, at * 1000, value)
        expected += value - last if value >= last else value
        last = value
    seconds = -(-(at - BEGIN) // 60) * 60
    assert (expected, expected) == told.read(seconds)


@given(
    st.lists(st.tuples(st.sampled_from(["c200", "c500"]), st.integers(1, 9), st.booleans()), max_size=60),
    st.integers(1, 14_999),
)
def test_every_event_a_scrape_has_seen_is_counted_once(events, offset):
    """Births and crashes of a process that tells its start: counted is what was scraped, no more and no less."""
    told = Story(at=BEGIN)
    pod = {"job": "a", "instance": "i"}
    counters, scraped, start = {"c200": 5}, {"c200": 5}, BEGIN - 500
    seen = {"c200": 0, "c500": 0}
    for number in range(-2, len(events)):
        now = BEGIN * 1000 + number * 15_000 + offset
        if number >= 0:
            code, much, crash = events[number]
            if crash:
                start, counters, scraped = now / 1000 - 1, {"c200": 0}, {"c200": 0}
            counters[code] = counters.get(code, 0) + much
            for one in counters:
                seen[one] += counters[one] - scraped.get(one, 0)
            scraped = dict(counters)
        told.db.scrape(now, pod, start=start, **counters)
    counted = told.read(60 * (len(events) // 4 + 2))
    # One doubt remains: a crash whose new process has passed every old value by its first scrape shows no fall.
    assert counted[0] <= seen["c200"] + seen["c500"]
    assert counted[1] <= seen["c500"]
    if not any(crash for *_, crash in events):
        assert (seen["c200"] + seen["c500"], seen["c500"]) == counted


@given(
    st.lists(
        st.tuples(st.sampled_from(["c200", "c500", "c503"]), st.integers(0, 9)), min_size=1, max_size=60
    ),
    st.booleans(),
    st.integers(1, 14_999),
)
def test_a_pod_of_unknown_origin_is_never_counted_twice(events, known, offset):
    """Born at any time, with or without a sign of life before, its series one after the other: at most all it shows."""
    told = Story(at=BEGIN)
    pod, other = {"job": "a", "instance": "i"}, {"job": "a", "instance": "other"}
    counters = {}
    for number in range(-8, len(events)):
        now = BEGIN * 1000 + number * 15_000 + offset
        told.db.scrape(now, other, c200=100)
        if number >= 0:
            code, much = events[number]
            counters[code] = counters.get(code, 0) + much
        if number >= 0 or known:
            told.db.scrape(now, pod, up=int(number >= 0), **counters)
    total, bad = told.read(60 * (len(events) // 4 + 2))
    assert total <= sum(counters.values())
    assert bad <= sum(counters.values()) - counters.get("c200", 0)


@given(SEEDS)
def test_a_memory_survives_being_stored(seed):
    """What is read back from the ledger is what was written."""
    memory = read(past(seed), ())[3]
    assert memory == Memory.loads(memory).dumps()


@given(SEEDS)
def test_counts_are_never_negative_and_bad_is_part_of_total(seed):
    """I2: whatever the samples do, no count is negative, and no failure is counted that is not in the total."""
    counts, present, *_ = read(past(seed), ())
    for end, one in counts.items():
        assert 0 <= one.get(BAD, 0) <= one.get(TOTAL, 0)
        assert (BAD not in present[end]) or (TOTAL in present[end])
