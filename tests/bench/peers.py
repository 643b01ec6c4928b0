"""This daemon beside Sloth's and Pyrra's rules and slo-generator's compute: one Prometheus, one run, as ratios.

    python -m tests.bench peers [22] [--many 100 1000 10000] [--days 30] [--concurrency 4] [--without-rules]

Availability SLOs of eleven shapes (tests/bench/shapes.py: 8 series each, the pods of three shapes replaced every hour)
get 30 days of history at 30 s, and Sloth's recorded 5-minute ratios. Then, one after the other on the same server:

* the rules of Sloth and of Pyrra (tests/peers/rules.py) are loaded as rule files, each for whole rounds of its
  intervals: a minute of Sloth's, 150 s of Pyrra's;
* slo-generator, which is installed from PyPI meanwhile into a folder that is thrown away, runs its `compute` over all
  SLOs for some rounds, in as many processes as the daemon has threads for its requests (if it cannot be installed, its
  documented queries are asked);
* the daemon's own tick (read, count, commit, assess, render) is stepped over ten of the newest minutes, looks for late
  data among them, for these SLOs and for many of the same shapes, of which there is half an hour of history: the others
  cost so much per SLO, whatever their number, its cost per SLO shrinks with it.

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
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from slo_budget_tracker.attempts import BLOCK
from tests.bench.availability import Service, services
from tests.bench.costs import Cost, logged_cost, markdown, markdown_per_slo, markdown_ratios
from tests.bench.thousand import DAY, DELAY, HOUR, INTERVAL, step_ticks, write_config
from tests.peers.rules import SLO_GENERATOR_WINDOWS, slo_generator
from tests.servers import PrometheusServer, ServerError, free_port
from tests.worlds.history import Written

if TYPE_CHECKING:
    from concurrent.futures import Future

    from tests.peers.rules import Rule

TARGETS_SEEN = 6 * HOUR  # of history for `up` and start times, which only the newest ticks look at
SLOTH_SECONDS = 60  # a round of a minute
PYRRA_SECONDS = 150  # five rounds of 30 s, one of 150 s
TICKS = BLOCK  # among them all that look for late data
RECENT = HOUR // 2  # of history for the many: their ticks, at most ten minutes ago, and what came before
COMPUTE_SECONDS = 20
PER_FILE = 100  # SLOs


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
    # It asks for good and for valid events at two instants. The history has ended, so where the machine is slow the
    # second window may have lost more events than there are failures, and the report is none.
    assert found["valid"] > found["rounds"] / 2, f"slo-generator: reports are not valid: {found}"
    return found


def ask_queries(some: list[Service], server: PrometheusServer, *, concurrency: int) -> dict[str, Any]:
    """One round of the queries that slo-generator documents."""
    rules = [rule for one in some for rule in slo_generator(good=one.good, valid=one.selector())]
    now, began = time.time(), time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(lambda rule: server.number(rule.expression, now), rules))
    return {"rounds": 1, "wall": time.perf_counter() - began, "cpu": 0.0}


def measure_slo_generator(
    some: list[Service], server: PrometheusServer, python: Path | None, *, concurrency: int
) -> Cost:
    """slo-generator's compute, once a minute as its documentation has it; its speed when nothing waits."""
    before, cpu = len(server.queries()), server.cpu_seconds()
    if python is None:
        found, how = ask_queries(some, server, concurrency=concurrency), "queries alone"
    else:
        found, how = compute(python, some, server, concurrency=concurrency), "compute"
    used, entries = server.cpu_seconds() - cpu, server.queries()[before:]
    title = f"slo-generator's {how}, every 60 s ({found['rounds']} rounds)"
    cost = logged_cost(title, entries, minutes=found["rounds"], server_cpu=used, own_cpu=found["cpu"])
    return replace(cost, evaluations=len(some) * found["rounds"] / found["wall"])


def before_ticks(end: int) -> int:
    """The data instant from which a daemon is stepped: a tick in which series are new, then ten that look at late data.

    They end at the last instant up to `end` at which such a round of ten does.
    """
    newest = (end + DELAY) // INTERVAL
    last = newest - (newest + 1) % BLOCK
    return (last - TICKS - 1) * INTERVAL - DELAY


