"""A disk that is full for minutes, under a process that goes on ticking and delivering: no restart, nothing lost."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from tests.audit_server import wait_for
from tests.real.killed import NAMES
from tests.real.ledgers import fill
from tests.real.test_kill import Killer, alternating, ids_of, undisturbed
from tests.unit.serving import BEGIN, INTERVAL


def newest(url):
    """How far the furthest SLO was stepped; BEGIN where there is nothing yet."""
    with suppress(LedgerError), Ledger.open(url, read_only=True) as ledger:
        return max((ledger.slo_cursor(number) or BEGIN for number in ledger.instances), default=BEGIN)
    return BEGIN


@pytest.mark.parametrize(
    ("full", "tick"),
    [
        pytest.param(3.0, 0.05, id="seconds"),
        pytest.param(150.0, 1.0, id="minutes", marks=pytest.mark.long),
    ],
)
def test_a_disk_that_is_full_for_a_while_costs_nothing(small_disk, audit_stream, full, tick):
    """S3, the show: one process, without a restart: every transition is in ledger and audit stream, once, in order."""
    url = f"sqlite:///{small_disk / 'ledger.db'}"
    ballast = small_disk / "somebody-elses.log"
    order = {"place": "random", "second": False, "seconds": full + 15, "skip": 0, "tick": tick}
    killer = Killer(url, audit_stream.url)
    try:
        killer.send(order)
        began = time.monotonic()
        wait_for(lambda: newest(url) > BEGIN + 5 * INTERVAL, what="some ticks")
        fill(ballast)
        before = newest(url)
        time.sleep(full)
        during = newest(url)
        ballast.unlink()
        assert "random" == killer.done()["place"]  # it lived to the end, with the same process
        seconds = time.monotonic() - began
        killer.send({"place": "drain", "second": False})
        assert {"place": "drain", "status": 0} == killer.done()
    finally:
        killer.end()
    with Ledger.open(url) as ledger:
        parcels = Outbox(ledger.transaction).parcels()
        until = max(ledger.slo_cursor(number) for number in ledger.instances)
        assert [] == ledger.check()
    told = ids_of(parcels)
    written = during - before
    print(
        f"\nfull for {full:.0f} of {seconds:.0f} s, {len(parcels)} events, {written} s of data written meanwhile"
    )
    assert until > during
    assert undisturbed(until) == told
    assert {"delivered"} == {parcel.state for parcel in parcels}
    events = [one["payload"] for one in audit_stream.get("/events", limit=100_000).json()]
    for slo in NAMES:
        there = [one for one in events if one["slo_name"] == slo]
        assert told[slo] == [one["id"] for one in there]
        assert alternating(one["event_kind"] for one in there)
