"""Pages and courses of every kind of SLO: calendar periods, composites, budget alerts, corrections, groups."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from slo_budget_tracker.calendars import Calendar
from slo_budget_tracker.courses import Span, course, remains
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.slis import CompositeSli, Member
from slo_budget_tracker.snapshots import NO_LABELS, BudgetAlertStatus, RawFigures
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import SLO
from slo_budget_tracker.timeline import Found, Happening
from slo_budget_tracker.web import Display, Past, build, compose
from tests.unit.serving import availability
from tests.unit.test_inquiries import AT, BEGIN, HOUR, history
from tests.unit.test_web import ask, snapshot

ROOT = Path(__file__).parents[2]
FILES = [
    *(ROOT / "tests" / "specfiles" / "good").glob("*.y*ml"),
    *(ROOT / "config" / "demo" / "slos").glob("*.yaml"),
]
KINDS = [slo for path in sorted(FILES) for slo in load([path]).slos]
KEPT = history()
PAST = Past(
    lambda _name, _labels, ends, windows: KEPT.courses(1, ends, windows), lambda _wanted: Found((), 0)
)
WELL = snapshot("shop")._replace(labels=NO_LABELS, evaluated_at=AT)


def shown(slo, **changes):
    """The page of one SLO with these figures."""
    display = Display(compose(snapshots=[WELL._replace(name=slo.name, **changes)], slos=[slo]))
    display.past = PAST
    answer = ask(build(display, listen="127.0.0.1:0"), f"/slos/{slo.name}")
    assert 200 == answer.status_code
    return answer.text


@pytest.mark.parametrize("slo", KINDS, ids=lambda slo: f"{slo.name} {slo.sli.kind}")
def test_every_kind_has_a_page(slo):
    """Whatever a file can define is shown with its definition and the queries it becomes."""
    text = shown(slo)
    assert f"<dt>kind</dt><dd><code>{slo.sli.kind}</code></dd>" in text


@pytest.mark.parametrize(("window", "pace"), [(30 * 24 * HOUR, "6h"), (12 * HOUR, "3h"), (HOUR, "15m")])
def test_a_forecast_says_whose_pace_it_goes_on_with(window, pace):
    """The last six hours, or a quarter of a shorter window."""
    text = shown(availability(window=window), window_seconds=window, exhaustion_seconds=600.0)
    assert f"at the pace of the last {pace}<" in text


def test_a_calendar_budget_is_to_date():
    """The budget begins anew with the period: nothing of yesterday is in it."""
    slo = availability(window=7 * 86_400, calendar=Calendar(unit="week"))
    monday = slo.calendar.period(AT).start
    before, after = remains(slo, NO_LABELS, [AT - HOUR, AT], PAST, {}, Clock(AT, 60))
    assert monday < BEGIN
    assert (1.0, True) == (before, after < 0)
    assert "per week" in shown(slo)


def test_a_composite_follows_its_members():
    """Its course is the weighted mean of theirs; it has no events of its own."""
    member = availability("shop")
    sli = CompositeSli(members=(Member(slo="shop", weight=Decimal(1)),), mode="weighted")
    slo = SLO(name="all", target=Decimal("0.99"), window=86_400, sli=sli, alerts=member.alerts)
    point = course(slo, NO_LABELS, Span(AT - HOUR, AT, HOUR), PAST, {"shop": member}, Clock(AT, 60))[
        "points"
    ][-1]
    alone = course(member, NO_LABELS, Span(AT - HOUR, AT, HOUR), PAST, {}, Clock(AT, 60))["points"][-1]
    for key in ("success_ratio", "error_budget_remaining", "burn_rates"):
        assert alone[key] == pytest.approx(point[key])
    assert (None, None) == (point["total"], point["failures"])
    text = shown(slo, unit="ratio")
    assert (True, False) == (
        "of its members&#39; budgets together" in text or "of its members' budgets together" in text,
        ">Traffic " in text,
    )


def test_a_composite_shows_what_it_is_made_of():
    """Its members with weights, the least budget first and each a link; no chart of events that it does not have."""
    sli = CompositeSli(members=(Member(slo="shop", weight=Decimal(2)), Member(slo="cart")), mode="weighted")
    slos = [SLO(name="all", target=Decimal("0.99"), sli=sli), availability(), availability("cart")]
    shown_ = [
        WELL._replace(name="all", unit="ratio"),
        WELL._replace(error_budget_remaining=0.5),
        WELL._replace(name="cart", error_budget_remaining=0.2),
    ]
    display = Display(compose(snapshots=shown_, slos=slos))
    display.past = PAST
    text = ask(build(display, listen="127.0.0.1:0"), "/slos/all").text
    members = text.partition('id="members"')[2]
    assert "Made of 2 SLOs" in members
    assert members.index('href="/slos/cart"') < members.index('href="/slos/shop"')
    assert ['data-name="Weight">1', 'data-name="Weight">2'] == re.findall(r'data-name="Weight">\d', members)
    assert (3, False) == (text.count('data-chart="'), "What a tick asks" in text)


def test_budget_alerts_and_corrections_are_told():
    """An alert on the budget fires on top of the list and on the page; what corrections took out is said."""
    rule = BudgetAlertStatus("page", "remaining_below:10%", "firing", AT, "4.42% of the error budget remains")
    raw = RawFigures(7_200, 10.0, 9.0, 0.1, -0.5, 3.0)
    text = shown(availability("shop"), budget_alerts=(rule,), raw=raw)
    assert "A page on the budget fires: 4.42% of the error budget remains." in text
    assert "<code>remaining_below:10%</code>" in text
    assert "Corrections take 2h out of the window; without them it would be overspent by 50.0%." in text
    one = WELL._replace(budget_alerts=(rule,))
    display = Display(compose(snapshots=[one], slos=[availability("shop")]))
    assert '<li class="alarm page">' in ask(build(display, listen="127.0.0.1:0"), "/").text


def test_groups_are_ranked():
    """The page of a roll-up lists its groups, the most spent first; each has a page of its own."""
    groups = [WELL._replace(labels={"h": f"/{n}"}, error_budget_remaining=n / 10) for n in (7, 2, 5)]
    view = compose(snapshots=[WELL._replace(rollup=True), *groups], slos=[availability("shop")])
    app = build(Display(view), listen="127.0.0.1:0")
    text = ask(app, "/slos/shop").text
    places = [text.index(f"group.h=%2F{n}") for n in (2, 5, 7)]
    assert sorted(places) == places
    assert "h=/5</code></h1>" in ask(app, "/slos/shop?group.h=/5").text.replace(" </h1>", "</h1>")
    assert 404 == ask(app, "/slos/shop?group.h=/9").status_code


def test_a_list_is_made_once_between_two_ticks():
    """Whoever wishes the same gets the same page; another wish, a new view or trouble makes a new one."""
    asked = []

    def courses(name, _labels, ends, windows):
        asked.append(name)
        return KEPT.courses(1, ends, windows)

    slo = availability("shop")
    display = Display(compose(snapshots=[WELL], slos=[slo]))
    display.past = Past(courses, PAST.events)
    app = build(display, listen="127.0.0.1:0")
    tags = [ask(app, path).headers["etag"] for path in ("/", "/", "/?q=shop", "/?nonsense=1")]
    assert ([True, False, True], 2) == ([tags[0] == one for one in tags[1:]], len(asked))
    display.view = compose(snapshots=[WELL], slos=[slo], unready=["the ledger is locked"])
    assert "the ledger is locked" in ask(app, "/").text
    assert 3 == len(asked)


def test_events_of_groups_say_which():
    """On the page of all each event names its group; on a group's page those of others are left out."""
    slo = availability(group_by=("handler",), labels=(("team", "x"),))

    def event(number, **group):
        payload = {"labels": {"team": "x", **group}, "reason": f"because {number}"}
        return Happening(
            f"e{number}", "shop", number, "slo_recovered", AT, payload, "delivered", AT, None, None
        )

    events = [event(1, handler="/a"), event(2, handler="/b"), event(3)]
    snapshots = [
        WELL._replace(rollup=True),
        *(WELL._replace(labels={"handler": handler}) for handler in ("/a", "/b")),
    ]
    display = Display(compose(snapshots=snapshots, slos=[slo]))
    display.past = PAST._replace(events=lambda _wanted: Found(tuple(events), 3))
    app = build(display, listen="127.0.0.1:0")
    whole = ask(app, "/slos/shop").text.partition('id="events"')[2]
    assert [True] * 3 == [f"because {number}" in whole for number in (1, 2, 3)]
    assert whole.index("handler=/a") < whole.index("because 1") < whole.index("handler=/b")
    own = ask(app, "/slos/shop?group.handler=/b").text.partition('id="events"')[2]
    assert [False, True, True] == [f"because {number}" in own for number in (1, 2, 3)]
