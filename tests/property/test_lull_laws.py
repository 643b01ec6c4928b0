"""Laws of lulls: whoever is judged at once is judged as one by one, and nobody else is."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker import budget, lulls
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.history import WindowArrays
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.snapshots import NO_LABELS
from slo_budget_tracker.specs import SLO, BudgetAlert, BurnRateAlert, PromqlSli, RequestsSli
from slo_budget_tracker.ticks import Counts, Outcome, WindowCounts
from slo_budget_tracker.verdict import assess

AT, MONTH = 1_793_448_000, 86_400 * 30
PAIRS = (
    BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal("14.4")),
    BurnRateAlert(severity="ticket", long=86_400, short=3_600, burn_rate=Decimal(1)),
)
REQUESTS = RequestsSli(total=(Selector("r"),), bad=(Selector("e"),))
RATIO = PromqlSli(error_ratio="avg(r)", window=600)
QUIET = {
    name: AlertState("quiet", AT - age)
    for age, name in enumerate(["burn:page:3600:300", "burn:ticket:86400:3600", "data", "budget"])
}
TARGETS = st.sampled_from(["0.95", "0.999", "0.9999", "0.99973", "0.987654321"]).map(Decimal)
EVENTS = st.one_of(
    st.integers(0, 10**12).map(float),
    st.floats(0, 1e12, allow_subnormal=False),
    st.fractions(0, 10**6, max_denominator=300).map(float),
)
SHARES = st.sampled_from([0.0, 1e-9, 1e-5, 1e-4, 9.99e-4, 1e-3, 0.0144, 0.5, 1.0])


def slo(target="0.999", window=MONTH, **further) -> SLO:
    """An SLO with two pairs."""
    return SLO(
        **{"name": "shop", "target": Decimal(target), "window": window, "sli": REQUESTS, "alerts": PAIRS}
        | further
    )


def arrays_of(known):
    """As History has it: what is known of a window of so many seconds, of some instances."""

    def arrays(window, ids):
        columns = ([getattr(known[one][window], name) for one in ids] for name in WindowCounts._fields[1:6])
        return WindowArrays(window, ids, *(np.array(column, np.float64) for column in columns))

    return arrays


def at_once(one: SLO, known, outcome=Outcome.OK, states=QUIET, labels=NO_LABELS):
    """The snapshots of those that are judged at once, by place."""
    shape = lulls.shape_of(one)
    since = lulls.quiet_since(shape, states)
    still = [(shape, lulls.Still(place, one, labels, since, outcome)) for place in range(len(known))]
    return lulls.snapshots(still, AT, arrays_of(known))


def verdict_of(one: SLO, windows, outcome=Outcome.OK, states=QUIET, labels=NO_LABELS):
    """The same one by one."""
    return assess(one, at=AT, interval=60, outcome=outcome, windows=windows, states=states, labels=labels)


@st.composite
def windows(draw, lengths):
    """What is known of the windows of one SLO; longer ones have at least as many events."""
    known, total, bad, seen, span = {}, 0.0, 0.0, 0.0, 0
    for length in lengths:
        more = draw(EVENTS)
        total, bad = total + more, bad + more * draw(SHARES)
        added = float(length - span)
        seen += added if draw(st.integers(0, 7)) else draw(st.floats(0, added))
        partial = draw(st.sampled_from([0.0] * 7 + [seen / 2]))
        known[length], span = WindowCounts(length, total, min(bad, total), seen, partial), length
    return known


@given(st.data(), TARGETS, st.sampled_from([MONTH, 86_400 * 7, 86_400]), st.sampled_from([REQUESTS, RATIO]))
def test_what_is_shown_at_once_is_what_is_shown_one_by_one(data, target, window, sli):
    """Snapshots are the same to the last bit and type; the states stay, and nothing is told."""
    one = slo(target, window, sli=sli)
    lengths = sorted({300, 3_600, 86_400, window, budget.exhaustion_window(window)})
    known = data.draw(st.lists(windows(lengths), min_size=1, max_size=8))
    outcome = data.draw(st.sampled_from([Outcome.OK, Outcome.NO_TRAFFIC]))
    for place, snapshot in at_once(one, known, outcome).items():
        found = verdict_of(one, known[place], outcome)
        assert found.snapshot == snapshot
        assert repr(found.snapshot) == repr(snapshot)
        assert found.states is QUIET
        assert () == found.transitions


def steady(rate: float, bad: float, *, gap: float = 0.0):
    """Windows of an even rate, of which a share is bad; the longest may have a gap."""
    lengths = (300, 3_600, 21_600, 86_400, MONTH)
    known = {one: WindowCounts(one, rate * one, rate * one * bad, float(one), 0.0) for one in lengths}
    known[MONTH] = known[MONTH]._replace(known=MONTH - gap)
    return known


def test_nearly_all_that_are_still_are_judged_at_once():
    """Of a thousand SLOs that burn about half as fast as they may, with gaps in some months, nearly none is left."""
    random = np.random.default_rng(7)
    known = [
        steady(rate, bad, gap=gap)
        for rate, bad, gap in zip(
            random.uniform(0.5, 100, 1_000).tolist(),
            random.uniform(4e-4, 6e-4, 1_000).tolist(),
            random.choice([0.0, 0.0, 60.0, 86_400.0], 1_000).tolist(),
            strict=True,
        )
    ]
    assert 970 < len(at_once(slo(), known))


@pytest.mark.parametrize(
    ("rate", "bad"),
    [
        pytest.param(10.0, 0.02, id="one that burns"),
        pytest.param(10.0, 9.99e-4, id="one whose budget is nearly spent"),
        pytest.param(10.0, 1e-3, id="one whose budget is spent"),
        pytest.param(0.0, 0.0, id="one without traffic"),
    ],
)
def test_who_is_not_still_is_left_to_the_verdict(rate, bad):
    """Where anything could change, nothing is said at once."""
    assert {} == at_once(slo(), [steady(rate, bad)])


@pytest.mark.parametrize(
    "states",
    [
        pytest.param({}, id="nothing is remembered yet"),
        pytest.param({**QUIET, "data": AlertState("pending", AT - 60, 0)}, id="data are missing"),
        pytest.param({**QUIET, "budget": AlertState("firing", AT - 60)}, id="the budget is spent"),
        pytest.param({**QUIET, "suspicion": AlertState("quiet", AT)}, id="counts were in doubt"),
        pytest.param({**QUIET, "correction:a": AlertState("quiet", AT)}, id="a correction is remembered"),
        pytest.param(dict(list(QUIET.items())[1:]), id="a pair is new"),
    ],
)
def test_only_what_is_quiet_in_every_respect_is_still(states):
    """Whatever else is remembered has to be stepped."""
    assert lulls.quiet_since(lulls.shape_of(slo()), states) is None
    assert (AT, AT - 1) == lulls.quiet_since(lulls.shape_of(slo()), QUIET)


@pytest.mark.parametrize(
    "further",
    [
        pytest.param({"alerts": ()}, id="without pairs"),
        pytest.param({"no_data": "bad"}, id="missing data are bad"),
        pytest.param(
            {"budget_alerts": (BudgetAlert(severity="page", remaining_below=Decimal("0.1")),)},
            id="budget alerts",
        ),
        pytest.param({"target": Decimal("0.99999999999999999")}, id="more digits than a float has"),
    ],
)
def test_special_slos_are_never_judged_at_once(further):
    """Their windows or their rules are others."""
    one = slo(**further)
    assert lulls.shape_of(one) is None or {} == at_once(one, [steady(10.0, 1e-4)])


@pytest.mark.parametrize(
    ("counts", "spacing", "undoubted"),
    [
        pytest.param(Counts(1, 0, Outcome.OK), None, True, id="a whole answer"),
        pytest.param(
            Counts(0, 0, Outcome.NO_TRAFFIC), 150.0, True, id="no traffic, two scrapes in the shortest window"
        ),
        pytest.param(Counts(1, 0, Outcome.OK), 151.0, False, id="fewer than two"),
        pytest.param(Counts(1, 1, Outcome.OK, "bad"), None, False, id="a part that exceeded the whole"),
        pytest.param(Counts(1, 0, Outcome.PARTIAL), None, False, id="a partial answer"),
        pytest.param(Counts(0, 0, Outcome.NO_DATA), None, False, id="no data"),
    ],
)
def test_a_doubtful_tick_is_no_lull(counts, spacing, undoubted):
    """What the tick brought has to be all of it, and plausible."""
    assert undoubted == lulls.is_undoubted(lulls.shape_of(slo()), counts, spacing)


def test_groups_and_roll_ups_are_shown_as_such():
    """A group has its labels, and the whole of an SLO with groups is a roll-up."""
    one = slo(group_by=("handler",))
    for labels in (NO_LABELS, {"handler": "/pay"}):
        found = at_once(one, [steady(10.0, 1e-4)], labels=labels)[0]
        assert verdict_of(one, steady(10.0, 1e-4), labels=labels).snapshot == found
        assert (not labels, labels) == (found.rollup, found.labels)
