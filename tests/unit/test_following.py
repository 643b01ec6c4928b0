"""What a follower shows: what the leader wrote, no more and no less."""

from __future__ import annotations

import pytest

from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.following import Follower
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.roles import Role
from tests.unit.cycling import begin, settings, ticks
from tests.unit.serving import availability

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
    one = Follower(settings(ledger={"url": url}), [SHOP], Publisher(clock=leader.clock), Database.of(url))
    one.publisher.play(Role(leads=False, term=4, leader="process 7 on other"))
    yield one
    one.leave()


def slo_gauges(runs):
    """The gauges about SLOs, as they are scraped."""
    text = runs.publisher.display.view.text.body.decode()
    return [
        line for line in text.splitlines() if line.startswith("slo_") and "slo_budget_tracker" not in line
    ]


def look_again(follower):
    """As if the pause between two looks was over."""
    follower._next = 0.0
    follower.look()


def test_both_show_the_same_gauges(leader, follower):
    """Identical series but for `instance`: rules take the maximum over both."""
    follower.look()
    assert slo_gauges(leader) == slo_gauges(follower)
    ticks(leader, 2)
    look_again(follower)
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
    """A look at an unchanged ledger costs one query; a look before its time none at all."""
    follower.look()
    view = follower.publisher.display.view
    monkeypatch.setattr("slo_budget_tracker.following.looked", None)
    follower.look()
    assert view is follower.publisher.display.view
    look_again(follower)
    assert slo_gauges(leader) == slo_gauges(follower)


def test_an_slo_that_the_leader_has_not_met_is_not_shown_yet(leader, follower):
    """A follower that reloaded first waits for the leader."""
    follower.look()
    assert () == follower.adopt(follower.settings, [SHOP, CART])
    follower.look()
    assert ["shop"] == [one.name for one in follower.publisher.display.view.snapshots]
    leader.adopt(leader.settings, [SHOP, CART])
    ticks(leader, 1)
    look_again(follower)
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
    look_again(follower)
    assert [] == follower.publisher.display.unready()


def test_what_changes_between_ticks_is_read_once_an_interval(leader, follower, monkeypatch):
    """Reading costs as much as the ledger is large: deliveries alone do not make a follower read it again."""
    follower.look()
    assert not follower._ledger.refresh(any_change=False)
    leader.evaluator.ledger.commit(Entry(meta={"something": "else"}))
    assert not follower._ledger.refresh(any_change=False)
    assert follower._ledger.refresh()
    ticks(leader, 1)
    assert follower._ledger.refresh(any_change=False)


def test_marks_are_the_leaders_to_take(leader, follower):
    """A follower shows annotations and says who takes new ones."""
    follower.look()
    for change in (follower.publisher.display.notebook.add, follower.publisher.display.notebook.erase):
        with pytest.raises(LedgerError, match="by the daemon that leads, and that is process 7 on other"):
            change(None)


def test_no_ledger_yet_is_no_end(tmp_path):
    """Two daemons that start at once on nothing: the second one waits for the first one's tables."""
    url = f"sqlite:///{tmp_path}/later.db"
    follower = Follower(settings(ledger={"url": url}), [SHOP], Publisher(), Database.of(url))
    follower.look()
    assert follower.publisher.display.unready()[-1].startswith("trouble with ledger: ")
    with Ledger.open(url) as ledger:
        look_again(follower)
        assert ["no tick has been evaluated yet"] == follower.publisher.display.unready()
        ticks(begin([SHOP], ledger=ledger), 1)
        look_again(follower)
        assert ["shop"] == [one.name for one in follower.publisher.display.view.snapshots]
    follower.leave()
