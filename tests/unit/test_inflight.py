"""Readings under way: a slow datasource delays no other, and what it answers later is taken up once."""

from __future__ import annotations

import threading
import time

import pytest

from slo_budget_tracker.backfill import Backfill
from slo_budget_tracker.errors import QueryFailed, QueryRejected, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.inflight import InFlight, Spread
from slo_budget_tracker.instances import fill_key
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import units
from slo_budget_tracker.reports import Attempt
from slo_budget_tracker.slis import CompositeSli, Member
from slo_budget_tracker.ticks import Outcome, Tick
from tests.unit.cycling import Client, Clock, begin
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, availability, ratio, traffic

SECONDS = 30  # until a test is given up
FAST, SLOW = availability("fast", datasource="fast"), availability("slow", datasource="slow")


class Tap:
    """A server whose answers can be held back."""

    def __init__(self, server):
        self.server = server
        self.open = threading.Event()
        self.open.set()
        self.asked = 0

    def __call__(self, query):
        """Answer as soon as it is open."""
        self.asked += 1
        assert self.open.wait(SECONDS)
        return self.server(query)


@pytest.fixture
def slow():
    """The slow one; whatever a test does, its threads end."""
    tap = Tap(Server(traffic(Server().db)))
    yield tap
    tap.open.set()


@pytest.fixture
def evaluate(slow):
    """An evaluator of SLOs over the fast and the slow datasource."""

    def make(*slos, **further):
        asks = {"fast": Server(traffic(Server().db)), "slow": slow}
        with_lanes = {"lanes": {"fast": 2, "slow": 2}, "patience": 0.02, **further}
        ledger = Ledger.open("sqlite://")
        return Evaluator(
            slos=slos, ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY, **with_lanes
        ).prepare(BEGIN)

    return make


def stands(evaluator):
    """Up to which tick each SLO was stepped, in ticks after the beginning."""
    return {
        name: ((evaluator.ledger.slo_cursor(instance) or BEGIN) - BEGIN) // INTERVAL
        for name, instance in evaluator.ids.items()
    }


def until_over(evaluator, at):
    """Go on as the daemon does until nothing is under way."""
    end = time.monotonic() + SECONDS
    report = evaluator.advance(at)
    while report.under_way and time.monotonic() < end:
        evaluator.rest(1)
        report = evaluator.advance(at)
    return report


def test_the_fast_one_is_stepped_while_the_slow_one_is_awaited(evaluate, slow):
    """One tick each, the slow one's later; the counts are the same."""
    evaluator = evaluate(FAST, SLOW)
    slow.open.clear()
    at = BEGIN + INTERVAL
    first = evaluator.advance(at)
    assert (True, {"fast": 1, "slow": 0}) == (first.under_way, stands(evaluator))
    slow.open.set()
    report = until_over(evaluator, at)
    assert (False, {"fast": 1, "slow": 1}) == (report.under_way, stands(evaluator))
    totals = {snapshot.name: snapshot.total for snapshot in report.snapshots}
    assert totals["fast"] == totals["slow"] > 0


def test_ticks_of_the_slow_one_are_missed_by_nobody(evaluate, slow):
    """Three ticks of the others later it goes on where it stood; the outcomes of all add up."""
    evaluator = evaluate(FAST, SLOW)
    slow.open.clear()
    for tick in (1, 2, 3):
        assert evaluator.advance(BEGIN + tick * INTERVAL).under_way
    assert ({"fast": 3, "slow": 0}, 1) == (stands(evaluator), slow.asked)
    slow.open.set()
    until_over(evaluator, BEGIN + 3 * INTERVAL)
    assert {"fast": 3, "slow": 3} == stands(evaluator)
    for instance in evaluator.ids.values():
        assert 3 * INTERVAL == sum(evaluator.ledger.outcomes(instance).values())


def test_what_the_slow_one_is_asked_next_is_not_waited_for_in_the_same_call(evaluate, slow):
    """Its late answer is there, its next one is not: the others' tick is shown meanwhile."""
    evaluator = evaluate(FAST, SLOW)
    slow.open.clear()
    assert evaluator.advance(BEGIN + INTERVAL).under_way
    slow.open.set()
    evaluator.rest(SECONDS)
    slow.open.clear()
    began = time.monotonic()
    assert evaluator.advance(BEGIN + 2 * INTERVAL).under_way
    assert time.monotonic() - began < SECONDS
    assert {"fast": 2, "slow": 1} == stands(evaluator)


def test_figures_of_the_slow_one_stay_as_they_were(evaluate, slow):
    """Not yet answered is no data missing: its figures are those of its last tick, its state too."""
    evaluator = evaluate(FAST, SLOW)
    until_over(evaluator, BEGIN + INTERVAL)
    slow.open.clear()
    report = evaluator.advance(BEGIN + 2 * INTERVAL)
    found = {one.name: (one.evaluated_at - BEGIN, one.state) for one in report.snapshots}
    assert {"fast": (2 * INTERVAL, "ok"), "slow": (INTERVAL, "ok")} == found
    assert Outcome.OK is evaluator.seen["slow"]


