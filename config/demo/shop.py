"""An example service: a shop of a few pods that serve, fail, slow down and are replaced.

One process plays all pods: Prometheus finds them at /targets (HTTP service discovery), each has counters
of its own at /pods/NAME/metrics, kept by prometheus_client. `POST /break` makes most checkouts fail for
some minutes, as does a schedule. Where it is told of a daemon, it marks its deploys there.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import log
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from traffic import BUCKETS, HANDLERS, PODS, Handler, Incident, crowd, strength

STEP = 0.25  # seconds between two rounds of requests
DEPLOY = 420  # seconds between two deploys
FIRST_TROUBLE, TROUBLE_EVERY, TROUBLE_LASTS = 60, 480, 120  # seconds
TROUBLE_SHARE = 0.6


class Pod:
    """One process' worth of counters."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.registry = CollectorRegistry()
        self.requests = Counter("http_requests", "Requests.", ["handler", "code"], registry=self.registry)
        self.durations = Histogram(
            "http_request_duration_seconds", "Latency.", ["handler"], buckets=BUCKETS, registry=self.registry
        )
        started = Gauge("process_start_time_seconds", "Start of the process.", registry=self.registry)
        started.set(time.time())

    def serve(
        self, handler: Handler, count: int, failing: float, slowness: float, rng: np.random.Generator
    ) -> None:
        """Answer some requests."""
        bad = int(rng.binomial(count, min(handler.failing + failing, 1.0)))
        refused = int(rng.binomial(count - bad, handler.refused))
        for code, events in (("200", count - bad - refused), ("404", refused), ("503", bad)):
            if events:
                self.requests.labels(handler.path, code).inc(events)
        if handler.median is not None:
            latency = self.durations.labels(handler.path)
            for seconds in rng.lognormal(log(handler.median * slowness), 0.55, count):
                latency.observe(float(seconds))


class Herald:
    """Tells the daemon of deploys, later where it is not up yet."""

    def __init__(self, daemon: str, token: str) -> None:
        self.address = f"{daemon}/api/v1/annotations"
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.untold: list[dict[str, str]] = []

    def deployed(self, generation: int) -> None:
        """A deploy is to be told."""
        at = f"{time.time():.0f}"
        self.untold.append(
            {
                "kind": "deploy",
                "text": f"shop 1.{generation}.0",
                "service": "shop",
                "author": "demo",
                "at": at,
            }
        )

    def run(self) -> None:
        """Tell for ever; what fails is told again, which the daemon knows to be the same."""
        while True:
            while self.untold:
                body = json.dumps(self.untold[0]).encode()
                request = Request(self.address, body, self.headers)  # noqa: S310 - the demo's own daemon
                try:
                    with urlopen(request, timeout=5):  # noqa: S310 - the same
                        self.untold.pop(0)
                except OSError:
                    break
            time.sleep(5)


class Shop:
    """All pods, and what happens to them."""

    def __init__(self, *, first_trouble: float, herald: Herald | None = None) -> None:
        self.herald = herald
        self.began = time.time()
        self.generation = 0
        self.pods: tuple[Pod, ...] = ()
        self.troubles: list[Incident] = []
        self.first_trouble = first_trouble
        self.rng = np.random.default_rng()
        self.deploy()

    def deploy(self) -> None:
        """Replace all pods: new names, counters from 0."""
        self.generation += 1
        if self.herald is not None:
            self.herald.deployed(self.generation)
        self.pods = tuple(Pod(f"shop-live-{self.generation:02d}-{number}") for number in range(PODS))

    def break_checkout(self, seconds: float) -> None:
        """Most checkouts fail for so long."""
        now = time.time()
        self.troubles = [
            *self.troubles[-20:],
            Incident(now, now + seconds, TROUBLE_SHARE, 3.0, ("/checkout",)),
        ]

    def run(self) -> None:
        """Serve for ever."""
        deploys = 0
        scheduled = 0
        last = time.time()
        while True:
            time.sleep(STEP)
            now = time.time()
            if (now - self.began) // DEPLOY > deploys:
                deploys += 1
                self.deploy()
            if now - self.began > self.first_trouble + scheduled * TROUBLE_EVERY:
                scheduled += 1
                self.break_checkout(TROUBLE_LASTS)
            self.serve(now, now - last)
            last = now

    def serve(self, now: float, seconds: float) -> None:
        """Spread the requests of the last moment over the pods."""
        at = np.array([now])
        for handler in HANDLERS:
            failing, slowness = (float(one[0]) for one in strength(at, self.troubles, handler.path))
            expected = handler.per_second / PODS * float(crowd(at)[0]) * seconds
            for pod in self.pods:
                pod.serve(handler, int(self.rng.poisson(expected)), failing, slowness, self.rng)


class Requests(BaseHTTPRequestHandler):
    """The shop's few addresses."""

    shop: Shop
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """/targets, /pods/NAME/metrics and /healthz."""
        pods = {f"/pods/{pod.name}/metrics": pod for pod in self.shop.pods}
        ours = f"127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]  # of HTTPServer
        address = self.headers.get("Host", ours)  # whoever asks by this name finds the pods by it
        if self.path == "/targets":
            targets = [
                {"targets": [address], "labels": {"__metrics_path__": path, "instance": pod.name}}
                for path, pod in pods.items()
            ]
            self.answer(200, json.dumps(targets).encode(), "application/json")
        elif self.path in pods:
            self.answer(
                200, generate_latest(pods[self.path].registry), "text/plain; version=0.0.4; charset=utf-8"
            )
        elif self.path == "/healthz":
            self.answer(200, b"fine\n", "text/plain")
        else:
            self.answer(404, b"no such page\n", "text/plain")

    def do_POST(self) -> None:
        """/break?seconds=120."""
        address = urlsplit(self.path)
        if address.path != "/break":
            self.answer(404, b"no such page\n", "text/plain")
            return
        wanted = parse_qs(address.query).get("seconds", [str(TROUBLE_LASTS)])[0]
        seconds = min(float(wanted), 3_600.0) if wanted.isdecimal() else TROUBLE_LASTS
        self.shop.break_checkout(seconds)
        self.answer(200, f"most checkouts fail for {seconds:.0f} s\n".encode(), "text/plain")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        """Send one answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
        """Say nothing about each scrape."""


def main() -> None:
    """Serve on loopback until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--first-trouble", type=float, default=FIRST_TROUBLE, help="seconds until checkouts fail"
    )
    parser.add_argument("--daemon", help="address of the slo-budget-tracker that is told of deploys")
    parser.add_argument("--token", default="", help="its token for annotations")
    options = parser.parse_args()
    disable_created_metrics()
    herald = Herald(options.daemon, options.token) if options.daemon else None
    if herald is not None:
        threading.Thread(target=herald.run, daemon=True).start()
    Requests.shop = Shop(first_trouble=options.first_trouble, herald=herald)
    threading.Thread(target=Requests.shop.run, daemon=True).start()
    ThreadingHTTPServer((options.host, options.port), Requests).serve_forever()


if __name__ == "__main__":
    main()
