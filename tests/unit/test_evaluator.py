"""The cycle under trouble: what is late, refused, broken or restarted comes out as if nothing had been."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest

from slo_budget_tracker import evaluator as evaluators
from slo_budget_tracker import judging, lulls, stepping
from slo_budget_tracker.answers import Query
from slo_budget_tracker.attempts import GIVE_UP_AFTER
from slo_budget_tracker.errors import BadAnswer, LedgerError, QueryFailed, QueryRejected, Unreachable
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.reading import RANGE_FROM
from slo_budget_tracker.slis import CompositeSli, Member
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
LAST = 90  # ticks of a run


def unreachable(_):
    """Nobody there."""
    return Unreachable("no connection", reason="refused")


def counts(ledger, ticks, *, instance=1):
    """What the ledger knows of each tick: total, bad, known seconds."""
    found = []
    for tick in range(1, ticks + 1):
        window = ledger.history.window(after(tick), [INTERVAL])[instance][INTERVAL]
        found.append((window.total, window.bad, window.known))
    return found


def told(ledger):
    """The events: id, kind and data instant."""
    return [(event.event_id, event.kind, event.created) for event in ledger.events()]


@pytest.fixture(scope="module")
def undisturbed(shop):
    """Ninety minutes of live ticks without any trouble: counts by tick, events."""
    with Ledger.open("sqlite://") as ledger:
        advance(evaluator(Server(shop), ledger), 1, LAST)
        return counts(ledger, LAST), told(ledger)


def test_live_ticks_count_everything_once(undisturbed):
    """300 requests a minute, 148 of them failed in the twenty minutes, one page that begins and ends."""
    by_tick, events = undisturbed
    assert {(300, 0, 60), (300, 148, 60)} <= set(by_tick)
    assert (LAST * 300, 20 * 148) == (sum(one[0] for one in by_tick), sum(one[1] for one in by_tick))
    kinds = [kind for _, kind, _ in events if kind in {"slo_burn_started", "slo_recovered"}]
    assert ["slo_burn_started", "slo_recovered"] == kinds


def test_a_missed_tick_is_read_by_the_next_one(server, ledger, undisturbed):
    """P1: nobody answers for one tick; the next one brings both, each with its own counts."""
    one = evaluator(server, ledger)
    advance(one, 1, 4)
    server.trouble = unreachable
    missed = one.advance(after(5))
    server.trouble = no_trouble
    assert ([Unreachable], INTERVAL, "error") == (
        [type(error) for error in missed.errors.values()],
        missed.pending_seconds,
        missed.snapshots[0].state,
    )
    report = one.advance(after(6))
    assert ({"ok": 2}, 0, {}) == (report.outcomes, report.pending_seconds, report.errors)
    assert undisturbed[0][:6] == counts(ledger, 6)


def test_hours_without_prometheus_end_like_no_outage_at_all(server, ledger, undisturbed):
    """P25: the past is stepped in order; every count and event is the same, told once and marked late."""
    one = evaluator(server, ledger)
    advance(one, 1, 15)
    server.trouble = unreachable
    for tick in range(16, LAST):
        report = one.advance(after(tick))
        assert ((tick - 15) * INTERVAL, "error") == (report.pending_seconds, report.snapshots[0].state)
    server.trouble = no_trouble
    report = one.advance(after(LAST))
    data = {"slo_data_lost", "slo_data_restored"}
    others = [event for event in told(ledger) if event[1] not in data]
    assert undisturbed == (counts(ledger, LAST), others)
    during = [event for event in ledger.events() if event.created > after(15)]
    assert [("slo_data_lost", after(20), False), ("slo_data_restored", after(21), True)] == [
        (event.kind, event.created, event.payload["late"]) for event in during if event.kind in data
    ]
    assert len(during) - 1 == len(report.transitions) > 2
    assert {True} == {event.payload["late"] for event in during if event.kind != "slo_data_lost"}
    assert () == one.advance(after(LAST)).transitions


def test_a_long_catch_up_asks_for_pieces(server, ledger, undisturbed):
    """P25: no request reads more than an hour; the last piece is not late."""
    one = evaluator(server, ledger)
    one.advance(after(LAST))
    assert HOUR == max(seconds_of(query) for query in server.asked)
    assert undisturbed[0] == counts(ledger, LAST)


def test_a_range_that_is_too_much_is_halved_at_once(server, ledger, undisturbed):
    """P12: 422 on more than ten minutes; the catch-up still ends in the same call."""
    server.trouble = lambda query: (
        QueryFailed("too many samples", reason="execution") if seconds_of(query) > 600 else None
    )
    one = evaluator(server, ledger)
    report = one.advance(after(80))
    assert ({}, 0) == (report.errors, report.pending_seconds)
    assert undisturbed[0][:80] == counts(ledger, 80)
    refused = sum(seconds_of(query) > 600 for query in server.asked)
    assert 3 == refused  # 3600, 1800, 900: then the length is known


@pytest.mark.parametrize("ticks", [1, RANGE_FROM + 3])
def test_a_poisoned_expression_is_isolated(server, ledger, ticks):
    """P11: four SLOs of a batch go on in the very same tick, the fifth is named with the server's words."""
    names = ["a", "b", "c", "d", "e"]
    server.values = {f"ratio_{name}": lambda _: 0.25 for name in names}
    server.trouble = lambda query: (
        QueryRejected("parse error: ratio_c", reason="bad_data") if "ratio_c" in query.expression else None
    )
    one = evaluator(server, ledger, *map(ratio, names))
    report = one.advance(after(ticks))
    assert {"c": "parse error: ratio_c"} == report.faults
    assert {"a": "ok", "b": "ok", "c": "error", "d": "ok", "e": "ok"} == {
        snapshot.name: snapshot.state for snapshot in report.snapshots
    }
    server.asked.clear()
    report = one.advance(after(ticks + 1))
    assert (4, 1) == (report.outcomes["ok"], sum("ratio_c" in query.expression for query in server.asked))


