"""`ledger stats|check|backup`, and who is told what when a ledger cannot be had: by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from slo_budget_tracker.cli import main
from slo_budget_tracker.ledger import Entry, Event, Ledger
from tests.real.ledgers import NOW, one, registered, row

SLOS = """
slos:
  - name: shop
    target: 99%
    sli: {requests: {total: shop_requests_total, bad: 'shop_requests_total{code="500"}'}}
"""


@pytest.fixture
def config(tmp_path, url):
    """A configuration that names the ledger."""
    (tmp_path / "slos.yaml").write_text(SLOS)
    file = tmp_path / "tracker.yaml"
    file.write_text(f"slo_files: [slos.yaml]\nledger: {{url: '{url}'}}\nweb: {{listen: '127.0.0.1:0'}}\n")
    return file


@pytest.fixture
def call(config, monkeypatch, capsys):
    """Run the command; status, standard output, standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["slo-budget-tracker", *map(str, words), "-c", str(config)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return left.value.code or 0, out, err

    monkeypatch.setenv("COLUMNS", "200")
    return run


@pytest.fixture
def ledger(url):
    """The ledger of a daemon that runs."""
    with Ledger.open(url) as opened:
        registered(opened)
        event = Event("e", "slo-0", "slo_recovered", NOW, {})
        opened.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1), 2: (1, 0)})], events=[event]))
        yield opened


def test_stats_beside_a_daemon(call, ledger):
    """`ledger stats`: a table for people, JSON for programs."""
    status, out, err = call("ledger", "stats", "--output", "json")
    figures = json.loads(out)
    assert (0, "") == (status, err)
    expected = {"instances": 2, "rows": 1, "rows_by_step": {"0": 1}, "events_pending": 1, "refused": 0}
    assert expected == {name: figures[name] for name in expected}
    assert (ledger.meta["epoch"], "2023-11-14T10:59:30Z") == (figures["epoch"], figures["newest"])
    assert figures["bytes"] >= (ledger.path.stat().st_size if ledger.path else 8_192)
    status, out, _ = call("ledger", "stats")
    assert 0 == status
    assert "SLO instances in use  2" in out


def test_check_of_a_sound_ledger(call, ledger):
    """`ledger check`: exit status 0 beside a running daemon."""
    assert (0, "the ledger is sound\n", "") == call("ledger", "check")


def test_check_of_a_ledger_that_contradicts_itself(call, ledger):
    """S5: `ledger check` names what is wrong, exit status 1."""
    with ledger._store.begin() as connection:
        connection.exec_driver_sql("UPDATE event SET sequence = 7")
        connection.exec_driver_sql("INSERT INTO slo_cursor VALUES (2, 9999999999)")
    status, out, _ = call("ledger", "check")
    assert 1 == status
    assert ["the payload of event 7", "instance 2 was stepped"] == [line[:22] for line in out.splitlines()]


def test_check_of_a_damaged_file(call, ledger, path):
    """S5: a file that SQLite cannot read is bad news too, and stays as it is."""
    ledger.close()
    path.write_bytes(path.read_bytes()[:8192] + bytes(path.stat().st_size - 8192))
    before = path.read_bytes()
    status, out, _ = call("ledger", "check")
    assert (1, before) == (status, path.read_bytes())
    assert "is damaged" in out


def test_a_backup_beside_a_daemon_is_restored(call, ledger, path, url, tmp_path):
    """S13: the restore drill as it is documented: backup, go on, stop, copy it over, start."""
    target = tmp_path / "copy.db"
    status, out, _ = call("ledger", "backup", target)
    assert (0, True) == (status, out.startswith(f"copied to {target} ("))
    assert 0o600 == target.stat().st_mode & 0o777
    ledger.commit(Entry(rows=[row(NOW, NOW + 60, {1: (10, 1), 2: (1, 0)})]))
    ledger.close()
    shutil.copyfile(target, path)
    with Ledger.open(url, now=NOW + 100) as restored:
        assert (NOW, 10.0) == (restored.history.newest, one(restored, 60).total)
        assert ["store_reset"] == [event.kind for event in restored.events(slo="*")]
    assert (0, "the ledger is sound\n", "") == call("ledger", "check")


def test_what_cannot_be_done_is_one_sentence(call, tmp_path, path):
    """Contract section 4: 3 where there is no ledger, 2 for a file that exists."""
    for words in (("stats",), ("check",), ("backup", tmp_path / "new.db")):
        assert (3, "", f"there is no ledger at {path}\n") == call("ledger", *words)
    (tmp_path / "old.db").touch()
    status, _, err = call("ledger", "backup", tmp_path / "old.db")
    assert (2, f"{tmp_path / 'old.db'} exists already, expected the name of a new file\n") == (status, err)


def test_a_second_daemon_is_told_who_has_the_ledger(config, ledger, path):
    """S7: exit status 3 and the holder's pid; the first one is not disturbed."""
    command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(config)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    sentence = f"the ledger {path} is in use by the process {os.getpid()}"
    assert (3, sentence) == (second.returncode, second.stderr.splitlines()[-1])
    assert "Traceback" not in second.stderr
    ledger.commit(Entry(rows=[row(NOW, NOW + 60, {1: (10, 1), 2: (1, 0)})]))
