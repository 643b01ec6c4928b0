"""How often late data are looked for where that is in vain: less and less often, and not for ever."""

from __future__ import annotations

from collections import Counter

import pytest

from slo_budget_tracker.answers import RangeQuery
from slo_budget_tracker.errors import QueryFailed
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import RequestsSli
from tests.property.histories import DELAY, INTERVAL, SHOP, History, Pod, Watch, after, counts
from tests.unit.serving import Server, evaluator, ratio, seconds_of

STEADY = Pod(-40, 800, frozenset(), (0, 0))
NOBODY = SHOP.model_copy(
    update={
        "name": "nobody",
        "sli": RequestsSli(
            total=(parse_selector('http_requests_total{job="shop",code="none"}'),),
            bad=(parse_selector('http_requests_total{job="shop",code="none at all"}'),),
        ),
    }
)


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


class Mood:
    """An expression whose values can be changed afterwards, and a server that is slow or not."""

    def __init__(self, ledger):
        self.values, self.slow = {}, False
        self.ledger, self.refused = ledger, 0
        server = Server(values={"ratio_mood": lambda at: self.values.get(at, 0.0)}, trouble=self._trouble)
        self.evaluator = evaluator(server, ledger, ratio("mood"))
        self.tick = 0

    def _trouble(self, query):
        if self.slow and isinstance(query, RangeQuery):
            self.refused += 1
            return QueryFailed("it takes too long", reason="query_timeout")
        return None

    def until(self, tick):
        """Live ticks up to this one."""
        while self.tick < tick:
            self.tick += 1
            self.evaluator.advance(after(self.tick))
        return self

    def bad_at(self, tick):
        """What is counted as bad of a tick."""
        return self.ledger.history.window(after(tick), [INTERVAL], ids=[1])[1][INTERVAL].bad


def test_who_was_put_off_long_ago_is_asked_as_soon_as_anybody(ledger):
    """D16: an expression that said nothing any more for an hour, and was well since, is asked again soon."""
    mood = Mood(ledger).until(12)
    mood.values[after(5)] = None
    mood.until(80)
    del mood.values[after(5)]
    mood.until(122)
    mood.values[after(115)] = None
    mood.until(130)
    mood.values |= {after(115): 0.0, after(116): 1.0}
    assert 1.0 == mood.until(150).bad_at(116)


def test_a_server_that_was_slow_now_and_then_is_asked_about_whole_blocks_again(ledger):
    """D16, P12: each time its patience is tried anew, not less and less for ever."""
    mood = Mood(ledger)
    for begin in (0, 40, 100, 200):
        mood.until(begin + 12).slow = True
        mood.until(begin + 20).slow = False
    mood.until(252).values[after(245)] = 1.0
    assert 4 == mood.refused
    assert 1.0 == mood.until(265).bad_at(245)


class Beside(Watch):
    """The shop, and an SLO over the same metric that nobody has data for."""

    def _evaluator(self, at):
        asks = {"default": self._ask}
        options = {"interval": INTERVAL, "delay": DELAY, "workers": 1}
        return Evaluator((SHOP, NOBODY), self.ledger, asks, **options).prepare(at)


def test_an_slo_without_data_makes_recounts_in_vain_no_dearer(ledger):
    """D16: a scrape of each block is late and made up for by the next one; one SLO of the metric never has data."""
    history = History((STEADY,), late=tuple((4 + 20 * at, 5 + 20 * at, 85) for at in range(30)))
    found = {}
    for kind in (Watch, Beside):
        with Ledger.open("sqlite://") as one:
            watch = kind(one, history.simulate(620))
            found[kind] = sum(watch.tick(tick).samples for tick in range(1, 301))
    expressions = 2 * 300  # each value of the other is asked twice
    assert found[Watch] - expressions <= 1.5 * 600
    assert found[Beside] <= 1.5 * 600


def test_a_server_that_cannot_answer_for_ten_ticks_is_not_asked_for_them_in_each(ledger):
    """D16, P12: what is too much for a server is asked a few times and left alone; what is small is asked."""
    dying = Pod(-40, 35, frozenset(), (28, 35))
    watch = Watch(ledger, History((STEADY, dying), late=((34, 35, 200),)).simulate(200))
    ask, refused = watch.faulty, Counter()

    def small(query):
        if seconds_of(query) > 420 and "http_requests_total" in query.expression:
            refused[query.at] += 1
            raise QueryFailed("too many samples", reason="execution")
        return ask(query)

    watch.faulty = small
    for tick in range(1, 61):
        small.fault = None
        watch.tick(tick)
    assert 0 < sum(refused.values()) <= 8
    assert 60 == sum(one[2] == INTERVAL for one in counts(ledger, 1, 60))
