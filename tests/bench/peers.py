"""This daemon beside Sloth's and Pyrra's rules and slo-generator's compute: one Prometheus, one run, as ratios.

    python -m tests.bench peers [20] [--days 30] [--concurrency 4]

Availability SLOs of eleven shapes (tests/bench/shapes.py: 8 series each, the pods of three shapes replaced every hour)
get 30 days of history at 30 s, and Sloth's recorded 5-minute ratios. Then, one after the other on the same server:

* the rules of Sloth and of Pyrra (tests/peers/rules.py) are loaded as rule files, each for whole rounds of its intervals;
* slo-generator is installed from PyPI into a folder that is thrown away, and its `compute` runs over all SLOs in as many
  processes as the daemon has threads for its requests (if it cannot be installed, its documented queries are asked);
* the daemon's own tick (read, count, commit, assess, render) is stepped over the newest minutes.

Samples and queries are from Prometheus' query log, its CPU from /proc, the tools' CPU from their processes. Rules run
inside of Prometheus, so they have no CPU of their own. The history ends before the rules run, which spares them part of
their shortest windows; alerts and metadata rules are left out: both in the peers' favour.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
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

from tests.bench import shapes
from tests.bench.thousand import DAY, DELAY, HOUR, INTERVAL, step_ticks, write_config
from tests.peers.rules import SLO_GENERATOR_WINDOWS, Rule, pyrra, slo_generator, sloth
from tests.servers import PrometheusServer, ServerError, free_port
from tests.worlds.history import Written

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = ("shared", "list", "good", "own")  # of shapes.SHAPES: availability from counters
OPPOSITE = {"=~": "!~", "!~": "=~", "=": "!="}
TARGETS_SEEN = 6 * HOUR  # of history for `up` and start times, which only the newest ticks look at
SLOTH_SECONDS = 120  # two rounds of a minute
PYRRA_SECONDS = 150  # five rounds of 30 s, one of 150 s
TICKS = 30
COMPUTE_SECONDS = 20


@dataclass(frozen=True)
class Service:
    """One SLO's service: a shape of the bench and its number."""

    shape: shapes.Shape
    number: int

    @property
    def name(self) -> str:
        """The SLO's name."""
        return f"slo-{shapes.SHAPES.index(self.shape)}-{self.number}"

    def selector(self, matcher: str = "") -> str:
        """Its series, or those of them that match."""
        metric, own = (text.format(n=self.number) for text in (self.shape.metric, self.shape.own))
        return f"{metric}{{{own},{matcher}}}" if matcher else f"{metric}{{{own}}}"

    @property
    def bad(self) -> str:
        """Selector of the failed requests."""
        return self.selector(self._opposites()[0])

    @property
    def good(self) -> str:
        """Selector of the others."""
        return self.selector(self._opposites()[1])

    def _opposites(self) -> tuple[str, str]:
        said = self.shape.bad
        if self.shape.kind == "list":
            values = "|".join(re.findall(r'"(.+?)"', said))
            said = f'{said.partition("=")[0]}=~"{values}"'
        other = re.sub("=~|!~|=", lambda found: OPPOSITE[found[0]], said, count=1)
        return (other, said) if self.shape.kind == "good" else (said, other)

    def sloth(self) -> tuple[Rule, ...]:
        """Sloth's rules."""
        return sloth(self.name, bad=self.bad, total=self.selector())

    def pyrra(self) -> tuple[Rule, ...]:
        """Pyrra's rules."""
        return pyrra(bad=self.bad, total=self.selector(), by=self.shape.values[0])

    def slo_generator(self) -> dict[str, Any]:
        """slo-generator's file."""
        return {
            "apiVersion": "sre.google.com/v2",
            "kind": "ServiceLevelObjective",
            "metadata": {
                "name": self.name,
                "labels": {"service_name": self.name, "feature_name": "all", "slo_name": "availability"},
            },
            "spec": {
                "description": "Requests that do not fail",
                "backend": "prometheus",
                "method": "good_bad_ratio",
                "service_level_indicator": {"filter_good": self.good, "filter_valid": self.selector()},
                "goal": 0.999,
            },
        }


def services(count: int) -> list[Service]:
    """`count` services, in turn of every availability shape."""
    kinds = [shape for shape in shapes.SHAPES if shape.kind in KINDS]
    return [Service(kinds[index % len(kinds)], index // len(kinds)) for index in range(count)]


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


def write_history(some: list[Service], path: Path, *, start: int, end: int) -> None:
    """The services' series and what Sloth's 5-minute rule would have recorded, as OpenMetrics."""
    random = np.random.default_rng(20)
    with path.open("w") as out:
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
    some: list[Service], server: PrometheusServer, folder: Path, *, end: int, concurrency: int
) -> Cost:
    """The daemon's ticks over the newest minutes of the history, in a process of their own."""
    slos = [
        {"name": one.name, "target": "99.9%", "window": "30d", "sli": one.shape.sli(one.number)}
        for one in some
    ]
    (folder / "slos.yaml").write_text(yaml.safe_dump({"slos": slos}))
    config = write_config(folder, server.url, port=free_port())
    settings = yaml.safe_load(config.read_text())
    settings["prometheus"]["concurrency"] = concurrency
    config.write_text(yaml.safe_dump(settings))
    start, before = end - (TICKS + 1) * INTERVAL, len(server.queries())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(step_ticks, str(config), server.pid, start, TICKS).result()
    assert found["outcomes"] == {"ok": len(some)}, found["outcomes"]
    entries = [one for one in server.queries()[before:] if _instant(one) > start + INTERVAL]
    title = "slo-budget-tracker, every 60 s"
    cost = logged_cost(title, entries, minutes=TICKS, server_cpu=TICKS * found["prometheus_cpu"])
    return replace(cost, own_cpu=found["daemon_cpu"], evaluations=len(some) / found["wall"])


def measure(count: int, folder: Path, *, days: int, concurrency: int) -> list[Cost]:
    """All costs, this daemon's first."""
    some = services(count)
    end = int(time.time()) // INTERVAL * INTERVAL - DELAY
    history = folder / "history.txt"
    write_history(some, history, start=end - days * DAY, end=end + 60)
    server = PrometheusServer(folder / "prometheus", query_log=True)
    server.load(history)
    history.unlink()
    with server:
        by_sloth, by_pyrra = ({one.name: ask(one) for one in some} for ask in (Service.sloth, Service.pyrra))
        theirs = [
            measure_rules("sloth", "Sloth's rules, every 60 s", by_sloth, server, seconds=SLOTH_SECONDS),
            measure_rules(
                "pyrra", "Pyrra's rules, every 30 s and 150 s", by_pyrra, server, seconds=PYRRA_SECONDS
            ),
            measure_slo_generator(some, server, folder, concurrency=concurrency),
        ]
        return [measure_ours(some, server, folder, end=end, concurrency=concurrency), *theirs]


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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        costs = measure(arguments.slos, Path(folder), days=arguments.days, concurrency=arguments.concurrency)
    print(f"{arguments.slos} SLOs, {arguments.days} days, concurrency {arguments.concurrency}; "
          f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")  # fmt: skip
    print(markdown(costs))


if __name__ == "__main__":
    main()
