"""The API beyond the snapshots, asked in-process over a real history: courses, alerts, events, the gate."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.history import History
from slo_budget_tracker.resources import AlertPage, EventPage, Gate
from slo_budget_tracker.resources import History as Course
from slo_budget_tracker.rows import Row
from slo_budget_tracker.snapshots import NO_LABELS, AlertStatus, BurnRateSample, instant_text
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.timeline import Found, Happening
from slo_budget_tracker.web import Display, Past, build, compose
from tests.unit.serving import availability
from tests.unit.test_web import ask, snapshot

HOUR = 3_600
AT = 1_793_448_000
BEGIN = AT - 24 * HOUR
SLO = availability("checkout")  # 99 % over a day, a page over 1 h and 5 min
EVENTS = [
    Happening("c", "search", 1, "slo_burn_started", AT, {"reason": "it burns"}, "pending", None, None, None),
    Happening("b", "checkout", 2, "slo_recovered", AT - 60, {}, "delivered", AT, (7, "ab"), None),
    Happening("a", "*", 1, "store_reset", BEGIN, {"reason": "damage"}, "quarantined", AT, None, "422"),
]


def history() -> History:
    """A day at 100 requests a minute; in its last hour half of them fail."""
    kept = History()
    kept.add(
        Row.of(Tick(end - 60, end), {1: Counts(100.0, 50.0 if end > AT - HOUR else 0.0, Outcome.OK)})
        for end in range(BEGIN + 60, AT + 1, 60)
    )
    return kept


@pytest.fixture(scope="module")
def past():
    """What can be asked about that day, and three events in it."""
    kept = history()

    def events(wanted):
        found = [one for one in EVENTS if wanted.slo in {None, one.slo}]
        found = [one for one in found if not wanted.kinds or one.kind in wanted.kinds]
        found = [one for one in found if (wanted.since or 0) <= one.at <= (wanted.until or AT)]
        return Found(tuple(found[wanted.offset : wanted.offset + wanted.limit]), len(found))

    return Past(lambda _name, _labels, ends, windows: kept.courses(1, ends, windows), events)


def shown(name="checkout", **changes):
    """A snapshot at the end of the day."""
    return snapshot(name)._replace(labels=NO_LABELS, evaluated_at=AT, **changes)


FIRING = shown(
    budget_exhausted=True,
    error_budget_remaining=-1.0833,
    burn_rate_samples=(
        BurnRateSample(300, 50.0, 0.5, 500.0, 250.0, 1.0),
        BurnRateSample(3_600, 49.0, 0.51, 6_000.0, 2_940.0, 1.0),
    ),
    alerts=(
        AlertStatus("ticket", 86_400, 7_200, Decimal(3), "pending", AT, "so"),
        AlertStatus("page", 3_600, 300, Decimal("14.4"), "firing", AT - 60, "both burn"),
    ),
)


@pytest.fixture(scope="module")
def display(past):
    """A display with a firing SLO and a well one."""
    display = Display(
        compose(snapshots=[FIRING, shown("search")], slos=[SLO, availability("search")]), wall=lambda: AT + 60
    )
    display.past = past
    return display


@pytest.fixture(scope="module")
def app(display):
    """The application as the daemon builds it."""
    return build(display, listen="127.0.0.1:9724")


def detail(answer):
    """The sentence of a refusal."""
    assert ("application/problem+json", 400) == (answer.headers["content-type"], answer.status_code)
    return answer.json()["detail"]


def test_a_course_is_what_the_counts_say(app):
    """Each point has its step's events and the budget and burn rates of that moment."""
    answer = ask(app, "/api/v1/slos/checkout/history", params={"start": "-2h", "step": 1800})
    found = Course.model_validate(answer.json())
    assert [instant_text(AT - n * 1800) for n in (3, 2, 1, 0)] == [
        one["at"] for one in answer.json()["points"]
    ]
    last = found.points[-1]
    assert (3_000, 1_500, 0.5, 1.0) == (last.total, last.failures, last.success_ratio, last.coverage)
    assert 1 - 3_000 / 1_440 == pytest.approx(last.error_budget_remaining)
    assert {"300": 50.0, "3600": 50.0} == pytest.approx(last.burn_rates)
    assert {"300": 0.0, "3600": 0.0} == found.points[1].burn_rates


def test_a_course_begins_with_the_window_in_a_step_that_fits(app):
    """Without parameters it is an SLO window long, of at most 240 points, and knows where nothing is known."""
    found = Course.model_validate(ask(app, "/api/v1/slos/checkout/history").json())
    assert (600, 144) == (found.step_seconds, len(found.points))
    before = ask(app, "/api/v1/slos/checkout/history", params={"start": "-48h", "end": "-25h"}).json()
    assert {(None, None, 0.0)} == {
        (one["total"], one["error_budget_remaining"], one["coverage"]) for one in before["points"]
    }


