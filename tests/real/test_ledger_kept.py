"""What is written to a ledger comes back after every restart: counts, instances, events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.ticks import Outcome, Tick, WindowCounts
from slo_budget_tracker.verdict import Transition
from tests.real.ledgers import FIRING, NOW, figures, lively, one, registered, row

REMEMBERED = Memory.empty().dumps()


def test_everything_of_an_entry_survives_a_restart(url):
    """T14: counts, states, events, memories, cursors and facts are there again, as they were."""
    event = Event("e-1", "slo-0", "slo_burn_started", NOW, {"burn_rate": 15.5})
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        stored = ledger.commit(
            Entry(
                rows=[row(NOW - 60, NOW, {first: (10, 1), second: Outcome.NO_DATA})],
                states={first: {"burn": FIRING}},
                events=[event],
                memories={"feed": REMEMBERED},
                cursors={"feed": NOW},
                slo_cursors={first: NOW},
                meta={"note": "kept"},
            )
        )
        before, epoch = figures(ledger), ledger.meta["epoch"]
    with Ledger.open(url) as again:
        assert before == figures(again)
        assert {first: {"burn": FIRING}} == again.states
        assert stored == again.events()
        assert (REMEMBERED, None) == (again.memory("feed"), again.memory("other"))
        assert (NOW, None) == (again.cursor("feed"), again.cursor("other"))
        assert (NOW, None, NOW) == (again.slo_cursor(first), again.slo_cursor(second), again.born(first))
        assert ("kept", epoch, NOW) == (again.meta["note"], again.meta["epoch"], again.birth)
        assert 60 == again.outcomes(second)[Outcome.NO_DATA]
        assert [] == again.check()


def test_thirty_days_are_the_same_after_a_restart(url):
    """S12: filled backwards, ticked forwards, thinned on the way: a restart changes no figure by a bit."""
    generator = np.random.default_rng(7)
    with Ledger.open(url) as ledger:
        ids = np.array(registered(ledger, 20))
        spans = ledger.history.density.spans(NOW - 30 * DAY, NOW, interval=60, delay=30)
        for at in range(len(spans), 0, -200):
            ledger.commit(Entry(rows=[lively(generator, s, ids) for s in spans[max(0, at - 200) : at]]))
        for end in range(NOW + 60, NOW + 4 * HOUR, 60):
            ledger.commit(Entry(rows=[lively(generator, Tick(end - 60, end), ids)]))
        end = ledger.history.newest
        before = figures(ledger, end)
        points = ledger.history.points.tolist()
        while ledger._unmerged:
            ledger.commit(Entry())
        merged = ledger.stats()
    with Ledger.open(url) as again:
        assert before == figures(again, end)
        assert points == again.history.points.tolist()
        assert len(points) - 1 == merged.rows
        assert {0, 300, 3600} == set(merged.rows_by_step)


def test_figures_about_the_ledger(url):
    """`ledger stats`: sizes, rows by resolution, instances in use, events."""
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        ledger.retire([second], at=NOW)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})]))
        stats = ledger.stats()
        assert (1, {0: 1}, 1, 0, NOW, NOW) == (
            stats.rows,
            stats.rows_by_step,
            stats.instances,
            stats.events_pending,
            stats.birth,
            stats.newest,
        )
        assert stats.bytes >= (ledger.path.stat().st_size if ledger.path else 8_192)


def test_the_same_slo_keeps_its_id_and_a_changed_sli_begins_anew(url):
    """C14: a changed SLI is a new generation, the old one is retired; changed back, its counts are there again."""
    with Ledger.open(url) as ledger:
        first = ledger.register("slo", {"b": "2", "a": "1"}, "old", at=NOW)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1)})]))
        assert first == ledger.register("slo", {"a": "1", "b": "2"}, "old", at=NOW + 60)
        second = ledger.register("slo", {"a": "1", "b": "2"}, "new", at=NOW + 60)
        other = ledger.register("slo", {"a": "9"}, "new", at=NOW + 60)
    with Ledger.open(url) as ledger:
        assert 3 == len({first, second, other})
        assert [(1, NOW + 60), (2, None), (1, None)] == [
            (ledger.instances[i].generation, ledger.instances[i].retired) for i in (first, second, other)
        ]
        assert first == ledger.register("slo", {"a": "1", "b": "2"}, "old", at=NOW + 120)
        assert (None, NOW + 120) == (ledger.instances[first].retired, ledger.instances[second].retired)
        assert WindowCounts(60, 10.0, 1.0, 60.0) == one(ledger, 60)
        assert (NOW, NOW) == (ledger.birth, ledger.born(first))


def test_retired_instances_keep_their_counts(url):
    """C15: an SLO that was removed is marked; its history stays."""
    with Ledger.open(url) as ledger:
        first, second = registered(ledger)
        ledger.commit(Entry(rows=[row(NOW - 60, NOW, {first: (10, 1), second: (1, 0)})]))
        ledger.retire([first], at=NOW)
        ledger.retire([first], at=NOW + 60)
    with Ledger.open(url) as again:
        assert (NOW, None) == (again.instances[first].retired, again.instances[second].retired)
        assert 10.0 == one(again, 60).total


def test_events_are_numbered_per_slo_without_gaps(url):
    """I3: sequence and previous id are given in the transaction; a rolled back event leaves no gap."""

    def event(number, slo):
        return Event(f"{slo}-{number}", slo, "slo_recovered", NOW + number, {})

    with Ledger.open(url) as ledger:
        ledger.commit(Entry(events=[event(1, "a"), event(2, "a"), event(1, "b")]))
        with pytest.raises(LedgerError, match="larger than 8192 bytes"):
            ledger.commit(
                Entry(events=[event(3, "a"), Event("big", "a", "slo_recovered", NOW, {"x": "y" * 9000})])
            )
    with Ledger.open(url) as ledger:
        ledger.commit(Entry(events=[event(4, "a")]))
        assert [(1, None, "a-1"), (2, "a-1", "a-2"), (3, "a-2", "a-4")] == [
            (e.sequence, e.previous_id, e.event_id) for e in ledger.events(slo="a")
        ]
        assert [2, 3] == [e.sequence for e in ledger.events(slo="a", after=1)]
        assert ["a-1", "b-1"] == [e.event_id for e in ledger.events(limit=2)]
        place = {"sequence": 3, "previous_id": "a-2", "instance": ledger.meta["epoch"]}
        assert place == ledger.events(slo="a")[-1].payload


def test_an_event_that_is_there_already_is_not_written_again(url):
    """A15: the same transition told twice, by a retry or a replica's ledger, is one event."""
    transition = Transition(
        "slo_burn_started", "burn:page", NOW, "both burn", {"slo_name": "a", "burn_rate": 15}
    )
    with Ledger.open(url) as ledger:
        (stored,) = ledger.commit(Entry(events=[transition]))
        assert [] == ledger.commit(Entry(events=[transition]))
        assert [stored] == ledger.events()
        assert (stored.event_id, "slo_burn_started", "both burn") == (
            stored.payload["id"],
            stored.payload["event_kind"],
            stored.payload["reason"],
        )
        assert Event.of(transition).event_id == stored.event_id
        assert Event.of(replace(transition, group={"handler": "/pay"})).event_id != stored.event_id


