"""Counting, rule by rule: one series or target does one thing, and what was counted is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from slo_budget_tracker.counting import Memory, count
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.sizes import Size
from slo_budget_tracker.ticks import Tick
from tests.unit.tsdb import BAD, METRIC, TOTAL, Story, feed_of

T = 1_000_000  # where stories begin, seconds
POD = {"job": "shop", "instance": "a:80"}
OLD = T - 50_000  # the start of a process that runs for long


def story(**options):
    """A feed whose target was scraped twice before the story begins: 100 good, 10 bad."""
    told = Story(**options)
    for at in (T - 40, T - 10):
        told.db.scrape(at * 1000, POD, start=OLD, c200=100, c500=10)
    return told


def scrape(told, after, target=POD, **values):
    """A scrape so many seconds after the story's begin."""
    told.db.scrape(round((T + after) * 1000), target, **values)


def test_a_steady_series_counts_the_difference_to_the_remembered_sample():
    """What stood at the first tick's begin is a baseline; growth is counted once."""
    told = story()
    scrape(told, 20, start=OLD, c200=105, c500=10)
    scrape(told, 50, start=OLD, c200=110, c500=11)
    assert (11, 1) == told.read()
    scrape(told, 80, start=OLD, c200=111, c500=11)
    assert (1, 0) == told.read()


def test_a_burst_at_a_tick_border_is_counted_once():
    """D7: growth between the last sample of one tick and the first of the next belongs to the next."""
    told = story()
    scrape(told, 55, start=OLD, c200=100, c500=10)
    scrape(told, 65, start=OLD, c200=1100, c500=10)
    assert [(0, 0), (1000, 0)] == [told.read(), told.read()]


def test_samples_on_the_left_border_belong_to_the_tick_before():
    """A tick is (start, end]: Prometheus 2 sends the sample at its start too."""
    told = story()
    scrape(told, 60, start=OLD, c200=107, c500=10)
    assert [(7, 0), (0, 0)] == [told.read(), told.read()]


def test_nan_infinite_and_negative_samples_are_no_counts():
    """D1, D2, D5: what cannot be a count is left out, and the next good sample goes on from the last one."""
    told = story()
    for after, value in ((10, math.nan), (20, math.inf), (30, -5), (40, 104)):
        scrape(told, after, start=OLD, c200=value, c500=10)
    assert (4, 0) == told.read()
    assert {"bad_value": 2} == told.doubts


def test_a_fall_counts_the_new_value():
    """D6: a reset counts what came after it, as Prometheus does, where no process start is known."""
    told = Story()
    for after, value in ((-10, 3), (20, 2), (50, 4)):
        scrape(told, after, c200=value)
    assert (4, 0) == told.read()


def test_a_restart_is_a_reset_of_all_counters_even_without_a_fall():
    """A newer process that made one counter fall began all of them at zero."""
    told = story()
    scrape(told, 20, start=T + 15, c200=30, c500=12)
    assert (42, 12) == told.read()


def test_a_series_that_is_born_just_before_a_restart_begins_twice():
    """D6, D8: born and begun again within one tick, with the same value: both are counted, as in two ticks."""
    told = Story()
    for after in (-40, -10):
        scrape(told, after, start=OLD, c200=100)
    scrape(told, 20, start=OLD, c200=105, c500=7)
    scrape(told, 50, start=T + 45, c200=3, c500=7)
    assert (5 + 3 + 14, 14) == told.read()


def test_a_pod_in_a_crash_loop_counts_each_time_though_nothing_falls():
    """D6: what restarted is asked about in its next tick, too, until it lives through one."""
    told = story()
    scrape(told, 20, start=T + 15, c200=30, c500=12)
    assert (42, 12) == told.read()
    for after in (80, 110, 140):
        scrape(told, after, start=T + after - 5, c200=30, c500=12)
    assert [(84, 24), (42, 12)] == [told.read(), told.read()]
    scrape(told, 200, start=T + 135, c200=35, c500=12)
    assert (5, 0) == told.read()
    asked = len(told.db.asked)
    scrape(told, 260, start=T + 135, c200=36, c500=12)
    assert (1, 0) == told.read()
    assert [METRIC] == [one.expression.partition("[")[0] for one in told.db.asked[asked:]]


