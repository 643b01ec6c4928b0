"""This daemon beside Sloth's and Pyrra's rules and slo-generator's compute: one Prometheus, one run, as ratios.

    python -m tests.bench peers [20] [--many 1000] [--days 30] [--concurrency 4] [--without-rules]

Availability SLOs of eleven shapes (tests/bench/shapes.py: 8 series each, the pods of three shapes replaced every hour)
get 30 days of history at 30 s, and Sloth's recorded 5-minute ratios. Then, one after the other on the same server:

* the rules of Sloth and of Pyrra (tests/peers/rules.py) are loaded as rule files, each for whole rounds of its intervals;
* slo-generator is installed from PyPI into a folder that is thrown away, and its `compute` runs over all SLOs in as many
  processes as the daemon has threads for its requests (if it cannot be installed, its documented queries are asked);
* the daemon's own tick (read, count, commit, assess, render) is stepped over the newest minutes, for these SLOs and for
  many of the same shapes: the others cost so much per SLO, its cost per SLO shrinks with their number.

Samples and queries are from Prometheus' query log, its CPU from /proc, the tools' CPU from their processes. Rules run
inside of Prometheus, so they have no CPU of their own. The history ends before the rules run, which spares them part of
their shortest windows; alerts and metadata rules are left out: both in the peers' favour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from tests.bench.availability import Service, services
from tests.bench.thousand import DAY, DELAY, HOUR, INTERVAL, step_ticks, write_config
from tests.peers.rules import SLO_GENERATOR_WINDOWS, slo_generator
from tests.servers import PrometheusServer, ServerError, free_port
from tests.worlds.history import Written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.peers.rules import Rule

TARGETS_SEEN = 6 * HOUR  # of history for `up` and start times, which only the newest ticks look at
SLOTH_SECONDS = 120  # two rounds of a minute
PYRRA_SECONDS = 150  # five rounds of 30 s, one of 150 s
TICKS, TICKS_OF_MANY = 30, 8
RECENT = 2 * HOUR  # of history for the many
COMPUTE_SECONDS = 20


@dataclass(frozen=True)
class Cost:
    """What a minute of one way of asking costs, all SLOs together; and how many SLOs it evaluates in a second."""

    who: str
    queries: float
    samples: float
    server_cpu: float
    own_cpu: float = 0.0
    evaluations: float | None = None  # per second, as fast as it can

    @property
    def cpu(self) -> float:
        """CPU seconds end to end."""
        return self.server_cpu + self.own_cpu


def logged_cost(
    who: str, entries: Iterable[dict[str, Any]], *, minutes: float, server_cpu: float, own_cpu: float = 0.0
) -> Cost:
    """The cost by the query log of some minutes."""
    samples = [entry["stats"]["samples"]["totalQueryableSamples"] for entry in entries]
    return Cost(who, len(samples) / minutes, sum(samples) / minutes, server_cpu / minutes, own_cpu / minutes)


def write_history(count: int, many: int, path: Path, *, start: int, end: int) -> None:
    """The services' series and what Sloth's 5-minute rule would have recorded; of the many only what is recent."""
    random = np.random.default_rng(20)
    some, others = services(count), services(many)[count:]
    with path.open("w") as out:
        for one in others:
            for series in one.shape.history(one.number, start=end - RECENT, end=end, random=random):
                series.write(out)
        for one in some:
            for series in one.shape.history(one.number, start=start, end=end, random=random):
                if series.series.startswith(("up{", "process_start_time_seconds{")):
                    recent = series.times > (end - TARGETS_SEEN) * 1000
                    Written(series.series, series.times[recent], series.values[recent]).write(out)
                else:
                    series.write(out)
            times = np.arange(start, end, 60) * 1000
            name = f'slo:sli_error:ratio_rate5m{{sloth_id="{one.name}",sloth_window="5m"}}'
            Written(name, times, np.full(len(times), 0.001)).write(out)
        out.write("# EOF\n")


def rule_groups(who: str, rules: dict[str, tuple[Rule, ...]]) -> dict[str, Any]:
    """A rule file: per SLO one group for each interval."""
    groups = []
    for name, some in rules.items():
        for interval in sorted({rule.interval for rule in some}):
            told = [
                {
                    "record": rule.record,
                    "expr": rule.expression,
                    "labels": {
                        f"{who}_id": name,
                        f"{who}_window": rule.record.rpartition("rate")[2] or "none",
                    },
                }
                for rule in some
                if rule.interval == interval
            ]
            groups.append({"name": f"{who}-{name}-{interval}", "interval": f"{interval}s", "rules": told})
    return {"groups": groups}


def measure_rules(
    who: str, title: str, rules: dict[str, tuple[Rule, ...]], server: PrometheusServer, *, seconds: int
) -> Cost:
    """Load a rule file and let Prometheus evaluate it for whole rounds of its intervals."""
    file = server.folder / f"{who}.yml"
    file.write_text(yaml.safe_dump(rule_groups(who, rules), sort_keys=False))
    server.reload({"rule_files": [str(file)]})
    before, cpu = len(server.queries()), server.cpu_seconds()
    time.sleep(seconds)
    used = server.cpu_seconds() - cpu
    entries = server.queries()[before:]
    server.reload({"rule_files": []})
    return logged_cost(title, entries, minutes=seconds / 60, server_cpu=used)


def install_slo_generator(folder: Path) -> Path | None:
    """The Python of a folder with slo-generator, None where it cannot be installed."""
    python = folder / "bin" / "python"
    steps = ([sys.executable, "-m", "venv", str(folder)],
             [str(python), "-m", "pip", "install", "-q", "slo-generator[prometheus]", "setuptools"],
             [str(python), "-c", "import slo_generator.compute, slo_generator.backends.prometheus"])  # fmt: skip
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            print(
                f"slo-generator cannot be installed, so its queries are asked: {done.stderr[-300:]}",
                file=sys.stderr,
            )
            return None
    return python


def slo_generator_config(url: str) -> dict[str, Any]:
    """Its shared configuration, with the steps of the sample policy."""
    steps = [
        {
            "name": f"{window} s",
            "window": window,
            "burn_rate_threshold": 9,
            "alert": False,
            "message_alert": "too fast",
            "message_ok": "fine",
        }
        for window in SLO_GENERATOR_WINDOWS
    ]
    return {
        "backends": {"prometheus": {"url": url}},
        "error_budget_policies": {"default": {"steps": steps}},
    }


def compute(
    python: Path, some: list[Service], server: PrometheusServer, *, concurrency: int
) -> dict[str, Any]:
    """Rounds of slo-generator's compute over all SLOs."""
    config, files = server.folder / "shared.json", server.folder / "slos.json"
    config.write_text(json.dumps(slo_generator_config(server.url)))
    files.write_text(json.dumps([one.slo_generator() for one in some]))
    script = Path(__file__).parents[1] / "peers" / "computing.py"
    done = subprocess.run(
        [str(python), str(script), str(config), str(files), str(concurrency), str(COMPUTE_SECONDS)],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise ServerError(f"slo-generator: {done.stderr[-1000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["valid"], "slo-generator: some reports are not valid"
    return found


def ask_queries(some: list[Service], server: PrometheusServer, *, concurrency: int) -> dict[str, Any]:
    """One round of the queries that slo-generator documents."""
    rules = [rule for one in some for rule in slo_generator(good=one.good, valid=one.selector())]
    now, began = time.time(), time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(lambda rule: server.number(rule.expression, now), rules))
    return {"rounds": 1, "wall": time.perf_counter() - began, "cpu": 0.0}


def measure_slo_generator(
    some: list[Service], server: PrometheusServer, folder: Path, *, concurrency: int
) -> Cost:
    """slo-generator's compute, once a minute as its documentation has it; its speed when nothing waits."""
    python = install_slo_generator(folder / "slo-generator")
    before, cpu = len(server.queries()), server.cpu_seconds()
    if python is None:
        found, how = ask_queries(some, server, concurrency=concurrency), "queries alone"
    else:
        found, how = compute(python, some, server, concurrency=concurrency), "compute"
    used, entries = server.cpu_seconds() - cpu, server.queries()[before:]
    title = f"slo-generator's {how}, every 60 s"
    cost = logged_cost(title, entries, minutes=found["rounds"], server_cpu=used, own_cpu=found["cpu"])
    return replace(cost, evaluations=len(some) * found["rounds"] / found["wall"])


def measure_ours(
    some: list[Service], server: PrometheusServer, folder: Path, *, end: int, ticks: int, concurrency: int
) -> Cost:
    """The daemon's ticks over the newest minutes of the history, in a process of their own."""
    folder.mkdir()
    slos = [
        {"name": one.name, "target": "99.9%", "window": "30d", "sli": one.shape.sli(one.number)}
        for one in some
    ]
    (folder / "slos.yaml").write_text(yaml.safe_dump({"slos": slos}))
    config = write_config(folder, server.url, port=free_port())
    settings = yaml.safe_load(config.read_text())
    settings["prometheus"]["concurrency"] = concurrency
    config.write_text(yaml.safe_dump(settings))
    start, before = end - (ticks + 1) * INTERVAL, len(server.queries())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(step_ticks, str(config), server.pid, start, ticks).result()
    assert found["outcomes"] == {"ok": len(some)}, found["outcomes"]
    entries = [one for one in server.queries()[before:] if _instant(one) > start + INTERVAL]
    title = f"slo-budget-tracker, {len(some):,} SLOs, every 60 s"
    cost = logged_cost(title, entries, minutes=ticks, server_cpu=ticks * found["prometheus_cpu"])
    return replace(cost, own_cpu=found["daemon_cpu"], evaluations=len(some) / found["wall"])


def measure(options: argparse.Namespace, folder: Path) -> tuple[Cost, list[Cost]]:
    """This daemon's cost for many SLOs; all costs of the same few, this daemon's first."""
    some, concurrency = services(options.slos), options.concurrency
    end = int(time.time()) // INTERVAL * INTERVAL - DELAY
    history = folder / "history.txt"
    write_history(options.slos, options.many, history, start=end - options.days * DAY, end=end + 60)
    server = PrometheusServer(folder / "prometheus", query_log=True)
    server.load(history)
    history.unlink()
    by_sloth, by_pyrra = ({one.name: ask(one) for one in some} for ask in (Service.sloth, Service.pyrra))
    with server:
        theirs = []
        if not options.without_rules:
            theirs = [
                measure_rules("sloth", "Sloth's rules, every 60 s", by_sloth, server, seconds=SLOTH_SECONDS),
                measure_rules(
                    "pyrra", "Pyrra's rules, every 30 s and 150 s", by_pyrra, server, seconds=PYRRA_SECONDS
                ),
            ]
        theirs.append(measure_slo_generator(some, server, folder, concurrency=concurrency))
        ours, of_many = (
            measure_ours(each, server, folder / name, end=end, ticks=ticks, concurrency=concurrency)
            for each, name, ticks in (
                (some, "few", TICKS),
                (services(options.many), "many", TICKS_OF_MANY),
            )
        )
    return of_many, [ours, *theirs]


def times(theirs: float, ours: float) -> str:
    """How many times as much, with three digits and more."""
    ratio = theirs / ours if ours else float("inf")
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.3g}x"


