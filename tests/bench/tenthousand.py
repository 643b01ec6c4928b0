"""Ten thousand SLOs on one daemon: what a tick, a restart, a reload and a look at it cost, and how that grows.

    python -m tests.bench.tenthousand [100 1000 10000] [--ticks 5] [--interval 30] [--life 600] [--growth] [--json]

A fleet (tests/bench/fleet.py, 12 series per SLO) is scraped live by a real Prometheus. The ledger is given the rows of
30 days, then the daemon runs as a process of its own. Interval and scrapes are half of what they usually are (30 s and
15 s), so that a tick reads two samples per series as usual and a run takes minutes; on a busy machine, where ticks would
not end in time, `--interval 60` is as usual and reads as many. CPU and memory are from /proc; the
CPU of Prometheus is what the queries add to that of scraping alone, measured before the daemon starts. Requests are told
as the mean of the ticks that are looked at, and as the most in one of them: late data are looked for in five of ten ticks,
so `--ticks 20` sees all there is. Of three reloads the worst is told. With `--life 600` each pod lives ten minutes: in 24
minutes as many series come and go as in a day in which a tenth of all pods is replaced every hour.
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
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.bench import fleet
from tests.servers import PrometheusServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL, DELAY = 30, 10
TOKEN = "bench"
REQUESTS = "slo_budget_tracker_prometheus_requests_total"


@dataclass(frozen=True)
class Case:
    """A fleet that is measured."""

    slos: int
    series: int = 6  # per pod; two pods per SLO
    window: str = "30d"
    alone: bool = False
    life: int | None = None  # seconds that each pod lives, instead of an hour for a tenth of them
    ticks: int = 5
    interval: int = INTERVAL

    @property
    def scrape(self) -> int:
        """Seconds between two scrapes: two in each tick."""
        return self.interval // 2

    @property
    def name(self) -> str:
        """What tells it from the others."""
        each = fleet.PODS * self.series
        extra = ", no two merged" if self.alone else ""
        extra += f", pods that live {self.life} s" if self.life else ""
        return f"{self.slos:,} SLOs of {each} series, window {self.window}{extra}"


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, now and at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) << 10 for key in ("VmRSS", "VmHWM"))
    return now, most


def write_config(case: Case, folder: Path, url: str, port: int) -> Path:
    """The daemon's configuration and SLO files."""
    fleet.write_slos(case.slos, folder / "slos", alone=case.alone, window=case.window)
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    config = folder / "tracker.yaml"
    settings = {
        "prometheus": {"url": url, "timeout": "20s"},
        "slo_files": [str(folder / "slos")],
        "evaluation": {"interval": f"{case.interval}s", "delay": f"{DELAY}s"},
        "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}", "backup_every": 0},
        "web": {
            "listen": f"127.0.0.1:{port}",
            "reload": True,
            "reload_token_file": str(folder / "token"),
        },
    }
    config.write_text(yaml.safe_dump(settings))
    return config


def age(config: str, days: int, interval: int = INTERVAL) -> dict[str, float]:
    """In a process of its own: a ledger with the rows of 30 days."""
    from tests.bench.stepping import Stepped  # noqa: PLC0415 - the parent stays small

    at = int(time.time()) // interval * interval - DELAY
    stepped = Stepped.open(Path(config), at=at)
    began = time.perf_counter()
    stepped.age(days=days, share=0.0003)
    stepped.close()
    return {"seconds": time.perf_counter() - began}


