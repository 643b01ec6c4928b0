"""A ledger in PostgreSQL: durable, alone with one writer, migrated by one, never telling a password."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from slo_budget_tracker import appeals, migrations, postgres, tables
from slo_budget_tracker.cli import main
from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerDamaged, LedgerDeposed, LedgerError, LedgerInUse
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.outbox import Outbox
from tests.postgresql import PASSWORD, postgresql_binary
from tests.real.ledgers import NOW, one, registered, row
from tests.real.test_ledger_schema import THIS, next_version, upgraded  # noqa: F401 - a fixture
from tests.servers import free_port

pytestmark = pytest.mark.postgresql
ENTRY = Entry(rows=[row(NOW - 60, NOW, {1: (10, 1)})], cursors={"feed": NOW})


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


def namespace_of(url):
    """The schema of a test."""
    return Database.of(url).namespace


def test_commits_are_durable_whatever_the_server_is_told(url):
    """S2: synchronous_commit is on in the ledger's own sessions, also where the database has it off."""
    with Ledger.open(url) as ledger, ledger._store.begin() as connection:
        names = ("synchronous_commit", "search_path", "default_transaction_read_only", "statement_timeout")
        found = [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]
        assert ["on", namespace_of(url), "off", "30s"] == found
        assert [warning for warning in ledger.warnings if "fsync = off" in warning]


def test_a_second_writer_is_told_who_holds_the_ledger(url, monkeypatch):
    """S7: one sentence with the holder; readers are welcome; after the end it is free again."""
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.2)
    with Ledger.open(url) as first:
        registered(first)
        first.commit(ENTRY)
        with pytest.raises(LedgerInUse) as refused:
            Ledger.open(url)
        who = f"process {os.getpid()} on {socket.gethostname()}"
        assert f"the ledger {Database.of(url)} is in use by the {who}" == str(refused.value)
        with Ledger.open(url, read_only=True) as reader:
            assert 10.0 == one(reader, 60).total
            with pytest.raises(LedgerError, match=r"cannot be read: cannot execute .* read-only"):
                reader.commit(ENTRY)
    Ledger.open(url).close()


def test_many_ledgers_in_one_database_know_nothing_of_each_other(postgresql, url):
    """A namespace is a schema: two writers at once, each with its own counts."""
    other = postgresql.url(namespace=f"{namespace_of(url)}_other")
    with Ledger.open(url) as mine, Ledger.open(other) as theirs:
        for ledger in (mine, theirs):
            registered(ledger)
        mine.commit(ENTRY)
        assert (10.0, 0.0) == (one(mine, 60).total, one(theirs, 60).total)
        assert mine.meta["epoch"] != theirs.meta["epoch"]
    postgresql.sql(f"DROP SCHEMA {namespace_of(other)} CASCADE")


@pytest.mark.parametrize("name", ["public", "pg_own", "Upper", "with-dash", "a" * 64])
def test_a_namespace_is_a_plain_name_of_its_own(name):
    """Nobody else's schema, and nothing that must be quoted."""
    with pytest.raises(LedgerError, match="expected small letters"):
        Database.of(f"postgresql://host/base?namespace={name}")


