"""The daemon's cycle under clocks that jump, servers that differ, faults of ours and long catch-ups."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from slo_budget_tracker import cycle as cycling
from slo_budget_tracker import judging
from slo_budget_tracker.errors import LedgerError, QueryRejected, Unreachable
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.readiness import MOST_IN_A_ROW
from slo_budget_tracker.scheduling import Schedule
from slo_budget_tracker.sources import Timebox, asks
from slo_budget_tracker.web import build
from tests.unit.cycling import Client, Clock, begin, events, metric, ticks, traffic_db
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Server, availability, ratio, traffic

ROOT = Path(__file__).parents[2]

SHOP = availability()


def reasons(cycle):
    """Why it is not ready."""
    return cycle.publisher.display.unready()


def test_a_clock_set_forward_waits_for_the_server():
    """T1: ticks in the server's future are not evaluated; when time is real again, all of them are, once each."""
    clock = Clock()
    client = Client(Server(traffic_db()), clock, shown=clock.now)
    cycle = begin([SHOP], clock=clock, client=client)
    client.shown += INTERVAL
    ticks(cycle, 1)
    at = cycle.last_at
    clock.now += 24 * HOUR
    assert None is cycle.tick()
    assert ([], at) == (events(cycle), cycle.last_at)
    client.shown += 3 * INTERVAL
    assert at + 3 * INTERVAL == cycle.tick().at
    clock.now = client.shown = BEGIN + DELAY + 10 * INTERVAL
    cycle.tick()
    (instance,) = cycle.evaluator.ids.values()
    assert 10 * INTERVAL == sum(cycle.evaluator.ledger.outcomes(instance).values())