def test_a_course_has_a_tag(app):
    """Asked again with its tag it is not sent again."""
    path = "/api/v1/slos/checkout/history"
    tag = ask(app, path).headers["etag"]
    assert 304 == ask(app, path, headers={"if-none-match": tag}).status_code


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("step=1", "step: 1 s makes more than 2000 points of 1d, expected at least 44"),
        ("step=0", "step: input should be greater than or equal to 1"),
        ("step=-5", "step: input should be greater than or equal to 1"),
        ("step=nan", "step: input should be a valid integer, unable to parse string as an integer"),
        ("start=yesterday", "start: not a time: RFC 3339 with a zone (2026-10-31T12:00:00Z)"),
        ("start=99999999999999", "start: after the year 9999"),
        ("end=" + "9" * 300, "end: string should have at most 40 characters"),
        ("start=-1h&end=-2h", "is not before the end"),
        ("start=NaN", "start: not a time"),
        ("start=%00", "start: not a time"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(app, query, expected):
    """H15: bounded work for whatever is asked, and every fault by name."""
    assert expected in detail(ask(app, f"/api/v1/slos/checkout/history?{query}"))


@pytest.mark.parametrize(
    "path", ["/api/v1/slos/checkot/history", "/api/v1/gate?slo=checkot", "/api/v1/stream?slo=checkot"]
)
def test_an_unknown_slo_is_not_found(app, path):
    """A wrong name gets the near ones."""
    answer = ask(app, path)
    assert (404, "there is no SLO 'checkot'; did you mean checkout?") == (
        answer.status_code,
        answer.json()["detail"],
    )


def test_alerts_are_those_that_are_not_quiet(app):
    """Pages before tickets, with what their windows burn."""
    answer = ask(app, "/api/v1/alerts").json()
    page = AlertPage.model_validate(answer)
    assert (2, ["firing", "pending"]) == (page.total, [one.state for one in page.alerts])
    assert (49.0, 50.0, "checkout") == (
        page.alerts[0].long_burn_rate,
        page.alerts[0].short_burn_rate,
        page.alerts[0].slo,
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=quiet", 1),
        ("state=quiet&state=firing", 2),
        ("severity=page", 1),
        ("slo=search", 0),
        ("slo=search&state=quiet", 1),
    ],
)
def test_alerts_are_filtered(app, query, expected):
    """By state, severity and SLO."""
    assert expected == ask(app, f"/api/v1/alerts?{query}").json()["total"]


def test_a_state_that_there_is_not_is_refused(app):
    """H15: only the four states are asked for."""
    assert "state.0" in detail(ask(app, "/api/v1/alerts?state=burning"))


def test_events_come_with_their_receipts(app):
    """Newest first; what is about the daemon has no SLO."""
    page = EventPage.model_validate(ask(app, "/api/v1/events").json())
    assert ["search", "checkout", None] == [one.slo for one in page.events]
    assert (7, "ab") == (page.events[1].delivery.receipt.id, page.events[1].delivery.receipt.hash)
    assert ("422", "damage") == (page.events[2].delivery.detail, page.events[2].reason)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("slo=checkout", ["b"]),
        ("kind=store_reset&kind=slo_recovered", ["b", "a"]),
        ("start=-1h", ["c", "b"]),
        ("end=-1h", ["a"]),
        ("limit=1&offset=1", ["b"]),
    ],
)
def test_events_are_filtered_and_paged(app, query, expected):
    """By SLO, kind and time."""
    assert expected == [one["id"] for one in ask(app, f"/api/v1/events?{query}").json()["events"]]


def test_events_are_unavailable_with_the_store():
    """A ledger that cannot be read is said so, with 503."""
    display = Display(compose())

    def fail(_wanted):
        raise LedgerError("the ledger cannot be read")

    display.past = display.past._replace(events=fail)
    answer = ask(build(display, listen="127.0.0.1:0"), "/api/v1/events")
    assert (503, "the ledger cannot be read") == (answer.status_code, answer.json()["detail"])


@pytest.mark.parametrize(
    ("query", "decision", "allowed"),
    [
        ("slo=checkout", "freeze", False),
        ("slo=search", "go", True),
        ("", "freeze", False),
        ("slo=search&min_remaining=0.5", "freeze", False),
        ("slo=search&min_remaining=0.01", "go", True),
    ],
)
def test_the_gate_says_whether_deploys_may_go_on(app, query, decision, allowed):
    """One decision for all SLOs that were named, by what remains."""
    gate = Gate.model_validate(ask(app, f"/api/v1/gate?{query}").json())
    assert (decision, allowed) == (gate.decision, gate.allowed)


@pytest.mark.parametrize(
    ("changes", "later", "reason"),
    [
        ({}, 600, "the last evaluation is 9m late"),
        (
            {"state": "no_data"},
            60,
            "no data: Prometheus has no series for it; 4.42% of the error budget remains",
        ),
        ({"error_budget_remaining": None}, 60, "nothing is known of its window"),
    ],
)
def test_the_gate_does_not_guess(past, changes, later, reason):
    """Stale or without data nobody can say; `on_unknown` decides then."""
    display = Display(compose(snapshots=[shown(**changes)], slos=[SLO]), wall=lambda: AT + later)
    app = build(display, listen="127.0.0.1:9724")
    answer = ask(app, "/api/v1/gate").json()
    assert ("unknown", False) == (answer["decision"], answer["allowed"])
    assert answer["slos"][0]["reason"].startswith(reason)
    assert ask(app, "/api/v1/gate?on_unknown=open").json()["allowed"]


@pytest.mark.parametrize(
    "query", ["min_remaining=nan", "min_remaining=-1", "on_unknown=maybe", "slo=a&" * 101 + "slo=a"]
)
def test_the_gate_refuses_nonsense(app, query):
    """H15: shares are 0..1, at most 100 SLOs are named."""
    assert 400 == ask(app, f"/api/v1/gate?{query}").status_code
