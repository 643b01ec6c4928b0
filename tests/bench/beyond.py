"""From ten thousand SLOs to a million: a cost model fitted to the bench's points, and a simulation of the shards.

    python -m tests.bench.beyond [POINTS] [--slos 1000000] [--interval 60] [--cores 0.5]

POINTS is what `python -m tests.bench scale --json` printed (tests/bench/points.json has those of the README's
machine). Each cost is fitted as a + b * SLOs; the shards are then filled by the daemon's own hash, and ten
minutes of their ticks are played against query engines of several sizes: each shard asks as the daemon does (so many at
once, spread, at aligned instants), each engine answers as many at once as it has cores, first come first served.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.shards import owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POINTS = Path(__file__).with_name("points.json")
COSTS = {  # of one daemon, by what the bench calls them
    "daemon_cpu": "CPU of the daemon per tick, s",
    "prometheus_cpu": "CPU of the query engine per tick, s",
    "requests": "requests per tick",
    "samples": "samples read per tick",
    "rss": "memory, bytes",
    "ledger_bytes": "ledger of 30 days, bytes",
}
SAMPLE = 10_000  # names whose owners are looked up
LANES = 4  # requests a shard has under way at once


@dataclass(frozen=True)
class Line:
    """A cost as a + b * SLOs, and how far the worst point lies from it, as a share."""

    fixed: float
    each: float
    worst: float

    def at(self, slos: float) -> float:
        """The cost of so many SLOs."""
        return self.fixed + self.each * slos


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line with the least squares of relative errors, neither part below 0."""
    counts = np.array([slos for slos, _ in points], float)
    costs = np.array([max(cost, 1e-9) for _, cost in points])
    design = np.stack([np.ones_like(counts), counts], axis=1) / costs[:, None]
    fixed, each = np.linalg.lstsq(design, np.ones_like(costs), rcond=None)[0]
    if fixed < 0 or each < 0:  # the best line through one corner
        ratios = design[:, 1] if fixed < 0 else design[:, 0]
        best = float(ratios.sum() / (ratios**2).sum())
        fixed, each = (0.0, best) if fixed < 0 else (best, 0.0)
    worst = float(np.abs((fixed + each * counts) / costs - 1).max())
    return Line(float(fixed), float(each), worst)


def fitted(points: Sequence[Mapping[str, float]]) -> dict[str, Line]:
    """The line of each cost."""
    return {cost: fit([(one["slos"], one[cost]) for one in points]) for cost in COSTS}


