"""Native and classic histograms of the same requests, scraped live over protobuf by a Prometheus with the feature on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler

import pytest

from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import read, units
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.settings import PrometheusSettings
from slo_budget_tracker.specs import SLO, LatencySli
from slo_budget_tracker.ticks import Tick
from tests.servers import free_port
from tests.worlds.exporter import QuietServer
from tests.worlds.exposition import CONTENT_TYPE, Histogram, gauge, histograms

pytestmark = [pytest.mark.prometheus, pytest.mark.long, pytest.mark.alone]

TICK, DELAY, SECONDS = 5, 3, 45
NATIVE, CLASSIC = "took_seconds", "took_classic_seconds"
BOUNDS = (0.25, 1.0)


class Shop:
    """A process that shows each request twice: in a native histogram, and in a classic one of another name."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.dice = random.Random(4)
        self.handlers = ["/"]
        self.crash()

    def crash(self) -> None:
        """A new process at the same address."""
        with self.lock:
            self.started = time.time()
            self.counted: dict[str, Histogram] = {}

    def serve(self) -> None:
        """Some requests."""
        with self.lock:
            one = self.counted.setdefault(self.dice.choice(self.handlers), Histogram(schema=3, bounds=BOUNDS))
            one.observe(self.dice.choice((0.1, 0.25, 0.3, 1.0, 4.0)))

    def page(self) -> bytes:
        """What a scrape is answered."""
        with self.lock:
            parts = [gauge("process_start_time_seconds", self.started)]
            for name, native in ((NATIVE, True), (CLASSIC, False)):
                shown = (
                    ({"handler": handler}, one.message(native=native))
                    for handler, one in self.counted.items()
                )
                parts.append(histograms(name, shown))
            return b"".join(parts)


@contextmanager
def scraped(shop):
    """The port on which a shop answers scrapes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            page = shop.page()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_args) -> None:
            """Nothing."""

    port = free_port()
    server = QuietServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield port
    server.shutdown()
    server.server_close()


def slo(name, form, threshold):
    """A latency SLO."""
    sli = LatencySli(histogram=parse_selector(name), threshold=Decimal(threshold), type=form)
    return SLO(name=f"{form}-{threshold.replace('.', '-')}", target=Decimal("0.9"), sli=sli)


SLOS = [
    slo(name, form, bound)
    for name, form in ((NATIVE, "native"), (CLASSIC, "classic"))
    for bound in ("0.25", "1")
]


def test_scraped_native_histograms_count_as_classic_ones(make_prometheus):
    """D6-D8: restarts and births while Prometheus scrapes each second: equal tick by tick, and nothing in doubt."""
    shop = Shop()
    with scraped(shop) as port:
        server = make_prometheus(
            scrape={"shop": [f"127.0.0.1:{port}"]}, flags=("--enable-feature=native-histograms",)
        )
        server.start()
        client = Prometheus(PrometheusSettings(url=server.url))
        begin = (int(time.time()) // TICK + 3) * TICK
        counts: dict[str, dict[int, tuple[float, float]]] = {}
        doubts: dict[str, Counter[str]] = {}
        memories: dict[str, dict] = {}
        deeds = {
            begin + 9: lambda: shop.handlers.append("/new"),
            begin + 17: shop.crash,
            begin + 29: shop.crash,
        }
        cursor = begin
        while cursor < begin + SECONDS:
            time.sleep(0.02)
            now = time.time()
            for at in [at for at in deeds if at <= now]:
                deeds.pop(at)()
            if now < begin + SECONDS - 3:
                shop.serve()
            if now < cursor + TICK + DELAY:
                continue
            ticks = [Tick(cursor, cursor + TICK)]
            for unit in units(plan(SLOS, replica_labels={})):
                reading = read(
                    unit, ticks, memories.get(unit.key, {}), lambda q: client.ask(q, budget_seconds=10)
                )
                memories[unit.key] = reading.memories
                for name, found in reading.counts.items():
                    one = found[cursor + TICK]
                    counts.setdefault(name, {})[cursor + TICK] = (one.total, one.bad)
                    doubts.setdefault(name, Counter()).update(reading.doubts)
            cursor += TICK
        client.close()
    print(counts, doubts)
    assert counts["native-0-25"] == counts["classic-0-25"]
    assert counts["native-1"] == counts["classic-1"]
    assert {name: Counter() for name in counts} == doubts
    assert sum(total for total, _ in counts["native-1"].values()) > 200