def test_order_is_by_data_time_whatever_is_written_first(url):
    """S15: hours written newest first, from a process whose clock goes back: read again they stand in data time."""
    hours = [Tick(NOW + at * HOUR, NOW + (at + 1) * HOUR) for at in range(-6, 0)]
    for at, hour in enumerate(reversed(hours)):
        with Ledger.open(url, now=NOW - at * DAY) as ledger:
            first, _ = registered(ledger)
            ledger.commit(Entry(rows=[row(*hour, {first: (10 + hours.index(hour), 1)})]))
    with Ledger.open(url) as ledger:
        edges = [hours[0].start, *(hour.end for hour in hours)]
        assert edges == ledger.history.points.tolist()
        assert [10.0, 11.0, 12.0, 13.0, 14.0, 15.0] == [
            one.total for one in ledger.history.parts(first, edges)
        ]
        assert (NOW, None, []) == (ledger.history.newest, ledger.reset, ledger.check())


def test_order_is_by_sequence_whatever_the_times_are(url):
    """S15: an event about an older instant that is made later comes later; clocks decide nothing."""
    with Ledger.open(url) as ledger:
        for number, at in ((1, NOW), (2, NOW - 3600), (3, NOW - 60)):
            ledger.commit(Entry(events=[Event(f"a-{number}", "a", "slo_burn_revised", at, {})]))
        assert ["a-1", "a-2", "a-3"] == [event.event_id for event in ledger.events(slo="a")]
        assert ["a-2", "a-3"] == [event.event_id for event in ledger.events(slo="a", after=1)]
