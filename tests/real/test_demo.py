"""`make demo`, with a short history: budgets are shown, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from tests.audit_server import wait_for
from tests.real.test_dashboards import queries
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
SLOS = {
    "browsing-availability",
    "cart-availability",
    "checkout-availability",
    "checkout-latency",
    "search-latency",
    *(f"example-{path.stem}" for path in (ROOT / "config" / "examples").glob("*.yaml")),
}
FOUND = {"shop-availability", "shop-latency"}  # by `discover`
START_SECONDS = 150


def demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    """The demo as a process, its temporary folder inside `folder`."""
    return subprocess.Popen(
        [sys.executable, "-u", ROOT / "config" / "demo" / "demo.py", "--days", "0.25", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The output up to the line with these words."""
    assert process.stdout is not None
    output = ""
    deadline = time.monotonic() + START_SECONDS
    while words not in output and time.monotonic() < deadline:
        line = process.stdout.readline()
        if not line:
            break
        output += line
    return output


def listening(port: str) -> bool:
    """Whether somebody answers on a port of loopback."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=1):
        return True
    return False


def deploys(output: str) -> list[str]:
    """The deploys that the shop has told the daemon of."""
    address = re.search(r"http://127\.0\.0\.1:\d+(?=/api/v1/slos)", output)
    assert address is not None
    answer = httpx.get(f"{address[0]}/api/v1/annotations?slo=checkout-availability", trust_env=False)
    return [one["text"] for one in answer.json()["annotations"]]


def unanswered(output: str) -> list[str]:
    """The dashboards' queries that the demo's Prometheus has no answer to, for an SLO, one with groups, a composite."""
    address = re.search(r"Prometheus +(http://127\.0\.0\.1:\d+)", output)
    assert address is not None
    asked = {
        query for slo in ("checkout-availability", "example-groups", "example-composite")
        for _, query in queries(slo=slo)
    }  # fmt: skip
    with httpx.Client(base_url=address[1], timeout=10, trust_env=False) as prometheus:
        answers = {one: prometheus.get("/api/v1/query", params={"query": one}).json() for one in asked}
    return sorted(one for one, answer in answers.items() if not answer.get("data", {}).get("result"))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command of ours, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "slo_budget_tracker", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def from_nothing(folder: Path, prometheus: str) -> tuple[int, int, set[str], set[str]]:
    """Discover, validate --live and run on a Prometheus: exit statuses, what was written, what was evaluated."""
    listen = f"127.0.0.1:{free_port()}"
    config, written = folder / "config.yaml", folder / "slos.yaml"
    config.write_text(
        f"prometheus: {{url: '{prometheus}'}}\nslo_files: [slos.yaml]\nweb: {{listen: '{listen}'}}\n"
        f"evaluation: {{interval: 15s, delay: 10s}}\nledger: {{url: 'sqlite:///{folder}/ledger.db'}}\n"
    )
    found = command("discover", "-c", config, "--window", "6h", "--replay", "1h", "--write", written)
    live = command("validate", "--live", "-c", config)
    names = {slo["name"] for slo in yaml.safe_load(written.read_text())["slos"]}
    daemon = subprocess.Popen(
        [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    evaluated: set[str] = set()
    deadline = time.monotonic() + START_SECONDS
    try:
        while evaluated != names and time.monotonic() < deadline:
            time.sleep(0.5)
            with contextlib.suppress(httpx.HTTPError):
                slos = httpx.get(f"http://{listen}/api/v1/slos", timeout=5, trust_env=False).json()["slos"]
                evaluated = {slo["name"] for slo in slos if slo["total"]}
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
    return found.returncode, live.returncode, names, evaluated


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "ending",
    [
        pytest.param("by itself", marks=pytest.mark.long),
        pytest.param("SIGTERM", marks=pytest.mark.long),
        "SIGINT",
    ],
)
def test_the_demo_shows_budgets_and_leaves_nothing(tmp_path, tmp_path_factory, ending):
    """T6: every SLO has its line, the addresses answer until the end, then processes and files are gone.

    Meanwhile its Prometheus has an answer to every query of the dashboards.

    Before it ends, `discover` finds SLOs in its Prometheus that `validate --live` accepts and `run` evaluates.
    """
    first_day = (0, 0, FOUND, FOUND)
    process = demo(tmp_path, *(["--seconds", "3"] if ending == "by itself" else []))
    try:
        output = read_until(process, "Ctrl-C stops everything")
        ports = set(re.findall(r"http://127\.0\.0\.1:(\d+)", output))
        answered = {port for port in ports if listening(port)}
        if ending == "SIGINT":
            wait_for(lambda: deploys(output), what="the mark of the first deploy")
            wait_for(lambda: not unanswered(output), what="answers to the dashboards' queries")
        if ending == "SIGTERM":  # one of those that take long
            prometheus = re.search(r"Prometheus +(http://127\.0\.0\.1:\d+)", output)
            assert prometheus, output
            first_day = from_nothing(tmp_path_factory.mktemp("discovered"), prometheus[1])
        if ending != "by itself":
            process.send_signal(getattr(signal, ending))
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output + rest
    assert first_day == (0, 0, FOUND, FOUND)
    assert (SLOS, 4, ports) == ({slo for slo in SLOS if slo in output}, len(ports), answered), output + rest
    assert (set(), []) == ({port for port in ports if listening(port)}, list(tmp_path.iterdir()))
