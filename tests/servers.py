"""Real servers as processes on loopback: free ports, their own folders, stopped by process id.

    server = PrometheusServer(folder)
    load_openmetrics(history_file, server.data)      # before the start; blocks survive restarts
    with server:                                     # start() waits until it is ready, stop() is SIGTERM
        server.ask("sum(up)", at=1_700_000_000)

`SLO_TEST_PROMETHEUS`, `SLO_TEST_PROMTOOL` and `SLO_TEST_VICTORIAMETRICS` name other binaries than those on the path.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

import httpx
import yaml

START_SECONDS = 120
STOP_SECONDS = 30
PORTS = range(10_000, 32_000)  # below those that the system gives to clients


def free_port() -> int:
    """A TCP port on loopback that nobody uses, not one of those that the system gives to clients meanwhile."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def find_binary(name: str, *, variable: str) -> str | None:
    """The path of a server's binary: what the environment variable names, else what is on the path."""
    return shutil.which((variable and os.environ.get(variable)) or name)


def prometheus_binary() -> str | None:
    """Where Prometheus is, or None."""
    return find_binary("prometheus", variable="SLO_TEST_PROMETHEUS")


def further_prometheuses() -> dict[str, str]:
    """The Prometheus of each other suite that config/get-server.sh unpacked, by the suite's name."""
    unpacked = sorted((Path(__file__).parents[1] / ".cache").glob("servers-*/usr/bin/prometheus"))
    return {path.parts[-4].removeprefix("servers-"): str(path) for path in unpacked}


def promtool_binary() -> str | None:
    """Where promtool is (beside an explicitly chosen Prometheus first), or None."""
    chosen = os.environ.get("SLO_TEST_PROMETHEUS")
    beside = shutil.which(str(Path(chosen).with_name("promtool"))) if chosen else None
    return beside or find_binary("promtool", variable="SLO_TEST_PROMTOOL")


def victoriametrics_binary() -> str | None:
    """Where VictoriaMetrics is, or None."""
    return find_binary("victoria-metrics", variable="SLO_TEST_VICTORIAMETRICS")


def alertmanager_binary() -> str | None:
    """Where Alertmanager is, with the template it cannot start without; None if there is none."""
    template = Path("/usr/share/prometheus/alertmanager/default.tmpl")
    found = find_binary("prometheus-alertmanager", variable="SLO_TEST_ALERTMANAGER")
    return found if template.exists() else None


def chromium_binary() -> str | None:
    """Where a Chromium is that playwright can drive, or None."""
    return find_binary("chromium", variable="SLO_TEST_CHROMIUM") if find_spec("playwright") else None


class ServerError(AssertionError):
    """A server under test did not start, answer or stop; the message carries the end of its log."""


_RUNNING: dict[int, subprocess.Popen[bytes]] = {}


@atexit.register
def _stop_what_is_left() -> None:
    """Kill, by process id, whatever a broken test run left behind."""
    for process in list(_RUNNING.values()):
        with contextlib.suppress(OSError):
            process.kill()
            process.wait(timeout=5)


@dataclass
class Server:
    """One process with a folder, a port and a log; subclasses say what to run and when it is ready."""

    folder: Path
    port: int = field(default_factory=free_port)
    flags: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    name: ClassVar[str] = "server"
    ready_path: ClassVar[str] = "/"

    def __post_init__(self) -> None:
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The file that takes the output of every start."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def start(self, *, wait_seconds: float = START_SECONDS) -> Self:
        """Start the process and wait until it answers that it is ready."""
        if self.pid is not None:
            raise ServerError(f"{self.name} runs already, as process {self.pid}")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        _RUNNING[self.process.pid] = self.process
        self._await_ready(time.monotonic() + wait_seconds)
        return self

    def _await_ready(self, deadline: float) -> None:
        with httpx.Client(trust_env=False, timeout=2) as client:
            while time.monotonic() < deadline:
                if self.process is None or self.process.poll() is not None:
                    break
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(self.url + self.ready_path).status_code == httpx.codes.OK:
                        return
                time.sleep(0.03)
        tail = self.tail()
        self.kill()
        raise ServerError(f"{self.name} did not get ready; the end of its log:\n{tail}")

    def tail(self, size: int = 2_000) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def stop(self) -> None:
        """SIGTERM and wait; SIGKILL if that takes too long. A server that does not run is left alone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL and wait."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal_number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=STOP_SECONDS)
        _RUNNING.pop(process.pid, None)

    def restart(self, *, kill: bool = False) -> None:
        """Stop (or kill) and start again on the same port with the same data."""
        self.kill() if kill else self.stop()
        self.start()

    def cpu_seconds(self) -> float:
        """User and system CPU time used so far, from /proc."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Resident memory, from /proc."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str, *, timeout: float = 60, **params: Any) -> httpx.Response:
        """A plain GET."""
        return httpx.get(self.url + path, params=params, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_exc: object) -> None:
        self.stop()


