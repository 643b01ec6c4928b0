"""The client and the plan against real servers."""

from __future__ import annotations

import math
import time
from decimal import Decimal

import httpx
import pytest

from slo_budget_tracker.errors import BadAnswer, QueryFailed, QueryRejected, Unreachable
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query, RangeQuery, Slot, plan
from slo_budget_tracker.selectors import Matcher, Selector
from slo_budget_tracker.specs import SLO, PromqlSli, RequestsSli
from tests.servers import load_openmetrics
from tests.unit.raw_server import settings

START = 1_790_000_000
HISTORY = "\n".join(
    [
        "# TYPE http counter",
        *(
            f'http_total{{job="{job}",code="{code}",path="{path}"}} {n * step} {START + 30 * n}'
            for job, code, path, step in (("a", 200, "/x", 9), ("a", 500, "/x", 1), ("b", 200, "/y", 5))
            for n in range(21)
        ),
        "# TYPE odd gauge",
        *(f'odd{{kind="{kind}"}} {value} {START + 570}' for kind, value in (("nan", "NaN"), ("inf", "+Inf"))),
        *(f'odd{{kind="{kind}"}} {value} {START + 600}' for kind, value in (("nan", "7"), ("inf", "8"))),
        "# EOF",
        "",
    ]
)
AT = START + 600


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prometheus with a small history."""
    from tests.servers import PrometheusServer  # noqa: PLC0415 - beside its use

    folder = tmp_path_factory.mktemp("client")
    (folder / "history.om").write_text(HISTORY)
    server = PrometheusServer(folder / "prometheus", query_log=True)
    load_openmetrics(folder / "history.om", server.data)
    with server:
        yield server


@pytest.fixture
def client(server):
    """A client of it."""
    found = Prometheus(settings(server.url))
    yield found
    found.close()


def sel(**labels):
    """A selector of the history's counter."""
    return Selector(
        "http_total", tuple(Matcher(*one) for one in sorted((k, "=", v) for k, v in labels.items()))
    )


def requests(name, total, bad):
    """An SLO of counters."""
    return SLO(name=name, target=Decimal("0.9"), sli=RequestsSli(total=(total,), bad=(bad,)))


@pytest.mark.prometheus
def test_a_planned_feed_is_read_and_sorted(client):
    """One request brings the raw samples of all SLOs on a metric, and nothing that no SLO selects."""
    slos = [
        requests("a", sel(job="a"), sel(job="a", code="500")),
        requests("b", sel(job="b"), sel(job="b", code="5")),
    ]
    (feed,) = plan(slos, replica_labels={}).raw
    (text,) = feed.expressions(60)
    series = client.ask(Query(text, AT - 1), budget_seconds=5).series
    found = {
        (one.labels["code"], one.values[-1] - one.values[0]): feed.classify(one.labels) for one in series
    }
    assert {
        ("200", 9.0): (Slot("a", "total"),),
        ("500", 1.0): (Slot("a", "total"), Slot("a", "bad")),
        ("200", 5.0): (Slot("b", "total"),),
    } == found
    assert all(one.labels["__name__"] == "http_total" for one in series)


@pytest.mark.prometheus
def test_a_joined_query_brings_each_member(client):
    """D1 D2 D11 D13: scalars, nothing, 0/0, infinity and several series side by side."""
    parts = {
        "counts": {"bad": 'sum(increase(http_total{code="500"}[$window]))', "total": "scalar(sum(increase(http_total[$window])))"},
        "infinite": {"error_ratio": 'max(max_over_time(odd{kind="inf"}[$window]))'},
        "nothing": {"error_ratio": "nothing[$window] > 0"},
        "many": {"error_ratio": "rate(http_total[$window])"},
        "idle": {"error_ratio": "sum(rate(http_total[$window])) * 0 / 0"},
    }  # fmt: skip
    parts["nothing"] = {"error_ratio": "sum(increase(nothing[$window]))"}
    slos = [SLO(name=name, target=Decimal("0.9"), sli=PromqlSli(**of)) for name, of in parts.items()]
    found, faults = {}, {}
    for batch in plan(slos, replica_labels={}).expressions:  # counts, and ratios
        answer = client.ask(batch.query(AT, 60), budget_seconds=5)
        found |= batch.read(answer)
        faults |= batch.faults(answer)
    assert {"infinite": "non_finite", "many": "multiple_series"} == {
        slo: one.reason for slo, one in faults.items()
    }
    assert (2.0, 30.0, None) == (
        pytest.approx(found[Slot("counts", "bad")]),
        pytest.approx(found[Slot("counts", "total")]),
        found[Slot("nothing", "error_ratio")],
    )
    assert math.isnan(found[Slot("idle", "error_ratio")])


