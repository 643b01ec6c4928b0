"""A fleet of services of fifty shapes, exported live by one small process, and its catalogue of SLOs.

    python -m tests.bench.fleet PORT SLOS SERIES SCRAPE [alone] [life=SECONDS]

Each SLO has a service of two pods with some series each; a fifth of the SLOs are about latency, the pods of a tenth
are replaced every hour, or those of all after so many seconds. The exporter stands in for all pods: Prometheus scrapes it in parts with `honor_labels`, so
that every pod has its own `job`, `instance`, `up` and start time, as if it had been scraped itself.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

if TYPE_CHECKING:
    from pathlib import Path

PODS = 2
PARTS = 20
LIFE = 3_600  # seconds that a pod of a churning shape lives
PER_FILE = 100  # SLOs
BOUNDS = ("0.3", "+Inf", "0.05", "0.1", "1.0", "2.5", "5.0", "10.0")
CODES = ("200", "500", "404", "503", "302", "429", "201", "502")
COUNTERS = [
    "http_requests_total",
    "http_server_requests_seconds_count",
    "grpc_server_handled_total",
    "traefik_service_requests_total",
    "nginx_ingress_controller_requests",
    "istio_requests_total",
    "caddy_http_responses_total",
    "envoy_cluster_upstream_rq",
    "haproxy_backend_http_responses_total",
    "kong_http_requests_total",
    "apiserver_request_total",
    "coredns_dns_responses_total",
    "jetty_responses_total",
    "flask_http_request_total",
    "django_http_responses_total",
    "starlette_requests_total",
    "rails_requests_total",
    "express_http_requests_total",
    "gin_requests_total",
    "fiber_requests_total",
    "rabbitmq_messages_total",
    "kafka_consumer_records_total",
    "nats_messages_total",
    "celery_tasks_total",
    "sidekiq_jobs_total",
    "resque_jobs_total",
    "mails_sent_total",
    "payments_total",
    "imports_total",
    "lookups_total",
    "logins_total",
    "uploads_total",
    "searches_total",
    "renders_total",
    "exports_total",
    "checkouts_total",
    "webhooks_total",
    "cron_runs_total",
    "backups_total",
    "tokens_issued_total",
]
HISTOGRAMS = [
    "http_request_duration_seconds",
    "grpc_server_handling_seconds",
    "db_query_duration_seconds",
    "render_seconds",
    "search_duration_seconds",
    "queue_wait_seconds",
    "rpc_client_seconds",
    "cache_get_seconds",
    "mail_delay_seconds",
    "upload_seconds",
]
OWN = ("job", "service", "destination_service", "ingress", "handler", "route", "cluster", "namespace")


@dataclass(frozen=True)
class Service:
    """The service of one SLO: the fifty shapes in turn."""

    number: int
    alone: bool = False  # its metric is nobody else's

    @property
    def shape(self) -> int:
        """Which of the fifty shapes it has."""
        return self.number % 50

    @property
    def latency(self) -> bool:
        """Whether its SLO is about latency."""
        return self.shape % 5 == 4

    @property
    def churns(self) -> bool:
        """Whether its pods are replaced every hour."""
        return self.shape % 10 == 3

    @property
    def metric(self) -> str:
        """The name of its metric, of a histogram without `_bucket`."""
        names = HISTOGRAMS if self.latency else COUNTERS
        name = names[self.shape // 5 if self.latency else self.shape - self.shape // 5]
        return f"app{self.number}_{name}" if self.alone else name

    @property
    def own(self) -> tuple[str, str]:
        """The label that tells it from others of its metric."""
        return OWN[self.shape % len(OWN)], f"app-{self.number}"

    def slo(self, *, target: str = "99.9%", window: str = "30d") -> dict[str, Any]:
        """The SLO as it stands in a file."""
        label, value = self.own
        inside = f'{label}="{value}"'
        if self.latency:
            sli = {"latency": {"histogram": f"{self.metric}{{{inside}}}", "threshold": "300ms"}}
        else:
            bad = f'{self.metric}{{{inside},code=~"5.."}}'
            sli = {"requests": {"total": f"{self.metric}{{{inside}}}", "bad": bad}}
        return {
            "name": f"app-{self.number}",
            "description": f"Requests to service {self.number} that do not fail on our side",
            "owner": f"team-{self.number % 200}@example.org",
            "labels": {"team": f"team-{self.number % 200}", "tier": str(self.number % 3)},
            "target": target,
            "window": window,
            "sli": sli,
        }

    def pod(self, pod: int, generation: int, *, born: float, series: int) -> str:
        """What one pod exposes: a template for its counters."""
        label, value = self.own
        target = f'job="app-{self.number}",instance="10.{self.number}.{pod}:{8000 + generation}"'
        own = "" if label == "job" else f',{label}="{value}"'
        name = f"{self.metric}_bucket" if self.latency else self.metric
        told, values = ("le", BOUNDS) if self.latency else ("code", CODES)
        lines = [f'{name}{{{target}{own},{told}="{one}"}} %d\n' for one in _values(values, series)]
        return f"up{{{target}}} 1\nprocess_start_time_seconds{{{target}}} {born:.3f}\n{''.join(lines)}"


def _values(values: tuple[str, ...], count: int) -> list[str]:
    """So many label values; of the further ones nobody knows what they mean."""
    return [*values, *(f"1{number:03d}" for number in range(len(values), count))][:count]


def services(count: int, *, alone: bool = False) -> list[Service]:
    """The first `count` services."""
    return [Service(number, alone) for number in range(count)]


def write_slos(count: int, folder: Path, *, alone: bool = False, window: str = "30d") -> None:
    """SLO files, a hundred in each."""
    folder.mkdir(exist_ok=True)
    for first in range(0, count, PER_FILE):
        write_file(first // PER_FILE, folder, count=count, alone=alone, window=window)


def write_file(
    number: int, folder: Path, *, count: int, alone: bool = False, window: str = "30d", target: str = "99.9%"
) -> None:
    """One of the SLO files; `target` is that of its first SLO."""
    some = services(count, alone=alone)[number * PER_FILE : (number + 1) * PER_FILE]
    slos = [one.slo(window=window) for one in some]
    slos[0]["target"] = target
    text = yaml.dump({"service": f"service-{number}", "slos": slos}, Dumper=yaml.CSafeDumper)
    (folder / f"slos-{number:03d}.yaml").write_text(text)


@dataclass
class Part:
    """A part of the fleet: all that one scrape brings."""

    services: list[Service]
    series: int
    scrape: float
    life: int | None = None  # seconds that each pod lives; None for LIFE, of those that churn
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    texts: list[str] = field(init=False)
    counters: Any = field(init=False)
    churning: list[int] = field(init=False)
    generation: int = 0
    owed: float = 0.0

    def __post_init__(self) -> None:
        born = time.time() - 86_400
        pods = [(service, pod) for service in self.services for pod in range(PODS)]
        self.texts = [service.pod(pod, 0, born=born, series=self.series) for service, pod in pods]
        self.counters = self.random.integers(10_000, 10_000_000, (len(pods), self.series))
        self.churning = [at for at, (service, _) in enumerate(pods) if service.churns or self.life]
        latency = np.array([service.latency for service, _ in pods], bool)
        self.counters[latency, 1] = self.counters[latency].max(axis=1)  # +Inf
        rates = np.resize([20.0, 0.02, 1.0, 0.01, 2.0, 0.1], self.series)
        self.rates = np.where(latency[:, None], 0.0, rates[None, :])
        self.latency = latency

    def scraped(self) -> bytes:
        """The next scrape: counters have grown, some pods are others."""
        self._churn()
        self.counters += self.random.poisson(self.rates)
        fast = self.random.poisson(20.0, int(self.latency.sum()))
        slow = self.random.poisson(0.05, len(fast))
        self.counters[self.latency, 0] += fast
        self.counters[self.latency, 1] += fast + slow
        return ("".join(self.texts) % tuple(self.counters.ravel().tolist())).encode()

    def _churn(self) -> None:
        self.owed += len(self.churning) * self.scrape / (self.life or LIFE)
        while self.owed >= 1 and self.churning:
            self.owed -= 1
            self.generation += 1
            at = self.churning[self.generation % len(self.churning)]
            service, pod = self.services[at // PODS], at % PODS
            self.texts[at] = service.pod(pod, self.generation, born=time.time() - 3, series=self.series)
            self.counters[at] = 0


def serve(port: int, parts: list[Part]) -> None:
    """Serve `/part/N` until the process is stopped."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with lock:
                body = parts[int(self.path.rpartition("/")[2])].scraped()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def scrape_configs(port: int, count: int) -> list[dict[str, Any]]:
    """How Prometheus scrapes the fleet's exporter."""
    return [
        {
            "job_name": f"fleet-{part}",
            "metrics_path": f"/part/{part}",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        }
        for part in range(min(PARTS, count))
    ]


def main() -> None:
    """Serve a fleet."""
    port, count, series, scrape = map(int, sys.argv[1:5])
    fleet = services(count, alone="alone" in sys.argv[5:])
    lives = [int(one.removeprefix("life=")) for one in sys.argv[5:] if one.startswith("life=")]
    number = min(PARTS, count)
    serve(port, [Part(fleet[at::number], series, scrape, *lives) for at in range(number)])


if __name__ == "__main__":
    main()
