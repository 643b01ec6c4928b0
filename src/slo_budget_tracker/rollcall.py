"""Roll call: a catalogue meets the ledger; who is new, changed or gone, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.applications import RULE as CORRECTION
from slo_budget_tracker.changes import after, compare, remembered, to_remember, transitions
from slo_budget_tracker.counting import Memory
from slo_budget_tracker.cursors import cursor_keys
from slo_budget_tracker.instances import added_key, canonical, fill_key
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import units
from slo_budget_tracker.verdict import BUDGET, DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.changes import Change, Known
    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.verdict import Transition

DEFINITIONS = "definitions"  # the ledger's fact


@dataclass(slots=True)
class _Roll:
    """What adds up while the changes are gone through: one transaction."""

    events: list[Transition] = field(default_factory=list)
    states: dict[int, Mapping[str, AlertState]] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    slo_cursors: dict[int, int] = field(default_factory=dict)
    memories: dict[str, bytes] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)  # SLOs whose counting begins now


def call(
    evaluator: Evaluator, *, at: int, taken: frozenset[str] = frozenset()
) -> tuple[tuple[Change, ...], tuple[Transition, ...]]:
    """Compare a prepared evaluator's SLOs with what the ledger remembers; changes and their events.

    SLOs `taken` over from another daemon's ledger are read from now on; their alerts go on.

    Events, states that ended, the instances that go and the new definitions are one transaction. Registering
    before it follows from the catalogue alone, so that a crash between them is made good by the next call.
    """
    ledger = evaluator.ledger
    before = remembered(ledger.meta.get(DEFINITIONS))
    first = DEFINITIONS not in ledger.meta
    changes = tuple(compare(before, evaluator.slos))
    slos = {slo.name: slo for slo in evaluator.slos}
    roll = _Roll(begun=set(taken))
    for change in () if first else changes:
        _enter(roll, change, slos.get(change.slo), evaluator, at=at)
    if roll.begun:
        _begin_anew(roll, evaluator, at=at)
    gone = [i for i, one in ledger.instances.items() if one.retired is None and one.slo not in slos]
    if changes or first or gone or roll.cursors:
        ledger.commit(
            Entry(
                states=roll.states,
                events=roll.events,
                retired=dict.fromkeys(gone, at),
                cursors=roll.cursors,
                slo_cursors=roll.slo_cursors,
                memories=roll.memories,
                meta={DEFINITIONS: to_remember(after(before, changes, at=at))},
            )
        )
    return (() if first else changes), tuple(roll.events)


def _enter(roll: _Roll, change: Change, slo: SLO | None, evaluator: Evaluator, *, at: int) -> None:
    ledger = evaluator.ledger
    counted = [] if change.old is None else _instances(ledger, change.slo, change.old)
    rules = [] if slo is None else [DATA, BUDGET, *_rules(slo)]
    states: dict[str, AlertState] = {}
    going_on: list[str] = []
    for one in counted:
        whose = canonical(one.labels) if one.labels else ""
        before = ledger.states.get(one.id, {})
        states |= {f"{rule}{whose}": state for rule, state in before.items()}
        going_on += [f"{rule}{whose}" for rule in rules]
        kept = set(rules) if change.counts_kept else set()
        if change.counts_kept:  # what was told of corrections is not told again
            kept |= {rule for rule in before if rule.startswith(CORRECTION)}
        roll.states[one.id] = {rule: state for rule, state in before.items() if rule in kept}
    roll.events += transitions(change, slo=slo, at=at, states=states, rules=going_on)
    if change.new is not None and not change.counts_kept:
        roll.begun.add(change.slo)
        new = evaluator.ids[change.slo]
        if ledger.born(new) < at:  # it was away: what lies between is filled, and steps nothing
            roll.states[new] = {}
            roll.slo_cursors[new] = at
            roll.cursors |= {fill_key(new): at, added_key(new): at}


def _rules(slo: SLO) -> list[str]:
    """The rules of an SLO's own alerts."""
    return [*(one.rule for one in slo.alerts), *(one.rule for one in slo.budget_alerts)]


def _begin_anew(roll: _Roll, evaluator: Evaluator, *, at: int) -> None:
    """Read now what was last read for SLOs that are long gone, not all of the time between."""
    planned = plan(evaluator.slos, replica_labels=evaluator.replica_labels)
    for unit in units(planned):
        if not roll.begun.issuperset(unit.slos):
            continue
        for key in cursor_keys(unit):
            if (evaluator.ledger.cursor(key) or at) < at:
                roll.cursors[key] = at
        for feed in unit.feeds:
            if feed.key in roll.cursors:
                roll.memories[feed.key] = Memory.empty().dumps()


def _instances(ledger: Ledger, slo: str, known: Known) -> list[Instance]:
    """The instances that were counted by a definition: the whole SLO, and its groups."""
    sli = known.parts["sli"]
    return [one for one in ledger.instances.values() if one.slo == slo and one.sli_hash == sli]