class Daemon:
    """The daemon as a process."""

    def __init__(self, config: Path, port: int) -> None:
        self.config, self.url = config, f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=300, trust_env=False)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, count: int) -> float:
        """Start it; seconds until /metrics shows the budgets of all SLOs."""
        began = time.perf_counter()
        command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(self.config)]
        with self.config.with_name("daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment()
            )
        while time.perf_counter() - began < 180:
            if self.process.poll() is not None:
                break
            try:
                known = self.client.get("/api/v1/status").json().get("slos", 0)
            except httpx.HTTPError:
                known = 0
            if known == count and self.budgets() == count:
                return time.perf_counter() - began
            time.sleep(0.05)
        raise AssertionError(self.config.with_name("daemon.log").read_text()[-2_000:])

    def _environment(self) -> dict[str, str]:
        """With the bytecode that an installed program has, whatever this environment says of writing such."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPYCACHEPREFIX": str(self.config.with_name("bytecode"))}

    def stop(self) -> float:
        """SIGTERM; seconds until it is gone."""
        assert self.process is not None
        began = time.perf_counter()
        self.process.terminate()
        self.process.wait(timeout=60)
        return time.perf_counter() - began

    def metrics(self) -> str:
        """The page that Prometheus scrapes."""
        return self.client.get("/metrics").text

    def budgets(self) -> int:
        """How many budgets are shown."""
        return self.metrics().count("\nslo_error_budget_remaining{")

    def figures(self) -> dict[str, float]:
        """Its own figures, summed over their labels."""
        found: dict[str, float] = {}
        for name, value in re.findall(
            r"^(slo_budget_tracker_\w+)(?:\{.*\})? (\S+)$", self.metrics(), re.MULTILINE
        ):
            found[name] = found.get(name, 0.0) + float(value)
        return found

    def settle(self, interval: int, ticks: int = 3) -> None:
        """Wait until some ticks are over: in the first ones every series is new."""
        for _ in range(8 * ticks):
            between_ticks(interval)
            if self.figures()["slo_budget_tracker_tick_duration_seconds_count"] >= ticks:
                break

    def timed(self, path: str, times: int = 7, **headers: str) -> tuple[float, int]:
        """Seconds until an answer is there as a whole (the median), and its bytes on the wire."""
        seconds, size = [], 0
        for _ in range(times):
            began = time.perf_counter()
            with self.client.stream("GET", path, headers=headers) as answer:
                size = sum(map(len, answer.iter_raw()))
            assert answer.status_code == 200, path
            seconds.append(time.perf_counter() - began)
        return sorted(seconds)[times // 2], size

    def reload(self) -> tuple[float, dict[str, Any]]:
        """Ask for a reload; seconds until it is done, and what it says."""
        began = time.perf_counter()
        answer = self.client.post("/-/reload", headers={"Authorization": f"Bearer {TOKEN}"})
        return time.perf_counter() - began, answer.json()


def between_ticks(interval: int = INTERVAL) -> None:
    """Wait until shortly before the next tick: the one before is over."""
    time.sleep((0.85 * interval - time.time()) % interval)


@contextmanager
def scraped(case: Case, folder: Path) -> Iterator[PrometheusServer]:
    """A fleet and a Prometheus that scrapes it."""
    port = free_port()
    arguments = [
        str(port),
        str(case.slos),
        str(case.series),
        str(case.scrape),
        *(["alone"] if case.alone else []),
        *([f"life={case.life}"] if case.life else []),
    ]
    exporter = subprocess.Popen([sys.executable, "-m", "tests.bench.fleet", *arguments])
    jobs = fleet.scrape_configs(port, case.slos)
    config = {
        "global": {"scrape_interval": f"{case.scrape}s", "scrape_timeout": "8s"},
        "scrape_configs": jobs,
    }
    try:
        with PrometheusServer(folder / "prometheus", config=config) as server:
            yield server
    finally:
        exporter.terminate()
        exporter.wait(timeout=10)


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """All figures of one case."""
    port = free_port()
    found: dict[str, Any] = {"slos": case.slos, "series": case.slos * fleet.PODS * case.series}
    found["measured"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with scraped(case, folder) as server, _pool() as pool:
        config = write_config(case, folder, server.url, port)
        time.sleep(
            2 * case.interval + DELAY
        )  # the first tick finds series that were there before, as it usually does
        pool.submit(age, str(config), max(30, int(case.window.rstrip("d"))), case.interval).result()
        before = cpu(server.pid)
        time.sleep(2 * case.scrape)
        scraping = (cpu(server.pid) - before) / 2 * case.interval / case.scrape
        daemon = Daemon(config, port)
        try:
            found["first_start"] = daemon.start(case.slos)
            daemon.settle(case.interval)
            found |= _ticks(case, daemon, server, scraping)
            found |= _looks(daemon)
            found |= _reloads(case, folder, daemon)
            between_ticks(case.interval)
            found |= {"most_memory": memory(daemon.pid)[1], "load": os.getloadavg()[0]}
            found["stop"] = daemon.stop()
            found["ledger_bytes"] = (folder / "ledger.db").stat().st_size
            found["restart"] = daemon.start(case.slos)
            found["restart_cpu"] = cpu(daemon.pid)
            found["rss_restarted"] = memory(daemon.pid)[0]
        finally:
            daemon.stop()
        found["prometheus_rss"] = server.resident_bytes()
    return found


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1)


def _ticks(case: Case, daemon: Daemon, server: PrometheusServer, scraping: float) -> dict[str, Any]:
    """What ticks cost, from shortly before one to shortly before another, each scraped once as it usually is."""
    between_ticks(case.interval)
    own = daemon.figures()
    began = cpu(daemon.pid), cpu(server.pid)
    before, after, most_requests = own, own, 0.0
    for _ in range(case.ticks):
        time.sleep(case.interval / 2)  # well into the next one
        between_ticks(case.interval)
        before, after = after, daemon.figures()
        most_requests = max(most_requests, after[REQUESTS] - before[REQUESTS])
    ended = cpu(daemon.pid), cpu(server.pid)
    grown = {name: after[name] - own.get(name, 0.0) for name in after}
    ticks = grown["slo_budget_tracker_tick_duration_seconds_count"]
    resident, most = memory(daemon.pid)
    return {
        "requests": grown[REQUESTS] / ticks,
        "most_requests": most_requests,
        "samples": grown["slo_budget_tracker_samples_read_total"] / ticks,
        "wall": grown["slo_budget_tracker_tick_duration_seconds_sum"] / ticks,
        "daemon_cpu": (ended[0] - began[0]) / case.ticks,
        "prometheus_cpu": max((ended[1] - began[1]) / case.ticks - scraping, 0.0),
        "scraping_cpu": scraping,
        "missed": grown["slo_budget_tracker_ticks_missed_total"],
        "doubts": grown.get("slo_budget_tracker_counting_doubts_total", 0.0),
        "remembered": after["slo_budget_tracker_series_remembered"],
        "rss": resident,
        "peak": most,
    }


def _looks(daemon: Daemon) -> dict[str, Any]:
    """What looking at it costs."""
    packed, size = daemon.timed("/metrics", **{"accept-encoding": "gzip"})
    return {
        "metrics": packed,
        "metrics_bytes": size,
        "metrics_plain_bytes": len(daemon.metrics()),
        "api": daemon.timed("/api/v1/slos?limit=100&offset=5000", **{"accept-encoding": "gzip"})[0],
        "api_1000": daemon.timed("/api/v1/slos?limit=1000", **{"accept-encoding": "gzip"})[0],
        "alerts": daemon.timed("/api/v1/alerts")[0],
        "gate": daemon.timed("/api/v1/gate")[0],
        "page": daemon.timed("/", **{"accept-encoding": "gzip"})[0],
        "page_filtered": daemon.timed("/?q=app-77")[0],
    }


def _reloads(case: Case, folder: Path, daemon: Daemon) -> dict[str, Any]:
    """The worst of reloads that change one SLO, asked for as its file is saved: a fifth of a second is waiting."""
    found = []
    for one in ("99.5%", "99.7%", "99.8%"):
        fleet.write_file(
            0, folder / "slos", count=case.slos, alone=case.alone, window=case.window, target=one
        )
        before = cpu(daemon.pid)
        took, said = daemon.reload()
        found.append((took, cpu(daemon.pid) - before))
        assert said["slos"] == case.slos, said
        between_ticks(case.interval)
    return dict(zip(("reload", "reload_cpu"), map(max, zip(*found, strict=True)), strict=True))


def markdown(cases: list[tuple[Case, dict[str, Any]]]) -> str:
    """The figures as a table, one column per case."""
    lines = {
        "series": lambda f: f"{f['series']:,}",
        "requests per tick, mean / most": lambda f: f"{f['requests']:,.0f} / {f['most_requests']:,.0f}",
        "series remembered": lambda f: f"{f['remembered']:,.0f}",
        "samples read per tick": lambda f: f"{f['samples']:,.0f}",
        "daemon CPU per tick": lambda f: f"{f['daemon_cpu']:.2f} s",
        "daemon CPU per tick and SLO": lambda f: f"{1000 * f['daemon_cpu'] / f['slos']:.2f} ms",
        "Prometheus CPU per tick, for the queries": lambda f: f"{f['prometheus_cpu']:.2f} s",
        "Prometheus CPU per tick, for scraping": lambda f: f"{f['scraping_cpu']:.2f} s",
        "a tick takes": lambda f: f"{f['wall']:.2f} s",
        "memory of the daemon after ticks, at most; with looks and reloads": lambda f: (
            f"{f['rss'] / 1e6:.0f} / {f['peak'] / 1e6:.0f}; {f['most_memory'] / 1e6:.0f} MB"
        ),
        "ledger with 30 days": lambda f: f"{f['ledger_bytes'] / 1e6:.1f} MB",
        "ledger per SLO": lambda f: f"{f['ledger_bytes'] / f['slos'] / 1024:.1f} KiB",
        "restart to full gauges; CPU": lambda f: f"{f['restart']:.2f} s; {f['restart_cpu']:.2f} s",
        "the end after SIGTERM": lambda f: f"{f['stop']:.2f} s",
        "reload that changes one SLO, the worst of three; CPU": lambda f: (
            f"{f['reload']:.2f} s; {f['reload_cpu']:.2f} s"
        ),
        "`/metrics`, compressed": lambda f: f"{f['metrics'] * 1e3:.0f} ms, {f['metrics_bytes'] / 1e6:.2f} MB",
        "`/api/v1/slos`, a page of 100 / 1,000": lambda f: (
            f"{f['api'] * 1e3:.0f} / {f['api_1000'] * 1e3:.0f} ms"
        ),
        "list page from the server, all / filtered": lambda f: (
            f"{f['page'] * 1e3:.0f} / {f['page_filtered'] * 1e3:.0f} ms"
        ),
    }
    head = ["| what |" + "".join(f" {case.name} |" for case, _ in cases), "|---|" + "--:|" * len(cases)]
    rows = [
        f"| {name} |" + "".join(f" {show(found)} |" for _, found in cases) for name, show in lines.items()
    ]
    return "\n".join([*head, *rows])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--interval", type=int, default=INTERVAL, help="seconds between two ticks")
    parser.add_argument("--alone", action="store_true", help="also with no two SLOs that can be merged")
    parser.add_argument("--life", type=int, help="also with pods that live so many seconds, all of them")
    parser.add_argument("--only", action="store_true", help="not the plain case before the others")
    parser.add_argument("--growth", action="store_true", help="also four times the series, other windows")
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    arguments = parser.parse_args()
    cases = [Case(count, ticks=arguments.ticks, interval=arguments.interval) for count in arguments.slos]
    if arguments.alone:
        cases.append(replace(cases[-1], alone=True))
    if arguments.life:
        cases.append(replace(cases[len(arguments.slos) - 1], life=arguments.life))
    if arguments.growth:
        thousand = Case(1_000, ticks=arguments.ticks, interval=arguments.interval)
        cases += [
            replace(thousand, series=24),
            replace(thousand, window="7d"),
            replace(thousand, window="90d"),
        ]
    if arguments.only:
        cases = cases[len(arguments.slos) :]
    found = []
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            found.append((case, measure(case, Path(folder))))
        print(
            f"{case.name}: {json.dumps(found[-1][1])}; load {os.getloadavg()[0]:.1f}",
            file=sys.stderr,
            flush=True,
        )
    print(json.dumps([one for _, one in found], indent=1) if arguments.json else markdown(found))


if __name__ == "__main__":
    main()
