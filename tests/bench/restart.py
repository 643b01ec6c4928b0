"""A restart on a ledger with 30 days: seconds and CPU until all gauges are shown, memory, and what idling costs.

    python -m tests.bench restart [10000] [--times 5] [--idle 0] [--folder FOLDER]

The ledger gets the rows of 30 days and some ticks, then the daemon is started as a process again and again, as
`python -m tests.bench scale` does once. Its Prometheus is tests/bench/canned.py in a process of its own, so the first tick
begins as it does beside a real one. With a folder that is kept the ledger is made only once, and programs can be
compared on the same one, in turns. Idling is measured between two ticks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tests.bench.canned import Canned, Fleet
from tests.bench.cases import Case, write_config
from tests.bench.processes import Daemon, between_ticks, cpu, memory, pool
from tests.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slo_budget_tracker.prometheus import Prometheus
    from slo_budget_tracker.settings import Settings

INTERVAL, DAYS, TICKS = 60, 30, 3
LEDGER = ("ledger.db", "ledger.db.lock")
QUIET = 20  # seconds after a tick began in which it has come to its end


def make(config: str, count: int, start: int, days: int) -> None:
    """In a process of its own: a ledger with the rows of so many days, and what some ticks leave."""
    from tests.bench.stepping import Stepped  # noqa: PLC0415 - the parent stays small

    world = Fleet(count, start=start)

    def made(settings: Settings) -> dict[str, Prometheus]:
        return {name: Canned(one, world) for name, one in settings.datasources.items()}

    stepped = Stepped.open(Path(config), at=start, made=made)
    stepped.age(days=days, share=0.0003)
    for number in range(1, TICKS + 1):
        at = start + INTERVAL * number
        world.scrape_until(at)
        stepped.tick(at)
    stepped.close()


@contextmanager
def answered(port: int, count: int, start: int) -> Iterator[None]:
    """A server that answers as the fleet would."""
    command = [sys.executable, "-m", "tests.bench.canned", str(port), str(count), str(start)]
    server = subprocess.Popen(command)
    try:
        yield
    finally:
        server.terminate()
        server.wait(timeout=10)


def measure(
    count: int, folder: Path, *, times: int, idle: int = 0, days: int = DAYS
) -> list[dict[str, float]]:
    """The figures of each restart; the first one, to which files are new, is left out."""
    ports = free_port(), free_port()
    config = write_config(Case(count, interval=INTERVAL), folder, f"http://127.0.0.1:{ports[0]}", ports[1])
    born = folder / "born"
    if not born.exists():
        start = (int(time.time()) // INTERVAL - TICKS - 2) * INTERVAL
        with pool() as aside:
            aside.submit(make, str(config), count, start, days).result()
        for name in LEDGER:
            (folder / name).rename(folder / f"kept-{name}")
        born.write_text(str(start))
    found = []
    with answered(ports[0], count, int(born.read_text())):
        for _ in range(times + 1):
            for name in LEDGER:  # each time as it was, whatever the tick before brought
                shutil.copyfile(folder / f"kept-{name}", folder / name)
            daemon = Daemon(config, ports[1])
            try:
                took = daemon.start(count)
                used, (now, most) = cpu(daemon.pid), memory(daemon.pid)
                one = {"clock": took, "cpu": used, "rss": now, "peak": most}
                if idle and found:
                    one["idle"] = _idle(daemon.pid, idle)
                found.append(one)
            finally:
                daemon.process.send_signal(signal.SIGTERM)
                daemon.process.wait(timeout=60)
    return found[1:]


def _idle(pid: int, seconds: int) -> float:
    """CPU seconds a minute between two ticks."""
    between_ticks(INTERVAL)
    time.sleep(0.15 * INTERVAL + QUIET)
    before = cpu(pid)
    time.sleep(seconds)
    return (cpu(pid) - before) / seconds * 60


def markdown(count: int, found: list[dict[str, float]]) -> str:
    """The medians, and the most, as a table."""
    lines = [f"| {count:,} SLOs, {len(found)} restarts | median | worst |", "|---|--:|--:|"]
    for key, name, unit, share in (
        ("clock", "to full gauges", "s", 1.0),
        ("cpu", "CPU until then", "s", 1.0),
        ("rss", "memory then", "MB", 1e-6),
        ("peak", "memory at most", "MB", 1e-6),
        ("idle", "CPU of a minute without a tick", "s", 1.0),
    ):
        values = [one[key] * share for one in found if key in one]
        if values:
            digits = 0 if unit == "MB" else 2
            lines.append(f"| {name} | {median(values):.{digits}f} {unit} | {max(values):.{digits}f} {unit} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=10_000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--idle", type=int, default=0, help="seconds of idling to measure after each")
    parser.add_argument("--folder", type=Path, help="where the ledger is kept for the next time")
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder = arguments.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        found = measure(arguments.slos, folder, times=arguments.times, idle=arguments.idle)
    print(json.dumps(found, indent=1) if arguments.json else markdown(arguments.slos, found))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
