"""The web server with real sockets: silent and slow clients, too many of them, broken requests, the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from email.utils import mktime_tz, parsedate_tz

import httpx
import pytest
import uvicorn

from slo_budget_tracker import listening
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.listening import Sleeper, WebServer
from slo_budget_tracker.web import Display, build, compose

METRICS = b"# HELP g G.\n# TYPE g gauge\n" + b"".join(b'g{slo="slo-%d"} 1.0\n' % n for n in range(100_000))


@pytest.fixture
def serve(monkeypatch):
    """A factory of running servers; limits of `listening` by keyword."""
    servers = []

    def make(app=None, **limits):
        for name, value in limits.items():
            monkeypatch.setattr(listening, name, value)
        listen = "127.0.0.1:0"
        server = WebServer(app or build(Display(compose(metrics=METRICS)), listen=listen), listen=listen)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


def connect(server, *, timeout=15.0) -> socket.socket:
    """A plain connection."""
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout)


def received(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def exchange(server, request: bytes) -> bytes:
    """What comes back for some bytes until the server closes."""
    with connect(server) as client:
        client.sendall(request)
        return received(client)


def healthy(server) -> tuple[int, float]:
    """Status and seconds of a request."""
    began = time.monotonic()
    answer = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=10)
    return answer.status_code, time.monotonic() - began


def test_port_0_is_a_free_port(serve):
    """The bound address is known after the start."""
    server = serve()
    assert (200, False) == (healthy(server)[0], server.address.endswith(":0"))


def test_a_taken_address_is_one_sentence(serve):
    """Two daemons on one address: the second says so and does not start."""
    server = serve()
    with pytest.raises(UsageError, match="cannot listen on"):
        WebServer(server.app, listen=server.address).start()


@pytest.mark.parametrize(
    "beginning", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: "], ids=["nothing", "line", "header"]
)  # fmt: skip
def test_a_header_that_does_not_come_is_not_waited_for(serve, beginning):
    """H1: a connection whose request does not come to its end is closed, also when it drips."""
    server = serve(HEADER_SECONDS=0.6)
    with connect(server) as client:
        began = time.monotonic()
        client.sendall(beginning)
        with contextlib.suppress(OSError):
            for _ in range(4 if beginning else 0):
                time.sleep(0.1)
                client.sendall(b"x")
        assert b"" == received(client)
    assert 0.5 < time.monotonic() - began < 15


def test_a_second_header_that_does_not_come_is_not_waited_for(serve):
    """H1: a kept connection has the same time for each further request."""
    server = serve(HEADER_SECONDS=0.6)
    with connect(server) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        began = time.monotonic()
        client.sendall(b"GET /metr")
        received(client)
    assert 0.5 < time.monotonic() - began < 15


def test_a_kept_connection_is_closed_in_the_end(serve):
    """H1: after an answer the connection is kept for some seconds, then closed."""
    server = serve(KEEP_ALIVE_SECONDS=1)
    with connect(server) as client:
        client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        assert received(client).endswith(b"healthy.\n")
    assert 0.5 < time.monotonic() - began < 15


def test_a_client_that_does_not_read_its_answer(serve):
    """H2: what is not read is not kept for ever."""
    page = METRICS * 20  # more than the kernel's buffers take
    app = build(Display(compose(metrics=page)), listen="127.0.0.1:0")
    server = serve(app, KEEP_ALIVE_SECONDS=1, FLUSH_SECONDS=0.5)
    with connect(server) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + 60
        time.sleep(1)
        while server._hall.speaking and time.monotonic() < end:
            time.sleep(0.05)
        assert len(received(client)) < len(page)


def test_six_hundred_held_connections(serve):
    """H2: with 600 silent connections a scrape is still answered at once, by no more threads."""
    server = serve()
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(connect(server))
        status, seconds = healthy(server)
    assert (200, True, True) == (status, seconds < 10, threading.active_count() <= threads)


def test_the_longest_silent_connection_makes_room(serve):
    """H2: beyond the limit it is the oldest silent connection that goes."""
    server = serve(MOST_CONNECTIONS=3)
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(4):
            clients.append(stack.enter_context(connect(server)))
            time.sleep(0.05)
        clients[0].settimeout(2)
        assert b"" == received(clients[0])
        clients[3].sendall(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert received(clients[3]).startswith(b"HTTP/1.1 200 OK")


def test_one_more_than_all_that_are_being_answered(serve):
    """H2: where every connection is being answered the next one gets 503 and its end."""

    async def hanging(_scope, receive, _send):
        while (await receive())["type"] != "http.disconnect":
            pass

    server = serve(hanging, MOST_CONNECTIONS=2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(server)).sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
        assert received(stack.enter_context(connect(server))).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nBad Header: x\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000, b"400"),
        (b"GET /" + b"x" * 20_000, b"400"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -3\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n", b"413"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
    ],
    ids=["nonsense", "no host", "two hosts", "bad header", "endless header", "endless line", "two lengths", "negative length",
         "two different lengths", "1 GiB", "foreign host"],
)  # fmt: skip
def test_broken_requests_are_refused_and_closed(serve, request_bytes, status):
    """H3, H5, H10, H16: what is not a clean request gets an error and the connection ends."""
    assert status == exchange(serve(), request_bytes)[9:12]


def test_http_1_0(serve):
    """H16: an old client without a Host gets its answer and the end of the connection."""
    answer = exchange(serve(), b"GET /-/healthy HTTP/1.0\r\n\r\n")
    assert (b"HTTP/1.1 200 OK", True) == (answer[:15], answer.endswith(b"slo-budget-tracker is healthy.\n"))


def test_pipelined_requests_are_answered_in_order(serve):
    """H16: two requests at once get two answers."""
    one = b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = exchange(serve(), one + last)
    assert [b"200", b"404"] == [part[1:4] for part in answer.split(b"HTTP/1.1")[1:]]


def test_a_body_without_end_is_cut(serve):
    """H3: a chunked body of many megabytes is answered with 413 after 64 KiB."""
    with connect(serve()) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        with contextlib.suppress(OSError):
            for _ in range(2_000):
                client.sendall(chunk)
        with contextlib.suppress(OSError):
            assert b"413" == client.recv(65_536)[9:12]


def test_no_server_header(serve):
    """What runs here is nobody's business."""
    assert "server" not in httpx.get(f"{serve().url}/-/healthy", trust_env=False).headers


