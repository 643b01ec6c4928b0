"""The client against bodies that no honest server would give (rows P5 to P9)."""

from __future__ import annotations

import gzip
import resource
import socket
import ssl
import zlib

import httpcore
import httpx
import pytest

from slo_budget_tracker import transport
from slo_budget_tracker.errors import (
    BadAnswer,
    PrometheusError,
)
from slo_budget_tracker.prometheus import Prometheus
from tests.unit.questions import ask, fails, quick  # noqa: F401 - the fixture `quick` works by being here
from tests.unit.raw_server import EMPTY, RawServer, answer, settings


def endless(connection):
    """Chunks for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def test_an_endless_body_is_cut_at_the_limit():
    """P5: no Content-Length and no end: over at `max_response_bytes` (1 MiB here), in memory too."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with RawServer(endless) as server:
        fails(server, BadAnswer, reason="too_large")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 << 10  # KiB


def coded(content, coding):
    """An answer with a Content-Encoding."""
    return answer(content, headers=(f"Content-Encoding: {coding}",))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(coded(gzip.compress(b" " * 50_000_000), "gzip"), "too_large", id="P6: gzip bomb"),
        pytest.param(
            coded(gzip.compress(gzip.compress(b" " * 3_000_000)), "gzip, gzip"), "encoding", id="P6: twice"
        ),
        pytest.param(
            coded(gzip.compress(gzip.compress(b"{}")), "gzip"), "not_json", id="P6: twice, said once"
        ),
        pytest.param(coded(zlib.compress(b"{}"), "deflate"), "encoding", id="another coding"),
        pytest.param(coded(b"plain", "gzip"), "encoding", id="says gzip and is not"),
        pytest.param(coded(gzip.compress(b"{}") + b"tail", "gzip"), "encoding", id="bytes after the end"),
        pytest.param(coded(gzip.compress(b"{}" * 1_000)[:-9], "gzip"), "truncated", id="P7: gzip cut"),
        pytest.param(
            answer(b'{"status":"success"').replace(b"Content-Length: 19", b"Content-Length: 1000"),
            "truncated",
            id="P7: shorter than its length",
        ),
        pytest.param(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"sta',
            "truncated",
            id="P7: chunk cut",
        ),
        pytest.param(answer(b"<html><title>Login</title>"), "not_json", id="P8: HTML"),
        pytest.param(answer(b""), "not_json", id="P8: nothing"),
        pytest.param(answer(b'{"a":' * 100_000), "bad_json", id="P9: deep"),
        pytest.param(answer(b"", status="204 No Content"), "status", id="another 2xx"),
        pytest.param(answer(b"404 page not found", status="404 Not Found"), "status", id="404"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_at_once(reply, reason):
    """P6 P7 P8 P9: each is an error with its own reason, and none is asked for again."""
    with RawServer(reply) as server:
        fails(server, BadAnswer, reason=reason)
        assert 1 == len(server.requests)


def test_gzip_is_asked_for_and_read():
    """P6: one layer of gzip is what we ask for."""
    with RawServer(answer(packed=True)) as server:
        assert () == ask(server).series
        assert b"Accept-Encoding: gzip\r\n" in server.requests[0]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"version": "2.42.0", "goVersion": "go1.19"}, "Prometheus 2.42.0"),
        ({"version": "2.24.0"}, "VictoriaMetrics"),
        ({}, "VictoriaMetrics"),
        ({"application": "Grafana Mimir", "version": "2.10.0", "goVersion": "x"}, "Grafana Mimir 2.10.0"),
    ],
)
def test_buildinfo_tells_the_flavor(data, expected):
    """VictoriaMetrics is told from Prometheus by what it leaves out."""
    with RawServer(answer({"status": "success", "data": data})) as server:
        client = Prometheus(settings(server.url))
        assert expected == client.buildinfo()
        client.close()


def subclasses(root):
    """A class and all below it."""
    return [root, *(found for child in root.__subclasses__() for found in subclasses(child))]


FOREIGN = [
    *subclasses(httpx.HTTPError), *subclasses(httpx.StreamError), httpx.InvalidURL, httpx.CookieConflict,
    *(one for one in vars(httpcore).values() if isinstance(one, type) and issubclass(one, Exception)),
    OSError, TimeoutError, ConnectionResetError, BrokenPipeError, ssl.SSLError, socket.gaierror, socket.timeout,
    UnicodeError, ValueError, RuntimeError, RecursionError, MemoryError, AssertionError,
]  # fmt: skip


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda one: f"{one.__module__}.{one.__name__}")
def test_every_foreign_exception_is_mapped(foreign):
    """The door: nothing that httpx, httpcore, ssl or the system raise gets through as it is (P1, P9)."""
    error = foreign.__new__(foreign)
    error.args = ("http://me:s3cret@host/?q=1 says no",) if not issubclass(foreign, OSError) else ()
    with pytest.raises(PrometheusError) as caught, transport.mapped():
        raise error
    assert "timeout" == caught.value.reason or not isinstance(
        error, (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError)
    )
    assert "s3cret" not in str(caught.value)


def test_an_empty_answer_is_no_data():
    """P19: an empty result is an answer without series, not an error and not a zero."""
    with RawServer(answer(EMPTY)) as server:
        assert ((), False) == (ask(server).series, ask(server).partial)
