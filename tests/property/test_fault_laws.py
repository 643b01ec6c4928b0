"""Laws of faults: whatever happens to Prometheus, to its data or to the daemon, nothing is lost, invented or unsaid."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from slo_budget_tracker import budget
from slo_budget_tracker.ledger import Ledger
from tests.property.histories import (
    BEGIN,
    INTERVAL,
    MOOD,
    SHOP,
    Fault,
    History,
    Pod,
    Watch,
    after,
    counts,
    faults,
    histories,
)
from tests.simulator import OUTAGES, REFUSALS

if TYPE_CHECKING:
    from slo_budget_tracker.ticks import WindowCounts

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
TICKS = 28
HEALTHY = 26  # ticks in which what came late is found: a block, its patience, and a block
LOST = 18  # the first tick in which data may be lost: a while after the last answer in part
DAEMON = {"restart", "back", "asleep"}
STEADY = Pod(-40, 400, frozenset(), (0, 0))
DATA = {"slo_data_lost", "slo_data_restored"}
OF_THE_LEDGER = {"sequence", "previous_id", "instance", "late"}
STARTS = {"slo_burn_started", "slo_data_lost", "slo_budget_exhausted"}


def examples(soak, ci):
    """How many histories are tried."""
    return settings(max_examples=soak if SOAK else ci)


def undisturbed(history, ticks):
    """Counts of both SLOs by tick, and what was concluded, had nothing gone wrong with the answers."""
    simulator = history.simulate(2 * ticks)
    simulator.arrive(float("inf"))
    with Ledger.open("sqlite://") as ledger:
        Watch(ledger, simulator).tick(ticks)  # all at once: catching up is the same as having been there
        return [counts(ledger, instance, ticks) for instance in (1, 2)], concluded(ledger, ticks)


def concluded(ledger, ticks):
    """Outcomes by tick and in all, the states of alerts, and events with all they say but for their place.

    Outages are lost data: their events are left out, since when data are there again, and that others were late.
    """
    edges = [after(tick) for tick in range(ticks + 1)]
    return {
        "outcomes": {
            one: ([tick.outcome for tick in ledger.history.parts(one, edges)], ledger.outcomes(one))
            for one in ledger.instances
        },
        "states": {
            (one, rule): state if rule != "data" else state.state
            for one, rules in ledger.states.items()
            for rule, state in rules.items()
        },
        "events": [
            (event.event_id, event.slo, event.kind, event.created, said(event))
            for event in ledger.events(limit=10_000)
            if event.kind not in DATA | {"slo_burn_revised"}
        ],
    }


def said(event):
    """The payload, but for what is of the ledger it lies in and not of what happened."""
    return {key: value for key, value in event.payload.items() if key not in OF_THE_LEDGER}


def fault_at(tick, troubles):
    """What goes wrong in a tick."""
    return next((one.kind for one in troubles if one.first <= tick < one.last), None)


def assert_adds_up(watch, report, tick):
    """I1: the seconds by outcome and those that wait, and are told to, add up to the time elapsed, for each SLO."""
    waiting = 0
    for instance in (1, 2):
        stepped = watch.ledger.slo_cursor(instance) or BEGIN
        by_outcome = sum(watch.ledger.outcomes(instance).values())
        assert (stepped - BEGIN) == by_outcome
        assert stepped <= after(tick)
        waiting += max((BEGIN if report is None else report.at) - stepped, 0)
    if report is not None:
        # what was given up is known to be missing, and still asked for
        assert waiting <= report.pending_seconds


@dataclass
class Budget:
    """I2: whatever goes wrong, the budget of SHOP is no better than what is known of it, and does not get better by it.

    Failures are lost only together with their requests, so the worst case has them as long as time that nobody knows
    is no busier than the mean. Where nothing is unknown, in doubt or on its way none are lost at all. And nothing that
    was seen is taken away.
    """

    ledger: Ledger
    expected: list[tuple[float, float, float]]  # total, bad and known seconds of each tick
    before: WindowCounts | None = None

    def look(self, *, excused):
        """After a tick; `excused`: there were doubts, late samples or lost ones so far."""
        ticks = ((self.ledger.slo_cursor(1) or BEGIN) - BEGIN) // INTERVAL
        if not ticks:
            return
        span = ticks * INTERVAL
        now = self.ledger.history.window(after(ticks), [span], ids=[1])[1][span]
        total, bad = (sum(one[part] for one in self.expected[:ticks]) for part in (0, 1))
        lost = total - now.total
        assert 0 <= bad - now.bad <= lost
        unknown = span - now.known
        assert lost == 0 or unknown or now.partial or excused
        if now.known and total and lost * now.known <= now.total * unknown:
            worst = budget.bounds(budget.exact(now), budget.allowed(SHOP.target, 1)).worst
            true = 1 - Fraction(bad) / Fraction(total) / (1 - Fraction(SHOP.target))
            assert worst <= float(true) + 1e-9
        if self.before is not None:
            assert now.total >= self.before.total
            assert now.bad >= self.before.bad
        self.before = now


def assert_recovered_with_data(ledger, report):
    """I2: in the moment in which a recovery is told its tick is known as a whole, and of the short window most is."""
    for one in report.transitions:
        if one.kind == "slo_recovered" and one.payload["reason"] != "no_traffic":
            short = one.payload["short_window_seconds"]
            instance = 1 if one.payload["slo_name"] == SHOP.name else 2
            window = ledger.history.window(one.at, [short, INTERVAL], ids=[instance])[instance]
            assert window[short].known >= 0.8 * short
            assert (INTERVAL, 0) == (window[INTERVAL].known, window[INTERVAL].partial)


def assert_alternates(ledger):
    """D23: each rule of each SLO is told to start and to end in turn, beginning with a start."""
    turns = {}
    for event in sorted(ledger.events(limit=10_000), key=lambda one: one.sequence):
        if event.kind == "slo_burn_revised":
            continue
        rule = (event.slo, event.kind in DATA, event.payload.get("severity"), "budget" in event.kind)
        turns.setdefault(rule, []).append(event.kind in STARTS)
    for rule, found in turns.items():
        assert [at % 2 == 0 for at in range(len(found))] == found, rule


@examples(3_500, 6)
@given(histories(TICKS), faults(set(OUTAGES) - {"flaky"} | DAEMON, TICKS - 3))
def test_outages_change_nothing_but_the_time(history, troubles):
    """P1, P3, P14, P15, P24, P25, A15, T2, T4, T14: each tick's counts and outcome, states and events are as without."""
    expected, conclusions = undisturbed(history, TICKS)
    simulator = history.simulate(2 * TICKS)
    simulator.arrive(float("inf"))
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, simulator)
        for tick in range(1, TICKS + 1):
            report = watch.tick(tick, fault=fault_at(tick, troubles) if tick < TICKS else None)
            assert_adds_up(watch, report, tick)
            for instance, of_slo in ((1, expected[0]), (2, expected[1])):
                stepped = ((ledger.slo_cursor(instance) or BEGIN) - BEGIN) // INTERVAL
                window = ledger.history.window(after(tick), [3_600], ids=[instance])[instance][3_600]
                assert sum(one[1] for one in of_slo[:stepped]) == window.bad
                assert sum(one[0] for one in of_slo[:stepped]) == window.total
        assert expected == [counts(ledger, instance, TICKS) for instance in (1, 2)]
        assert conclusions == concluded(ledger, TICKS)
        assert_alternates(ledger)


