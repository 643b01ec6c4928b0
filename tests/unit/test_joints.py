"""Joints: metrics that few SLOs select are read together, and counted as if each had been read alone."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from slo_budget_tracker import joints
from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.errors import QueryRejected, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.histograms import Sample
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, LatencySli, RequestsSli
from tests.unit.tsdb import Tsdb

START = 1_700_000_040 // 60 * 60


def slo(number):
    """An SLO over a metric of its own."""
    total = parse_selector(f'm{number}{{job="x{number}"}}')
    bad = parse_selector(f'm{number}{{job="x{number}",code="500"}}')
    sli = RequestsSli(total=(total,), bad=(bad,))
    return SLO(name=f"s{number}", target=Decimal("0.99"), window=86_400, sli=sli)


SLOS = tuple(slo(number) for number in range(25))


@pytest.fixture
def database():
    """Ten minutes of scrapes of every metric, each growing at a pace of its own; series nobody selects beside."""
    db = Tsdb()
    for number in range(25):
        for second in range(0, 930, 30):
            at = (START - 600 + second) * 1000
            for code in ("200", "500"):
                labels = {"job": f"x{number}", "instance": "i", "code": code}
                db.put(f"m{number}", labels, at, second * (number + 1))
            db.put(f"m{number}", {"job": "other", "instance": "i", "code": "200"}, at, second)
            db.put("up", {"job": f"x{number}", "instance": "i"}, at, 1)
    return db


def run(ask, slos=SLOS):
    """Five ticks; the windows of all SLOs, by name."""
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos=slos, ledger=ledger, asks={"default": ask}, delay=0).prepare(START)
        report = one.advance(START + 300)
        windows = ledger.history.window(START + 300, [300])
        return {name: windows[instance][300] for name, instance in one.ids.items()}, report


def test_many_small_metrics_are_read_many_at_a_time_and_counted_alike(database, monkeypatch):
    """Twenty-five metrics are two requests instead of twenty-five; the counts are the same to the event."""
    alone, _ = run(database.ask)
    asked_alone = len(database.asked)
    database.asked.clear()
    monkeypatch.setattr(joints, "MANY", 20)
    together, report = run(database.ask)
    assert alone == together
    assert {(300 * (n + 1) * 2, 300 * (n + 1)) for n in range(25)} == {
        (o.total, o.bad) for o in together.values()
    }
    assert {"ok": 125} == dict(report.outcomes)
    assert (50, 4) == (asked_alone, len(database.asked))  # the first samples and the ticks


def test_fifty_metrics_are_never_more_than_a_hundred_requests_in_one_tick():
    """All blocks end at the same tick, but metrics take turns in being compared; each is, once in ten ticks."""
    database, asked = Tsdb(), []
    for number in range(50):
        for second in range(-600, 31 * 60, 30):
            labels = {"job": f"x{number}", "instance": "i", "code": "200"}
            database.put(f"m{number}", labels, (START + second) * 1000, 600 + second)
    with Ledger.open("sqlite://") as ledger:
        slos = tuple(map(slo, range(50)))
        one = Evaluator(slos=slos, ledger=ledger, asks={"default": database.ask}, delay=0).prepare(START)
        for tick in range(1, 31):
            one.advance(START + 60 * tick)
            asked.append(len(database.asked))
            database.asked.clear()
    assert (100, 50) == (asked[0], min(asked[1:]))  # what was there before the first tick, too
    assert max(asked[1:]) <= 65
    assert 50 * 10 + 50 == sum(asked[20:])


def test_a_joint_that_is_refused_leaves_each_to_itself(database, monkeypatch):
    """A server that refuses such a query is asked for each metric, now and from then on."""
    monkeypatch.setattr(joints, "MANY", 20)

    def ask(query):
        if query.expression.startswith("{"):
            raise QueryRejected("no such thing", reason="bad_data")
        return database.ask(query)

    found, report = run(ask)
    assert ({}, 25) == (report.errors, len(found))
    assert {300} == {one.known for one in found.values()}


def test_a_server_out_of_reach_is_out_of_reach_for_all(database, monkeypatch):
    """Nobody asks again alone: that would be ten times as much waiting."""
    monkeypatch.setattr(joints, "MANY", 20)
    asked = []

    def ask(query):
        asked.append(query)
        raise Unreachable("gone", reason="refused")

    _, report = run(ask)
    assert (25, 2) == (len(report.errors), len(asked))


def test_a_joint_that_brings_too_much_is_asked_once(database, monkeypatch):
    """Where most of what it selects is nobody's, each metric is read by its own selector from then on."""
    monkeypatch.setattr(joints, "MANY", 20)
    feeds = plan(SLOS[:20], replica_labels={}).raw
    shared = joints.Shared.of(feeds)
    asked = []
    stray = tuple(Series({"__name__": "m1", "job": "y", "n": str(n)}, [1], [1.0]) for n in range(200))

    def ask(query):
        asked.append(query.expression)
        return Answer(stray)

    feed = next(one for one in feeds if one.metric == "m1")
    query = Query(feed.expressions(60)[0], START)
    first = shared.ask(feed, (60,), ask)(query)
    assert (200, True) == (len(first.series), asked[0].startswith("{__name__=~"))
    assert ask is shared.ask(feed, (60,), ask)
    shared.ask(feed, (60,), ask)(query)
    assert feed.expressions(60)[0] == asked[-1]