def test_a_batch_whose_range_is_too_long_stays_together(server, ledger):
    """P12: what is refused for its length is asked for in shorter ranges, not member by member."""
    server.values = {"ratio_a": lambda _: 0.0, "ratio_b": lambda _: 0.5}
    server.trouble = lambda query: (
        QueryFailed("too many samples", reason="execution") if seconds_of(query) > 600 else None
    )
    one = evaluator(server, ledger, ratio("a"), ratio("b"))
    one.advance(after(60))
    assert 1 == len(one._attempts.units)
    assert [(60, 0, HOUR), (60, 30, HOUR)] == [
        (window.total, window.bad, window.known)
        for instance in (1, 2)
        for window in [ledger.history.window(after(60), [HOUR])[instance][HOUR]]
    ]


def test_refused_ticks_are_unknown_after_five_minutes_and_corrected_later(server, ledger, undisturbed):
    """P11: the state machine goes on without them; when the server answers at last the budget is right."""
    one = evaluator(server, ledger)
    advance(one, 1, 10)
    server.trouble = lambda _: QueryRejected("not today", reason="bad_data")
    patient = advance(one, 11, 11 + GIVE_UP_AFTER // INTERVAL - 1)
    assert after(10) == ledger.slo_cursor(1)
    assert "error" == patient.snapshots[0].state
    advance(one, 16, 40)
    assert after(40) == ledger.slo_cursor(1)
    assert 30 * INTERVAL == ledger.outcomes(1)[Outcome.UNKNOWN]
    server.trouble = no_trouble
    report = one.advance(after(41))
    assert (0, "ok") == (report.pending_seconds, report.snapshots[0].state)
    assert undisturbed[0][:41] == counts(ledger, 41)


def test_what_was_given_up_is_not_written_again_each_tick(server, ledger):
    """P11: an SLO that is refused for days costs one row a tick, not all of them again."""
    commits = []
    watched = Watched(ledger)
    watched.commit = lambda entry: commits.append(len(entry.rows)) or ledger.commit(entry)
    one = evaluator(server, watched)
    server.trouble = lambda _: QueryRejected("not today", reason="bad_data")
    advance(one, 1, 20)
    assert [0, 6, *[1] * 14] == commits  # first of all the loss of data is told, with no row


def test_an_expression_that_fails_at_one_old_tick_leaves_a_hole(server, ledger):
    """P12: two deploys overlap at one instant; later ticks are known, the instant stays unknown."""
    server.values = {"ratio_a": lambda _: 0.0}

    def overlap(query):
        at = range(query.at, query.at + 1) if hasattr(query, "at") else range(query.start, query.end + 1)
        return QueryFailed("duplicate series", reason="execution") if after(3) in at else None

    server.trouble = overlap
    one = evaluator(server, ledger, ratio("a"))
    report = advance(one, 1, 12)
    assert (0, "ok", {}) == (report.pending_seconds, report.snapshots[0].state, report.errors)
    assert [tick for tick, one in enumerate(counts(ledger, 12), 1) if one[2] == 0] == [3]


def test_a_catch_up_goes_on_behind_a_hole_call_by_call(server, ledger):
    """P12: once the failing tick is left behind, the expression fails no more, in whatever call that is."""
    broken = after(5)

    def trouble(query):
        first = query.at if isinstance(query, Query) else query.start
        last = query.at if isinstance(query, Query) else query.end
        wrong = "ratio_mood" in query.expression and first <= broken <= last
        return QueryFailed("many-to-many", reason="execution") if wrong else None

    server.values = {"ratio_mood": lambda _: 0.0}
    one = evaluator(server, ledger, ratio("mood"))
    advance(one, 1, 4)
    server.trouble = trouble
    for tick in range(5, 20):
        pieces = iter((False, False, True))
        report = one.advance(after(tick), enough=lambda pieces=pieces: next(pieces, True))
        while report.stopped:
            report = one.advance(after(tick), enough=lambda: True)
    assert ({}, after(19)) == (report.errors, ledger.slo_cursor(1))


class Watched:
    """A ledger of which a test may replace a part."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)


def test_a_ledger_that_cannot_write_loses_nothing(server, ledger, undisturbed):
    """S3: a full disk for a while; figures go on, and the tick after it writes everything once."""
    watched = Watched(ledger)

    def full(_):
        ledger.unstage()
        raise LedgerError("no space left on device")

    one = evaluator(server, watched)
    advance(one, 1, 30)
    watched.commit = full
    for tick in range(31, 46):
        report = one.advance(after(tick))
        assert ("no space left on device", ()) == (str(report.store_error), report.transitions)
        assert 1 == len(report.snapshots)
    assert after(30) == ledger.slo_cursor(1)
    del watched.commit
    assert None is advance(one, 46, LAST).store_error
    assert undisturbed == (counts(ledger, LAST), told(ledger))


def test_a_ledger_that_cannot_be_read_is_a_store_error(server, ledger):
    """S3: the tick ends with the fault told, and the next one does it all."""
    evaluator(server, ledger).advance(after(1))
    watched = Watched(ledger)

    def locked(_):
        raise LedgerError("the ledger is locked")

    watched.memory = locked
    one = evaluator(server, watched)  # a restart: what is remembered is in the ledger only
    assert "the ledger is locked" == str(one.advance(after(2)).store_error)
    del watched.memory
    assert {"ok": 2} == one.advance(after(3)).outcomes


def test_a_fault_in_judging_one_slo_is_its_own(server, ledger, monkeypatch):
    """T12: an exception while one SLO is judged leaves the others' verdicts and counts alone."""
    real = judging.assess

    def assess(slo, **options):
        if slo.name == "broken":
            raise ZeroDivisionError("oh")
        return real(slo, **options)

    monkeypatch.setattr(judging, "assess", assess)
    one = evaluator(server, ledger, availability("broken"), SHOP)
    report = advance(one, 1, 3)
    assert ({"broken": "internal error: ZeroDivisionError: oh"}, ["shop"]) == (
        report.faults,
        [snapshot.name for snapshot in report.snapshots],
    )
    assert after(3) == ledger.slo_cursor(2)


@pytest.mark.parametrize("what", ["applications", "composed"])
def test_a_fault_in_a_correction_or_a_composite_is_its_own(server, ledger, monkeypatch, what):
    """T12: whatever of one SLO fails, in every tick, the others are stepped and shown."""
    room = {"applications": stepping, "composed": judging}[what]
    real = getattr(room, what)

    def faulty(subject, *arguments):
        if what == "composed" or subject.name == "broken":
            raise ZeroDivisionError("oh")
        return real(subject, *arguments)

    monkeypatch.setattr(room, what, faulty)
    sli = CompositeSli(members=(Member(slo="shop"),))
    broken = {"applications": availability("broken"), "composed": availability("broken", sli=sli, alerts=())}
    report = advance(evaluator(server, ledger, broken[what], SHOP), 1, 3)
    assert {"broken": "internal error: ZeroDivisionError: oh"} == report.faults
    assert "shop" in [snapshot.name for snapshot in report.snapshots]
    assert after(3) == ledger.slo_cursor(2)


@pytest.mark.parametrize(("room", "what"), [(lulls, "snapshots"), (judging, "calm")])
def test_a_fault_in_what_is_judged_at_once_leaves_each_to_itself(server, ledger, monkeypatch, room, what):
    """T12: all are judged one by one then, and nothing of it shows."""
    with Ledger.open("sqlite://") as other:
        expected = advance(evaluator(server, other, availability("other"), SHOP), 1, 3).snapshots

    def faulty(*_):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(room, what, faulty)
    report = advance(evaluator(server, ledger, availability("other"), SHOP), 1, 3)
    assert (expected, {}) == (report.snapshots, report.faults)


def test_a_fault_in_reading_one_unit_is_its_own(server, ledger):
    """T12: an exception while one metric is read is told as that SLO's fault; the others are read."""
    server.trouble = lambda query: RuntimeError("oh") if query.expression.startswith("other") else None
    one = evaluator(server, ledger, availability("other", metric="other_total"), SHOP)
    report = one.advance(after(2))
    assert {"other": "internal error: RuntimeError: oh"} == report.faults
    assert {"other": "error", "shop": "ok"} == {s.name: s.state for s in report.snapshots}


def test_garbage_from_a_proxy_for_an_hour_is_corrected(server, ledger, undisturbed):
    """P9: answers that cannot be used are no data; what Prometheus has is counted when it is back."""
    one = evaluator(server, ledger)
    advance(one, 1, 10)
    server.trouble = lambda _: BadAnswer("not JSON", reason="bad_json")
    advance(one, 11, 50)
    server.trouble = no_trouble
    advance(one, 51, 51)
    assert undisturbed[0][:51] == counts(ledger, 51)


def test_a_clock_that_goes_back_evaluates_nothing_twice(server, ledger, undisturbed):
    """T2: nothing is asked or told for instants that were evaluated; the figures stay where they were."""
    one = evaluator(server, ledger)
    before = advance(one, 1, 60)
    events = told(ledger)
    server.asked.clear()
    for tick in (45, 59, 60):
        report = one.advance(after(tick))
        assert ((), before.snapshots, {}) == (report.transitions, report.snapshots, report.outcomes)
    assert ([], events) == (server.asked, told(ledger))
    advance(one, 61, LAST)
    assert undisturbed == (counts(ledger, LAST), told(ledger))


@pytest.mark.parametrize("away", [0, 1, 30], ids=["within a tick", "for a tick", "for half an hour"])
def test_a_restart_goes_on_where_it_was(server, tmp_path, undisturbed, away):
    """T14: a new process over the same file; states, counts and events as if it had run on."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger.open(url) as ledger:
        before = advance(evaluator(server, ledger), 1, 42)
    with Ledger.open(url) as ledger:
        one = evaluator(server, ledger, at=after(42 + away))
        assert before.snapshots == one.look(after(42))
        assert {"shop": after(42)} == one.data_until
        if not away:
            assert before.snapshots == one.advance(after(42)).snapshots
        advance(one, 42 + away + 1, LAST)
        assert undisturbed == (counts(ledger, LAST), told(ledger))


def test_a_changed_target_keeps_the_counts(server, ledger):
    """C14: the same events, another promise."""
    advance(evaluator(server, ledger), 1, 20)
    strict = availability(target=Decimal("0.999"))
    one = evaluator(server, ledger, strict, at=after(20))
    snapshot = advance(one, 21, 21).snapshots[0]
    assert ({"shop": 1}, Decimal("0.999"), 21 * 300) == (one.ids, snapshot.target, snapshot.total)


def test_a_changed_sli_begins_a_new_generation(server, ledger):
    """C14: other events are other counts; the old ones stay with the generation before."""
    advance(evaluator(server, ledger), 1, 20)
    traffic(server.db, metric="other_total")
    other = availability(metric="other_total")
    one = evaluator(server, ledger, other, at=after(20))
    snapshot = advance(one, 21, 22).snapshots[0]
    assert ({"shop": 2}, 2 * 300) == (one.ids, snapshot.total)
    assert [(1, after(20)), (2, None)] == [(i.generation, i.retired) for i in ledger.instances.values()]


def test_an_slo_added_later_starts_then(server, ledger):
    """A second SLO on the same metric has no ticks before it was there; the first one goes on."""
    advance(evaluator(server, ledger), 1, 10)
    one = evaluator(server, ledger, SHOP, availability("added"), at=after(10))
    report = advance(one, 11, 12)
    assert {"shop": 12 * 300, "added": 2 * 300} == {s.name: s.total for s in report.snapshots}


def test_a_changed_interval_covers_the_remainder_of_each_unit(server, ledger):
    """Units that are read up to different instants end in the same tick; nothing is counted twice."""
    traffic(server.db, metric="late_total")
    slos = (SHOP, availability("late", metric="late_total"))
    one = evaluator(server, ledger, *slos)
    advance(one, 1, 11)
    server.trouble = lambda query: unreachable(query) if "late_total" in query.expression else None
    advance(one, 12, 13)
    server.trouble = no_trouble
    five = evaluator(server, ledger, *slos, at=after(13), interval=300)
    until = 300 * (after(21) // 300) - DELAY
    report = five.advance(until)
    expected = (until - BEGIN) * 5
    assert {"shop": expected, "late": expected} == {s.name: s.total for s in report.snapshots}


def test_outcomes_add_up(server, ledger):
    """I1: each SLO and tick has one outcome, whatever happened."""
    server.values = {"ratio_a": lambda at: None if at < after(5) else 0.5}
    one = evaluator(server, ledger, SHOP, ratio("a"))
    seen = Counter()
    for tick in range(1, 21):
        seen.update(one.advance(after(tick)).outcomes)
    assert {"ok": 36, "no_data": 4} == seen


def test_a_look_concludes_together_what_it_concludes_one_by_one(server, ledger):
    """Where the alert windows are found for all SLOs at once, each shows what it shows alone."""
    traffic(server.db, metric="calm_total", broken=(0, 0))
    one = evaluator(server, ledger, SHOP, availability("calm", metric="calm_total"))
    for tick in (30, 80):  # one of two burns, then both did long enough ago
        advance(one, 1, tick)
        windows = one._stepper.windows(after(tick), one.instances())
        alone = [one._stepper.assess(key, after(tick), windows, live=False) for key in one.instances()]
        assert [verdict.snapshot for verdict in alone] == list(one.look(after(tick)))
    assert set(one.ids.values()) == one._stepper.burns(after(80), one.seen).keys()


def test_requests_are_planned_with_the_first_tick(server, ledger, monkeypatch):
    """What the ledger knows is shown before: a restart with ten thousand SLOs does not wait for the plan."""
    plans, plan = [], evaluators.plan
    monkeypatch.setattr(evaluators, "plan", lambda *args, **named: plans.append(args) or plan(*args, **named))
    one = evaluator(server, ledger)
    one.look(after(0))
    before = len(plans)
    advance(one, 1, 2)
    assert (0, 1) == (before, len(plans))