@pytest.mark.prometheus
def test_raw_nan_and_infinity(client):
    """D1 D2: NaN is dropped from raw samples; infinity is handed on as it is, for it to be its SLOs' fault only."""
    (series,) = client.ask(Query('odd{kind="nan"}[60s]', AT), budget_seconds=5).series
    assert [7.0] == series.values
    (series,) = client.ask(Query('odd{kind="inf"}[60s]', AT), budget_seconds=5).series
    assert any(math.isinf(value) for value in series.values)


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("expression", "expected", "reason"),
    [
        ("sum(", QueryRejected, "bad_data"),
        ("http_total / ignoring(code, path) http_total", QueryFailed, "execution"),
        ('"text"', BadAnswer, "result_type"),
    ],
)
def test_real_errors_are_told_apart(client, expression, expected, reason):
    """P11 P12 D13: Prometheus' own 400 and 422."""
    with pytest.raises(expected) as caught:
        client.ask(Query(expression, AT), budget_seconds=5)
    assert reason == caught.value.reason


@pytest.mark.prometheus
def test_too_many_points_are_rejected(client):
    """P25: more than 11,000 points are refused by the server; callers keep below."""
    with pytest.raises(QueryRejected):
        client.ask(RangeQuery("vector(1)", AT - 12_000, AT, 1), budget_seconds=5)
    (series,) = client.ask(RangeQuery("vector(1)", AT - 10_999, AT, 1), budget_seconds=5).series
    assert 11_000 == len(series.values)


@pytest.mark.prometheus
def test_instants_and_options_arrive_as_meant(server, client):
    """P30: the pinned instant is what Prometheus evaluates; options for other servers do no harm."""
    client.ask(Query("http_total", AT), budget_seconds=5)
    client.ask(RangeQuery("http_total", AT - 120, AT, 60), budget_seconds=5)
    logged = [one["params"] for one in server.queries() if one["params"]["query"] == "http_total"]
    spans = [(one["start"][:19], one["end"][:19], one["step"]) for one in logged[-2:]]

    def text(at):
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))

    assert [(text(AT), text(AT), 0), (text(AT - 120), text(AT), 60)] == spans


@pytest.mark.prometheus
def test_buildinfo_and_skew(client):
    """P30: version and clock of the real server."""
    assert client.buildinfo().startswith("Prometheus ")
    assert abs(client.stats.clock_skew_seconds) < 2


@pytest.mark.prometheus
def test_a_restart_is_survived(make_prometheus):
    """P1 P20: gone, then back on the same port: the same client goes on."""
    server = make_prometheus()
    server.start()
    client = Prometheus(settings(server.url, timeout=2.0))
    client.ask(Query("1", AT), budget_seconds=2)
    server.kill()
    with pytest.raises(Unreachable):
        client.ask(Query("1", AT), budget_seconds=1)
    server.start()
    assert [1.0] == client.ask(Query("1", AT), budget_seconds=5).series[0].values
    client.close()


@pytest.mark.victoriametrics
def test_victoriametrics_answers_for_the_asked_instant(make_victoriametrics):
    """D16: with its own defaults VictoriaMetrics hides the last 30 s; we ask it not to."""
    server = make_victoriametrics(settled=False)
    server.start()
    client = Prometheus(settings(server.url))
    now = int(time.time())
    lines = "\n".join(f"x {value} {(now - ago) * 1_000}" for value, ago in ((1, 90), (5, 10)))
    httpx.post(f"{server.url}/api/v1/import/prometheus", content=lines, trust_env=False)
    server.get("/internal/force_flush")
    plainly = server.query("x", now - 5)["result"][0]["value"][1]
    asked = client.ask(Query("x", now - 5), budget_seconds=5).series[0].values
    raw = client.ask(Query("x[120s]", now - 5), budget_seconds=5).series[0].values
    # a start that is not on the grid of its cache stays where it is
    grid = client.ask(RangeQuery("time()", now - 6_007, now - 7, 60), budget_seconds=5).series[0]
    flavor = client.buildinfo()
    client.close()
    assert ("1", [5.0], [1.0, 5.0]) == (plainly, asked, raw)
    assert (now - 6_007, 101) == (grid.values[0], len(grid.values))
    assert flavor == "VictoriaMetrics"
