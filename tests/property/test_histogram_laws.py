"""Laws of histograms: the form of a histogram and the way it is read change no count at a border of its buckets."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.counting import Memory
from slo_budget_tracker.feeds import Slot
from slo_budget_tracker.histograms import ALL, Sample, cumulative
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, LatencySli
from slo_budget_tracker.ticks import Tick
from tests.unit.tsdb import Tsdb
from tests.worlds.exposition import Histogram

BEGIN, TICK, TICKS, SCRAPE = 1_000_000, 60, 10, 20
BOUNDS = (0.25, 0.3, 1.0)
SECONDS = st.floats(1e-7, 1e4)


def sample(one):
    """A histogram as Prometheus stores it."""
    width = 2.0**-one.schema
    around = [(-one.zero_threshold, one.zero_threshold, one.zeros)] if one.zeros else []
    buckets = [(2 ** ((at - 1) * width), 2 ** (at * width), n) for at, n in sorted(one.buckets.items())]
    lows, highs, counts = zip(*around, *buckets, strict=True) if around or buckets else ((), (), ())
    return Sample(float(one.count), lows, highs, counts)


@given(st.lists(SECONDS), st.integers(0, 8), st.integers(-10, 10))
def test_counts_at_a_border_are_those_of_the_observations(seconds, schema, power):
    """D13: at each power of two, in each resolution: to the last observation."""
    one = Histogram(schema=schema)
    for each in seconds:
        one.observe(each)
    bound = Decimal(2) ** power
    whole, part = cumulative([sample(one)], [bound])
    assert (ALL, [len(seconds)]) == (whole.name, whole.counts)
    assert (bound, [sum(each <= bound for each in seconds)]) == (Decimal(part.name), part.counts)


@given(st.lists(SECONDS, min_size=1), st.integers(-2, 5), st.floats(0.001, 100), st.integers(0, 3))
def test_counts_at_any_bound_lie_within_its_bucket(seconds, schema, limit, merges):
    """D13: no more than what is under the upper border and no less than under the lower one; merging keeps that."""
    one = Histogram(schema=schema)
    for each in seconds:
        one.observe(each)
    for _ in range(merges):
        one.coarser()
    _, counted = cumulative([sample(one)], [Decimal(limit)])
    around = [(low, high) for low, high, _ in zip(*sample(one)[1:], strict=True) if low < limit < high]
    low, high = around[0] if around else (limit, limit)
    (value,) = counted.counts
    assert (
        sum(e <= low * (1 - 1e-9) for e in seconds) <= value <= sum(e <= high * (1 + 1e-9) for e in seconds)
    )
    assert value == int(value)


def past(seed, *, hide_classic, crashes=True):
    """Ten ticks of two targets with crashes, births, silences and merged buckets, in both forms."""
    dice = random.Random(seed)
    db = Tsdb()
    usual = dice.choice([5, 20, 60])
    for number in range(dice.randint(1, 2)):
        target = {"job": "a", "instance": f"i{number}"}
        start, silent, shown = BEGIN - dice.randrange(5_000), 0, {}
        offset, tells = dice.randrange(20_000), dice.random() < 0.5
        ends = BEGIN + dice.randrange(TICK * TICKS) if hide_classic else BEGIN + TICK * TICKS
        comes_back = ends + dice.randrange(TICK * TICKS)
        for at in range(BEGIN - 300, BEGIN + TICK * TICKS, SCRAPE):
            what = dice.choice([""] * usual + ["crash"] * crashes + ["silent", "merge"])
            if what == "crash":
                start, shown = at, {}
            silent = dice.randint(1, 20) if what == "silent" else silent - 1
            for handler in dice.sample("xyz", dice.randint(0, 2)):
                one = shown.setdefault(handler, Histogram(schema=4, bounds=BOUNDS))
                one.observe(dice.choice((0.1, 0.25, 0.29, 0.31, 1.0, 5.0)), dice.randint(1, 30))
            for one in shown.values():
                if what == "merge" and one.schema > 0:
                    one.coarser()
            if silent > 0:
                continue
            now = at * 1_000 + offset
            db.put("up", target, now, 1)
            if tells:
                db.put("process_start_time_seconds", target, now, start)
            for handler, one in shown.items():
                labels = {**target, "handler": handler}
                db.put("took", labels, now, sample(one))
                below = 0
                for bound in BOUNDS if not ends <= at < comes_back else ():
                    below += one.classic[bound]
                    db.put("took_bucket", {**labels, "le": str(bound)}, now, below)
                if not ends <= at < comes_back:
                    db.put("took_bucket", {**labels, "le": "+Inf"}, now, one.count)
    return db


def read(db, form, threshold, splits=()):
    """Counts by tick and role, read in pieces that end at `splits`; what was in doubt, and what is remembered."""
    sli = LatencySli(histogram=parse_selector("took"), threshold=Decimal(threshold), type=form)
    (feed,) = plan([SLO(name="s", target=Decimal("0.9"), sli=sli)], replica_labels={}).raw
    ticks = [Tick(end - TICK, end) for end in range(BEGIN + TICK, BEGIN + TICK * TICKS + 1, TICK)]
    memory, counts, doubts = Memory.empty(), {}, Counter()
    for first, last in pairwise(sorted({0, len(ticks), *splits})):
        tally = db.count(feed, memory, ticks[first:last])
        memory = Memory.loads(tally.memory.dumps())
        counts |= {end: {slot: n for slot, n in one.items() if n} for end, one in tally.counts.items()}
        doubts.update(tally.doubts)
    return counts, doubts, memory.dumps()


SEEDS = st.integers(0, 2**32)
SPLITS = st.sets(st.integers(1, TICKS - 1))


@given(SEEDS, SPLITS, st.sampled_from(["0.25", "1"]))
def test_the_form_changes_no_count(seed, splits, threshold):
    """D6 D7 D8 D15 D16: classic, native or whichever is there, to the last request of each tick."""
    db = past(seed, hide_classic=False)
    classic, *_ = read(db, "classic", threshold, splits)
    native, *_ = read(db, "native", threshold, splits)
    auto, *_ = read(db, "auto", threshold, splits)
    assert native == auto
    assert classic == native


@given(SEEDS, SPLITS)
def test_giving_up_classic_buckets_changes_no_count(seed, splits):
    """D8: classic buckets that end somewhere, and may come back: counted as if there had been native ones only."""
    db = past(seed, hide_classic=True)
    native, *_ = read(db, "native", "0.25", splits)
    auto, *_ = read(db, "auto", "0.25", splits)
    assert native == auto


@given(SEEDS, SPLITS, st.sampled_from(["0.25", "0.3"]), st.sampled_from(["auto", "native"]))
def test_catching_up_equals_having_been_there(seed, splits, threshold, form):
    """P25: any split of the same ticks into reads gives the same counts, doubts and memory."""
    db = past(seed, hide_classic=True)
    assert read(db, form, threshold, range(1, TICKS)) == read(db, form, threshold, splits)


@given(SEEDS)
def test_no_part_is_more_than_the_whole(seed):
    """D4: at any threshold, whatever happens to the buckets, good is at most total, and both are whole numbers."""
    counts, *_ = read(past(seed, hide_classic=True, crashes=False), "native", "0.3", range(1, TICKS))
    for one in counts.values():
        total, good = (one.get(Slot("s", role), 0) for role in ("total", "good"))
        assert 0 <= good <= total
        assert good == int(good)
