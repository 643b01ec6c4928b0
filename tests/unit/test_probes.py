"""Probe SLIs: every sample is one event, whatever the tick, the scrape interval and the server's edges."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.feeds import RawFeed, Slot
from slo_budget_tracker.fillforms import fill_expression
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.probes import count_samples
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, ProbeSli
from slo_budget_tracker.ticks import Tick
from tests.unit.tsdb import Tsdb

BEGIN = 1_000_000
TOTAL, BAD = Slot("site", "total"), Slot("site", "bad")
UP = parse_selector('probe_success{job="blackbox"}')


def feed(*, replica_label=None):
    """The feed of one probe SLO, as the planner makes it."""
    slo = SLO(name="site", target=Decimal("0.99"), sli=ProbeSli(up=(UP,)))
    (found,) = plan([slo], replica_labels={"default": replica_label}).raw
    return found


def counted(db, one, ends, *, memory=None, each=60):
    """Total and bad of each tick, whether it was present, and the memory at the end."""
    ticks = [Tick(end - each, end) for end in ends]
    after = ticks[-1].end - ticks[0].start
    series = [s for e in one.expressions(after) for s in db.ask(query(e, ticks[-1].end)).series]
    steps = count_samples(one, series, memory or Memory.empty(), ticks)
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send(tuple(map(db.ask, wanted)))
    except StopIteration as done:
        tally = done.value
    figures = [(tally.counts[t.end].get(TOTAL, 0), tally.counts[t.end].get(BAD, 0)) for t in ticks]
    return figures, [TOTAL in tally.present[t.end] for t in ticks], tally.memory


def query(expression, at):
    """An instant query."""
    from slo_budget_tracker.answers import Query  # noqa: PLC0415 - only here

    return Query(expression, at)


def world(values, *, every=15, instance="a", start=BEGIN, offset=0, **labels):
    """Samples each `every` seconds from `start` on, `offset` ms off the grid."""
    db = Tsdb()
    put(db, values, every=every, instance=instance, start=start, offset=offset, **labels)
    return db


def put(db, values, *, every=15, instance="a", start=BEGIN, offset=0, **labels):
    """Store the samples of one target; None is a scrape that did not happen."""
    for at, value in enumerate(values):
        if value is not None:
            time = (start + at * every) * 1000 + offset
            db.put("probe_success", {"job": "blackbox", "instance": instance, **labels}, time, value)


def test_a_probe_feed_is_planned_as_a_gauge_of_its_own():
    """The samples of a gauge are no differences, so the feed is told apart from counters of the same name."""
    one = feed()
    assert (True, "default/probe:probe_success", {TOTAL, BAD}) == (
        one.gauge,
        one.key,
        {slot for slot, _ in one.members},
    )


def test_each_sample_is_one_event_and_only_one_is_good():
    """1 is good; 0, and anything else, is bad; NaN is no sample."""
    db = world([1, 1, 0, 1, 0.5, 1, float("nan"), 1], offset=7_000)
    figures, present, _ = counted(db, feed(), [BEGIN + 60, BEGIN + 120])
    assert ([(4, 1), (3, 1)], [True, True]) == (figures, present)


def test_a_sample_on_the_border_belongs_to_the_tick_that_ends_there():
    """Prometheus 2 includes the left edge of a range; a sample there is counted once all the same."""
    db = world([1, 0, 1, 0, 1, 0, 1, 0, 1], every=30)
    figures, *_ = counted(db, feed(), [BEGIN + 60, BEGIN + 120, BEGIN + 180, BEGIN + 240])
    assert [(2, 1), (2, 1), (2, 1), (2, 1)] == figures


@pytest.mark.parametrize("cut", [1, 2, 3, 7])
def test_catching_up_is_the_same_as_having_been_there(cut):
    """Ticks read one by one, or several at once from what was remembered, have the same counts."""
    values = [at % 5 != 0 for at in range(40)]
    ends = [BEGIN + 60 * (at + 1) for at in range(10)]
    db = world(values, offset=3_000)
    at_once, present, _ = counted(db, feed(), ends)
    memory, parts, there = None, [], []
    for first in range(0, 10, cut):
        some, seen, memory = counted(db, feed(), ends[first : first + cut], memory=memory)
        memory = Memory.loads(memory.dumps())
        parts += some
        there += seen
    assert (at_once, present) == (parts, there)
    assert (40, 8) == tuple(map(sum, zip(*at_once, strict=True)))


def test_rare_probes_are_no_loss_of_data():
    """A probe every five minutes: the minutes between have no event and yet are no gap; its end is one."""
    db = world([1, 0, 1], every=300, offset=1_000)
    _, _, memory = counted(db, feed(), [BEGIN + 60, BEGIN + 120])
    figures, present, _ = counted(db, feed(), range(BEGIN + 660, BEGIN + 1_141, 60))
    assert [(1, 0), *[(0, 0)] * 8] == figures
    assert [*[True] * 7, False, False] == present
    assert memory.until == (BEGIN + 120) * 1000


def test_of_two_replicas_one_is_read():
    """The same probes seen by two Prometheis are counted once; the other one is read where the first is silent."""
    db = world([1, 1, 1, 1, None, None, None, None], offset=2_000, replica="a")
    put(db, [1, 0, 1, 1, 0, 1, 1, 1], offset=9_000, replica="b")
    one = feed(replica_label="replica")
    first, _, memory = counted(db, one, [BEGIN + 60])
    second, *_ = counted(db, one, [BEGIN + 120], memory=memory)
    assert ([(4, 0)], [(4, 1)]) == (first, second)


def test_two_probers_of_one_site_are_summed():
    """Every target that the selector selects brings its own events."""
    db = world([1, 1, 1, 1], offset=2_000)
    put(db, [0, 0, 1, 1], offset=9_000, instance="b")
    assert [(8, 2)] == counted(db, feed(), [BEGIN + 60])[0]


def test_old_rows_are_asked_for_without_their_left_edge():
    """Old history comes by range queries: the samples of a step, and those that are 0."""
    one = feed()
    selector = 'probe_success{job="blackbox"}[299999ms]'
    assert f"sum((count_over_time({selector})))" == fill_expression(one, TOTAL, 300)
    assert f"sum((count_over_time({selector}) - sum_over_time({selector})))" == fill_expression(one, BAD, 300)
    assert isinstance(one, RawFeed)
