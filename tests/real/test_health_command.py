"""The command `health`: alive, ready, out of reach; plain, with TLS, with client certificates."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from slo_budget_tracker import health
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.web import Display, build, compose
from slo_budget_tracker.webconfig import Web
from tests.authority import Authority
from tests.unit.raw_server import RawServer
from tests.unit.test_webconfig import HASH


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """One server."""
    found = Authority.in_folder(tmp_path_factory.mktemp("authority"))
    found.certificate("server")
    return found


@pytest.fixture
def serve():
    """A factory of running servers; keys of the section `web` by keyword."""
    servers = []

    def make(*, unready=(), **web):
        section = Web(listen="127.0.0.1:0", **web)
        protector = Protector.of(section)
        app = build(Display(compose(unready=unready)), listen=section.listen, protector=protector)
        server = WebServer(app, listen=section.listen, protector=protector)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


def tls(authority, **more):
    """The server's certificate."""
    return {"cert_file": authority.folder / "server.pem", "key_file": authority.folder / "server.key", **more}


def asked(server, capsys, *options, listen=None):
    """Exit status and what is said; the configuration is in the environment."""
    told = pytest.MonkeyPatch()
    told.setenv("SLO_BUDGET_TRACKER_WEB__LISTEN", listen or server.address)
    tls = server and server.protector.web.tls
    for name in sorted(tls.model_fields_set) if tls else ():
        told.setenv(f"SLO_BUDGET_TRACKER_WEB__TLS__{name.upper()}", str(getattr(tls, name)))
    try:
        status = health.main(options)
    finally:
        told.undo()
    found = capsys.readouterr()
    return status, (found.out + found.err).strip()


@pytest.mark.parametrize("secured", [False, True])
def test_it_finds_out_whether_there_is_tls(serve, authority, capsys, secured):
    """Docker's HEALTHCHECK, with passwords too."""
    server = serve(basic_auth_users={"a": HASH}, tls=tls(authority) if secured else None)
    assert (0, "slo-budget-tracker is healthy.") == asked(server, capsys)
    assert (0, "slo-budget-tracker is ready.") == asked(server, capsys, "--ready")


def test_not_ready_is_bad_news(serve, capsys):
    """Status 1 and the reasons, alive all the same."""
    server = serve(unready=["no tick has been evaluated yet"])
    status, said = asked(server, capsys, "--ready")
    assert (1, True, 0) == (status, "no tick has been evaluated yet" in said, asked(server, capsys)[0])


@pytest.mark.parametrize("version", ["TLS12", "TLS13"])
def test_who_asks_for_a_certificate_is_alive(serve, authority, capsys, version):
    """With required client certificates nobody but their owners learns more."""
    clients = {
        "client_ca_file": authority.folder / "ca.pem",
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    server = serve(tls=tls(authority, max_version=version, **clients))
    assert (0, "alive: it asks for a client certificate") == asked(server, capsys)
    said = "alive; whether it is ready it tells only to clients with a certificate"
    assert (3, said) == asked(server, capsys, "--ready")


def test_nobody_there_is_out_of_reach(capsys, monkeypatch):
    """Status 3 and a sentence: refused, silent, or something else."""
    monkeypatch.setattr(health, "TIMEOUT", 0.3)
    assert (3, "no answer at 127.0.0.1:9: Connection refused") == asked(None, capsys, listen="127.0.0.1:9")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        assert (3, f"no answer at {listen}: not within 0 s") == asked(None, capsys, listen=listen)
    for reply, said in (
        (b"", "no HTTP (closed)"),
        (b"SSH-2.0\r\n", "not HTTP"),
        (b"HTTP/1.1\r\n\r\n", "not HTTP"),
    ):
        with RawServer(reply) as server:
            listen = server.address
            assert (3, f"no answer at {listen}: {said}") == asked(None, capsys, listen=listen)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        (":9724", ("127.0.0.1", 9724)),
        ("0.0.0.0:1", ("127.0.0.1", 1)),
        ("[::]:1", ("::1", 1)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_all_interfaces_are_asked_on_this_machine(listen, address):
    """What listens everywhere listens here."""
    assert address == health.there(listen)


def test_the_command_loads_little(serve, tmp_path):
    """It runs every half a minute for ever: no numbers, no database, no web framework."""
    server = serve()
    (tmp_path / "c.yaml").write_text(f"web: {{listen: '{server.address}'}}\n")
    heavy = ("numpy", "sqlalchemy", "fastapi", "typer", "httpx", "bcrypt")
    code = (
        "import sys; from slo_budget_tracker.__main__ import main\n"
        "try: main()\n"
        f"finally: print([one for one in {heavy!r} if one in sys.modules])"
    )
    command = [sys.executable, "-c", code, "health", "-c", str(tmp_path / "c.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "slo-budget-tracker is healthy.\n[]\n") == (done.returncode, done.stdout), done.stderr


def test_a_wrong_configuration_is_a_sentence(tmp_path, capsys):
    """Status 2, as of every other command."""
    (tmp_path / "c.yaml").write_text("web: {listen: nowhere}\n")
    assert 2 == health.main(["-c", str(tmp_path / "c.yaml")])
    assert "c.yaml:1:15: listen: a value that does not fit" in capsys.readouterr().err
