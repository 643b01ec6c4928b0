"""A thousand SLOs on one daemon and one Prometheus: what a tick, a restart and a first fill cost.

    python -m tests.bench.thousand [--slos 1000] [--hours 6] [--ticks 20] [--fill-days 30]

A history (30 s scrapes, 8 series per SLO, see tests/bench/shapes.py) up to now is loaded into a real Prometheus. In
a process of its own the daemon's tick (read, count, commit to SQLite, assess, render) is stepped minute by
minute; CPU is that process' and, from /proc, Prometheus'. Then the real daemon is started on that ledger, filled up
to 30 days with rows, and timed until /metrics shows budgets. Last a fresh ledger fills: the newest 6 hours of the whole
catalogue; and all the days of twenty SLOs, one of each shape, from which the thousand are extrapolated (their samples
alone are 700 million), with the budget of raw samples cut to the twenty's share so that the same part is read raw.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.bench import shapes
from tests.servers import PrometheusServer, free_port

HOUR, DAY = 3_600, 86_400
INTERVAL, DELAY = 60, 30


@dataclass(frozen=True)
class Bench:
    """What is measured."""

    slos: int
    hours: int
    ticks: int
    fill_days: int
    end: int  # a data instant; the history ends here

    @property
    def samples_per_tick(self) -> float:
        """Samples newly stored per tick in the SLOs' own series."""
        return self.slos * 8 * INTERVAL / shapes.SCRAPE


def server_cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def write_config(folder: Path, url: str, *, port: int) -> Path:
    """A daemon's configuration for the bench."""
    config = folder / "tracker.yaml"
    settings = {
        "prometheus": {"url": url, "timeout": "60s"},
        "slo_files": [str(folder / "slos.yaml")],
        "evaluation": {"interval": f"{INTERVAL}s", "delay": f"{DELAY}s"},
        "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"},
        "web": {"listen": f"127.0.0.1:{port}"},
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def step_ticks(config: str, pid: int, start: int, ticks: int, *, days: int = 30) -> dict[str, Any]:
    """In a process of its own: the daemon's ticks over past minutes, one warm-up tick before the measured ones.

    After them the ledger is given the rows of so many days.
    """
    from tests.bench.stepping import Stepped  # noqa: PLC0415 - the parent stays small

    stepped = Stepped.open(Path(config), at=start)
    stepped.tick(start + INTERVAL)
    before = stepped.requests(), time.process_time(), server_cpu(pid), time.perf_counter(), stepped.samples()
    outcomes = [stepped.tick(start + INTERVAL * (2 + number)) for number in range(ticks)]
    after = stepped.requests(), time.process_time(), server_cpu(pid), time.perf_counter(), stepped.samples()
    requests, cpu, prometheus, wall, samples = ((b - a) / ticks for a, b in zip(before, after, strict=True))
    stepped.age(days=days)
    stepped.close()
    return {
        "requests": requests,
        "samples": samples,
        "daemon_cpu": cpu,
        "prometheus_cpu": prometheus,
        "wall": wall,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "outcomes": outcomes[-1],
        "ledger_bytes": Path(config).with_name("ledger.db").stat().st_size,
    }


def fill_fresh(config: str, pid: int, end: int, **scope: int) -> dict[str, Any]:
    """In a process of its own: the first fill of a fresh ledger, for some SLOs or of the newest chunks."""
    from tests.bench.stepping import fill  # noqa: PLC0415 - the parent stays small

    before = server_cpu(pid), time.process_time(), time.perf_counter()
    figures = fill(Path(config), at=end, **scope)
    after = server_cpu(pid), time.process_time(), time.perf_counter()
    prometheus, cpu, wall = (b - a for a, b in zip(before, after, strict=True))
    return {"prometheus_cpu": prometheus, "daemon_cpu": cpu, "wall": wall, **figures}


def restore_ledger(config: str) -> float:
    """In a process of its own: the ledger's part of a restart."""
    from tests.bench.stepping import restore  # noqa: PLC0415 - the parent stays small

    return restore(Path(config))


def time_restart(config: Path, *, port: int) -> tuple[float, float]:
    """Seconds from starting the real daemon to a /metrics page with budgets on it, and of CPU that it took."""
    command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(config)]
    log = config.with_name("daemon.log").open("ab")
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while time.perf_counter() - started < 60:
            try:
                page = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5, trust_env=False).text
            except httpx.HTTPError:
                page = ""
            if "\nslo_error_budget_remaining{" in page:
                return time.perf_counter() - started, server_cpu(process.pid)
            if process.poll() is not None:
                break
            time.sleep(0.02)
    finally:
        process.terminate()
        process.wait(timeout=15)
        log.close()
    raise AssertionError(config.with_name("daemon.log").read_text()[-2_000:])


