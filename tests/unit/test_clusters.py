"""The cycle over Mimir, Thanos and the VictoriaMetrics cluster: tenants, partial answers, limits, empty answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

import pytest

from slo_budget_tracker import prometheus as room
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.errors import PrometheusError
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.settings import Settings
from slo_budget_tracker.sources import asks, clients, probe
from slo_budget_tracker.specs import BurnRateAlert
from tests.unit.clusters import DEAD_STORE, NO_STORAGE, NO_STORE, TOO_MANY_CHUNKS, Cluster, refused
from tests.unit.cycling import Clock
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, availability, traffic

QUIET = BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal(2))
SHOP = availability(alerts=(QUIET,))
TICK = 300  # requests of one tick of one tenant


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between tries as short as they can be."""
    monkeypatch.setattr(room, "pause", lambda _tries, *, longest: min(0.001, longest))


def served(**how):
    """A server with the usual traffic."""
    return Server(traffic(Server().db, **how))


@pytest.fixture
def opened():
    """Clients that are closed in the end."""
    found = []
    yield found
    for client in found:
        client.close()


@pytest.fixture
def evaluate(opened):
    """An evaluator over a cluster; `headers` as they would stand in the configuration."""

    def make(cluster, slo=SHOP, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        settings = Settings.model_validate({"prometheus": {"url": cluster.url, "headers": named}})
        sources = clients(settings)
        opened.extend(sources.values())
        ledger = Ledger.open("sqlite://")
        how = {"interval": INTERVAL, "delay": DELAY, "workers": 1}
        return Evaluator(slos=[slo], ledger=ledger, asks=asks(sources, budget=5.0), **how).prepare(BEGIN)

    return make


def ticks(evaluator, first, last):
    """The states and totals after each of these ticks."""
    found = []
    for tick in range(first, last + 1):
        (snapshot,) = evaluator.advance(BEGIN + tick * INTERVAL).snapshots
        found.append((snapshot.state, snapshot.total))
    return found


@pytest.mark.parametrize("kind", ["mimir", "thanos", "victoriametrics"])
def test_each_counts_exactly(evaluate, kind):
    """Behind each door, prefix and header it is the same data, and the same counts."""
    with Cluster(kind, {"anonymous": served()}) as cluster:
        evaluator = evaluate(cluster, X_Scope_OrgID="anonymous")
        assert [("ok", TICK), ("ok", 2 * TICK)] == ticks(evaluator, 1, 2)


def test_mimir_without_a_tenant_says_so(opened):
    """P15: 401 in plain text, asked once, shown as what it is."""
    with Cluster("mimir", {}) as cluster:
        (client,) = clients(Settings.model_validate({"prometheus": {"url": cluster.url}})).values()
        opened.append(client)
        with pytest.raises(PrometheusError) as caught:
            client.buildinfo()
        assert ("unauthorized", 1) == (caught.value.reason, len(cluster.asked))


def test_several_tenants_are_one_request(evaluate):
    """A list of tenants is one header as Mimir reads it; the tenants' series are told apart and added up."""
    with Cluster("mimir", {"team-a": served(), "team-b": served(), "other": served()}) as cluster:
        evaluator = evaluate(cluster, X_Scope_OrgID=["team-a", "team-b"])
        assert [("ok", 2 * TICK)] == ticks(evaluator, 1, 1)
        assert {"team-a|team-b"} == {asked["X-Scope-OrgID"] for asked in cluster.asked}


def test_two_tenants_as_two_datasources(opened):
    """Each datasource has its own address, tenant and limits; an SLO names the one that it is in."""
    with Cluster("mimir", {"a": served(), "b": Server()}) as cluster:
        named = {name: {"url": cluster.url, "headers": {"X-Scope-OrgID": name}} for name in "ab"}
        sources = clients(Settings.model_validate({"datasources": named}))
        opened.extend(sources.values())
        assert dict.fromkeys("ab", "Grafana Mimir 2.14.0") == probe(sources)
        slos = [availability(f"shop-{name}", datasource=name) for name in "ab"]
        evaluator = Evaluator(
            slos=slos, ledger=Ledger.open("sqlite://"), asks=asks(sources, budget=5.0), lanes={"a": 2, "b": 2}
        ).prepare(BEGIN)
        found = {one.name: one.state for one in evaluator.advance(BEGIN + INTERVAL).snapshots}
        assert {"shop-a": "ok", "shop-b": "no_data"} == found


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param("thanos", {"warnings": [DEAD_STORE]}, id="a dead store of Thanos"),
        pytest.param("victoriametrics", {"isPartial": True}, id="a dead vmstorage"),
    ],
)
def test_partial_answers_are_counted_and_end_nothing(evaluate, kind, said):
    """P17: what part of the cluster has is stored and marked; a firing alert is held through it."""
    with Cluster(kind, {"": served(broken=(0, 1_200))}) as cluster:
        evaluator = evaluate(cluster, SHOP)
        ticks(evaluator, 1, 20)
        (alert,) = evaluator.look(BEGIN + 20 * INTERVAL)[0].alerts
        assert "firing" == alert.state
        cluster.trouble = said
        found = ticks(evaluator, 21, 27)
        assert {"partial"} == {state for state, _ in found}
        assert [TICK] * 6 == [b - a for (_, a), (_, b) in pairwise(found)]
        (alert,) = evaluator.look(BEGIN + 27 * INTERVAL)[0].alerts
        assert "held" == alert.state
        cluster.trouble = None
        assert "ok" == ticks(evaluator, 28, 34)[-1][0]
        (alert,) = evaluator.look(BEGIN + 34 * INTERVAL)[0].alerts
        assert "quiet" == alert.state


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        pytest.param("mimir", refused(422, "execution", TOO_MANY_CHUNKS), id="Mimir's limit of chunks"),
        pytest.param("mimir", (429, "too many outstanding requests", {}), id="Mimir's queue is full"),
        pytest.param("mimir", refused(503, "unavailable", "ring is empty"), id="Mimir starts"),
        pytest.param("thanos", refused(422, "execution", NO_STORE), id="Thanos has no store"),
        pytest.param("victoriametrics", refused(503, "503", NO_STORAGE), id="503 of vmselect"),
        pytest.param(
            "victoriametrics", refused(422, "422", NO_STORAGE), id="422 of vmselect, also in passing"
        ),
    ],
)
def test_a_cluster_that_cannot_answer_is_an_error_and_nothing_is_lost(evaluate, kind, said):
    """P12 P13 P14: three ticks without an answer are read when it is back; the sums are as if nothing had been."""
    with Cluster(kind, {"a": served()}) as cluster:
        evaluator = evaluate(cluster, X_Scope_OrgID="a")
        assert [("ok", TICK)] == ticks(evaluator, 1, 1)
        cluster.trouble = said
        assert {("error", TICK)} == set(ticks(evaluator, 2, 4))
        cluster.trouble = None
        assert [("ok", 5 * TICK)] == ticks(evaluator, 5, 5)


