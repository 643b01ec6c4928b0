"""From ten thousand SLOs to a million: a cost model fitted to the bench's points, and a simulation of the shards.

    python -m tests.bench beyond [POINTS] [--slos 1000000] [--interval 60] [--cores 0.5] [--memory 2e9] [--write]

POINTS is what `python -m tests.bench scale --json` printed (else tests/bench/points.json, which was made so). Each cost
is fitted as a + b * SLOs. Shards are then as many as it takes: in one plan so many that none has more SLOs than were
measured, in the other so many that the line, drawn further, keeps the limits. Ten minutes of the first plan's ticks are
played against query engines of several sizes: each shard asks as the daemon does (so many at once, spread, at aligned
instants), each engine answers as many at once as it has cores, first come first served. `--write` keeps POINTS and
puts what it prints into the documentation (src/slo_budget_tracker/docs/beyond.md, "The plan").
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slo_budget_tracker.shards import owner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POINTS = Path(__file__).with_name("points.json")
PAGE = Path(__file__).parents[2] / "src" / "slo_budget_tracker" / "docs" / "beyond.md"
HEADING = "## The plan"
COSTS = {  # of one daemon, by what the bench calls them
    "daemon_cpu": "CPU of the daemon per tick, s",
    "prometheus_cpu": "CPU of the query engine per tick, s",
    "requests": "requests per tick",
    "samples": "samples read per tick",
    "most_memory": "memory, the most of a whole run, bytes",
    "ledger_bytes": "ledger of 30 days, bytes",
}
KEPT = ("slos", "measured", "load", *COSTS)  # of a point
NAMES = 10_000  # whose owners are looked up
LANES = 4  # requests a shard has under way at once
SIGMAS = 4  # the fullest of some hundred shards has hardly ever more than so many standard deviations


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


def fitted(points: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """The line of each cost."""
    return {cost: fit([(one["slos"], one[cost]) for one in points]) for cost in COSTS}


@dataclass(frozen=True)
class Limits:
    """What a shard may have."""

    cores: float  # of the processors, on average
    memory: float  # bytes
    slos: float = math.inf

    def hold(self, slos: float, lines: Mapping[str, Line], interval: int) -> bool:
        """Whether a shard of so many SLOs keeps them."""
        cpu, memory = lines["daemon_cpu"].at(slos), lines["most_memory"].at(slos)
        return slos <= self.slos and cpu <= self.cores * interval and memory <= self.memory


def fullest(slos: int, of: int) -> float:
    """How many SLOs the fullest of so many shards has at most, by a fair hash."""
    each = slos / of
    return each if of == 1 else each + SIGMAS * math.sqrt(each * (1 - 1 / of))


def shards_for(slos: int, lines: Mapping[str, Line], limits: Limits, *, interval: int) -> int:
    """The least number of shards whose fullest one keeps the limits."""
    return next(
        (of for of in range(1, slos) if limits.hold(fullest(slos, of), lines, interval)),
        slos,
    )


def shares(of: int, names: int = NAMES) -> Counter[int]:
    """How many of so many SLOs each shard has, by the daemon's own hash."""
    return Counter(owner(f"service-{number}-availability", of=of) for number in range(names))


def moved(of: int, names: int = 2_000) -> float:
    """The share of all SLOs that moves when a shard is added, by the daemon's own hash."""
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
    ticks: int = 10,
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
    points: Sequence[Mapping[str, Any]], *, slos: int, interval: int, cores: float, memory: float
) -> str:
    """The model, the plans and the simulation, as Markdown."""
    lines, most = fitted(points), max(one["slos"] for one in points)
    measured = Limits(cores, memory, most)
    plans = [(many, shards_for(many, lines, measured, interval=interval)) for many in _steps(slos)]
    further = Limits(cores, memory)
    larger = [(many, shards_for(many, lines, further, interval=interval)) for many in _steps(slos)]
    often = f"every {interval} s; at most {cores:g} of a core and {memory / 1e9:g} GB for a shard"
    of_measured_size = (
        f"**Measured sizes.** No shard has more than the {most:,} SLOs that were measured ({often}). How many SLOs "
        f"the fullest has is reckoned: {SIGMAS} standard deviations above its share. Its CPU and memory are on the "
        "line, between points:"
    )
    of_larger_size = (
        "**Larger shards.** The same limits, and the line drawn further than anything was measured; the last column "
        "says how far. Nobody has run such a shard:"
    )
    parts = [
        _fit(points, lines),
        of_measured_size,
        _plan(plans, lines, interval),
        of_larger_size,
        _plan(larger, lines, interval, most=most),
        _played(*plans[-1], lines, interval),
    ]
    return "\n\n".join(parts)


