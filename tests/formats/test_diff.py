"""`diff`: what a reload would change, told from the ledger that the daemon uses."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from slo_budget_tracker.changes import Known, to_remember
from slo_budget_tracker.cli import app
from slo_budget_tracker.entries import Entry
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rollcall import DEFINITIONS
from slo_budget_tracker.specfiles import load

SLI = "{requests: {total: t, bad: b}}"
RUNNING = f"""slos:
  - {{name: same, target: 99.9%, sli: {SLI}}}
  - {{name: target, target: 99.9%, sli: {SLI}}}
  - {{name: sli, target: 99.9%, sli: {SLI}}}
  - {{name: gone, target: 99.9%, sli: {SLI}}}
"""
WANTED = f"""slos:
  - {{name: same, target: 99.90%, sli: {SLI}, description: words mean nothing}}
  - {{name: target, target: 99%, sli: {SLI}}}
  - {{name: sli, target: 99.9%, sli: {{requests: {{total: t, good: b}}}}}}
  - {{name: added, target: 99.9%, sli: {SLI}}}
"""


@pytest.fixture
def config(tmp_path):
    """A configuration whose ledger remembers four SLOs, and the files that are wanted."""
    (tmp_path / "running.yaml").write_text(RUNNING)
    (tmp_path / "wanted.yaml").write_text(WANTED)
    slos = load([tmp_path / "running.yaml"]).slos
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger.open(url)
    ledger.commit(Entry(meta={DEFINITIONS: to_remember({slo.name: Known.of(slo) for slo in slos})}))
    ledger.close()
    path = tmp_path / "config.yaml"
    path.write_text(
        f"prometheus: {{url: http://localhost:9090}}\nslo_files: [running.yaml]\nledger: {{url: '{url}'}}\n"
    )
    return path


def run(config, *arguments):
    """The command's output."""
    done = CliRunner().invoke(app, ["diff", "-c", str(config), *arguments])
    assert (0, None) == (done.exit_code, done.exception)
    return done.stdout


def test_what_a_reload_would_change_is_told_with_its_counts(config):
    """A changed target keeps counts, a changed SLI begins anew, the same in other words is no change."""
    found = json.loads(run(config, "--output", "json", str(config.parent / "wanted.yaml")))
    told = [(one["slo"], one["change"], one["counts_kept"]) for one in found]
    assert [
        ("added", "added", False),
        ("gone", "removed", False),
        ("sli", "changed", False),
        ("target", "changed", True),
    ] == told
    table = run(config, str(config.parent / "wanted.yaml"))
    assert "begin anew" in table
    assert "4 changes, 1 SLOs stay as they are" in table


def test_nothing_changes_when_the_same_files_are_read_again(config):
    """The running files against the ledger: no change; a foreign file of the same name would say more."""
    assert "0 changes, 4 SLOs stay as they are\n" == run(config, str(config.parent / "running.yaml"))
