"""Feeds that a changed catalogue joins may have been read up to different instants."""

from decimal import Decimal

import pytest

from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, RequestsSli
from tests.unit.tsdb import Tsdb

START = 1_700_000_040 // 60 * 60
HOUR = 3_600


def slo(name, *, bad):
    """An SLO over the requests `m` and some counter of bad ones."""
    return SLO(
        name=name,
        target=Decimal("0.99"),
        window=86_400,
        sli=RequestsSli(total=(parse_selector('m{job="x"}'),), bad=(parse_selector(bad),)),
    )


@pytest.fixture
def database():
    """Two hours of scrapes: `m` grows by one a second for each code, `n` by one in three seconds."""
    db = Tsdb()
    for second in range(0, 2 * HOUR, 30):
        at = (START - 600 + second) * 1000
        for code in ("200", "500"):
            db.put("m", {"job": "x", "instance": "i", "code": code}, at, second)
        db.put("n", {"job": "x", "instance": "i"}, at, second // 3)
        db.put("up", {"job": "x", "instance": "i"}, at, 1)
    return db


def test_an_slo_that_comes_back_takes_no_counts_from_the_others(database):
    """An SLO over two metrics was away for 50 minutes: what others counted on one of them stays (C14)."""
    alone, joined = slo("alone", bad='m{job="x",code="500"}'), slo("joined", bad='n{job="x"}')
    with Ledger.open("sqlite://") as ledger:

        def evaluator(at, *slos):
            asks = {"default": database.ask}
            return Evaluator(slos=slos, ledger=ledger, asks=asks, delay=0).prepare(at)

        evaluator(START, alone, joined).advance(START + 600)
        evaluator(START + 600, alone).advance(START + HOUR)
        last = evaluator(START + HOUR, alone, joined)
        report = last.advance(START + HOUR + 60)
        windows = ledger.history.window(report.at, [HOUR + 60])
        found = {name: windows[instance][HOUR + 60] for name, instance in last.ids.items()}

    assert (2 * (HOUR + 60), HOUR + 60) == (found["alone"].total, found["alone"].known)
    assert (2 * 660, 660) == (found["joined"].total, found["joined"].known)
