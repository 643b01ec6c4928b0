"""Targets under test control: threads of this process answer every scrape, and note what they answered.

The truth is what a scraper could see. Every page has a number, so that the server tells which pages it stored, when,
and under which name: a scrape that was cut short showed nothing, however much was sent.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

METRIC = "http_requests_total"
PAGE = "page_number"

Key = tuple[tuple[str, str], ...]
Stored = Mapping[int, tuple[float, str]]  # by page number: when it was scraped, and as which instance


@dataclass(eq=False)
class Process:
    """A process that counts: its counters, the label sets it hides, and what scrapers were shown."""

    job: str
    start: float
    good: float = 20.0  # events per second
    bad: float = 0.5
    tells_start: bool = True
    old: bool = False  # counted much before anybody could see it
    counters: dict[Key, int] = field(default_factory=dict)
    hidden: set[Key] = field(default_factory=set)
    gentle: int | None = None  # a balancer lets so many events through before the first scrape (slow start)
    shown: dict[int, dict[Key, int]] = field(default_factory=dict)  # counters by page number

    def add(self, much: int, code: str = "200", **labels: str) -> None:
        """Count some events."""
        key = tuple(sorted({"code": code, **labels}.items()))
        self.counters[key] = self.counters.get(key, 0) + much

    @property
    def held_back(self) -> bool:
        """Whether no more events come before a scraper has asked."""
        return self.gentle is not None and not self.shown and sum(self.counters.values()) >= self.gentle

    def page(self, number: int) -> bytes:
        """What a scrape is answered."""
        shown = {key: value for key, value in self.counters.items() if key not in self.hidden}
        self.shown[number] = shown
        lines = [f"# TYPE {PAGE} gauge", f"{PAGE} {number}", f"# TYPE {METRIC} counter"]
        lines += [
            f"{METRIC}{{{','.join(f'{name}={json.dumps(text)}' for name, text in key)}}} {value}"
            for key, value in shown.items()
        ]
        if self.tells_start:
            lines += [
                "# TYPE process_start_time_seconds gauge",
                f"process_start_time_seconds {self.start:.2f}",
            ]
        return ("\n".join(lines) + "\n").encode()

    def seen(self, begin: float, end: float, stored: Stored) -> tuple[int, int]:
        """(total, bad) that the scrapes in (begin, end] showed: growth from page to page.

        Another instance is another target to every scraper: what was counted between the last page under the old
        name and the first under the new one belongs to neither.
        """
        total = bad = 0
        last: dict[Key, int] = {}
        name = None
        for number in sorted(stored.keys() & self.shown.keys()):
            (at, instance), shown = stored[number], self.shown[number]
            if instance != name:
                last = dict(shown) if name is not None or self.old else {}
                name = instance
            growth = {key: value - last.get(key, 0) for key, value in shown.items()}
            last.update(shown)
            if begin < at <= end:
                total += sum(growth.values())
                bad += sum(much for key, much in growth.items() if dict(key)["code"].startswith("5"))
        return total, bad


@dataclass(eq=False)
class Target:
    """What service discovery says: where to scrape and under which labels."""

    path: str
    labels: dict[str, str]
    process: Process | None = None
    slow: float = 0.0  # share of scrapes that take too long
    down: bool = False
    asked: bool = False  # a scraper knows it


class QuietServer(ThreadingHTTPServer):
    """A server whose clients may go away at any time."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_args) -> None:
        """Nothing: a scraper that was killed resets its connections."""


class Exporter:
    """Answers for all targets on one loopback port and keeps the discovery file."""

    def __init__(self, folder: Path, *, seed: int = 1) -> None:
        self.discovery = folder / "targets.json"
        self.dice = random.Random(seed)
        self.lock = threading.Lock()
        self.targets: dict[str, Target] = {}
        self.processes: list[Process] = []
        self.port = free_port()
        self._count = self._pages = 0
        self._server = QuietServer(("127.0.0.1", self.port), self._handler())

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def process(self, job: str, **options) -> Process:
        """A new process."""
        made = Process(job, options.pop("start", time.time()), **options)
        self.processes.append(made)
        return made

    def target(self, process: Process, *, instance: str | None = None, **labels: str) -> Target:
        """A new target that shows a process."""
        self._count += 1
        name = instance or f"{process.job}-{self._count}"
        made = Target(f"/t{self._count}", {"job": process.job, "instance": name, **labels}, process)
        self.targets[made.path] = made
        return made

    def publish(self) -> None:
        """Write the discovery file."""
        groups = [
            {"targets": [f"127.0.0.1:{self.port}"], "labels": {"__metrics_path__": one.path, **one.labels}}
            for one in self.targets.values()
        ]
        draft = self.discovery.with_suffix(".new")
        draft.write_text(json.dumps(groups))
        draft.replace(self.discovery)

    def remove(self, target: Target) -> None:
        """Take a target out of the discovery."""
        self.targets.pop(target.path, None)
        self.publish()

    def _answer(self, path: str) -> tuple[bytes | None, float]:
        """A page (None: out of order), and how long it takes."""
        with self.lock:
            target = self.targets.get(path)
            if target is not None:
                target.asked = True
            if target is None or target.down or target.process is None:
                return None, 0.0
            self._pages += 1
            slow = self.dice.random() < target.slow
            return target.process.page(self._pages), 1.5 if slow else 0.0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                page, seconds = exporter._answer(self.path)
                time.sleep(seconds)
                try:
                    self.send_response(200 if page is not None else 503)
                    self.send_header("Content-Type", "text/plain; version=0.0.4")
                    self.send_header("Content-Length", str(len(page or b"")))
                    self.end_headers()
                    self.wfile.write(page or b"")
                except OSError:
                    self.close_connection = True

            def log_message(self, *_args) -> None:
                """Nothing: every page is kept by its process."""

        return Handler
