"""Where a test's ledger is, and what delivers it."""

from __future__ import annotations

import secrets

import pytest

from tests.audit_server import NearAuditStream, delivery_of, ledger_of
from tests.real.disks import Limited, mounted
from tests.real.fleets import alone, fleet  # noqa: F401 - fixtures

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))
# Modules about ledgers, whatever keeps them: their tests run with each engine, but for those that look at files
# and say so by taking `path`. A test that takes neither would open a ledger of its own kind unnoticed.
EACH_ENGINE = {
    "test_ledger_commands", "test_ledger_kept", "test_ledger_merged",
    "test_ledger_retention", "test_ledger_revised", "test_ledger_sound", "test_ledger_whole",
    "test_audit_commands", "test_audit_delivery", "test_audit_upgrade",
}  # fmt: skip


def pytest_generate_tests(metafunc):
    """Tests of ledgers run with SQLite and with PostgreSQL."""
    module = metafunc.module.__name__.rpartition(".")[2]
    names = metafunc.fixturenames
    if module not in EACH_ENGINE or "path" in names:
        return
    assert "url" in names, f"{metafunc.function.__name__} takes no `url`: which engine would it run with?"
    metafunc.parametrize("engine", BOTH, indirect=True)


@pytest.fixture
def engine(request):
    """What keeps the ledger."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def path(tmp_path):
    """Where a ledger may be."""
    return tmp_path / "var" / "ledger.db"


@pytest.fixture
def url(request, tmp_path, engine):
    """Its URL."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'var' / 'ledger.db'}"
        return
    namespace = f"test_{secrets.token_hex(6)}"
    server = request.getfixturevalue("postgresql")
    yield server.url(namespace=namespace)
    server.sql(f"DROP SCHEMA IF EXISTS {namespace} CASCADE")


@pytest.fixture(params=["file system", "process"])
def disk(request, tmp_path):
    """One that can be filled: a file system where we may mount one, and, as anywhere, a limit on a process."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "process":
        yield Limited(folder)
        return
    with mounted(folder) as small:
        yield small or Limited(folder)


@pytest.fixture
def ledger():
    """A ledger with three events of one SLO."""
    with ledger_of() as opened:
        yield opened


@pytest.fixture
def near():
    """The real audit stream, fresh, in this process."""
    with NearAuditStream() as server:
        yield server


@pytest.fixture
def deliver(ledger):
    """Starts deliveries of the ledger, which are stopped at the end."""
    running = []

    def start(url, **options):
        running.append(delivery_of(ledger, url, **options).start())
        return running[-1]

    yield start
    for one in running:
        one.stop()
