"""Composites: the weighted mean or the worst of other SLOs, as exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_budget_tracker.archive import Archive as LedgerArchive
from slo_budget_tracker.budget import allowed, burn_rate, exact
from slo_budget_tracker.composites import composed, members_of
from slo_budget_tracker.courses import remains
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.slis import Member
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import SLO, BurnRateAlert, CompositeSli, RequestsSli
from slo_budget_tracker.ticks import TO_DATE, WindowCounts
from slo_budget_tracker.views import Past
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability, traffic
from tests.unit.test_groups import serve


def composite(*weights, mode="weighted", **options):
    """A composite of `a`, `b` and so on."""
    members = tuple(Member(slo=name, weight=Decimal(w)) for name, w in zip("abc", weights, strict=False))
    sli = CompositeSli(members=members, mode=mode)
    return SLO(**{"name": "all", "target": Decimal("0.95"), "window": 4 * HOUR, "sli": sli} | options)


def one(counts, slo, *, targets=("0.99", "0.9", "0.9")):
    """The composite's counts of a window from those of its members."""
    known = {
        name: availability(name, target=Decimal(t), alerts=()) for name, t in zip("abc", targets, strict=True)
    }
    windows = {name: {60: c} for name, c in zip("abc", counts, strict=False)}
    return composed(slo.sli, known, windows)[60]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 1000)), min_size=3, max_size=3),
    st.lists(st.integers(1, 9), min_size=3, max_size=3),
)
def test_weighted_is_the_weighted_mean_of_error_ratios(events, weights):
    """sum(w*e)/sum(w), without rounding: the burn rate is that fraction over the budget."""
    counts = [WindowCounts(60, max(t, b), b, 60) for t, b in events]
    found = one(counts, composite(*weights))
    error = sum(Fraction(c.bad, c.total) * w for c, w in zip(counts, weights, strict=True)) / sum(weights)
    assert (1, error) == (found.total, found.bad)
    assert float(error / Fraction(1, 20)) == burn_rate(exact(found), allowed(Decimal("0.95")))


def test_worst_is_the_member_with_the_least_budget_left():
    """Two per cent of a target of 99 % weigh more than fifteen of one of 90 %."""
    counts = [WindowCounts(60, 100, 2, 60), WindowCounts(60, 100, 15, 60), WindowCounts(60, 100, 0, 60)]
    assert Fraction(2, 100) == one(counts, composite(1, 1, 1, mode="worst")).bad


def test_a_member_without_traffic_has_no_weight():
    """Nothing is made up for it; with none at all there is nothing."""
    busy, idle = WindowCounts(60, 100, 4, 60), WindowCounts(60, 0, 0, 60)
    assert Fraction(4, 100) == one([busy, idle], composite(1, 9)).bad
    assert (0, 60) == (one([idle, idle], composite(1, 9)).total, one([idle, idle], composite(1, 9)).known)


def test_it_is_as_well_known_as_the_least_known_member():
    """Coverage is the least of all members, partial answers are those of any."""
    counts = [WindowCounts(60, 100, 4, 60), WindowCounts(60, 100, 0, 30, partial=6)]
    found = one(counts, composite(1, 1))
    assert (30, 6) == (found.known, found.partial)


def journey(**options):
    """A shop that fails for twenty minutes and one that does not, half each, with a page."""
    page = BurnRateAlert(severity="page", long=HOUR, short=300, burn_rate=Decimal(1))
    sli = CompositeSli(members=(Member(slo="shop"), Member(slo="quiet")))
    return SLO(
        **{"name": "journey", "target": Decimal("0.95"), "window": 4 * HOUR, "sli": sli, "alerts": (page,)}
        | options
    )


def members():
    """The two shops."""
    return availability(window=HOUR, alerts=()), availability("quiet", metric="quiet_total", alerts=())


def server():
    """Both shops' samples."""
    return Server(traffic(traffic(Archive()), metric="quiet_total", broken=(0, 0)))


def run(ledger, minutes, *, step, slos=(), shops=None):
    """The composite's snapshot after some minutes, `step` at once."""
    one_ = Evaluator(
        slos=slos or (journey(), *members()),
        ledger=ledger,
        asks={"default": shops or server()},
        interval=INTERVAL,
        delay=DELAY,
    ).prepare(BEGIN)
    for minute in range(step, minutes + 1, step):
        report = one_.advance(BEGIN + minute * INTERVAL)
    return report.snapshots[0]


@pytest.mark.parametrize("step", [1, 15, 60])
def test_a_known_world(step):
    """An hour: one member lost 2960 of 18000, the other nothing: half of that; it paged and recovered."""
    with Ledger.open("sqlite://") as ledger:
        found = run(ledger, 60, step=step)
        kinds = [(e.kind, e.created) for e in ledger.events() if e.slo == "journey"]
    assert ("journey", "ratio", 1, "ok") == (found.name, found.unit, found.total, found.state)
    assert float(1 - Fraction(2_960, 36_000)) == found.success_ratio
    assert (0.25, None) == (found.coverage, found.events_remaining)  # it has no events of its own
    assert ["slo_burn_started", "slo_recovered"] == [kind for kind, _ in kinds]


def test_live_and_caught_up_are_the_same():
    """The same events at the same instants."""
    told = []
    for step in (1, 60):
        with Ledger.open("sqlite://") as ledger:
            run(ledger, 60, step=step)
            told.append([(e.kind, e.created) for e in ledger.events() if e.slo == "journey"])
    assert told[0] == told[1]


