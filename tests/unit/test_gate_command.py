"""The command `gate`: the exit status is the answer, from a ledger or from a daemon elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from slo_budget_tracker.cli import gate as command
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.web import Display, build, compose
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
    assert 3 == call("gate", "--url", "no address")[0]
    assert 0 == call("gate", "--url", "http://127.0.0.1:9", "--on-unknown", "open")[0]


def test_the_documentation_has_the_three_pipelines():
    """GitHub Actions, GitLab CI and Argo Rollouts are shown how."""
    text = (Path(command.__globals__["__file__"]).parents[1] / "docs" / "gate.md").read_text()
    assert [True] * 3 == [name in text for name in ("GitHub Actions", "GitLab CI", "Argo Rollouts")]
