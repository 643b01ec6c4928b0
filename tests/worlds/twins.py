"""Services that show every request in classic buckets and in a native histogram, written to a real Prometheus.

The same traffic in both forms, scrape by scrape, with restarts, births, gaps and merged buckets; a service that
gives up its classic buckets on the way. Traffic comes from dice; what the scrapes could see of it is the truth.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.worlds.exposition import Histogram, written_histogram, written_sample

if TYPE_CHECKING:
    from collections.abc import Callable

SCRAPE = 15  # seconds
BEGIN = 1_790_000_070  # the first tick's start
BASE = "took_seconds"
BOUNDS = (0.1, 0.25, 0.3, 0.5, 1.0, 2.5)
STALE = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]  # Prometheus: value.StaleNaN
START = "process_start_time_seconds"

Key = tuple[tuple[str, str], ...]


@dataclass
class Service:
    """One target: its process, what it counts by handler, and in which forms it shows that."""

    job: str
    instance: str = "a:1"
    started: float = BEGIN - 5_000
    schema: int = 3
    classic: bool = True
    native: bool = True
    handlers: list[str] = field(default_factory=lambda: ["/"])
    histograms: dict[str, Histogram] = field(default_factory=dict)
    up: bool = True

    def serve(self, dice: random.Random) -> None:
        """Some requests on each handler."""
        for handler in self.handlers:
            one = self.histograms.setdefault(handler, Histogram(schema=self.schema, bounds=BOUNDS))
            for _ in range(dice.randrange(12)):
                one.observe(
                    dice.choice((0.02, 0.2, 0.25, 0.26, 0.3, 0.7, 1.0, 1.5, 7.0)), dice.randrange(1, 4)
                )

    def crash(self, at: float) -> None:
        """A new process at the same address."""
        self.started = at
        self.histograms = {}

    def series(self) -> dict[Key, float | Histogram]:
        """What a scrape of it shows."""
        target = {"job": self.job, "instance": self.instance}
        found: dict[Key, float | Histogram] = {_key("up", target): float(self.up)}
        if not self.up:
            return found
        found[_key(START, target)] = self.started
        for handler, one in self.histograms.items():
            labels = {**target, "handler": handler}
            if self.native:
                found[_key(BASE, labels)] = one
            below = 0
            for bound in BOUNDS if self.classic else ():
                below += one.classic[bound]
                found[_key(f"{BASE}_bucket", {**labels, "le": str(bound)})] = float(below)
            if self.classic:
                found[_key(f"{BASE}_bucket", {**labels, "le": "+Inf"})] = float(one.count)
        return found


@dataclass
class World:
    """All services over some scrapes; `parts` are remote-write requests' series in the order of time."""

    scrapes: int
    seed: int = 1
    services: list[Service] = field(default_factory=list)
    todo: dict[int, list[Callable[[], None]]] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    _shown: set[Key] = field(default_factory=set)
    _native: set[Key] = field(default_factory=set)

    def at(self, scrape: int, what: Callable[[], None]) -> None:
        """Do something just before a scrape."""
        self.todo.setdefault(scrape, []).append(what)

    def run(self) -> list[bytes]:
        """All of it as parts of remote-write requests."""
        dice = random.Random(self.seed)
        for number in range(self.scrapes):
            for what in self.todo.get(number, ()):
                what()
            now = time_of(number)
            shown: dict[Key, float | Histogram] = {}
            for service in self.services:
                if service.up:
                    service.serve(dice)
                shown |= service.series()
            for key, value in shown.items():
                if isinstance(value, Histogram):
                    self._native.add(key)
                    self.parts.append(written_histogram(dict(key), now, value))
                else:
                    self.parts.append(written_sample(dict(key), now, value))
            for key in self._shown - shown.keys():
                gone = Histogram(total=STALE)
                native = key in self._native
                part = (
                    written_histogram(dict(key), now, gone)
                    if native
                    else written_sample(dict(key), now, STALE)
                )
                self.parts.append(part)
            self._shown = set(shown)
        return self.parts


def time_of(scrape: int) -> int:
    """When a scrape is (ms)."""
    return (BEGIN - 600 + scrape * SCRAPE) * 1_000 + 4_321


def _key(name: str, labels: dict[str, str]) -> Key:
    return tuple(sorted({"__name__": name, **labels}.items()))


def world(ticks: int) -> World:
    """Every scenario, each in a job of its own, for so many ticks of a minute after ten minutes before."""
    made = World(scrapes=40 + 4 * ticks)
    one = {
        job: Service(job)
        for job in ("steady", "restarts", "silent restarts", "births", "gaps", "merges", "rolling", "idle")
    }
    made.services += one.values()
    for number in range(55, made.scrapes, 23):
        made.at(number, lambda n=number: one["restarts"].crash(time_of(n) / 1_000 - 7))
    made.at(61, lambda: one["births"].handlers.append("/new"))
    made.at(74, lambda: one["births"].handlers.append("/newer"))
    for begin, end in ((50, 53), (66, 90)):
        made.at(begin, lambda: setattr(one["gaps"], "up", False))
        made.at(end, lambda: setattr(one["gaps"], "up", True))
    made.at(83, lambda: one["gaps"].crash(time_of(83) / 1_000))
    for number in (58, 79, 91):
        made.at(number, lambda: [each.coarser() for each in one["merges"].histograms.values()])
    made.at(85, lambda: one["merges"].crash(time_of(85) / 1_000 - 3))

    def replace(number: int) -> None:
        made.services[:] = [
            each for each in made.services if each.job != "pods" or each.instance != f"p:{number - 1}"
        ]
        made.services.append(Service("pods", f"p:{number}", started=time_of(40 + number * 13) / 1_000 - 9))

    for number in range(-3, (made.scrapes - 40) // 13):
        made.at(40 + number * 13, lambda n=number: replace(n))

    one["idle"].handlers.clear()
    one["idle"].histograms["/"] = Histogram(schema=3, bounds=BOUNDS)
    made.at(70, lambda: one["idle"].handlers.append("/"))
    made.at(62, lambda: setattr(one["rolling"], "classic", False))
    one["silent restarts"].started = 0.0
    made.at(77, one["silent restarts"].histograms.clear)
    return made
