"""TLS and passwords with real sockets: handshakes, certificates of clients, rotation, logins, a real Prometheus."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
import time

import bcrypt
import httpx
import pytest

from slo_budget_tracker import listening
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.protection import Protector, protect
from slo_budget_tracker.settings import load_settings
from slo_budget_tracker.web import Display, build, compose
from tests.authority import Authority
from tests.servers import PrometheusServer
from tests.unit.test_web import SLOS

PATIENCE = 60  # seconds
LOGIN = ("alice", "let me in")
USERS = f"basic_auth_users: {{alice: '{bcrypt.hashpw(LOGIN[1].encode(), bcrypt.gensalt(4)).decode()}'}}\n"
TLS = "tls_server_config:\n  cert_file: tls.pem\n  key_file: tls.key\n"
CLIENTS = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """Two servers, two clients, and a stranger that another authority vouches for."""
    found = Authority.in_folder(tmp_path_factory.mktemp("authority"))
    for name, names in (
        ("first", "IP:127.0.0.1"),
        ("second", "IP:127.0.0.1"),
        ("prometheus", "DNS:prometheus"),
        ("mallory", "DNS:mallory"),
    ):
        found.certificate(name, names=names)
    Authority.in_folder(found.folder / "elsewhere").certificate("stranger", names="DNS:prometheus")
    return found


def put(authority, name, folder):
    """Certificate and key in their place."""
    for ending in ("pem", "key"):
        shutil.copy(authority.folder / f"{name}.{ending}", folder / f"tls.{ending}")


@pytest.fixture
def serve(tmp_path, authority, monkeypatch):
    """A factory of running servers by the text of their web configuration; limits of `listening` by keyword."""
    servers = []
    put(authority, "first", tmp_path)
    shutil.copy(authority.folder / "ca.pem", tmp_path)

    def make(text, *, app=None, reasons=(), **limits):
        for name, value in limits.items():
            monkeypatch.setattr(listening, name, value)
        (tmp_path / "web.yaml").write_text(text)
        (tmp_path / "c.yaml").write_text("web: {listen: '127.0.0.1:0', config_file: web.yaml}\n")
        web = load_settings(tmp_path / "c.yaml", {}).web
        protector = Protector.of(web)
        display = Display(compose(snapshots=SLOS, unready=reasons))
        server = WebServer(
            app or build(display, listen=web.listen, protector=protector),
            listen=web.listen,
            protector=protector,
        )
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


def trust(authority, client=None, **versions):
    """What a client trusts and shows."""
    context = ssl.create_default_context(cafile=authority.folder / "ca.pem")
    if client is not None:
        context.load_cert_chain(authority.folder / f"{client}.pem", authority.folder / f"{client}.key")
    for name, value in versions.items():
        setattr(context, name, value)
    return context


def client_of(server, authority, *, client=None, auth=LOGIN, **versions):
    """An HTTP client."""
    verify = trust(authority, client, **versions) if server.url.startswith("https") else False
    return httpx.Client(base_url=server.url, auth=auth, verify=verify, trust_env=False, timeout=PATIENCE)


def connect(server):
    """A plain connection."""
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def shown(server, authority):
    """The serial number of the certificate that the server shows."""
    with connect(server) as line, trust(authority).wrap_socket(line, server_hostname="127.0.0.1") as secured:
        return secured.getpeercert()["serialNumber"]


def until(condition):
    """Wait for what must come."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return found


def test_only_who_has_the_password_gets_in(serve, authority):
    """H11: over TLS, every path but health asks for it; health says no more than a word."""
    server = serve(TLS + USERS, reasons=["trouble with default/secret_metric"])
    paths = [
        "/",
        "/metrics",
        "/api/v1/slos",
        "/slo",
        "/openapi.json",
        "/static/app.css",
        "/api/v1/stream",
        "/nothing",
    ]
    with client_of(server, authority, auth=None) as stranger:
        found = [stranger.get(path) for path in paths]
        assert [401] * len(paths) == [one.status_code for one in found]
        assert {'Basic realm="slo-budget-tracker", charset="UTF-8"'} == {
            one.headers["www-authenticate"] for one in found
        }
        assert [200, 503] == [stranger.get(path).status_code for path in ("/-/healthy", "/-/ready")]
        assert "secret_metric" not in stranger.get("/-/ready").text
        assert [401, 401] == [
            stranger.post(path, content=b"x", headers=headers).status_code
            for path, headers in (("/-/reload", {}), ("/api/v1/slos", {"authorization": "Bearer x"}))
        ]
        token = {"authorization": "Bearer x"}
        mark = {"kind": "deploy", "at": "2026-11-01T00:00:00Z", "text": "x", "title": "x"}
        assert [403, 401] == [
            stranger.post("/-/reload", headers=token).status_code,
            stranger.get("/api/v1/annotations", headers=token).status_code,
        ]
        assert stranger.post("/api/v1/annotations", headers=token, json=mark).status_code in {400, 403}
    with client_of(server, authority) as known:
        found = [known.get(path).status_code for path in paths if "stream" not in path]
        assert [200] * 6 + [404] == found
        with known.stream("GET", "/api/v1/stream") as stream:
            assert any(line.startswith("data: ") for line in stream.iter_lines())
    with client_of(server, authority, auth=("alice", "guess")) as guesser:
        assert 401 == guesser.get("/metrics").status_code
    assert 1 == server.protector.figures().refused["password"]


