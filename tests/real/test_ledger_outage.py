"""A disk that is full for half an hour, under the daemon's own cycle: no restart, and nothing decided is lost."""

from __future__ import annotations

import errno
import os

import pytest

from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.ticks import Outcome
from tests.real.failing_calls import SYNCS, WRITES, failing
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, availability, ratio, traffic

TICKS = 60
FULL = range(21, 51)  # a page begins and ends within, as the shop fails from the 20th to the 40th minute
SLOS = (availability(), availability("other", metric="other_requests_total"), ratio("third"))


@pytest.fixture(scope="module")
def database():
    """Two shops that fail for twenty minutes, one after the other."""
    return traffic(traffic(Server().db), metric="other_requests_total", broken=(1_500, 2_400))


@pytest.fixture
def server(database):
    """Prometheus, as far as these SLOs ask it."""
    return Server(database, values={"ratio_third": lambda at: 0.5 if 1_300 < at - BEGIN < 2_000 else 0.001})


def prepared(server, ledger):
    """The cycle."""
    asks = {"default": server}
    return Evaluator(slos=SLOS, ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY, workers=2).prepare(
        BEGIN
    )


def instant(tick):
    """The data instant of a tick."""
    return BEGIN + tick * INTERVAL


def told(ledger):
    """All that the ledger says, but for its own name."""
    end = instant(TICKS)
    return {
        "events": [(e.event_id, e.slo, e.sequence, e.previous_id, e.kind) for e in ledger.events()],
        "states": ledger.states,
        "counts": ledger.history.window(end, [300, 3600, TICKS * INTERVAL]),
        "outcomes": [ledger.outcomes(number) for number in ledger.instances],
        "cursors": [ledger.slo_cursor(number) for number in ledger.instances],
    }


@pytest.fixture
def undisturbed(server):
    """What a ledger says when nothing happens."""
    with Ledger.open("sqlite://") as ledger:
        cycle = prepared(server, ledger)
        for tick in range(1, TICKS + 1):
            cycle.advance(instant(tick))
        result = told(ledger)
    assert {"slo_burn_started", "slo_recovered"} <= {kind for *_, kind in result["events"]}
    return result


def check_outage(server, url, undisturbed, tick_of):
    """Run through the outage; `tick_of` makes each tick, and knows when the ledger cannot be written."""
    with Ledger.open(url) as ledger:
        cycle = prepared(server, ledger)
        shown = []
        for tick in range(1, TICKS + 1):
            report = tick_of(tick, cycle)
            assert (tick in FULL) == (report.store_error is not None)
            assert {instant(tick)} == {one.evaluated_at for one in report.snapshots}
            shown.append(report.snapshots[0].total)
            if tick in FULL:
                assert () == report.transitions
                assert instant(FULL[0] - 1) == ledger.slo_cursor(1)
        assert shown == sorted(set(shown))  # each tick's page shows the newest requests too
        assert undisturbed == told(ledger)
    with Ledger.open(url) as again:
        assert (None, []) == (again.reset, again.check())
        assert undisturbed == told(again)
        assert TICKS * INTERVAL == again.outcomes(1)[Outcome.OK]


@pytest.mark.parametrize(
    ("calls", "number"),
    [
        pytest.param(WRITES, errno.ENOSPC, id="full"),
        pytest.param(SYNCS, errno.EIO, id="failing syncs"),
        pytest.param(WRITES, errno.EROFS, id="read-only", marks=pytest.mark.long),
    ],
)
def test_half_an_hour_without_a_disk_changes_nothing(server, path, undisturbed, calls, number):
    """S3, S4: evaluation goes on from memory, and every transition is in the ledger once, in order, afterwards."""

    def tick_of(tick, cycle):
        if tick not in FULL:
            return cycle.advance(instant(tick))
        report = failing(calls, number, lambda: cycle.advance(instant(tick)))
        if isinstance(report, Exception):
            raise report
        return report

    check_outage(server, f"sqlite:///{path}", undisturbed, tick_of)


def test_a_disk_that_is_really_full_for_half_an_hour_changes_nothing(server, disk, undisturbed):
    """S3: the same on a small file system that somebody else fills to the last byte."""

    def tick_of(tick, cycle):
        if tick == FULL.start:
            disk.fill(os.getpid())
        if tick == FULL.stop:
            disk.free(os.getpid())
        return cycle.advance(instant(tick))

    check_outage(server, f"sqlite:///{disk.folder / 'ledger.db'}", undisturbed, tick_of)