def test_a_daemon_that_has_concluded_nothing_is_not_ready(tmp_path):
    """A first tick with nothing due makes it no more ready than none; one that judged does, and a restart keeps it."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    clock, server = Clock(), Server(traffic_db())
    with Ledger.open(url) as ledger:
        cycle = begin([availability()], server=server, ledger=ledger, clock=clock)
        cycle.tick()
        assert ["no tick has been evaluated yet"] == reasons(cycle)
        ticks(cycle, 1)
        assert [] == reasons(cycle)
    with Ledger.open(url) as ledger:
        again = begin([availability()], server=server, ledger=ledger, clock=clock)
        again.tick()
        assert [] == reasons(again)


def test_a_daemon_without_slos_is_ready():
    """There is nothing that it could not judge."""
    cycle = begin([])
    cycle.tick()
    assert [] == reasons(cycle)


def test_a_clock_set_back_evaluates_nothing_twice():
    """T2: no tick twice and none in the future; it goes on where it stood."""
    cycle = begin([SHOP])
    ticks(cycle, 5)
    at, published = cycle.last_at, cycle.publisher.display.view
    cycle.clock.now -= HOUR
    assert None is cycle.tick()
    assert (at, published) == (cycle.last_at, cycle.publisher.display.view)
    cycle.clock.now += HOUR + INTERVAL
    assert at + INTERVAL == cycle.tick().at


def test_a_query_that_takes_longer_than_the_interval_misses_ticks():
    """P24: ticks that begin meanwhile are counted as missed, read at the next aligned instant, and none is lost."""
    clock = Clock()
    server = Server(traffic_db())
    cycle = begin([SHOP], server=server, clock=clock)
    ticks(cycle, 2)

    def slow(_query):
        clock.now += 2.5 * INTERVAL
        server.trouble = lambda _: None

    server.trouble = slow
    ticks(cycle, 1)
    assert (BEGIN + 3 * INTERVAL, 0) == (cycle.last_at, cycle.publisher.own.ticks_missed)
    clock.now += INTERVAL / 2  # where the next tick is due
    assert BEGIN + 6 * INTERVAL == cycle.tick().at
    assert 2 == cycle.publisher.own.ticks_missed
    (instance,) = cycle.evaluator.ids.values()
    assert {"OK": 6 * INTERVAL} == {
        outcome.name: seconds
        for outcome, seconds in cycle.evaluator.ledger.outcomes(instance).items()
        if seconds
    }


def test_one_server_that_agrees_is_enough():
    """P30: with two servers the one with a wrong clock holds nobody up."""
    clock = Clock()
    right, wrong = (Client(Server(traffic_db()), clock, ahead=ahead) for ahead in (0.0, -600.0))
    cycle = begin([SHOP], clock=clock, client=right)
    cycle.sources = {"default": right, "eu": wrong}
    ticks(cycle, 1)
    assert BEGIN + INTERVAL == cycle.last_at


def test_clocks_that_differ_are_told_once():
    """P30: a warning beyond 30 s, a gauge always."""
    cycle = begin([SHOP])
    stats = cycle.sources["default"].stats
    with capture_logs() as lines:
        for skew in (29.0, 31.0, -40.0, 0.5):
            stats.clock_skew_seconds = skew
            ticks(cycle, 1)
    told = [line["event"] for line in lines if "clocks" in line["event"]]
    assert ["the clocks differ", "the clocks agree again"] == told
    assert metric(cycle, 'slo_budget_tracker_prometheus_clock_skew_seconds{datasource="default"} 0.5')


def test_what_is_known_of_a_server_is_shown():
    """P1, P15, P28: up, credentials, certificate; what is not known has no sample."""
    cycle = begin([SHOP])
    stats = cycle.sources["default"].stats
    ticks(cycle, 1)
    assert not metric(cycle, "prometheus_up{")
    stats.up, stats.auth_ok, stats.certificate_expires = False, True, 2e9
    ticks(cycle, 1)
    for text in ('up{datasource="default"} 0', 'auth_ok{datasource="default"} 1'):
        assert metric(cycle, f"slo_budget_tracker_prometheus_{text}")
    assert metric(cycle, 'certificate_expiry_timestamp_seconds{datasource="default"} 2')


def test_days_are_caught_up_in_turns(monkeypatch):
    """T4, T14: between two turns others get the lock and the page is new; nothing is left out."""
    monkeypatch.setattr(cycling, "TURN", 0.0)
    cycle = begin([SHOP])
    ticks(cycle, 1)
    seen = []

    def look():
        while cycle.evaluator.data_until["shop"] < BEGIN + 2 * HOUR - 600:
            with cycle.lock:
                until = cycle.evaluator.data_until["shop"]
                seen.append((until, until == cycle.publisher._shown.data_until["shop", ()]))

    looking = threading.Thread(target=look)
    looking.start()
    cycle.clock.now += 2 * HOUR - INTERVAL
    while cycle.tick() is not None:
        pass
    looking.join(20)
    assert {True} == {current for _, current in seen}
    (instance,) = cycle.evaluator.ids.values()
    assert 2 * HOUR == sum(cycle.evaluator.ledger.outcomes(instance).values())


def test_a_catch_up_goes_on_beside_what_fails_for_good(monkeypatch):
    """T4, P12: one SLO that fails is asked once and costs the others no turn."""
    monkeypatch.setattr(cycling, "TURN", 0.0)
    asked = []

    def refuse(query):
        if "ratio_broken" in query.expression:
            asked.append(query.expression)
            return QueryRejected("parse error", reason="bad_data")
        return None

    server = Server(traffic_db(), values={"ratio_broken": lambda _: 0.0}, trouble=refuse)
    cycle = begin([SHOP, ratio("broken")], server=server)
    ticks(cycle, 1)
    asked.clear()
    cycle.clock.now += 2 * HOUR - INTERVAL
    cycle.tick()
    (shop, broken) = cycle.publisher.snapshots
    ticked = [one for one in asked if "topk(" not in one]  # how often it is scraped is asked beside that
    assert (BEGIN + 2 * HOUR, 1) == (cycle.evaluator._stepper.stepped("shop"), len(ticked))
    assert (shop.name, broken.state) == ("shop", "error")


def test_where_no_request_is_left_a_tick_is_over(monkeypatch):
    """T13: what waits for the next tick's requests is not looked for again and again in this one."""
    monkeypatch.setattr(cycling, "TURN", 0.0)
    monkeypatch.setattr(cycling, "A_TICK", 1)
    names = [f"metric{number}" for number in range(6)]
    server = Server()
    for name in names:
        traffic(server.db, metric=name, seconds=5 * HOUR)
    cycle = begin([availability(name, metric=name) for name in names], server=server)
    ticks(cycle, 1)
    published = []
    cycle.on_tick = lambda: published.append(len(server.asked)) or (len(published) > 20 and cycle.stop.set())
    cycle.clock.now += 4 * HOUR
    report = cycle.tick()
    assert (True, sorted(set(published))) == (report.pending_seconds > 0, published)


def test_a_catch_up_that_is_stopped_ends_soon():
    """T6: a stop is seen between two pieces of a long catch-up."""
    cycle = begin([SHOP])
    ticks(cycle, 1)
    cycle.clock.now += 48 * HOUR
    cycle.stop.set()
    assert cycle.tick().pending_seconds > 40 * HOUR