def test_a_part_is_handed_out_once(database, monkeypatch):
    """Who asks again wants to know anew what there is."""
    monkeypatch.setattr(joints, "MANY", 20)
    feeds = plan(SLOS[:20], replica_labels={}).raw
    shared = joints.Shared.of(feeds)
    query = Query(feeds[0].expressions(60)[0], START)
    ask = shared.ask(feeds[0], (60,), database.ask)
    assert ask(query).series == ask(query).series
    assert [True, False] == [one.expression.startswith("{") for one in database.asked]
    shared.begin()
    ask(query)
    assert database.asked[-1].expression.startswith("{")


def test_a_plan_shows_joints_as_they_are_asked(monkeypatch):
    """What users see of a plan are the queries that are sent."""
    monkeypatch.setattr(joints, "MANY", 20)
    shown = plan(SLOS, replica_labels={}).describe(60)
    assert (2, 25) == (len(shown), sum(len(one.slos) for one in shown))
    assert shown[0].queries[0].startswith('{__name__=~"m0|m1|')


def a_histogram(number):
    """An SLO over a histogram of its own."""
    histogram = parse_selector(f'h{number}_seconds{{job="x{number}"}}')
    sli = LatencySli(histogram=histogram, threshold=Decimal(("0.1", "0.25", "1")[number % 3]))
    return SLO(name=f"h{number}", target=Decimal("0.99"), window=86_400, sli=sli)


def test_histograms_are_read_together_whatever_their_form_and_threshold(monkeypatch):
    """Classic and native ones, three thresholds: counted as if each had been read alone, of other buckets nothing."""
    db = Tsdb()
    for number in range(25):
        for second in range(0, 930, 30):
            at, grown = (START - 600 + second) * 1000, float(second * (number + 1))
            for job in (f"x{number}", "other"):
                labels = {"job": job, "instance": "i"}
                if number % 2:
                    whole = Sample(2 * grown, [0.0625, 0.5], [0.125, 1.0], [grown, grown])
                    db.put(f"h{number}_seconds", labels, at, whole)
                for le, count in zip(("0.1", "0.25", "1.0", "+Inf"), range(1, 5), strict=True):
                    if not number % 2:
                        db.put(f"h{number}_seconds_bucket", {**labels, "le": le}, at, count * grown)
            db.put("up", {"job": f"x{number}", "instance": "i"}, at, 1)
    catalogue = tuple(map(a_histogram, range(25)))
    alone, _ = run(db.ask, catalogue)
    asked_alone = len(db.asked)
    db.asked.clear()
    monkeypatch.setattr(joints, "MANY", 20)
    together, report = run(db.ask, catalogue)
    assert (alone, {"ok": 125}) == (together, dict(report.outcomes))
    assert all(one.total > one.bad > 0 for name, one in together.items() if int(name[1:]) % 3 != 2)
    assert (50, 4) == (asked_alone, len(db.asked))
    assert (Decimal("0.1"), Decimal("0.25"), Decimal(1)) in {query.bounds for query in db.asked}


def test_what_was_counted_is_compared_many_at_a_time(monkeypatch):
    """Blocks of ten ticks are over for all metrics at once: they are asked about again together, too."""
    db = Tsdb()
    for number in range(24):
        for second in range(-600, 1_830, 30):
            labels = {"job": f"x{number}", "instance": "i", "code": "200"}
            db.put(f"m{number}", labels, (START + second) * 1000, second + 600)
            db.put("up", {"job": f"x{number}", "instance": "i"}, (START + second) * 1000, 1)
    monkeypatch.setattr(joints, "MANY", 20)
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos=SLOS[:24], ledger=ledger, asks={"default": db.ask}, delay=0).prepare(START)
        for tick in range(1, 31):
            one.advance(START + 60 * tick)
    again = Counter(query.at for query in db.asked if query.expression.endswith("[60s]"))
    assert (30, {2, 4}) == (len(again), set(again.values()))
