"""What came late shortly before an outage: the block it belongs to is compared once the outage is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from slo_budget_tracker.density import HOUR, Density, Stage
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import RequestsSli
from tests.property.histories import DELAY, INTERVAL, SHOP, History, Pod, Watch, after, counts
from tests.unit.test_rechecks import truth

DIED = 55  # scrapes: its last ones come 200 s late
STEADY = Pod(-40, 4_000, frozenset(), (0, 0))
HISTORY = History((STEADY, Pod(-40, DIED, frozenset(), (DIED - 7, DIED))), late=((DIED - 1, DIED, 200),))
LONG = [pytest.param(ticks, marks=pytest.mark.long) for ticks in (9, 20, 40, 61, 69, 90, 1_440)]


@pytest.mark.parametrize("ticks", [1, 12, 60, 75, 130, 500, *LONG])
def test_what_came_late_before_an_outage_is_found_after_it(ticks):
    """D16, P21: however long it took, what is read of it pushes no older block out."""
    last = 30 + ticks + 20
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, HISTORY.simulate(2 * last))
        for tick in [*range(1, 31), *range(30 + ticks, last + 1)]:
            watch.tick(tick)
        expected, found = (
            [sum(column) for column in zip(*some, strict=True)]
            for some in (truth(HISTORY, last)[0], counts(ledger, 1, last))
        )
    assert expected == found


def test_what_is_merged_with_ticks_before_it_is_told_as_a_doubt():
    """D16, P21: after an outage so long that counts before it are hours, nobody can count ten ticks of one again."""
    last = 30 + 200 + 20
    with Ledger.open("sqlite://") as ledger:
        ledger.history.density = Density((Stage(HOUR, HOUR),))
        watch = Watch(ledger, HISTORY.simulate(2 * last))
        for tick in range(1, 31):
            watch.tick(tick)
        seen = sum(bad for _, bad, _ in counts(ledger, 1, 30))
        doubts = sum(watch.tick(tick).doubts["uncompared"] for tick in range(230, last + 1))
        told = [event.slo for event in ledger.events() if event.kind == "slo_burn_revised"]
        assert ([], 2) == (told, doubts)  # one of raw samples, one of an expression
        assert seen == pytest.approx(sum(bad for _, bad, _ in counts(ledger, 1, last)))


def test_a_tick_without_data_hides_nothing_that_came_late_in_the_same_five_minutes():
    """D16, P21: what is merged meanwhile is compared as it is stored: a share of it per tick is no tick's."""
    ended = Pod(-40, 47, frozenset(), (40, 47))  # in tick 24, so that the next one has no data
    history = History((ended, Pod(564, 4_000, frozenset(), (0, 0))), late=((46, 47, 200),))
    last = 32 + 500 + 20
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, history.simulate(2 * last))
        for tick in [*range(1, 33), *range(532, last + 1)]:
            watch.tick(tick)
        expected, found = (
            [sum(column) for column in zip(*some, strict=True)]
            for some in (truth(history, last)[0], counts(ledger, 1, last))
        )
    assert expected == found


@pytest.mark.long
def test_what_was_read_in_part_before_an_outage_takes_no_failures_away_after_it():
    """P1, P17, D16: five minutes of which one tick was a guess are none, when the server lost the others meanwhile."""
    failed = Pod(-40, 50, frozenset(), (43, 50))
    last = 32 + 1_500 + 30
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, History((STEADY, failed)).simulate(2 * last))
        for tick in range(1, 33):
            watch.tick(tick, fault="partial" if tick == 21 else None)
        seen = sum(bad for _, bad, _ in counts(ledger, 1, 32))
        watch.simulator.forget("pod-1", after(20) * 1000, after(30) * 1000)
        doubts = sum(watch.tick(tick).doubts["inconsistent"] for tick in range(1_532, last + 1))
        assert (105, 105, True) == (seen, sum(bad for _, bad, _ in counts(ledger, 1, last)), doubts > 0)


def test_more_ticks_than_are_counted_at_once_are_told_as_a_doubt(monkeypatch):
    """D16, P21: the ticks of days are too many for one commit: what was counted stays."""
    monkeypatch.setattr("slo_budget_tracker.rechecks.MOST_AT_ONCE", 150)
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, HISTORY.simulate(500))
        for tick in range(1, 31):
            watch.tick(tick)
        seen = counts(ledger, 1, 30)
        assert 1 == sum(watch.tick(tick).doubts["uncompared"] for tick in range(230, 250))
        assert seen == counts(ledger, 1, 30)


NOBODY = SHOP.model_copy(
    update={
        "name": "nobody",
        "sli": RequestsSli(
            total=(parse_selector('http_requests_total{job="nobody"}'),),
            bad=(parse_selector('http_requests_total{job="nobody",code="500"}'),),
        ),
    }
)


class WithNobody(Watch):
    """A watch over SHOP and an SLO on the same metric that never has any data."""

    def _evaluator(self, at):
        asks = {"default": self._ask}
        return Evaluator((SHOP, NOBODY), self.ledger, asks, INTERVAL, DELAY, 1).prepare(at)


@pytest.mark.parametrize("watching", [Watch, WithNobody])
def test_what_came_late_before_hours_of_silence_is_found_once_there_are_data_again(watching):
    """D16: ticks in which nobody has data give way, those in which one of two SLOs has some do not."""
    last, back = 30 + 300 + 20, 2 * 330
    pods = (HISTORY.pods[1], Pod(back, 4_000, frozenset(), (0, 0)))
    history = replace(HISTORY, pods=pods)
    with Ledger.open("sqlite://") as ledger:
        watch = watching(ledger, history.simulate(2 * last))
        for tick in range(1, last + 1):
            watch.tick(tick)
        expected, found = (
            [sum(column) for column in zip(*some, strict=True)][:2]
            for some in (truth(history, last)[0], counts(ledger, 1, last))
        )
    assert expected == found