def _fit(points: Sequence[Mapping[str, Any]], lines: Mapping[str, Line]) -> str:
    told = "; ".join(f"{one['slos']:,} SLOs on {one['measured']}, load {one['load']:.1f}" for one in points)
    return "\n".join(
        [
            f"Measured points: {told}. Fitted to them:",
            "",
            "| cost of one daemon | fixed | per SLO | worst point off by |",
            "|---|--:|--:|--:|",
            *(
                f"| {COSTS[cost]} | {line.fixed:,.3g} | {line.each:,.3g} | {100 * line.worst:.0f} % |"
                for cost, line in lines.items()
            ),
        ]
    )


def _plan(
    plans: Sequence[tuple[int, int]], lines: Mapping[str, Line], interval: int, *, most: int | None = None
) -> str:
    """A row for each size; with `most` how far beyond the largest measured daemon its fullest shard is."""
    head = ["SLOs", "shards", "SLOs of the fullest", "its CPU", "its memory", "requests per s"]
    head += ["samples per s", "ledgers", "moved by one shard more"]
    head += [] if most is None else ["beyond what was measured"]
    rows = []
    for many, of in plans:
        full, each = fullest(many, of), many / of
        row = [f"{many:,}", f"{of}", f"{full:,.0f}"]
        row += [f"{100 * lines['daemon_cpu'].at(full) / interval:.0f} % of a core"]
        row += [f"{lines['most_memory'].at(full) / 1e6:,.0f} MB"]
        row += [f"{of * lines[cost].at(each) / interval:,.0f}" for cost in ("requests", "samples")]
        row += [f"{of * lines['ledger_bytes'].at(each) / 1e9:,.1f} GB", f"{100 / (of + 1):.1f} %"]
        row += [] if most is None else [f"{full / most:.1f} times" if full > most else "no"]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["--:"] * len(head), *rows])


def _played(many: int, of: int, lines: Mapping[str, Line], interval: int) -> str:
    sizes = np.random.default_rng(of).multinomial(many, [1 / of] * of).tolist()
    need = of * lines["prometheus_cpu"].at(many / of) / interval
    said = [
        f"**Simulated**: ten minutes of ticks of {of} shards with {many:,} SLOs, by the cores of the query engine:",
        "",
        "| cores | busy | a tick takes, median | the longest |",
        "|--:|--:|--:|--:|",
    ]
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


def written(page: str, plan: str) -> str:
    """The page with this plan in the place of the one before."""
    before, _, rest = page.partition(f"{HEADING}\n")
    _, mark, after = rest.partition("\n## ")
    return f"{before}{HEADING}\n\n{plan}\n{mark}{after}"


def main() -> None:
    """Fit, plan, simulate, print; or write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("points", type=Path, nargs="?", default=POINTS)
    parser.add_argument("--slos", type=int, default=1_000_000)
    parser.add_argument("--interval", type=int, default=60, help="seconds")
    parser.add_argument("--cores", type=float, default=0.5, help="of one core, what a shard may use")
    parser.add_argument("--memory", type=float, default=2e9, help="bytes that a shard may use")
    parser.add_argument(
        "--write", action="store_true", help="into tests/bench/points.json and the documentation"
    )
    asked = parser.parse_args()
    points = [{key: one[key] for key in KEPT} for one in json.loads(asked.points.read_text())]
    plan = report(points, slos=asked.slos, interval=asked.interval, cores=asked.cores, memory=asked.memory)
    if asked.write:
        lines = ",\n ".join(json.dumps(one) for one in points)
        POINTS.write_text(f"[\n {lines}\n]\n")
        PAGE.write_text(written(PAGE.read_text(), plan))
    print(plan)


if __name__ == "__main__":
    main()
