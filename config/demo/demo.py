"""The demo: an example shop with a week of history, Prometheus, audit stream and daemon, all on loopback.

Run by `make demo`. Everything lives in a temporary folder and is stopped, by process id, on Ctrl-C,
on SIGTERM or after --seconds; nothing of it stays behind.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import httpx
from past import write_history
from rich.console import Console
from rich.table import Table

from slo_budget_tracker.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVERS = ROOT / ".cache" / "servers" / "usr" / "bin"
DAY = 86_400
READY_SECONDS = 60
BUDGET_SECONDS = 180
STOP_SECONDS = 8
LOOK_EVERY = 3  # seconds
FILLED = 0.9  # share of the history that is read when the table is printed
PIPED_WIDTH = 120

CONFIGURATION = """\
prometheus: {{url: "http://{prometheus}"}}
slo_files: ["{slos}", "{examples}"]
evaluation: {{interval: 15s, delay: 10s}}
ledger: {{url: "sqlite:///{ledger}"}}
web: {{listen: "{tracker}", annotations: true, annotations_token_file: "{token}"}}
"""

console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


class DemoError(Exception):
    """Something the demo needs is missing or did not start: said in one sentence."""


@dataclass
class Processes:
    """What was started, and how it is stopped."""

    folder: Path
    started: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str | Path], *, ready: str) -> None:
        """Start one process, its output in a file, and wait until the address answers."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which stops the others in order
            )
        self.started.append((name, process))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(ready, timeout=2, trust_env=False).is_success:
                    return
            time.sleep(0.1)
        raise DemoError(f"{name} did not start; the end of its log:\n{self.tail(name)}")

    def tail(self, name: str) -> str:
        """The end of a process' output."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2_000:]

    def dead(self) -> str | None:
        """The name of a process that ended by itself."""
        return next((name for name, process in self.started if process.poll() is not None), None)

    def stop(self) -> None:
        """Stop all, the last started first."""
        for _, process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for _, process in reversed(self.started):
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_addresses(count: int) -> list[str]:
    """Addresses on loopback that nobody listens on right now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


def find(command: str) -> str:
    """Where a command of the prometheus package is; it is fetched (and only unpacked) where there is none."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}{SERVERS}"
    if shutil.which(command, path=path) is None:
        subprocess.run([ROOT / "config" / "get-server.sh", "prometheus", command], check=False)  # noqa: S603 - ours
    found = shutil.which(command, path=path)
    if found is None:
        raise DemoError(
            f"there is no {command} here and it could not be fetched: install Debian's package prometheus"
        )
    return found


def load_history(folder: Path, *, days: float, promtool: str) -> int:
    """Make a TSDB of some days of the shop's past; the number of samples."""
    now = time.time()
    history = folder / "history.om"
    samples = write_history(history, start=now - days * DAY, end=now)
    done = subprocess.run(  # noqa: S603 - our own command
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=768h", "--quiet",
         history, folder / "tsdb"],
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    if done.returncode:
        raise DemoError(f"promtool could not load the history: {done.stdout[-500:]}{done.stderr[-500:]}")
    history.unlink()
    return samples