def test_a_broken_connection_is_replaced(postgresql, url):
    """S3: whatever ends the session, the next transaction goes through, and nothing is lost or written twice."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        for number in range(1, 6):
            ledger.commit(Entry(cursors={"feed": number}, events=[event(number)]))
            end_sessions(postgresql)
            with pytest.raises(LedgerError, match="is out of reach: terminating connection"):
                ledger.commit(Entry(cursors={"feed": 99}, events=[event(99)]))
            assert number == ledger.cursor("feed")
        assert 5 == len(ledger.events())
        assert (0, None) == (ledger.generation, ledger.reset)


def event(number):
    """Some event."""
    return Event(f"e-{number}", "slo-0", "slo_recovered", NOW, {})


def end_sessions(server):
    """End the sessions of all writers."""
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'slo-budget-tracker %'")  # fmt: skip


@pytest.mark.parametrize("got_in", [True, False], ids=["it got in", "it did not"])
@pytest.mark.parametrize("reachable", [True, False], ids=["at once", "later"])
def test_a_commit_of_unknown_fate_is_looked_up(postgresql, url, got_in, reachable, monkeypatch):
    """S4, I3: the answer to COMMIT is lost: what the ledger says afterwards is what memory says, once."""
    monkeypatch.setattr(postgres, "PAUSE", 0.0)
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(cursors={"feed": 1}, events=[event(1)]))
        lose_the_answer(ledger, postgresql, got_in=got_in)
        if not reachable:
            monkeypatch.setattr(ledger._store._engine, "connect", refuse)
        entry = Entry(cursors={"feed": 2}, events=[event(2)])
        if got_in and reachable:
            ledger.commit(entry)
        else:
            with pytest.raises(LedgerError, match="is out of reach"):
                ledger.commit(entry)
        monkeypatch.undo()
        ledger.commit(Entry(cursors={"other": 3}, events=[event(2)]))
        assert (2 if got_in else 1) == ledger.cursor("feed")
        assert ["e-1", "e-2"] == [one.event_id for one in ledger.events()]
        assert int(got_in and not reachable) == ledger.generation
        assert [] == ledger.check()


def refuse():
    """No connection is to be had."""
    raise sa.exc.OperationalError("", {}, Exception("connection refused"))


def lose_the_answer(ledger, server, *, got_in):
    """The next COMMIT breaks the connection, after it was carried out or before."""
    commit = ledger._store._engine.dialect.do_commit

    def broken(connection):
        ledger._store._engine.dialect.do_commit = commit
        if got_in:
            commit(connection)
        server.sql(f"SELECT pg_terminate_backend({connection.driver_connection.info.backend_pid})")
        connection.driver_connection.execute("SELECT 1")

    ledger._store._engine.dialect.do_commit = broken


def test_a_writer_whose_term_is_over_may_not_write(postgresql, url):
    """Fencing: the term is looked at inside each transaction, so a session that lived on changes nothing."""
    with Ledger.open(url) as old:
        registered(old)
        old.commit(ENTRY)
        postgresql.sql(f"UPDATE {namespace_of(url)}.lease SET term = term + 1, holder = 'process 7 on other'")
        with pytest.raises(LedgerDeposed, match="led by process 7 on other now"):
            old.commit(Entry(cursors={"feed": NOW + 60}))
        with pytest.raises(LedgerDeposed), old.transaction():
            pass
    with Ledger.open(url, read_only=True) as ledger:
        assert NOW == ledger.cursor("feed")


def test_a_term_does_not_end_within_a_transaction(postgresql, url):
    """Fencing: whoever takes the lease waits until the transaction of the old term is over."""
    took = threading.Event()
    statement = f"UPDATE {namespace_of(url)}.lease SET term = term + 1"
    with Ledger.open(url) as ledger:
        with ledger.transaction():
            postgresql.sql(
                f"UPDATE {namespace_of(url)}.lease SET beat = beat + 1"
            )  # keeping it alive is free
            taker = threading.Thread(target=lambda: (postgresql.sql(statement), took.set()))
            taker.start()
            assert not took.wait(0.5)
        assert took.wait(30)
        taker.join()


def test_a_ledger_that_went_back_in_time_is_read_anew(postgresql, url):
    """A standby that was promoted without the last commits: memory is not believed, the ledger is opened anew."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(ENTRY)
        postgresql.sql(f"UPDATE {namespace_of(url)}.fact SET value = '1' WHERE key = 'commits'")
        end_sessions(postgresql)
        with pytest.raises(LedgerError, match="out of reach"):
            ledger.commit(ENTRY)
        with pytest.raises(LedgerDeposed, match="older than what was last written"):
            ledger.commit(ENTRY)


