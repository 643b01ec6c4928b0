"""The daemon as a process: signals, service managers, full pipes, too few descriptors, hung neighbours."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from slo_budget_tracker import migrations
from slo_budget_tracker.clocks import SMALLEST_PAUSE
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.pulse import BEAT
from tests.audit_server import FakeAuditStream, ledger_of, wait_for
from tests.real.lives import Abyss, EmptyPrometheus, Life
from tests.real.test_audit_upgrade import of_version_one

SOON = 20  # seconds: five are promised, on a machine that does nothing else
PROMISED = 5
EVENTS = 8_000  # of the first version of the ledger: an upgrade takes a moment


@pytest.fixture
def empty():
    """A Prometheus without series."""
    server = EmptyPrometheus()
    yield server
    server.close()


@pytest.fixture
def abyss():
    """A server that never answers."""
    server = Abyss()
    yield server
    server.close()


@pytest.fixture
def make(tmp_path):
    """Daemons that are gone after the test."""
    made = []

    def life(url, **options):
        made.append(Life(tmp_path, url, **options))
        return made[-1]

    yield life
    for one in made:
        one.kill()


def test_the_end_while_everything_hangs(make, abyss):
    """T6, T16: Prometheus and audit stream hang, clients hang on; it stays alive, is not ready, and leaves when asked."""
    life = make(abyss.url, further=f"audit: {{url: '{abyss.url}'}}\n").start()
    with contextlib.ExitStack() as held:
        for at in range(100):
            client = held.enter_context(socket.create_connection(("127.0.0.1", life.port), timeout=30))
            client.sendall([b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"][at % 3])
        ready = life.get("/-/ready")  # the first tick may have had nothing to ask
        end = time.monotonic() + 60
        while ready.status_code == 200 and time.monotonic() < end:
            time.sleep(0.2)
            ready = life.get("/-/ready")
        assert (503, True) == (ready.status_code, bool(ready.json()["reasons"]))
        assert 200 == life.get("/-/healthy").status_code
        status, seconds = life.end()
    assert (0, True) == (status, seconds < SOON), life.said
    assert "Traceback" not in life.said


@pytest.mark.alone
def test_the_end_comes_within_five_seconds(make, abyss, tmp_path, show):
    """T6: Prometheus hangs, a POST to the audit stream hangs, 100 clients and a stream of events are open."""
    ledger_of(f"sqlite:///{tmp_path}/ledger.db").close()
    with (
        FakeAuditStream(*[("POST", lambda *_: time.sleep(600))] * 9) as audit,
        contextlib.ExitStack() as held,
    ):
        life = make(abyss.url, further=f"audit: {{url: '{audit.url}'}}\n").start()
        wait_for(audit.posts)
        for at in range(100):
            client = held.enter_context(socket.create_connection(("127.0.0.1", life.port), timeout=30))
            client.sendall([b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"][at % 3])
        url = f"http://127.0.0.1:{life.port}/api/v1/stream"
        stream = held.enter_context(httpx.stream("GET", url, timeout=30, trust_env=False))
        first = next(stream.iter_lines())
        life.until(lambda: life.get("/-/ready").status_code == 503)  # a tick has waited for Prometheus
        status, seconds = life.end()
    show(f"the end came after {seconds:.1f} s")
    assert (200, True) == (stream.status_code, bool(first))
    assert (0, True, False) == (status, seconds < PROMISED, "Traceback" in life.said), (seconds, life.said)
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}", read_only=True) as ledger:
        assert "attempted" == Outbox(ledger.transaction).parcels()[0].state


def test_asked_twice(make, abyss):
    """T7: a second SIGTERM, a SIGINT and a SIGHUP on the way out change nothing."""
    life = make(abyss.url).start()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        life.process.send_signal(number)
    status, seconds = life.end(by=signal.SIGINT)
    assert (0, True, False) == (status, seconds < SOON, "Traceback" in life.said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_while_it_starts(make, empty, number):
    """T7: at any moment of the start it leaves, and the ledger it leaves opens again."""
    life = make(empty.url)
    for seconds in (0.5, 2.0):
        life.spawn()
        time.sleep(seconds)
        life.process.send_signal(number)
        try:  # Python itself, not up yet, may swallow an interruption: who asks asks again
            status = life.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            status, _ = life.end(by=number)
        assert status in {0, 128 + number, -number}, life.said
    assert "slo_budget_tracker" not in life.said.partition("Traceback")[2]  # Python itself may not be up yet
    assert 0 == life.start().end()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_while_it_migrates(make, empty, tmp_path, number):
    """T7, S10: asked to leave amid an upgrade it ends clean, and the next start finds the old schema or the new one."""
    path = tmp_path / "ledger.db"
    of_version_one(f"sqlite:///{path}", events=EVENTS)
    life = make(empty.url).spawn()
    wait_for(Path(f"{path}.before-{migrations.REVISIONS[-1]}").exists, what="the copy before the upgrade")
    before = version(path)
    status, seconds = life.end(by=number)
    assert ("0001", 0, True) == (before, status, seconds < SOON), life.said
    assert "Traceback" not in life.said
    assert version(path) in {"0001", migrations.REVISIONS[-1]}
    assert 0 == life.start().end()[0]
    with Ledger.open(f"sqlite:///{path}", read_only=True) as ledger:
        there = [one for one in Outbox(ledger.transaction).parcels() if one.slo == "shop"]
        assert ([], [*range(1, EVENTS + 1)]) == (ledger.check(), [one.sequence for one in there][:EVENTS])


def version(path):
    """The schema of a ledger's file, as others see it."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_a_life_as_a_service(make, empty, tmp_path):
    """T15: ready after the start, alive while ticks progress, reloading and ready again, stopping."""
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)

        def listen(until):
            while not heard or not heard[-1].startswith(until):
                heard.append(manager.recv(500).decode())

        env = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        life = make(empty.url).spawn(env=env)
        listen("READY=1")
        assert ["READY=1\nSTATUS=1 SLOs"] == heard
        assert 200 == life.get("/-/healthy").status_code
        listen("WATCHDOG=1")
        life.process.send_signal(signal.SIGHUP)
        listen("RELOADING=1\nMONOTONIC_USEC=")
        listen("READY=1")
        assert 0 == life.end()[0]
        listen("STOPPING=1")


