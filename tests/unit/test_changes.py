"""What a new catalogue means for SLOs that the ledger knows (C14, C15)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.changes import Known, after, compare, remembered, to_remember, transitions
from slo_budget_tracker.hashes import definition_hash
from slo_budget_tracker.specs import BurnRateAlert
from tests.unit.serving import BEGIN, HOUR, PAGE, availability, ratio

SHOP = availability()
TICKET = BurnRateAlert(severity="ticket", long=HOUR, short=300, burn_rate=Decimal(2))
FIRING = {PAGE.rule: AlertState("firing", BEGIN), "data": AlertState("quiet", BEGIN)}


def known(*slos):
    """What the ledger remembers of these."""
    return {slo.name: Known.of(slo) for slo in slos}


def told(change, slo, *, states=FIRING, rules=(PAGE.rule, "data", "budget")):
    """Kind, rule and reason of the change's events."""
    events = transitions(change, slo=slo, at=BEGIN, states=states, rules=rules)
    return [(event.kind, event.rule, event.reason) for event in events]


def test_definitions_are_remembered_as_they_are():
    """What is written is what is read, and nothing is remembered of nothing."""
    definitions = known(SHOP, ratio("queue"))
    assert definitions == remembered(to_remember(definitions))
    assert {} == remembered(None)


def test_the_same_catalogue_changes_nothing():
    """A description, a link or another place in a file is no change."""
    moved = SHOP.model_copy(update={"description": "x", "source": "b.yaml:1", "links": (("a", "https://b"),)})
    assert [] == list(compare(known(SHOP), [moved]))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"target": Decimal("0.999")}, "changed: target from 0.99 to 0.999; counts are kept"),
        ({"window": 2 * 24 * HOUR}, "changed: window from 1d to 2d; counts are kept"),
        ({"alerts": (PAGE, TICKET)}, "changed: alerts; counts are kept"),
        ({"labels": (("team", "a"),)}, "changed: labels; counts are kept"),
        ({"owner": "a@example.org"}, "changed: labels; counts are kept"),
        ({"sli": ratio("x").sli}, "changed: sli; counting begins anew"),
        ({"datasource": "eu"}, "changed: sli; counting begins anew"),
    ],
)
def test_a_change_says_what_is_kept(fields, what):
    """C14: target, window, alerts and labels keep the counts, another SLI begins a new generation."""
    changed = SHOP.model_copy(update=fields)
    (change,) = compare(known(SHOP), [changed])
    assert ("changed", what) == (change.kind, change.what)
    hashes = (change.to_json()["old_definition_hash"], change.to_json()["definition_hash"])
    assert (definition_hash(SHOP), definition_hash(changed)) == hashes


def test_a_new_name_is_a_new_slo():
    """C14: a renamed SLO is one that came and one that went."""
    changes = list(compare(known(SHOP), [SHOP.model_copy(update={"name": "store"})]))
    assert [("shop", "removed"), ("store", "added")] == [(one.slo, one.kind) for one in changes]
    assert [False, False] == [one.counts_kept for one in changes]


def test_a_rule_that_goes_on_burns_on():
    """C14: a changed target tells of the change only, the alert keeps its state."""
    changed = SHOP.model_copy(update={"target": Decimal("0.999")})
    (change,) = compare(known(SHOP), [changed])
    rule = f"definition:2:{definition_hash(changed)}"
    assert [("slo_definition_changed", rule, change.what)] == told(change, changed)


@pytest.mark.parametrize("fields", [{"alerts": (TICKET,)}, {"sli": ratio("x").sli}])
def test_a_burning_rule_that_is_gone_is_retired(fields):
    """C15: an alert that ends with its rule did not recover."""
    changed = SHOP.model_copy(update=fields)
    (change,) = compare(known(SHOP), [changed])
    events = told(change, changed, rules=(TICKET.rule, "data", "budget"))
    assert ["slo_retired", "slo_definition_changed"] == [kind for kind, _, _ in events]
    assert f"no longer part of the definition while {PAGE.rule} fired" == events[0][2]


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        (FIRING, f"removed from the catalogue while {PAGE.rule} fired"),
        ({}, "removed from the catalogue"),
    ],
)
def test_a_removed_slo_is_retired(states, reason):
    """C15: never a recovery, whether it burnt or not."""
    (change,) = compare(known(SHOP), [])
    assert [("slo_retired", "retired:2", reason)] == told(change, None, states=states, rules=())


def test_there_and_back_again_are_two_events():
    """C14: the events of A to B, B to A and A to B again within one tick are three."""
    other = SHOP.model_copy(update={"target": Decimal("0.9")})
    now, rules = known(SHOP), []
    for wanted in (other, SHOP, other):
        (change,) = compare(now, [wanted])
        rules += [rule for _, rule, _ in told(change, wanted)]
        now = {wanted.name: change.new}
    assert ["definition:2", "definition:3", "definition:4"] == [rule.rpartition(":")[0] for rule in rules]


def test_a_name_that_goes_and_comes_back_within_a_tick_goes_on_counting():
    """C14, C15: three goings and comings in one tick are six events: none has the identity of another."""
    now, rules = known(SHOP), []
    for wanted in ([], [SHOP]) * 3:
        (change,) = compare(now, wanted)
        rules += [rule for _, rule, _ in told(change, SHOP, states={})]
        now = after(now, [change], at=BEGIN)
    assert 6 == len(set(rules))
    assert [2, 3, 4, 5, 6, 7] == [int(rule.split(":")[1]) for rule in rules]


def test_a_name_that_is_gone_is_forgotten_after_a_day():
    """C14: nothing that comes so much later can have the same tick; and it is no part of the catalogue."""
    (gone,) = compare(known(SHOP), [])
    left = after(known(SHOP), [gone], at=BEGIN)
    assert (BEGIN, left) == (left["shop"].gone, remembered(to_remember(left)))
    assert [] == list(compare(left, []))
    assert {"other"} == set(after(left, compare(left, [availability("other")]), at=BEGIN + 25 * HOUR))


def test_another_definition_in_the_same_tick_is_another_event():
    """S13: after a restored copy a change to something else has another identity than the one it had before."""
    rules = set()
    for target in ("0.9", "0.95"):
        changed = SHOP.model_copy(update={"target": Decimal(target)})
        (change,) = compare(known(SHOP), [changed])
        rules |= {rule for _, rule, _ in told(change, changed)}
    assert 2 == len(rules)