def test_nothing_is_asked_when_the_time_of_a_tick_is_used_up():
    """T13: what a tick did not get to is told as that, and not asked."""
    clock = Clock(0)
    box = Timebox(5, clock=clock)
    client = Client(Server(), clock)
    ask = asks({"default": client}, budget=3, left=box.left)["default"]
    clock.now = 6
    with pytest.raises(
        Unreachable, match=r"datasource default at http://prometheus.example: no time was left"
    ):
        ask(None)
    assert ([], True) == (client.server.asked, box.over())
    box.open()
    assert not box.over()


def test_the_same_fault_of_ours_a_hundred_times_is_not_ready(monkeypatch):
    """T12: one SLO's fault is its own, others go on; so often in a row the daemon says it cannot judge."""
    cycle = begin([SHOP, availability("other")])
    stepper = cycle.evaluator._stepper
    assess = type(stepper).assess

    def broken(self, name, *arguments, **options):
        if name == "shop":
            raise ZeroDivisionError("oh")
        return assess(self, name, *arguments, **options)

    monkeypatch.setattr(type(stepper), "assess", broken)
    ticks(cycle, MOST_IN_A_ROW - 1)
    assert (["trouble with shop: internal error"], 0) == (
        [one[:33] for one in reasons(cycle)],
        len(cycle.publisher.display.view.slos) - 1,
    )
    ticks(cycle, 1)
    assert "shop failed 100 times in a row, a fault of ours" in reasons(cycle)
    monkeypatch.undo()
    ticks(cycle, 1)
    assert [] == reasons(cycle)


def test_a_tick_that_fails_ends_nothing(monkeypatch):
    """T12: whatever a tick raises is counted, told in one line, and the next one is tried."""
    cycle = begin([SHOP])
    monkeypatch.setattr(type(cycle.evaluator), "advance", lambda *_, **__: 1 / 0)
    with capture_logs() as lines:
        for _ in range(MOST_IN_A_ROW):
            cycle.clock.now += INTERVAL
            cycle.safe_tick()
    assert {("tick failed", "ZeroDivisionError")} == {(line["event"], line["error"]) for line in lines}
    assert "the cycle failed 100 times in a row, a fault of ours" in reasons(cycle)
    monkeypatch.undo()
    ticks(cycle, 1)
    assert [] == reasons(cycle)


def test_what_the_end_breaks_off_is_nobodys_trouble():
    """T6: requests under way when the daemon is told to end are given up without a line for each of them."""
    server = Server(traffic_db())
    cycle = begin([SHOP], server=server)

    def closed(_):
        cycle.stop.set()
        return Unreachable("no connection", reason="connect")

    server.trouble = closed
    with capture_logs() as lines:
        ticks(cycle, 1)
    assert [] == [line for line in lines if line["log_level"] == "warning"]


def test_a_store_in_trouble_is_told_and_counted(monkeypatch):
    """S3: evaluation goes on from memory, readiness says why, and nothing is lost when it is over."""
    cycle = begin([SHOP])
    ticks(cycle, 1)
    commit = cycle.evaluator.ledger.commit

    def full(_):
        raise LedgerError("no space left on device")

    monkeypatch.setattr(cycle.evaluator.ledger, "commit", full)
    ticks(cycle, 2)
    assert ["trouble with ledger: no space left on device"] == reasons(cycle)
    assert metric(cycle, "slo_budget_tracker_store_errors_total 2")
    monkeypatch.setattr(cycle.evaluator.ledger, "commit", commit)
    ticks(cycle, 1)
    (instance,) = cycle.evaluator.ids.values()
    assert ([], 4 * INTERVAL) == (reasons(cycle), sum(cycle.evaluator.ledger.outcomes(instance).values()))


def test_the_schedule_follows_a_clock_that_was_set_back():
    """T2: the next tick is at the next aligned instant of the clock as it is now, and one comes at once."""
    clock, ticked = Clock(10_000_000.0), threading.Event()
    schedule = Schedule(ticked.set, interval=60, clock=clock)
    schedule.realign()  # before it began: nothing
    schedule.start()
    assert ticked.wait(20)
    clock.now -= 3_600
    ticked.clear()
    schedule.realign()
    assert ticked.wait(20)
    next_run = schedule._scheduler.get_job("each interval").trigger.start_date
    assert 9_996_420 == datetime.timestamp(next_run)
    schedule.stop()


def test_a_poisoned_slo_says_so_and_the_others_go_on():
    """P11, T12: what a server refuses is one SLO's trouble."""
    cycle = begin([SHOP, ratio("queue")])
    cycle.sources["default"].server.values = {"ratio_queue": lambda _: 1 / 0}
    ticks(cycle, 1)
    assert ["trouble with queue: internal error: ZeroDivisionError: division by zero"] == reasons(cycle)
    assert cycle.evaluator.data_until["shop"] == cycle.last_at


