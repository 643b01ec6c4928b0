"""What is told of groups that begin before the tick in which they are found: their past is counted, not told."""

from __future__ import annotations

from decimal import Decimal

from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outcomes import NO_DATA
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import CompositeSli, Member
from slo_budget_tracker.specs import SLO, BurnRateAlert, RequestsSli
from tests.property.histories import BEGIN, DELAY, INTERVAL, after
from tests.simulator import Simulator

PAY = (("handler", "/pay"),)
REQUESTS = RequestsSli(total=(parse_selector("requests"),), bad=(parse_selector('requests{code="500"}'),))
SLOS = tuple(
    SLO(
        name=name,
        target=Decimal("0.9"),
        window=3_600,
        sli=sli,
        group_by=("handler",),
        alerts=(BurnRateAlert(severity="page", long=600, short=120, burn_rate=Decimal(5)),),
    )
    for name, sli in (("shop", REQUESTS), ("all", CompositeSli(members=(Member(slo="shop"),))))
)


def shops(ticks, *pays, seconds=0, code="500"):
    """Two scrapes a tick of one handler that is well, and for some ticks of another one, which may arrive late."""
    simulator = Simulator()
    pod = {"job": "shop", "instance": "a:80"}
    for number in range(-30, 2 * ticks):
        time = (BEGIN + number * 30) * 1000 + 5_000
        grown = 10 * (number + 31)
        simulator.put("up", pod, time, 1)
        simulator.put("process_start_time_seconds", pod, time, BEGIN - 90_000)
        simulator.put("requests", {**pod, "handler": "/", "code": "200"}, time, grown)
        if any(number // 2 + 1 in some for some in pays):
            labels = {**pod, "handler": "/pay", "code": code}
            simulator.put("requests", labels, time, grown, arrives=time / 1000 + seconds if seconds else 0)
    return simulator


def begun(ledger, simulator):
    """An evaluator of both SLOs."""
    asks = {"default": simulator.ask}
    return Evaluator(SLOS, ledger, asks, interval=INTERVAL, delay=DELAY, workers=1).prepare(BEGIN)


def told(one, simulator, ticks):
    """What each of these ticks tells of groups: when, about which tick, what, and of which SLO."""
    found = []
    for tick in ticks:
        simulator.arrive(after(tick) + DELAY)
        events = [event for event in one.advance(after(tick)).transitions if event.group]
        found += [(tick, (e.at - BEGIN) // INTERVAL, e.kind, e.payload["slo_name"]) for e in events]
    return found


def test_a_group_whose_data_come_late_is_told_of_as_a_correction_alone():
    """D16: nothing starts, is exhausted or lost in ticks that are over, neither of it nor of composites."""
    with Ledger.open("sqlite://") as ledger:
        simulator = shops(40, range(13, 21), seconds=285)
        events = told(begun(ledger, simulator), simulator, range(1, 40))
        assert [
            (True, "slo_burn_revised", "shop"),
            (False, "slo_data_lost", "shop"),
            (False, "slo_data_lost", "all"),
        ] == [(about < tick, kind, slo) for tick, about, kind, slo in events]


def test_the_correction_of_a_group_that_came_late_has_the_figures_of_now():
    """D16: not those of where the group began."""
    with Ledger.open("sqlite://") as ledger:
        simulator = shops(40, range(13, 21), seconds=285)
        one = begun(ledger, simulator)
        tick = next(tick for tick in range(1, 40) if told(one, simulator, [tick]))
        first = next(event for event in ledger.events() if event.payload["labels"])
        of_pay = next(snapshot for snapshot in one.look(after(tick)) if snapshot.labels == dict(PAY))
        figures = (of_pay.total, of_pay.error_budget_remaining)
        assert figures == (first.payload["sample_count"], first.payload["error_budget_remaining"])


def test_a_group_that_came_late_is_shown_at_once_with_what_the_newest_tick_brought():
    """D16: it is as far as its SLO, and not waited for."""
    with Ledger.open("sqlite://") as ledger:
        simulator = shops(40, range(13, 21), seconds=285)
        one = begun(ledger, simulator)
        tick = next(tick for tick in range(1, 40) if told(one, simulator, [tick]))
        of_pay = [snapshot for snapshot in one.look(after(tick)) if snapshot.labels == dict(PAY)]
        assert [("shop", "no_data"), ("all", "no_data")] == [(one.name, one.state) for one in of_pay]


def test_a_group_that_is_there_again_is_told_of_from_then_on():
    """D17: while it was gone nobody waited for its data."""
    with Ledger.open("sqlite://") as ledger:
        simulator = shops(240, range(5, 20), range(230, 240), code="200")
        one = begun(ledger, simulator)
        assert [
            *[(25, 24, "slo_data_lost", slo) for slo in ("shop", "all")],
            *[(105, 105, "slo_retired", slo) for slo in ("shop", "all")],
        ] == told(one, simulator, range(5, 240, 5))


def test_a_group_that_the_first_fill_finds_is_told_of_from_then_on():
    """D17: live ticks that were over by then are no loss of its data."""
    with Ledger.open("sqlite://") as ledger:
        simulator = shops(20)
        one = begun(ledger, simulator)
        told(one, simulator, range(1, 7))
        one.enrol({key_of("shop", PAY): {BEGIN: NO_DATA}})
        assert [(11, 11, "slo_data_lost", slo) for slo in ("shop", "all")] == told(
            one, simulator, range(7, 20)
        )
