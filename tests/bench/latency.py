"""From the first failing request to gauge, page, audit event and notification, with everything as it is shipped.

    python -m tests.bench.latency [--incidents 24] [--minutes 6]

Real servers: a Prometheus that scrapes services and daemon every 30 s and has the shipped alert rules, the example
Alertmanager with a webhook of ours, the audit stream, the daemon's process with its defaults (60 s ticks), and the
list of SLOs open in Chromium, which hears of ticks by the stream. Each service has an SLO of 99.9 % over 30 days; at
an instant of its own all of its requests begin to fail. The page's pair (14.4 times over an hour and five minutes) then
fires when 1.44 % of an hour has failed, so 52 s of an outage are the policy's own; the rest is on the way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import yaml

from tests.real.alerting import AlertmanagerServer, Webhook
from tests.servers import AuditStreamServer, PrometheusServer, chromium_binary, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RULES = sorted((Path(__file__).parents[2] / "config" / "prometheus").glob("*.yaml"))
RATE = 20.0  # requests per second of each service
WARM = 100.0  # seconds of good requests before the first incident
PATIENCE = 420.0  # seconds after the last incident began
LOOK = 0.25  # seconds between two looks
POINTS = (
    ("seen", "gauge: the failures are counted (`slo_failures_total`, `slo_burn_rate`)"),
    ("fires", "gauge: the page's pair fires (`slo_burn_alert_firing`)"),
    ("page", "page: the list open in a browser shows it"),
    ("audit", "audit stream: it has `slo_burn_started`"),
    ("told", "Alertmanager: its webhook is told of the page"),
)


@dataclass
class Incidents:
    """Services by name, each with the time from which on all of its requests fail."""

    begins: dict[str, float]
    started: float
    noted: dict[str, dict[str, float]] = field(default_factory=dict)  # by point, by service

    def exposition(self, name: str) -> str:
        """The counters of a service at this moment."""
        now, begins = time.time(), self.begins[name]
        good, bad = RATE * (min(now, begins) - self.started), RATE * max(now - begins, 0.0)
        counts = f'app_requests_total{{code="200"}} {good:.0f}\napp_requests_total{{code="500"}} {bad:.0f}\n'
        return f"{counts}process_start_time_seconds {self.started:.0f}\n"

    def note(self, point: str, names: Iterable[str]) -> None:
        """These services have come so far."""
        times = self.noted.setdefault(point, {})
        for name in names:
            if name in self.begins:
                times.setdefault(name, time.time())

    def done(self) -> bool:
        """Whether every incident has come to every point."""
        return all(len(self.noted.get(point, ())) == len(self.begins) for point, _ in POINTS)

    def delays(self, point: str) -> list[float]:
        """Seconds from the first failing request to the point, in order."""
        return sorted(at - self.begins[name] for name, at in self.noted.get(point, {}).items())


@contextlib.contextmanager
def services(incidents: Incidents) -> Iterator[str]:
    """Serve them all at /NAME; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = incidents.exposition(self.path.strip("/")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def prometheus_config(names: Iterable[str], app: str, tracker: str, alertmanager: str) -> dict[str, object]:
    """Scrapes every 30 s; how often rules are evaluated is left to them and to Prometheus' default."""
    targets = [
        {"targets": [app], "labels": {"__metrics_path__": f"/{name}", "instance": name}} for name in names
    ]
    return {
        "global": {"scrape_interval": "30s", "scrape_timeout": "10s"},
        "rule_files": [str(path) for path in RULES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "app", "static_configs": targets},
            {"job_name": "slo-budget-tracker", "static_configs": [{"targets": [tracker]}]},
        ],
    }


