"""What is asked beside the ticks: a server that answers it slowly, or never, delays no tick and no other server."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import pytest

from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.errands import Beside, Errands
from slo_budget_tracker.errors import LedgerError, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rechecks import Rechecks
from slo_budget_tracker.stepping import Stepper
from tests.property.histories import BEGIN, DELAY, INTERVAL, MOOD, SHOP, History, Watch, after, counts
from tests.unit import serving
from tests.unit.cycling import Client, Clock, settings
from tests.unit.test_rechecks import DYING, STEADY, revisions, truth

SECONDS = 30  # until a test is given up
LATE = History((STEADY, DYING), late=((34, 35, 200),))
TICKS = 40


def until(true):
    """Wait for what another thread does."""
    end = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@dataclass
class Aside(Watch):
    """A watch that looks for late data beside its ticks; its server may be slow to answer that."""

    guard: threading.Lock = field(default_factory=threading.Lock)
    open: threading.Event = field(default_factory=threading.Event)
    hanging: int = 0

    def __post_init__(self):
        super().__post_init__()
        self.open.set()

    def _evaluator(self, at):
        beside = Beside({"default": self._ask_slowly}, self.guard)
        return Evaluator(
            (SHOP, MOOD), self.ledger, {"default": self._ask}, INTERVAL, DELAY, 1, beside=beside
        ).prepare(at)

    def _ask_slowly(self, query):
        self.hanging += 1
        assert self.open.wait(SECONDS)
        self.hanging -= 1
        return self._ask(query)

    def tick(self, number, **faults):
        """One tick, and all that is done beside it unless its server hangs."""
        with self.guard:
            report = super().tick(number, **faults)
        until(lambda: not self.evaluator._lookback.errands._busy or (self.hanging and not self.open.is_set()))
        return report


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


@pytest.fixture
def watch(ledger):
    """A watch whose history has late data."""
    one = Aside(ledger, LATE.simulate(2 * TICKS))
    yield one
    one.open.set()


def test_late_data_are_found_as_if_they_were_looked_for_inside(watch, ledger):
    """D16: the same counts and the same revisions, told with the next tick."""
    reports = [watch.tick(number) for number in range(1, TICKS + 1)]
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)
    inside = Ledger.open("sqlite://")
    other = Watch(inside, LATE.simulate(2 * TICKS))
    expected = [other.tick(number) for number in range(1, TICKS + 1)]
    assert revisions(inside) == revisions(ledger)
    assert sum(one.revised for one in expected) == sum(one.revised for one in reports) > 0
    kinds = [[event.kind for report in some for event in report.transitions] for some in (expected, reports)]
    assert sorted(kinds[0]) == sorted(kinds[1])


def test_late_data_are_found_where_every_tick_takes_long(watch, ledger, monkeypatch):
    """D16: ten thousand SLOs take more than a catch-up's turn for each tick, and leave nothing to be read."""
    advance = Evaluator.advance
    monkeypatch.setattr(Evaluator, "advance", lambda one, at: advance(one, at, enough=lambda: True))
    revised = sum(watch.tick(number).revised for number in range(1, TICKS + 1))
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)
    assert revised > 0


def test_groups_grow_old_where_every_tick_takes_long(watch, monkeypatch):
    """What is done once an hour is done, too: groups without series go."""
    aged, advance = [], Evaluator.advance
    monkeypatch.setattr(Evaluator, "_age_out", lambda _, until, report: aged.append(until))
    monkeypatch.setattr(Evaluator, "advance", lambda one, at: advance(one, at, enough=lambda: True))
    watch.tick(1)
    watch.tick(2)
    assert [after(1), after(2)] == aged


@pytest.mark.parametrize("first", range(15, 19))
def test_ticks_go_on_while_a_look_hangs(watch, ledger, first):
    """Whichever question hangs: the ticks are counted meanwhile, and what it finds in the end is exact."""
    for number in range(1, TICKS + 1):
        if number == first:
            watch.open.clear()
        if number == first + 6:
            watch.open.set()
            until(lambda: not watch.evaluator._lookback.errands._busy)
        report = watch.tick(number)
        assert {BEGIN + number * INTERVAL} == {one.evaluated_at for one in report.snapshots}
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)


def test_a_ledger_that_was_read_anew_makes_a_look_void(watch, ledger):
    """What was remembered is not what was: the answer is not used, and nothing is counted twice."""
    for number in range(1, TICKS + 1):
        if number == 16:
            watch.open.clear()
        if number == 18:
            ledger.generation += 1
        if number == 20:
            watch.open.set()
            until(lambda: not watch.evaluator._lookback.errands._busy)
        watch.tick(number)
    told, known = truth(LATE, TICKS)[0], counts(ledger, 1, TICKS)
    assert sum(total for total, _, _ in known) <= sum(total for total, _, _ in told)
    assert told[20:] == known[20:]


def test_another_catalogue_makes_a_look_void(watch, ledger):
    """A reload while it hangs: what it asked about is looked at again by who runs now."""
    for number in range(1, TICKS + 1):
        if number == 16:
            watch.open.clear()
        if number == 18:
            old = watch.evaluator
            with watch.guard:
                watch.restart(BEGIN + 17 * INTERVAL)
                watch.evaluator.inherit(old)
                old.end()
            watch.open.set()
            until(lambda old=old: not old._lookback.errands._busy)
            assert 0 == sum(tally.revised for tally in old._lookback.errands.taken())
        watch.tick(number)
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)


