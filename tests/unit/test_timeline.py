"""The timeline and the archive over a real ledger file."""

from __future__ import annotations

import pytest

from slo_budget_tracker.archive import Archive
from slo_budget_tracker.entries import Entry, Event
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox, Receipt
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.timeline import Wanted

AT = 1_793_448_000


def event(number: int, slo: str, kind: str) -> Event:
    """An event a minute after the one before."""
    return Event(f"id-{number}", slo, kind, AT + 60 * number, {"reason": f"because {number}"})


@pytest.fixture
def ledger(tmp_path):
    """A ledger with one SLO, two ticks and three events, the first one delivered."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        number = ledger.register("checkout", {}, "hash", at=AT)
        rows = [Row.of(Tick(AT + n, AT + n + 60), {number: Counts(10, n / 60, Outcome.OK)}) for n in (0, 60)]
        events = [
            event(1, "checkout", "slo_burn_started"),
            event(2, "search", "slo_data_lost"),
            event(3, "checkout", "slo_recovered"),
        ]
        ledger.commit(Entry(rows=rows, events=events))
        Outbox(ledger.transaction).confirm({"id-1": Receipt(17, "abcd")}, at=AT + 100)
        yield ledger


def test_events_newest_first_with_what_became_of_them(ledger):
    """The receipt, or that it still waits."""
    found = Archive(ledger).events(Wanted(slo="checkout"))
    assert (2, ["id-3", "id-1"]) == (found.total, [one.event_id for one in found.events])
    assert [("pending", None), ("delivered", (17, "abcd"))] == [(o.delivery, o.receipt) for o in found.events]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), ["id-3", "id-2", "id-1"]),
        (Wanted(kinds=("slo_data_lost", "slo_recovered")), ["id-3", "id-2"]),
        (Wanted(since=AT + 120, until=AT + 120), ["id-2"]),
        (Wanted(limit=1, offset=2), ["id-1"]),
        (Wanted(slo="nobody"), []),
    ],
)
def test_which_events(ledger, wanted, expected):
    """Conditions and pages; the total counts all pages."""
    assert expected == [one.event_id for one in Archive(ledger).events(wanted).events]


def test_courses_of_an_instance(ledger):
    """Windows at many instants are the ledger's own; who is not there has none."""
    courses = Archive(ledger).courses("checkout", {}, [AT + 60, AT + 120], [60, 120])
    assert {60: [(10, 0), (10, 1)], 120: [(10, 0), (20, 1)]} == {
        window: [(one.total, one.bad) for one in counts] for window, counts in courses.items()
    }
    assert (60, 120) == tuple(one.known for one in courses[120])
    assert None is Archive(ledger).courses("checkout", {"handler": "/pay"}, [AT], [60])
