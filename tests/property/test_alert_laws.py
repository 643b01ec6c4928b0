"""Laws of the alerts: what faults may never do, and what no story depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker import alerts, budget
from slo_budget_tracker.alerts import AlertState, Judgement
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.specs import SLO, BurnRateAlert, RequestsSli
from slo_budget_tracker.ticks import Counts, Outcome, WindowCounts
from slo_budget_tracker.verdict import assess

INTERVAL = 60
LONG, SHORT, WINDOW = 600, 180, 1_800
FINDINGS = st.sampled_from(["burning", "lingering", "over", "no_traffic", "silent"])
STARTS = {"slo_burn_started", "slo_budget_exhausted", "slo_data_lost"}
ENDS = {"slo_recovered", "slo_budget_restored", "slo_data_restored"}


def slo(*, for_seconds=0, keep_firing_for=0):
    """99 % over half an hour with a page and a ticket."""
    return SLO(
        name="law",
        target=Decimal("0.99"),
        window=WINDOW,
        sli=RequestsSli(total=(Selector("r"),), bad=(Selector("e"),)),
        alerts=tuple(
            BurnRateAlert(
                severity=severity,
                long=LONG,
                short=SHORT,
                burn_rate=Decimal(factor),
                for_seconds=for_seconds,
                keep_firing_for=keep_firing_for,
            )
            for severity, factor in (("page", "6.4"), ("ticket", "2"))
        ),
    )


def uniform(bad):
    """A tick of a hundred requests."""
    return Counts(100, bad, Outcome.OK)


BADS = st.sampled_from([0, 0, 0, 1, 2, 3, 6, 7, 20, 100])
FAULTS = st.sampled_from([Outcome.NO_DATA, Outcome.ERROR, Outcome.MISSED, Outcome.UNKNOWN])
KNOWN = st.one_of(
    BADS.map(uniform),
    st.builds(lambda bad: Counts(100, bad, Outcome.PARTIAL), BADS),
    st.just(Counts(0, 0, Outcome.NO_TRAFFIC)),
)
ANY = st.one_of(KNOWN, KNOWN, FAULTS.map(lambda outcome: Counts(0, 0, outcome)))
WORLD = st.lists(ANY, min_size=5, max_size=50)
PATIENCE = st.sampled_from([0, 60, 150])


def counted(ticks, window):
    """The last ticks of a window, added up."""
    last = [tick for tick in ticks[-(window // INTERVAL) :] if tick.outcome.known]
    return WindowCounts(
        window,
        sum(tick.total for tick in last),
        sum(tick.bad for tick in last),
        len(last) * INTERVAL,
        sum(tick.outcome is Outcome.PARTIAL for tick in last) * INTERVAL,
    )


def told(ticks, *, of=None, restarts=False):
    """The verdicts of all ticks."""
    of, states, verdicts = of or slo(), {}, []
    for number in range(1, len(ticks) + 1):
        past = ticks[:number]
        verdicts.append(
            assess(
                of,
                at=number * INTERVAL,
                interval=INTERVAL,
                outcome=past[-1].outcome,
                windows={window: counted(past, window) for window in (SHORT, LONG, WINDOW, WINDOW // 4)},
                states=states,
            )
        )
        states = verdicts[-1].states
        if restarts:
            text = json.dumps({name: state.to_json() for name, state in states.items()})
            states = {name: AlertState.from_json(stored) for name, stored in json.loads(text).items()}
    return verdicts


def kinds(verdicts):
    """Every transition with its tick and rule."""
    return [(t.at, t.kind, t.rule) for verdict in verdicts for t in verdict.transitions]


def first(verdicts, rule):
    """The instant at which a rule is first told, or the end of days."""
    return min((at for at, _, name in kinds(verdicts) if name == rule), default=10**9)


@given(WORLD, PATIENCE, PATIENCE)
def test_no_fault_sends_a_recovery(ticks, for_seconds, keep_firing_for):
    """Neither a tick without an answer nor a partial one ends anything (I2, P17)."""
    verdicts = told(ticks, of=slo(for_seconds=for_seconds, keep_firing_for=keep_firing_for))
    ended = {at for at, kind, _ in kinds(verdicts) if kind in ENDS}
    faulty = {INTERVAL * k for k, tick in enumerate(ticks, start=1) if tick.outcome > Outcome.NO_TRAFFIC}
    assert set() == ended & faulty


@given(WORLD, FAULTS)
def test_a_fault_never_raises_the_budget(ticks, fault):
    """With the last tick unknown the worst case is no better than if it had been good at mean traffic (I2)."""
    broken = told([*ticks, Counts(0, 0, fault)])[-1].snapshot
    past = [tick for tick in ticks[-(WINDOW // INTERVAL - 1) :] if tick.outcome.known]
    total, known = sum(tick.total for tick in past), len(past)
    if not total:
        return
    # the mean tick may be a fraction: everything is counted `known` times over
    fine = [replace(tick, total=tick.total * known, bad=tick.bad * known) for tick in ticks]
    good = told([*fine, Counts(total, 0, Outcome.OK)])[-1].snapshot
    assert broken.error_budget_remaining_bounds[0] <= good.error_budget_remaining_bounds[0]
    assert broken.error_budget_remaining <= good.error_budget_remaining


@given(st.lists(BADS.map(uniform), min_size=5, max_size=40), FAULTS, st.data())
def test_knowing_less_starts_nothing_earlier(ticks, fault, data):
    """At even traffic, a known tick that becomes unknown never starts an alert that was not due (I2)."""
    where = data.draw(st.integers(0, len(ticks) - 1))
    less = [*ticks[:where], Counts(0, 0, fault), *ticks[where + 1 :]]
    full, gappy = told(ticks), told(less)
    for rule in ("burn:page:600:180", "burn:ticket:600:180", "budget"):
        assert first(full, rule) <= first(gappy, rule)


@given(st.lists(st.tuples(st.integers(0, 200), BADS), min_size=2, max_size=10), st.data())
def test_a_busy_tick_unknown_is_the_only_way_to_be_wrong(pairs, data):
    """Certainty is lost, never gained, by not knowing a tick of at most mean traffic."""
    ticks = [Counts(total, min(bad, total), Outcome.OK) for total, bad in pairs]
    where = data.draw(st.integers(0, len(ticks) - 1))
    less = [*ticks[:where], Counts(0, 0, Outcome.ERROR), *ticks[where + 1 :]]
    if ticks[where].total * len(ticks) > sum(tick.total for tick in ticks):
        return
    limit = budget.allowed(Decimal("0.99"), 2)
    surely = [budget.surely_reaches(budget.exact(counted(world, LONG)), limit) for world in (ticks, less)]
    assert surely[0] >= surely[1]


@given(WORLD, st.data())
def test_more_failures_never_start_later(ticks, data):
    """One more failure in any known tick starts each pair as early or earlier."""
    candidates = [k for k, tick in enumerate(ticks) if tick.bad < tick.total]
    if not candidates:
        return
    where = data.draw(st.sampled_from(candidates))
    worse = [*ticks]
    worse[where] = replace(ticks[where], bad=ticks[where].bad + 1)
    for rule in ("burn:page:600:180", "burn:ticket:600:180", "budget"):
        assert first(told(worse), rule) <= first(told(ticks), rule)


@given(WORLD, st.sampled_from([0.5, 2, 3, 1_000]))
def test_transitions_do_not_depend_on_the_scale(ticks, scale):
    """A service of a thousand times the traffic has the same story."""
    scaled = [replace(tick, total=tick.total * scale, bad=tick.bad * scale) for tick in ticks]
    assert kinds(told(ticks)) == kinds(told(scaled))


@given(WORLD, PATIENCE, PATIENCE)
def test_a_restart_at_any_tick_changes_nothing(ticks, for_seconds, keep_firing_for):
    """`for` and `keep_firing_for` survive (T14)."""
    of = slo(for_seconds=for_seconds, keep_firing_for=keep_firing_for)
    assert told(ticks, of=of) == told(ticks, of=of, restarts=True)


@given(WORLD, PATIENCE, PATIENCE)
def test_starts_and_ends_alternate(ticks, for_seconds, keep_firing_for):
    """Each rule is told to start, then to end, and so on; nothing is told twice (D23)."""
    of = slo(for_seconds=for_seconds, keep_firing_for=keep_firing_for)
    for rule in ("burn:page:600:180", "burn:ticket:600:180", "budget", "data"):
        sides = [kind in STARTS for _, kind, name in kinds(told(ticks, of=of)) if name == rule]
        assert [index % 2 == 0 for index in range(len(sides))] == sides


@given(WORLD)
def test_an_alert_ends_only_when_the_short_window_says_so(ticks):
    """At least 80 % of it whole and below the factor, or one long window without traffic."""
    limits = {f"burn:{s}:600:180": budget.allowed(Decimal("0.99"), Decimal(f)) for s, f in
              (("page", "6.4"), ("ticket", "2"))}  # fmt: skip
    for at, kind, rule in kinds(told(ticks)):
        if kind != "slo_recovered":
            continue
        short, long = (budget.exact(counted(ticks[: at // INTERVAL], w)) for w in (SHORT, LONG))
        calm = short.total > 0 and not budget.reaches(short, limits[rule]) and budget.well_covered(short)
        assert calm or (not long.total and budget.well_covered(long))


@given(WORLD)
def test_an_alert_starts_only_when_it_is_certain(ticks):
    """Both windows reach the factor though the unknown ticks count as good."""
    limits = {"burn:page:600:180": Decimal("6.4"), "burn:ticket:600:180": Decimal(2)}
    for at, kind, rule in kinds(told(ticks)):
        if kind == "slo_burn_started":
            limit = budget.allowed(Decimal("0.99"), limits[rule])
            past = ticks[: at // INTERVAL]
            assert [True, True] == [
                budget.surely_reaches(budget.exact(counted(past, window)), limit) for window in (LONG, SHORT)
            ]


@given(WORLD)
def test_looking_is_free(ticks):
    """A look between two ticks tells nothing and moves nothing."""
    verdicts = told(ticks)
    look = assess(
        slo(),
        at=len(ticks) * INTERVAL,
        interval=INTERVAL,
        outcome=ticks[-1].outcome,
        windows={window: counted(ticks, window) for window in (SHORT, LONG, WINDOW, WINDOW // 4)},
        states=verdicts[-1].states,
        live=False,
    )
    assert ((), verdicts[-1].states) == (look.transitions, look.states)
    firing = [alert.firing for alert in look.snapshot.alerts]
    assert [alert.firing for alert in verdicts[-1].snapshot.alerts] == firing


@given(st.lists(FINDINGS, min_size=1, max_size=30), PATIENCE, PATIENCE)
def test_silence_can_be_left_out(findings, for_seconds, keep_firing_for):
    """Ticks that say nothing change nothing: without them every rule takes the same turns."""

    def turns(said):
        state, turned = None, []
        for number, finding in enumerate(said):
            decision = alerts.step(
                state, Judgement(finding, finding), at=number, seconds=INTERVAL,
                for_seconds=for_seconds, keep_firing_for=keep_firing_for,
            )  # fmt: skip
            state = decision.state
            turned += [decision.turn] if decision.turn else []
        return turned

    assert turns([finding for finding in findings if finding != "silent"]) == turns(findings)
