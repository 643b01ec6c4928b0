"""The command `gate`: the exit status is the answer, from a ledger or from a daemon elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import bcrypt
import pytest

from slo_budget_tracker.cli import gate as command
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.web import Display, build, compose
from slo_budget_tracker.webconfig import Web
from tests.authority import Authority
from tests.unit.raw_server import RawServer, answer
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, traffic
from tests.unit.test_cli import SLOS, call  # noqa: F401 - a fixture
from tests.unit.test_web import snapshot

AT = BEGIN + HOUR  # half an hour after the failures of 20 minutes


@pytest.fixture
def config(tmp_path):
    """A configuration whose ledger has an hour of a shop that spent its budget."""
    (tmp_path / "slos.yaml").write_text(SLOS)
    path = tmp_path / "tracker.yaml"
    path.write_text(
        f"prometheus: {{url: 'http://127.0.0.1:9'}}\nslo_files: [slos.yaml]\nledger: {{url: 'sqlite:///{tmp_path}/l.db'}}\n"
    )
    slos = load([tmp_path / "slos.yaml"], tick=INTERVAL).slos
    with Ledger.open(f"sqlite:///{tmp_path}/l.db") as ledger:
        server = Server(traffic(Archive()))
        evaluator = Evaluator(
            slos=slos, ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
        )
        evaluator.prepare(BEGIN).advance(AT)
    return path


def clock(monkeypatch, at):
    """What time it is for the command."""
    module = __import__(command.__module__, fromlist=["time"])
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: at))


def test_a_spent_budget_freezes(call, config, monkeypatch):  # noqa: F811
    """Exit status 1, and a sentence that says how much remains."""
    clock(monkeypatch, AT + DELAY)
    status, out, _ = call("gate", "-c", config, "shop")
    assert (1, True, True) == (status, out.startswith("freeze: shop: "), out.endswith("no (freeze)\n"))
    assert "of the error budget remains" in out


def test_what_is_old_is_unknown(call, config, monkeypatch):  # noqa: F811
    """Over five minutes late: status 3, unless what is unknown is let through."""
    clock(monkeypatch, AT + DELAY + 600)
    status, out, _ = call("gate", "-c", config)
    assert (3, "unknown: shop: the last evaluation is 10m late") == (status, out.splitlines()[0])
    status, out, _ = call("gate", "-c", config, "--on-unknown", "open", "--output", "json")
    assert (0, True, "unknown") == (status, json.loads(out)["allowed"], json.loads(out)["decision"])


def test_an_slo_that_was_never_evaluated_is_unknown(call, config, tmp_path, monkeypatch):  # noqa: F811
    """A new SLO has no verdict yet: nobody can say."""
    (tmp_path / "slos.yaml").write_text(SLOS.replace("5..", "503"))
    clock(monkeypatch, AT + DELAY)
    status, _, err = call("gate", "-c", config)
    assert (3, "unknown: shop: the ledger does not know it yet\n") == (status, err)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nobody"], "no SLO named 'nobody', expected one of shop"),
        (["--min-remaining", "much"], "--min-remaining: 'much', expected a share such as 10% or 0.1"),
        (["--min-remaining", "nan"], "--min-remaining: 'nan', expected a share"),
        (["--min-remaining", "110%"], "--min-remaining: '110%', expected a share"),
    ],
)
def test_usage(call, config, arguments, expected):  # noqa: F811
    """A wrong name or share is status 2 and a sentence."""
    status, _, err = call("gate", "-c", config, *arguments)
    assert (2, True) == (status, expected in err), err


@pytest.fixture(scope="module")
def daemon():
    """A daemon elsewhere with one SLO."""
    display = Display(compose(snapshots=[snapshot("shop")]), wall=lambda: 1_793_448_010)
    server = WebServer(build(display, listen="127.0.0.1:0"), listen="127.0.0.1:0")
    server.start()
    yield server.url
    server.stop()


@pytest.mark.parametrize(
    ("arguments", "status"), [(["shop"], 0), (["--min-remaining", "10%"], 1), (["nobody"], 2)]
)
def test_a_daemon_elsewhere_is_asked(call, daemon, arguments, status):  # noqa: F811
    """Pipelines run where no ledger is."""
    assert status == call("gate", "--url", daemon, *arguments)[0]


def test_a_daemon_that_does_not_answer_is_unknown(call):  # noqa: F811
    """Out of reach, or something else at that address: closed is 3, open is 0."""
    assert 3 == call("gate", "--url", "http://127.0.0.1:9")[0]
    assert 0 == call("gate", "--url", "http://127.0.0.1:9", "--on-unknown", "open")[0]


def test_an_address_that_is_none_is_a_sentence(call):  # noqa: F811
    """Status 2, with what may have been meant; a password in an address is not repeated."""
    for given, said in {
        "no address": '"no address" is no http or https URL',
        "localhost:9724": '"localhost:9724" is no http or https URL; perhaps http://localhost:9724',
        "ci:S3CR3T@here": "it has a user in it and is no http or https URL",
    }.items():
        assert (2, "", f"the daemon's address: {said}\n") == call("gate", "--url", given)
    status, _, err = call("gate", "--url", "http://ci:S3CR3T@127.0.0.1:9")
    assert (3, "the daemon at http://127.0.0.1:9: no connection: Connection refused\n") == (status, err)


def test_a_daemon_with_tls_and_passwords_is_asked(call, tmp_path, monkeypatch):  # noqa: F811
    """With login and authority of the configuration or the environment: 0; without, 3 and why."""
    authority = Authority.in_folder(tmp_path)
    certificate, key = authority.certificate("server")
    hashed = bcrypt.hashpw(b"let me in", bcrypt.gensalt(4)).decode()
    web = Web(
        listen="127.0.0.1:0",
        tls={"cert_file": certificate, "key_file": key},
        basic_auth_users={"ci": hashed},
    )
    protector = Protector.of(web)
    display = Display(compose(snapshots=[snapshot("shop")]), wall=lambda: 1_793_448_010)
    app = build(display, listen=web.listen, protector=protector)
    server = WebServer(app, listen=web.listen, protector=protector)
    server.start()
    try:
        status, _, err = call("gate", "--url", server.url)
        assert (3, f"the daemon at {server.url}: no connection: the server's certificate is refused") == (
            status,
            err.rpartition(":")[0],
        )
        monkeypatch.setenv("SLO_BUDGET_TRACKER_DAEMON__TLS__CA_FILE", str(authority.folder / "ca.pem"))
        needed = "a user and the right password are needed (`daemon.basic_auth`)"
        assert (3, f"the daemon at {server.url}: {needed}\n") == call("gate", "--url", server.url)[::2]
        (tmp_path / "password").write_text("let me in\n")
        config = tmp_path / "ci.yaml"
        config.write_text(
            f"daemon:\n  url: {server.url}\n  basic_auth: {{username: ci, password_file: password}}\n"
            "  tls: {ca_file: ca.pem}\n"
        )
        monkeypatch.delenv("SLO_BUDGET_TRACKER_DAEMON__TLS__CA_FILE")
        assert 0 == call("gate", "-c", config, "shop")[0]
        assert 2 == call("gate", "-c", config, "nobody")[0]
    finally:
        server.stop()


def test_what_is_no_daemon_is_unknown(call, monkeypatch):  # noqa: F811
    """Other answers than a gate's: 3 and what they were."""
    for body, status, said in (
        (b"[]", "200 OK", "what answers there is no gate\n"),
        (b"<html>", "200 OK", "it answered with status 200\n"),
        (b"{}", "429 Too Many Requests", "it was asked too often\n"),
        (b"{}", "502 Bad Gateway", "it answered with status 502\n"),
        (b"{}", "520 Web Server Returned an Unknown Error", "it answered with status 520\n"),
    ):
        with RawServer(answer(body, status=status)) as server:
            found = call("gate", "--url", server.url)
        assert (3, True) == (found[0], found[2].endswith(said)), found


def test_the_documentation_has_the_three_pipelines():
    """GitHub Actions, GitLab CI and Argo Rollouts are shown how."""
    text = (Path(command.__globals__["__file__"]).parents[1] / "docs" / "gate.md").read_text()
    assert [True] * 3 == [name in text for name in ("GitHub Actions", "GitLab CI", "Argo Rollouts")]