def test_scraped_by_a_real_client_compressed(serve):
    """H4: a page of megabytes goes over the wire compressed, made once."""
    answer = httpx.get(f"{serve().url}/metrics", trust_env=False)
    assert ("gzip", METRICS) == (answer.headers["content-encoding"], answer.content)


def test_the_end_is_quick_with_clients_that_hang(serve):
    """T6: silent clients, half requests, unread answers and a request that never ends: stopped within 3 s."""

    async def hanging(scope, receive, send):
        while True:
            await receive()

    server = serve(app=hanging)
    with contextlib.ExitStack() as stack:
        for number in range(100):
            client = stack.enter_context(connect(server))
            client.sendall(
                [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"][number % 3]
            )
        time.sleep(0.3)
        began = time.monotonic()
        server.stop()
        seconds = time.monotonic() - began
    assert (True, False) == (seconds < 15, server.alive)


def test_stopping_twice_or_never_started_is_no_fault(serve):
    """T7: a server that does not run can be stopped."""
    server = serve()
    server.stop()
    server.stop()
    WebServer(server.app, listen="127.0.0.1:0").stop()
    assert not server.alive


def test_the_server_sleeps_until_it_is_asked_and_ends_at_once(serve):
    """Nobody asks: it does not wake to see whether it shall end; answers bear the time of their own."""
    server = serve()
    loop = server._server._loop
    handles = len(loop._scheduled)
    dates = [httpx.get(f"{server.url}/-/healthy", trust_env=False).headers["date"] for _ in range(2)]
    assert (0, True) == (handles, all(abs(mktime_tz(parsedate_tz(one)) - time.time()) < 60 for one in dates))
    began = time.monotonic()
    server.stop(within=10)
    assert (False, True) == (server.alive, time.monotonic() - began < 10)
    server.stop()  # and once more


def test_a_server_that_is_stopped_before_it_serves_does_not_serve():
    """The end may be asked for in the first moments of the start."""
    sleeper = Sleeper(uvicorn.Config(None))
    sleeper.end()
    asyncio.run(asyncio.wait_for(sleeper.main_loop(), 10))
    sleeper.end()  # its loop is closed by now
    assert sleeper.should_exit
