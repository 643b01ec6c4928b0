"""Commands that read a ledger, where shards have the SLOs: they are about all of them, as with one daemon alone."""

from __future__ import annotations

import json

import pytest
import yaml

from slo_budget_tracker.annotations import Annotation
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.databases import Database
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.slis import CompositeSli, Member
from tests.real.fleets import NAMES, SLOS, burning
from tests.unit.cycling import Client, Clock, settings
from tests.unit.serving import BEGIN, INTERVAL, availability
from tests.unit.test_cli import call  # noqa: F401 - a fixture

pytestmark = pytest.mark.postgresql
TICKS = 34
JOURNEY = availability("journey", sli=CompositeSli(members=(Member(slo="slo-1"), Member(slo="slo-4"))))
MARKS = (Annotation("deploy", int(BEGIN) + 120, "v1"), Annotation("incident", int(BEGIN) + 240, "late"))


def written(slo):
    """An SLO as its file has it."""
    requests = {"total": "http_requests_total", "bad": 'http_requests_total{code=~"5.."}'}
    sli = {"composite": {"members": [{"slo": name} for name in members_of(slo)]}} if members_of(slo) else None
    page = {"severity": "page", "long": "1h", "short": "5m", "burn_rate": 10}
    return {"name": slo.name, "target": "99%", "window": "1d", "alerts": [page]} | {
        "sli": sli or {"requests": requests}
    }


@pytest.fixture
def config(tmp_path):
    """A configuration for a ledger, with the files of all SLOs."""
    (tmp_path / "slos.yaml").write_text(yaml.safe_dump({"slos": [written(slo) for slo in (*SLOS, JOURNEY)]}))

    def write(database):
        place = {"url": database.url.render_as_string(hide_password=False)}
        if database.in_postgresql:
            place["namespace"] = database.namespace
        path = tmp_path / f"{database.url.get_backend_name()}.yaml"
        told = {
            "prometheus": {"url": "http://127.0.0.1:9"},
            "slo_files": ["slos.yaml"],
            "evaluation": {"interval": f"{INTERVAL}s"},
            "ledger": place,
        }
        path.write_text(yaml.safe_dump(told))
        return path

    return write


@pytest.fixture
def sharded(fleet):
    """Two shards after a while, and a mark in the ledger of each."""
    fleet.slos.append(JOURNEY)
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(TICKS)
    for index, mark in enumerate(MARKS):
        Archive(fleet.running[index].evaluator.ledger).annotate(mark)
    return fleet


@pytest.fixture
def alone(tmp_path):
    """The ledger of one daemon that had all of it."""
    place, clock = Database.of(f"sqlite:///{tmp_path}/alone.db"), Clock()
    with Ledger.open(place) as ledger:
        cycle = Cycle.begin(
            settings(), [*SLOS, JOURNEY], ledger, sources={"default": Client(burning(), clock)}, clock=clock
        )
        for _ in range(TICKS):
            clock.now += INTERVAL
            cycle.tick()
        for mark in MARKS:
            Archive(ledger).annotate(mark)
    return place


@pytest.fixture
def ask(call, capsys):  # noqa: F811
    """Run a command: its exit status, output and errors, without what the daemons logged before."""

    def run(*arguments):
        capsys.readouterr()
        return call(*arguments)

    return run


def reported(ask, config):
    """The report as JSON."""
    status, out, err = ask("report", "-c", config, "--period", "1970-01", "--format", "json")
    assert (0, "") == (status, err)
    return json.loads(out)


def test_a_report_is_the_one_of_all_shards(ask, config, sharded, alone):
    """Each SLO once, with its days, hours and events, and the marks of all ledgers: as one daemon alone has it."""
    expected = reported(ask, config(alone))
    assert sorted([*NAMES, "journey"]) == [one["name"] for one in expected["slos"]]
    assert expected == reported(ask, config(sharded.base))


def test_a_report_while_slos_move_misses_none(ask, config, sharded, alone):
    """From 2 to 3 shards: what was let go of and what was taken is there once."""
    expected = reported(ask, config(alone))
    sharded.start(0, 3)
    assert expected == reported(ask, config(sharded.base))
    sharded.start(2, 3)
    sharded.start(1, 3)
    sharded.running[2].gather()
    assert {0, 1, 2} == set(sharded.placed().values())
    assert expected == reported(ask, config(sharded.base))


def test_the_report_of_one_shard_is_its_own(ask, config, sharded):
    """Whoever names the namespace of a shard is told of the SLOs that it has."""
    place = sharded.namespaced(f"{sharded.base.namespace}_shard_1")
    mine = sorted(name for name, index in sharded.placed().items() if index == 1)
    assert mine == [one["name"] for one in reported(ask, config(place))["slos"]]


def test_a_gate_asks_all_shards(ask, config, sharded):
    """An SLO's verdict is read where it is; all of them were evaluated long ago, so nobody can say."""
    status, out, _ = ask("gate", "-c", config(sharded.base), "--output", "json")
    answer = json.loads(out)
    assert (3, "unknown") == (status, answer["decision"])
    assert sorted([*NAMES, "journey"]) == sorted(one["name"] for one in answer["slos"])


def test_a_gate_says_what_goes_from_one_shard_to_another(ask, config, sharded):
    """Let go of and not taken yet: nobody can say, and the reason is told."""
    before = {name for name, index in sharded.placed().items() if index == 0}
    sharded.start(0, 3)
    moving = sorted(before - set(sharded.placed()))
    _, _, err = ask("gate", "-c", config(sharded.base))
    assert [f"unknown: {name}: it goes from one shard to another just now" for name in moving] == [
        line for line in err.splitlines() if line.startswith("unknown")
    ]


def test_other_commands_say_where_the_shards_ledgers_are(ask, config, sharded):
    """What is about one ledger is not guessed: the answer names one."""
    base = sharded.base
    status, _, err = ask("ledger", "stats", "-c", config(base))
    assert 3 == status
    assert f"name one by ledger.namespace, such as {base.namespace}_shard_0" in err