def test_a_trouble_of_the_slow_one_is_not_over_before_it_has_answered(evaluate, slow):
    """What was wrong with it stays in the report until something else is known."""
    evaluator = evaluate(FAST, SLOW)
    slow.server.trouble = lambda _: Unreachable("no connection", reason="connection")
    assert not until_over(evaluator, BEGIN + INTERVAL).under_way
    slow.open.clear()
    report = evaluator.advance(BEGIN + 2 * INTERVAL)
    assert {"slow": "no connection"} == dict(report.faults)
    assert ["no connection"] == [str(error) for error in report.errors.values()]
    slow.server.trouble = lambda _: None
    slow.open.set()
    assert {} == until_over(evaluator, BEGIN + 2 * INTERVAL).faults


def test_a_slow_failure_is_given_up_after_its_time_only(evaluate, slow):
    """P12: a unit that is refused for five minutes is stepped as unknown, as if it had been fast."""
    evaluator = evaluate(FAST, SLOW)
    slow.server.trouble = lambda _: QueryFailed("too many samples", reason="execution")
    for tick in range(1, 8):
        slow.open.clear()
        evaluator.advance(BEGIN + tick * INTERVAL)
        slow.open.set()
        until_over(evaluator, BEGIN + tick * INTERVAL)
    assert {"fast": 7, "slow": 7} == stands(evaluator)
    assert 7 * INTERVAL == sum(evaluator.ledger.outcomes(evaluator.ids["slow"]).values())


def test_a_refused_batch_is_taken_apart_in_flight(evaluate, slow):
    """P11: the poisoned member is found while the others are awaited."""
    slow.server.values = dict.fromkeys(["ratio_a", "ratio_b"], lambda _: 0.25)
    slow.server.trouble = lambda query: (
        QueryRejected("no such function", reason="bad_data") if "ratio_c" in query.expression else None
    )
    slos = [ratio(name).model_copy(update={"datasource": "slow"}) for name in "abc"]
    report = until_over(evaluate(FAST, *slos), BEGIN + INTERVAL)
    assert {"c": "no such function"} == dict(report.faults)
    assert {"a": "ok", "b": "ok", "c": "error"} == {
        s.name: s.state for s in report.snapshots if s.name != "fast"
    }


def test_a_journey_over_both_waits_for_its_slow_member(evaluate, slow):
    """A composite is stepped as far as all its members are, and is not called missed meanwhile."""
    sli = CompositeSli(members=(Member(slo="fast"), Member(slo="slow")), mode="weighted")
    journey = availability("journey", sli=sli)
    evaluator = evaluate(FAST, SLOW, journey)
    until_over(evaluator, BEGIN + INTERVAL)
    slow.open.clear()
    report = evaluator.advance(BEGIN + 2 * INTERVAL)
    found = {one.name: (one.evaluated_at - BEGIN, one.state) for one in report.snapshots}
    assert (INTERVAL, "ok") == found["journey"]


def test_who_asks_for_all_waits_for_all(evaluate, slow):
    """`replay` and `evaluate` have no patience to lose: one call brings every datasource to its goal."""
    evaluator = evaluate(FAST, SLOW, patience=None)
    slow.open.clear()
    threading.Timer(0.1, slow.open.set).start()
    assert not evaluator.advance(BEGIN + INTERVAL).under_way
    assert {"fast": 1, "slow": 1} == stands(evaluator)


def test_a_catch_up_does_not_wait_for_the_slow_one_at_each_piece(evaluate, slow, monkeypatch):
    """The slow one is waited for once, however many pieces the fast one has to read."""
    in_vain, rest = [], InFlight.rest

    def noted(flights, seconds):
        rest(flights, seconds)
        in_vain.extend([seconds] if seconds is not None and not flights._early else [])

    monkeypatch.setattr(InFlight, "rest", noted)
    evaluator = evaluate(FAST, SLOW, patience=0.2)
    slow.open.clear()
    evaluator.advance(BEGIN + 30 * 3_600)
    assert (30 * 60, 1) == (stands(evaluator)["fast"], len(in_vain))