@dataclass
class QueryingServer(Server):
    """A server that speaks the Prometheus query API."""

    def query(self, expression: str, at: float, **params: Any) -> dict[str, Any]:
        """The `data` of an instant query; an error of the server is an error of the test."""
        body = self.get("/api/v1/query", query=expression, time=at, **params).json()
        if body.get("status") != "success":
            raise ServerError(f"{expression} at {at}: {body}")
        return body["data"]

    def ask(self, expression: str, at: float) -> list[tuple[dict[str, str], float]]:
        """An instant vector as pairs of labels and value."""
        data = self.query(expression, at)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def number(self, expression: str, at: float) -> float | None:
        """The single value of an expression, None where it has none."""
        answer = self.ask(expression, at)
        if len(answer) > 1:
            raise ServerError(f"{expression} at {at} has {len(answer)} series")
        return answer[0][1] if answer else None

    def ask_raw(self, expression: str, at: float) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """A range selector's raw samples: pairs of labels and (time in seconds, value) pairs."""
        result = self.query(expression, at)["result"]
        return [(one["metric"], [(float(t), float(v)) for t, v in one["values"]]) for one in result]

    def ask_range(
        self, expression: str, *, start: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """A range query's series: pairs of labels and (time in seconds, value) pairs."""
        answer = self.get("/api/v1/query_range", query=expression, start=start, end=end, step=step).json()
        if answer.get("status") != "success":
            raise ServerError(f"{expression}: {answer}")
        result = answer["data"]["result"]
        return [(one["metric"], [(float(t), float(v)) for t, v in one["values"]]) for one in result]

    def samples_read(self, expression: str, at: float) -> tuple[int, int]:
        """(total queryable samples, peak samples) that one instant query reads, by the server's own count."""
        samples = self.query(expression, at, stats="all")["stats"]["samples"]
        return samples["totalQueryableSamples"], samples["peakSamples"]


@dataclass
class PrometheusServer(QueryingServer):
    """Prometheus with its own data folder; `config` is a mapping or YAML text, rewritten by `reload`.

    `scrape` is a short form: job name -> targets, all scraped each `scrape_interval`.
    """

    config: dict[str, Any] | str | None = None
    scrape: dict[str, list[str]] = field(default_factory=dict)
    scrape_interval: str = "1s"
    retention: str = "3650d"
    query_log: bool = False
    binary: str | None = None

    name: ClassVar[str] = "prometheus"
    ready_path: ClassVar[str] = "/-/ready"

    @property
    def data(self) -> Path:
        """The TSDB's folder."""
        return self.folder / "data"

    @property
    def config_file(self) -> Path:
        """The configuration as written by `start` and `reload`."""
        return self.folder / "prometheus.yml"

    @property
    def query_log_file(self) -> Path:
        """Where every query is logged with the samples it read (with `query_log`)."""
        return self.folder / "query.log"

    def config_text(self) -> str:
        """What goes into the configuration file."""
        if isinstance(self.config, str):
            return self.config
        settings = dict(self.config or {})
        glob = {"scrape_interval": self.scrape_interval, "scrape_timeout": self.scrape_interval}
        glob |= settings.get("global", {})
        if self.query_log:
            glob["query_log_file"] = str(self.query_log_file)
        jobs = list(settings.get("scrape_configs", []))
        jobs += [{"job_name": job, "static_configs": [{"targets": to}]} for job, to in self.scrape.items()]
        return yaml.safe_dump({**settings, "global": glob, "scrape_configs": jobs}, sort_keys=False)

    def command(self) -> list[str]:
        """Prometheus with its own folder, lifecycle API and long retention."""
        self.config_file.write_text(self.config_text())
        binary = self.binary or prometheus_binary()
        if binary is None:
            raise ServerError("no prometheus on the path")
        return [
            binary,
            f"--config.file={self.config_file}",
            f"--storage.tsdb.path={self.data}",
            f"--storage.tsdb.retention.time={self.retention}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
            *self.flags,
        ]

    def reload(self, config: dict[str, Any] | str | None = None) -> None:
        """Write the (new) configuration and make the running server read it."""
        if config is not None:
            self.config = config
        self.config_file.write_text(self.config_text())
        answer = httpx.post(f"{self.url}/-/reload", timeout=30, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            raise ServerError(f"reload: {answer.text}")

    def load(self, openmetrics: Path) -> None:
        """Load a history file; a running server is stopped for it and started again."""
        running = self.pid is not None
        self.stop()
        load_openmetrics(openmetrics, self.data)
        if running:
            self.start()

    def queries(self) -> list[dict[str, Any]]:
        """The query log so far: `params.query`, `params.start`, `stats.samples.totalQueryableSamples` and more."""
        if not self.query_log_file.exists():
            return []
        return [json.loads(line) for line in self.query_log_file.read_text().splitlines() if line]


def load_openmetrics(history: Path, data: Path) -> None:
    """Make TSDB blocks of an OpenMetrics file with timestamps in the data folder of a stopped Prometheus."""
    promtool = promtool_binary()
    if promtool is None:
        raise ServerError("no promtool on the path")
    data.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=1458h", "--quiet", history, data],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ServerError(f"promtool: {done.stdout[-1000:]} {done.stderr[-1000:]}")


@dataclass
class VictoriaMetricsServer(QueryingServer):
    """VictoriaMetrics single node; scrapes like Prometheus with `scrape`, flags as a user would leave them.

    `settled=True` (the default) shows samples at once (`-search.latencyOffset=0s -search.disableCache`);
    `False` keeps the server's own defaults, which hide the last 30 s.
    """

    scrape: dict[str, list[str]] = field(default_factory=dict)
    scrape_interval: str = "1s"
    config: dict[str, Any] | None = None
    settled: bool = True
    binary: str | None = None

    name: ClassVar[str] = "victoriametrics"
    ready_path: ClassVar[str] = "/health"

    def command(self) -> list[str]:
        """VictoriaMetrics with its own folder and a retention that keeps every world."""
        binary = self.binary or victoriametrics_binary()
        if binary is None:
            raise ServerError("no victoria-metrics on the path")
        arguments = [
            binary,
            f"-storageDataPath={self.folder / 'data'}",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-retentionPeriod=100y",
            "-memory.allowedBytes=256MB",
            "-loggerLevel=WARN",
        ]
        if self.settled:
            arguments += ["-search.latencyOffset=0s", "-search.disableCache"]
        if self.scrape or self.config:
            (self.folder / "scrape.yml").write_text(self.config_text())
            arguments.append(f"-promscrape.config={self.folder / 'scrape.yml'}")
        return [*arguments, *self.flags]

    def config_text(self) -> str:
        """The scrape configuration."""
        if self.config:
            return yaml.safe_dump(self.config)
        jobs = [{"job_name": job, "static_configs": [{"targets": to}]} for job, to in self.scrape.items()]
        return yaml.safe_dump({"global": {"scrape_interval": self.scrape_interval}, "scrape_configs": jobs})

    def load(self, openmetrics: Path) -> None:
        """Import an OpenMetrics file into the running server and make it visible."""
        url = f"{self.url}/api/v1/import/prometheus"
        with httpx.Client(trust_env=False, timeout=120) as client, openmetrics.open() as lines:
            while chunk := lines.readlines(8 << 20):
                client.post(url, content="".join(map(_in_milliseconds, chunk))).raise_for_status()
            client.get(f"{self.url}/internal/force_flush").raise_for_status()


def _in_milliseconds(line: str) -> str:
    """An OpenMetrics line (time in seconds) as a line of the older text format (time in ms)."""
    if line.startswith("#"):
        return ""
    front, _, instant = line.rpartition(" ")
    return f"{front} {round(float(instant) * 1000)}\n"


@dataclass
class AuditStreamServer(Server):
    """The audit stream, on loopback only (its own command listens on all interfaces)."""

    name: ClassVar[str] = "audit-stream"
    ready_path: ClassVar[str] = "/healthz"

    def command(self) -> list[str]:
        """Uvicorn with the audit stream's application."""
        return [sys.executable, "-m", "uvicorn", "audit_stream.app:app", "--host", "127.0.0.1",
                "--port", str(self.port), "--log-level", "warning", *self.flags]  # fmt: skip
