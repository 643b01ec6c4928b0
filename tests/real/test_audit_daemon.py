"""The daemon and the audit stream: delivery beside everything else, figures on /metrics, secrets nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tests.audit_server import (
    NOW,
    PATIENCE,
    FakeAuditStream,
    NearAuditStream,
    expected,
    ledger_of,
    story,
    wait_for,
)
from tests.servers import free_port

CANARY = "S3CR3T-canary"
MISMATCH = "audit_mismatch_detected"
IMPATIENT = """
from slo_budget_tracker import __main__, delivery
delivery.CHECK_SECONDS = {}
__main__.main()
"""
SLOS = """
slos:
  - name: shop
    target: 99%
    window: 1h
    sli:
      requests: {total: shop_requests_total, bad: 'shop_requests_total{code="500"}'}
    alerts: [{severity: page, long: 10m, short: 2m, burn_rate: 2}]
"""


@pytest.fixture
def daemon(tmp_path):
    """Starts daemons over a ledger with three events and a Prometheus that is not there; kills what is left."""
    running = []
    ledger_of(f"sqlite:///{tmp_path}/ledger.db").close()

    def start(audit, *, check=None):
        port = free_port()
        (tmp_path / "slos.yaml").write_text(SLOS)
        (tmp_path / "tracker.yaml").write_text(
            f"prometheus: {{url: 'http://127.0.0.1:{free_port()}'}}\nslo_files: [slos.yaml]\n"
            "evaluation: {interval: 2s, delay: 2s}\nledger: {url: 'sqlite:///ledger.db'}\n"
            f"web: {{listen: '127.0.0.1:{port}'}}\n"
        )
        program = ["-m", "slo_budget_tracker"] if check is None else ["-c", IMPATIENT.format(check)]
        command = [sys.executable, *program, "run", "-c", str(tmp_path / "tracker.yaml")]
        environment = {**os.environ, "AUDIT_STREAM_URL": audit.replace("://", f"://me:{CANARY}@")}
        environment["SLO_BUDGET_TRACKER_AUDIT__RESEND"] = "9000d"  # the three events are of 2023
        # no answer is late on a busy machine: one that is given up is another story (the event is looked up and sent again)
        environment["SLO_BUDGET_TRACKER_AUDIT__TIMEOUT"] = "60s"
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        running.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def metric(url, name):
    """One of the daemon's own figures; None while it does not answer."""
    try:
        page = httpx.get(f"{url}/metrics", trust_env=False, timeout=30).text
    except httpx.HTTPError:
        return None
    assert CANARY not in page
    found = [
        line.rpartition(" ")[2] for line in page.splitlines() if line.startswith(f"slo_budget_tracker_{name}")
    ]
    return float(found[0]) if found else None


def test_events_that_wait_are_delivered_whatever_prometheus_does(daemon, tmp_path):
    """A5, H14: beside a Prometheus that is away; the figures say so, and the password is in no output."""
    with NearAuditStream() as server:
        process, url = daemon(server.url)
        wait_for(lambda: expected([1, 2, 3]) == story(server.get("/events").json())[:3])
        wait_for(lambda: (metric(url, "audit_target_ok"), metric(url, "outbox_pending")) == (1.0, 0.0))
        confirmed = [metric(url, f'deliveries_total{{outcome="{how}"}}') for how in ("delivered", "adopted")]
        assert 3 <= sum(filter(None, confirmed))  # one whose answer was slow is looked up and taken over
        wait_for(lambda: metric(url, "quarantined") == 0.0)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(PATIENCE)
    assert CANARY not in (tmp_path / "log").read_text()
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))


def test_a_daemon_whose_audit_stream_hangs_leaves_all_the_same(daemon, tmp_path):
    """T6, A19: an answer that never comes keeps neither ticks nor the end waiting; the event stays attempted."""

    def hang(handler, _event):
        time.sleep(600)

    with FakeAuditStream(*[("POST", hang)] * 50) as server:
        process, url = daemon(server.url)
        wait_for(server.posts)
        wait_for(lambda: (metric(url, "outbox_pending") or 0) >= 3)
        wait_for(lambda: metric(url, "outbox_oldest_timestamp_seconds") == NOW + 60)
        ticks = metric(url, "tick_duration_seconds_count")
        wait_for(lambda: (metric(url, "tick_duration_seconds_count") or 0) >= ticks + 3)
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(PATIENCE)
    command = [sys.executable, "-m", "slo_budget_tracker", "audit", "list", "--state", "attempted"]
    listed = subprocess.run(
        [*command, "-c", str(tmp_path / "tracker.yaml")], capture_output=True, text=True, check=True
    )
    assert "1 event" == listed.stdout.splitlines()[-1]


def test_troubles_of_delivery_are_figures_of_the_daemon(daemon, tmp_path):
    """A2, A8, A12: what is quarantined, shown otherwise or held is on /metrics and, where it is an error, in the log."""
    with FakeAuditStream(("POST", lambda handler, _: handler.answer(422, {"detail": []}))) as server:
        process, url = daemon(server.url, check=0.5)
        wait_for(lambda: metric(url, "quarantined") == 1.0)
        wait_for(lambda: (metric(url, "audit_target_ok"), metric(url, "outbox_pending")) == (1.0, 0.0))
        assert [0.0, None] == [
            metric(url, "receipt_mismatches_total"),
            metric(url, 'deliveries_total{outcome="hold"}'),
        ]
        last = server.events[-1]
        last["payload"], last["hash"] = {**last["payload"], "reason": "nothing happened"}, "f" * 64
        wait_for(lambda: metric(url, "receipt_mismatches_total") == 1.0)
        wait_for(lambda: MISMATCH in [one["payload"]["event_kind"] for one in server.events])
        server.troubles.append(("GET", lambda handler: handler.answer(403, body=b"no")))
        wait_for(lambda: metric(url, "audit_target_ok") == 0.0)
        assert process.poll() is None
    log = (tmp_path / "log").read_text()
    assert (1, False) == (log.count("audit mismatch"), "Traceback" in log)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(1.0, id="each second"),
        pytest.param(None, id="as ever", marks=pytest.mark.long),
    ],
)
def test_an_audit_stream_that_forgot_is_told_again_by_a_daemon_without_news(daemon, audit_stream, check):
    """A11: the server is killed and comes back empty; all events are there again, in order, with the same ids."""

    def there():
        payloads = [one["payload"] for one in audit_stream.get("/events", limit=10_000).json()]
        return [(one["slo_name"], one["sequence"], one["id"]) for one in payloads]

    process, url = daemon(audit_stream.url, check=check)
    wait_for(lambda: metric(url, "outbox_pending") == 0.0 and metric(url, "audit_target_ok") == 1.0)
    before = there()
    assert [("shop", number) for number in (1, 2, 3)] == [one[:2] for one in before if one[0] == "shop"]
    audit_stream.restart(kill=True)
    wait_for(lambda: len(there()) >= len(before), what="all events", seconds=2 * PATIENCE)
    assert before == there()
    wait_for(lambda: len(before) == metric(url, "receipts_lost_total"), what="the figure of the next tick")
    assert process.poll() is None