@examples(3_500, 6)
@example(
    History((STEADY, Pod(24, 36, frozenset(), (24, 36)), STEADY)),
    [Fault("partial", 11, 12), Fault("forgets", 19, 20)],
)
@example(
    History((STEADY, Pod(-40, 36, frozenset(), (26, 36)), STEADY)),
    [Fault("partial", 12, 13), Fault("forgets", 23, 24)],
)
@given(
    histories(TICKS + 2, gaps=True, late=True, watched=TICKS),
    faults({*OUTAGES, *REFUSALS, *DAEMON, "partial", "empty", "forgets"}, TICKS - 3),
)
def test_no_fault_makes_anything_better_than_it_is(history, troubles):
    """P9, P11, P17, P19, P23, P26, D15, D16, I1, I2: nothing is counted twice, no budget is raised, and nobody recovers without data."""
    ticks = TICKS + 2
    expected, _ = undisturbed(history, ticks)
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, history.simulate(2 * ticks))
        shop = Budget(ledger, expected[0])
        excused = bool(history.late)
        for tick in range(1, ticks + 1):
            report = watch.tick(tick, fault=fault_at(tick, troubles) if tick < TICKS else None)
            assert_adds_up(watch, report, tick)
            if report is not None:
                excused = excused or bool(report.doubts) or fault_at(tick, troubles) == "forgets"
                shop.look(excused=excused)
                assert_recovered_with_data(ledger, report)
        assert {after(ticks)} == {ledger.slo_cursor(instance) for instance in (1, 2)}
        assert_alternates(ledger)
        for instance, of_slo, slo in ((1, expected[0], SHOP), (2, expected[1], MOOD)):
            found = counts(ledger, instance, ticks)
            assert sum(one[0] for one in found) <= sum(one[0] for one in of_slo), slo.name
            if slo is SHOP or not history.late:
                assert sum(one[1] for one in found) <= sum(one[1] for one in of_slo), slo.name
            else:  # over samples that came late Prometheus itself said something else at the time
                most = watch.worst_said(of_slo)
                assert [at for at, one in enumerate(found) if one[1] > most[at]] == []