def shards_for(slos: int, lines: Mapping[str, Line], *, interval: int, cores: float, memory: float) -> int:
    """The least number of shards whose fullest one keeps within its share of the processors and the memory."""
    of = 1
    while True:
        fullest = slos / of * fullness(of)
        fits = lines["daemon_cpu"].at(fullest) <= cores * interval and lines["rss"].at(fullest) <= memory
        if fits or of >= slos:
            return of
        of += max(1, of // 20)


def fullness(of: int) -> float:
    """How much more than its share the fullest shard of a large catalogue has: the spread of a fair hash."""
    return 1.0 if of == 1 else 1.0 + 4.0 * math.sqrt(of / 1_000_000)


def shares(of: int, names: int = SAMPLE) -> Counter[int]:
    """How many of so many SLOs each shard has, by the daemon's own hash."""
    return Counter(owner(f"service-{number}-availability", of=of) for number in range(names))


def moved(of: int, names: int = 2_000) -> float:
    """The share of all SLOs that moves when a shard is added."""
    found = [f"service-{number}-availability" for number in range(names)]
    return sum(owner(name, of=of) != owner(name, of=of + 1) for name in found) / names


@dataclass(frozen=True)
class Played:
    """What the ticks came to, seconds."""

    median: float
    longest: float
    busy: float  # share of the engine's cores


def play(
    sizes: Sequence[int],
    lines: Mapping[str, Line],
    *,
    cores: int,
    interval: int,
    ticks: int = 60,
    seed: int = 1,
) -> Played:
    """Ticks of all shards against one engine that answers `cores` requests at a time.

    All shards wake at the same aligned instant, each starts its requests spread over a twelfth of the interval
    and has at most LANES under way; service times are exponential around the measured CPU per request.
    """
    random = np.random.default_rng(seed)
    durations, busy = [], 0.0
    free = [0.0] * cores  # when each core is free again
    plans = []
    for size in sizes:
        many = max(1, round(lines["requests"].at(size)))
        gap = interval / 12 / many if many > LANES else 0.0
        plans.append((many, gap, lines["prometheus_cpu"].at(size) / many))
    for tick in range(ticks):
        begun = float(tick * interval)
        asked = [
            (begun + gap * n, shard, n)
            for shard, (many, gap, _) in enumerate(plans)
            for n in range(min(many, LANES))
        ]
        heapq.heapify(asked)
        last = [begun] * len(sizes)
        while asked:
            instant, shard, number = heapq.heappop(asked)
            many, gap, mean = plans[shard]
            took = float(random.exponential(mean))
            end = max(instant, heapq.heappop(free)) + took
            busy += took
            heapq.heappush(free, end)
            last[shard] = max(last[shard], end)
            if number + LANES < many:  # the lane is free for the next of them
                heapq.heappush(asked, (max(begun + gap * (number + LANES), end), shard, number + LANES))
        durations += [one - begun for one in last]
    return Played(float(np.median(durations)), float(np.max(durations)), busy / (cores * interval * ticks))


def report(
    points: Sequence[Mapping[str, float]], *, slos: int, interval: int, cores: float, memory: float
) -> str:
    """The model and the plan, as Markdown."""
    lines = fitted(points)
    counts = ", ".join(f"{int(one['slos']):,}" for one in points)
    said = [f"Fitted to {counts} SLOs:", "", "| cost of one daemon | fixed | per SLO | worst point off by |"]
    said += ["|---|--:|--:|--:|"]
    said += [
        f"| {COSTS[cost]} | {line.fixed:,.3g} | {line.each:,.3g} | {100 * line.worst:.0f} % |"
        for cost, line in lines.items()
    ]
    head = "| SLOs | shards | SLOs of the fullest | its CPU | its memory | requests per s | samples per s |"
    said += ["", head + " ledgers | moved by one shard more |", "|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    plans = [
        (many, shards_for(many, lines, interval=interval, cores=cores, memory=memory))
        for many in _steps(slos)
    ]
    for many, of in plans:
        sample = shares(of)
        fullest = max(sample.values()) / SAMPLE * many if of > 1 else many
        each = many / of
        said.append(
            f"| {many:,} | {of} | {fullest:,.0f} | {100 * lines['daemon_cpu'].at(fullest) / interval:.0f} % of a core "
            f"| {lines['rss'].at(fullest) / 1e6:,.0f} MB | {of * lines['requests'].at(each) / interval:,.0f} "
            f"| {of * lines['samples'].at(each) / interval:,.0f} | {of * lines['ledger_bytes'].at(each) / 1e9:,.1f} GB "
            f"| {100 * moved(of):.1f} % |"
        )
    many, of = plans[-1]
    sizes = [round(share / SAMPLE * many) for share in shares(of).values()]
    need = of * lines["prometheus_cpu"].at(many / of) / interval
    said += [
        "",
        f"Ten minutes of ticks of {of} shards with {many:,} SLOs, by the cores of the query engine:",
        "",
    ]
    said += ["| cores | busy | a tick takes, median | the longest |", "|--:|--:|--:|--:|"]
    for engine in sorted({max(1, math.ceil(need * factor)) for factor in (1.1, 1.5, 2, 4)}):
        played = play(sizes, lines, cores=engine, interval=interval)
        said.append(
            f"| {engine} | {100 * played.busy:.0f} % | {played.median:.1f} s | {played.longest:.1f} s |"
        )
    return "\n".join(said)


def _steps(slos: int) -> list[int]:
    found = [10_000]
    while found[-1] * 10 <= slos:
        found.append(found[-1] * 10)
    return found if found[-1] == slos else [*found, slos]


def main() -> None:
    """Fit, plan, simulate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=Path, nargs="?", default=POINTS)
    parser.add_argument("--slos", type=int, default=1_000_000)
    parser.add_argument("--interval", type=int, default=60, help="seconds")
    parser.add_argument("--cores", type=float, default=0.5, help="of one core, what a shard may use")
    parser.add_argument("--memory", type=float, default=2e9, help="bytes that a shard may use")
    asked = parser.parse_args()
    points = json.loads(asked.points.read_text())
    print(report(points, slos=asked.slos, interval=asked.interval, cores=asked.cores, memory=asked.memory))


if __name__ == "__main__":
    main()
