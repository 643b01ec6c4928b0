"""Rations: metrics that cannot be merged ask for no more than a tick may take; what is over is asked later, and nothing is left out."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from slo_budget_tracker import joints
from slo_budget_tracker.errors import QueryFailed, QueryRejected, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.parties import gathered
from slo_budget_tracker.queries import plan
from slo_budget_tracker.rations import Ration, usual
from slo_budget_tracker.reading import units
from slo_budget_tracker.reports import Attempt
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.ticks import Tick
from slo_budget_tracker.turns import Turns
from tests.unit.serving import TAGGED, Server, advance, evaluator, ratio
from tests.unit.test_joints import START, slo
from tests.unit.tsdb import Tsdb

MANY = 32  # metrics: two joints
SLOS = tuple(map(slo, range(MANY)))


@pytest.fixture(autouse=True)
def _together(monkeypatch):
    monkeypatch.setattr(joints, "MANY", 20)


def database(*, ticks, restart=None, silent=range(0), every=30):
    """A pod of each metric; all of them restart at the begin of a tick, or nothing is scraped in some ticks."""
    db = Tsdb()
    born = -9_000 if restart is None else 60 * restart - 45
    for second in range(-600, 60 * ticks, every):
        if second // 60 in silent:
            continue
        begun = born if second >= born else -9_000
        for number in range(MANY):
            target = {"job": f"x{number}", "instance": "i"}
            db.put("up", target, (START + second) * 1000, 1)
            db.put("process_start_time_seconds", target, (START + second) * 1000, START + begun)
            for code, share in (("200", 3), ("500", 1)):
                db.put(
                    f"m{number}", {**target, "code": code}, (START + second) * 1000, share * (second - begun)
                )
    return db


class Watch:
    """Ticks one after the other, and what each of them asked."""

    def __init__(self, db, *, ration=None):
        self.db, self.away = db, False
        self.ledger = Ledger.open("sqlite://")
        options = {"asks": {"default": self._ask}, "delay": 0, "workers": 1, "ration": ration}
        self.evaluator = Evaluator(SLOS, self.ledger, **options).prepare(START)
        self.asked, self.outcomes = [], Counter()

    def _ask(self, query):
        if self.away:
            raise Unreachable("away", reason="connect")
        return self.db.ask(query)

    def until(self, tick):
        """Live ticks up to this one."""
        while len(self.asked) < tick:
            self.db.asked.clear()
            report = self.evaluator.advance(START + 60 * (len(self.asked) + 1))
            self.asked.append(len(self.db.asked))
            self.outcomes.update(report.outcomes)
        return self

    def counts(self):
        """The windows of all ticks, by SLO."""
        seconds = 60 * len(self.asked)
        found = self.ledger.history.window(START + seconds, [seconds])
        return {name: found[instance][seconds] for name, instance in self.evaluator.ids.items()}


def test_after_a_time_without_data_for_all_metrics_are_asked_about_together():
    """D16: a block without data is one question for all that are read together, not one for each of them."""
    watch = Watch(database(ticks=50, silent=range(3, 17))).until(45)
    assert [2] * 4 == watch.asked[10:14]
    assert max(watch.asked[20:]) <= 2 + 2 * 2  # each joint's tick, the end of its block, and what it lacks
    assert {"ok", "no_data"} == watch.outcomes.keys()


def test_data_that_come_late_after_a_time_without_are_found_for_each_metric():
    """D16: what lacked data together is counted as if it had come in time."""
    whole = Watch(database(ticks=50)).until(45)
    late = Watch(database(ticks=50, silent=range(3, 17))).until(16)
    late.db.samples = whole.db.samples
    assert whole.counts() == late.until(45).counts()


def test_where_scrapes_are_rarer_than_ticks_blocks_are_compared_together():
    """D16: all ten ticks of a block are one question for all that are read together."""
    watch = Watch(database(ticks=50, every=120)).until(45)
    assert max(watch.asked[5:]) <= 2 + 2 * 2


def test_when_all_targets_restart_a_tick_asks_no_more_than_its_ration():
    """What is over waits for the next ticks; every tick is counted, and none is unknown."""
    free = Watch(database(ticks=20, restart=6)).until(15)
    held = Watch(database(ticks=20, restart=6), ration=2).until(15)
    assert [4, 2] == [free.asked[5], held.asked[5]]
    assert max(held.asked[5:]) <= 3
    assert free.counts() == held.counts()
    assert free.outcomes == held.outcomes
    assert {"ok"} == held.outcomes.keys()


def test_a_catch_up_is_spread_over_ticks():
    """P25: an outage of more than an hour is read in rations, the oldest first, and stepped in order."""
    db = database(ticks=90)
    whole = Watch(db).until(85)
    watch = Watch(db, ration=2).until(3)
    watch.away = True
    watch.until(73)
    watch.away = False
    assert 2 <= max(watch.until(85).asked[73:]) <= 4
    assert whole.counts() == watch.counts()
    assert {"ok": MANY * 85} == dict(watch.outcomes)


def failing(*, bad, good, ration):
    """Expressions of which the bad ones are refused from tick 5 on, and what stands where after some ticks."""
    slos = [ratio(f"bad{n}") for n in range(bad)] + [ratio(f"good{n}") for n in range(good)]
    refused = []

    def trouble(query):
        names = [name for _, name in TAGGED.findall(query.expression) if name.startswith("bad")]
        if names and refused:
            refused.append(names)
            return QueryFailed("many-to-many", reason="execution")
        return None

    server = Server(values={f"ratio_{one.name}": lambda _: 0.0 for one in slos}, trouble=trouble)
    one = evaluator(server, Ledger.open("sqlite://"), *slos, ration=ration, workers=1)
    advance(one, 1, 4)
    refused.append([])
    return one, refused


def test_units_that_fail_for_good_leave_the_ration_to_those_that_can_be_read():
    """P12: their cursors stay the oldest, and nobody waits for them, also when batches are joined again."""
    one, _ = failing(bad=20, good=5, ration=30)
    advance(one, 5, 15)
    for tick in range(16, 80):
        report = advance(one, tick, tick)
        assert {"ok"} == {one.state for one in report.snapshots if one.name.startswith("good")}


def test_units_that_fail_are_tried_in_turns():
    """Where a ration is less than there are failing units, each is tried as often as the others."""
    one, refused = failing(bad=20, good=5, ration=12)
    advance(one, 5, 40)
    refused[1:] = []
    advance(one, 41, 60)
    tried = Counter(name for names in refused for name in names)
    assert 20 == len(tried)
    assert max(tried.values()) - min(tried.values()) <= 4  # a turn asks twice or more


def test_what_a_ration_is_too_small_for_is_told(monkeypatch):
    """Where for half an hour each tick has more to ask than it may, the SLOs left behind are in trouble."""
    monkeypatch.setattr(joints, "MANY", 2 * MANY)  # each is asked alone,
    monkeypatch.setattr("slo_budget_tracker.attempts.usual", lambda *_: {})  # and nobody knows
    watch = Watch(database(ticks=35), ration=4)
    reports = [watch.evaluator.advance(START + 60 * tick) for tick in range(1, 33)]
    fault = f"since {instant_text(START + 60)} each tick had more to ask default than it may"
    assert [set(), {fault}] == [set(reports[at].faults.values()) for at in (29, 30)]
    states = Counter(one.state for one in reports[30].snapshots if one.name in reports[30].faults)
    assert {"error": len(reports[30].faults)} == states
    assert MANY // 2 < len(reports[30].faults) < MANY


class Crowd(Watch):
    """A watch over metrics that are each asked alone, of which a tick's ration is a few; some fail for a time."""

    def __init__(self, monkeypatch, *, ticks, ration=4):
        monkeypatch.setattr(joints, "MANY", 2 * MANY)
        monkeypatch.setattr("slo_budget_tracker.attempts.usual", lambda *_: {})
        self.failing = set()
        super().__init__(database(ticks=ticks), ration=ration)

    def _ask(self, query):
        if any(query.expression.startswith(f"m{number}{{") for number in self.failing):
            self.db.asked.append(query)
            raise QueryFailed("many-to-many", reason="execution")
        return super()._ask(query)

    def tick(self, number):
        """One tick; what it reports."""
        self.asked.append(number)
        return self.evaluator.advance(START + 60 * number)

    def cursor(self, number):
        """Up to which data instant a metric was read."""
        attempts = self.evaluator._attempts
        (unit,) = (unit for unit in attempts.units if unit.slos == (f"s{number}",))
        return attempts.cursors.of(unit)


