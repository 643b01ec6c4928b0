"""A ledger that was put back from a copy, once and again: nothing is told twice, nothing is taken for another."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from slo_budget_tracker.ledger import Ledger
from tests.audit_server import (
    NOW,
    FakeAuditStream,
    delivery_of,
    drained,
    expected,
    happen,
    ledger_of,
    story,
    wait_for,
)


@pytest.fixture
def path(tmp_path):
    """Where the ledger is."""
    return tmp_path / "ledger.db"


def events_of(server, slo="shop"):
    """What the server has of an SLO."""
    found = server.get("/events", source="slo-budget-tracker", limit=100_000).json()
    return [one for one in found if one["payload"]["slo_name"] == slo]


def deliver(ledger, server):
    """Deliver all there is, look at the last receipt once more, and stop; the figures."""
    delivery = delivery_of(ledger, server.url).start()
    drained(delivery)
    delivery._check_at = 0.0
    delivery.wake()
    wait_for(lambda: delivery._check_at > 0)
    figures = delivery.figures()
    delivery.stop()
    return figures


def live(path, server, numbers):
    """One run of the daemon: these transitions happen, and all is delivered; epoch and figures."""
    with Ledger.open(f"sqlite:///{path}", now=NOW + 80_000) as ledger:
        happen(ledger, numbers=numbers)
        return ledger.meta["epoch"], deliver(ledger, server)


def only_the_slo(ledger):
    """Only the SLO's events matter here: the daemon's own would be the last receipt."""
    with ledger.transaction() as connection:
        connection.exec_driver_sql("UPDATE delivery SET state = 'skipped' WHERE slo = '*'")


def put_back(copy, path):
    """As the documentation says."""
    for part in ("-wal", "-shm"):
        Path(f"{path}{part}").unlink(missing_ok=True)
    shutil.copy(copy, path)


@pytest.mark.parametrize("how", ["backup", "cp"])
def test_the_same_copy_put_back_three_times(path, tmp_path, near, how):
    """S13: each time another epoch; what any of them sent is found, and no transition is there twice."""
    copy = tmp_path / "copy.db"
    with ledger_of(f"sqlite:///{path}") as ledger:
        deliver(ledger, near)
        if how == "backup":
            ledger.backup(copy)
    if how == "cp":
        shutil.copy(path, copy)
    epochs = [live(path, near, [4, 5])[0]]
    for last in (6, 7, 8):
        put_back(copy, path)
        epoch, figures = live(path, near, range(4, last + 1))
        epochs.append(epoch)
        assert (last - 4, 0, 0) == (figures.deliveries["adopted"], figures.receipts_lost, figures.mismatches)
    assert 4 == len(set(epochs))
    assert expected(range(1, 9)) == story(events_of(near))
    resets = [one["payload"] for one in events_of(near, None)]
    assert ["store_reset"] * 3 == [one["event_kind"] for one in resets]
    assert 3 == len({(one["instance"], one["sequence"]) for one in resets})


def test_places_are_taken_once_in_an_epoch(path, tmp_path, near):
    """S13: no two events of one SLO have the same instance and sequence, whatever happened in between."""
    copy = tmp_path / "copy.db"
    with ledger_of(f"sqlite:///{path}") as ledger:
        deliver(ledger, near)
        ledger.backup(copy)
    live(path, near, [4, 5])
    for number in (10, 20):
        put_back(copy, path)
        live(path, near, [number, 4, number + 1])
    places = Counter((one["payload"]["instance"], one["payload"]["sequence"]) for one in events_of(near))
    ids = Counter(one["payload"]["id"] for one in events_of(near))
    assert ({1}, {1}) == (set(places.values()), set(ids.values()))


def test_an_adopted_event_is_verified_by_its_receipt(path, tmp_path):
    """A12: what was taken over from an epoch before carries its name and place; altered, it is told, once."""
    with FakeAuditStream() as server:
        with ledger_of(f"sqlite:///{path}") as ledger:
            deliver(ledger, server)
            ledger.backup(tmp_path / "copy.db")
        live(path, server, [4])
        adopted = server.events[-1]
        put_back(tmp_path / "copy.db", path)
        with Ledger.open(f"sqlite:///{path}", now=NOW + 80_000) as ledger:
            only_the_slo(ledger)
            happen(ledger, numbers=[4])
            assert 1 == deliver(ledger, server).deliveries["adopted"]
            adopted["hash"] = "f" * 64
            figures = deliver(ledger, server)
            assert (1, 0) == (figures.mismatches, figures.receipts_lost)


def test_receipts_of_a_memory_that_the_server_has_lost_are_no_alteration(path, tmp_path):
    """S13, A12: the copy's receipts are of a life of the server that ended after it was made: no false alarm."""
    copy = tmp_path / "copy.db"
    with FakeAuditStream() as server:
        with ledger_of(f"sqlite:///{path}") as ledger:
            deliver(ledger, server)
            ledger.backup(copy)
        for event in server.events:  # the server has begun anew since, and got the same events in a new chain
            event["hash"] = event["hash"][::-1]
        put_back(copy, path)
        _, figures = live(path, server, [4])
        assert (0, 3) == (figures.mismatches, figures.receipts_lost)
        assert expected([1, 2, 3, 4]) == story([one for one in server.events if one["payload"]["slo_name"]])
