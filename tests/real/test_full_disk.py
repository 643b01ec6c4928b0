"""A disk that is full for minutes, under a process that goes on ticking and delivering: no restart, nothing lost."""

from __future__ import annotations

import sqlite3
import time

import pytest

from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from tests.audit_server import wait_for
from tests.real.killed import NAMES
from tests.real.lives import EmptyPrometheus, Life
from tests.real.test_kill import Killer, Stand, alternating, ids_of, undisturbed
from tests.unit.serving import BEGIN, INTERVAL

MANY = 20  # ticks that cannot be written, at least


class Held(Killer):
    """One process that lives on until it is told to end."""

    def begin(self, *, tick):
        """Let it begin; its id."""
        self.send({"place": "random", "second": False, "seconds": 0, "skip": 0, "tick": tick, "hold": True})
        return self.answer()["pid"]

    def figures(self):
        """Its ticks so far, and how many of them the ledger refused."""
        self.send("how far")
        found = self.answer()
        return found["ticks"], found["refused"]

    def refuses(self, times):
        """Wait until the ledger has refused so many more."""
        first = self.figures()[1]
        wait_for(lambda: self.figures()[1] >= first + times, what="refused ticks")


def written(url):
    """What lies in the ledger: how far each SLO was stepped, and the ids of events."""
    with Ledger.open(url, read_only=True) as ledger:
        cursors = [ledger.slo_cursor(number) for number in ledger.instances]
        return cursors, {one.event_id for one in Outbox(ledger.transaction).parcels()}


@pytest.mark.parametrize(
    ("full", "tick"),
    [
        pytest.param(0.0, 0.05, id="ticks"),
        pytest.param(150.0, 1.0, id="minutes", marks=pytest.mark.long),
    ],
)
def test_a_disk_that_is_full_for_a_while_costs_nothing(disk, audit_stream, show, full, tick):
    """S3, the show: no tick is written and nothing sent while it is full; then all is as if nothing had happened."""
    url = f"sqlite:///{disk.folder / 'ledger.db'}"
    killer = Held(url, audit_stream.url)
    try:
        pid = killer.begin(tick=tick)
        wait_for(lambda: killer.figures()[0] > 5, what="some ticks")
        disk.fill(pid)
        began = time.monotonic()
        killer.refuses(1)
        before = written(url)
        killer.refuses(MANY)
        time.sleep(full)
        ticks, refused = killer.figures()
        assert before == written(url)
        seconds = time.monotonic() - began
        sent = {one["payload"]["id"] for one in audit_stream.get("/events", limit=100_000).json()}
        assert sent <= before[1]
        disk.free(pid)
        wait_for(lambda: min(written(url)[0]) > BEGIN + (ticks + 5) * INTERVAL, what="what was not written")
        after, refused = killer.figures()
        wait_for(lambda: killer.figures()[0] > after + 5, what="more ticks")
        assert refused == killer.figures()[1]
        killer.send("go on")
        assert "random" == killer.answer()["place"]  # it lived to the end, with the same process
        killer.send({"place": "drain", "second": False})
        assert {"place": "drain", "status": 0} == killer.answer()
    finally:
        killer.end()
    with Ledger.open(url) as ledger:
        parcels, stands = Outbox(ledger.transaction).parcels(), Stand.of(ledger)
        assert [] == ledger.check()
    show(
        f"{disk} for {seconds:.0f} s: {refused} of {ticks} ticks not written, {len(parcels)} events in the end"
    )
    assert undisturbed(max(one.cursor for one in stands.values())) == stands
    assert {"delivered"} == {parcel.state for parcel in parcels}
    events = [one["payload"] for one in audit_stream.get("/events", limit=100_000).json()]
    for slo, told in ids_of(parcels).items():
        there = [one for one in events if one["slo_name"] == slo]
        assert told == [one["id"] for one in there]
        assert alternating(one["event_kind"] for one in there)
    assert set(NAMES) == {one["slo_name"] for one in events}


@pytest.fixture
def life(tmp_path):
    """A daemon, not yet started, over a Prometheus without series; gone after the test."""
    empty = EmptyPrometheus()
    one = Life(tmp_path, empty.url)
    yield one
    one.kill()
    empty.close()


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "disk", ["process", pytest.param("file system", marks=pytest.mark.long)], indirect=True
)
def test_a_daemon_tells_of_its_full_disk(disk, life, make_prometheus):
    """S3, S8: its errors are counted, and scraped by a real Prometheus; not ready, alive, ticking; ready when there is space."""
    url, errors = f"sqlite:///{disk.folder / 'ledger.db'}", "slo_budget_tracker_store_errors_total"
    life.start(env={"SLO_BUDGET_TRACKER_LEDGER__URL": url})
    ticked = "slo_budget_tracker_tick_duration_seconds_count"
    with make_prometheus(scrape={"tracker": [f"127.0.0.1:{life.port}"]}) as scraper:
        life.until(lambda: life.get("/-/ready").status_code == 200 and life.metric(ticked) > 1)
        life.until(lambda: scraper.number(errors, time.time()) == 0)
        store = f'slo_budget_tracker_store_info{{engine="sqlite",version="{sqlite3.sqlite_version}"}}'
        assert (0, 1) == (life.metric(errors), life.metric(store))
        stepped = written_by(url)
        disk.fill(life.process.pid)
        life.until(lambda: life.metric(errors) >= 3)
        ready, ticks = life.get("/-/ready"), life.metric(ticked)
        assert (503, True, 200) == (
            ready.status_code,
            any("ledger" in reason for reason in ready.json()["reasons"]),
            life.get("/-/healthy").status_code,
        )
        life.until(lambda: life.metric(ticked) > ticks + 1)
        life.until(lambda: (scraper.number(errors, time.time()) or 0) >= 3)
        disk.free(life.process.pid)
        life.until(lambda: life.get("/-/ready").status_code == 200)
        life.until(lambda: written_by(url) > stepped + 5)
        counted, ticks = life.metric(errors), life.metric(ticked)
        life.until(lambda: life.metric(ticked) > ticks + 2)
        assert counted == life.metric(errors)
    assert 0 == life.end()[0]  # the process that was started
    with Ledger.open(url, read_only=True) as ledger:
        assert [] == ledger.check()
        assert ledger.slo_cursor(1) - ledger.born(1) == sum(ledger.outcomes(1).values())


def written_by(url):
    """How far the daemon's only SLO was stepped on disk."""
    with Ledger.open(url, read_only=True) as ledger:
        return ledger.slo_cursor(1) or 0
