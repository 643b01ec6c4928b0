"""Data that are lost while late ones are looked for: nothing counted is taken away, and the rest is still found."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from slo_budget_tracker.comparison import lacks
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.memory import Job, Memory, Roll
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import LatencySli
from slo_budget_tracker.specs import RequestsSli
from slo_budget_tracker.ticks import Outcome
from tests.property.histories import BEGIN, DELAY, INTERVAL, SCRAPE, SHOP, History, Pod, Watch, after, counts
from tests.simulator import Simulator

STEADY = Pod(-40, 400, frozenset(), (0, 0))
FAILING = Pod(24, 36, frozenset(), (24, 36))  # fails in ticks 13 to 18, and is gone
LOST = 19  # the tick from which on its series are


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def sums(ledger, first, last):
    """Events and failures of some ticks together."""
    total, bad, _ = zip(*counts(ledger, 1, last)[first - 1 :], strict=True)
    return sum(total), sum(bad)


@pytest.mark.parametrize("partial", [(), (11,), (11, 13), (11, 12, 15)])
def test_an_answer_in_part_lets_no_loss_raise_the_budget(ledger, partial):
    """P17, P21, I2: what was counted in ticks that were read whole stays, whatever was read in part before them."""
    one = Watch(ledger, History((STEADY, FAILING, STEADY)).simulate(80))
    for tick in range(1, LOST):
        one.tick(tick, fault="partial" if tick in partial else None)
    before = sums(ledger, 1, LOST - 1)
    one.simulator.lose("pod-1")
    reports = [one.tick(tick) for tick in range(LOST, 41)]
    assert before == sums(ledger, 1, LOST - 1)
    assert [] == [event.slo for event in ledger.events(slo="shop") if event.kind == "slo_burn_revised"]
    assert bool(partial) == any(report.doubts["inconsistent"] for report in reports)


def remembered(*series):
    """What is remembered of series: key, target, and the instant (ms) of the newest sample."""
    keys, targets, times = zip(*series, strict=True)
    return Memory(
        roll=Roll(keys, targets), times=times, values=[0.0] * len(keys), jobs={"shop": Job(0, 30_000)}
    )


LATENCY = LatencySli(histogram=parse_selector("http_seconds"), threshold=Decimal("0.3"))
RAW, HISTOGRAM = (
    plan([SHOP.model_copy(update={"sli": sli})], replica_labels={}).raw[0] for sli in (SHOP.sli, LATENCY)
)
KNOWN = remembered((1, 7, 50_000), (2, 7, 90_000), (3, 8, 90_000))


@pytest.mark.parametrize(
    ("feed", "now", "expected"),
    [
        (RAW, KNOWN, False),
        (RAW, remembered((2, 7, 90_000), (3, 8, 120_000)), False),
        (RAW, remembered((1, 7, 50_000), (3, 8, 90_000)), True),
        (RAW, remembered((2, 7, 90_000), (3, 8, 75_000)), True),
        (replace(RAW, replica_label="replica"), remembered((2, 7, 90_000), (3, 8, 75_000)), False),
        (replace(RAW, replica_label="replica"), remembered((2, 7, 90_000), (3, 8, 60_000)), True),
        (HISTOGRAM, remembered((4, 7, 90_000), (3, 8, 90_000)), False),
        (HISTOGRAM, remembered((2, 7, 90_000)), True),
    ],
    ids=[
        "the same",
        "a newer sample, and a series less that ended before",
        "a series less",
        "an older sample",
        "that of another replica",
        "another replica that ends a scrape before",
        "another form of a histogram",
        "no form of a target's histogram",
    ],
)
def test_what_is_remembered_after_counting_again_tells_what_is_lost(feed, now, expected):
    """P21, P23: samples since the begin of ten ticks that were there when these were counted, and are not now."""
    assert expected == lacks(feed, now, KNOWN, 60)


@pytest.mark.parametrize("block", [3, 4])
def test_a_block_that_is_never_what_it_was_costs_the_next_ones_nothing(ledger, block):
    """D16, P19, P21: one with a hole and a loss is given up; the last scrapes of a pod, late in another one, are counted."""
    last = 20 * block - 2
    lost, late = Pod(-40, 36, frozenset(), (24, 36)), Pod(-40, last, frozenset(), (last - 6, last))
    one = Watch(ledger, History((STEADY, lost, late, STEADY), late=((last - 5, last, 170),)).simulate(240))
    for tick in range(1, 91):
        if tick == LOST:
            one.simulator.lose("pod-1")
        one.tick(tick, fault="empty" if tick == 15 else None)
    assert (12 + 6) * 15 == sums(ledger, 1, 10 * block + 5)[1]


def of_pods(name, pattern, **options):
    """The requests of some pods, and how many of them failed."""
    total, bad = (
        parse_selector(f'http_requests_total{{instance=~"{pattern}"{code}}}') for code in ("", ',code=~"5.."')
    )
    return SHOP.model_copy(update={"name": name, "sli": RequestsSli(total=(total,), bad=(bad,)), **options})


def idling(idle, *, late):
    """Three pods of which the second is idle from scrape 18 to `idle`, its last; one scrape of the third may be late."""
    simulator = Simulator()
    for pod, last in enumerate((200, idle, 200)):
        for at in range(-30, last):
            time = (BEGIN + at * SCRAPE) * 1000 + 5_000
            arrives = time / 1000 + 200 if late and (pod, at) == (2, 39) else 0
            served = 20 * (min(at, 17) if pod == 1 else at) + 620
            for metric, value in (
                ("up", 1),
                ("process_start_time_seconds", BEGIN - 90_000),
                ("http_requests_total", served),
            ):
                labels = {"job": "shop", "instance": f"pod-{pod}"}
                labels |= {"code": "200"} if "http" in metric else {}
                simulator.put(metric, labels, time, value, arrives=arrives)
    return simulator


@pytest.mark.parametrize(
    ("late", "lost"),
    [(False, slice(None)), (True, slice(None)), (True, slice(50, 58))],
    ids=["nothing to count again", "all of it", "four ticks in the middle"],
)
def test_a_lost_series_without_events_is_no_failure_where_no_data_are_bad(ledger, late, lost):
    """P21, I2: another SLO's late scrape has ten ticks counted again when a pod that was idle in them is lost."""
    slos = (of_pods("all", ".+"), of_pods("one", "pod-1", no_data="bad"))
    simulator = idling(37, late=late)
    one = Evaluator(slos, ledger, {"default": simulator.ask}, delay=DELAY, workers=1).prepare(BEGIN)
    inconsistent = 0
    for tick in range(1, 31):
        if tick == 20:
            simulator.lose("pod-1", lost)
        simulator.arrive(after(tick) + DELAY)
        inconsistent += one.advance(after(tick)).doubts["inconsistent"]
    assert 10 * INTERVAL == ledger.outcomes(one.ids["one"])[Outcome.NO_TRAFFIC]
    assert late == (inconsistent > 0)
    assert [] == [event.slo for event in ledger.events(slo="one") if event.kind == "slo_burn_revised"]
