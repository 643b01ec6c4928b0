"""The client against a server that misbehaves in every way we know of (rows P1 to P30)."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import subprocess
import threading
import time
import zlib
from email.utils import formatdate
from types import SimpleNamespace

import httpcore
import httpx
import pytest

from slo_budget_tracker import prometheus as room
from slo_budget_tracker import transport
from slo_budget_tracker.errors import (
    BadAnswer,
    Busy,
    PrometheusError,
    QueryFailed,
    QueryRejected,
    Unauthorized,
    Unreachable,
)
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query, RangeQuery
from tests.servers import free_port
from tests.unit.raw_server import EMPTY, RawServer, answer, settings

MATRIX = {"status": "success", "data": {"resultType": "matrix", "result": []}}
UP = Query("up", 1_700_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between tries as short as they can be."""
    monkeypatch.setattr(room, "pause", lambda _tries, *, longest: min(0.001, longest))


def ask(server, *, budget=5.0, question=UP, **changes):
    """One question to a server by a fresh client."""
    client = Prometheus(settings(getattr(server, "url", server), **changes))
    try:
        return client.ask(question, budget_seconds=budget)
    finally:
        client.close()


def fails(server, expected, *, reason, **how):
    """One question that must fail in this way; returns the error."""
    with pytest.raises(expected) as caught:
        ask(server, **how)
    assert reason == caught.value.reason
    return caught.value


def shortest(action, *, within, times=6):
    """The least wall time of some runs, until one is fine: the machine may be busy, but never fast by mistake."""
    taken = []
    while len(taken) < times and min(taken, default=within + 1) > within:
        began = time.monotonic()
        action()
        taken.append(time.monotonic() - began)
    return min(taken)


# --- connections and deadlines


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


# --- bodies


