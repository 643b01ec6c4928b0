"""Read amplification: samples that Prometheus reads for one SLO, per sample newly stored in its series.

    python -m tests.bench.amplification [--days 30] [--hours 6]

A history with pods replaced every hour (8 series at any time, 30 s scrapes) is loaded into a real Prometheus. Then the
daemon's own cycle is stepped over its last hours, minute by minute, and what every query read is taken from
Prometheus' query log. The peers' expressions are asked at a sample of instants in the same hours and scaled to
their intervals; the series that Sloth records is stood in for by one sample a minute.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.rules import pyrra, slo_generator, sloth
from tests.servers import PrometheusServer
from tests.worlds.catalogue import hourly
from tests.worlds.history import DAY, END, World, write
from tests.worlds.ours import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.peers.rules import Rule

HOUR = 3_600
WARM_UP = HOUR  # the ledger is born this long before the measured hours
INSTANTS = 12  # at which a peer's expression is asked


@dataclass(frozen=True)
class Cost:
    """What one way of asking reads: per minute, and per sample stored in the same time."""

    who: str
    queries_per_minute: float
    samples_per_minute: float
    peak_samples: int
    amplification: float


def recorded_by_sloth(world: World, path: Path, *, days: int) -> None:
    """The world's history file with the series that Sloth's 5-minute rule would have recorded."""
    write([world], path)
    text = "".join(
        f'slo:sli_error:ratio_rate5m{{sloth_id="{world.name}",sloth_window="5m"}} 0.005 {at}\n'
        for at in range(END - days * DAY, END, 60)
    )
    with path.open("r+b") as out:
        out.seek(-len("# EOF\n"), 2)
        out.truncate()
        out.write(text.encode() + b"# EOF\n")


def stored(server: PrometheusServer, world: World, *, seconds: int) -> int:
    """Samples stored in the SLO's own series in the last `seconds`."""
    return int(server.number(f"sum(count_over_time({world.total}[{seconds}s]))", END - 30) or 0)


def measure_ours(server: PrometheusServer, world: World, *, seconds: int) -> Cost:
    """Step the evaluator over the last hours; the query log says what was read after the warm-up."""
    end = END - 30
    new = stored(server, world, seconds=seconds)
    before = len(server.queries())
    run(server.url, [world], start=end - seconds - WARM_UP, end=end)
    # ticks follow each other in time, so the warm-up's queries are those pinned to instants up to its end
    logged = [entry for entry in server.queries()[before:] if _instant(entry) > end - seconds]
    samples = [entry["stats"]["samples"] for entry in logged]
    total = sum(one["totalQueryableSamples"] for one in samples)
    return Cost(
        who="slo-budget-tracker, every 60 s",
        queries_per_minute=len(logged) * 60 / seconds,
        samples_per_minute=total * 60 / seconds,
        peak_samples=max(one["peakSamples"] for one in samples),
        amplification=total / new,
    )


def measure_peer(
    who: str, rules: Iterable[Rule], server: PrometheusServer, world: World, *, seconds: int
) -> Cost:
    """Ask each rule at a sample of instants in the last hours, scaled to its interval."""
    per_minute = queries = 0.0
    peak = 0
    instants = [END - 30 - seconds * i // INSTANTS for i in range(INSTANTS)]
    for rule in rules:
        reads = [server.samples_read(rule.expression, at) for at in instants]
        per_minute += sum(total for total, _ in reads) / len(reads) * 60 / rule.interval
        queries += 60 / rule.interval
        peak = max(peak, *(one for _, one in reads))
    new = stored(server, world, seconds=seconds) * 60 / seconds
    return Cost(who, queries, per_minute, peak, per_minute / new)


def measure(folder: Path, *, days: int, hours: int) -> list[Cost]:
    """All costs, on one server, over the same hours."""
    world = hourly(days=days)
    history = folder / "history.txt"
    recorded_by_sloth(world, history, days=days)
    server = PrometheusServer(folder / "prometheus", query_log=True)
    server.load(history)
    history.unlink()
    seconds = hours * HOUR
    good = world.total.replace("}", ',code!~"5.."}')
    peers = (
        ("Sloth's rules, every 60 s", sloth(world.name, bad=world.bad, total=world.total)),
        ("Pyrra's rules, every 30 s and 150 s", pyrra(bad=world.bad, total=world.total)),
        ("slo-generator, every 60 s", slo_generator(good=good, valid=world.total)),
    )
    with server:
        costs = [measure_ours(server, world, seconds=seconds)]
        costs += [measure_peer(who, rules, server, world, seconds=seconds) for who, rules in peers]
    return costs


def markdown(costs: list[Cost]) -> str:
    """The costs as a table."""
    rows = [
        "| who | queries per minute | samples read per minute | at most at once | read per sample stored |",
        "|---|--:|--:|--:|--:|",
    ]
    rows += [
        f"| {one.who} | {one.queries_per_minute:.1f} | {one.samples_per_minute:,.0f} "
        f"| {one.peak_samples:,} | {one.amplification:,.2f} |"
        for one in costs
    ]
    return "\n".join(rows)


def _instant(entry: dict) -> float:
    """The data instant of a logged query, in seconds."""
    return datetime.fromisoformat(entry["params"]["end"]).timestamp()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=30, help="of history")
    parser.add_argument("--hours", type=int, default=6, help="to step through")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(markdown(measure(Path(folder), days=arguments.days, hours=arguments.hours)))


if __name__ == "__main__":
    main()