@pytest.mark.parametrize(
    ("away", "burns"),
    [
        pytest.param(8 * HOUR, 2 * HOUR, id="hours"),
        pytest.param(72 * HOUR, 30 * HOUR, id="three days", marks=pytest.mark.long),
    ],
)
def test_a_restart_after_days_tells_everything_once(tmp_path, away, burns):
    """T14: what came meanwhile is stepped in order and told late, at its own time; nothing starts twice."""
    url, clock = f"sqlite:///{tmp_path}/ledger.db", Clock()
    db = traffic(Server().db, seconds=away, broken=(burns, burns + HOUR))
    client = Client(Server(db), clock)
    with Ledger.open(url) as ledger:
        ticks(begin([SHOP], ledger=ledger, clock=clock, client=client), 90)
    clock.now = BEGIN + DELAY + away
    with Ledger.open(url) as ledger:
        cycle = begin([SHOP], ledger=ledger, clock=clock, client=client)
        while cycle.tick() is not None:
            pass
        (instance,) = cycle.evaluator.ids.values()
        told = [one for one in ledger.events() if one.kind in {"slo_burn_started", "slo_recovered"}]
        assert [("slo_burn_started", True), ("slo_recovered", True)] == [
            (one.kind, one.payload["late"]) for one in told
        ]
        started, recovered = (one.created - BEGIN - burns for one in told)
        assert 0 < started < HOUR <= recovered < HOUR + 600
        assert away == sum(ledger.outcomes(instance).values())


def test_a_fault_of_ours_in_one_slo_keeps_no_other_from_being_shown(monkeypatch):
    """T12: at a start and after a reload the last verdicts of the others are there, and the daemon runs."""
    real = judging.assess

    def assess(slo, **options):
        if slo.name == "broken":
            raise ZeroDivisionError("oh")
        return real(slo, **options)

    monkeypatch.setattr(judging, "assess", assess)
    cycle = begin([availability("broken"), availability()])
    ticks(cycle, 2)
    cycle.adopt(cycle.settings, [availability("broken"), availability(), availability("new")])
    assert (True, False) == (metric(cycle, 'slo_total{slo="shop"}'), metric(cycle, 'slo_total{slo="broken"}'))


def test_the_web_waits_for_nobody():
    """T11: while a tick has the cycle and somebody the ledger, metrics, health and figures are served all the same."""
    cycle = begin([availability()])
    ticks(cycle, 1)
    server = WebServer(build(cycle.publisher.display, listen="127.0.0.1:0"), listen="127.0.0.1:0")
    server.start()
    let_go, busy = threading.Event(), threading.Barrier(2)

    def long_tick():
        with cycle.lock, cycle.evaluator.ledger.still():
            busy.wait()
            let_go.wait(60)

    def ask(path):
        return httpx.get(f"{server.url}{path}", timeout=30, trust_env=False).status_code

    threads = [threading.Thread(target=long_tick)]
    threads[0].start()
    busy.wait()
    begun = BEGIN - HOUR
    courses = f"/api/v1/slos/shop/history?start={begun}&end={BEGIN}&step=60"
    threads += [threading.Thread(target=ask, args=(courses,)) for _ in range(2)]  # these have to wait
    for thread in threads[1:]:
        thread.start()
    found = [ask(path) for path in ("/-/healthy", "/metrics", "/api/v1/slos", "/-/ready") for _ in range(3)]
    let_go.set()
    for thread in threads:
        thread.join()
    server.stop()
    assert [200] * 12 == found


def test_series_that_are_gone_are_among_those_remembered():
    """A pod that went is remembered for a day, so the gauge tells what the memory holds, not what lives."""
    server = Server(traffic_db())
    cycle = begin([availability()], server=server)
    ticks(cycle, 2)
    for key, samples in server.db.samples.items():
        if ("code", "500") in key:
            samples[:] = [one for one in samples if one[0] <= (BEGIN + 2 * INTERVAL) * 1000]
    ticks(cycle, 2)
    assert metric(cycle, "slo_budget_tracker_series_remembered 2.0")


def test_memory_follows_the_series():
    """T9: five hundred SLOs over fifty series stay far below the limit of a small container."""
    program = [sys.executable, "-m", "tests.unit.footprint", "500"]
    said = subprocess.run(program, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    before, after = map(int, said.splitlines()[-1].split())
    assert before < after < 150