def endless(connection):
    """Chunks for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b"10000\r\n" + b" " * 65_536 + b"\r\n")


def test_an_endless_body_is_cut_at_the_limit():
    """P5: no Content-Length and no end: over at `max_response_bytes`."""
    with RawServer(endless) as server:
        fails(server, BadAnswer, reason="too_large")


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


# --- statuses


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        ("400 Bad Request", QueryRejected, "bad_request"),
        ("422 Unprocessable Entity", QueryFailed, "execution"),
        ("401 Unauthorized", Unauthorized, "unauthorized"),
        ("403 Forbidden", Unauthorized, "forbidden"),
        ("302 Found", BadAnswer, "redirect"),
        ("418 I'm a teapot", BadAnswer, "status"),
    ],
)
def test_permanent_statuses_are_asked_once(status, expected, reason):
    """P11 P12 P15 P16: asking again could not help."""
    with RawServer(answer(b"no", status=status)) as server:
        fails(server, expected, reason=reason)
        assert 1 == len(server.requests)


def test_the_servers_words_are_shown_without_control_characters():
    """P11: a rejected query is shown with what Prometheus says about it."""
    body = {
        "status": "error",
        "errorType": "bad_data",
        "error": "1:5: parse error: \x1b[31mno\u202e " + "x" * 500,
    }
    with RawServer(answer(body, status="400 Bad Request")) as server:
        said = str(fails(server, QueryRejected, reason="bad_data"))
    assert said.startswith("Prometheus says: 1:5: parse error:  [31mno  xxx")
    assert len(said) < 230
    assert said.isprintable()


@pytest.mark.parametrize(
    ("kind", "expected", "reason"),
    [
        ("bad_data", QueryRejected, "bad_data"),
        ("execution", QueryFailed, "execution"),
        ("timeout", Busy, "timeout"),
        ("unavailable", Busy, "unavailable"),
        ("<script>", BadAnswer, "other"),
        (["x"], BadAnswer, "other"),
    ],
)
def test_an_error_under_status_200_is_an_error(kind, expected, reason):
    """P10: `status: error` counts, whatever HTTP says; errorType is from a closed list."""
    with RawServer(answer({"status": "error", "errorType": kind, "error": "why"})) as server:
        fails(server, expected, reason=reason)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 598])
def test_a_busy_server_is_asked_three_times(status):
    """P14 P20: 5xx is tried again within the tick, three times in all."""
    with RawServer(answer(b"", status=f"{status} Busy")) as server:
        fails(server, Busy, reason="unavailable")
        assert 3 == len(server.requests)


def test_the_third_try_may_succeed():
    """P14: after two 503 the answer counts."""
    busy = answer(b"", status="503 Service Unavailable")
    with RawServer(busy, busy, answer()) as server:
        assert () == ask(server).series


def test_a_query_that_timed_out_is_not_repeated():
    """P14: what was too slow for the server a moment ago is too slow now."""
    body = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    with RawServer(answer(body, status="503 Service Unavailable")) as server:
        fails(server, Busy, reason="query_timeout")
        assert 1 == len(server.requests)


def test_no_try_begins_after_the_budget():
    """P14: pauses and tries stay within the time given."""
    with RawServer(answer(b"", status="503 Busy", headers=("Retry-After: 30",))) as server:
        began = time.monotonic()
        error = fails(server, Busy, reason="unavailable", budget=0.5)
        assert (1, 30.0) == (len(server.requests), error.retry_after)
        assert time.monotonic() - began < 15  # not the 30 s that the server asks for


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(formatdate(NOW + 20, usegmt=True), 20.0, id="an HTTP date"),
        pytest.param("-5", None, id="negative"),
        pytest.param("9" * 14, 60.0, id="more than a minute is cut"),
        pytest.param("9" * 400, None, id="absurd"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 60.0, id="year 9999"),
        pytest.param("Fri, 31 Dec 99999 23:59:59 GMT", None, id="no year"),
        pytest.param(formatdate(NOW - 20, usegmt=True), None, id="the past"),
        pytest.param("soon", None, id="words"),
        pytest.param("١٢", None, id="foreign digits"),
    ],
)
def test_retry_after_is_understood(header, expected):
    """P13: seconds or a date, at most a minute; everything else is as if absent."""
    assert expected == room._retry_after(header, now=NOW)


def test_too_many_requests_halve_the_concurrency_and_shut_the_gate():
    """P13: 429 with Retry-After: nobody asks before, and fewer at a time afterwards."""
    busy = answer(b"", status="429 Too Many Requests", headers=("Retry-After: 20",))
    with RawServer(busy) as server:
        clock = SimpleNamespace(now=0.0)
        client = Prometheus(settings(server.url, concurrency=8), monotonic=lambda: clock.now)
        for expected in (1, 1):
            with pytest.raises(Busy):
                client.ask(UP, budget_seconds=5)
            assert expected == len(server.requests)
        assert 4 == client._lanes.limit
        clock.now = 21
        server.scripts = [answer()]
        assert () == client.ask(UP, budget_seconds=5).series
        client.close()


def test_refused_credentials_are_not_tried_again_for_a_minute():
    """P15: one try a minute after 401, for all questions together."""
    with RawServer(answer(b"", status="401 Unauthorized")) as server:
        clock = SimpleNamespace(now=0.0)
        client = Prometheus(settings(server.url), monotonic=lambda: clock.now)
        for now, expected in ((0, 1), (1, 1), (59, 1), (61, 2)):
            clock.now = now
            with pytest.raises(Unauthorized):
                client.ask(UP, budget_seconds=5)
            assert expected == len(server.requests)
        assert client.stats.auth_ok is False
        client.close()


def test_a_rotated_token_is_used_at_once(tmp_path):
    """P15: the token file is read before each try; a new token passes though the old one was refused."""
    file = tmp_path / "token"
    file.write_text("old\n")
    with RawServer(answer(b"", status="401 Unauthorized"), answer()) as server:
        client = Prometheus(settings(server.url, bearer_token_file=file))
        with pytest.raises(Unauthorized):
            client.ask(UP, budget_seconds=5)
        file.write_text("new\n")
        client.ask(UP, budget_seconds=5)
        client.close()
        assert [b"Bearer old", b"Bearer new"] == [
            line.split(b": ")[1] for one in server.requests for line in one.split(b"\r\n")
            if line.startswith(b"Authorization")
        ]  # fmt: skip
        assert client.stats.auth_ok is True


def test_a_missing_token_file_is_named_by_its_fault_only(tmp_path):
    """P15: nothing is sent without the token."""
    with RawServer(answer()) as server:
        error = fails(server, Unauthorized, reason="secret", bearer_token_file=tmp_path / "none")
        assert ("the file with the secret cannot be read: No such file or directory", []) == (
            str(error),
            server.requests,
        )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_redirects_are_not_followed(status):
    """P16: no header goes to another host."""
    with RawServer(answer()) as other:
        there = f"Location: {other.url}/api/v1/query"
        with RawServer(answer(b"", status=status, headers=(there,))) as server:
            fails(server, BadAnswer, reason="redirect", headers={"X-Scope-OrgID": "tenant"})
        assert [] == other.requests


def test_get_is_used_where_post_is_not_allowed():
    """405: some proxies allow GET only; it is remembered."""
    with RawServer(answer(b"", status="405 Method Not Allowed"), answer(), answer(MATRIX)) as server:
        client = Prometheus(settings(server.url + "/prefix/"))
        client.ask(UP, budget_seconds=5)
        client.ask(RangeQuery("up", 0, 60, 60), budget_seconds=5)
        client.close()
        lines = [one.split(b" HTTP")[0] for one in server.requests]
    assert [b"POST /prefix/api/v1/query", b"GET /prefix/api/v1/query?"] == [lines[0], lines[1][:25]]
    assert lines[2].startswith(b"GET /prefix/api/v1/query_range?query=up&start=0&end=60&step=60&")


# --- protocol, TLS, environment


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((f"X: {'x' * 200_000}",), id="200 KB"),
        pytest.param(tuple(f"X-{n}: 1" for n in range(1_000)), id="1,000 headers"),
    ],
)
def test_too_many_headers_are_refused(headers):
    """P27: an answer's headers have limits."""
    with RawServer(answer(headers=headers)) as server:
        fails(server, Unreachable, reason="protocol")


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\0" * 100])
def test_what_is_not_http_is_refused(reply):
    """P27: other protocols on the port."""
    with RawServer(reply) as server:
        fails(server, Unreachable, reason="protocol")