def write_slos(some: list[Service], folder: Path) -> None:
    """This daemon's SLO files, so many in each that none is too large."""
    folder.mkdir()
    for first in range(0, len(some), PER_FILE):
        slos = [
            {"name": one.name, "target": "99.9%", "window": "30d", "sli": one.shape.sli(one.number)}
            for one in some[first : first + PER_FILE]
        ]
        text = yaml.dump({"slos": slos}, Dumper=yaml.CSafeDumper)
        (folder / f"slos-{first // PER_FILE}.yaml").write_text(text)


def measure_ours(
    some: list[Service], server: PrometheusServer, folder: Path, *, end: int, concurrency: int
) -> Cost:
    """The daemon's ticks over the newest minutes of the history, in a process of their own."""
    folder.mkdir()
    write_slos(some, folder / "slos")
    config = write_config(folder, server.url, port=free_port())
    settings = yaml.safe_load(config.read_text())
    settings["prometheus"]["concurrency"] = concurrency
    settings["slo_files"] = [str(folder / "slos")]
    config.write_text(yaml.safe_dump(settings))
    start, before = before_ticks(end), len(server.queries())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(step_ticks, str(config), server.pid, start, TICKS, days=0).result()
    assert found["outcomes"] == {"ok": len(some)}, found["outcomes"]
    entries = [one for one in server.queries()[before:] if _instant(one) > start + INTERVAL]
    title = f"slo-budget-tracker, {len(some):,} SLOs, every 60 s ({TICKS} ticks)"
    cost = logged_cost(title, entries, minutes=TICKS, server_cpu=TICKS * found["prometheus_cpu"])
    return replace(cost, own_cpu=found["daemon_cpu"], evaluations=len(some) / found["wall"])


def measure_theirs(
    some: list[Service], server: PrometheusServer, installed: Future[Path | None], options: argparse.Namespace
) -> list[Cost]:
    """The others' costs, one after the other."""
    found = []
    if not options.without_rules:
        for who, title, ask, seconds in (
            ("sloth", "Sloth's rules, every 60 s (1 round)", Service.sloth, SLOTH_SECONDS),
            ("pyrra", "Pyrra's rules, every 30 s and 150 s (1 round)", Service.pyrra, PYRRA_SECONDS),
        ):
            rules = {one.name: ask(one) for one in some}
            found.append(measure_rules(who, title, rules, server, seconds=seconds))
    python = installed.result()
    return [*found, measure_slo_generator(some, server, python, concurrency=options.concurrency)]


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict[int, Cost], list[Cost]]:
    """This daemon's costs by the number of SLOs, of the few that all are asked about first; the others' costs."""
    end = int(time.time()) // INTERVAL * INTERVAL - DELAY
    sizes = sorted({options.slos, *options.many})
    history = folder / "history.txt"
    with ThreadPoolExecutor(1) as aside:
        installed = aside.submit(install_slo_generator, folder / "slo-generator")
        write_history(options.slos, sizes[-1], history, start=end - options.days * DAY, end=end + 60)
        server = PrometheusServer(folder / "prometheus", query_log=True)
        server.load(history)
        history.unlink()
        with server:
            theirs = measure_theirs(services(options.slos), server, installed, options)
            ours = {
                size: measure_ours(
                    services(size), server, folder / f"{size}", end=end, concurrency=options.concurrency
                )
                for size in sizes
            }
    return ours, theirs


def _instant(entry: dict[str, Any]) -> float:
    """The data instant of a logged query, in seconds."""
    return datetime.fromisoformat(entry["params"]["end"]).timestamp()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=22, help="that all are asked about")
    parser.add_argument("--days", type=int, default=30, help="of history")
    parser.add_argument(
        "--concurrency", type=int, default=4, help="of the daemon's requests and of slo-generator"
    )
    parser.add_argument(
        "--many", type=int, nargs="+", default=[100, 1_000, 10_000], help="SLOs, for the daemon alone"
    )
    parser.add_argument("--without-rules", action="store_true", help="only slo-generator beside the daemon")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = measure(options, Path(folder))
    count, load = options.slos, f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{count} SLOs, {options.days} days, concurrency {options.concurrency}; {load}\n")
    print(markdown([ours[count], *theirs], count))
    print(f"\n{markdown_per_slo(ours, theirs, count)}\n\n{markdown_ratios(ours, theirs, count)}")


if __name__ == "__main__":
    main()