def test_guesses_are_slowed_down_and_health_is_not(serve, authority):
    """H11: 429 with Retry-After after ten; whoever is known goes on, and the event loop never waits (T11)."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    server = serve(f"basic_auth_users: {{bob: '{hashed}'}}\n")
    with client_of(server, authority, auth=("bob", "secret")) as known:
        assert 200 == known.get("/metrics").status_code
        answers = []

        def guess():
            with client_of(server, authority, auth=("bob", "guess")) as guesser:
                answers.append(guesser.get("/metrics"))

        guessers = [threading.Thread(target=guess) for _ in range(16)]
        for one in guessers:
            one.start()
        waits = []
        for _ in range(5):
            began = time.monotonic()
            assert [200, 200] == [known.get(path).status_code for path in ("/-/healthy", "/metrics")]
            waits.append(time.monotonic() - began)
        for one in guessers:
            one.join()
    statuses = [one.status_code for one in answers]
    assert ({401, 429}, True) == (set(statuses), statuses.count(401) <= 11)
    assert {"3"} == {one.headers["retry-after"] for one in answers if one.status_code == 429}
    assert min(waits) < 1


def test_a_rate_limit_is_for_all(serve, authority):
    """`rate_limit` of exporter-toolkit's file: 429 beyond the burst; health is asked all the same."""
    server = serve("rate_limit: {interval: 1h, burst: 3}\n")
    with client_of(server, authority, auth=None) as client:
        assert [200, 200, 200, 429, 429] == [client.get("/metrics").status_code for _ in range(5)]
        assert 200 == client.get("/-/healthy").status_code


def test_headers_are_those_of_the_file(serve, authority):
    """`http_server_config.headers` go before ours; blank ones are not sent."""
    more = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=60\n    X-Frame-Options: sameorigin\n    X-XSS-Protection: ''\n"
    with client_of(serve(TLS + more), authority, auth=None) as client:
        headers = client.get("/").headers
    assert ("max-age=60", ["sameorigin"], "nosniff", False) == (
        headers["strict-transport-security"],
        headers.get_list("x-frame-options"),
        headers["x-content-type-options"],
        "x-xss-protection" in headers,
    )


def test_a_rotated_certificate_is_shown_to_the_next(serve, authority, tmp_path):
    """H12: new handshakes see it, an open connection goes on; a bad one changes nothing and is counted."""
    server = serve(TLS)
    stop = threading.Event()
    server.protector.start(stop)
    first = shown(server, authority)
    with client_of(server, authority) as kept:
        assert 200 == kept.get("/-/healthy").status_code
        put(authority, "second", tmp_path)
        until(lambda: shown(server, authority) != first)
        assert 200 == kept.get("/-/healthy").status_code
    second = shown(server, authority)
    (tmp_path / "tls.key").write_text("nonsense")
    until(lambda: server.protector.figures().failures)
    assert second == shown(server, authority)
    put(authority, "first", tmp_path)
    until(lambda: shown(server, authority) == first)
    stop.set()
    assert (True, 1) == (server.protector.figures().ok, server.protector.figures().failures)


def test_tls_is_switched_on_by_a_reload(serve, authority, tmp_path):
    """What was open is closed without a restart: the next connection is greeted in TLS."""
    server = serve("")
    assert 200 == httpx.get(f"{server.url}/metrics", trust_env=False).status_code
    (tmp_path / "web.yaml").write_text(TLS + USERS)
    server.protector.adopt(server.protector.web, protect(server.protector.web))
    with client_of(server, authority) as known:
        assert ("https", 200) == (server.url.partition(":")[0], known.get("/metrics").status_code)


def test_a_broken_file_lets_nobody_in(serve, authority, tmp_path):
    """H13: the password of the last good one is asked for, whatever becomes of the file."""
    server = serve(USERS)
    for text in ("basic_auth_users: {", "", "basic_auth_users: {}"):
        (tmp_path / "web.yaml").write_text(text)
        server.protector.look()
        server.protector.look()
        with client_of(server, authority, auth=None) as stranger, client_of(server, authority) as known:
            assert [401, 200] == [one.get("/metrics").status_code for one in (stranger, known)]
    assert 3 == server.protector.figures().failures