def test_the_daemon_shows_the_fast_ones_first(monkeypatch):
    """A tick publishes what is there, goes on when the slow one has answered, and publishes again."""
    clock = Clock()
    tap = Tap(Server(traffic(Server().db)))
    sources = {"fast": Client(Server(traffic(Server().db)), clock), "slow": Client(tap, clock)}
    named = {name: {"url": f"http://{name}.example"} for name in sources}
    cycle = begin([FAST, SLOW], clock=clock, sources=sources, datasources=named)
    shown = []
    publish = Publisher.publish

    def note(publisher, evaluator, clients, snapshots):
        shown.append({one.name: (one.evaluated_at - BEGIN) // INTERVAL for one in snapshots})
        publish(publisher, evaluator, clients, snapshots)
        tap.open.set()

    monkeypatch.setattr(Publisher, "publish", note)
    cycle.evaluator._attempts.patience = 0.02
    tap.open.clear()
    clock.now += INTERVAL
    cycle.tick()
    assert [{"fast": 1, "slow": 0}, {"fast": 1, "slow": 1}] == [shown[0], shown[-1]]
    assert 1 == sum(cycle.publisher.own.tick_durations.counts)


@pytest.mark.parametrize(
    ("many", "lanes", "expected"),
    [
        pytest.param(4, 4, [0, 0, 0, 0], id="as many as there are lanes go at once"),
        pytest.param(5, 4, [0, 1.0, 2.0, 3.0, 4.0], id="more are put apart"),
    ],
)
def test_requests_of_a_tick_are_spread(many, lanes, expected):
    """T13: each of a tick's requests has its turn within the spread; who is late goes at once."""
    now, rests = [100.0], []

    def rest(seconds):
        rests.append(seconds)
        now[0] += seconds

    turn = Spread(5.0, rest=rest, clock=lambda: now[0]).turns(many, lanes)
    starts = []
    for number in range(many):
        turn(number)
        starts.append(now[0] - 100.0)
    assert expected == starts
    now[0] += 100
    turn(many - 1)
    assert len(rests) == sum(one > 0 for one in expected)


def test_a_catch_up_is_not_spread(evaluate):
    """What is behind is read at once; the newest tick of many requests takes its turns."""
    rested = []
    slos = [availability(f"slo-{n}", metric=f"m{n}_total", datasource="fast") for n in range(4)]
    evaluator = evaluate(*slos, SLOW, lanes={"fast": 1, "slow": 1}, spread=Spread(0.4, rest=rested.append))
    until_over(evaluator, BEGIN + 2 * INTERVAL)
    assert [] == rested
    until_over(evaluator, BEGIN + 3 * INTERVAL)
    assert 3 == len(rested)


def test_the_past_of_others_is_filled_while_one_does_not_answer():
    """A datasource that is away keeps its own past waiting and says why; the fill of the others ends."""
    clock = Clock()
    away = Server(trouble=lambda _: Unreachable("no connection", reason="connection"))
    sources = {"fast": Client(Server(traffic(Server().db)), clock), "slow": Client(away, clock)}
    named = {name: {"url": f"http://{name}.example"} for name in sources}
    cycle = begin([FAST, SLOW], clock=clock, sources=sources, datasources=named)
    backfill = Backfill(cycle)
    backfill.start()
    ledger, ids = cycle.evaluator.ledger, cycle.evaluator.ids
    day = FAST.window

    def filled(name):
        return BEGIN - (ledger.cursor(fill_key(ids[name])) or BEGIN)

    end = time.monotonic() + SECONDS
    while (cycle.filling != day or not cycle.publisher.readiness.filling) and time.monotonic() < end:
        time.sleep(0.01)
    assert (day, 0, day) == (filled("fast"), filled("slow"), cycle.filling)
    assert "slow" in cycle.publisher.readiness.filling
    cycle.stop.set()
    backfill.join(SECONDS)
    assert not backfill._thread.is_alive()


def test_who_was_slow_once_is_waited_for_again(evaluate, slow):
    """A datasource that was late in one tick has its patience in the next."""
    evaluator = evaluate(FAST, SLOW, patience=20.0)
    evaluator._attempts.patience = 0.02
    slow.open.clear()
    assert evaluator.advance(BEGIN + INTERVAL).under_way
    slow.open.set()
    until_over(evaluator, BEGIN + INTERVAL)
    evaluator._attempts.patience = 20.0
    assert not evaluator.advance(BEGIN + 2 * INTERVAL).under_way


def test_a_failing_one_is_asked_once_a_tick_while_others_are_awaited(evaluate, slow):
    """It stays told as failing, and the next tick asks it again."""
    evaluator = evaluate(FAST, SLOW)
    fast = evaluator.asks["fast"]
    fast.trouble = lambda _: Unreachable("no connection", reason="connection")
    slow.open.clear()
    for _ in range(4):
        report = evaluator.advance(BEGIN + INTERVAL)
        assert (True, {"fast": "no connection"}) == (report.under_way, dict(report.faults))
    assert 1 == len(fast.asked)
    slow.open.set()
    until_over(evaluator, BEGIN + INTERVAL)
    fast.trouble = lambda _: None
    assert {} == until_over(evaluator, BEGIN + 2 * INTERVAL).faults
    assert {"fast": 2, "slow": 2} == stands(evaluator)


def test_a_flight_that_brought_nothing_is_over():
    """T13: where a tick's requests were used up before its turn, the slow datasource is waited for no longer."""
    opened = threading.Event()

    def read(party):
        if party[0].unit.datasource == "slow":
            assert opened.wait(SECONDS)
            return party
        return []

    units_of = units(plan((FAST, SLOW), replica_labels={}))
    attempts = [Attempt(unit, [Tick(BEGIN, BEGIN + INTERVAL)]) for unit in units_of]
    flights = InFlight(read, {"fast": 2, "slow": 2})
    flights.start(attempts)
    waiting = threading.Timer(5, opened.set)
    waiting.start()
    landed = flights.land(lambda _: (), patience=0.02)
    assert ([], {"slow"}, False) == (landed, flights.datasources, opened.is_set())
    waiting.cancel()
    opened.set()
    assert ["slow"] == [one.unit.datasource for one in flights.land(lambda _: (), patience=None)]