def test_an_empty_answer_of_a_querier_that_died_is_no_data(evaluate):
    """P19: Mimir's 200 without data raises no budget and is no traffic of 0; what comes back corrects it."""
    with Cluster("mimir", {"a": served(broken=(0, 1_200))}) as cluster:
        evaluator = evaluate(cluster, X_Scope_OrgID="a")
        ticks(evaluator, 1, 3)
        (before,) = evaluator.look(BEGIN + 3 * INTERVAL)
        cluster.trouble = {"data": {"resultType": "matrix", "result": []}}
        evaluator.advance(BEGIN + 4 * INTERVAL)
        (during,) = evaluator.look(BEGIN + 4 * INTERVAL)
        assert ("no_data", before.failures, before.total) == (during.state, during.failures, during.total)
        assert during.error_budget_remaining <= before.error_budget_remaining


def test_a_busy_cluster_is_asked_less_at_once(evaluate, opened):
    """P13: refusals halve what is asked at once, good answers widen it again, one by one."""
    with Cluster("mimir", {"a": served()}) as cluster:
        evaluator = evaluate(cluster, X_Scope_OrgID="a")
        (client,) = opened
        assert isinstance(client, Prometheus)
        limits = [client._lanes.limit]
        cluster.trouble = (429, "too many outstanding requests", {})
        ticks(evaluator, 1, 1)
        limits.append(client._lanes.limit)
        cluster.trouble = None
        ticks(evaluator, 2, 30)
        limits.append(client._lanes.limit)
        assert [4, 1, 4] == limits


@dataclass
class Watched(Cluster):
    """A cluster that notes when it is asked, and how much is under way at most."""

    began: list[float] = field(default_factory=list)
    most: int = 0
    _now: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path, form, headers):
        """As ever, a little later."""
        with self._guard:
            self._now += 1
            self.most = max(self.most, self._now)
            self.began.append(time.monotonic())
        time.sleep(0.01)
        try:
            return super().answer(path, form, headers)
        finally:
            with self._guard:
                self._now -= 1


def test_requests_of_a_tick_are_spread_and_bounded(opened):
    """T13: a dozen metrics, three requests at once at most, put apart over the spread; every SLO is there in its tick."""
    db = Server().db
    for number in range(12):
        traffic(db, metric=f"m{number}_total")
    slos = [availability(f"slo-{number}", metric=f"m{number}_total") for number in range(12)]
    with Watched("mimir", {"a": Server(db)}) as cluster:
        settings = Settings.model_validate(
            {
                "prometheus": {"url": cluster.url, "headers": {"X-Scope-OrgID": "a"}, "concurrency": 3},
                "evaluation": {"interval": INTERVAL, "delay": DELAY, "spread": "1s"},
            }
        )
        sources, clock = clients(settings), Clock()
        opened.extend(sources.values())
        cycle = Cycle.begin(settings, slos, Ledger.open("sqlite://"), sources=sources, clock=clock)
        for _ in range(3):
            clock.now += INTERVAL
            cluster.began.clear()
            before = time.monotonic()
            cycle.tick()
            assert {clock.now - DELAY} == {one.evaluated_at for one in cycle.publisher.snapshots}
    assert (12, 3) == (len(cluster.began), max(cluster.most, 3))
    assert cluster.began[-1] - before >= 0.9
