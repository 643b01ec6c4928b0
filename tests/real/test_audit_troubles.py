"""Delivery to an audit stream that does what the real one does not: refuses, redirects, lies, drips, floods."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from functools import partial

import pytest

from slo_budget_tracker import delivery as room
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.outbox import Outbox
from tests.audit_server import (
    FakeAuditStream,
    delivery_of,
    drained,
    expected,
    happen,
    ledger_of,
    story,
    wait_for,
)


def stored_then(status, body=b"", headers=()):
    """Stores the event, and says something else."""

    def trouble(handler, event):
        handler.server.store(event)
        handler.answer(status, body=body, headers=headers)

    return "POST", trouble


def refusal(status, *, body=b"no", headers=(), method="POST"):
    """Stores nothing, and says so."""
    return method, lambda handler, _=None: handler.answer(status, body=body, headers=headers)


@pytest.mark.parametrize(
    "answer",
    [
        stored_then(500, b"Internal Server Error"),
        stored_then(502, b"<html>proxy</html>"),
        stored_then(201, b"created"),
        stored_then(201, b'{"event_id": 7, "hash": "' + b"a" * 64 + b'", "payload": {"id": "foreign"}}'),
        stored_then(201, b'{"event_id": true, "hash": 1, "payload": []}'),
        stored_then(200, b"{}"),
        stored_then(202),
        stored_then(204),
    ],
    ids=["500", "502", "201 of text", "201 of another", "201 of nonsense", "200", "202", "204"],
)
def test_in_doubt_it_is_looked_up(ledger, deliver, answer):
    """A3, A6, A7: stored, but not confirmed as it should be; it is found, adopted, and sent no second time."""
    with FakeAuditStream(answer) as server:
        figures = drained(deliver(server.url))
        assert expected([1, 2, 3]) == story(server.events)
        assert (1, 2, 1) == tuple(figures.deliveries[word] for word in ("adopted", "delivered", "doubt"))


@pytest.mark.parametrize("status", [500, 200], ids=["500", "200"])
def test_what_is_looked_up_and_not_there_is_sent_again(ledger, deliver, status):
    """A3, A7: nothing was stored; the same bytes go out again."""
    with FakeAuditStream(refusal(status)) as server:
        drained(deliver(server.url))
        assert expected([1, 2, 3]) == story(server.events)
        first, second = server.posts()[:2]
        assert first == second


def test_a_timeout_after_the_server_stored_it(ledger, deliver):
    """A4: the answer comes too late; the event is found and not sent again."""

    def late(handler, event):
        handler.server.store(event)
        time.sleep(1)
        handler.answer(201, {})

    with FakeAuditStream(("POST", late)) as server:
        figures = drained(deliver(server.url, timeout=0.4))
        assert expected([1, 2, 3]) == story(server.events)
        assert (1, 1) == (figures.deliveries["timeout"], figures.deliveries["adopted"])


@pytest.mark.parametrize(
    ("beyond", "words"),
    [(0, {"delivered": 3}), (1, {"unreachable": 1, "adopted": 1, "delivered": 2})],
    ids=["64 KiB", "a byte more"],
)
def test_a_receipt_may_be_so_long(ledger, deliver, beyond, words):
    """A22: of a true receipt 64 KiB are read; a longer one is an unreadable answer: looked up, adopted."""

    def padded(handler, event):
        receipt = json.dumps(handler.server.store(event)).encode()
        handler.answer(201, body=receipt.ljust((64 << 10) + beyond))

    with FakeAuditStream(("POST", padded)) as server:
        assert words == drained(deliver(server.url)).deliveries
        assert expected([1, 2, 3]) == story(server.events)


def test_a_flood_of_an_answer_is_not_read(ledger, deliver):
    """A22: of a gigabyte no more is taken than the network holds; what was stored is found and adopted."""
    flooded = []

    def flood(handler, event):
        handler.server.store(event)
        handler.send_response(201)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        handler.close_connection = True
        with contextlib.suppress(OSError):
            for _ in range(1 << 10):
                handler.wfile.write(bytes(1 << 20))
                flooded.append(1 << 20)

    with FakeAuditStream(("POST", flood)) as server:
        assert {"unreachable": 1, "adopted": 1, "delivered": 2} == drained(
            deliver(server.url, timeout=60.0)
        ).deliveries
        assert expected([1, 2, 3]) == story(server.events)
        assert sum(flooded) < 64 << 20


def test_whatever_time_the_server_believes_it_is(ledger, deliver):
    """A13: it stamps what it stores an hour back, ages ahead, or with a word: order, look-ups and receipts need no clock."""
    stamps = iter(["2023-11-14T21:14:20Z", "9999-12-31T23:59:59Z", "yesterday", "1970-01-01T00:00:00Z"])

    def stamped(handler, event, *, status=None):
        handler.date_time_string = lambda *_: "Tue, 14 Nov 2000 22:13:20 GMT"
        receipt = handler.server.store({**event, "timestamp": next(stamps)})
        handler.answer(status or 201, receipt)

    troubles = [("POST", partial(stamped, status=status)) for status in (500, None, None, None)]
    with FakeAuditStream(*troubles) as server:
        delivery = deliver(server.url)
        drained(delivery)
        happen(ledger, numbers=[4])
        delivery.wake()
        wait_for(lambda: len(server.events) == 4)
        figures = drained(delivery)
        delivery._check_at = 0.0
        delivery.wake()
        wait_for(lambda: server.asked[-1][0] == "GET" and server.asked[-1][1].startswith("/events/4"))
        assert expected([1, 2, 3, 4]) == story(server.events)
        assert ({"doubt": 1, "adopted": 1, "delivered": 3}, 0, 0) == (
            figures.deliveries,
            figures.mismatches,
            figures.receipts_lost,
        )
        sent = [body["timestamp"] for method, _, _, body, _ in server.asked if method == "POST"]
        assert [f"2023-11-14T22:{14 + at}:20Z" for at in range(4)] == sent


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused_for_good_is_put_aside(ledger, deliver, status):
    """A2: the event is quarantined, visible, and can be sent again; the SLO's queue goes on with the gap."""
    with FakeAuditStream(refusal(status, body=b'{"detail": [{"loc": ["body", "payload"]}]}')) as server:
        delivery = deliver(server.url)
        figures = drained(delivery)
        assert (1, {"quarantined": 1, "delivered": 2}) == (figures.quarantined, figures.deliveries)
        assert expected([2, 3]) == story(server.events)
        outbox = Outbox(ledger.transaction)
        (aside,) = outbox.parcels(states=("quarantined",))
        assert (1, True) == (aside.sequence, str(status) in aside.detail)
        assert [aside.event_id] == outbox.release(None)
        delivery.wake()
        drained(delivery)
        assert expected([2, 3, 1]) == story(server.events)


