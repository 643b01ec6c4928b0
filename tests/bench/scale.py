"""What it costs with a hundred, a thousand and ten thousand SLOs, and how that grows with SLOs, series and windows.

    python -m tests.bench scale [100 1000 10000] [--growth] [--ticks 10] [--interval 20] [--in-turn] [--json]
                                [--alone] [--life 600] [--only]

Each case is a fleet (tests/bench/fleet.py, 12 series per SLO) that a real Prometheus of its own scrapes live, a ledger with
the rows of 30 days, and the daemon as a process. All cases run at the same time (`--in-turn`: one after the other): what
is told of ticks are CPU, from /proc, and counts. Each look, reload and restart is then timed while no other is, between
two ticks; of three reloads the worst is told.

Interval and scrapes are a third of what they usually are (20 s and 10 s), so that a tick reads two samples per series as
usual; on a slow machine, where ticks would not end in time, `--interval 60` is as usual and reads as many. Late data are
looked for in five of ten ticks: the ten that are measured begin where such a round of ten does, after four in the first of
which series are new, so they are the mean of all that go on. The CPU of Prometheus is what the queries add to that of
scraping alone, measured before the daemons start. With `--life 600` each pod lives ten minutes: in 24 minutes as many
series come and go as in a day in which a tenth of all pods is replaced every hour.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slo_budget_tracker.attempts import BLOCK
from tests.bench import fleet, growth
from tests.bench.cases import DELAY, INTERVAL, Case, write_config
from tests.bench.processes import Daemon, between_ticks, cpu, memory, pool
from tests.servers import PrometheusServer, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

NEW = 4  # ticks before the measured ones: in the first the series are new
SETTLED = 2  # of them must have ended; where they have not, the next ten are measured
PATIENCE = 3  # rounds of ten
AGING = 0.006  # seconds that a ledger with 30 days takes to make, for each SLO
STARTING = 5
GAP = 0.5  # of an interval: after it a tick is over, and the next is far
REQUESTS = "slo_budget_tracker_prometheus_requests_total"
TICKS = "slo_budget_tracker_tick_duration_seconds_count"


def age(config: str, days: int, at: int) -> None:
    """In a process of its own: a ledger with the rows of so many days."""
    from tests.bench.stepping import Stepped  # noqa: PLC0415 - the parent stays small

    stepped = Stepped.open(Path(config), at=at)
    stepped.age(days=days, share=0.0003)
    stepped.close()


@dataclass
class UnderWay:
    """A case under way: the fleet's exporter, the Prometheus that scrapes it, the daemon; and what was found."""

    case: Case
    exporter: subprocess.Popen[bytes]
    server: PrometheusServer
    daemon: Daemon
    found: dict[str, Any] = field(default_factory=dict)
    readings: list[tuple[float, float, dict[str, float]]] = field(default_factory=list)

    @classmethod
    def begin(cls, case: Case, folder: Path) -> UnderWay:
        """Scrape a fleet, and write what its daemon is to do."""
        port, own = free_port(), free_port()
        arguments = [str(port), str(case.slos), str(case.series), str(case.scrape)]
        arguments += ["alone"] if case.alone else []
        arguments += [f"life={case.life}"] if case.life else []
        exporter = subprocess.Popen([sys.executable, "-m", "tests.bench.fleet", *arguments])
        often = {"scrape_interval": f"{case.scrape}s", "scrape_timeout": f"{min(case.scrape, 8)}s"}
        config = {"global": often, "scrape_configs": fleet.scrape_configs(port, case.slos)}
        server = PrometheusServer(folder / "prometheus", config=config)
        daemon = Daemon(write_config(case, folder, server.url, own), own)
        found = {"slos": case.slos, "series": case.slos * fleet.PODS * case.series}
        return cls(case, exporter, server, daemon, found)

    def end(self) -> None:
        """Stop what still runs."""
        if self.daemon.process is not None and self.daemon.process.poll() is None:
            self.daemon.stop()
        self.server.stop()
        if self.exporter.poll() is None:
            self.exporter.terminate()
            self.exporter.wait(timeout=10)

    def read(self) -> None:
        """Take its figures down, shortly before a tick; it is scraped with that, as it usually is once a tick."""
        self.readings.append((cpu(self.daemon.pid), cpu(self.server.pid), self.daemon.figures()))

    def tell_ticks(self) -> None:
        """What ticks cost, by what was read before the first and after each of them."""
        (daemon, server, own), (daemon_after, server_after, after) = self.readings[0], self.readings[-1]
        each = [one[2] for one in self.readings]
        grown = {name: after[name] - own.get(name, 0.0) for name in after}
        ticks, intervals = grown[TICKS], len(each) - 1
        resident, most = memory(self.daemon.pid)
        self.found |= {
            "ticks": ticks,
            "requests": grown[REQUESTS] / ticks,
            "most_requests": max(b[REQUESTS] - a[REQUESTS] for a, b in itertools.pairwise(each)),
            "samples": grown["slo_budget_tracker_samples_read_total"] / ticks,
            "wall": grown["slo_budget_tracker_tick_duration_seconds_sum"] / ticks,
            "daemon_cpu": (daemon_after - daemon) / ticks,
            "prometheus_cpu": max((server_after - server) / intervals - self.found["scraping_cpu"], 0.0),
            "missed": grown["slo_budget_tracker_ticks_missed_total"],
            "doubts": grown.get("slo_budget_tracker_counting_doubts_total", 0.0),
            "remembered": after["slo_budget_tracker_series_remembered"],
            "rss": resident,
            "peak": most,
            "load": os.getloadavg()[0],
        }

    def look(self) -> None:
        """What looking at it costs."""
        packed = {"accept-encoding": "gzip"}
        metrics, size = self.daemon.timed("/metrics", **packed)
        offset = min(5_000, self.case.slos // 2)
        self.found |= {
            "metrics": metrics,
            "metrics_bytes": size,
            "metrics_plain_bytes": len(self.daemon.metrics()),
            "api": self.daemon.timed(f"/api/v1/slos?limit=100&offset={offset}", **packed)[0],
            "api_1000": self.daemon.timed("/api/v1/slos?limit=1000", **packed)[0],
            "alerts": self.daemon.timed("/api/v1/alerts")[0],
            "gate": self.daemon.timed("/api/v1/gate")[0],
            "page": self.daemon.timed("/", **packed)[0],
            "page_filtered": self.daemon.timed("/?q=app-77")[0],
        }

    def reload(self, target: str) -> None:
        """A reload that changes one SLO, asked for as its file is saved: a fifth of a second is waiting."""
        case, folder = self.case, self.daemon.config.with_name("slos")
        fleet.write_file(0, folder, count=case.slos, alone=case.alone, window=case.window, target=target)
        before = cpu(self.daemon.pid)
        took, said = self.daemon.reload()
        assert said["slos"] == case.slos, said
        for name, value in (("reload", took), ("reload_cpu", cpu(self.daemon.pid) - before)):
            self.found[name] = max(self.found.get(name, 0.0), value)

    def restart(self) -> None:
        """Stop the daemon and start it again; what it has on disk."""
        self.found["most_memory"] = memory(self.daemon.pid)[1]
        self.found["stop"] = self.daemon.stop()
        self.found["ledger_bytes"] = self.daemon.config.with_name("ledger.db").stat().st_size
        self.found["restart"] = self.daemon.start(self.case.slos)
        self.found["restart_cpu"] = cpu(self.daemon.pid)
        self.found["rss_restarted"] = memory(self.daemon.pid)[0]
        self.found["prometheus_rss"] = self.server.resident_bytes()


def first_tick(now: float, slos: int, interval: int) -> int:
    """The first tick that is measured: where ten begin, after the time that fleets, ledgers and new series take."""
    ready = now + 2 * interval + DELAY + AGING * slos + STARTING + (NEW + 1) * interval
    block = BLOCK * interval
    return int(-(-ready // block) * block)


def measure(cases: Sequence[Case], folder: Path) -> list[dict[str, Any]]:
    """All figures of some cases with the same interval and number of ticks, at the same time."""
    interval, scrape = cases[0].interval, cases[0].scrape
    first = first_tick(time.time(), sum(case.slos for case in cases), interval)
    begin = first - (NEW + 1) * interval  # a tick: the ledgers have been counted up to it
    measured = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with ExitStack() as stack, ThreadPoolExecutor(len(cases)) as threads:
        running = []
        for number, case in enumerate(cases):
            one = UnderWay.begin(case, folder / str(number))
            stack.callback(one.end)
            one.server.start()
            one.found["measured"] = measured
            running.append(one)
        scraped = time.time() + 2 * scrape  # series are new to Prometheus before
        with pool(2) as aside:
            configs = [(str(one.daemon.config), one.case.days, begin - DELAY) for one in running]
            list(aside.map(age, *zip(*configs, strict=True)))
        _wait_until(scraped)
        rounds = max(2, int((begin - time.time()) // scrape))
        before = [cpu(one.server.pid) for one in running]
        time.sleep(rounds * scrape)
        for one, used in zip(running, before, strict=True):
            one.found["scraping_cpu"] = (cpu(one.server.pid) - used) / rounds * interval / scrape
        _wait_until(begin + 1)
        list(threads.map(lambda one: one.daemon.start(one.case.slos), running))
        first = _settled(running, first, interval)
        for number in range(1, cases[0].ticks + 1):
            _wait_until(first + (number - 0.25) * interval)
            list(map(UnderWay.read, running))
        list(map(UnderWay.tell_ticks, running))
        list(map(UnderWay.look, running))
        for target in ("99.5%", "99.7%", "99.8%"):
            between_ticks(interval, share=GAP)
            for one in running:
                one.reload(target)
        for one in running:  # each case ends with it, so that the last one has the machine for itself
            between_ticks(interval, share=GAP)
            one.restart()
            one.end()
    return [one.found for one in running]


def _settled(running: Sequence[UnderWay], first: int, interval: int) -> int:
    """Read before the first tick that is measured: a round of ten later where daemons are still busy with new series."""
    for _ in range(PATIENCE):
        _wait_until(first - 0.25 * interval)
        list(map(UnderWay.read, running))
        if all(one.readings[-1][2].get(TICKS, 0.0) >= SETTLED for one in running):
            return first
        for one in running:
            one.readings.clear()
        first += BLOCK * interval
    raise AssertionError("ticks do not end in their time: this machine takes a longer --interval")


def _wait_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.time()))


def cases_of(arguments: argparse.Namespace) -> list[Case]:
    """The cases that were asked for."""
    plain = Case(1_000, ticks=arguments.ticks, interval=arguments.interval)
    cases = [replace(plain, slos=count) for count in arguments.slos]
    further = []
    if arguments.alone:
        further.append(replace(cases[-1], alone=True))
    if arguments.life:
        further.append(replace(cases[-1], life=arguments.life))
    if arguments.growth:
        further += [
            replace(plain, series=24),
            replace(plain, window="7d"),
            replace(plain, window="90d"),
        ]
    return further if arguments.only else [*cases, *further]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--ticks", type=int, default=10, help="that are measured; ten see all there is")
    parser.add_argument("--interval", type=int, default=INTERVAL, help="seconds between two ticks")
    parser.add_argument("--growth", action="store_true", help="also four times the series, other windows")
    parser.add_argument("--alone", action="store_true", help="also with no two SLOs that can be merged")
    parser.add_argument("--life", type=int, help="also with pods that live so many seconds, all of them")
    parser.add_argument("--only", action="store_true", help="not the plain cases before these")
    parser.add_argument("--in-turn", action="store_true", help="one case after the other")
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    arguments = parser.parse_args()
    cases = sorted(cases_of(arguments), key=lambda case: case.slos * case.series)
    found: list[dict[str, Any]] = []
    for some in [[case] for case in cases] if arguments.in_turn else [cases]:
        with tempfile.TemporaryDirectory() as folder:
            found += measure(some, Path(folder))
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    beside = "one after the other" if arguments.in_turn else f"{len(cases)} at the same time"
    print(f"{arguments.ticks} ticks of {arguments.interval} s each, {beside}, {os.cpu_count()} cores:\n")
    print(growth.markdown(list(zip(cases, found, strict=True))))


if __name__ == "__main__":
    main()
