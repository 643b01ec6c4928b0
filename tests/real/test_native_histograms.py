"""Native histograms on a real Prometheus with the feature on: the same counts as classic ones of the same traffic."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest

from slo_budget_tracker.answers import Query
from slo_budget_tracker.discovery import discover
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.filling import read_steps
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import read, units
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.settings import PrometheusSettings
from slo_budget_tracker.specs import SLO, LatencySli
from slo_budget_tracker.ticks import Tick
from tests.servers import PrometheusServer
from tests.worlds.exposition import Histogram, write, written_histogram
from tests.worlds.twins import BASE, BEGIN, time_of, world

pytestmark = pytest.mark.prometheus

TICKS = [Tick(at, at + 60) for at in range(BEGIN, BEGIN + 20 * 60, 60)]
JOBS = ("steady", "restarts", "silent restarts", "births", "gaps", "merges", "idle", "pods")
FEATURES = ("--enable-feature=native-histograms,remote-write-receiver", "--web.enable-remote-write-receiver")


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """How to ask a Prometheus that has the world."""
    server = PrometheusServer(
        tmp_path_factory.mktemp("native"),
        flags=("--enable-feature=native-histograms", "--web.enable-remote-write-receiver"),
    )
    with server:
        write(server.url, [*world(len(TICKS)).run(), *alone()])
        client = Prometheus(PrometheusSettings(url=server.url))
        yield lambda query: client.ask(query, budget_seconds=30)
        client.close()


def alone():
    """A service that has native histograms only, all of its requests between one and two seconds."""
    one = Histogram()
    for number in range(80):
        one.observe(1.5, 3)
        labels = {"__name__": "rpc_took_seconds", "job": "alone", "instance": "b:1"}
        yield written_histogram(labels, time_of(40 + number), one)


def latency(job, form, threshold="0.25", **more):
    """A latency SLO of a job in one form."""
    sli = LatencySli(
        histogram=parse_selector(f'{BASE}{{job="{job}"}}'), threshold=Decimal(threshold), type=form
    )
    return SLO(name=f"{job.replace(' ', '-')}-{form}", target=Decimal("0.9"), sli=sli, **more)


def counted(slo, ask, *, at_once=False):
    """Total and bad by tick, read tick by tick or all at once; and what was in doubt."""
    (unit,) = units(plan([slo], replica_labels={}))
    found, doubts, memories = {}, Counter(), {}
    for some in [TICKS] if at_once else [[tick] for tick in TICKS]:
        reading = read(unit, some, memories, ask)
        memories = reading.memories
        doubts.update(reading.doubts)
        found |= {end: (one.total, one.bad) for end, one in reading.counts[slo.name].items()}
    return found, doubts


@pytest.mark.parametrize("threshold", ["0.25", "1"])
@pytest.mark.parametrize("job", JOBS)
def test_native_and_classic_count_the_same(ask, job, threshold):
    """D6 D7 D8 D15 D16: tick by tick, through restarts, births, gaps and merged buckets, at borders of both."""
    classic, doubts = counted(latency(job, "classic", threshold), ask)
    native, native_doubts = counted(latency(job, "native", threshold), ask)
    assert (classic, doubts) == (native, native_doubts)
    assert sum(total for total, _ in classic.values()) > 100


def test_what_scrapes_saw_is_what_is_counted(ask):
    """D6: a process that crashes again and again: everything up to the last scrape before, and all after it."""
    native, _ = counted(latency("restarts", "native"), ask)
    answer = ask(Query(f'{BASE}{{job="restarts"}}[20m]', TICKS[-1].end, (Decimal("0.25"),)))
    (whole,) = (one.values for one in answer.series if one.labels["le"] == "+Inf")
    before = ask(Query(f'{BASE}{{job="restarts"}}', BEGIN, (Decimal("0.25"),))).series[0].values[0]
    seen = [before, *whole]
    grown = sum(now - last if now >= last else now for last, now in pairwise(seen))
    assert grown == sum(total for total, _ in native.values())


@pytest.mark.parametrize("job", ["restarts", "gaps", "merges", "rolling"])
@pytest.mark.parametrize("form", ["native", "auto"])
@pytest.mark.parametrize("threshold", ["0.25", "0.3"])
def test_catching_up_equals_having_been_there(ask, job, form, threshold):
    """P25: all ticks in one request count as each in its own, be the threshold a border of buckets or not."""
    slo = latency(job, form, threshold)
    assert counted(slo, ask) == counted(slo, ask, at_once=True)


def test_a_service_that_gives_up_classic_buckets_goes_on(ask):
    """D8: where classic buckets end and native histograms stay, nothing is counted twice and nothing is lost."""
    auto, doubts = counted(latency("rolling", "auto"), ask)
    native, _ = counted(latency("rolling", "native"), ask)
    assert (native, {}) == (auto, doubts)
    classic, _ = counted(latency("rolling", "classic"), ask)
    assert sum(total for total, _ in classic.values()) < sum(total for total, _ in auto.values()) / 2


def test_a_threshold_inside_a_bucket_is_divided(ask):
    """D8: at 300 ms the classic bucket is exact, a native one is not; totals are, and counts stay whole numbers."""
    classic, _ = counted(latency("steady", "classic", "0.3"), ask)
    native, _ = counted(latency("steady", "native", "0.3"), ask)
    assert [total for total, _ in classic.values()] == [total for total, _ in native.values()]
    assert all(bad.is_integer() for _, bad in native.values())
    exact, divided = (sum(bad for _, bad in found.values()) for found in (classic, native))
    assert exact < divided < exact + sum(total for total, _ in native.values()) / 6  # of 0.3s, one in nine


def test_merged_buckets_are_told(ask):
    """D8: where a client merges buckets around the threshold, growth is divided as the newer sample is, and told."""
    found, doubts = counted(latency("merges", "native", "0.3"), ask)
    whole, _ = counted(latency("merges", "native"), ask)
    assert ([total for total, _ in whole.values()], {"resolution": 3}) == (
        [total for total, _ in found.values()],
        doubts,
    )
    assert all(0 <= bad <= total for total, bad in found.values())


@pytest.mark.parametrize("form", ["native", "auto"])
def test_groups_are_told_apart(ask, form):
    """D17: each handler's native histogram is a group, and the roll-up their sum."""
    slo = latency("births", form, group_by=("handler",), max_groups=5)
    (unit,) = units(plan([slo], replica_labels={}))
    counts = read(unit, TICKS, {}, ask).counts
    sums = {key: sum(one.total for one in of_key.values()) for key, of_key in counts.items()}
    assert 4 == len(sums)
    assert sums.pop(slo.name) == sum(sums.values())