@pytest.mark.parametrize(
    ("home", "why"),
    [("7/7/7/7", "it is a copy that was put back"), ("{0}/{1}/{2}/99", "was promoted or put back")],
    ids=["another database", "another timeline"],
)
def test_a_copy_that_was_put_back_begins_a_new_epoch(postgresql, url, home, why):
    """S13: a restored dump and a promoted standby are told in the audit stream."""
    with Ledger.open(url) as ledger:
        epoch = ledger.meta["epoch"]
        parts = ledger.meta["home"].split("/")
    fact = f"{namespace_of(url)}.fact"
    postgresql.sql(f"UPDATE {fact} SET value = '{home.format(*parts)}' WHERE key = 'home'")
    with Ledger.open(url, now=NOW) as ledger:
        assert why in str(ledger.reset)
        assert (epoch, True) == (ledger.meta["epoch_before"], epoch != ledger.meta["epoch"])
        assert ["store_reset"] == [one.kind for one in ledger.events()]
    with Ledger.open(url, now=NOW) as ledger:
        assert None is ledger.reset


def test_a_restored_dump_is_noticed(postgresql, url, tmp_path):
    """S13: pg_dump as `ledger backup` says, and pg_restore after the namespace was dropped."""
    namespace, dump = namespace_of(url), tmp_path / "ledger.dump"
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(ENTRY)
        with pytest.raises(LedgerError) as told:
            ledger.backup(dump)
        command = str(told.value).partition("in use: ")[2].split()
        folder = Path(postgresql_binary("pg_dump")).parent
        subprocess.run([folder / command[0], *command[1:]], check=True)
    postgresql.sql(f"DROP SCHEMA {namespace} CASCADE")
    where = ["--host=127.0.0.1", f"--port={postgresql.port}", "--username=admin", "--dbname=ledger"]
    subprocess.run([folder / "pg_restore", *where, dump], check=True)
    with Ledger.open(url, now=NOW) as ledger:
        assert "it is a copy that was put back" == str(ledger.reset)
        assert ([], 10.0) == (ledger.check(), one(ledger, 60).total)