def test_who_failed_once_has_a_turn_again_however_small_the_ration(monkeypatch):
    """P12: it comes behind the others for ten ticks, and not as long as they use the ration up; until then its error is told."""
    crowd = Crowd(monkeypatch, ticks=60)
    first = next(tick for tick in range(1, 20) if crowd.tick(tick) and crowd.cursor(7) > START)
    crowd.failing.add(7)
    failed = next(tick for tick in range(first + 1, 60) if "s7" in crowd.tick(tick).faults)
    crowd.failing.clear()
    for tick in range(failed + 1, failed + 10):
        assert "many-to-many" in crowd.tick(tick).faults["s7"]
    stood = crowd.cursor(7)
    assert "many-to-many" not in crowd.tick(failed + 10).faults.get("s7", "")
    assert stood < crowd.cursor(7)


def test_who_fails_for_good_has_one_turn_in_ten(monkeypatch):
    """P12: nine healthy metrics are asked for each that fails, though the failing ones wait for longest."""
    crowd = Crowd(monkeypatch, ticks=70, ration=10)
    for tick in range(1, 12):
        crowd.tick(tick)
    crowd.failing |= set(range(16))
    for tick in range(12, 60):
        crowd.db.asked.clear()
        crowd.tick(tick)
        tried = sum(
            any(query.expression.startswith(f"m{one}{{") for one in range(16)) for query in crowd.db.asked
        )
        assert tick < 20 or tried <= 3  # a turn asks twice, or more
    assert all(crowd.cursor(number) >= START + 60 * (59 - 4) for number in range(16, MANY))