@pytest.mark.parametrize(("client", "sans", "inside"), [
    ("prometheus", "", True),
    ("prometheus", "  client_allowed_sans: [prometheus]\n", True),
    ("mallory", "", True),
    ("mallory", "  client_allowed_sans: [prometheus]\n", False),
    ("elsewhere/stranger", "", False),
    (None, "", False),
])  # fmt: skip
def test_clients_show_certificates(serve, authority, client, sans, inside):
    """As in exporter-toolkit: verified by its authority, and let in by name where names are given."""
    server = serve(TLS + CLIENTS + sans)
    with client_of(server, authority, client=client, auth=None) as one:
        if inside:
            assert 200 == one.get("/metrics").status_code
        else:
            with pytest.raises(httpx.TransportError):
                one.get("/metrics")
            until(lambda: sum(server.protector.figures().refused.values()) == 1)


def test_an_old_version_is_refused(serve, authority):
    """P28 the other way round: a client of TLS 1.2 does not get what is for TLS 1.3 alone."""
    server = serve(TLS + "  min_version: TLS13\n")
    old = ssl.TLSVersion.TLSv1_2
    with client_of(server, authority, maximum_version=old) as client, pytest.raises(httpx.ConnectError):
        client.get("/-/healthy")
    with client_of(server, authority) as new:
        assert 200 == new.get("/-/healthy").status_code


@pytest.mark.parametrize("beginning", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_a_handshake_that_does_not_come_is_not_waited_for(serve, authority, beginning):
    """H1: silence, half a greeting, and plain HTTP on the port of TLS."""
    server = serve(TLS, HEADER_SECONDS=0.6)
    with connect(server) as line:
        began = time.monotonic()
        line.sendall(beginning)
        with contextlib.suppress(ConnectionError):
            while line.recv(4_096):
                pass
    assert time.monotonic() - began < 15
    until(lambda: {"handshake": 1} == server.protector.figures().refused)
    with client_of(server, authority) as one:
        assert 200 == one.get("/-/healthy").status_code


def test_a_header_behind_a_handshake_is_not_waited_for(serve, authority):
    """H1: the same as without TLS; a client that does not take part in the end is cut."""
    server = serve(TLS, HEADER_SECONDS=0.6)
    with connect(server) as line, trust(authority).wrap_socket(line, server_hostname="127.0.0.1") as secured:
        began = time.monotonic()
        secured.sendall(b"GET /metr")
        with contextlib.suppress(OSError):
            while secured.recv(4_096):
                pass
    assert 0.5 < time.monotonic() - began < 15


def test_six_hundred_that_never_greet(serve, authority):
    """H2: silent ones are counted from their first byte on, the longest silent ones make room."""
    server = serve(TLS, MOST_CONNECTIONS=50)
    threads = threading.active_count()
    with contextlib.ExitStack() as held:
        for _ in range(600):
            held.enter_context(connect(server))
        with client_of(server, authority) as one:
            assert 200 == one.get("/-/healthy").status_code
        until(lambda: len(server._hall.shaking) <= 50)
        assert threading.active_count() <= threads
        began = time.monotonic()
        server.stop()
        assert (True, False) == (time.monotonic() - began < 15, server.alive)


def test_one_more_than_all_that_are_being_answered_over_tls(serve, authority):
    """H2: where every connection is being answered the next one is closed before its handshake."""

    async def hanging(_scope, receive, _send):
        while (await receive())["type"] != "http.disconnect":
            pass

    server = serve(TLS, app=hanging, MOST_CONNECTIONS=1)
    with connect(server) as line, trust(authority).wrap_socket(line, server_hostname="127.0.0.1") as secured:
        secured.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: any(one.busy for one in list(server._hall.speaking)))
        with connect(server) as further:
            assert b"" == further.recv(100)
    assert {"full": 1} == server.protector.figures().refused


@pytest.mark.prometheus
def test_a_real_prometheus_scrapes_through_both(serve, authority, tmp_path):
    """A certificate of the client and a password, as its own scrape configuration has them."""
    server = serve(TLS + CLIENTS + "  client_allowed_sans: [prometheus]\n" + USERS)
    job = {
        "job_name": "slo-budget-tracker",
        "scheme": "https",
        "basic_auth": {"username": LOGIN[0], "password": LOGIN[1]},
        "tls_config": {
            "ca_file": str(authority.folder / "ca.pem"),
            "cert_file": str(authority.folder / "prometheus.pem"),
            "key_file": str(authority.folder / "prometheus.key"),
        },
        "static_configs": [{"targets": [server.address]}],
    }
    anonymous = {**job, "job_name": "anonymous", "basic_auth": {"username": "alice", "password": "wrong"}}
    config = {"scrape_configs": [job, anonymous]}
    with PrometheusServer(tmp_path / "prometheus", config=config) as prometheus:

        def ups():
            answer = httpx.get(f"{prometheus.url}/api/v1/query", params={"query": "up"}, trust_env=False)
            return {one["metric"]["job"]: one["value"][1] for one in answer.json()["data"]["result"]}

        until(lambda: len(ups()) == 2)
        assert {"slo-budget-tracker": "1", "anonymous": "0"} == ups()
