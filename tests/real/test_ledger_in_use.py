"""A ledger in PostgreSQL whose lock somebody still has: a daemon with the lease waits for it, and not for ever."""

from __future__ import annotations

from contextlib import contextmanager

import psycopg
import pytest
from structlog.testing import capture_logs

from slo_budget_tracker import daemon, postgres
from slo_budget_tracker.daemon import Daemon
from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerInUse
from slo_budget_tracker.ledger import Ledger
from tests.real.lives import EmptyPrometheus, Life
from tests.unit.cycling import settings
from tests.unit.serving import availability

pytestmark = pytest.mark.postgresql


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


@contextmanager
def held(url):
    """Another session has the lock, as a shard has that takes SLOs over."""
    database = Database.of(url)
    plain = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as session:
        key = f"slo-budget-tracker/{database.namespace}"
        session.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
        yield


def test_a_daemon_waits_for_a_ledger_that_is_let_go_later(url, tmp_path):
    """S7: longer than five seconds, with one line in the log; then it leads."""
    Ledger.open(url).close()
    prometheus = EmptyPrometheus()
    one = Life(tmp_path, prometheus.url)
    one.config.write_text(one.config.read_text().replace("sqlite:///ledger.db", url))
    try:
        with held(url):
            one.spawn()
            one.until(lambda: (one.folder / "log").exists() and one.lines("waiting for the ledger"))
        one.until(lambda: one.get("/-/healthy").status_code == 200)
        (line,) = one.lines("waiting for the ledger")
        assert "is in use by a session of a daemon that was killed, or of a shard" in line["detail"]
        assert 0 == one.end()[0]
    finally:
        one.kill()
        prometheus.close()


def test_a_daemon_does_not_wait_for_ever(url, monkeypatch):
    """S7: where the lock is never let go it ends with one sentence, within a bounded time."""
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(daemon, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(daemon, "IN_USE_SECONDS", 0.5)
    Ledger.open(url).close()
    one = Daemon(settings(ledger={"url": url, "lease": "1s"}), [availability("shop")])
    with held(url), capture_logs() as lines, pytest.raises(LedgerInUse, match="is in use by a session"):
        one.run()
    assert 1 == sum(line["event"] == "waiting for the ledger" for line in lines)