CA = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Self-signed certificates made by openssl: for 127.0.0.1, for another host, expired."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "ca.conf").write_text(CA)
    (folder / "index.txt").touch()
    (folder / "index.txt.attr").write_text("unique_subject = no")
    (folder / "serial").write_text("01")
    today = time.time()
    ends = {"good": today + 30 * 86_400, "other": today + 30 * 86_400, "expired": today - 86_400}
    names = {"good": "IP:127.0.0.1", "other": "DNS:other.example", "expired": "IP:127.0.0.1"}
    for name, end in ends.items():
        until = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(end))
        request = (
            f"req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key"
            f" -out {name}.csr -subj /CN={name} -addext subjectAltName={names[name]}"
        )
        signing = (
            f"ca -config ca.conf -batch -notext -selfsign -keyfile {name}.key -in {name}.csr"
            f" -out {name}.pem -startdate 20200101000000Z -enddate {until}"
        )
        for command in (request, signing):
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def secured(certificates, name, ca=None, **limits):
    """A TLS server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    if ca is not None:
        context.load_verify_locations(ca)
    for key, value in limits.items():
        setattr(context, key, value)
    return RawServer(answer(), wrap=lambda connection: context.wrap_socket(connection, server_side=True))


def tls(folder, name, **more):
    """TLS settings that trust this certificate."""
    return SimpleNamespace(
        **{
            "ca_file": folder / f"{name}.pem",
            "cert_file": None,
            "key_file": None,
            "server_name": None,
            **more,
        }
    )


def test_tls_with_a_trusted_certificate(certificates):
    """P28: accepted, and its end is known."""
    with secured(certificates, "good") as server:
        client = Prometheus(settings(f"https://{server.address}", tls=tls(certificates, "good")))
        client.ask(UP, budget_seconds=5)
        client.close()
        days_left = (client.stats.certificate_expires - time.time()) / 86_400
        assert 29 < days_left < 31


def test_tls_by_another_server_name(certificates):
    """P28: `server_name` is what the certificate must be for."""
    with secured(certificates, "other") as server:
        url = f"https://{server.address}"
        assert () == ask(url, tls=tls(certificates, "other", server_name="other.example")).series
        fails(url, Unreachable, reason="connection", tls=tls(certificates, "other"))


def test_a_client_certificate_is_shown(certificates):
    """P28: where the server demands one."""
    demanding = {"verify_mode": ssl.CERT_REQUIRED}
    with secured(certificates, "good", ca=certificates / "other.pem", **demanding) as server:
        own = {"cert_file": certificates / "other.pem", "key_file": certificates / "other.key"}
        url = f"https://{server.address}"
        assert () == ask(url, tls=tls(certificates, "good", **own)).series
        with pytest.raises(Unreachable):
            ask(url, tls=tls(certificates, "good"))


@pytest.mark.parametrize(
    ("served", "trusted"), [("good", "other"), ("other", "other"), ("expired", "expired")]
)
def test_bad_certificates_are_refused(certificates, served, trusted):
    """P28: unknown, for another host, expired: refused, with the reason in the message."""
    with secured(certificates, served) as server:
        url = f"https://{server.address}"
        error = fails(url, Unreachable, reason="connection", tls=tls(certificates, trusted))
        assert "certificate is refused" in str(error)
        assert [] == server.requests


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
def test_old_tls_is_refused(certificates):
    """P28: a server that speaks TLS 1.1 at best is not talked to."""
    with secured(certificates, "good", maximum_version=ssl.TLSVersion.TLSv1_1) as server:
        url = f"https://{server.address}"
        fails(url, Unreachable, reason="connection", tls=tls(certificates, "good"))


def test_a_missing_ca_file_is_told():
    """P28: a wrong path in the configuration is an error, not a default."""
    fails(
        "https://127.0.0.1:1",
        Unreachable,
        reason="connection",
        tls=SimpleNamespace(ca_file="/none", cert_file=None, key_file=None, server_name=None),
    )


def test_the_environments_proxy_is_ignored(monkeypatch):
    """P29: HTTP_PROXY, a netrc and SSL_CERT_FILE of the environment mean nothing here."""
    with RawServer(answer()) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        assert () == ask(server).series


def test_clock_skew_is_measured():
    """P30: the server's Date header against our clock, good to about a second."""
    with RawServer(answer(headers=(f"Date: {formatdate(NOW + 90, usegmt=True)}",))) as server:
        client = Prometheus(settings(server.url), wall=lambda: NOW)
        client.ask(UP, budget_seconds=5)
        client.close()
        assert 89 <= client.stats.clock_skew_seconds <= 91


