"""The servers under test behave as the other tests take for granted."""

from __future__ import annotations

import httpx
import pytest

HISTORY = """\
# TYPE x counter
x_total{job="a"} 1 1700000000
x_total{job="a"} 4 1700000030
# EOF
"""


@pytest.mark.prometheus
def test_history_survives_restart_and_kill(make_prometheus, tmp_path):
    """Blocks made from an OpenMetrics file answer after a restart and after a kill."""
    history = tmp_path / "history.txt"
    history.write_text(HISTORY)
    server = make_prometheus(query_log=True)
    server.load(history)
    server.start()
    assert 4 == server.number("x_total", 1_700_000_031)
    server.restart()
    server.restart(kill=True)
    assert [
        ({"__name__": "x_total", "job": "a"}, [(1_700_000_000, 1), (1_700_000_030, 4)])
    ] == server.ask_raw("x_total[1m]", 1_700_000_031)
    assert (2, 3) == server.samples_read("increase(x_total[1m])", 1_700_000_031)
    logged = [entry["params"]["query"] for entry in server.queries()]
    assert ["x_total", "x_total[1m]", "increase(x_total[1m])"] == logged


@pytest.mark.prometheus
def test_reload_changes_what_is_scraped(make_prometheus):
    """A reload takes the new configuration without a restart."""
    server = make_prometheus()
    server.start()
    pid = server.pid
    server.reload(
        {"scrape_configs": [{"job_name": "self", "static_configs": [{"targets": [server.url[7:]]}]}]}
    )
    assert "job_name: self" in server.get("/api/v1/status/config").json()["data"]["yaml"]
    assert pid == server.pid
    assert server.cpu_seconds() >= 0
    assert server.resident_bytes() > 1 << 20


@pytest.mark.long
@pytest.mark.victoriametrics
def test_victoriametrics_takes_the_same_history(make_victoriametrics, tmp_path):
    """The same OpenMetrics file answers the same on VictoriaMetrics."""
    history = tmp_path / "history.txt"
    history.write_text(HISTORY)
    server = make_victoriametrics()
    server.start()
    server.load(history)
    assert [
        ({"__name__": "x_total", "job": "a"}, [(1_700_000_000, 1), (1_700_000_030, 4)])
    ] == server.ask_raw("x_total[1m]", 1_700_000_031)


def test_audit_stream_listens_on_loopback(audit_stream):
    """The audit stream starts, answers and is empty."""
    assert 0 == httpx.get(f"{audit_stream.url}/stats", trust_env=False).json()["count"]
