"""The client against servers that are silent, slow or gone: total deadlines (rows P1 to P4, P20)."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from slo_budget_tracker import prometheus as room
from slo_budget_tracker.errors import (
    Unreachable,
)
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query
from tests.servers import free_port
from tests.unit.questions import UP, ask, fails, quick, shortest  # noqa: F401 - the fixture `quick` works by being here
from tests.unit.raw_server import RawServer, answer, settings


def test_a_refused_connection_is_tried_three_times():
    """P1: nobody listens: tried again within the budget, then `Unreachable`."""
    client = Prometheus(settings(f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Unreachable) as caught:
        client.ask(UP, budget_seconds=5)
    assert ("connection", {"connection": 3}, False) == (
        caught.value.reason,
        dict(client.stats.requests),
        client.stats.up,
    )


def test_a_name_is_looked_up_afresh_for_each_connection(monkeypatch):
    """P2: a name that failed, then moved, is found at its new address by the next try."""
    with RawServer(answer()) as server:
        port = int(server.address.split(":")[1])
        found = [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "127.0.0.1"]

        def look_up(_host, _port, **_):
            address = found.pop(0)
            if isinstance(address, Exception):
                raise address
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        assert () == ask("http://moved.example:9090").series


def test_a_look_up_that_hangs_is_cut(monkeypatch):
    """P2 P3: the name server is silent: the deadline holds for the look-up too."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: over.wait(5) and [])
    taken = shortest(
        lambda: fails("http://slow.example", Unreachable, reason="timeout", timeout=0.3, budget=0.3),
        within=0.4,
    )
    over.set()
    assert 0.3 <= taken < 4


def test_a_dead_first_address_leaves_time_for_the_second(monkeypatch):
    """P2: of two addresses the first never answers; the second gets its share of the time."""
    with RawServer(answer()) as server, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        dead, alive = full.getsockname(), ("127.0.0.1", int(server.address.split(":")[1]))
        both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in (dead, alive)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: both)
        assert () == ask("http://two.example:9090", timeout=1.0).series
        for filler in fillers:
            filler.close()


def cut(script_of, **options):
    """How long a question with 0.4 s takes that such a server never answers in full."""

    def once():
        server = RawServer(b"", **options)
        server.scripts = [script_of(server)]
        with server:
            fails(server, Unreachable, reason="timeout", timeout=0.4, budget=0.4)

    return shortest(once, within=0.5)


@pytest.mark.parametrize(
    "script_of",
    [
        pytest.param(lambda server: server.silence, id="P3: silent"),
        pytest.param(lambda server: server.drip(answer(), every=0.03), id="P4: headers byte by byte"),
        pytest.param(
            lambda server: (
                lambda connection: (
                    connection.sendall(answer(b" " * 1_000)[:-1_000]),
                    server.drip(b" " * 1_000, every=0.03)(connection),
                )
            ),
            id="P4: body byte by byte",
        ),
    ],
)
def test_the_total_deadline_cuts(script_of):
    """P3 P4: silence and drips end at the total deadline, whatever single reads bring."""
    assert 0.4 <= cut(script_of) < 5


def test_a_server_that_reads_nothing_is_cut():
    """P3: a large request that is never read ends at the total deadline too."""
    began = time.monotonic()
    with RawServer(b"", read=False) as server:
        server.scripts = [server.silence]
        fails(
            server,
            Unreachable,
            reason="timeout",
            timeout=0.4,
            budget=0.4,
            question=Query("x" * 30_000_000, 1),
        )
    assert time.monotonic() - began < 20


def test_a_silent_tls_handshake_is_cut():
    """P3: a server that accepts and never shakes hands."""
    with RawServer(b"", read=False) as server:
        server.scripts = [server.silence]
        url = server.url.replace("http:", "https:")
        taken = shortest(
            lambda: fails(url, Unreachable, reason="timeout", timeout=0.3, budget=0.3), within=0.4
        )
    assert 0.3 <= taken < 4


def test_an_idle_connection_closed_by_the_server_is_replaced():
    """P20: a connection from the tick before is gone; the next question opens another."""
    kept = answer().replace(b"Connection: close\r\n", b"")
    with RawServer(kept) as server:
        client = Prometheus(settings(server.url))
        for _ in range(3):
            client.ask(UP, budget_seconds=2)
            time.sleep(0.02)
        client.close()
        assert (3, {"ok": 3}) == (len(server.requests), dict(client.stats.requests))


def test_no_more_than_the_configured_requests_are_under_way():
    """P13: `concurrency` holds over all threads."""
    under_way, most, lock = [0], [0], threading.Lock()

    def slow(connection):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        time.sleep(0.05)
        with lock:
            under_way[0] -= 1
        connection.sendall(answer())

    with RawServer(slow) as server:
        client = Prometheus(settings(server.url, concurrency=2))
        threads = [
            threading.Thread(target=client.ask, args=(UP,), kwargs={"budget_seconds": 5}) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
        assert (2, 8, 8) == (most[0], len(server.requests), client.stats.requests["ok"])


def test_waiting_for_a_lane_ends_with_the_budget():
    """P24: too many requests are under way for too long: given up in time."""
    with RawServer(b"") as server:
        server.scripts = [server.silence]
        client = Prometheus(settings(server.url, concurrency=1))

        def hold():
            with pytest.raises(Unreachable):
                client.ask(UP, budget_seconds=1)

        first = threading.Thread(target=hold)
        first.start()
        time.sleep(0.1)
        with pytest.raises(Unreachable) as caught:
            client.ask(UP, budget_seconds=0.2)
        first.join()
        client.close()
        assert "timeout" == caught.value.reason


def test_closing_wakes_who_waits(monkeypatch):
    """A daemon that stops does not wait for the next try."""
    monkeypatch.setattr(room, "pause", lambda _tries, *, longest: longest)
    client = Prometheus(settings(f"http://127.0.0.1:{free_port()}"))
    threading.Timer(0.1, client.close).start()
    began = time.monotonic()
    with pytest.raises(Unreachable):
        client.ask(UP, budget_seconds=20)
    assert time.monotonic() - began < 15