def measure(bench: Bench, folder: Path) -> dict[str, Any]:
    """All figures."""
    shapes.write_slos(bench.slos, folder / "slos.yaml")
    history = folder / "history.txt"
    with history.open("w") as out:
        first = len(shapes.SHAPES)
        samples = shapes.write_history(
            first, out, start=bench.end - bench.fill_days * DAY, end=bench.end + 30
        )
        samples += shapes.write_history(
            bench.slos, out, start=bench.end - bench.hours * HOUR, end=bench.end + 30, skip=first
        )
        out.write("# EOF\n")
    server = PrometheusServer(folder / "prometheus")
    server.load(history)
    history.unlink()
    port = free_port()
    found: dict[str, Any] = {"loaded": samples}
    with (
        server,
        ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
        ) as pool,
    ):
        config = str(write_config(folder, server.url, port=port))
        start = bench.end - (bench.ticks + 1) * INTERVAL
        found["tick"] = pool.submit(step_ticks, config, server.pid, start, bench.ticks).result()
        found["prometheus_rss"] = server.resident_bytes()
        found["restore"] = pool.submit(restore_ledger, config).result()
        time_restart(Path(config), port=port)  # the first start on this ledger: its files are new to it
        found["restart"], found["restart_cpu"] = time_restart(Path(config), port=port)
        found["fill_all"] = pool.submit(fill_fresh, config, server.pid, bench.end, chunks=1).result()
        scope = {"count": len(shapes.SHAPES), "of": bench.slos}
        found["fill_shapes"] = pool.submit(fill_fresh, config, server.pid, bench.end, **scope).result()
    return found


def markdown(bench: Bench, found: dict[str, Any]) -> str:
    """The figures as a table."""
    tick, some, every = found["tick"], found["fill_shapes"], found["fill_all"]
    scale = bench.slos / len(shapes.SHAPES)
    lines = [
        (f"{bench.slos:,} SLOs, {bench.slos * 8:,} series", ""),
        ("requests per tick", f"{tick['requests']:.0f}"),
        (
            "samples fetched per tick",
            f"{tick['samples']:,.0f} ({bench.samples_per_tick:,.0f} stored; `promql` SLIs fetch sums)",
        ),
        ("daemon CPU per tick", f"{tick['daemon_cpu']:.2f} s"),
        ("Prometheus CPU per tick", f"{tick['prometheus_cpu']:.2f} s"),
        ("a tick takes", f"{tick['wall']:.2f} s of {INTERVAL} s"),
        ("memory of the daemon", f"{tick['rss'] / 1e6:.0f} MB"),
        ("ledger with 30 days", f"{tick['ledger_bytes'] / 1e6:.0f} MB"),
        ("first gauges after a restart; CPU", f"{found['restart']:.2f} s; {found['restart_cpu']:.2f} s"),
        ("of that, from the ledger to the gauges", f"{found['restore']:.2f} s"),
        (f"filling {bench.fill_days} days of {len(shapes.SHAPES)} SLOs", f"{some['wall']:.0f} s"),
        ("of that, Prometheus CPU", f"{some['prometheus_cpu']:.0f} s for {some['samples']:,} samples"),
        (f"so {bench.fill_days} days of all SLOs take about", f"{some['wall'] * scale / 60:.0f} min"),
        ("filling the newest 6 hours of all SLOs", f"{every['wall']:.0f} s ({every['samples']:,} samples)"),
    ]
    return "\n".join(
        ["| what | figure |", "|---|---|", *(f"| {name} | {figure} |" for name, figure in lines)]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slos", type=int, default=1_000)
    parser.add_argument("--hours", type=int, default=6, help="of history for all SLOs")
    parser.add_argument("--ticks", type=int, default=20, help="to step through")
    parser.add_argument("--fill-days", type=int, default=30, help="of history for one SLO of each shape")
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    arguments = parser.parse_args()
    end = int(time.time()) // INTERVAL * INTERVAL - DELAY
    bench = Bench(arguments.slos, arguments.hours, arguments.ticks, arguments.fill_days, end)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(bench, Path(folder))
    print(json.dumps(found, indent=1) if arguments.json else markdown(bench, found))


if __name__ == "__main__":
    main()