@contextlib.contextmanager
def tracking(folder: Path, names: Iterable[str], *, port: int, prometheus: str, audit: str) -> Iterator[None]:
    """The daemon's process; nothing but addresses is set."""
    slos = [
        {
            "name": name,
            "target": "99.9%",
            "sli": {
                "requests": {
                    "total": f'app_requests_total{{instance="{name}"}}',
                    "bad": f'app_requests_total{{instance="{name}",code="500"}}',
                }
            },
        }
        for name in names
    ]
    (folder / "slos.yaml").write_text(yaml.safe_dump({"slos": slos}))
    config = folder / "tracker.yaml"
    settings = {
        "prometheus": {"url": prometheus},
        "slo_files": ["slos.yaml"],
        "ledger": {"url": "sqlite:///ledger.db"},
        "audit": {"url": audit},
        "web": {"listen": f"127.0.0.1:{port}"},
    }
    config.write_text(yaml.safe_dump(settings))
    with (folder / "tracker.log").open("ab") as log:
        command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def browser(url: str) -> Iterator[Callable[[], list[str]]]:
    """The list of what fires in Chromium; yields how to read which SLOs it shows."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a Chromium

    names = "[...document.querySelectorAll('.slos tbody tr.firing th a')].map((one) => one.textContent)"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_binary(),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        page = chromium.new_page()
        page.goto(url)
        yield lambda: page.evaluate(names)
        chromium.close()


def gauges(text: str, name: str, *, above: float, having: str = "") -> list[str]:
    """The SLOs whose gauge is above a number."""
    lines = (line for line in text.splitlines() if line.startswith(f"{name}{{") and having in line)
    return [
        line.partition('slo="')[2].partition('"')[0]
        for line in lines
        if float(line.rpartition(" ")[2]) > above
    ]


def look(incidents: Incidents, tracker: httpx.Client, audit: httpx.Client, webhook: Webhook) -> None:
    """Note what the gauges, the audit stream and the webhook say by now."""
    text = tracker.get("/metrics").text
    incidents.note("seen", gauges(text, "slo_failures_total", above=0))
    incidents.note("fires", gauges(text, "slo_burn_alert_firing", above=0, having='severity="page"'))
    told = [
        one["payload"]
        for one in audit.get("/events", params={"source": "slo-budget-tracker", "limit": 1_000}).json()
    ]
    started = [one for one in told if one["event_kind"] == "slo_burn_started" and one["severity"] == "page"]
    incidents.note("audit", [one["slo_name"] for one in started])
    for at, path, alert in list(webhook.told):
        if path == "/page" and alert["labels"]["alertname"] == "SLOBurnRatePage":
            incidents.noted.setdefault("told", {}).setdefault(alert["labels"]["slo"], at)


def measure(folder: Path, *, incidents: int, minutes: float, seed: int = 6) -> Incidents:
    """Let them happen and note when each was seen where."""
    rng = random.Random(seed)
    now, span = time.time(), 60 * minutes
    # each in its own part of the span, so that all phases of ticks and scrapes are there
    begins = {
        f"service-{n:02d}": now + WARM + span * (n + rng.random()) / incidents for n in range(incidents)
    }
    found = Incidents(begins, now - 3_600)
    webhook, port = Webhook(), free_port()
    with contextlib.ExitStack() as stack:
        stack.callback(webhook.close)
        app = stack.enter_context(services(found))
        audit = stack.enter_context(AuditStreamServer(folder / "audit"))
        alertmanager = stack.enter_context(
            AlertmanagerServer(folder / "alertmanager", webhook=webhook.address)
        )
        config = prometheus_config(begins, app, f"127.0.0.1:{port}", f"127.0.0.1:{alertmanager.port}")
        prometheus = stack.enter_context(
            PrometheusServer(folder / "prometheus", config=config, scrape_interval="30s")
        )
        stack.enter_context(tracking(folder, begins, port=port, prometheus=prometheus.url, audit=audit.url))
        tracker = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10)
        )
        events = stack.enter_context(httpx.Client(base_url=audit.url, trust_env=False, timeout=10))
        _await(tracker)
        shown = stack.enter_context(browser(f"http://127.0.0.1:{port}/?state=firing"))
        while not found.done() and time.time() < now + WARM + span + PATIENCE:
            look(found, tracker, events, webhook)
            found.note("page", shown())
            time.sleep(LOOK)
    return found


def _await(tracker: httpx.Client) -> None:
    """Wait until the daemon answers."""
    for _ in range(300):
        with contextlib.suppress(httpx.HTTPError):
            tracker.get("/-/healthy")
            return
        time.sleep(0.1)
    raise AssertionError("the daemon does not answer")


def median(found: Incidents, point: str) -> float:
    """The median delay to a point, seconds."""
    return statistics.median(found.delays(point))


def markdown(found: Incidents) -> str:
    """The table: a line per point."""
    lines = [
        f"{len(found.begins)} outages, seconds from the first failing request",
        "",
        "| to | median | nine of ten within | slowest |",
        "|---|--:|--:|--:|",
    ]
    for point, name in POINTS:
        delays = found.delays(point)
        if len(delays) < len(found.begins):
            lines.append(f"| {name} | {len(delays)} of {len(found.begins)} came | | |")
            continue
        tenth = delays[min(round(0.9 * len(delays)), len(delays) - 1)]
        lines.append(f"| {name} | {median(found, point):.0f} s | {tenth:.0f} s | {delays[-1]:.0f} s |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--incidents", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=6.0, help="over which they begin")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(markdown(measure(Path(folder), incidents=arguments.incidents, minutes=arguments.minutes)))


if __name__ == "__main__":
    main()
