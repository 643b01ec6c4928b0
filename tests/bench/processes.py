"""The daemon as a process: started, asked and stopped; CPU and memory of any process are from /proc."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tests.bench.cases import INTERVAL, TOKEN


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, now and at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.search(rf"{key}:\s+(\d+) kB", status)[1]) << 10 for key in ("VmRSS", "VmHWM"))
    return now, most


def pool(workers: int = 1) -> ProcessPoolExecutor:
    """For each job a process of its own, so that its memory and what it imports are gone with it."""
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )


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


def between_ticks(interval: int = INTERVAL, *, share: float = 0.85) -> None:
    """Wait until such a share of the interval is over, and with it the tick that began it."""
    time.sleep((share * interval - time.time()) % interval)
