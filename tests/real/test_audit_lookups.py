"""Look-ups: what is asked of an audit stream that wants its rest, or whose list is too long to be read."""

from __future__ import annotations

import json
import time

import pytest

from slo_budget_tracker import auditstream, searches
from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.errors import AuditError
from slo_budget_tracker.outbox import Outbox
from tests.audit_server import (
    NOW,
    FakeAuditStream,
    drained,
    expected,
    happen,
    story,
    wait_for,
)


def rest(method, *, status=503, seconds="100"):
    """The server asks to come again later."""
    answer = {"body": b"busy", "headers": [("Retry-After", seconds)]}
    return method, lambda handler, _=None: handler.answer(status, **answer)


def stored(server, parcel, **changes):
    """The server has an event whose answer never came."""
    event = {"kind": "other", "source": "slo-budget-tracker", "timestamp": "2023-11-14T22:14:20Z"}
    return server.store({**event, "payload": {**json.loads(parcel.text), **changes}})


def attempted(ledger, server, *, number=1):
    """One event of the ledger is in doubt, and the server has it."""
    outbox = Outbox(ledger.transaction)
    parcel = outbox.parcels()[number - 1]
    outbox.attempt(parcel, at=NOW)
    stored(server, parcel)


def left(delivery):
    """Seconds that delivery still rests."""
    return delivery._not_before - time.monotonic()


@pytest.mark.parametrize("status", [429, 503])
def test_a_look_up_that_is_asked_to_rest_rests(ledger, deliver, status):
    """A9: Retry-After counts for questions too; nothing is asked or sent before it is over, and it is counted."""
    with FakeAuditStream() as server:
        attempted(ledger, server)
        kind, trouble = rest("GET", status=status)
        server.troubles += [("GET", lambda handler: handler.answer(200, [])), (kind, trouble)]
        delivery = deliver(server.url)
        wait_for(lambda: delivery.figures().deliveries.get("later"))
        wait_for(lambda: left(delivery) > 90)
        asked = len(server.asked)
        delivery.wake()
        time.sleep(0.3)
        assert (asked, []) == (len(server.asked), server.posts())
        assert {"later": 1} == delivery.figures().deliveries


def test_a_rest_outlasts_what_another_courier_finds_out(deliver, ledger):
    """A9: one courier is asked to rest while another learns that the server has forgotten: the rest is kept."""
    happen(ledger, slos=["cart"], numbers=[1])

    def reborn(handler, event):
        time.sleep(0.3)
        handler.server.events.clear()
        handler.take(event)

    with FakeAuditStream() as server:
        first = deliver(server.url)
        drained(first)
        first.stop()
        happen(ledger, slos=["shop", "cart"], numbers=[4])
        server.troubles += [rest("POST"), ("POST", reborn)]
        second = deliver(server.url)
        wait_for(lambda: second.figures().receipts_lost)
        wait_for(lambda: left(second) > 90)


def test_a_list_of_strangers_too_large_to_read_is_made_shorter(ledger, deliver, monkeypatch):
    """A17, A22: a thousand events are more than anybody reads: fewer are asked for, then one after the other."""
    monkeypatch.setattr(auditstream, "MOST_LIST_BYTES", 40_000)
    with FakeAuditStream() as server:
        attempted(ledger, server)
        for number in range(20):
            stranger = {"text": "x" * 6_000, "number": number}
            server.store({"kind": "other", "source": "slo-budget-tracker", "payload": stranger})
        assert {"adopted": 1, "delivered": 2} == drained(deliver(server.url)).deliveries
        limits = [path for method, path, *_ in server.asked if method == "GET" and "source" in path]
        assert expected([1, 2, 3]) == story([one for one in server.events if "number" not in one["payload"]])
        assert len(limits) < 20


def test_a_newest_event_that_nobody_can_read_hinders_no_look_up(ledger, deliver, monkeypatch):
    """A17, A22: a stranger's event larger than any answer may be is passed over."""
    monkeypatch.setattr(auditstream, "MOST_LIST_BYTES", 100_000)
    with FakeAuditStream() as server:
        attempted(ledger, server)
        stranger = {"text": "x" * 200_000}
        server.store({"kind": "other", "source": "slo-budget-tracker", "payload": stranger})
        assert {"adopted": 1, "delivered": 2} == drained(deliver(server.url)).deliveries


def test_a_long_search_goes_on_where_it_was(ledger, deliver, monkeypatch):
    """A9, A17: a search one by one takes its turns; a rest in between loses nothing of it."""
    event, rests = AuditStream.event, []

    def busy(stream, number):
        if number == 20 and not rests:
            rests.append(number)
            raise AuditError("busy", reason="later", wait=0.1)
        return event(stream, number)

    monkeypatch.setattr(AuditStream, "event", busy)
    monkeypatch.setattr(auditstream, "MOST_LIST_BYTES", 3_000)
    monkeypatch.setattr(searches, "SINGLES", 7)
    with FakeAuditStream() as server:
        attempted(ledger, server)
        for number in range(40):
            server.store(
                {
                    "kind": "other",
                    "source": "slo-budget-tracker",
                    "payload": {"text": "x" * 2_000, "number": number},
                }
            )
        assert {"adopted": 1, "delivered": 2, "later": 1} == drained(deliver(server.url)).deliveries
        singles = [
            path for method, path, *_ in server.asked if method == "GET" and path.startswith("/events/")
        ]
        assert (1, len(singles)) == (len(rests), len(set(singles)))


def test_a_look_up_ends_at_what_was_confirmed_long_before(ledger, deliver):
    """A17: what was confirmed an hour before the attempt lies before it; nobody reads the years behind it."""
    with FakeAuditStream() as server:
        for number in range(5_000):
            server.store({"kind": "other", "source": "slo-budget-tracker", "payload": {"number": number}})
        first = deliver(server.url)
        drained(first)
        first.stop()
        happen(ledger, numbers=[4])
        parcel = Outbox(ledger.transaction).parcels()[3]
        Outbox(ledger.transaction).attempt(parcel, at=NOW + 2 * 86_400)
        second = deliver(server.url)
        drained(second)
        limits = [path.rpartition("limit=")[2] for method, path, *_ in server.asked if "source" in path]
        assert {"1000"} == set(limits)
        assert {"delivered": 1} == second.figures().deliveries


def test_more_events_than_the_server_lists_at_all(ledger, deliver, monkeypatch):
    """A17: beyond the longest list that the server gives, events are looked at one by one."""
    monkeypatch.setattr(searches, "FIRST_LIMIT", 3)
    monkeypatch.setattr(searches, "MOST_EVENTS", 9)
    with FakeAuditStream() as server:
        attempted(ledger, server)
        for number in range(30):
            server.store({"kind": "other", "source": "slo-budget-tracker", "payload": {"number": number}})
        assert {"adopted": 1, "delivered": 2} == drained(deliver(server.url)).deliveries
        limits = [path.rpartition("limit=")[2] for method, path, *_ in server.asked if "source" in path]
        assert ["3", "9"] == limits
