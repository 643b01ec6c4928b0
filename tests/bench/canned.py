"""A Prometheus without a server: what it would send of the fleet of tests/bench/fleet.py, made before it is asked.

    python -m tests.bench.canned PORT SLOS START

And as a server of its own, where a daemon is to be a process: what it sends is made when it is asked.
"""

from __future__ import annotations

import gzip
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import httpx
import numpy as np

from slo_budget_tracker import transport
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.transport import Reply
from tests.bench import fleet
from tests.unit.tsdb import RAW, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from slo_budget_tracker.selectors import Selector
    from slo_budget_tracker.settings import Datasource

SCRAPE = 30
KEPT = 12  # scrapes
SERIES = 6  # of each pod
BUILD = b'{"status":"success","data":{"version":"2.42.0","goVersion":"go1.19"}}'
NOTHING = b'{"status":"success","data":{"resultType":"vector","result":[]}}'


class Fleet:
    """The series of a fleet of pods that live on, and their last scrapes."""

    kept = KEPT

    def __init__(self, count: int, *, start: int) -> None:
        self.random = np.random.default_rng(5)
        pods = [(service, pod) for service in fleet.services(count) for pod in range(fleet.PODS)]
        labels = [one for service, pod in pods for one in _series(service, pod)]
        self.heads = [head(one) for one in labels]
        self.labels = labels
        self.by_name: dict[str, list[int]] = {}
        for place, one in enumerate(labels):
            self.by_name.setdefault(one["__name__"], []).append(place)
        self.sums = np.array([at for at, one in enumerate(labels) if one.get("le") == "+Inf"], np.int64)
        counters, buckets = (20.0, 0.02, 1.0, 0.01, 2.0, 0.1), (20.0, 0.05, 0, 0, 0, 0)
        self.rates = np.array([buckets if service.latency else counters for service, _ in pods]).ravel()
        self.offsets = np.repeat(self.random.integers(0, SCRAPE * 1000, len(pods)), SERIES)  # ms
        self.now: NDArray[np.int64] = self.random.integers(10_000, 10_000_000, len(labels))
        self.scrapes: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self.next = start - self.kept * SCRAPE
        self.chosen: dict[str, list[int]] = {}

    def scrape_until(self, at: int) -> None:
        """All scrapes up to an instant, and a little further."""
        while self.next < at + SCRAPE:
            self.next += SCRAPE
            grown = self.random.poisson(self.rates)
            grown[self.sums] += grown[self.sums - 1]  # the bound stands before it
            self.now = self.now + grown
            self.scrapes = [*self.scrapes[-self.kept :], (self.next * 1000 - self.offsets, self.now)]

    def answer(self, expression: str, at: int) -> bytes:
        """What Prometheus sends; of anything but raw samples that there is nothing."""
        raw = RAW.match(expression)
        if raw is None:
            return NOTHING
        if expression not in self.chosen:
            self.chosen[expression] = self._chosen(parse(expression.rpartition("[")[0]))
        places = self.chosen[expression]
        index, until = np.array(places, np.int64), at * 1000
        columns = []
        for times, values in self.scrapes:
            inside = (times[index] > until - int(raw["seconds"]) * 1000) & (times[index] <= until)
            columns.append((times[index].tolist(), values[index].tolist(), inside.tolist()))
        texts = []
        for row, place in enumerate(places):
            samples = [
                f'[{times[row] / 1000},"{values[row]}"]' for times, values, inside in columns if inside[row]
            ]
            if samples:
                texts.append(f"{self.heads[place]}{','.join(samples)}]}}")
        return (
            f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(texts)}]}}}}'.encode()
        )

    def _chosen(self, selector: Selector) -> list[int]:
        of_name = [one for one in selector.matchers if one.label == "__name__"]
        return [
            place
            for name, some in self.by_name.items()
            if selector.metric in ("", name) and all(one.matches({"__name__": name}) for one in of_name)
            for place in some
            if all(one.matches(self.labels[place]) for one in selector.matchers)
        ]


def _series(service: fleet.Service, pod: int) -> list[dict[str, str]]:
    label, value = service.own
    name = f"{service.metric}_bucket" if service.latency else service.metric
    target = {"job": f"app-{service.number}", "instance": f"10.{service.number}.{pod}:8000"}
    told, values = ("le", fleet.BOUNDS) if service.latency else ("code", fleet.CODES)
    return [{"__name__": name, **target, label: value, told: one} for one in values[:SERIES]]


def head(labels: Mapping[str, str]) -> str:
    """All of a series in an answer that is before its samples."""
    inside = ",".join(f'"{name}":"{value}"' for name, value in sorted(labels.items()))
    return f'{{"metric":{{{inside}}},"values":['


class Canned(Prometheus):
    """A datasource that answers from a fleet, at once."""

    def __init__(self, datasource: Datasource, world: Fleet) -> None:
        super().__init__(datasource)
        self.world = world
        self._bodies: dict[tuple[str, int], bytes] = {}
        self._asked: set[str] = set()

    def expect(self, at: int) -> None:
        """Make the answers about an instant to all that was asked so far about another one."""
        self._bodies.clear()
        for expression in self._asked:
            self._pack(expression, at)

    def _reply(self, path: str, form: Mapping[str, str], ends: float, *, method: str | None = None) -> Reply:
        if not form:
            return Reply(200, {}, BUILD)
        expression, at = form["query"], int(form["time"])
        if expression.endswith("[60s]"):
            self._asked.add(expression)
        packed = self._bodies.get((expression, at)) or self._pack(expression, at)
        headers = httpx.Headers({"Content-Encoding": "gzip"})
        return Reply(200, headers, transport._decompressed(_chunks(packed), headers, 1 << 30))

    def _pack(self, expression: str, at: int) -> bytes:
        packed = self._bodies[expression, at] = gzip.compress(self.world.answer(expression, at), 1)
        return packed


def _chunks(body: bytes) -> Iterator[bytes]:
    return (body[first : first + 65_536] for first in range(0, len(body), 65_536))


def serve(port: int, world: Fleet) -> None:
    """Answer over HTTP until the process is stopped."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(BUILD)

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            at = int(float(form["time"][0])) if "time" in form else 0
            with lock:
                world.scrape_until(at)
                body = world.answer(form["query"][0], at)
            self._send(body)

        def _send(self, body: bytes) -> None:
            packed = gzip.compress(body, 1)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Who asked has gone."""

    Server(("127.0.0.1", port), Handler).serve_forever()


def main() -> None:
    """Serve a fleet."""
    port, count, start = map(int, sys.argv[1:4])
    serve(port, Fleet(count, start=start))


if __name__ == "__main__":
    main()
