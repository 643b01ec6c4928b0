"""What a reload hands on, and what it leaves behind: one catalogue is in memory, not one for each reload."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from slo_budget_tracker import garbage
from slo_budget_tracker.answers import Answer
from slo_budget_tracker.errors import LedgerError, QueryFailed, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.memos import while_alive
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import units
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.transport import mapped
from tests.unit.cycling import begin, ticks, traffic_db
from tests.unit.serving import BEGIN, INTERVAL, Server, availability, ratio, traffic

SHOP, CART, OTHER = (
    availability(name, metric=f"{name}_requests_total") for name in ("shop", "cart", "other")
)
SELECTED = {name: (parse_selector(f"{name}_requests_total"),) for name in ("shop", "http", "failed")}
STRICTER = SHOP.model_copy(update={"target": SHOP.target / 2})


def feeds(cycle):
    """The feeds that are read, by metric."""
    return {feed.metric: feed for unit in cycle.evaluator._attempts.units for feed in unit.feeds}


def plain(slo):
    """The same series with other failures."""
    sli = slo.sli.model_copy(update={"bad": slo.sli.total})
    return slo.model_copy(update={"sli": sli})


def test_feeds_that_are_the_same_are_the_very_same():
    """Reload: whose SLI changed has a feed of its own; that of another target and those of others are kept."""
    cycle = begin([SHOP, CART])
    ticks(cycle, 1)
    before = feeds(cycle)
    cycle.adopt(cycle.settings, [STRICTER, plain(CART), OTHER])
    after = feeds(cycle)
    assert before["shop_requests_total"] is after["shop_requests_total"]
    assert before["cart_requests_total"] != after["cart_requests_total"]
    assert "other_requests_total" in after


def test_what_is_remembered_goes_on_without_the_ledger():
    """Reload: memories of feeds that are the same are not read from the ledger again; others begin there."""
    cycle = begin([SHOP, CART])
    ticks(cycle, 3)
    before = dict(cycle.evaluator._attempts.recollection._memories)
    cycle.adopt(cycle.settings, [STRICTER, plain(CART)])
    after = cycle.evaluator._attempts.recollection._memories
    key = feeds(cycle)["shop_requests_total"].key
    assert [key] == list(after)
    assert before[key] is after[key]


def test_what_begins_anew_amid_an_outage_counts_nothing_of_before():
    """C14: of another SLI that shares a metric with the one before, no event counts that came until the reload."""
    db, away = traffic_db(), []
    for name in ("shop", "failed"):
        traffic(db, metric=f"{name}_requests_total")
    cycle = begin([SHOP], server=Server(db, trouble=lambda _: away[0] if away else None))
    sli = SHOP.sli.model_copy(update={"total": SELECTED["shop"], "bad": SELECTED["http"]})
    other = sli.model_copy(update={"bad": SELECTED["failed"]})
    cycle.adopt(cycle.settings, [SHOP.model_copy(update={"sli": sli})])
    ticks(cycle, 5)
    away.append(Unreachable("away", reason="connect"))
    ticks(cycle, 20)
    away.clear()
    cycle.adopt(cycle.settings, [SHOP.model_copy(update={"sli": other})])
    ticks(cycle, 1)
    instance = cycle.evaluator.ids["shop"]
    counts = cycle.evaluator.ledger.history.window(cycle.last_at, [INTERVAL])[instance][INTERVAL]
    assert (300, 300) == (counts.total, counts.bad)


@pytest.mark.parametrize("slos", [[SHOP], [SHOP, ratio("ratio")]], ids=["samples", "expressions too"])
def test_a_reload_leaves_nothing_of_the_catalogue_before(slos):
    """Memory: whoever read it ends with the reload, though nobody looks for garbage then."""
    cycle = begin(slos)
    ticks(cycle, 2)
    gc.collect()
    with garbage.waiting():
        old = weakref.ref(cycle.evaluator._attempts)
        cycle.adopt(cycle.settings, [STRICTER])
        garbage.loosen()
        assert old() is None


def refused(_):
    """An error as a client's: one of the system is behind it."""
    with mapped():
        raise ConnectionRefusedError


@pytest.mark.parametrize("trouble", [lambda _: QueryFailed("down", reason="execution"), refused])
def test_why_something_fails_goes_on_without_the_catalogue_before(trouble):
    """Reload: an error stays told until it is tried again, and holds nothing of whoever asked."""
    cycle = begin([SHOP, ratio("ratio")], server=Server(trouble=trouble))
    ticks(cycle, 2)
    gc.collect()
    with garbage.waiting():
        old = weakref.ref(cycle.evaluator._attempts)
        failing = {key: str(error) for key, error in old()._last_errors.items()}
        cycle.adopt(cycle.settings, [STRICTER, ratio("ratio")])
        garbage.loosen()
        assert old() is None
    assert 2 == len(failing)
    assert failing == {key: str(error) for key, error in cycle.evaluator._attempts._last_errors.items()}


def test_a_catalogue_that_is_gone_asks_nothing_further():
    """Reload: what a slow datasource has not been asked yet is not asked for it, and its threads end."""
    opened, asked = threading.Event(), []

    def ask(query):
        asked.append(query)
        assert opened.wait(30)
        return Answer(())

    slow = [availability(f"s{n}", metric=f"m{n}_total", datasource="slow") for n in range(20)]
    options = {"lanes": {"default": 1, "slow": 2}, "patience": 0.0}
    one = Evaluator((SHOP, *slow), Ledger.open("sqlite://"), {"default": Server(), "slow": ask}, **options)
    assert one.prepare(BEGIN).advance(BEGIN + INTERVAL).under_way
    pool = one._attempts._flights._flights["slow"].pool
    old = weakref.ref(one._attempts)
    threads = list(pool._threads)
    one.end()
    with garbage.waiting():
        del one, pool
        opened.set()
        for thread in threads:
            thread.join(30)
        assert (True, None) == (len(asked) <= 2 * 2, old())


def test_a_feed_that_nobody_reads_is_forgotten():
    """Memory: plans share feeds only as long as one of them is there."""
    read = units(plan([SHOP], replica_labels={}))
    feed = weakref.ref(read[0].feeds[0])
    assert plan([SHOP], replica_labels={}).raw[0] is feed()
    assert plan([SHOP], replica_labels={"default": "replica"}).raw[0] is not feed()
    del read
    assert feed() is None


def test_a_reload_that_fails_takes_nothing_from_what_runs(monkeypatch):
    """C21, S3: with a ledger that cannot be written, what runs keeps what it knows and looks for late data."""
    cycle = begin([SHOP, CART])
    ticks(cycle, 2)
    attempts, ended = cycle.evaluator._attempts, []
    before = dict(attempts.recollection._memories), list(attempts.units)

    def full(entry):
        raise LedgerError("no space left on device")

    monkeypatch.setattr(type(cycle.evaluator), "end", ended.append)
    with monkeypatch.context() as broken:
        broken.setattr(cycle.evaluator.ledger, "commit", full)
        with pytest.raises(LedgerError):
            cycle.adopt(cycle.settings, [plain(SHOP)])
    assert (before, []) == ((attempts.recollection._memories, attempts.units), ended)
    assert attempts is cycle.evaluator._attempts


def test_a_method_of_what_is_gone_gives_nothing():
    """It keeps its object alive only while it runs."""

    class Doubling:
        def double(self, value):
            return (value, value)

    doubling = Doubling()
    double = while_alive(doubling.double)
    assert (2, 2) == double(2)
    del doubling
    assert () == double(2)