@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 405])
def test_held_while_somebody_must_mend_something(ledger, deliver, monkeypatch, status):
    """A8, A10: one try a minute, redirects are not followed, nothing is lost and nothing put aside."""
    answer = refusal(status, headers=[("Location", "http://127.0.0.1:9/events")])
    with FakeAuditStream(answer) as server:
        delivery = deliver(server.url)
        wait_for(lambda: delivery.figures().target_ok is False)
        left = delivery._not_before - time.monotonic()
        assert 50 < left <= 65
        assert (3, 0) == (delivery.figures().pending, delivery.figures().quarantined)
        assert {"hold": 1} == delivery.figures().deliveries
        delivery.stop()
        drained(deliver(server.url))
        assert expected([1, 2, 3]) == story(server.events)


def test_held_when_already_the_questions_are_refused(ledger, deliver):
    """A8: a wrong password shows at the first GET, too."""
    with FakeAuditStream(refusal(401, method="GET")) as server:
        delivery = deliver(server.url)
        wait_for(lambda: delivery.figures().target_ok is False)
        assert 50 < delivery._not_before - time.monotonic() <= 65
        assert [] == server.posts()


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "100", range(98, 111)),
        (503, "100", range(98, 111)),
        (503, "86400", range(590, 606)),
    ],
    ids=["429", "503", "at most ten minutes"],
)
def test_retry_after_is_honoured(deliver, status, header, seconds):
    """A9: the server says when; ten minutes at most, with some jitter."""
    with FakeAuditStream(refusal(status, headers=[("Retry-After", header)])) as server:
        delivery = deliver(server.url)
        wait_for(lambda: delivery.figures().deliveries.get("later"))
        delivery.stop()
        assert int(delivery._not_before - time.monotonic()) in seconds


def test_a_retry_after_that_says_no_time_is_passed_over(ledger, deliver):
    """A9: sent again after our own short wait, once."""
    with FakeAuditStream(refusal(429, headers=[("Retry-After", "soon")])) as server:
        figures = drained(deliver(server.url))
        assert (1, 3) == (figures.deliveries["later"], figures.deliveries["delivered"])
        assert expected([1, 2, 3]) == story(server.events)


def test_a_second_server_that_knows_our_kinds(ledger, deliver):
    """A1: where the kind is known it is sent as itself; asked once, without side effects."""
    with FakeAuditStream(kinds=("other", "slo_burn_started", "slo_recovered")) as server:
        drained(deliver(server.url))
        assert ["slo_burn_started", "slo_recovered", "slo_burn_started"] == [
            one["kind"] for one in server.events
        ]


def test_a_kind_that_is_refused_after_all(ledger, deliver):
    """A1: 422 for the kind alone, and it goes as `other` at once."""
    refused = refusal(422, body=b'{"detail": [{"type": "literal_error", "loc": ["body", "kind"]}]}')
    with FakeAuditStream(refused, kinds=("other", "slo_burn_started", "slo_recovered")) as server:
        assert 0 == drained(deliver(server.url)).quarantined
        assert ["other", "slo_recovered", "other"] == [one["kind"] for one in server.events]


def alter(server, number, **changes):
    """Rewrite an event and its hash."""
    event = server.events[number - 1]
    event["payload"] = {**event["payload"], **changes}
    event["hash"] = "f" * 64