@examples(3_000, 5)
@example(
    History(
        (Pod(-40, 108, frozenset(), (3, 4)), Pod(-40, 108, frozenset(), (18, 26))),
        late=((3, 4, 20), (26, 28, 181)),
    ),
    [Fault("empty", 3, 4), Fault("empty", 19, 20)],
)
@example(
    History((Pod(-40, 108, frozenset({37}), (36, 38)),), late=((36, 38, 55),)),
    [Fault("empty", 3, 4)],
)
@example(
    History((Pod(-40, 108, frozenset(), (3, 4)),), late=((21, 24, 196),)),
    [Fault("empty", 3, 4), Fault("partial", 11, 15), Fault("empty", 10, 11), Fault("empty", 12, 17)],
)
@example(
    History((Pod(-40, 108, frozenset(), (3, 4)),), late=((51, 59, 174),)),
    [Fault("empty", 3, 4), Fault("empty", 22, 27), Fault("partial", 14, 18), Fault("empty", 19, 23)],
)
@example(
    History(
        (Pod(-40, 108, frozenset({44}), (3, 4)), Pod(46, 108, frozenset({48}), (0, 0))), late=((47, 48, 218),)
    ),
    [Fault("empty", 3, 4)],
)
@example(
    History(
        (
            Pod(-40, 108, frozenset({29}), (48, 61)),
            Pod(-40, 108, frozenset(), (0, 0)),
            Pod(39, 108, frozenset({41, 42}), (36, 52)),
        ),
        late=((39, 43, 277), (43, 46, 253)),
    ),
    [Fault("empty", 3, 4)],
)
@example(History((Pod(-40, 108, frozenset(), (3, 4)),), late=((4, 5, 85),)), [Fault("empty", 16, 17)])
@given(
    histories(TICKS + HEALTHY, late=True, watched=TICKS),
    faults({"partial", "empty"}, TICKS - 3, longest=6),
)
def test_late_and_missing_answers_are_counted_once_they_are_there(history, troubles):
    """D16, P17, P19: half an hour after the last trouble nothing is missing, and an expression is the worst that was said."""
    assert_all_is_counted(history, troubles, range(1, TICKS + HEALTHY + 1))


@examples(500, 2)
@given(
    st.integers(61, 380).flatmap(
        lambda away: st.tuples(st.just(away), histories(TICKS + HEALTHY + away, late=True, watched=TICKS))
    ),
    faults({"partial", "empty"}, TICKS - 3, longest=6),
    st.integers(5, TICKS),
)
def test_hours_in_which_nobody_asks_lose_nothing_of_what_came_late_before(outage, troubles, since):
    """D16, P21, P24: what came late before an outage of hours is counted after it, however many pieces that is read in."""
    away, history = outage
    ticks = range(since + away, TICKS + HEALTHY + away + 1)
    assert_all_is_counted(history, troubles, [*range(1, since + 1), *ticks])


def assert_all_is_counted(history, troubles, watched):
    """Nothing is missing after these ticks, which have faults as long as they are early."""
    ticks = watched[-1]
    expected, _ = undisturbed(history, ticks)
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, history.simulate(2 * ticks))
        for tick in watched:
            report = watch.tick(tick, fault=fault_at(tick, troubles) if tick < TICKS else None)
            assert_adds_up(watch, report, tick)
        shop, mood = counts(ledger, 1, ticks), counts(ledger, 2, ticks)
        assert [one[2] for one in expected[0]] == [one[2] for one in shop]
        for part in (0, 1):
            assert sum(one[part] for one in expected[0]) == sum(one[part] for one in shop)
        # an expression is compared tick by tick: it is what it is, and no less than what it was said to be
        bad = watch.worst_said(expected[1]) if history.late else [one[1] for one in expected[1]]
        assert [(total, b, known) for (total, _, known), b in zip(expected[1], bad, strict=True)] == mood


@examples(1_500, 3)
@example(
    History((STEADY, Pod(24, 36, frozenset(), (24, 36)), STEADY)), [Fault("partial", 11, 12)], 19, "pod-1"
)
@example(
    History((STEADY, Pod(-40, 30, frozenset(), (20, 30)), STEADY)), [Fault("empty", 13, 14)], 18, "pod-1"
)
@given(
    histories(TICKS + HEALTHY, watched=TICKS),
    faults({"partial", "empty"}, LOST - 4, longest=2),
    st.integers(LOST, TICKS),
    st.sampled_from(["pod-1", "pod-2", "shop"]),
)
def test_what_is_lost_takes_no_failure_away(history, troubles, since, whose):
    """P17, P21, P23, I2: of the ticks before a loss as many failures stay as were counted, or as there were."""
    expected, _ = undisturbed(history, since - 1)
    with Ledger.open("sqlite://") as ledger:
        watch = Watch(ledger, history.simulate(2 * (TICKS + HEALTHY)))
        for tick in range(1, since):
            watch.tick(tick, fault=fault_at(tick, troubles))
        said = [counts(ledger, instance, since - 1) for instance in (1, 2)]
        watch.simulator.lose(whose)
        for tick in range(since, TICKS + HEALTHY):
            watch.tick(tick)
        for instance, of_slo, then in ((1, expected[0], said[0]), (2, expected[1], said[1])):
            found = counts(ledger, instance, since - 1)
            failures = [sum(one[1] for one in ticks) for ticks in (of_slo, then, found)]
            assert failures[2] >= min(failures[:2]), failures
            known = [sum(one[2] for one in ticks) for ticks in (then, found)]
            assert known[1] >= known[0]
