"""A PostgreSQL that is gone for half an hour, under the daemon's own cycle: as with a full disk, nothing is lost."""

from __future__ import annotations

import signal
import time

import pytest

from slo_budget_tracker import postgres
from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from tests.proxy import Proxy
from tests.real.ledgers import NOW, registered
from tests.real.test_ledger_outage import (  # noqa: F401 - fixtures
    FULL,
    check_outage,
    database,
    instant,
    server,
    undisturbed,
)

pytestmark = pytest.mark.postgresql


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


@pytest.fixture
def proxy(postgresql):
    """The way to the server, which can be cut."""
    with Proxy(postgresql.port) as one:
        yield one


@pytest.fixture
def through(url, postgresql, proxy):
    """The ledger's URL by that way."""
    return url.replace(f":{postgresql.port}/", f":{proxy.port}/")


def test_half_an_hour_without_a_server_changes_nothing(server, through, proxy, undisturbed, monkeypatch):  # noqa: F811
    """S3: connections end and none is to be had: evaluation goes on from memory, all is written once afterwards."""
    monkeypatch.setattr(postgres, "PAUSE", 0.0)

    def tick_of(tick, cycle):
        if tick == FULL.start:
            proxy.break_off()
        if tick == FULL.stop:
            proxy.mend()
        return cycle.advance(instant(tick))

    check_outage(server, through, undisturbed, tick_of)


def test_a_server_that_is_killed_and_comes_back_changes_nothing(server, make_postgresql, undisturbed):  # noqa: F811
    """S1, S3: PostgreSQL itself ends at once, twice, and starts again: its recovery has every commit."""

    def tick_of(tick, cycle):
        if tick == FULL.start:
            make_postgresql.stop(signal.SIGQUIT)
        if tick == FULL.stop:
            make_postgresql.start()
            cycle.ledger._store._not_before = 0.0
        return cycle.advance(instant(tick))

    check_outage(server, make_postgresql.url(), undisturbed, tick_of)


def test_a_server_that_keeps_silent_is_given_up(through, proxy):
    """A proxy that swallows everything: an error after `ledger.timeout`, and again at once until it answers."""
    database = Database.of(through)  # noqa: F811 - another one
    patient = Database(database.url, namespace=database.namespace, timeout=1.0)
    with Ledger.open(patient) as ledger:
        registered(ledger)
        proxy.fall_silent()
        began = time.monotonic()
        with pytest.raises(LedgerError, match="is out of reach"):
            ledger.commit(Entry(cursors={"feed": NOW}))
        with pytest.raises(LedgerError, match="is out of reach"):
            ledger.commit(Entry(cursors={"feed": NOW}))
        assert time.monotonic() - began < 30
        proxy.mend()
        for _ in range(100):
            try:
                ledger.commit(Entry(cursors={"feed": NOW}))
                break
            except LedgerError:
                time.sleep(0.1)
        assert NOW == ledger.cursor("feed")
        assert [] == ledger.check()