def test_what_is_born_with_a_restart_begins_again_with_the_next_one():
    """D6, D8: a target whose counters fell with its process begins again as a whole, with what is new in it, too."""
    told = Story()
    for after in (-40, -10):
        scrape(told, after, start=OLD, c200=100)
    scrape(told, 20, start=T + 15, c200=30, c500=12)
    scrape(told, 80, start=T + 75, c200=30, c500=12)
    assert [(42, 12), (42, 12)] == [told.read(), told.read()]


def test_a_process_that_began_with_its_scrape_begins_once():
    """D6: what an older scrape told of its process, where another series was silent since, makes it no newer one."""
    told = story()
    scrape(told, 20, start=T + 19.5, c200=5)
    scrape(told, 920, start=T + 19.5, c200=48, c500=6)
    assert [(5, 0), (43 + 6, 6)] == [told.read(), told.read(900)]


def test_what_is_new_or_back_lets_expect_more_of_the_next_tick():
    """D16: so many samples are no sign that a scrape of others did not come late."""
    told = story()
    for after in (10, 40, 70, 100, 130, 160, 190, 220):
        scrape(told, after, start=OLD, c200=100)
    scrape(told, 190.5, {**POD, "instance": "b:80"}, start=OLD, c200=3)
    scrape(told, 220.1, start=OLD, c500=10)
    ticks = [Tick(end - 60, end) for end in range(T + 60, T + 241, 60)]
    sizes = told.db.count(told.feed, told.memory, ticks).sizes
    assert [Size(2), Size(2), Size(2), Size(4, 2, 2)] == [sizes[tick.end] for tick in ticks]
    assert [0, -2, 2] == [size.lacks(Size(4, 2, 2)) for size in (Size(6), Size(8), Size(6, 2))]


def test_scrapes_that_are_missing_make_none_rarer_that_are_there():
    """D16: how often a job is scraped is what is between two scrapes of a tick, whatever is missing before them."""
    told = Story()
    for after in (-45, -30, -15, 0, 15, 30, 75, 90, 105, 120):
        scrape(told, after, start=OLD, c200=100)
    told.read(60)
    assert 15_000 == told.memory.jobs["shop"].spacing
    told.read(60)
    assert 15_000 == told.memory.jobs["shop"].spacing


def test_series_that_are_silent_during_a_restart_begin_at_zero():
    """A failure series that appears again only after a restart counts from zero, with no further question."""
    told = story()
    scrape(told, 20, start=T + 15, c200=30)
    assert (30, 0) == told.read()
    scrape(told, 80, start=T + 15, c200=31, c500=12)
    assert (13, 12) == told.read()