def start_all(processes: Processes, *, days: float, first_trouble: float | None) -> dict[str, str]:
    """Start everything; the addresses by name."""
    prometheus, promtool = find("prometheus"), find("promtool")
    folder = processes.folder
    addresses = dict(zip(("shop", "prometheus", "tracker", "audit"), free_addresses(4), strict=True))
    console.print(f"writing {days:g} days of history, and loading it into Prometheus …")
    began = time.monotonic()
    samples = load_history(folder, days=days, promtool=promtool)
    console.print(f"  {samples:,} samples in {time.monotonic() - began:.0f} s")

    def port(name: str) -> str:
        return addresses[name].rpartition(":")[2]

    trouble = [] if first_trouble is None else ["--first-trouble", str(first_trouble)]
    token = folder / "annotations-token"
    token.write_text(secrets.token_urlsafe())
    told = ["--daemon", f"http://{addresses['tracker']}", "--token", token.read_text()]
    shop = [sys.executable, HERE / "shop.py", "--port", port("shop"), *told, *trouble]
    processes.start("shop", shop, ready=f"http://{addresses['shop']}/healthz")
    template = Template((HERE / "prometheus.yml").read_text())
    (folder / "prometheus.yml").write_text(template.substitute(addresses))
    server = [
        prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--storage.tsdb.retention.time=60d",
        f"--web.listen-address={addresses['prometheus']}",
        "--log.level=warn",
    ]
    processes.start("prometheus", server, ready=f"http://{addresses['prometheus']}/-/ready")
    if importlib.util.find_spec("audit_stream") is None:
        del addresses["audit"]
    else:
        audit = ["-m", "uvicorn", "audit_stream.app:app", "--host", "127.0.0.1", "--port", port("audit")]
        processes.start(
            "audit-stream", [sys.executable, *audit], ready=f"http://{addresses['audit']}/healthz"
        )
    configuration = CONFIGURATION.format(
        slos=HERE / "slos",
        examples=ROOT / "config" / "examples",
        ledger=folder / "ledger.db",
        token=token,
        **addresses,
    )
    if "audit" in addresses:
        configuration += f'audit: {{url: "http://{addresses["audit"]}"}}\n'
    (folder / "slo-budget-tracker.yaml").write_text(configuration)
    daemon = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", folder / "slo-budget-tracker.yaml"]
    processes.start("slo-budget-tracker", daemon, ready=f"http://{addresses['tracker']}/-/healthy")
    return {**addresses, "configuration": str(folder / "slo-budget-tracker.yaml")}


def snapshots(tracker: str) -> list[dict[str, Any]]:
    """The SLOs as the daemon shows them now."""
    answer = httpx.get(f"http://{tracker}/api/v1/slos", timeout=5, trust_env=False)
    answer.raise_for_status()
    slos: list[dict[str, Any]] = answer.json()["slos"]
    return slos


def wait_for_budgets(processes: Processes, tracker: str, *, days: float) -> list[dict[str, Any]]:
    """The SLOs once their windows are filled, and ticked at least once live."""
    console.print("the daemon reads the history …")
    deadline = time.monotonic() + BUDGET_SECONDS
    slos: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        if (name := processes.dead()) is not None:
            raise DemoError(f"{name} ended; the end of its log:\n{processes.tail(name)}")
        with contextlib.suppress(httpx.HTTPError):
            slos = snapshots(tracker)
            if slos and all(
                slo["coverage"] >= FILLED * min(days * DAY / slo["window_seconds"], 1) for slo in slos
            ):
                return slos
        time.sleep(1)
    if not any(slo["error_budget_remaining"] is not None for slo in slos):
        log = processes.tail("slo-budget-tracker")
        raise DemoError(f"no budget was computed in {BUDGET_SECONDS} s; the end of the daemon's log:\n{log}")
    return slos


def table(slos: list[dict[str, Any]]) -> Table:
    """The budgets, one line for each SLO."""
    shown = Table()
    for heading in ("SLO", "target", "window", "events", "failed", "budget left", "burn rate", "alerts"):
        shown.add_column(heading, no_wrap=True)
    for slo in slos:
        burns = {one["window_seconds"]: one["burn_rate"] for one in slo["burn_rate_samples"]}
        watched = min((one["long_window_seconds"] for one in slo["alerts"]), default=slo["window_seconds"])
        active = [f"{one['severity']} {one['state']}" for one in slo["alerts"] if one["state"] != "quiet"]
        shown.add_row(
            slo["name"],
            f"{slo['target']:.4g}",
            format_duration(slo["window_seconds"]),
            number(None if slo["unit"] == "ratio" else slo["total"], ",.0f"),  # a composite has no events
            number(None if slo["unit"] == "ratio" else slo["failures"], ",.0f"),
            number(slo["error_budget_remaining"], ".1%"),
            f"{number(burns.get(watched), '.2f')} ({format_duration(watched)})",
            ", ".join(active) or "quiet",
        )
    return shown


