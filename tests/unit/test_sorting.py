"""What is known of series by their labels is kept for those that are there, and for few others."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.counting import count
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.probes import count_samples
from slo_budget_tracker.queries import plan
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.sorting import sorting_of
from slo_budget_tracker.specs import SLO, LatencySli, ProbeSli, RequestsSli
from slo_budget_tracker.ticks import Tick

BEGIN, EACH = 1_000_000, 60
PODS = 40


def feed(sli, **further):
    """What is read of one SLO."""
    slo = SLO(name="site", target=Decimal("0.99"), sli=sli, **further)
    return plan([slo], replica_labels={"default": None}).raw[0]


def pods(metric, tick):
    """Pods that live for this one tick, and one that lives on."""
    names = ["0", *(f"{tick.end}-{pod}" for pod in range(1, PODS))]
    return [
        Series(
            {"__name__": metric, "job": "shop", "instance": name, "le": "+Inf"}, [tick.end * 1000 - 1], [1.0]
        )
        for name in names
    ]


def run(steps):
    """What a generator returns where a server has nothing to say."""
    try:
        asked = next(steps)
        while True:
            asked = steps.send(tuple(Answer(()) for _ in asked))
    except StopIteration as done:
        return done.value


@pytest.mark.parametrize(
    ("sli", "metric", "counting"),
    [
        (RequestsSli(total=(parse_selector("served"),), bad=(parse_selector('served{code="5"}'),)), "served", count),
        (LatencySli(histogram=parse_selector("took"), threshold=Decimal("0.5")), "took_bucket", count),
        (ProbeSli(up=(parse_selector("probe_success"),)), "probe_success", count_samples),
    ],
    ids=["counters", "histograms", "probes"],
)  # fmt: skip
def test_series_that_are_gone_are_not_known_for_long(sli, metric, counting):
    """Of a hundred generations of pods never more than two and a hundred are known, the one that lives on always."""
    one = feed(sli)
    memory, sizes, living = Memory.empty(), [], set()
    for number in range(100):
        tick = Tick(BEGIN + number * EACH, BEGIN + (number + 1) * EACH)
        memory = run(counting(one, pods(metric, tick), memory, [tick])).memory
        memo = sorting_of(one).memo
        sizes.append(len(memo))
        living.add(next(id(place) for spelled, place in memo.items() if "0" in spelled))
    assert (True, 1) == (PODS < max(sizes) <= 2 * PODS + 100, len(living))
    assert sorting_of(one)._parts.keys() <= {place.key for place in sorting_of(one).memo.values()}


@pytest.mark.parametrize(
    ("sli", "metric", "counting"),
    [
        (RequestsSli(total=(parse_selector("served"),), bad=(parse_selector('served{code="5"}'),)), "served", count),
        (ProbeSli(up=(parse_selector("probe_success"),)), "probe_success", count_samples),
    ],
    ids=["counters", "probes"],
)  # fmt: skip
def test_what_is_known_of_jobs_and_groups_that_are_gone_is_forgotten_with_their_series(sli, metric, counting):
    """Of a hundred generations of jobs, each with a group of its own, the lanes of two and a hundred are kept; what lives counts on."""
    one = feed(sli, group_by=("zone",), max_groups=1_000)
    memory, sizes, grown = Memory.empty(), [], Counter()
    for number in range(100):
        tick = Tick(BEGIN + number * EACH, BEGIN + (number + 1) * EACH)
        come_and_gone = [
            series._replace(
                labels={**series.labels, "job": series.labels["instance"], "zone": series.labels["instance"]}
            )
            for series in pods(metric, tick)
        ]
        living = come_and_gone[0]._replace(values=[float(number + 1) if counting is count else 1.0])
        tally = run(counting(one, [*come_and_gone[1:], living], memory, [tick]))
        memory = tally.memory
        sizes.append(len(sorting_of(one).lanes))
        grown.update(
            {slot.group: value for slot, value in tally.counts[tick.end].items() if slot.role == "total"}
        )
    assert PODS < max(sizes) <= 2 * PODS + 100
    assert 99 <= grown[(("zone", "0"),)] <= 100