def test_a_fault_of_ours_beside_is_told(watch, ledger, monkeypatch):
    """T12: with the next tick, as one inside would be; the look is made again."""
    is_late, broken = Rechecks._is_late, []

    def faulty(*arguments):
        if len(broken) < 2:
            broken.append(1)
            raise ZeroDivisionError
        return is_late(*arguments)

    monkeypatch.setattr(Rechecks, "_is_late", faulty)
    reports = [watch.tick(number) for number in range(1, TICKS + 1)]
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)
    assert 2 == sum(any("internal error" in fault for fault in one.faults.values()) for one in reports)


def test_a_disk_that_is_full_is_told(watch, ledger, monkeypatch):
    """S3: a revision that cannot be written is a trouble of the next tick, which goes on; it is made later."""
    write, broken = Stepper._write, []

    def full(stepper, piece, report):
        if any(transition.kind == "slo_burn_revised" for transition in piece.transitions) and not broken:
            broken.append(1)
            report.store_error = LedgerError("the disk is full")
            return {}
        return write(stepper, piece, report)

    monkeypatch.setattr(Stepper, "_write", full)
    reports = [watch.tick(number) for number in range(1, TICKS + 1)]
    assert ["the disk is full"] == [str(one.store_error) for one in reports if one.store_error]
    assert truth(LATE, TICKS)[0] == counts(ledger, 1, TICKS)


def test_of_each_datasource_there_is_one_at_a_time():
    """Who hangs is not asked more; others are; after the end nobody is."""
    guard, goes = threading.Lock(), threading.Event()

    def ask(_):
        assert goes.wait(SECONDS)
        return "answered"

    errands = Errands(Beside({"one": ask, "other": ask}, guard))
    told = []

    def work(_report, ask):
        told.append(ask("?"))

    with guard:
        assert [True, False, True] == [errands.start(name, work) for name in ("one", "one", "other")]
    goes.set()
    until(lambda: len(told) == 2)
    with guard:
        assert 2 == len(errands.taken())
        errands.end()
        assert not errands.start("one", work)


def test_the_end_is_no_answer():
    """A daemon that ends, or another catalogue, while a server is asked: nothing is done with what it says."""
    guard, asked, goes, told = threading.Lock(), threading.Event(), threading.Event(), []

    def ask(_):
        asked.set()
        assert goes.wait(SECONDS)

    def work(_report, ask):
        for _ in range(2):
            try:
                ask("?")
            except Unreachable as error:
                told.append(error.reason)

    errands = Errands(Beside({"one": ask}, guard))
    with guard:
        errands.start("one", work)
    assert asked.wait(SECONDS)
    with guard:
        errands.end()
    goes.set()
    until(lambda: not errands._busy)
    assert ["overtaken", "overtaken"] == told


class Hesitant:
    """A server that answers ticks at once, and nothing else before it is told to."""

    def __init__(self):
        self.server = serving.Server(serving.traffic(serving.Server().db))
        self.open = threading.Event()
        self.hanging = 0

    def __call__(self, query):
        """Answer."""
        if threading.current_thread().name.startswith("errand"):
            self.hanging += 1
            assert self.open.wait(SECONDS)
            self.hanging -= 1
        return self.server(query)


def test_a_datasource_that_is_slow_to_look_back_delays_no_other():
    """Both tick on time, none is skipped, and of the other one late data are looked for all the same."""
    clock, slow = Clock(), Hesitant()
    fast = serving.Server(serving.traffic(serving.Server().db))
    sources = {"fast": Client(fast, clock), "slow": Client(slow, clock)}
    named = {name: {"url": f"http://{name}.example"} for name in sources}
    slos = [serving.availability(name, datasource=name) for name in sources]
    cycle = Cycle.begin(
        settings(datasources=named), slos, Ledger.open("sqlite://"), sources=sources, clock=clock, beside=True
    )
    looked = []
    for _ in range(TICKS):
        clock.now += serving.INTERVAL
        before = len(fast.asked)
        cycle.tick()
        until(lambda: cycle.evaluator._lookback.errands._busy <= {"slow"})
        newest = clock.now - serving.DELAY
        looked += [query for query in fast.asked[before:] if query.at < newest - 2 * serving.INTERVAL]
        assert {newest} == {one.evaluated_at for one in cycle.publisher.snapshots}
    assert (1, 0) == (slow.hanging, cycle.publisher.own.ticks_missed)
    assert len(looked) >= 2
    with cycle.lock:
        cycle.evaluator.end()
    slow.open.set()
    until(lambda: not cycle.evaluator._lookback.errands._busy)


def test_what_an_errand_found_before_a_reload_is_told_after_it():
    """Events are lines, and revised ticks a figure, whichever catalogue's errand found them; each once."""
    beside, opened = Beside({}, threading.Lock()), threading.Event()
    old, new = Errands(beside), Errands(beside)

    def waiting(report, _):
        assert opened.wait(SECONDS)
        report.revised += 2

    with beside.guard:
        old.start("fast", lambda report, _: report.doubts.update(inconsistent=1))
    until(lambda: not old._busy)
    old.start("slow", waiting)
    new.inherit(old)
    opened.set()
    until(lambda: not old._busy)
    old.end()
    assert [(1, 0), (0, 2)] == [(one.doubts["inconsistent"], one.revised) for one in new.taken()]
    assert [] == new.taken()