def markdown(costs: list[Cost]) -> str:
    """The costs as a table: absolute figures and, for the others, how many times ours."""
    ours = costs[0]

    def cell(value: float, own: float, form: str) -> str:
        return form.format(value) if value is own else f"{form.format(value)} ({times(value, own)})"

    rows = [
        "| a minute of all SLOs | queries | samples read | Prometheus CPU | own CPU | CPU end to end | SLO evaluations per second |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for one in costs:
        own = f"{one.own_cpu:.2f} s" if one.own_cpu else "in Prometheus"
        speed = "does not apply"
        if one.evaluations and ours.evaluations:
            speed = f"{one.evaluations:,.1f}"
            speed += "" if one is ours else f" (ours: {times(ours.evaluations, one.evaluations)})"
        cells = [
            one.who,
            f"{one.queries:,.1f}",
            cell(one.samples, ours.samples, "{:,.0f}"),
            cell(one.server_cpu, ours.server_cpu, "{:,.3f} s"),
            own,
            cell(one.cpu, ours.cpu, "{:,.3f} s") if one is not ours else f"{ours.cpu:,.3f} s",
            speed,
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def markdown_per_slo(of_many: Cost, many: int, costs: list[Cost], count: int) -> str:
    """The costs per SLO as a table: this daemon's for many SLOs, then the others'."""

    def row(one: Cost, slos: int) -> str:
        """One way of asking, by what it costs per SLO."""
        speed = "does not apply"
        if one.evaluations and of_many.evaluations:
            speed = f"{one.evaluations:,.1f}"
            speed += "" if one is of_many else f" (ours: {times(of_many.evaluations, one.evaluations)})"
        samples, cpu = one.samples / slos, 1_000 * one.cpu / slos
        if one is of_many:
            return f"| {one.who} | {samples:,.1f} | {cpu:.2f} ms | {speed} |"
        ratios = times(samples, of_many.samples / many), times(cpu, 1_000 * of_many.cpu / many)
        return f"| {one.who} | {samples:,.1f} ({ratios[0]}) | {cpu:.2f} ms ({ratios[1]}) | {speed} |"

    head = [
        "| a minute of one SLO | samples read | CPU end to end | SLO evaluations per second |",
        "|---|--:|--:|--:|",
    ]
    return "\n".join([*head, row(of_many, many), *(row(one, count) for one in costs[1:])])


def _instant(entry: dict[str, Any]) -> float:
    """The data instant of a logged query, in seconds."""
    return datetime.fromisoformat(entry["params"]["end"]).timestamp()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=20)
    parser.add_argument("--days", type=int, default=30, help="of history")
    parser.add_argument(
        "--concurrency", type=int, default=4, help="of the daemon's requests and of slo-generator"
    )
    parser.add_argument("--many", type=int, default=1_000, help="SLOs, for the daemon alone")
    parser.add_argument("--without-rules", action="store_true", help="only slo-generator beside the daemon")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        of_many, costs = measure(options, Path(folder))
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{options.slos} SLOs, {options.days} days, concurrency {options.concurrency}; {load}\n")
    print(markdown(costs) + "\n\n" + markdown_per_slo(of_many, options.many, costs, options.slos))


if __name__ == "__main__":
    main()