def test_an_odd_date_header_is_no_skew():
    """P30: a Date that cannot be understood is ignored."""
    with RawServer(answer(headers=("Date: yesterday",))) as server:
        client = Prometheus(settings(server.url))
        client.ask(UP, budget_seconds=5)
        client.close()
        assert client.stats.clock_skew_seconds is None


# --- secrets, headers, requests


def test_user_and_password_of_the_url_become_a_header():
    """Secrets: userinfo is sent as basic auth and is in no message and no request line."""
    with RawServer(answer()) as server:
        ask(f"http://me:s3cret@{server.address}/?debug=1")
        head = server.requests[0]
    token = base64.b64encode(b"me:s3cret")
    assert b"Authorization: Basic " + token + b"\r\n" in head
    assert b"s3cret" not in head
    assert b"debug" not in head


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:9090",
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://h:0",
        "http://[::1",
        "http://h\x00/",
    ],
)
def test_what_is_no_address_is_told(url):
    """P1: a configured address that cannot be asked."""
    fails(url, Unreachable, reason="connection" if "\x00" not in url else "protocol", budget=1)


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"", status="500 No"),
        answer(b"", status="302 Found", headers=("Location: http://x:y@z/?q=1",)),
        answer(b"{"),
        b"",
    ],
)
def test_no_message_shows_the_address(reply, caplog):
    """Messages and the log carry neither userinfo nor query."""
    caplog.set_level("DEBUG")
    with RawServer(reply) as server, pytest.raises(PrometheusError) as caught:
        ask(f"http://me:s3cret@{server.address}/p?debug=1")
    shown = str(caught.value) + caplog.text
    assert [] == [word for word in ("s3cret", "debug", "x:y") if word in shown]


def test_the_request_is_a_form_at_a_pinned_instant():
    """P30: the instant is ours, and VictoriaMetrics is told to answer for it and not for 30 s before."""
    with RawServer(answer()) as server:
        ask(server, headers={"X-Scope-OrgID": "tenant"}, question=Query('up{a="b&c"}', 1_700_000_000))
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"POST /api/v1/query HTTP/1.1" == head.split(b"\r\n")[0]
    assert b"X-Scope-OrgID: tenant" in head
    fields = dict(one.split(b"=") for one in body.split(b"&"))
    assert 0 < int(fields.pop(b"timeout").removesuffix(b"ms")) <= 5_000
    assert {
        b"query": b"up%7Ba%3D%22b%26c%22%7D", b"time": b"1700000000", b"latency_offset": b"1ms", b"nocache": b"1",
    } == fields  # fmt: skip


def test_cookies_are_not_kept():
    """A balancer's cookie does not tie us to one of its servers."""
    with RawServer(answer(headers=("Set-Cookie: a=b; Path=/",))) as server:
        client = Prometheus(settings(server.url))
        client.ask(UP, budget_seconds=5)
        client.ask(UP, budget_seconds=5)
        client.close()
        assert [] == [one for one in server.requests if b"Cookie" in one]


def basic(**how):
    """Basic auth as it is configured."""
    return SimpleNamespace(username="me", **how)


def test_basic_auth_by_password_or_file(tmp_path):
    """The password may stand in a file."""
    file = tmp_path / "password"
    file.write_text("pw\n")
    with RawServer(answer()) as server:
        ask(server, basic_auth=basic(password="pw"))
        ask(server, basic_auth=basic(password=None, password_file=file))
        expected = b"Authorization: Basic " + base64.b64encode(b"me:pw")
        assert [True, True] == [expected in one for one in server.requests]


# --- many at a time


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


# --- what kind of server


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


# --- the door


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
