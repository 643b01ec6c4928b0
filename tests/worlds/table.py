"""The comparison: what each way of asking makes of the ten histories, against what truly happened.

    python -m tests.worlds.table            # loads the worlds into a real Prometheus and prints a Markdown table

Columns: failures by `increase(x[30d])` (Pyrra, slo-generator), by a sum of `increase(x[1m])` per minute, the error
ratio by the mean of 5-minute ratios (Sloth), failures and totals by this project's `evaluate`; all in per cent of
what any scraper could see.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.rules import sloth_ratio
from tests.servers import PrometheusServer
from tests.worlds import catalogue
from tests.worlds.history import DAY, END, World
from tests.worlds.ours import Filled, fill

AT = END - 30  # a data instant of the grid k * 60 - 30
WINDOW = 30 * DAY
HEADINGS = (
    "service",
    "failures",
    "`increase(x[30d])`",
    "sum of `increase(x[1m])`",
    "mean of 5-minute ratios",
    "ours: failures",
    "ours: totals",
)


@dataclass
class Line:
    """One world: its truth and what the methods made of it (None: no answer; nan: not a number)."""

    world: World
    failures: dict[str, float | None] = field(default_factory=dict)
    totals: dict[str, float | None] = field(default_factory=dict)
    ratios: dict[str, float | None] = field(default_factory=dict)


def ask_peers(server: PrometheusServer, world: World) -> Line:
    """The figures by the peers' ways of asking."""
    line = Line(world)
    for into, selector in ((line.failures, world.bad), (line.totals, world.total)):
        into["increase"] = server.number(f"sum(increase({selector}[30d]))", AT)
        into["minutes"] = server.number(f"sum_over_time(sum(increase({selector}[1m]))[30d:1m])", AT)
    ratio = sloth_ratio(bad=world.bad, total=world.total, window="5m")
    line.ratios["mean"] = server.number(
        f"sum_over_time(({ratio})[30d:1m]) / count_over_time(({ratio})[30d:1m])", AT
    )
    return line


def compare(server: PrometheusServer, worlds: list[World], filled: Filled) -> list[Line]:
    """All figures of all worlds."""
    lines = []
    for world in worlds:
        line = ask_peers(server, world)
        counts = filled.window(world.name, AT, WINDOW)
        line.failures["ours"], line.totals["ours"] = counts.bad, counts.total
        lines.append(line)
    return lines


def percent(figure: float | None, truth: float) -> str:
    """A figure as a share of the truth, with one more digit where it is close."""
    if figure is None:
        return "no answer" if truth else "none"
    if figure != figure:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    if not truth:
        return "none" if figure == 0 else f"{figure:.0f} of 0"
    share = 100 * figure / truth
    if share == 100:
        return "exact"
    return (
        f"{share:,.2f} %"
        if abs(share - 100) < 1
        else f"{share:,.1f} %"
        if share < 1000
        else f"{share:,.0f} %"
    )


def markdown(lines: list[Line]) -> str:
    """The table, as it stands in the README."""
    rows = [
        "| " + " | ".join(HEADINGS) + " |",
        "|---|" + "--:|" * (len(HEADINGS) - 1),
    ]
    for line in lines:
        truth = line.world.truth(AT, WINDOW)
        cells = [
            line.world.title,
            f"{truth.bad:,} of {truth.total:,}",
            percent(line.failures["increase"], truth.bad),
            percent(line.failures["minutes"], truth.bad),
            percent(line.ratios["mean"], truth.bad / truth.total),
            percent(line.failures["ours"], truth.bad),
            percent(line.totals["ours"], truth.total),
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def main() -> None:
    """Load, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/worlds"), help="where to keep the loaded blocks"
    )
    arguments = parser.parse_args()
    worlds = catalogue.build()
    started = time.monotonic()
    blocks = catalogue.load(arguments.cache, worlds)
    loaded = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        server = PrometheusServer(Path(folder))
        shutil.copytree(blocks, server.data)
        with server:
            filled = fill(server.url, worlds, at=AT)
            print(markdown(compare(server, worlds, filled)))
            print(
                f"{sum(world.samples for world in worlds):,} samples loaded in {loaded - started:.0f} s (0: cached); "
                f"30 days of {len(worlds)} SLOs filled in {filled.seconds:.1f} s, {filled.samples:,} samples read",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