@pytest.mark.parametrize("job", ["steady", "births", "pods", "gaps", "restarts"])
def test_old_history_is_filled_by_range_queries(ask, job):
    """P25: the form without memory looks at native histograms every 30 s: what a process counted after is left out."""
    rows = [Tick(at, at + 300) for at in range(BEGIN, BEGIN + 1_200, 300)]
    filled = {}
    for form in ("classic", "native", "auto"):
        (unit,) = units(plan([latency(job, form)], replica_labels={}))
        (counts,) = read_steps(unit, rows, ask).counts.values()
        filled[form] = [(one.total, one.bad) for one in counts.values()]
    exact, _ = counted(latency(job, "native"), ask)
    assert filled["classic"] == filled["auto"]
    classic, native, all_of_it = (
        sum(total for total, _ in some) for some in (filled["classic"], filled["native"], exact.values())
    )
    assert 0.9 * classic <= native <= classic <= all_of_it
    assert job in {"pods", "restarts"} or native == classic


@pytest.mark.parametrize("form", ["native", "auto"])
def test_the_daemons_cycle_counts_native_histograms(ask, form):
    """Evaluated from history, and stepped tick by tick with its looks at late data: the counts of classic ones."""
    slos = [latency("restarts", kind, window=3_600) for kind in ("classic", form)]
    end = TICKS[-1].end
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos=slos, ledger=ledger, asks={"default": ask}, interval=60, delay=30).prepare(BEGIN)
        reports = [one.advance(tick.end) for tick in TICKS]
        live = {each.name: (each.total, each.failures) for each in reports[-1].snapshots}
    assert [{}] == [dict(errors) for errors in {tuple(report.errors.items()) for report in reports}]
    at_once = {
        each.name: (each.total, each.failures)
        for each in evaluate_at(slos, {"default": ask}, at=end + 30, grid=Grid(interval=60, delay=30))
    }
    classic, native = (slo.name for slo in slos)
    assert live[classic] == live[native]
    assert at_once[classic] == at_once[native]
    assert live[native][0] > 100


def test_discover_proposes_a_native_latency(ask):
    """A power of two that nearly all requests of a day kept, where there are no classic buckets."""
    (found,) = (one for one in discover(ask, at=TICKS[-1].end).proposals if one.sli["latency"].get("type"))
    assert {"histogram": 'rpc_took_seconds{job="alone"}', "threshold": "2s", "type": "native"} == found.sli[
        "latency"
    ]