def test_damage_is_an_error_that_says_what_to_do(postgresql, url):
    """S5: nothing is put aside on a server: the daemon refuses to start."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(ENTRY)
    postgresql.sql(rf"UPDATE {namespace_of(url)}.bucket SET payload = '\x0102'")
    with pytest.raises(LedgerDamaged, match=r"is damaged \(stored counts .*\): restore it from a dump"):
        Ledger.open(url, now=NOW)


# --- schema ---------------------------------------------------------------------------------------------------------


def test_a_schema_from_a_newer_program_is_refused_untouched(postgresql, url):
    """S10: a downgrade is refused with a hint, for readers and writers."""
    Ledger.open(url).close()
    postgresql.sql(f"UPDATE {namespace_of(url)}.alembic_version SET version_num = '9999'")
    for read_only in (False, True):
        with pytest.raises(LedgerError, match=r"has schema 9999.*run the newer program"):
            Ledger.open(url, read_only=read_only)
    assert "9999" == postgresql.sql(f"SELECT version_num FROM {namespace_of(url)}.alembic_version")


def test_an_upgrade_waits_for_the_writer(url, monkeypatch, next_version):  # noqa: F811 - the fixture
    """S10: readers of a newer program wait for its daemon, which upgrades in one transaction."""
    upgraded(monkeypatch, url)
    with pytest.raises(LedgerError, match=f"older schema {THIS[-1]}: start the daemon once"):
        Ledger.open(url, read_only=True)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
    with Ledger.open(url, read_only=True) as reader:
        assert 10.0 == one(reader, 60).total


def test_an_upgrade_that_fails_leaves_the_old_schema(url, monkeypatch, next_version):  # noqa: F811
    """S10: migrations are one transaction: a failing one leaves no table of it behind."""
    upgraded(monkeypatch, url)
    next_version(extra="op.execute('SELECT nonsense FROM nowhere')")
    with pytest.raises(LedgerError, match='relation "nowhere" does not exist'):
        Ledger.open(url)
    monkeypatch.setattr(migrations, "REVISIONS", THIS)
    with Ledger.open(url) as ledger:
        assert 10.0 == one(ledger, 60).total
        with ledger._store.begin() as connection:
            assert "extra" not in sa.inspect(connection).get_table_names(schema=namespace_of(url))


OPENER = "import sys; from slo_budget_tracker.ledger import Ledger; Ledger.open(sys.argv[1]).close()"


def test_many_daemons_do_not_migrate_at_once(postgresql, url):
    """Four programs that start at the same moment on nothing: one makes it all, the others wait or are refused."""
    command = [sys.executable, "-c", OPENER, url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate(timeout=120)[1].strip().splitlines()[-1:] for process in started]
    assert all(not one or "in use by" in one[0] for one in said), said
    assert [] in said
    with Ledger.open(url) as ledger:
        assert [] == ledger.check()
    assert "1" == postgresql.sql(f"SELECT count(*) FROM {namespace_of(url)}.alembic_version")


def test_migrations_and_tables_agree(postgresql, url):
    """What migrations make is what the program writes to, column by column, sorted by bytes."""
    Ledger.open(url).close()
    fresh = f"{namespace_of(url)}_fresh"
    postgresql.sql(f"CREATE SCHEMA {fresh}")
    engine = sa.create_engine(Database.of(url).url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SET search_path TO {fresh}")
        tables.metadata.create_all(connection)

    def shape(schema):
        found = sa.inspect(engine)
        return {
            table: (
                [
                    (c["name"], repr(c["type"]), c["nullable"])
                    for c in found.get_columns(table, schema=schema)
                ],
                sorted(
                    (i["name"], tuple(i["column_names"])) for i in found.get_indexes(table, schema=schema)
                ),
                found.get_pk_constraint(table, schema=schema)["constrained_columns"],
                [
                    (f["constrained_columns"], f["referred_table"])
                    for f in found.get_foreign_keys(table, schema=schema)
                ],
            )
            for table in found.get_table_names(schema=schema)
            if table not in {"alembic_version", "lease"}
        }

    assert shape(fresh) == shape(namespace_of(url))
    assert "collation='C'" in str(shape(fresh))
    engine.dispose()
    postgresql.sql(f"DROP SCHEMA {fresh} CASCADE")


# --- errors at the start, passwords ---------------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Run a command in this process: exit status and everything it said; never a traceback, never the password."""

    def run(*arguments, ledger):
        config = tmp_path / "tracker.yaml"
        (tmp_path / "slos.yaml").write_text(
            "slos: [{name: shop, target: 99%, sli: {probe: {up: up}}, alerts: none}]"
        )
        config.write_text(f"slo_files: [slos.yaml]\nledger: {json.dumps(ledger)}\n")
        monkeypatch.setattr(sys, "argv", ["slo-budget-tracker", *arguments, "-c", str(config)])
        with pytest.raises(SystemExit) as left:
            main()
        said = "".join(capsys.readouterr())
        assert "Traceback" not in said
        assert PASSWORD not in said
        return left.value.code or 0, said

    for name in ("PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return run


@pytest.mark.parametrize("command", [("run",), ("ledger", "stats"), ("audit", "list"), ("gate",)])
def test_out_of_reach_at_the_start_is_one_sentence(call, command):
    """Exit status 3 and one sentence, whatever is asked."""
    status, said = call(*command, ledger={"url": f"postgresql+psycopg://me@127.0.0.1:{free_port()}/base"})
    assert (3, 1) == (status, len(said.strip().splitlines()))
    assert "is out of reach: connection" in said


def test_a_wrong_password_is_one_sentence(call, postgresql, tmp_path):
    """Exit status 3; the password that was tried is not said."""
    (tmp_path / "password").write_text(PASSWORD[:-1])
    status, said = call(
        "ledger", "stats", ledger={"url": postgresql.secret_url, "password_file": str(tmp_path / "password")}
    )
    assert 3 == status
    assert "password authentication failed" in said
    assert PASSWORD[:-1] not in said


@pytest.mark.parametrize(
    "way", ["password_file", "PGPASSFILE", "PGPASSWORD", "~/.pgpass", "url by environment"]
)
def test_a_password_comes_from_a_file_or_the_environment(call, postgresql, tmp_path, monkeypatch, way):
    """H14: each way works for a role that may do nothing but make its own schema, and none is ever printed."""
    ledger = {"url": postgresql.secret_url, "namespace": "of_the_tracker"}
    line = tmp_path / "passfile"
    line.write_text(f"127.0.0.1:{postgresql.port}:*:tracker:{PASSWORD}\n")
    line.chmod(0o600)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    if way == "password_file":
        ledger["password_file"] = "password"
    elif way == "PGPASSFILE":
        monkeypatch.setenv("PGPASSFILE", str(line))
    elif way == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    elif way == "~/.pgpass":
        line.rename(tmp_path / ".pgpass")
    else:
        with_password = postgresql.secret_url.replace("tracker@", f"tracker:{PASSWORD}@")
        monkeypatch.setenv("SLO_BUDGET_TRACKER_LEDGER__URL", with_password)
    try:
        status, said = call("ledger", "stats", ledger=ledger)
        assert 3 == status
        assert f"there is no ledger at postgresql://tracker@127.0.0.1:{postgresql.port}/ledger" in said
        url = postgresql.secret_url.replace("tracker@", f"tracker:{PASSWORD}@")
        Ledger.open(f"{url}?namespace=of_the_tracker").close()
        assert (0, "the ledger is sound\n") == call("ledger", "check", ledger=ledger)
    finally:
        postgresql.sql("DROP SCHEMA IF EXISTS of_the_tracker CASCADE")


@pytest.mark.parametrize(
    "url", ["postgresql://me:S3CR3T@host/base", "postgresql://host/base?password=S3CR3T"]
)
def test_a_password_in_the_file_is_refused(call, url):
    """H14: secrets do not stand in the configuration file; a user may."""
    status, said = call("ledger", "stats", ledger={"url": url})
    assert 2 == status
    assert "a URL with a user's password in it" in said
    assert "S3CR3T" not in said


def test_a_driver_that_is_missing_is_one_sentence(call, monkeypatch):
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    status, said = call("ledger", "stats", ledger={"url": "postgresql://me@127.0.0.1:1/base"})
    assert 3 == status
    assert "pip install 'slo-budget-tracker[postgresql]'" in said


def test_quarantined_events_are_released_through_the_database(url, call, monkeypatch, tmp_path):
    """`audit retry` beside a running daemon leaves a fact; the daemon takes it up."""
    with Ledger.open(url) as ledger:
        registered(ledger)
        ledger.commit(Entry(events=[event(1), event(2)]))
        outbox = Outbox(ledger.transaction)
        outbox.quarantine("e-1", "no", at=NOW)
        outbox.quarantine("e-2", "no", at=NOW)
        monkeypatch.setattr(sys.modules["slo_budget_tracker.cli.audit"], "TAKEN_UP_WITHIN", 0.3)
        status, said = call("audit", "retry", "e-1", ledger={"url": url})
        assert (0, "1 event waits for the daemon: it takes them up when it runs with an audit.url\n") == (
            status,
            said,
        )
        assert (True, ["e-1"]) == appeals.take_up_in(ledger.transaction, outbox.release)
        assert (False, []) == appeals.take_up_in(ledger.transaction, outbox.release)
        assert {"e-1": "attempted", "e-2": "quarantined"} == {
            one.event_id: one.state for one in outbox.parcels()
        }
