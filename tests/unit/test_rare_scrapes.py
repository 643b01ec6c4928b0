"""What comes late where scrapes, or probes, are rarer than ticks."""

from __future__ import annotations

import pytest

from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import ProbeSli
from tests.property.histories import BEGIN, DELAY, INTERVAL, SHOP, after, counts
from tests.simulator import Simulator

TICKS = 90
PROBING = SHOP.model_copy(update={"name": "probing", "sli": ProbeSli(up=(parse_selector('up{job="shop"}'),))})


def counted(slo, simulator, ticks=TICKS):
    """All events and bad ones of a life."""
    asks = {"default": simulator.ask}
    with Ledger.open("sqlite://") as ledger:
        evaluator = Evaluator((slo,), ledger, asks, interval=INTERVAL, delay=DELAY, workers=1).prepare(BEGIN)
        for tick in range(1, ticks + 1):
            simulator.arrive(after(tick) + DELAY)
            evaluator.advance(after(tick))
        found = counts(ledger, 1, ticks)
        return sum(one[0] for one in found), sum(one[1] for one in found)


def dying(every, last, seconds):
    """Two pods scraped every so many ticks; the first one ends with failures, and that scrape comes later."""
    simulator = Simulator()
    for pod in range(2):
        target = {"job": "shop", "instance": f"pod-{pod}"}
        good = 0
        for tick in range(last - 24 * every, TICKS + 1 if pod else last + 1, every):
            good += 20
            time = after(tick) * 1000 - 20_000 + pod * 1_700
            ends = pod == 0 and tick == last
            samples = [("up", {}, 1), ("process_start_time_seconds", {}, BEGIN - 90_000)]
            samples.append(("http_requests_total", {"code": "200"}, good))
            if ends:
                samples.append(("http_requests_total", {"code": "500"}, 15))
            for metric, labels, value in samples:
                arrives = time / 1000 + seconds if ends else 0
                simulator.put(metric, {**target, **labels}, time, value, arrives=arrives)
    return simulator


def probed(every, failing, seconds, ticks):
    """A target that is probed every so many ticks; one probe fails, and is known later."""
    simulator = Simulator()
    for tick in range(failing % every - 10 * every, ticks + 1, every):
        time = after(tick) * 1000 - 20_000
        arrives = time / 1000 + seconds if tick == failing else 0
        simulator.put("up", {"job": "shop", "instance": "a"}, time, float(tick != failing), arrives=arrives)
    return simulator


@pytest.mark.parametrize("tick", [60, 63])
@pytest.mark.parametrize("every", [1, 2, 4])
def test_the_last_scrape_of_a_pod_is_found_wherever_in_ten_ticks_it_comes_late(every, tick):
    """D16: beside the tick before a tick lacks nothing where most ticks have no scrape."""
    assert counted(SHOP, dying(every, tick, 0)) == counted(SHOP, dying(every, tick, 200))


@pytest.mark.parametrize("tick", [60, 63])
@pytest.mark.parametrize(("every", "ticks"), [(2, TICKS), (5, TICKS), (30, 140)])
def test_a_late_probe_is_found_however_rare_they_are(every, ticks, tick):
    """D16: a tick without a probe is no reason to wait with comparing, and none to compare with."""
    found = [counted(PROBING, probed(every, tick, late, ticks), ticks) for late in (0, 200)]
    assert found[0] == found[1]