@pytest.mark.parametrize("ends", [HOUR, 55 * 60])
def test_each_tick_that_is_caught_up_has_what_it_brought_itself(ends):
    """An hour at whose end nobody was scraped any more: the burn, its end and the loss, as they were told live."""
    told = []
    for step in (1, 60):
        shops = Server(
            traffic(traffic(Archive(), seconds=ends), metric="quiet_total", broken=(0, 0), seconds=ends)
        )
        with Ledger.open("sqlite://") as ledger:
            run(ledger, 60, step=step, shops=shops)
            told.append([(e.kind, e.created) for e in ledger.events() if e.slo == "journey"])
    assert told[0] == told[1]
    assert (2 if ends == HOUR else 3) == len(told[0])


def begun_later():
    """A composite with groups, whose second member's group begins fifty minutes after the first one's."""
    db = serve(Archive(), {"/pay": (9, 1)}, last=HOUR)
    serve(db, {"/pay": (9, 1)}, first=50 * 60, last=HOUR, instance="b:80")
    late = RequestsSli(
        total=(parse_selector('http_requests_total{instance="b:80"}'),),
        bad=(parse_selector('http_requests_total{instance="b:80", code="500"}'),),
    )
    slos = (
        availability(group_by=("handler",), alerts=()),
        availability("quiet", sli=late, group_by=("handler",), alerts=()),
        journey(group_by=("handler",)),
    )
    return slos, Server(db)


def test_a_group_is_made_of_what_there_was():
    """The group of one member began later than the other's: until then there was one, also when caught up."""
    told = []
    for step in (1, 60):
        slos, shops = begun_later()
        with Ledger.open("sqlite://") as ledger:
            run(ledger, 60, step=step, slos=slos, shops=shops)
            told.append([(e.kind, e.created) for e in ledger.events() if e.payload["labels"]])
    assert told[0] == told[1]
    assert ["slo_burn_started"] == [kind for kind, _ in told[0]]


def test_the_chart_of_a_group_has_the_members_that_there_were():
    """Point by point what was concluded live: a member whose group began later is no part of it before."""
    slos, shops = begun_later()
    labels, live = {"handler": "/pay"}, {}
    with Ledger.open("sqlite://") as ledger:
        one_ = Evaluator(slos=slos, ledger=ledger, asks={"default": shops}, interval=INTERVAL, delay=DELAY)
        one_.prepare(BEGIN)
        for minute in range(1, 61):
            shown = one_.advance(BEGIN + minute * INTERVAL).snapshots
            live |= {int(s.evaluated_at): s for s in shown if s.name == "journey" and s.labels == labels}
        kept = LedgerArchive(ledger)
        past = Past(kept.courses, kept.events, kept.born)
        by_name = {slo.name: slo for slo in slos}
        found = remains(by_name["journey"], labels, list(live), past, by_name, Clock(max(live), INTERVAL))
    assert 50 < len(live)
    assert [pytest.approx(one.error_budget_remaining) for one in live.values()] == found


def test_evaluated_from_history():
    """`evaluate` fills the members and shows the composite over its own window."""
    found = evaluate_at([journey(), *members()], {"default": server()}, at=BEGIN + HOUR, grid=Grid())
    total = 5 * 60 * 75  # from a quarter of an hour before the world's begin
    assert float(1 - Fraction(2_960, 2 * total)) == pytest.approx(found[0].success_ratio, rel=0.001)
    assert "ok" == found[0].state


def test_calendar_windows_of_members_are_the_composites():
    """Members are looked at over the composite's windows, whatever theirs are."""
    windows = {
        name: {TO_DATE: WindowCounts(60, 100, bad, 60, ahead=300)} for name, bad in (("a", 4), ("b", 0))
    }
    known = {name: availability(name) for name in "ab"}
    found = composed(composite(1, 1).sli, known, windows)[TO_DATE]
    assert (Fraction(2, 100), 3) == (found.bad, found.ahead)


def test_files(tmp_path):
    """Members are checked over all files; a composite of composites is refused."""
    file = tmp_path / "a.yaml"
    plain = "  - {name: a, target: 99%, sli: {probe: {up: up}}}\n  - {name: b, target: 99%, sli: {probe: {up: up}}}\n"
    sli = "{composite: {members: [{slo: a, weight: 2}, {slo: b}], mode: worst}}"
    file.write_text(f"slos:\n{plain}  - {{name: all, target: 99%, sli: {sli}}}\n")
    slo = next(one for one in load([file]).slos if one.name == "all")
    assert (("a", "b"), "worst", Decimal(2)) == (members_of(slo), slo.sli.mode, slo.sli.members[0].weight)
    for wrong, sentence in {
        sli.replace("slo: b", "slo: c"): "the member c, which is no SLO, expected names of SLOs",
        sli.replace("slo: b", "slo: all"): "the member all, a composite itself",
        sli.replace("slo: b", "slo: a"): "members[1]: a twice, expected each member once",
        sli.replace("weight: 2", "weight: 0"): "weight: 0, expected above 0",
        "{composite: {members: [], mode: worst}}": "an empty list",
        sli.replace("worst", "best"): '"best", expected weighted or worst',
    }.items():
        file.write_text(f"slos:\n{plain}  - {{name: all, target: 99%, sli: {wrong}}}\n")
        with pytest.raises(Exception, match=r"composite|member") as error:
            load([file])
        assert sentence in str(error.value)
