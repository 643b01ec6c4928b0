"""What a follower shows: what the leader wrote, no more and no less."""

from __future__ import annotations

import numpy as np
import pytest

from slo_budget_tracker.databases import Database
from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.following import LeadersLedger
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.onlookers import Onlooker
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.roles import Role
from slo_budget_tracker.stepping import Stepper
from tests.bench.stores import DAY, row
from tests.unit.cycling import Clock, begin, settings, ticks
from tests.unit.serving import BEGIN, DELAY, INTERVAL, availability

SHOP, CART = availability(), availability("cart")


@pytest.fixture
def url(tmp_path):
    """A ledger that two of this process have open; in a file, as nothing here depends on what keeps it."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture
def leader(url):
    """A daemon's cycle that has ticked three times."""
    with Ledger.open(url) as ledger:
        cycle = begin([SHOP], ledger=ledger)
        ticks(cycle, 3)
        yield cycle


@pytest.fixture
def follower(url, leader):
    """Whoever follows it."""
    publisher = Publisher(clock=leader.clock)
    one = Onlooker(settings(ledger={"url": url}), [SHOP], publisher, LeadersLedger(Database.of(url)))
    one.publisher.play(Role(leads=False, term=4, leader="process 7 on other"))
    yield one
    one.leave()


def slo_gauges(runs):
    """The gauges about SLOs, as they are scraped."""
    text = runs.publisher.display.view.text.body.decode()
    return [
        line for line in text.splitlines() if line.startswith("slo_") and "slo_budget_tracker" not in line
    ]


def test_both_show_the_same_gauges(leader, follower):
    """Identical series but for `instance`: rules take the maximum over both."""
    follower.look()
    assert slo_gauges(leader) == slo_gauges(follower)
    ticks(leader, 2)
    follower.look()
    assert slo_gauges(leader) == slo_gauges(follower)
    assert [] == follower.publisher.display.unready()


def test_a_follower_says_that_it_follows(follower):
    """In metrics and in the API."""
    follower.look()
    text = follower.publisher.display.view.text.body.decode()
    assert "slo_budget_tracker_leader 0" in text
    assert "slo_budget_tracker_lease_term 4" in text
    assert Role(leads=False, term=4, leader="process 7 on other") == follower.publisher.display.role


def test_nothing_new_is_not_read_again(leader, follower, monkeypatch):
    """A look at an unchanged ledger costs one query; a glance before its time none at all."""
    follower.look()
    view = follower.publisher.display.view
    monkeypatch.setattr("slo_budget_tracker.following.looked", None)
    follower.glance()
    assert view is follower.publisher.display.view
    follower.look()
    assert slo_gauges(leader) == slo_gauges(follower)


def test_an_slo_that_the_leader_has_not_met_is_not_shown_yet(leader, follower):
    """A follower that reloaded first waits for the leader."""
    follower.look()
    assert () == follower.adopt(follower.settings, [SHOP, CART])
    follower.look()
    assert ["shop"] == [one.name for one in follower.publisher.display.view.snapshots]
    leader.adopt(leader.settings, [SHOP, CART])
    ticks(leader, 1)
    follower.look()
    assert ["cart", "shop"] == [one.name for one in follower.publisher.display.view.snapshots]
    assert 2 == len(follower.slos)


def test_a_ledger_out_of_reach_is_told_once_and_the_last_figures_stay(leader, follower, monkeypatch):
    """Readiness says it; what was shown last is served until it is too old."""
    follower.look()
    shown = slo_gauges(follower)
    follower.suffer("the ledger is out of reach")
    follower.suffer("the ledger is out of reach")
    assert shown == slo_gauges(follower)
    assert ["trouble with ledger: the ledger is out of reach"] == follower.publisher.display.unready()
    follower.look()
    assert [] == follower.publisher.display.unready()


def test_a_glance_looks_when_it_is_time(leader, follower):
    """A quarter of an interval after the last look, and at once after a trouble."""
    follower.glance()
    assert 1 == len(follower.publisher.snapshots)
    assert 15 == follower.pause
    follower.suffer("the ledger is out of reach")
    follower.glance()
    assert [] == follower.publisher.display.unready()
    follower._next -= follower.pause
    ticks(leader, 1)
    follower.glance()
    assert slo_gauges(leader) == slo_gauges(follower)


