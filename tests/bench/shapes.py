"""Twenty shapes of service as they are met with, for a catalogue of any size and its history.

Each SLO has 8 series: two pods with four label values each. Nine shapes share a metric with others and can be read
together; two have a metric of their own for each SLO and five are free PromQL (a third of all: not to be merged);
four are latency histograms (a fifth); the pods of four are replaced every hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import yaml

from tests.worlds.history import Written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRAPE = 30
PODS = 2
HTTP = ("code", ("200", "302", "404", "500"))
STATUS = ("status", ("200", "204", "404", "503"))
GRPC = ("grpc_code", ("OK", "NotFound", "Unavailable", "Internal"))
RESULT = ("result", ("done", "skipped", "retried", "error"))
BUCKETS = ("le", ("0.1", "0.3", "1.0", "+Inf"))
MEANS = (20.0, 4.0, 1.0, 0.02)  # events per scrape and series; the last value is the failure


@dataclass(frozen=True)
class Shape:
    """A kind of service: `{n}` stands for the SLO's number; `bad` is written with `{own}`, its selector's inside."""

    kind: str
    metric: str
    own: str
    values: tuple[str, tuple[str, ...]]
    bad: str = ""
    churn: bool = False

    def sli(self, number: int) -> dict[str, Any]:
        """The `sli` of an SLO file."""
        metric, own = self.metric.format(n=number), self.own.format(n=number)
        total = f"{metric}{{{own}}}"
        bad = f"{metric}{{{own},{self.bad}}}"
        match self.kind:
            case "latency":
                return {
                    "latency": {
                        "histogram": f"{metric.removesuffix('_bucket')}{{{own}}}",
                        "threshold": "300ms",
                    }
                }
            case "promql":
                counts = {
                    "bad": f"sum(increase({bad}[$window]))",
                    "total": f"sum(increase({total}[$window]))",
                }
                return {"promql": counts}
            case "list":
                each = [f"{metric}{{{own},{one}}}" for one in self.bad.split(" or ")]
                return {"requests": {"total": total, "bad": each}}
            case "good":
                return {"requests": {"total": total, "good": bad}}
            case _:
                return {"requests": {"total": total, "bad": bad}}

    def history(self, number: int, *, start: int, end: int, random: np.random.Generator) -> Iterator[Written]:
        """What scrapes left of one service between two instants."""
        metric, own = self.metric.format(n=number), self.own.format(n=number)
        job = own if own.startswith("job=") else f'job="{self.metric.partition("_")[0]}"'
        for pod in range(PODS):
            for generation, (begin, stop) in enumerate(self._lives(pod, start=start, end=end)):
                first = begin + random.uniform(0, SCRAPE)
                times = np.arange(first, stop, SCRAPE) + random.uniform(0, 0.005)
                times = np.rint(times * 1000).astype(np.int64)
                place = SHAPES.index(self)
                target = f'{job},instance="10.{place}.{number}.{pod}:{8000 + generation}"'
                yield Written(f"up{{{target}}}", times, np.ones(len(times), np.int64))
                yield Written(
                    f"process_start_time_seconds{{{target}}}", times, np.full(len(times), begin - 2.5)
                )
                counters = np.cumsum(random.poisson(MEANS, (len(times), 4)), axis=0)
                if self.kind == "latency":
                    counters = np.cumsum(counters, axis=1)
                label, values = self.values
                labels = target if own == job else f"{target},{own}"
                for column, value in enumerate(values):
                    yield Written(f'{metric}{{{labels},{label}="{value}"}}', times, counters[:, column])

    def _lives(self, pod: int, *, start: int, end: int) -> list[tuple[int, int]]:
        if not self.churn:
            return [(start, end)]
        borders = [start, *range(start + 1800 * (pod + 1), end, 3_600), end]
        return list(pairwise(borders))


SHAPES = (
    Shape("shared", "http_requests_total", 'job="shop-{n}"', HTTP, 'code=~"5.."'),
    Shape("list", "http_requests_total", 'job="cart-{n}"', HTTP, 'code="500" or code="503"'),
    Shape("shared", "http_server_requests_seconds_count", 'service="api-{n}"', STATUS, 'status=~"5.."'),
    Shape(
        "shared",
        "grpc_server_handled_total",
        'grpc_service="users.v{n}"',
        GRPC,
        'grpc_code=~"Unavailable|Internal"',
    ),
    Shape("shared", "traefik_service_requests_total", 'service="web-{n}@docker"', HTTP, 'code=~"5.."'),
    Shape(
        "good", "nginx_ingress_controller_requests", 'ingress="site-{n}"', STATUS, 'status!~"5.."', churn=True
    ),
    Shape("shared", "istio_requests_total", 'destination_service="svc-{n}"', HTTP, 'code=~"5.."', churn=True),
    Shape("shared", "caddy_http_responses_total", 'handler="proxy-{n}"', HTTP, 'code=~"5.."', churn=True),
    Shape("good", "envoy_cluster_upstream_rq", 'cluster="up-{n}"', HTTP, 'code!~"5.."'),
    Shape("own", "service_{n}_requests_total", 'job="service-{n}"', HTTP, 'code=~"5.."'),
    Shape("own", "queue_{n}_messages_total", 'job="queue-{n}"', RESULT, 'result="error"'),
    Shape("promql", "jobs_processed_total", 'job="batch-{n}"', RESULT, 'result="error"', churn=True),
    Shape("promql", "mails_sent_total", 'job="mail-{n}"', RESULT, 'result=~"error|retried"'),
    Shape("promql", "payments_total", 'job="pay-{n}"', RESULT, 'result="error"'),
    Shape("promql", "imports_total", 'job="import-{n}"', RESULT, 'result="error"'),
    Shape("promql", "lookups_total", 'job="dns-{n}"', RESULT, 'result="error"'),
    Shape("latency", "http_request_duration_seconds_bucket", 'job="front-{n}"', BUCKETS),
    Shape("latency", "grpc_server_handling_seconds_bucket", 'grpc_service="search.v{n}"', BUCKETS),
    Shape("latency", "db_query_duration_seconds_bucket", 'database="db-{n}"', BUCKETS),
    Shape("latency", "render_seconds_bucket", 'job="pages-{n}"', BUCKETS),
)


def pairs(count: int) -> list[tuple[Shape, int]]:
    """`count` services, in turn of every shape, each with its number."""
    return [(SHAPES[index % len(SHAPES)], index // len(SHAPES)) for index in range(count)]


def write_slos(count: int, path: Path) -> None:
    """An SLO file with `count` SLOs."""
    slos = [
        {
            "name": f"slo-{SHAPES.index(shape)}-{number}",
            "target": "99.9%",
            "window": "30d",
            "sli": shape.sli(number),
        }
        for shape, number in pairs(count)
    ]
    path.write_text(yaml.dump({"slos": slos}, Dumper=yaml.CSafeDumper))


def write_history(count: int, out: TextIO, *, start: int, end: int, skip: int = 0) -> int:
    """The history of `count` services as OpenMetrics, without the end mark; returns the number of samples."""
    random = np.random.default_rng(20)
    samples = 0
    for shape, number in pairs(count)[skip:]:
        for one in shape.history(number, start=start, end=end, random=random):
            one.write(out)
            samples += len(one.times)
    return samples