def test_a_log_that_nobody_reads(make, empty):
    """T17: with a full pipe as standard error it starts, ticks, answers and leaves."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, b"x" * 4_096):
            pass
    os.set_blocking(writing, True)
    life = make(empty.url).start(log=writing)
    os.close(writing)
    before = life.metric("slo_last_evaluation_timestamp_seconds")
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds") not in {None, before})
    assert 0 == life.end()[0]
    os.close(reading)


def test_no_standard_descriptors(make, empty):
    """T17: with standard error closed no file gets log lines, and a log whose reader is gone ends nothing."""
    life = make(empty.url).start(before=("sh", "-c", 'exec "$0" "$@" 0<&- 1>&- 2>&-'))
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds"))
    assert (0, "") == (life.end()[0], life.said)


def test_process_1_of_a_container(make, empty):
    """T18: signals work without an init, and orphans do not stay as zombies."""
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces on this machine")
    life = make(empty.url).start(before=(*namespace, "sh", "-c", 'sleep 0.1 & exec "$0" "$@"'))
    parent = life.process.pid
    inner = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds"))
    time.sleep(0.2)
    assert "" == Path(f"/proc/{inner}/task/{inner}/children").read_text()
    (life.slos / "more.yaml").write_text((life.slos / "shop.yaml").read_text().replace("shop", "queue"))
    os.kill(inner, signal.SIGHUP)
    life.until(lambda: life.names() == ["queue", "shop"])
    assert 0 == life.end(pid=inner)[0]


def test_too_few_descriptors(make, empty):
    """T10: with none left for clients the ticks go on, nothing spins, and clients are served again afterwards."""
    few = 48
    life = make(empty.url).start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)))
    life.until(lambda: life.lines("filled") and life.metric("slo_last_evaluation_timestamp_seconds"))

    def burnt():
        fields = Path(f"/proc/{life.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def written():
        with Ledger.open(f"sqlite:///{life.folder}/ledger.db", read_only=True) as ledger:
            return ledger.slo_cursor(1)

    with contextlib.ExitStack() as held:
        for _ in range(2 * few):
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_connection(("127.0.0.1", life.port), timeout=5))
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{life.port}/-/healthy", timeout=1, trust_env=False)
        began, cpu, stepped = time.monotonic(), burnt(), written()
        time.sleep(5)
        share = (burnt() - cpu) / (time.monotonic() - began)
        assert (True, None) == (share < 0.7, life.process.poll())
        life.until(lambda: written() > stepped + 5)  # ticks of a second
    now = time.time()
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds") > now)
    assert (0, False) == (life.end()[0], "Traceback" in life.said)


def test_stopped_for_a_while(make, empty):
    """T5, I1: a process that was stopped says so, catches up and counts no tick twice."""
    life = make(empty.url).start()
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds"))
    before = life.metric('slo_budget_tracker_clock_jumps_total{direction="paused"}') or 0
    life.process.send_signal(signal.SIGSTOP)
    time.sleep(SMALLEST_PAUSE + 2 * BEAT)  # it lasts, or it is none
    life.process.send_signal(signal.SIGCONT)
    on = time.time()
    life.until(
        lambda: (life.metric('slo_budget_tracker_clock_jumps_total{direction="paused"}') or 0) > before
    )
    life.until(lambda: life.metric("slo_last_evaluation_timestamp_seconds") > on)
    told = life.lines("the process was paused")  # more than once where the machine gives it no time, either
    assert max(line["seconds"] for line in told) >= SMALLEST_PAUSE
    assert 0 == life.end()[0]
    with Ledger.open(f"sqlite:///{life.folder}/ledger.db", read_only=True) as ledger:
        elapsed = ledger.slo_cursor(1) - ledger.born(1)
        assert (True, elapsed) == (ledger.slo_cursor(1) > on, sum(ledger.outcomes(1).values()))


def test_reloads_of_a_real_daemon(make, empty, tmp_path):
    """C1, C16, H9, T8: SIGHUP, a changed file and POST reload; a bad file is refused with its faults, GET does nothing."""
    token = tmp_path / "token"
    token.write_text("S3CR3T\n")
    further = "web: {reload: true, reload_token_file: token}\n"
    life = make(empty.url, further=further).start()
    more = life.slos / "more.yaml"
    text = (life.slos / "shop.yaml").read_text()

    more.write_text(text.replace("shop", "queue"))
    for _ in range(100):
        life.process.send_signal(signal.SIGHUP)
    life.until(lambda: life.names() == ["queue", "shop"])
    life.until(lambda: life.lines("reloaded"))
    assert len(life.lines("reloaded")) < 20  # of a hundred signals and a change that is watched
    more.write_text(text.replace("shop", "basket"))
    life.until(lambda: life.names() == ["basket", "shop"])

    bearer = {"authorization": "Bearer S3CR3T"}
    assert [401, 401, 403, 403] == [
        life.post("/-/reload", **headers).status_code
        for headers in (
            {},
            {"authorization": "Bearer other"},
            {**bearer, "sec_fetch_site": "cross-site"},
            {**bearer, "origin": "http://evil.example"},
        )
    ]
    assert 405 == life.get("/-/reload").status_code
    more.write_text(text.replace("shop", "queue").replace("99%", "99"))
    refused = life.post("/-/reload", **bearer)
    assert (400, "application/problem+json") == (refused.status_code, refused.headers["content-type"])
    assert "more.yaml:3:13: slos[0].target" in refused.json()["detail"]
    assert (["basket", "shop"], 0) == (
        life.names(),
        life.metric("slo_budget_tracker_config_last_reload_succ"),
    )
    status = life.get("/api/v1/status").json()
    assert (False, refused.json()["reasons"]) == (status["reload_successful"], status["reload_faults"])
    assert 200 == life.get("/-/ready").status_code

    more.unlink()
    done = life.post("/-/reload", **bearer, sec_fetch_site="same-origin")
    assert (200, ["shop"]) == (done.status_code, life.names())
    assert {"basket"} >= {change["slo"] for change in done.json()["changes"]}
    assert 'slo="basket"' not in life.get("/metrics").text
    assert (0, False) == (life.end()[0], "S3CR3T" in life.said or "Traceback" in life.said)
    assert ["error"] == list({line["level"] for line in life.lines("reload refused, what ran goes on")})