def test_failing_units_have_one_turn_in_ten_of_their_own_datasource():
    """P12: what waits of another datasource is between none of them."""
    goal = START + 60 * 40
    ill, well, other = (
        [slo(n).model_copy(update={"datasource": source}) for n in numbers]
        for source, numbers in (("one", range(3)), ("one", range(10, 30)), ("other", range(40, 90)))
    )
    turns = Turns(60)
    attempts = [
        Attempt(unit, [Tick(START if unit.datasource == "other" else START + 60, goal)])
        for unit in units(plan((*ill, *well, *other), replica_labels={}))
    ]
    for one in attempts:
        if one.unit.slos[0] in {"s0", "s1", "s2"}:
            turns.tried(one.unit, START, failed=True)
    order = [
        one.unit.slos[0]
        for one in turns.in_order(attempts, {"one": goal, "other": goal})
        if one.unit.datasource == "one"
    ]
    assert [0, 10, 20] == [order.index(name) for name in ("s0", "s1", "s2")]


def test_a_ration_of_a_datasource_that_is_gone_is_not_told(monkeypatch):
    """A reload that reads the same SLOs elsewhere leaves no trouble that nothing would end."""
    crowd = Crowd(monkeypatch, ticks=35)
    for tick in range(1, 33):
        crowd.tick(tick)
    assert crowd.evaluator._attempts.turns.waiting
    moved = tuple(one.model_copy(update={"datasource": "other"}) for one in SLOS)
    later = Evaluator(moved, crowd.ledger, {"other": crowd._ask}, delay=0, workers=1).prepare(START + 60 * 32)
    assert {} == later.inherit(crowd.evaluator)._attempts.turns.waiting


def hanging(*, opened):
    """Answers from a datasource that hangs until it is told to go on."""

    def ask(query):
        opened.wait(60)
        raise Unreachable("away", reason="connect")

    return ask


def test_a_ration_too_small_is_told_while_another_datasource_is_always_under_way(monkeypatch):
    """Each datasource's tick is over by itself."""
    crowd, opened = Crowd(monkeypatch, ticks=35), threading.Event()
    other = slo(99).model_copy(update={"datasource": "slow"})
    crowd.evaluator = Evaluator(
        (*SLOS, other),
        Ledger.open("sqlite://"),
        {"default": crowd._ask, "slow": hanging(opened=opened)},
        delay=0,
        lanes={"default": 1, "slow": 1},
        patience=0.0,
        ration=4,
    ).prepare(START)
    for tick in range(1, 33):
        report = crowd.tick(tick)
        while "default" in crowd.evaluator._attempts.under_way:
            crowd.evaluator.rest(0.1)
            report = crowd.evaluator.advance(START + 60 * tick)
        assert report.under_way
        told = {name for name, fault in report.faults.items() if "than it may" in fault}
        assert (tick > 30) == bool(told)
    opened.set()


