"""Schema versions: newer ones are refused untouched, older ones upgraded whole, with a backup first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from slo_budget_tracker import migrations, store, tables
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from tests.real.ledgers import NOW, one, registered, row

THIS = migrations.REVISIONS


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
    for name in ("env.py", "script.py.mako", "versions/v0001_first.py", "versions/v0002_delivery.py"):
        (folder / name).write_text((own / name).read_text())
    script = folder / "versions" / "v0003_next.py"

    def write(extra=""):
        script.write_text(
            "from alembic import op\nimport sqlalchemy as sa\n"
            "revision = '0003'\ndown_revision = '0002'\n"
            f"def upgrade():\n    op.create_table('extra', sa.Column('id', sa.Integer))\n    {extra}\n"
        )

    write()
    monkeypatch.setattr(migrations, "REVISIONS", (*THIS, "0003"))
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
    with pytest.raises(LedgerError, match="older schema 0002: start the daemon once"):
        Ledger.open(url, read_only=True)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
    backup = Path(f"{path}.before-0003")
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
