"""Schema versions: newer ones are refused untouched, older ones upgraded whole, with a backup first."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from slo_budget_tracker import migrations, store, tables
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from tests.real.ledgers import NOW, one, registered, row

THIS = migrations.REVISIONS
NEXT = f"{len(THIS) + 1:04}"
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("read_only", [False, True], ids=["to write", "to read"])
def test_a_schema_from_a_newer_program_is_refused_untouched(url, path, read_only):
    """S10: a downgrade is refused with a hint, and the file keeps every byte."""
    Ledger.open(url).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"has schema 9999.*run the newer program"):
        Ledger.open(url, read_only=read_only)
    assert before == path.read_bytes()
    assert {"ledger.db", "ledger.db.lock"} >= {file.name for file in path.parent.iterdir()}


@pytest.fixture
def next_version(tmp_path, monkeypatch):
    """A program with one migration more than this one; returns how to make that migration fail."""
    folder = tmp_path / "newer"
    (folder / "versions").mkdir(parents=True)
    own = Path(migrations.__file__).parent
    versions = [f"versions/{file.name}" for file in (own / "versions").glob("v*.py")]
    for name in ("env.py", "script.py.mako", *versions):
        (folder / name).write_text((own / name).read_text())
    script = folder / "versions" / f"v{NEXT}_next.py"

    def write(extra=""):
        script.write_text(
            "from alembic import op\nimport sqlalchemy as sa\n"
            f"revision = '{NEXT}'\ndown_revision = '{THIS[-1]}'\n"
            f"def upgrade():\n    op.create_table('extra', sa.Column('id', sa.Integer))\n    {extra}\n"
        )

    write()
    monkeypatch.setattr(migrations, "REVISIONS", (*THIS, NEXT))
    monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
    return write


def upgraded(monkeypatch, url):
    """A ledger of this version with some counts, then the newer program."""
    with monkeypatch.context() as old:
        old.setattr(migrations, "REVISIONS", THIS)
        old.setattr(migrations, "__file__", str(Path(store.__file__).parent / "migrations" / "__init__.py"))
        with Ledger.open(url) as ledger:
            registered(ledger)
            ledger.commit(Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})]))


def test_an_upgrade_makes_a_backup_first(url, path, monkeypatch, next_version):
    """S10: the older file is kept beside the upgraded one, whole and private; readers wait for the daemon."""
    upgraded(monkeypatch, url)
    with pytest.raises(LedgerError, match=f"older schema {THIS[-1]}: start the daemon once"):
        Ledger.open(url, read_only=True)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
    backup = Path(f"{path}.before-{NEXT}")
    assert 0o600 == backup.stat().st_mode & 0o777
    monkeypatch.setattr(migrations, "REVISIONS", THIS)
    with Ledger.open(f"sqlite:///{backup}") as old:
        assert 10.0 == one(old, 60).total


def test_an_upgrade_that_fails_leaves_the_old_schema(url, monkeypatch, next_version):
    """S10: migrations are one transaction: a failing one leaves no table of it behind."""
    upgraded(monkeypatch, url)
    next_version(extra="op.execute('SELECT nonsense FROM nowhere')")
    with pytest.raises(LedgerError, match="no such table: nowhere"):
        Ledger.open(url)
    monkeypatch.setattr(migrations, "REVISIONS", THIS)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
        assert "extra" not in sa.inspect(ledger._store._engine).get_table_names()


# --- kills while upgrading ----------------------------------------------------------------------------------------

SLOW = "[op.execute(f'INSERT INTO extra VALUES ({n})') for n in range(2_000)]"


def killed_upgrades(url, path, folder, times):
    """Processes that upgrade until they are killed, ever later; returns how many were killed before the end."""
    chance = random.Random(10)
    killed = 0
    command = [sys.executable, "-m", "tests.real.ledger_upgrader", url, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as zygote:
        for _ in range(times):
            zygote.stdin.write(f"{0.05 + chance.random() * 0.5}\n")
            zygote.stdin.flush()
            killed += zygote.stdout.readline() == "killed\n"
            check_upgraded(path)
    return killed


def check_upgraded(path):
    """The old schema or the new one, never something between; the next upgrade begins with the old one again."""
    with closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        extra = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone()[0]
        rows = connection.execute("SELECT count(*) FROM extra").fetchone()[0] if extra else 0
        assert (version, extra, rows) in ((THIS[-1], 0, 0), (NEXT, 1, 2_000))
        assert ("ok",) == connection.execute("PRAGMA integrity_check").fetchone()
        if extra:  # the next one begins before the upgrade again
            connection.execute("DROP TABLE extra")
            connection.execute("UPDATE alembic_version SET version_num = ?", THIS[-1:])
            connection.commit()


def check_killed_upgrades(url, path, monkeypatch, next_version, times):
    """However often it was killed, the upgrade goes through at last, with a whole backup of before."""
    upgraded(monkeypatch, url)
    next_version(extra=SLOW)
    assert 0 < killed_upgrades(url, path, Path(migrations.__file__).parent, times)
    with Ledger.open(url) as ledger:
        assert (10.0, None) == (one(ledger, 60).total, ledger.reset)
    monkeypatch.setattr(migrations, "REVISIONS", THIS)
    with Ledger.open(f"sqlite:///{path}.before-{NEXT}") as old:
        assert 10.0 == one(old, 60).total


def test_an_upgrade_that_is_killed_is_done_again(url, path, monkeypatch, next_version):
    """S10: kill -9 during migration, ten times: the old schema or the new one, never something between."""
    check_killed_upgrades(url, path, monkeypatch, next_version, 10)


@pytest.mark.long
def test_an_upgrade_that_is_killed_a_hundred_times(url, path, monkeypatch, next_version):
    """S10: kill -9 during migration, a hundred times."""
    check_killed_upgrades(url, path, monkeypatch, next_version, 100)


def test_migrations_and_tables_agree(url):
    """The tables that migrations make in a file are those the program writes to, column by column."""
    Ledger.open(url).close()

    def shape(engine):
        found = sa.inspect(engine)
        return {
            table: (
                [
                    (c["name"], str(c["type"]), c["nullable"], c["primary_key"])
                    for c in found.get_columns(table)
                ],
                sorted((i["name"], tuple(i["column_names"])) for i in found.get_indexes(table)),
                sorted(tuple(u["column_names"]) for u in found.get_unique_constraints(table)),
                [(f["constrained_columns"], f["referred_table"]) for f in found.get_foreign_keys(table)],
            )
            for table in found.get_table_names()
            if table != "alembic_version"
        }

    fresh = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    tables.metadata.create_all(fresh)
    migrated = sa.create_engine(url)
    assert shape(fresh) == shape(migrated)
    fresh.dispose()
    migrated.dispose()