def test_an_altered_event_is_told_and_sent_again(ledger, deliver):
    """A12: the last receipt's hash is another: an error, an event of its own, and the true one once more."""
    with FakeAuditStream() as server:
        delivery = deliver(server.url)
        drained(delivery)
        alter(server, 3, reason="nothing happened")
        delivery._check_at = 0.0
        delivery.wake()
        wait_for(lambda: len(server.events) == 5)
        figures = drained(delivery)
        assert (1, 0) == (figures.mismatches, figures.receipts_lost)
        again, mismatch = sorted(
            (one["payload"] for one in server.events[3:]), key=lambda one: one["slo_name"] or "~"
        )
        assert ("shop", 3, "number 3") == (again["slo_name"], again["sequence"], again["reason"])
        assert ("audit_mismatch_detected", None, 1, again["id"], 3) == (
            mismatch["event_kind"], mismatch["slo_name"], mismatch["sequence"], mismatch["altered_id"],
            mismatch["server_event_id"],
        )  # fmt: skip


def test_a_chain_made_anew_around_an_event_is_told(ledger, deliver):
    """A12: another hash over the same content is a mismatch too; the event itself is there and stays once."""
    with FakeAuditStream() as server:
        delivery = deliver(server.url)
        drained(delivery)
        alter(server, 3)
        delivery._check_at = 0.0
        delivery.wake()
        wait_for(lambda: len(server.events) == 4)
        assert 1 == drained(delivery).mismatches
        assert expected([1, 2, 3]) == story(server.events)[:3]


def test_a_slow_server_keeps_nobody_waiting():
    """A19: commits go on while nothing is answered, four SLOs side by side and no more, each in its order."""
    under_way, most, lock, goes_on = [0], [0], threading.Lock(), threading.Event()

    def slow(handler, event):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        goes_on.wait(60)
        time.sleep(0.01)
        handler.take(event)
        with lock:
            under_way[0] -= 1

    slos = [f"slo-{number}" for number in range(6)]
    with (
        ledger_of(slos=slos, events=5) as ledger,
        FakeAuditStream(*[("POST", slow)] * 30) as server,
    ):
        delivery = delivery_of(ledger, server.url, timeout=120.0).start()
        wait_for(lambda: most[0] == 4, what="four events under way")
        happen(ledger, slos=slos, numbers=[6])
        assert (36, 0) == (delivery.figures().pending, len(server.events))
        goes_on.set()
        drained(delivery)
        delivery.stop()
        assert 4 == most[0] == room.COURIERS
        for slo in slos:
            assert expected(range(1, 7), slo=slo) == [one for one in story(server.events) if one[0] == slo]


def test_a_server_that_closes_after_each_answer(ledger, deliver):
    """A proxy without keep-alive: each event takes a new connection, in order all the same."""
    with FakeAuditStream(closing=True) as server:
        drained(deliver(server.url))
        assert expected([1, 2, 3]) == story(server.events)


def test_figures_while_the_ledger_is_in_trouble(ledger, deliver, monkeypatch):
    """S3: the last known ones, or none."""
    with FakeAuditStream() as server:
        fresh, known = delivery_of(ledger, server.url), deliver(server.url)
        drained(known)

        def broken(_):
            raise LedgerError("no")

        monkeypatch.setattr(Outbox, "waiting", broken)
        assert (None, 0) == (fresh.figures().pending, known.figures().pending)


def test_numbers_that_go_back_are_a_new_life(ledger, deliver):
    """A11: a receipt below the last one shows a restart behind a proxy; what is gone is sent again."""

    def reborn(handler, event):
        handler.server.events.clear()
        handler.take(event)

    with FakeAuditStream() as server:
        delivery = deliver(server.url)
        drained(delivery)
        server.troubles.append(("POST", reborn))
        happen(ledger, numbers=[4])
        delivery.wake()
        wait_for(lambda: len(server.events) == 4)
        assert 4 == drained(delivery).receipts_lost
        assert expected([4, 1, 2, 3]) == story(server.events)


def test_a_password_in_the_address_is_sent_as_a_header(ledger):
    """A18, H14: user and password go into the Authorization header, and nowhere else."""
    with FakeAuditStream() as server:
        delivery = delivery_of(ledger, server.url.replace("://", "://me:S3CR3T@") + "/events").start()
        drained(delivery)
        delivery.stop()
        headers = [headers for _, _, headers, _, _ in server.asked]
        assert {"Basic bWU6UzNDUjNU"} == {one["Authorization"] for one in headers}
        assert server.url == delivery._couriers[0].stream.address


def test_a_ledger_in_trouble_stops_nothing_for_good(ledger, deliver, monkeypatch):
    """S3: while receipts cannot be written delivery waits, then goes on with what it finds."""
    failures = [True] * 3
    transaction = ledger.transaction

    def troubled():
        if failures and threading.current_thread().name.startswith("audit"):
            failures.pop()
            raise OSError("no space")
        return transaction()

    monkeypatch.setattr(type(ledger), "transaction", lambda _: troubled())
    with FakeAuditStream() as server:
        drained(deliver(server.url))
        assert expected([1, 2, 3]) == story(server.events)
    assert [] == failures
