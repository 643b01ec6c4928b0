"""A daemon's process under trouble: its configuration, its signals, its socket to a service manager, its log."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from tests.servers import free_port
from tests.small_server import SmallServer

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 60  # seconds
SLO = """
  - name: {name}
    target: 99%
    window: 1d
    sli: {{requests: {{total: {name}_requests_total, bad: '{name}_requests_total{{code="500"}}'}}}}
    alerts: none
"""


def slos(*names):
    """A file with these SLOs."""
    return "slos:" + "".join(SLO.format(name=name) for name in names)


class EmptyPrometheus(SmallServer):
    """Answers every question: there is no such series."""

    def __init__(self):
        def nothing(path, _):
            kind = "matrix" if "range" in path else "vector"
            return json.dumps({"status": "success", "data": {"resultType": kind, "result": []}}).encode()

        super().__init__(nothing)


class Abyss:
    """Takes connections and never answers."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def close(self):
        """End it."""
        self.socket.close()


@dataclass
class Life:
    """One daemon and its folder."""

    folder: Path
    prometheus: str
    further: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def __post_init__(self):
        self.slos = self.folder / "slos"
        self.slos.mkdir()
        (self.slos / "shop.yaml").write_text(slos("shop"))
        self.config.write_text(
            f"prometheus: {{url: '{self.prometheus}', timeout: 20s}}\nslo_files: [slos]\n"
            f"evaluation: {{interval: 1s, delay: 1s}}\nledger: {{url: 'sqlite:///ledger.db'}}\n"
            f"log: {{format: json}}\n{self.further}"
        )

    @property
    def config(self):
        """The configuration file."""
        return self.folder / "tracker.yaml"

    @property
    def said(self):
        """Its log so far."""
        return (self.folder / "log").read_text()

    def lines(self, event):
        """The lines of one event."""
        return [line for line in map(json.loads, self.said.splitlines()) if line["event"] == event]

    def spawn(self, *, before=(), log=None, further=(), **options):
        """Start the process, wait for nothing."""
        command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(self.config), *further]
        environ = {**os.environ, **options.pop("env", {})}
        environ["SLO_BUDGET_TRACKER_WEB__LISTEN"] = f"127.0.0.1:{self.port}"
        with (self.folder / "log").open("ab") as file:
            self.process = subprocess.Popen(
                [*before, *command], stdout=file, stderr=log or file, env=environ, **options
            )
        return self

    def start(self, **options):
        """Start it and wait until it answers."""
        self.spawn(**options)
        self.until(lambda: self.get("/-/healthy").status_code == 200)
        return self

    def get(self, path):
        """A plain GET."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=30, trust_env=False)

    def post(self, path, **headers):
        """A plain POST."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(
            f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE, trust_env=False, headers=named
        )

    def names(self):
        """The SLOs it shows."""
        return [one["name"] for one in self.get("/api/v1/slos").json()["slos"]]

    def metric(self, start):
        """The value of the first sample that begins so."""
        found = [line for line in self.get("/metrics").text.splitlines() if line.startswith(start)]
        return float(found[0].rpartition(" ")[2]) if found else None

    def until(self, true):
        """Wait for something while it lives."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            assert self.process.poll() is None, self.said
            with contextlib.suppress(httpx.HTTPError):
                if true():
                    return
            time.sleep(0.05)
        raise AssertionError(f"it never came; the log:\n{self.said}")

    def end(self, *, by=signal.SIGTERM, pid=None):
        """Ask for the end; exit status and seconds it took."""
        began = time.monotonic()
        os.kill(pid or self.process.pid, by)
        return self.process.wait(timeout=PATIENCE), time.monotonic() - began

    def kill(self):
        """Whatever happened, it is gone after that."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
