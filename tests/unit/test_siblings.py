"""Histograms in the counting room: what begins again together, what changes its form or its resolution."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from slo_budget_tracker.feeds import Slot
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, LatencySli
from tests.unit.test_histograms import exponential, sample
from tests.unit.tsdb import Story

TARGET = {"job": "a", "instance": "i:1"}
QUICK, AROUND, SLOW = -21, -13, 3  # buckets of schema 3: up to 162 ms, around 0.3 s, and above 1 s
SCRAPE = 20


class Tale(Story):
    """A story of one histogram, a latency SLO at 300 ms or another threshold."""

    def __init__(self, form="auto", threshold="0.3"):
        sli = LatencySli(histogram=parse_selector("took_seconds"), threshold=Decimal(threshold), type=form)
        (feed,) = plan([SLO(name="s", target=Decimal("0.9"), sli=sli)], replica_labels={}).raw
        super().__init__(feed=feed, slots=(Slot("s", "total"), Slot("s", "good")))
        self.now = self.at * 1_000 - 400_000

    def scrape(self, quick, slow, *, schema=3, native=True, classic=False, start=None, le="0.3", place=QUICK):
        """One scrape: so many requests under a quarter of a second (or elsewhere), and so many slow ones."""
        self.now += SCRAPE * 1_000
        self.db.put("up", TARGET, self.now, 1)
        if start is not None:
            self.db.put("process_start_time_seconds", TARGET, self.now, start)
        if native:
            of_both = {-(-at // 2 ** (3 - schema)): n for at, n in ((place, quick), (SLOW, slow))}
            self.db.put("took_seconds", TARGET, self.now, exponential(schema, of_both))
        if classic:
            self.db.put("took_seconds_bucket", {**TARGET, "le": le}, self.now, quick)
            self.db.put("took_seconds_bucket", {**TARGET, "le": "+Inf"}, self.now, quick + slow)

    def until_now(self):
        """Total and good of the ticks up to the last scrape."""
        seconds = -(-(self.now // 1_000 - self.at) // 60) * 60
        return self.read(seconds) if seconds > 0 else (0, 0)

    def begun(self, **how):
        """A process that runs since long ago: 1000 requests, a tenth slow."""
        for _ in range(20):
            self.scrape(900, 100, **how)
        assert (0, 0) == self.until_now()
        return self


def test_a_fall_of_all_is_a_reset_of_the_part():
    """D6: the new process has more quick requests already than the old one ever had, and the same number in all."""
    tale = Tale("native").begun()
    tale.scrape(950, 0, start=None)
    tale.scrape(960, 0)
    tale.scrape(970, 0)
    assert (970, 970) == tale.until_now()


@pytest.mark.parametrize("form", ["classic", "native"])
def test_a_fall_of_a_part_is_a_reset_of_all(form):
    """D6: a crash that tells no process start; the new process has more requests already, most of them slow."""
    how = {"classic": form == "classic", "native": form == "native"}
    tale = Tale(form).begun(**how)
    for _ in range(3):
        tale.scrape(400, 1_000, **how)
    assert ((1_400, 400), {}) == (tale.until_now(), tale.doubts)


@pytest.mark.parametrize("form", ["classic", "native"])
def test_falls_of_parts_are_none_where_that_of_all_is_none(form):
    """D6: two servers behind one address, one of them with few quick requests: they are no restarts."""
    how = {"classic": form == "classic", "native": form == "native", "start": 900_000}
    tale = Tale(form).begun(**how)
    for _ in range(3):
        tale.scrape(350, 500, **how)
        tale.scrape(905, 100, **how)
    assert ((5, 5), {"guarded": 2}) == (tale.until_now(), tale.doubts)


def test_merged_buckets_divide_the_growth():
    """D8: 300 ms is in another bucket now, and all quick requests are: 30 more, divided as the 1030 are."""
    tale = Tale("native").begun(schema=3, place=AROUND)
    tale.scrape(920, 110, schema=2, place=AROUND)
    total, good = tale.until_now()
    assert ((30, 1), {"resolution": 1}) == ((total, good), tale.doubts)
    tale.scrape(930, 110, schema=2, place=AROUND)
    tale.scrape(930, 120, schema=2, place=AROUND)
    tale.scrape(930, 120, schema=2, place=AROUND)
    total, good = tale.until_now()
    assert (20, {"resolution": 1}) == (total, tale.doubts)


@pytest.mark.parametrize("before", [(1000, 0), (0, 1000), (600, 400)])
def test_merged_buckets_that_are_far_from_the_threshold_change_nothing(before):
    """D8: an outage makes the client merge its buckets: 90 of the next 100 requests are bad, whatever was before."""
    tale = Tale("native")

    for _ in range(20):
        tale.scrape(*before)
    tale.until_now()
    for _ in range(3):
        tale.scrape(before[0] + 10, before[1] + 90, schema=2)
    assert ((100, 10), {"resolution": 1}) == (tale.until_now(), tale.doubts)


@pytest.mark.parametrize("threshold", ["0.05", "0.25", "2.5"])
def test_custom_buckets_that_look_exponential_are_exact_when_others_fill(threshold):
    """D8: up to 1 s only the buckets of 0.5 and 1 have something; then a quick and a slow request come."""
    tale = Tale("native", threshold)
    bounds = [-math.inf, 0.025, 0.05, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf]

    def scraped(**counts):
        tale.scrape(0, 0, native=False)
        found = [(bounds[at], bounds[at + 1], n) for at, n in ((1, counts.get("quick")), (3, 500), (4, counts["usual"]),
                                                               (6, counts.get("slow"))) if n]  # fmt: skip
        tale.db.put("took_seconds", TARGET, tale.now, sample(*found))

    for _ in range(20):
        scraped(usual=500)
    tale.until_now()
    scraped(usual=510)
    scraped(usual=511, quick=3, slow=2)
    scraped(usual=511, quick=3, slow=2)
    assert ((16, 14 if threshold == "2.5" else 3), {}) == (tale.until_now(), tale.doubts)


def test_merged_buckets_of_a_new_process_begin_again():
    """D6 D8: a restart that brings another resolution is a restart, and no doubt."""
    tale = Tale("native").begun(schema=2)
    tale.scrape(40, 10, schema=3, start=tale.now // 1_000 + 5)
    assert ((50, 40), {}) == (tale.until_now(), tale.doubts)


def test_a_border_does_not_notice_merged_buckets():
    """D8: 250 ms is a border in every resolution."""
    tale = Tale("native", "0.25").begun(schema=3)
    tale.scrape(901, 101, schema=2)
    tale.scrape(902, 105, schema=1)
    assert ((7, 2), {}) == (tale.until_now(), tale.doubts)


@pytest.mark.parametrize("le", ["1", "1.0"])
def test_classic_buckets_come_first(le):
    """Both forms at once are counted once, however the bucket is spelled."""
    tale = Tale("auto", "1").begun(classic=True, le=le)
    tale.scrape(910, 103, classic=True, le=le)
    assert (13, 10) == tale.until_now()


def test_a_native_histogram_stands_in_for_a_bucket_that_is_not_there():
    """The service has classic buckets, but none at the threshold."""
    tale = Tale("auto", "0.5").begun(classic=True)
    tale.scrape(910, 103, classic=True)
    assert (13, 10) == tale.until_now()


def test_the_change_of_form_loses_nothing():
    """D8: the last classic sample and the first native one are of the same counter."""
    tale = Tale("auto", "0.5").begun(classic=True, native=False, le="0.5")
    tale.scrape(904, 101, classic=True, native=False, le="0.5")
    tale.scrape(910, 103, native=True)
    tale.scrape(915, 103, native=True)
    assert ((18, 15), {}) == (tale.until_now(), tale.doubts)


def test_the_change_of_form_and_back():
    """D8: a roll-back goes on with the classic buckets."""
    tale = Tale("auto", "1").begun(classic=False)
    tale.scrape(904, 101, classic=True, le="1.0")
    tale.scrape(910, 103, classic=True, native=False, le="1.0")
    tale.scrape(915, 103, classic=True, native=False, le="1")
    assert ((18, 15), {}) == (tale.until_now(), tale.doubts)


def test_a_born_histogram_counts_from_zero():
    """D8: a label set that appears in a target that was there."""
    tale = Tale("native")
    for _ in range(20):
        tale.now += SCRAPE * 1_000
        tale.db.put("up", TARGET, tale.now, 1)
    tale.read(60)
    tale.now = tale.at * 1_000
    tale.scrape(8, 2)
    tale.scrape(9, 2)
    tale.scrape(9, 3)
    assert ((12, 9), {}) == (tale.until_now(), tale.doubts)


def test_a_first_observation_is_no_change_of_resolution():
    """A histogram that shows itself before anything was observed has no resolution yet."""
    tale = Tale("native")
    for _ in range(20):
        tale.scrape(0, 0)
    tale.until_now()
    tale.scrape(7, 0)
    tale.scrape(8, 1)
    assert ((9, 8), {}) == (tale.until_now(), tale.doubts)


def test_one_of_two_servers_with_the_smaller_counter_is_no_restart():
    """D6: falls to over half behind one address are guarded as those of counters are."""
    start = 900_000
    tale = Tale("native").begun(start=start)
    for _ in range(3):
        tale.scrape(700, 90, start=start)
        tale.scrape(905, 100, start=start)
    assert ((5, 5), {"guarded": 2}) == (tale.until_now(), tale.doubts)


@pytest.mark.parametrize("form", ["native", "classic"])
def test_an_undecided_first_value_is_decided_by_all(form):
    """D8: 100 requests before anybody looked; 30 more may be of the same minute, and then the slow ones are too."""
    tale = Tale(form)
    for _ in range(20):
        tale.now += SCRAPE * 1_000
        tale.db.put("took_seconds_bucket", {"job": "a", "instance": "other", "le": "+Inf"}, tale.now, 1)
        tale.db.put("took_seconds", {"job": "a", "instance": "other"}, tale.now, exponential(3, {1: 1}))
    tale.read(60)
    tale.now = tale.at * 1_000
    for quick, slow in ((80, 20), (80, 20), (83, 47)):
        tale.scrape(quick, slow, classic=True)
    total, good = tale.until_now()
    assert (130, 83) == (total, good)
