"""Hours without Prometheus, or with only a part of it: what waits, what is given up, what is told while it lasts."""

from __future__ import annotations

import pytest

from slo_budget_tracker.attempts import GIVE_UP_AFTER, JOIN_AFTER
from slo_budget_tracker.errors import QueryRejected, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import RequestsSli
from slo_budget_tracker.ticks import Outcome
from tests.unit.serving import (
    BEGIN,
    DELAY,
    HOUR,
    INTERVAL,
    Server,
    advance,
    after,
    availability,
    evaluator,
    no_trouble,
    ratio,
    seconds_of,
    traffic,
)

SHOP = availability()
DATA = {"slo_data_lost", "slo_data_restored"}


def gone(_):
    """Nobody there."""
    return Unreachable("no connection", reason="refused")


def told(ledger, kinds=DATA):
    """Events of some kinds: kind, tick and whether they are late."""
    events = sorted(ledger.events(), key=lambda event: event.sequence)
    return [
        (event.kind, (event.created - BEGIN) // INTERVAL, event.payload["late"])
        for event in events
        if event.kind in kinds
    ]


def test_a_loss_of_data_is_told_while_it_lasts(server, ledger):
    """P1, P26: five minutes of nobody there are told once, over restarts, and taken back once by the first tick after."""
    one = evaluator(server, ledger)
    advance(one, 1, 10)
    server.trouble = gone
    advance(one, 11, 14)
    assert [] == told(ledger)
    advance(one, 15, 20)
    assert [("slo_data_lost", 15, False)] == told(ledger)
    one = evaluator(server, ledger, at=after(20))
    advance(one, 21, 40)
    assert [("slo_data_lost", 15, False)] == told(ledger)
    assert after(10) == ledger.slo_cursor(1)
    server.trouble = no_trouble
    advance(one, 41, 42)
    assert [("slo_data_lost", 15, False), ("slo_data_restored", 16, True)] == told(ledger)
    assert {Outcome.OK: 42 * INTERVAL} == {k: v for k, v in ledger.outcomes(1).items() if v}


def test_ticks_without_data_before_an_outage_count_towards_the_loss(server, ledger):
    """P26: three ticks without data and two without an answer are five minutes."""
    one = evaluator(Server(), ledger)
    advance(one, 1, 3)
    one.asks["default"].trouble = gone
    advance(one, 4, 5)
    assert [("slo_data_lost", 5, False)] == told(ledger)


def test_a_hole_in_the_scrapes_is_lost_and_restored_once(ledger):
    """P26, I2: nothing was stored for half an hour: the alert is held, the bounds widen, the coverage falls."""
    server = Server()
    traffic(server.db, broken=(600, 7_200))
    for samples in server.db.samples.values():
        samples[:] = [one for one in samples if not 3_000_000 <= one[0] - BEGIN * 1000 < 4_800_000]
    one = evaluator(server, ledger)
    before = advance(one, 1, 50).snapshots[0]
    assert "firing" == before.alerts[0].state
    during = advance(one, 51, 79).snapshots[0]
    assert ("held", "no_data") == (during.alerts[0].state, during.state)
    worst, best = during.error_budget_remaining_bounds
    assert worst < during.error_budget_remaining < best
    advance(one, 80, 95)
    assert [("slo_data_lost", 55, False), ("slo_data_restored", 81, False)] == told(ledger)
    assert 30 * INTERVAL == ledger.outcomes(1)[Outcome.NO_DATA]
    assert [] == told(ledger, {"slo_recovered"})


def test_what_one_unit_does_not_get_from_a_server_that_answers_is_given_up(server, ledger):
    """P24: a query that always takes too long is stepped as unknown after five minutes; the others go on."""
    traffic(server.db, metric="slow_total")
    server.trouble = lambda query: (
        Unreachable("too slow", reason="timeout") if "slow_total" in query.expression else None
    )
    one = evaluator(server, ledger, SHOP, availability("slow", metric="slow_total"))
    advance(one, 1, GIVE_UP_AFTER // INTERVAL)
    assert None is ledger.slo_cursor(2)
    report = advance(one, 6, 12)
    assert (after(12), 12 * INTERVAL) == (ledger.slo_cursor(2), ledger.outcomes(2)[Outcome.UNKNOWN])
    assert {"shop": "ok", "slow": "error"} == {s.name: s.state for s in report.snapshots}
    server.trouble = no_trouble
    report = advance(one, 13, 13)
    assert {"shop": 13 * 300, "slow": 13 * 300} == {s.name: s.total for s in report.snapshots}
    revised = [event for event in ledger.events() if event.kind == "slo_burn_revised"]
    assert ({"slow"}, 12) == (
        {one.slo for one in revised},
        sum(one.payload["revised"]["ticks"] for one in revised),
    )
    assert (12, 0) == (report.revised, report.pending_seconds)


def test_a_unit_that_was_never_asked_is_not_given_up(server, ledger):
    """T13: where a tick's time is used up before a unit's turn nobody has failed, and the first are the last next time."""
    traffic(server.db, metric="other_total")
    server.trouble = lambda query: (
        Unreachable("no time", reason="no_time") if "other_total" in query.expression else None
    )
    one = evaluator(server, ledger, SHOP, availability("other", metric="other_total"))
    advance(one, 1, 20)
    assert (None, []) == (ledger.slo_cursor(2), told(ledger))
    server.trouble = no_trouble
    server.asked.clear()
    firsts = {
        next(iter(server.asked[len(server.asked) - n :])).expression.split("[")[0]
        for tick in range(21, 25)
        for n in [asked(server, lambda tick=tick: one.advance(after(tick)))]
    }
    assert {"http_requests_total", "other_total"} == firsts


def asked(server, act):
    """How many queries something asks."""
    before = len(server.asked)
    act()
    return len(server.asked) - before


def test_a_long_catch_up_stops_when_it_is_enough(server, ledger):
    """P25: after each piece the caller may publish; the next call goes on, and nothing is told twice or early."""
    whole = Ledger.open("sqlite://")
    evaluator(server, whole).advance(after(110))
    one = evaluator(server, ledger)
    first = one.advance(after(110), enough=lambda: True)
    assert (50 * INTERVAL, "error", after(60)) == (
        first.pending_seconds,
        first.snapshots[0].state,
        ledger.slo_cursor(1),
    )
    second = one.advance(after(110), enough=lambda: True)
    assert (0, "ok") == (second.pending_seconds, second.snapshots[0].state)
    assert [event.event_id for event in whole.events()] == [event.event_id for event in ledger.events()]
    late = [[event.payload["late"] for event in one.events()] for one in (whole, ledger)]
    assert late[0] == late[1]
    whole.close()


def test_a_day_of_an_expression_is_few_points_per_request(server, ledger):
    """P25: a range query of a catch-up has an hour's points, far below the 11,000 that a server gives."""
    server.values = {"ratio_a": lambda _: 0.0}
    evaluator(server, ledger, ratio("a")).advance(after(24 * 60))
    assert HOUR - INTERVAL == max(seconds_of(query) for query in server.asked)
    assert 24 * HOUR == ledger.outcomes(1)[Outcome.OK]


def test_a_server_that_lost_everything_takes_nothing_from_us(server, ledger):
    """P21: a new, empty Prometheus: our history and its coverage stay, and what was remembered is still counted from."""
    one = evaluator(server, ledger)
    before = advance(one, 1, 40).snapshots[0]
    empty = Server()
    for key, samples in server.db.samples.items():
        empty.db.samples[key] = [sample for sample in samples if sample[0] > after(50) * 1000]
    one = evaluator(empty, ledger, at=after(40))
    doubts = {}
    for tick in range(41, 61):
        report = one.advance(after(tick))
        doubts.update({kind: times for kind, times in report.doubts.items() if times})
    snapshot = report.snapshots[0]
    assert 60 * 300 == snapshot.total
    assert before.failures == snapshot.failures
    assert 50 * INTERVAL == ledger.outcomes(1)[Outcome.OK]


def test_a_short_retention_is_seen_in_the_coverage(ledger):
    """P22: a window of a day over a server with a quarter of an hour of data is known to one part in a hundred."""
    server = Server()
    traffic(server.db, before=0)
    snapshot = evaluator(server, ledger).advance(after(15)).snapshots[0]
    assert 15 / (24 * 60) == pytest.approx(snapshot.coverage)
    worst, best = snapshot.error_budget_remaining_bounds
    assert worst < 0 < best


def test_two_servers_with_different_data_end_no_alert(ledger, shop):
    """P23: behind a balancer the second server misses every other pod's sample: the alert goes on, nothing is doubled."""
    other = Server()
    for number, (key, samples) in enumerate(sorted(shop.samples.items())):
        other.db.samples[key] = samples[number % 2 :: 2]
    servers = [Server(shop), other]
    one = evaluator(lambda query: servers[query.at // INTERVAL % 2](query), ledger)
    advance(one, 1, 38)
    kinds = {"slo_burn_started", "slo_recovered"}
    assert ["slo_burn_started"] == [kind for kind, *_ in told(ledger, kinds)]
    window = ledger.history.window(after(38), [HOUR])[1][HOUR]
    assert window.bad <= 18 * 148 + 37
    assert window.total <= 38 * 300 + 75


def test_batches_that_were_split_are_joined_again(server, ledger):
    """P11: an hour after a proxy's bad minute the expressions are asked together again; a poisoned one stays alone."""
    server.values = {f"ratio_{name}": lambda _: 0.25 for name in "abcd"}
    one = evaluator(server, ledger, *map(ratio, "abcd"))
    advance(one, 1, 3)
    server.trouble = lambda _: QueryRejected("not today", reason="bad_data")
    advance(one, 4, 4)
    assert 4 == len(one._attempts.units)
    server.trouble = lambda query: (
        QueryRejected("poison", reason="bad_data") if "ratio_c" in query.expression else None
    )
    advance(one, 5, 3 + JOIN_AFTER // INTERVAL)
    assert 4 == len(one._attempts.units)
    report = advance(one, 4 + JOIN_AFTER // INTERVAL, 5 + JOIN_AFTER // INTERVAL)
    assert [("a", "b", "d"), ("c",)] == sorted(unit.slos for unit in one._attempts.units)
    assert {"c": "poison"} == report.faults


def test_a_damaged_memory_begins_anew_with_a_doubt(server, ledger):
    """S5: what was remembered cannot be read: the tick is counted from its own baseline, and that is told once."""
    advance(evaluator(server, ledger), 1, 10)
    watched = Damaged(ledger)
    one = evaluator(server, watched, at=after(10))
    report = one.advance(after(11))
    assert ({}, 1, 11 * 300) == (report.errors, report.doubts["memory_damaged"], report.snapshots[0].total)
    assert 0 == one.advance(after(12)).doubts["memory_damaged"]


class Damaged:
    """A ledger whose memories are no memories."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def memory(self, _feed):
        """Bytes that nobody wrote."""
        return b"SBTm1 and something else"


def test_an_infinite_sample_is_an_error_of_its_slos_only(server, ledger):
    """D2: the ticks with the sample are errors of the SLO that selects it; another one on the same metric is counted."""
    server.db.put(
        "http_requests_total", {"job": "odd", "instance": "o:80", "code": "500"}, after(2) * 1000 - 1, 5
    )
    server.db.put(
        "http_requests_total",
        {"job": "odd", "instance": "o:80", "code": "500"},
        after(3) * 1000 - 1,
        float("inf"),
    )
    only = parse_selector('http_requests_total{job="shop"}')
    quiet = availability("quiet", sli=RequestsSli(total=(only,), bad=(only,)))
    one = evaluator(server, ledger, SHOP, quiet)
    reports = [one.advance(after(tick)) for tick in range(1, 6)]
    assert "shop: bad: a sample of http_requests_total is infinite" == reports[2].faults["shop"]
    assert [{"shop": "error", "quiet": "ok"}] == [
        {s.name: s.state for s in report.snapshots} for report in reports if report.faults
    ]
    del server.db.samples[next(key for key in server.db.samples if ("job", "odd") in key)]


def test_a_datasource_with_later_data_is_read_later(server, ledger):
    """D16: with a delay of its own a datasource's SLOs are evaluated whole ticks behind the others."""
    slow = availability("slow", datasource="remote")
    asks = {"default": server, "remote": server}
    one = Evaluator(
        (SHOP, slow), ledger, asks, interval=INTERVAL, delay=DELAY, delays={"remote": 200}
    ).prepare(BEGIN)
    report = advance(one, 1, 10)
    assert {"shop": after(10), "slow": after(7)} == {s.name: s.evaluated_at for s in report.snapshots}
    assert ({"shop": "ok", "slow": "ok"}, 0) == (
        {s.name: s.state for s in report.snapshots},
        report.pending_seconds,
    )
    assert {False} == {event.payload["late"] for event in ledger.events()} | {False}
