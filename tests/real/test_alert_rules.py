"""The alert rules and the example of an Alertmanager, by the tools and servers that users have."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.real.alerting import AlertmanagerServer, Webhook
from tests.servers import free_port, promtool_binary
from tests.small_server import SmallServer

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "config" / "prometheus").glob("*.yaml"))
TESTS = sorted((ROOT / "tests" / "rules").glob("*.test.yaml"))
PATIENCE = 120  # seconds
BEFORE = 20  # good requests at each scrape
SLOS = """
service: shop
owner: shop@example.org
slos:
  - name: shop
    target: 99%
    window: 1h
    sli: {requests: {total: shop_requests_total, bad: 'shop_requests_total{code="500"}'}}
    alerts:
      - {severity: page, long: 5m, short: 1m, burn_rate: 10}
      - {severity: ticket, long: 10m, short: 1m, burn_rate: 2}
"""


@pytest.mark.prometheus
@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_the_rules_are_sound(rules):
    """`promtool check rules` has nothing to say."""
    done = subprocess.run(
        [promtool_binary(), "check", "rules", rules], capture_output=True, text=True, check=False
    )
    assert (0, True) == (done.returncode, "SUCCESS" in done.stdout), done.stdout + done.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize("rules", TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_they_say(rules):
    """`promtool test rules`: no data, a missed scrape and a restart while firing do not resolve an alert."""
    done = subprocess.run(
        [promtool_binary(), "test", "rules", rules], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_alert_is_tested():
    """Each rule stands in a test."""
    tested = "".join(path.read_text() for path in TESTS)
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    assert [] == [rule["alert"] for group in groups for rule in group["rules"] if rule["alert"] not in tested]


class Shop(SmallServer):
    """Serves requests each time it is scraped; fails all of them from `failing` on."""

    def __init__(self):
        self.counts = {"200": 0, "500": 0}
        self.failing = self.first_failure = None
        self.started = time.time() - 3_600
        super().__init__(self._scraped)

    def _scraped(self, *_):
        self.counts["500" if self.failing else "200"] += BEFORE
        if self.failing and self.first_failure is None:
            self.first_failure = time.time()
        lines = [f'shop_requests_total{{code="{code}"}} {n}\n' for code, n in self.counts.items()]
        return "".join([*lines, f"process_start_time_seconds {self.started}\n"]).encode()


@contextlib.contextmanager
def tracking(folder, prometheus, port, *, slos=SLOS):
    """The daemon's process with a tick of two seconds."""
    (folder / "slos.yaml").write_text(slos)
    config = folder / "tracker.yaml"
    config.write_text(
        f"prometheus: {{url: '{prometheus}'}}\nslo_files: [slos.yaml]\nevaluation: {{interval: 2s, delay: 2s}}\n"
        f"ledger: {{url: 'sqlite:///ledger.db'}}\nweb: {{listen: '127.0.0.1:{port}'}}\n"
    )
    with (folder / "tracker.log").open("ab") as log:
        command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def until(true, what):
    """Wait for something; what is not there counts as not yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError, KeyError):
            if found := true():
                return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


@pytest.mark.prometheus
@pytest.mark.alertmanager
def test_from_a_failing_service_to_a_notification(tmp_path, make_prometheus, show):
    """A page reaches the webhook of who is on call, with its owner; its ticket is inhibited meanwhile."""
    shop, webhook, port = Shop(), Webhook(), free_port()
    try:
        with AlertmanagerServer(tmp_path / "alertmanager", webhook=webhook.address) as alertmanager:
            config = {
                "global": {"evaluation_interval": "1s"},
                "rule_files": [str(path) for path in RULES],
                "alerting": {
                    "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}]
                },
            }
            scrape = {"shop": [shop.address], "slo": [f"127.0.0.1:{port}"]}
            prometheus = make_prometheus(config=config, scrape=scrape).start()
            with tracking(tmp_path, prometheus.url, port):
                url = f"http://127.0.0.1:{port}/api/v1/slos/shop"
                until(lambda: httpx.get(url, trust_env=False).json()["total"], "the first counts")
                shop.failing = True
                until(lambda: [a for _, path, a in webhook.told if path == "/page" and a["status"] == "firing"
                               and a["labels"]["alertname"] == "SLOBurnRatePage"], "the page")  # fmt: skip
                at, _, page = next(
                    one for one in webhook.told if one[2]["labels"]["alertname"] == "SLOBurnRatePage"
                )
        labels = {"slo": "shop", "severity": "page", "service": "shop", "owner": "shop@example.org"}
        assert labels.items() <= page["labels"].items()
        tickets = [a for _, _, a in webhook.told if a["labels"]["alertname"] == "SLOBurnRateTicket"]
        assert [] == tickets
        show(f"from the first failing request to the notification: {at - shop.first_failure:.1f} s")
    finally:
        webhook.close()
        shop.close()


@pytest.mark.alertmanager
def test_the_example_of_an_alertmanager_is_sound(tmp_path):
    """It starts with it, and has its receivers."""
    with AlertmanagerServer(tmp_path, webhook="127.0.0.1:9") as server:
        found = server.get("/api/v2/receivers").json()
    assert {"on-call", "tickets"} == {one["name"] for one in found}
