"""The daemon as a process, a real Prometheus under it and an exporter that counts under that."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from tests.servers import free_port
from tests.small_server import SmallServer

pytestmark = pytest.mark.prometheus

INTERVAL, DELAY = 2, 2
SOON = 20  # seconds: five are promised, on a machine that does nothing else
PATIENCE = 90  # seconds
SLOS = """
service: shop
slos:
  - name: shop
    target: 99%
    window: 1h
    sli:
      requests: {total: shop_requests_total, bad: 'shop_requests_total{code="500"}'}
    alerts: [{severity: page, long: 10m, short: 1m, burn_rate: 2}]
  - name: typo
    target: 99%
    window: 1h
    sli:
      promql: {error_ratio: 'sum(rate(shop_requests_total{code="500"}[$window])) / on(x) group_left(y) shop_requests_total', window: 1m}
    alerts: [{severity: page, long: 10m, short: 1m, burn_rate: 2}]
"""


class Exporter(SmallServer):
    """A shop that serves nine requests and fails one each time it is scraped."""

    def __init__(self):
        self.scrapes, self.started = 0, time.time() - 3_600
        super().__init__(self._scraped)

    def _scraped(self, *_):
        self.scrapes += 1
        return (
            f'shop_requests_total{{code="200"}} {self.scrapes * 9}\n'
            f'shop_requests_total{{code="500"}} {self.scrapes}\n'
            f"process_start_time_seconds {self.started}\n"
        ).encode()


@dataclass
class Tracker:
    """The daemon's process and its configuration."""

    folder: Path
    prometheus: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def config(self):
        """The configuration file."""
        return self.folder / "tracker.yaml"

    @property
    def log(self):
        """What it said so far."""
        return (self.folder / "tracker.log").read_text()

    def write(self):
        """Write configuration and SLOs."""
        (self.folder / "slos.yaml").write_text(SLOS)
        self.config.write_text(
            f"prometheus: {{url: '{self.prometheus}', timeout: 5s}}\n"
            f"slo_files: [slos.yaml]\nevaluation: {{interval: {INTERVAL}s, delay: {DELAY}s}}\n"
            f"ledger: {{url: 'sqlite:///ledger.db'}}\nweb: {{listen: '127.0.0.1:{self.port}'}}\n"
            "log: {format: json}\n"
        )
        return self

    def start(self):
        """Start it and wait until somebody listens."""
        with (self.folder / "tracker.log").open("ab") as log:
            command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.until(lambda: self.get("/-/healthy").status_code == 200)

    def get(self, path):
        """A plain GET."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30, trust_env=False)

    def until(self, true, *, seconds=PATIENCE):
        """Wait for something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(httpx.HTTPError):
                if true():
                    return
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s; the daemon's log:\n{self.log}")

    def snapshot(self):
        """The shop's snapshot."""
        return self.get("/api/v1/slos/shop").json()

    def agreed(self):
        """A snapshot of the shop that `evaluate` agrees with, once there is one.

        A scrape that took longer than the delay is in the daemon's next tick, and in `evaluate` at once.
        """
        keys = ("evaluated_at", "total", "failures")
        end = time.monotonic() + PATIENCE
        while True:
            found = self.snapshot()
            (again,) = self.command("evaluate", "shop", "--at", found["evaluated_at"])
            if [found[key] for key in keys] == [again[key] for key in keys]:
                return found
            assert time.monotonic() < end, (found, again)
            time.sleep(0.1)

    def gauge(self, name):
        """The shop's value of a gauge, None where it has none."""
        found = re.search(rf'^{name}{{slo="shop"}} (\S+)$', self.get("/metrics").text, re.MULTILINE)
        return None if found is None else float(found[1])

    def stop(self):
        """SIGTERM; exit status and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE), time.monotonic() - began

    def asks(self):
        """Whether a request of the daemon to Prometheus is under way: its connection is in the system's list."""
        port = f":{int(self.prometheus.rpartition(':')[2]):04X}"
        theirs = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{one[9]}]" for one in theirs if one[2].endswith(port) and one[3] == "01"}
        for link in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if str(link.readlink()) in inodes:
                    return True
        return False

    def command(self, *arguments):
        """A command over the same configuration, as JSON."""
        command = [sys.executable, "-m", "slo_budget_tracker", *arguments, "-c", str(self.config)]
        done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def tracker(tmp_path, make_prometheus):
    """A daemon that is not started yet, over a Prometheus that has scraped a few times."""
    exporter = Exporter()
    server = make_prometheus(scrape={"shop": [exporter.address]}).start()
    one = Tracker(tmp_path, server.url).write()
    one.server = server
    one.exporter = exporter
    end = time.monotonic() + PATIENCE
    while exporter.scrapes < 5:
        assert time.monotonic() < end, "Prometheus does not scrape"
        time.sleep(0.1)
    yield one
    with contextlib.suppress(OSError):
        os.kill(server.pid or 0, signal.SIGCONT)
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()
    exporter.close()


def test_a_daemon_lives_restarts_and_leaves(tracker):
    """T6, T14: gauges come and are true, a restart shows them before any tick, and SIGTERM is obeyed while all hangs."""
    tracker.start()
    tracker.until(lambda: tracker.gauge("slo_total") and tracker.gauge("slo_total") > 100)
    assert 0.1 == pytest.approx(1 - tracker.gauge("slo_success_ratio"), abs=0.01)
    assert {"shop", "typo"} == {one["name"] for one in tracker.get("/api/v1/slos").json()["slos"]}
    tracker.until(lambda: "trouble with typo" in tracker.get("/-/ready").text)  # once a tick has asked for it

    before = tracker.agreed()
    at = before["evaluated_at"]
    counted = [before["total"], before["failures"]]
    begin = str(int(datetime.fromisoformat(at).timestamp()) - 20)
    replayed = tracker.command("replay", "shop", "--from", begin, "--to", at)["final"][0]
    assert [at, *counted] == [replayed[key] for key in ("evaluated_at", "total", "failures")]

    last = tracker.snapshot()
    status, seconds = tracker.stop()
    assert (0, True) == (status, seconds < SOON), tracker.log
    assert "Traceback" not in tracker.log

    os.kill(tracker.server.pid, signal.SIGSTOP)
    tracker.start()
    shown = tracker.snapshot()
    assert shown["evaluated_at"] >= last["evaluated_at"]
    assert shown["state"] in {"ok", "error"}  # as it was, until the first tick has waited in vain
    assert shown["total"] >= last["total"]
    assert (503, shown["total"]) == (tracker.get("/-/ready").status_code, tracker.gauge("slo_total"))
    tracker.until(tracker.asks)
    status, seconds = tracker.stop()
    assert (0, True) == (status, seconds < SOON), tracker.log

    os.kill(tracker.server.pid, signal.SIGCONT)
    (tracker.folder / "slos.yaml").write_text(SLOS.partition("  - name: typo")[0])
    tracker.start()
    tracker.until(lambda: tracker.get("/-/ready").status_code == 200)
    assert tracker.agreed()["total"] > last["total"]
    assert (0, True) == (tracker.stop()[0], "Traceback" not in tracker.log)