def test_a_reload_forgets_not_who_is_left_behind(monkeypatch):
    """What waits for its turn for half an hour is told in the first report of another catalogue, too."""
    crowd = Crowd(monkeypatch, ticks=35)
    for tick in range(1, 33):
        report = crowd.tick(tick)
    opened, other = threading.Event(), slo(99).model_copy(update={"datasource": "other"})
    later = Evaluator(
        (*SLOS, other),
        crowd.ledger,
        {"default": hanging(opened=opened), "other": crowd._ask},
        delay=0,
        lanes={"default": 1, "other": 1},
        patience=0.0,
        ration=4,
    ).prepare(START + 60 * 32)
    found = later.inherit(crowd.evaluator).advance(START + 60 * 33)
    opened.set()
    assert found.under_way
    assert report.faults == found.faults


class Refusing(Watch):
    """A watch over metrics of which a server refuses what is asked about several at once."""

    def __init__(self, db, refused, *, ration=None):
        self.refused = refused
        super().__init__(db, ration=ration)

    def _ask(self, query):
        if self.refused(query):
            self.db.asked.append(query)
            raise QueryRejected("too much", reason="bad_data")
        return super()._ask(query)


def _about_many(query):
    return query.about is not None and len(query.about.metrics) * len(query.about.targets) > 2


@pytest.mark.parametrize(
    ("refused", "tick"),
    [(lambda query: query.expression.startswith("{"), 1), (_about_many, 6)],
    ids=["their samples", "what their targets did"],
)
def test_metrics_that_were_to_be_read_together_ask_alone_within_the_ration(refused, tick):
    """What is refused for all of a party is not asked for each of them at once; every tick is counted in the end."""
    whole = Watch(database(ticks=30, restart=6)).until(25)
    held = Refusing(database(ticks=30, restart=6), refused, ration=8).until(25)
    assert 8 <= held.asked[tick - 1] <= 8 + 3  # what one of them asks that began within it
    assert whole.counts() == held.counts()
    assert {"ok"} == held.outcomes.keys()


def test_a_ration_is_never_less_than_a_usual_tick_and_a_third_more():
    """Who has more metrics than the ration has requests does not fall behind for ever."""
    ration = Ration(2)
    ask = ration.counted({"default": Tsdb().ask})["default"]
    ration.begin({"default": 6})
    used = []
    for _ in range(9):
        used.append(ration.used_up("default"))
        ask(plan(SLOS[:1], replica_labels={}).raw[0].queries(60, START)[0])
    assert [False] * 8 + [True] == used
    ration.begin({"default": 6})
    assert not ration.used_up("default")
    assert not Ration().used_up("default")


def test_the_usual_requests_are_those_of_joints_and_of_what_is_read_alone():
    """Sixteen metrics in one, each other feed by itself."""
    some = units(plan(SLOS, replica_labels={}))
    joint_of = joints.Shared.of(unit.feeds[0] for unit in some).joint_of
    assert {"default": 2} == usual(some, lambda unit: joint_of[unit.feeds[0].key].key)
    assert {"default": MANY} == usual(some, lambda _: None)


@pytest.mark.parametrize(
    ("many", "lanes", "sizes"),
    [(4, 4, [1] * 4), (40, 4, [2] * 20), (625, 4, [8] * 78 + [1]), (9, 1, [2] * 4 + [1])],
    ids=["a few", "some", "ten thousand metrics", "one request at a time"],
)
def test_parties_are_as_large_as_leaves_enough_of_them(many, lanes, sizes):
    """Each lane has four parties and more where there are, and none has more than eight joints."""
    (unit, *_) = units(plan(SLOS[:1], replica_labels={}))
    ticks = [Tick(START, START + 60)]
    attempts = [Attempt(unit, ticks) for _ in range(16 * many)]
    numbers = iter(range(16 * many))
    found = gathered(attempts, lambda _: f"joint {next(numbers) // 16}", lanes)
    assert sizes == [len(party) // 16 for party in found]


def test_a_party_reads_the_same_ticks():
    """Who is behind is read by itself, and who is not read together is, too."""
    one, two = units(plan(SLOS[:2], replica_labels={}))
    late, now = [Tick(START, START + 120)], [Tick(START + 60, START + 120)]
    attempts = [Attempt(one, late), Attempt(two, now), Attempt(one, now)]
    assert 2 == len(gathered(attempts, lambda _: "joint", 1))
    assert 3 == len(gathered(attempts, lambda _: None, 1))
