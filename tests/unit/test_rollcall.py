"""A catalogue meets the ledger: at the start, at a reload, and after changes nobody saw."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.backfill import fillers
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from tests.unit.cycling import Client, Clock, begin, events, metric, ticks, traffic_db
from tests.unit.serving import BEGIN, HOUR, INTERVAL, Server, availability, ratio

SHOP = availability()
STRICTER = SHOP.model_copy(update={"target": Decimal("0.995")})
OTHER_SLI = SHOP.model_copy(update={"sli": ratio("x").sli})
UNTIL_IT_BURNS = 39  # ticks


def burning():
    """A cycle whose SLO burns."""
    cycle = begin([SHOP])
    ticks(cycle, UNTIL_IT_BURNS)
    assert ("shop", "slo_burn_started") in events(cycle)
    return cycle


def counted(cycle):
    """What is counted of the shop: total, failures, state of its page."""
    (snapshot,) = cycle.evaluator.look(cycle.last_at)
    return snapshot.total, snapshot.failures, snapshot.alerts[0].state


def test_what_a_ledger_begins_with_is_no_change():
    """C14: the first catalogue of a ledger is no news."""
    assert [] == events(begin([SHOP]))


def test_a_changed_target_keeps_counts_and_alerts():
    """C14: same id, same counts, the alert fires on, one event with both hashes."""
    cycle = burning()
    before = counted(cycle)
    (change,) = cycle.adopt(cycle.settings, [STRICTER])
    assert (before, True) == (counted(cycle), change.counts_kept)
    last = cycle.evaluator.ledger.events()[-1]
    assert ("slo_definition_changed", change.old.digest, change.new.digest) == (
        last.kind,
        last.payload["old_definition_hash"],
        last.payload["definition_hash"],
    )
    ticks(cycle, 1)
    assert 1 == [kind for _, kind in events(cycle)].count("slo_burn_started")


def test_a_changed_sli_begins_a_new_generation():
    """C14, C15: nothing is counted yet, and the burn of the old generation is retired, not recovered."""
    cycle = burning()
    (change,) = cycle.adopt(cycle.settings, [OTHER_SLI])
    generations = [one.generation for one in cycle.evaluator.ledger.instances.values()]
    assert ([1, 2], False) == (generations, change.counts_kept)
    assert [("shop", "slo_retired"), ("shop", "slo_definition_changed")] == events(cycle)[-2:]
    assert None is counted(cycle)[0]


def test_a_removed_slo_that_burns_is_retired():
    """C15: no recovery is told, its gauges are gone at once, its counts stay."""
    cycle = burning()
    assert metric(cycle, 'slo_target{slo="shop"}')
    cycle.adopt(cycle.settings, [availability("other")])
    assert not metric(cycle, 'slo="shop"')
    assert [("shop", "slo_retired")] == [event for event in events(cycle) if event[0] == "shop"][-1:]
    ledger = cycle.evaluator.ledger
    (gone,) = [one for one in ledger.instances.values() if one.slo == "shop"]
    assert (cycle.last_at, True) == (gone.retired, sum(ledger.outcomes(gone.id).values()) > 0)
    ticks(cycle, 30)
    assert ("shop", "slo_recovered") not in events(cycle)


def test_an_slo_that_comes_back_begins_quietly():
    """C14: what lies between is filled from history and steps nothing; the old burn is over."""
    cycle = burning()
    cycle.adopt(cycle.settings, [])
    told = events(cycle)
    cycle.clock.now += 3 * INTERVAL
    at = cycle.now()
    cycle.adopt(cycle.settings, [SHOP])
    (filler,) = fillers(cycle.evaluator)
    assert (at, SHOP.window) == (filler.until, filler.remaining)
    assert [*told, ("shop", "slo_definition_changed")] == events(cycle)
    ticks(cycle, 3)
    assert "slo_burn_revised" not in [kind for _, kind in events(cycle)]
    assert counted(cycle)[0] > 10_000


def test_an_slo_that_goes_and_comes_back_within_a_tick():
    """C14, C15: each going and coming is told, however often it happens between two ticks."""
    cycle = burning()
    told = events(cycle)
    for _ in range(3):
        cycle.adopt(cycle.settings, [availability("other")])
        cycle.adopt(cycle.settings, [availability("other"), SHOP])
    assert ["slo_retired", "slo_definition_changed"] * 3 == [
        kind for name, kind in sorted(events(cycle)[len(told) :], key=lambda one: one[0]) if name == "shop"
    ]
    ticks(cycle, 1)
    assert ("shop", "slo_burn_started") == events(cycle)[-1]
    assert [] == cycle.evaluator.ledger.check()


def test_changes_while_nobody_ran_are_seen_at_the_start(tmp_path):
    """C14: the ledger remembers definitions, a restart with another catalogue tells the same events."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    db, clock = traffic_db(), Clock()
    client = Client(Server(db), clock)
    with Ledger.open(url) as ledger:
        ticks(begin([SHOP], ledger=ledger, clock=clock, client=client), UNTIL_IT_BURNS)
    with Ledger.open(url) as ledger:
        cycle = begin([STRICTER, availability("new")], ledger=ledger, clock=clock, client=client)
        assert [("new", "slo_definition_changed"), ("shop", "slo_definition_changed")] == sorted(
            events(cycle)[-2:]
        )
    with Ledger.open(url) as ledger:
        cycle = begin([availability("new")], ledger=ledger, clock=clock, client=client)
        assert ("shop", "slo_retired") == events(cycle)[-1]
        told = len(events(cycle))
    with Ledger.open(url) as ledger:
        assert told == len(events(begin([availability("new")], ledger=ledger, clock=clock, client=client)))


def test_a_new_slo_gets_its_past_and_a_fitting_ledger():
    """Reload: the first fill of what is new, and counts as fine as the longest short window needs."""
    cycle = begin([SHOP])
    ticks(cycle, 2)
    stages = cycle.evaluator.ledger.history.density.stages
    page = SHOP.alerts[0].model_copy(update={"long": 20 * HOUR, "short": 12 * HOUR})
    cycle.adopt(cycle.settings, [SHOP, availability("new", alerts=(page,), window=60 * 24 * HOUR)])
    grown = cycle.evaluator.ledger.history.density.stages
    assert (13 * HOUR, True) == (grown[0].age, grown[-1].age > stages[-1].age)
    new = [filler for filler in fillers(cycle.evaluator) if [slo.name for slo in filler.slos] == ["new"]]
    assert [BEGIN + 2 * INTERVAL] == [filler.until for filler in new]


def test_a_ledger_that_cannot_be_written_keeps_what_runs(monkeypatch):
    """C21, S3: the reload is refused as a whole, the old catalogue ticks on, the next try takes over."""
    cycle = burning()
    running, commit = cycle.evaluator, cycle.evaluator.ledger.commit

    def full(entry):
        raise LedgerError("no space left on device")

    monkeypatch.setattr(cycle.evaluator.ledger, "commit", full)
    with pytest.raises(LedgerError):
        cycle.adopt(cycle.settings, [OTHER_SLI])
    monkeypatch.setattr(cycle.evaluator.ledger, "commit", commit)
    assert running is cycle.evaluator
    before = counted(cycle)[0]
    ticks(cycle, 1)
    assert counted(cycle)[0] > before
    cycle.adopt(cycle.settings, [OTHER_SLI])
    assert [("shop", "slo_retired"), ("shop", "slo_definition_changed")] == events(cycle)[-2:]
