"""Memory over days of pods that come and go: one process, a clock of the bench's own and no server.

    python -m tests.bench churn [500] [--hours 30] [--share 0.1]

The daemon's own cycle ticks over the fleet of tests/bench/canned.py (12 series per SLO), of whose pods a share is
replaced each hour. A series that is gone is remembered for a day, so memory may grow for a day; then it has to stay.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import structlog

from slo_budget_tracker import garbage, regexes, specfiles
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.density import density_of
from slo_budget_tracker.inflight import AT_ONCE
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.settings import load_settings
from tests.bench.canned import NOTHING, SCRAPE, SERIES, Canned, Fleet, head
from tests.bench.cases import Case, write_config
from tests.bench.fleet import PODS
from tests.bench.processes import memory
from tests.bench.stepping import Stepped
from tests.unit.tsdb import RAW, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slo_budget_tracker.selectors import Selector

HOUR, TICK = 3_600, 60
KEPT = 40  # scrapes: what is read again later is still there
OF_TARGETS = ("up", "process_start_time_seconds")


class Churning(Fleet):
    """A fleet of whose pods a share is replaced each hour, one after the other, by pods of other addresses."""

    kept = KEPT

    def __init__(self, count: int, *, start: int, share: float) -> None:
        super().__init__(count, start=start)
        self.share, self.owed, self.replaced = share, 0.0, 0
        self.turns = self.random.permutation(len(self.labels) // SERIES)
        self.born = np.zeros(len(self.labels), np.int64)  # ms
        self.former: list[str | None] = [None] * len(self.labels)  # heads of the series before
        self.started = [(start - 86_400) * 1000] * len(self.turns)  # ms, by pod

    def scrape_until(self, at: int) -> None:
        """Some pods are others by the next scrape."""
        while self.next < at + SCRAPE:
            self.owed += self.share * len(self.turns) * SCRAPE / HOUR
            while self.owed >= 1:
                self.owed -= 1
                self._replace(int(self.turns[self.replaced % len(self.turns)]))
            super().scrape_until(self.next)

    def _replace(self, pod: int) -> None:
        self.replaced += 1
        places = range(pod * SERIES, (pod + 1) * SERIES)
        host = self.labels[places[0]]["instance"].rpartition(":")[0]
        self.started[pod] = (self.next + 3) * 1000 - int(self.offsets[places[0]])
        for place in places:
            self.former[place] = self.heads[place]
            self.labels[place] = {**self.labels[place], "instance": f"{host}:{8_000 + self.replaced}"}
            self.heads[place] = head(self.labels[place])
            self.born[place] = (self.next + SCRAPE) * 1000 - self.offsets[place]
            self.now[place] = 0

    def answer(self, expression: str, at: int) -> bytes:
        """What Prometheus sends: raw samples, also of the pods before, and what is asked about new targets."""
        raw = RAW.match(expression)
        if raw is None:
            return NOTHING  # of these targets nobody knows anything older
        selector, until = parse(expression.rpartition("[")[0]), at * 1000
        after = until - int(raw["seconds"]) * 1000
        if selector.metric in OF_TARGETS:
            return matrix(self._of_targets(selector, after, until))
        if "instance" in expression:  # asked once, and pods move
            places = self._chosen(selector)
        else:
            places = self.chosen[expression] = self.chosen.get(expression) or self._chosen(selector)
        index = np.array(places, np.int64)
        shown = []
        for times, values in self.scrapes:
            inside = (times[index] > after) & (times[index] <= until)
            if inside.any():
                shown.append((times[index].tolist(), values[index].tolist(), inside.tolist()))
        return matrix(text for row, place in enumerate(places) for text in self._texts(place, row, shown))

    def _texts(self, place: int, row: int, shown: list[tuple[list[int], ...]]) -> Iterator[str]:
        """The series of a place: that of the pod before, and that of the one that is there now."""
        born = self.born[place]
        samples = [(times[row], values[row]) for times, values, inside in shown if inside[row]]
        for labels, some in (
            (self.former[place], [one for one in samples if one[0] < born]),
            (self.heads[place], [one for one in samples if one[0] >= born]),
        ):
            if some:
                yield f"{labels}{','.join(sample(*one) for one in some)}]}}"

    def _of_targets(self, selector: Selector, after: int, until: int) -> Iterator[str]:
        """`up` and the start of the process, of the pods that are there now."""
        for pod, started in enumerate(self.started):
            place = pod * SERIES
            target = {name: self.labels[place][name] for name in ("job", "instance")}
            if selector.matches(target):
                value = 1 if selector.metric == "up" else started / 1000
                first = self.born[place]
                instants = [times[place] for times, _ in self.scrapes]
                some = [sample(one, value) for one in instants if max(first, after + 1) <= one <= until]
                if some:
                    yield f"{head({'__name__': selector.metric, **target})}{','.join(some)}]}}"


def sample(time: int, value: float) -> str:
    """One sample as it is sent."""
    return f'[{time / 1000},"{value}"]'


def matrix(series: Iterable[str]) -> bytes:
    """An answer of raw samples."""
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(series)}]}}}}'.encode()


class Hour(NamedTuple):
    """How it was after so many hours."""

    number: int
    resident: int  # bytes
    remembered: int | None  # series
    replaced: int  # pods, so far
    doubts: int  # so far
    seconds: float  # of CPU, of the daemon's part of all ticks of the hour


def measure(count: int, folder: Path, *, hours: int, share: float, days: int = 30) -> Iterator[Hour]:
    """Each hour of a daemon whose ledger had the rows of 30 days."""
    start = int(time.time()) // HOUR * HOUR - 30
    config = write_config(Case(count, interval=TICK), folder, "http://127.0.0.1:1", 1)
    stepped = Stepped.open(config, at=start - TICK)
    stepped.age(days=days, share=0.0003)
    stepped.close()
    del stepped
    garbage.prepare()
    settings = load_settings(config, {})
    slos = specfiles.load(settings.slo_files).slos
    world, now, delay = Churning(count, start=start, share=share), [start + 30.0], settings.evaluation.delay
    sources = {name: Canned(one, world) for name, one in settings.datasources.items()}
    with Ledger.open(settings.ledger.url, density=density_of(slos, interval=TICK)) as opened:
        cycle = Cycle.begin(settings, slos, opened, sources=sources, clock=lambda: now[0])
        cycle.on_tick = garbage.Sweep().after_tick
        cycle.evaluator._attempts._flights.spread = AT_ONCE
        garbage.settle()
        seconds = 0.0
        for number in range(hours * HOUR // TICK + 1):
            at = start + 30 - delay + TICK * number
            now[0] = at + delay + 1.0
            world.scrape_until(at)
            for source in sources.values():
                source.expect(at)
            began = time.process_time()
            cycle.tick()
            cycle.publisher.display.view.text.content()  # as Prometheus asks for it after each tick
            seconds += time.process_time() - began
            regexes.translate.cache_clear()  # of targets, which the stand-in alone has to understand
            regexes.compiled.cache_clear()
            if number % (HOUR // TICK) == 0:
                own = cycle.publisher.own
                yield Hour(
                    number * TICK // HOUR, memory(os.getpid())[0], own.series_remembered,
                    world.replaced, sum(own.doubts.values()), seconds,
                )  # fmt: skip
                seconds = 0.0


def main() -> None:
    """Measure and print, hour by hour."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=500)
    parser.add_argument("--hours", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.1, help="of the pods, replaced in an hour")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(
        f"{given.slos:,} SLOs, {given.slos * PODS * SERIES:,} series, {given.share:.0%} of the pods replaced an hour\n"
    )
    print(
        "| after | memory | remembered series | pods replaced | in doubt | CPU of the hour |\n|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for one in measure(given.slos, Path(folder), hours=given.hours, share=given.share):
            print(
                f"| {one.number} h | {one.resident / 1e6:.1f} MB | {one.remembered:,} | {one.replaced:,} "
                f"| {one.doubts:,} | {one.seconds:.1f} s |",
                flush=True,
            )
    print(f"\nload {os.getloadavg()[2]:.1f} over the last 15 minutes")


if __name__ == "__main__":
    main()