def test_a_slight_fall_in_an_old_process_is_no_reset():
    """The fall guard: two servers behind one address alternate, and nothing is counted twice; asked once."""
    told = story()
    for after in range(10, 600, 20):
        scrape(told, after, start=OLD, c200=100 + after // 10, c500=10)
        scrape(told, after + 10, start=OLD - 500, c200=90 + after // 10, c500=9)
    assert (59, 0) == told.read(600)
    assert 2 == told.doubts["guarded"]
    assert 1 == sum(query.expression.startswith("up") for query in told.db.asked)


def test_a_deep_fall_in_an_old_process_is_a_reset():
    """A counter that an application sets back counts from zero."""
    told = story()
    scrape(told, 20, start=OLD, c200=20, c500=10)
    assert (20, 0) == told.read()


def test_falls_that_no_process_explains_are_not_asked_about_for_ever():
    """A gauge used as a counter is decided once; its target is not asked about in each tick."""
    told = Story()
    for n in range(120):
        scrape(told, n * 10, c200=50 if n % 2 else 5)
    told.read(1200)
    assert 10 > sum(query.expression.startswith("up") for query in told.db.asked)


def test_a_restart_without_any_fall_is_told_by_the_next_growth():
    """After a long silence a newer process has passed the old values: the counters began again."""
    told = story()
    for after in range(3600, 3700, 30):
        scrape(told, after, start=T + 100, c200=1000 + (after - 3600) // 3, c500=100 + (after - 3600) // 30)
    assert (1000 + 30 + 100 + 3, 100 + 3) == told.read(3720)


def test_counters_that_outlive_their_exporter_are_not_counted_again():
    """A newer process in front of counters that go on: the growth is counted, not the whole value."""
    told = Story()
    scrape(told, -10, start=OLD, c200=1_000_000)
    for after in range(1200, 1300, 30):
        scrape(told, after, start=T + 1190, c200=1_000_000 + after)
    assert (1290, 0) == told.read(1320)


def test_gone_and_back_with_the_same_counters_counts_the_growth():
    """A target that was out of reach for an hour goes on from its remembered sample."""
    told = story()
    told.read()
    scrape(told, 3600, start=OLD, c200=500, c500=20)
    assert (410, 10) == told.read(3600)


def test_a_failure_series_born_late_counts_from_zero():
    """D8, D9: a new series of a target that was up before without it began at zero."""
    told = Story()
    scrape(told, -10, start=OLD, c200=100)
    scrape(told, 20, start=OLD, c200=110, c500=3)
    assert (13, 3) == told.read()
    assert {} == told.doubts


def test_a_target_that_was_down_before_is_not_known():
    """`up` of 0 is no proof: what an old process counted before its first good scrape is not counted."""
    told = story()
    other = {"job": "shop", "instance": "b:80"}
    scrape(told, -20, other, up=0)
    scrape(told, 20, other, start=OLD, c200=5000)
    assert (0, 0) == told.read()
    assert {"baseline": 1} == told.doubts


def test_a_new_pod_counts_from_zero():
    """A target whose process started after the job was last scraped lost nothing to anybody else."""
    told = story()
    scrape(told, 35, {"job": "shop", "instance": "b:80"}, start=T + 25, c200=40, c500=2)
    assert (42, 2) == told.read()


def test_a_new_pod_after_a_hole_counts_from_zero():
    """A process that started while Prometheus was down counts from zero, though it is old when first seen."""
    told = story()
    told.read()
    scrape(told, 1500, start=OLD, c200=100, c500=10)
    scrape(told, 1520, {"job": "shop", "instance": "b:80"}, start=T + 200, c200=900)
    assert (900, 0) == told.read(1500)


def test_a_late_discovered_old_process_is_a_baseline():
    """What a process counted long before it was discovered is not counted (documented lower bound)."""
    told = story()
    for after in (10, 40):
        scrape(told, after, start=OLD, c200=100, c500=10)
    scrape(told, 45, {"job": "shop", "instance": "b:80"}, start=OLD, c200=9000)
    assert (0, 0) == told.read()


@pytest.mark.parametrize(
    ("growth", "counted"), [pytest.param(3, 13, id="worth few scrapes"), pytest.param(2, 2, id="too large")]
)
def test_a_first_value_of_unknown_origin_waits_for_the_next_growth(growth, counted):
    """Without a process start the first value is counted, with the growth, if it is at most 4 scrapes' worth."""
    told = Story()
    scrape(told, -10, c200=100)
    other = {"job": "shop", "instance": "b:80"}
    for after in (20, 50):
        scrape(told, after, c200=100)
    scrape(told, 52, other, c200=10)
    assert (0, 0) == told.read()
    scrape(told, 82, other, c200=10)
    assert (0, 0) == told.read()
    scrape(told, 142, other, c200=10 + growth)
    assert (counted, 0) == told.read()


def test_a_first_value_that_waits_is_counted_once_when_its_target_is_odd():
    """A held value comes with its growth, though in the very tick another series of the target is born."""
    told = Story()
    scrape(told, -10, c200=100)
    other = {"job": "shop", "instance": "b:80"}
    for after in (20, 50):
        scrape(told, after, c200=100)
    scrape(told, 52, other, c200=10)
    assert (0, 0) == told.read()
    scrape(told, 82, other, c200=30)
    scrape(told, 112, other, c200=50, c500=2)
    assert (52, 2) == told.read()


def test_a_label_added_to_a_running_target_counts_nothing_again():
    """All of `up`'s labels must match: under one more label the same process goes on from its last sample."""
    told = story()
    more = {**POD, "env": "prod"}
    scrape(told, 20, start=OLD, c200=103, c500=10)
    scrape(told, 35, more, start=OLD, c200=104, c500=10)
    scrape(told, 50, more, start=OLD, c200=106, c500=11)
    assert (3 + 1 + 2 + 1, 1) == told.read()


@pytest.mark.parametrize(
    "start", [pytest.param(OLD, id="same process"), pytest.param(None, id="unknown process")]
)
def test_a_renamed_metric_label_counts_nothing_again(start):
    """Everything the target had is gone and the process is not newer: only other labels, no new events."""
    told = Story()
    for after in (-40, -10):
        scrape(told, after, start=start, c200=100)
    scrape(told, 20, start=start, cOK=103)
    assert (0, 0) == told.read()
    assert {"renamed": 1} == told.doubts


def test_other_labels_after_a_restart_are_no_renaming():
    """A newer process that shows other label sets counts them from zero."""
    told = Story()
    for after in (-40, -10):
        scrape(told, after, start=OLD, c200=100)
    scrape(told, 20, start=T + 10, c500=7)
    assert (7, 7) == told.read()


def test_a_renamed_instance_counts_nothing_again():
    """A new instance with an old process was scraped elsewhere before."""
    told = story()
    scrape(told, 20, start=OLD, c200=103, c500=10)
    scrape(told, 50, {**POD, "instance": "renamed"}, start=OLD, c200=106, c500=11)
    assert (3, 0) == told.read()


def test_a_label_set_that_vanishes_and_returns_with_its_old_value():
    """A TTL'd label set counts only its growth when it returns hours later."""
    told = story()
    for after in range(20, 7200, 30):
        scrape(told, after, start=OLD, c200=100)
    told.read(7200)
    scrape(told, 7230, start=OLD, c200=100, c500=12)
    assert (2, 2) == told.read()


def test_a_fresh_memory_looks_back_a_day():
    """A ledger that begins while a label set is hidden finds its old value in the server."""
    told = Story()
    scrape(told, -7200, start=OLD, c200=90, c500=10)
    for after in range(-600, 30, 30):
        scrape(told, after, start=OLD, c200=100)
    scrape(told, 30, start=OLD, c200=100, c500=12)
    assert (2, 2) == told.read()


def test_an_slo_that_is_added_begins_at_its_series_last_samples():
    """When a feed selects more than before, series it did not know are no newborns."""
    told = story(feed=feed_of("other_total"))
    told.read()
    told.feed = feed_of()
    scrape(told, 45, start=OLD, c200=150, c500=10)
    scrape(told, 80, start=OLD, c200=151, c500=10)
    assert (1, 0) == told.read()


def test_an_slo_that_comes_back_brings_no_growth_with_it():
    """What is selected again was counted elsewhere meanwhile, as by another shard, or was not to be counted."""
    told, found = story(), []
    for minute, one in enumerate((feed_of(), replace(feed_of(), members=feed_of().members[1:]), feed_of())):
        told.feed = one
        scrape(told, minute * 60 + 30, start=OLD, c200=200 + 10 * minute, c500=20 + minute)
        scrape(told, minute * 60 + 55, start=OLD, c200=205 + 10 * minute, c500=20 + minute)
        found.append(told.read())
    assert [(115, 10), (0, 1), (11, 1)] == found


def test_a_target_that_died_before_its_slo_comes_back_brings_no_growth_with_it():
    """Its last samples were read by nobody here; it is back with the same counters, as after a cut cable."""
    told = story()
    scrape(told, 30, start=OLD, c200=200, c500=20)
    assert (110, 10) == told.read()
    told.feed = replace(feed_of(), members=feed_of().members[1:])
    scrape(told, 90, start=OLD, c200=300, c500=21)
    assert (0, 1) == told.read(540)
    told.feed = feed_of()
    scrape(told, 630, start=OLD, c200=310, c500=23)
    assert (12, 2) == told.read()


def test_a_target_that_died_before_its_feed_changed_twice_keeps_its_growth():
    """What was counted here all the time goes on at the last sample, whoever else came and went meanwhile."""
    told = story()
    scrape(told, 30, start=OLD, c200=200, c500=20)
    assert (110, 10) == told.read()
    for name in ("a", "b"):
        other = (BAD._replace(slo=name), Selector("other_total"))
        told.feed = replace(feed_of(), members=(*feed_of().members, other))
        assert (0, 0) == told.read(360)
    scrape(told, 810, start=OLD, c200=310, c500=23)
    assert (113, 3) == told.read()


def test_two_replicas_are_counted_once():
    """With the replica label named, one replica is read, and the other takes over when it is silent."""
    told = Story(feed=feed_of(replica_label="replica"))
    a, b = {**POD, "replica": "a"}, {**POD, "replica": "b"}
    for after in range(-50, 110, 10):
        scrape(told, after, a, start=OLD, c200=1000 + after)
        scrape(told, after + 3, b, start=OLD, c200=1000 + after)
    scrape(told, 190, b, start=OLD, c200=1190)
    assert [(60, 0), (40, 0), (90, 0)] == [told.read(), told.read(), told.read(120)]


def test_a_fall_on_switching_replicas_is_not_counted():
    """The other replica may lag behind: its lower value is no reset."""
    told = Story(feed=feed_of(replica_label="replica"))
    a, b = {**POD, "replica": "a"}, {**POD, "replica": "b"}
    scrape(told, -10, a, c200=1000)
    scrape(told, -8, b, c200=400)
    scrape(told, 300, b, c200=401)
    scrape(told, 310, b, c200=403)
    assert (2, 0) == told.read(360)
    assert {"replica": 1} == told.doubts


def test_series_without_an_instance_are_counted_with_a_doubt():
    """Rule 7: a recorded sum is counted, but a slight fall of a sum is no reset."""
    told = Story()
    for after, value in ((-10, 1000), (20, 1100), (50, 900), (80, 950)):
        told.db.put(METRIC, {"job": "shop", "code": "200"}, (T + after) * 1000, value)
    assert [(100, 0), (50, 0)] == [told.read(), told.read()]
    assert {"no_instance": 1} == told.doubts


def test_a_new_series_without_an_instance_waits_for_its_growth():
    """Rule 7: nobody can tell where a recorded sum began; its first value counts with a growth that explains it."""
    told = story()
    told.read()
    for after, value in ((70, 3), (100, 5)):
        told.db.put(METRIC, {"job": "shop", "code": "503"}, (T + after) * 1000, value)
    assert (5, 5) == told.read()
    assert {"no_instance": 1} == told.doubts


def test_a_new_series_that_shows_late_counts_from_zero():
    """D16: VictoriaMetrics shows a new series seconds late; its first sample, which no tick read, is no baseline."""
    told = story()
    pod = {"job": "shop", "instance": "b:80"}
    scrape(told, 50, start=OLD, c200=100, c500=10)
    told.read()
    scrape(told, 55, pod, start=T + 45, c200=20)
    scrape(told, 85, pod, start=T + 45, c200=30)
    assert (30, 0) == told.read()


def test_what_no_slo_selects_is_not_counted():
    """A feed reads a superset of its members' selectors; the rest is neither counted nor remembered."""
    narrow = replace(feed_of(), members=((BAD, feed_of().members[1][1]),))
    told = story(feed=narrow)
    scrape(told, 20, start=OLD, c200=105, c500=12)
    assert (0, 2) == told.read()
    assert 1 == len(told.memory)


def test_a_late_replica_is_waited_for():
    """With scrapes rarer than ticks the other replica does not take over each time."""
    told = Story(feed=feed_of(replica_label="replica"))
    a, b = {**POD, "replica": "a"}, {**POD, "replica": "b"}
    for after in range(-295, 600, 90):
        scrape(told, after, a, start=OLD, c200=1000 + after)
        scrape(told, after + 45, b, start=OLD, c200=1000 + after)
    told.read(600)
    assert ["a"] == list(told.memory.replicas.values())


def test_pushed_series_without_up_are_known_by_their_siblings():
    """Where no `up` exists, a series born beside a continuing sibling of its target began at zero."""
    told = Story()
    for after, codes in ((-10, {"200": 50}), (20, {"200": 60}), (50, {"200": 70, "500": 4})):
        for code, value in codes.items():
            told.db.put(METRIC, {**POD, "code": code}, (T + after) * 1000, value)
    assert (24, 4) == told.read()


def test_data_is_present_while_its_youngest_sample_is_recent():
    """D15: a slot is present for a tick's length after its last sample, and absent after that."""
    told = story()
    scrape(told, 50, start=OLD, c200=100)
    present = []
    for end in (T + 60, T + 120):
        tally = told.db.count(told.feed, told.memory, [Tick(end - 60, end)])
        told.memory = tally.memory
        present.append(tally.present[end])
    assert [frozenset({TOTAL}), frozenset()] == present


def test_a_scrape_interval_longer_than_a_tick_leaves_no_gaps_in_presence():
    """Between two scrapes that are 150 s apart every tick has data."""
    told = Story()
    for after in range(-290, 900, 150):
        scrape(told, after, start=OLD, c200=100, c500=1)
    ticks = [Tick(end - 60, end) for end in range(T + 60, T + 841, 60)]
    tally = told.db.count(told.feed, told.memory, ticks)
    assert [frozenset({TOTAL, BAD})] * len(ticks) == list(tally.present.values())


def test_label_order_does_not_make_another_series():
    """VictoriaMetrics changes the order of labels from answer to answer."""
    told = story()
    told.read()
    scrape(told, 80, start=OLD, c200=105, c500=10)
    told.db.samples = {tuple(reversed(key)): samples for key, samples in told.db.samples.items()}
    assert (5, 0) == told.read()


def test_nothing_is_asked_about_what_is_normal():
    """A steady tick needs no query beyond its raw samples."""
    told = story()
    told.read()
    told.db.asked.clear()
    scrape(told, 80, start=OLD, c200=105, c500=10)
    told.read()
    assert [f"{METRIC}[60s]"] == [query.expression for query in told.db.asked]


def test_an_abandoned_count_changes_nothing():
    """A tick whose evidence cannot be had is read again from the same memory."""
    told = story()
    told.read()
    scrape(told, 80, start=T + 70, c200=5, c500=1)
    before = told.memory.dumps()
    series = told.db.between(told.feed.selectors[0], (T + 60) * 1000, (T + 120) * 1000)
    steps = count(told.feed, series, told.memory, [Tick(T + 60, T + 120)])
    next(steps)
    steps.close()
    assert before == told.memory.dumps()
    assert (6, 1) == told.read()


def test_what_was_silent_for_a_day_is_forgotten():
    """The memory holds a day; it does not grow with every pod that ever was."""
    told = story()
    told.read()
    assert 2 == len(told.memory)
    told.read(90_000, step=3_600)
    assert 0 == len(told.memory)


@pytest.mark.parametrize(
    "stored", [pytest.param(b"", id="nothing"), pytest.param(b"SBTm1" + b"\0" * 40, id="zeros"),
               pytest.param(Memory.empty().dumps() + b"x", id="more than there should be")]
)  # fmt: skip
def test_bytes_that_are_no_memory_are_refused(stored):
    """A damaged memory is an error, not an empty one."""
    with pytest.raises(ValueError, match="memory"):
        Memory.loads(stored)
