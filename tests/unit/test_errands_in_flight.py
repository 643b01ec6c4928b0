"""A look for late data ends while the next tick's answers are still to come: nothing is counted by both."""

from __future__ import annotations

import threading
from itertools import accumulate

import pytest

from slo_budget_tracker.errands import Beside
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from tests.property.histories import DELAY, INTERVAL, MOOD, SHOP, History, Watch, after, counts
from tests.unit.test_errands import SECONDS, until
from tests.unit.test_rechecks import DYING, STEADY, truth

TICKS = 40
OTHER = MOOD.model_copy(update={"datasource": "fast"})  # of one datasource all answers are waited for


class Door:
    """Questions that go through, or hang until it is opened again."""

    def __init__(self, ask):
        self.ask, self.open, self.waiting = ask, threading.Event(), 0
        self.open.set()

    def __call__(self, query):
        """Ask."""
        self.waiting += 1
        assert self.open.wait(SECONDS)
        self.waiting -= 1
        return self.ask(query)


class Two(Watch):
    """A watch over two datasources, one of which may hang: in a tick, or in what is asked beside it."""

    def __post_init__(self):
        self.guard, self.server = threading.Lock(), threading.Lock()
        self.ticking, self.looking = Door(self._asked), Door(self._asked)
        super().__post_init__()

    def _evaluator(self, at):
        return Evaluator(
            (SHOP, OTHER),
            self.ledger,
            {"default": self.ticking, "fast": self._asked},
            INTERVAL,
            DELAY,
            1,
            lanes={"default": 1, "fast": 1},
            patience=0.01,
            beside=Beside({"default": self.looking, "fast": self._asked}, self.guard),
        ).prepare(at)

    def _asked(self, query):
        with self.server:
            return self._ask(query)

    def looks(self):
        """Whether the slow datasource is asked beside the ticks."""
        return "default" in self.evaluator._lookback.errands._busy

    def whole(self, number):
        """A tick, all its answers, and what is done beside it, unless that hangs."""
        with self.guard:
            report = self.tick(number)
        while report.under_way:
            self.evaluator.rest(1)
            with self.guard:
                report = self.evaluator.advance(after(number))
        until(
            lambda: (
                not self.evaluator._lookback.errands._busy
                or (self.looking.waiting and not self.looking.open.is_set())
            )
        )


def live(history, first):
    """What is counted where a look that begins at the tick `first` ends while the next one's answers are to come."""
    with Ledger.open("sqlite://") as ledger:
        watch = Two(ledger, history.simulate(2 * TICKS))
        for number in range(1, TICKS + 1):
            if number == first:
                watch.looking.open.clear()
            if number == first + 1:
                _cross(watch, number)
            watch.whole(number)
        return counts(ledger, 1, TICKS)


def _cross(watch, number):
    watch.ticking.open.clear()
    with watch.guard:
        assert watch.tick(number).under_way
    until(lambda: watch.ticking.waiting)
    watch.looking.open.set()
    until(lambda: not watch.looks())
    watch.ticking.open.set()


def so_far(ticks):
    """Sums of totals, of failures and of what was slow, up to each tick."""
    return [list(accumulate(column)) for column in zip(*ticks, strict=True)]


@pytest.mark.parametrize("first", [15, 16, 25])
def test_what_a_look_finds_amid_a_tick_is_not_counted_by_both(first):
    """D16: the tick's answers go on from what was remembered before the look. Nothing is there before it was, or twice."""
    late = ((18, 21, 200), (34, 35, 200), (2 * first - 2, 2 * first + 1, 75))
    history = History((STEADY, DYING), late=late)
    expected, found = so_far(truth(history, TICKS)[0]), so_far(live(history, first))
    assert [one[-1] for one in expected] == [one[-1] for one in found]
    assert all(
        now <= true
        for told, one in zip(expected, found, strict=True)
        for true, now in zip(told, one, strict=True)
    )