def number(value: float | None, form: str) -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else format(value, form)


def tell(addresses: dict[str, str]) -> None:
    """Where to look."""
    tracker = addresses["tracker"]
    graph = "graph?g0.expr=slo_error_budget_remaining&g0.tab=0&g0.range_input=15m"
    lines = {
        "the page": f"http://{tracker}/",
        "one SLO": f"http://{tracker}/slos/checkout-availability?range=3600",
        "API": f"http://{tracker}/api/v1/slos/checkout-availability",
        "metrics": f"http://{tracker}/metrics",
        "Prometheus": f"http://{addresses['prometheus']}/{graph}",
        "shop's pods": f"http://{addresses['shop']}/targets",
    }
    if "audit" in addresses:
        lines["audit stream"] = f"http://{addresses['audit']}/events"
    for name, address in lines.items():
        console.print(f"  {name:20}{address}")
    console.print(f"  {'configuration':20}{addresses['configuration']}")
    console.print("for every command:    .venv/bin/slo-budget-tracker evaluate -c CONFIGURATION")
    console.print(f"burn some budget:     curl -X POST http://{addresses['shop']}/break")
    console.print("Ctrl-C stops everything.")


def watch(processes: Processes, tracker: str, *, seconds: float | None) -> None:
    """Say when an alert changes its state, until told to stop."""
    end = None if seconds is None else time.monotonic() + seconds
    states: dict[tuple[str, str, int], str] = {}
    while end is None or time.monotonic() < end:
        if (name := processes.dead()) is not None:
            raise DemoError(f"{name} ended; the end of its log:\n{processes.tail(name)}")
        with contextlib.suppress(httpx.HTTPError):
            for slo in snapshots(tracker):
                for alert in slo["alerts"]:
                    key = (slo["name"], alert["severity"], alert["long_window_seconds"])
                    before, states[key] = states.get(key), alert["state"]
                    if before not in {None, alert["state"]}:
                        told(slo, alert)
        time.sleep(LOOK_EVERY if end is None else max(min(LOOK_EVERY, end - time.monotonic()), 0))


def told(slo: dict[str, Any], alert: dict[str, Any]) -> None:
    """One line for an alert that changed its state."""
    window = format_duration(alert["long_window_seconds"])
    left = number(slo["error_budget_remaining"], ".1%")
    now = time.strftime("%H:%M:%S")
    console.print(
        f"{now} {slo['name']}: {alert['severity']} over {window} is {alert['state']}, budget left {left}"
    )


def stopped(*_: object) -> None:
    """SIGTERM ends the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; 0 unless something is missing."""
    parser = argparse.ArgumentParser(description="slo-budget-tracker's demo")
    parser.add_argument("--seconds", type=float, help="stop by itself so long after the budgets are computed")
    parser.add_argument("--days", type=float, default=7.5, help="days of history")
    parser.add_argument(
        "--first-trouble", type=float, help="seconds until the shop's checkouts begin to fail"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, stopped)
    with tempfile.TemporaryDirectory(prefix="slo-demo-") as folder:
        processes = Processes(Path(folder))
        try:
            addresses = start_all(processes, days=options.days, first_trouble=options.first_trouble)
            slos = wait_for_budgets(processes, addresses["tracker"], days=options.days)
            console.print(table(slos))
            tell(addresses)
            watch(processes, addresses["tracker"], seconds=options.seconds)
        except KeyboardInterrupt:
            pass
        except DemoError as error:
            console.print(str(error), markup=False)
            return 1
        finally:
            for number_ in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number_, signal.SIG_IGN)  # the end is not to be interrupted
            console.print("stopping …")
            processes.stop()
    console.print("everything is stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
