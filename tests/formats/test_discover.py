"""`discover`: from a Prometheus with other people's metrics to SLO files that are valid and evaluated."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from typer.testing import CliRunner

from slo_budget_tracker.cli import app
from slo_budget_tracker.discovery import MOST_METRICS, discover, file_of
from slo_budget_tracker.specfiles import load
from tests.servers import PrometheusServer, load_openmetrics
from tests.worlds.ours import asking

PAST = 6 * 3_600
SCRAPE = 30
# Counters by series: events per scrape. Of gauges the value by scrape.
COUNTERS = {
    'http_requests{job="shop",handler="/",method="GET",status="2xx"}': 499,
    'http_requests{job="shop",handler="/",method="GET",status="5xx"}': 1,
    'http_requests{job="other",code="200"}': 97,
    'http_requests{job="other",code="503"}': 3,
    'jobs_processed{job="worker",result="ok"}': 9_999,
    'jobs_processed{job="worker",result="error"}': 1,
    'grpc_server_handled{job="rpc",grpc_service="a",grpc_method="b",grpc_type="UNARY",grpc_code="OK"}': 50,
    'unlabelled_requests{job="plain"}': 5,
    'go_odd_requests{job="shop",code="200"}': 5,
}
BUCKETS = {"0.1": 90, "0.5": 995, "1.0": 1_000, "+Inf": 1_000}


def history(end):
    """Six hours of everything, in OpenMetrics."""
    times = range(end - PAST, end, SCRAPE)
    families: dict[str, list[str]] = {}
    for series, step in COUNTERS.items():
        name, _, labels = series.partition("{")
        lines = families.setdefault(f"# TYPE {name} counter\n", [])
        lines += [f"{name}_total{{{labels} {number * step} {at}\n" for number, at in enumerate(times)]
    lines = families.setdefault("# TYPE rpc_request_duration_seconds histogram\n", [])
    for le, step in BUCKETS.items():
        series = f'rpc_request_duration_seconds_bucket{{job="rpc",le="{le}"}}'
        lines += [f"{series} {number * step} {at}\n" for number, at in enumerate(times)]
    lines += [
        f'rpc_request_duration_seconds_count{{job="rpc"}} {number * 1_000} {at}\n'
        for number, at in enumerate(times)
    ]
    lines = families.setdefault("# TYPE probe_success gauge\n", [])
    lines += [
        f'probe_success{{job="blackbox",instance="a"}} {int(number % 100 != 7)} {at}\n'
        for number, at in enumerate(times)
    ]
    return "".join(head + "".join(body) for head, body in families.items()) + "# EOF\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prometheus with the last six hours of some services."""
    folder = tmp_path_factory.mktemp("discover")
    path = folder / "history.om"
    path.write_text(history(int(time.time()) // SCRAPE * SCRAPE))
    found = PrometheusServer(folder / "server")
    load_openmetrics(path, found.data)
    with found:
        yield found


@pytest.mark.prometheus
def test_what_prometheus_has_becomes_slos_that_the_past_met(server, tmp_path):
    """Presets, status codes, words, buckets and probes are found; the file is valid and the daemon's cycle evaluates it."""
    config = tmp_path / "config.yaml"
    config.write_text(f"prometheus: {{url: '{server.url}'}}\nslo_files: [slos/]\n")
    (tmp_path / "slos").mkdir()
    written = tmp_path / "slos" / "discovered.yaml"
    arguments = ["discover", "-c", str(config), "--window", "6h", "--replay", "1h", "--output", "json"]
    run = CliRunner().invoke(app, [*arguments, "--write", str(written)])
    assert (0, None) == (run.exit_code, run.exception), run.stderr
    found = {one["name"]: one for one in json.loads(run.stdout)}
    assert {
        "blackbox-probe": "98%",
        "other-availability": "95%",
        "rpc-availability": "99.95%",
        "rpc-latency": "99%",
        "shop-availability": "99.5%",
        "worker-availability": "99.99%",
    } == {name: one["target"] for name, one in found.items()}
    assert {"preset": {"name": "prometheus-fastapi-instrumentator", "job": "shop"}} == found[
        "shop-availability"
    ]["sli"]
    assert "500ms" == found["rpc-latency"]["sli"]["latency"]["threshold"]
    assert {"grpc", "prometheus-fastapi-instrumentator", "blackbox-exporter"} == {
        one["sli"]["preset"]["name"] for one in found.values() if "preset" in one["sli"]
    }
    assert sorted(found) == [slo.name for slo in load([written]).slos]
    assert found["worker-availability"]["success_ratio"] == pytest.approx(0.9999, abs=1e-6)
    live = CliRunner().invoke(app, ["validate", "-c", str(config), "--live", str(written)])
    assert 0 == live.exit_code, live.stdout + live.stderr
    evaluated = CliRunner().invoke(app, ["evaluate", "-c", str(config), "--output", "json"])
    assert 0 == evaluated.exit_code, evaluated.stderr
    assert [] == [one["name"] for one in json.loads(evaluated.stdout) if not one["total"]]


@pytest.mark.prometheus
def test_few_questions_are_asked(server):
    """Three for names, one for each preset that is there, at most one for each metric: documented, and no more."""
    asked = []
    with asking(server.url) as asks:

        def counting(query):
            asked.append(query.expression)
            return asks["default"](query)

        found = discover(counting, at=int(time.time()) - 60)
    assert len(asked) <= 3 + 3 + MOST_METRICS
    assert len(asked) == len(set(asked))
    assert 8 == len(found.proposals)
    assert 8 == len(yaml.safe_load(file_of(found.proposals, 86_400))["slos"])


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--window", "5m"], "--window: 5m, expected 1h to 400d"),
        (["--replay", "soon"], "--replay: not a duration such as 30d, 1h30m or 300ms"),
    ],
)
def test_a_wrong_past_is_a_sentence(tmp_path, option, said):
    """A window that no SLO can have, and what is no duration."""
    config = tmp_path / "config.yaml"
    config.write_text("prometheus: {url: 'http://127.0.0.1:1'}\nslo_files: [slos/]\n")
    run = CliRunner().invoke(app, ["discover", "-c", str(config), *option])
    assert said == str(run.exception)


@pytest.mark.prometheus
def test_nothing_found_is_status_1(make_prometheus, tmp_path):
    """An empty Prometheus: no proposals, and the exit status says so."""
    config = tmp_path / "config.yaml"
    with make_prometheus() as empty:
        config.write_text(f"prometheus: {{url: '{empty.url}'}}\nslo_files: [slos/]\n")
        run = CliRunner().invoke(app, ["discover", "-c", str(config)])
    assert (1, "0 SLOs; --write FILE writes them") == (run.exit_code, run.stdout.splitlines()[-1])