def test_a_fault_of_ours_ends_no_onlooker(leader, follower, monkeypatch):
    """T12: it is told as what it is, what was shown stays, and the next look tries again."""
    follower.look()
    shown = follower.publisher.snapshots
    ticks(leader, 1)
    with monkeypatch.context() as patch:
        patch.setattr("slo_budget_tracker.following.looked", lambda *_: {}["shop"])
        follower.look()
    assert shown == follower.publisher.snapshots
    assert ["trouble with the page: internal error: KeyError: 'shop'"] == follower.publisher.display.unready()
    follower.look()
    assert (slo_gauges(leader), []) == (slo_gauges(follower), follower.publisher.display.unready())


def test_a_fault_of_ours_in_one_slo_is_its_own(leader, follower, monkeypatch):
    """T12: the others are shown, and it is told which one is not."""
    leader.adopt(leader.settings, [SHOP, CART])
    ticks(leader, 2)
    follower.adopt(follower.settings, [SHOP, CART])
    assess = Stepper.assess

    def fails(self, name, *arguments, **options):
        if name == "cart":
            raise ZeroDivisionError("it was zero")
        return assess(self, name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "assess", fails)
        follower.look()
    assert ["shop"] == [one.name for one in follower.publisher.snapshots]
    told = "trouble with cart: internal error: ZeroDivisionError: it was zero"
    assert [told] == follower.publisher.display.unready()
    follower.look()
    assert [told] == follower.publisher.display.unready()  # nothing new: as it was
    ticks(leader, 1)
    follower.look()
    assert (slo_gauges(leader), []) == (slo_gauges(follower), follower.publisher.display.unready())


def test_marks_are_the_leaders_to_take(leader, follower):
    """A follower shows annotations and says who takes new ones."""
    follower.look()
    for change in (follower.publisher.display.notebook.add, follower.publisher.display.notebook.erase):
        with pytest.raises(LedgerError, match="by the daemon that leads, and that is process 7 on other"):
            change(None)


def test_no_ledger_yet_is_no_end(tmp_path):
    """Two daemons that start at once on nothing: the second one waits for the first one's tables."""
    url = f"sqlite:///{tmp_path}/later.db"
    sight = LeadersLedger(Database.of(url))
    follower = Onlooker(settings(ledger={"url": url}), [SHOP], Publisher(), sight)
    follower.look()
    assert follower.publisher.display.unready()[-1].startswith("trouble with ledger: ")
    with Ledger.open(url) as ledger:
        follower.look()
        assert ["no tick has been evaluated yet"] == follower.publisher.display.unready()
        ticks(begin([SHOP], ledger=ledger), 1)
        follower.look()
        assert ["shop"] == [one.name for one in follower.publisher.display.view.snapshots]
    follower.leave()


def test_a_long_window_is_as_exact_as_the_leaders(url):
    """Counts older than a month are kept as closely as the catalogue needs, by who reads them too."""
    yearly = availability("yearly", window=90 * DAY)
    clock = Clock(now=BEGIN + 200 * DAY)
    with Ledger.open(url, density=density_of([yearly], interval=INTERVAL)) as ledger:
        leader = begin([yearly], ledger=ledger, clock=clock)
        newest = BEGIN - DELAY + 200 * DAY
        spans = ledger.history.density.spans(newest - 95 * DAY, newest, interval=INTERVAL, delay=DELAY)
        rng, ids = np.random.default_rng(5), np.array([1])
        ledger.commit(Entry(rows=[row(rng, span, ids) for span in spans]))
        ticks(leader, 2)
        settled = settings(ledger={"url": url})
        follower = Onlooker(settled, [yearly], Publisher(clock=clock), LeadersLedger(Database.of(url)))
        follower.look()
        assert leader.publisher.snapshots == follower.publisher.snapshots
        follower.leave()
