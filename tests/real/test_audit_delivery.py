"""Delivery to the real audit stream: every event once, in order, with receipts, through restarts and outages."""

from __future__ import annotations

import os
import signal
import time
from decimal import Decimal

import httpx
import pytest
import sqlalchemy as sa
import structlog

from slo_budget_tracker import tables
from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.payloads import KEYS
from slo_budget_tracker.specs import BurnRateAlert
from tests.audit_server import (
    NOW,
    NearAuditStream,
    delivery_of,
    drained,
    expected,
    happen,
    ledger_of,
    story,
    told,
    wait_for,
)
from tests.servers import AuditStreamServer
from tests.unit.serving import BEGIN, INTERVAL, Server, after, evaluator, ratio


@pytest.fixture
def ledger(url):
    """A ledger with three events of one SLO."""
    with ledger_of(url) as opened:
        yield opened


def events_of(server):
    """What the server has of us."""
    return server.get("/events", source="slo-budget-tracker", limit=100_000).json()


def post(server, **body):
    """Another producer."""
    answer = httpx.post(f"{server.url}/events", json=body, trust_env=False)
    assert 201 == answer.status_code
    return answer.json()


def test_events_arrive_in_order_as_other_with_every_key(ledger, deliver, near):
    """A1, A13: the server knows none of our kinds, so it is `other` with `event_kind`; the instant is the data's."""
    figures = drained(deliver(near.url))
    events = events_of(near)
    assert expected([1, 2, 3]) == story(events)
    assert [{"other"}, {*KEYS}] == [{one["kind"] for one in events}, set(events[0]["payload"])]
    kinds = ["slo_burn_started", "slo_recovered", "slo_burn_started"]
    assert kinds == [one["payload"]["event_kind"] for one in events]
    assert "2023-11-14T22:14:20Z" == events[0]["timestamp"] == events[0]["payload"]["evaluated_at"]
    assert {ledger.meta["epoch"]} == {one["payload"]["instance"] for one in events}
    assert ({"delivered": 3}, True, 0) == (figures.deliveries, figures.target_ok, figures.receipts_lost)
    receipts = [parcel.receipt for parcel in Outbox(ledger.transaction).parcels()]
    assert [(one["event_id"], one["hash"]) for one in events] == [
        (receipt.server_event_id, receipt.server_hash) for receipt in receipts
    ]


def test_data_instants_that_go_back_change_no_order(ledger, deliver, near):
    """A13: the order is that of the sequence, whatever the timestamps say."""
    ledger.commit(Entry(events=[told("shop", -100)]))
    drained(deliver(near.url))
    assert [1, 2, 3, 4] == [one["payload"]["sequence"] for one in events_of(near)]


def test_what_was_attempted_and_stored_is_adopted(ledger, deliver, near):
    """A4, A14: a receipt that never came is found again; nothing is sent twice."""
    outbox = Outbox(ledger.transaction)
    first = outbox.parcels()[0]
    outbox.attempt(first, at=NOW)
    stream = AuditStream(near.url, timeout=5)
    stream.post(first, kind="other", timestamp="2023-11-14T22:14:20Z", connect=True)
    stream.close()
    figures = drained(deliver(near.url))
    assert {"adopted": 1, "delivered": 2} == figures.deliveries
    assert expected([1, 2, 3]) == story(events_of(near))


def test_a_server_that_is_away_gets_everything_when_it_is_there(deliver):
    """A5: the queue waits on disk, visible; then it is drained in order."""
    server = NearAuditStream()
    delivery = deliver(server.url)
    wait_for(lambda: delivery.figures().target_ok is False)
    figures = delivery.figures()
    assert (3, NOW + 60) == (figures.pending, figures.oldest_at)
    assert figures.deliveries["unreachable"] >= 1
    with server:
        drained(delivery)
        assert expected([1, 2, 3]) == story(events_of(server))


def test_a_week_without_an_audit_stream(url):
    """A5: a week of events and restarts: they wait on disk, it is told how many and since when, and all go in order."""
    server, hours = NearAuditStream(), 24
    for day in range(7):
        with Ledger.open(url) as ledger:
            numbers = [61 * hour for hour in range(day * hours + 1, (day + 1) * hours + 1)]
            happen(ledger, slos=("shop", "cart"), numbers=numbers)
            delivery = delivery_of(ledger, server.url).start()
            figures = wait_for(lambda one=delivery: one.figures().target_ok is False and one.figures())
            delivery.stop()
            assert (2 * (day + 1) * hours, NOW + 61 * 60) == (figures.pending, figures.oldest_at)
    with Ledger.open(url) as ledger, server:
        delivery = delivery_of(ledger, server.url).start()
        assert {"delivered": 2 * 7 * hours} == drained(delivery).deliveries
        delivery.stop()
        events = [one["payload"] for one in events_of(server)]
    for slo in ("shop", "cart"):
        there = [(one["sequence"], one["reason"]) for one in events if one["slo_name"] == slo]
        assert [(hour, f"number {61 * hour}") for hour in range(1, 7 * hours + 1)] == there


@pytest.mark.parametrize(
    ("options", "turns"),
    [
        pytest.param({}, 8, id="each burst"),
        pytest.param({"keep_firing_for": 3_600}, 1, id="kept firing"),
        pytest.param({"for_seconds": 600}, 0, id="too short to start"),
    ],
)
def test_a_burn_rate_that_flaps(url, near, options, turns):
    """D23: eight bursts of three minutes: in the audit stream each start and each end, in turn; fewer as the rule has it."""
    bursts, period, bad = 8, 8, 3
    rule = BurnRateAlert(severity="page", long=180, short=120, burn_rate=Decimal(20), **options)
    slo = ratio("shop").model_copy(update={"alerts": (rule,)})
    server = Server(values={"ratio_shop": lambda at: float((at - BEGIN) // INTERVAL % period < bad)})
    with Ledger.open(url) as ledger:
        evaluator(server, ledger, slo).advance(after(bursts * period - 1))
        delivery = delivery_of(ledger, near.url).start()
        drained(delivery)
        delivery.stop()
    kinds = [one["payload"]["event_kind"] for one in events_of(near)]
    there = [kind for kind in kinds if kind in {"slo_burn_started", "slo_recovered"}]
    assert (["slo_burn_started", "slo_recovered"] * turns)[
        : 1 if "keep_firing_for" in options else None
    ] == there


def test_one_line_when_a_trouble_begins_and_one_when_it_ends(deliver):
    """H14: however often it is tried; the password of the address is in none of them."""
    server = NearAuditStream()
    with structlog.testing.capture_logs() as lines:
        delivery = deliver(server.url.replace("://", "://daemon:S3CR3T-canary@"))
        wait_for(lambda: delivery.figures().deliveries.get("unreachable", 0) >= 3)
        with server:
            drained(delivery)
            wait_for(lambda: delivery.figures().target_ok)
    assert ["audit stream: trouble", "audit stream: trouble is over"] == [line["event"] for line in lines]
    assert "S3CR3T" not in str(lines)
    assert {server.url} == {line["address"] for line in lines}


def test_a_server_that_forgot_gets_it_all_again(ledger, deliver, near):
    """A11: after a restart its ids begin at 1 again; all events come again, in order, with the same ids."""
    delivery = deliver(near.url)
    drained(delivery)
    before = [one["payload"]["id"] for one in events_of(near)]
    near.restart()
    happen(ledger, numbers=[4])
    delivery.wake()
    wait_for(lambda: len(events_of(near)) == 4)
    assert expected([1, 2, 3, 4]) == story(events_of(near))
    assert before == [one["payload"]["id"] for one in events_of(near)][:3]
    assert 3 == drained(delivery).receipts_lost


def test_a_server_that_forgot_is_noticed_without_new_events(ledger, deliver, near):
    """A11: the last receipt is looked at again and again."""
    delivery = deliver(near.url)
    drained(delivery)
    near.restart()
    delivery._check_at = 0.0  # a minute later
    delivery.wake()
    wait_for(lambda: expected([1, 2, 3]) == story(events_of(near)))


def test_a_server_that_forgot_is_noticed_by_the_clock_alone(deliver, near, monkeypatch):
    """A11: nobody wakes the delivery, nothing happens: each time the interval is over the last receipt is looked at."""
    monkeypatch.setattr("slo_budget_tracker.delivery.CHECK_SECONDS", 1.0)
    delivery = deliver(near.url)
    for lost in (3, 6):
        drained(delivery)
        near.restart()
        wait_for(lambda so_many=lost: delivery.figures().receipts_lost == so_many)
    drained(delivery)
    assert expected([1, 2, 3]) == story(events_of(near))


def test_numbers_that_others_took_after_a_restart(ledger, deliver, near):
    """A11, A16: another producer's events under our numbers mean that ours are gone, and nothing was altered."""
    delivery = deliver(near.url)
    drained(delivery)
    near.restart()
    for number in range(5):
        post(near, kind="other", source="slo-budget-tracker", payload={"id": str(number), "mine": 1})
    delivery._check_at = 0.0
    delivery.wake()
    wait_for(lambda: len(events_of(near)) == 8)
    figures = drained(delivery)
    assert (3, 0) == (figures.receipts_lost, figures.mismatches)
    ours = [one for one in events_of(near) if "mine" not in one["payload"]]
    assert expected([1, 2, 3]) == story(ours)


def test_only_the_last_resend_is_sent_again(ledger, deliver, near):
    """A11: what is older keeps its receipt."""
    delivery = deliver(near.url, resend=86_400 - 130)  # the clock of the tests is a day after NOW
    drained(delivery)
    near.restart()
    delivery._check_at = 0.0
    delivery.wake()
    wait_for(lambda: expected([3]) == story(events_of(near)))
    parcels = Outbox(ledger.transaction).parcels()
    assert [(0, "delivered"), (0, "delivered"), (1, "delivered")] == [
        (one.life, one.state) for one in parcels
    ]


def test_others_under_our_name_do_not_matter(ledger, deliver, near):
    """A16: an event of another producer with our source and our id is not taken for ours."""
    first = Outbox(ledger.transaction).parcels()[0]
    Outbox(ledger.transaction).attempt(first, at=NOW)
    post(near, kind="other", source="slo-budget-tracker", payload={"id": first.event_id})
    drained(deliver(near.url))
    ours = [one for one in events_of(near) if one["payload"].get("schema")]
    assert expected([1, 2, 3]) == story(ours)


def test_two_daemons_send_the_same_ids_under_their_own_names(ledger, deliver, near):
    """A15: a consumer keeps the first of equal ids; each daemon's sequence is whole."""
    drained(deliver(near.url))
    with ledger_of() as replica:
        twin = delivery_of(replica, near.url).start()
        drained(twin)
        twin.stop()
    events = [one["payload"] for one in events_of(near)]
    assert [one["id"] for one in events[:3]] == [one["id"] for one in events[3:]]
    assert [1, 2, 3, 1, 2, 3] == [one["sequence"] for one in events]
    assert 2 == len({one["instance"] for one in events})


def test_more_than_a_thousand_events(ledger, deliver, near):
    """A17: what was attempted is found beyond the last 1,000 that the server shows by itself."""
    outbox = Outbox(ledger.transaction)
    first = outbox.parcels()[0]
    outbox.attempt(first, at=NOW)
    stream = AuditStream(near.url, timeout=5)
    stream.post(first, kind="other", timestamp="2023-11-14T22:14:20Z", connect=True)
    stream.close()
    with httpx.Client(base_url=near.url, trust_env=False) as client:
        body = {"kind": "other", "source": "slo-budget-tracker", "payload": {}}
        for _ in range(1_001):
            client.post("/events", json=body)
    assert {"adopted": 1, "delivered": 2} == drained(deliver(near.url)).deliveries


@pytest.mark.parametrize("ending", ["", "/", "/events", "/events/"], ids=["base", "slash", "events", "both"])
def test_the_address_may_be_the_base_or_the_events(ledger, deliver, near, ending):
    """A18: sibling producers are configured both ways."""
    drained(deliver(near.url + ending))
    assert expected([1, 2, 3]) == story(events_of(near))


def test_a_poisoned_row_is_put_aside(url, near):
    """A20: a payload of a newer version, or none at all, hinders nobody else."""
    with ledger_of(url, slos=("shop", "cart")) as ledger, ledger.transaction() as connection:
        for sequence, text in ((1, '{"schema": "slo-budget-tracker/2"}'), (2, '{"schema"')):
            event = tables.events.c
            chosen = sa.update(tables.events).where(event.slo == "shop", event.sequence == sequence)
            connection.execute(chosen.values(payload=text))
    with Ledger.open(url) as ledger:
        delivery = delivery_of(ledger, near.url).start()
        assert 2 == drained(delivery).quarantined
        delivery.stop()
    found = story(events_of(near))
    assert sorted(expected([3]) + expected([1, 2, 3], slo="cart")) == sorted(found)


@pytest.mark.parametrize(("backlog", "sent"), [("all", [1, 2, 3, 4]), ("none", [4])])
def test_a_url_that_comes_later(ledger, deliver, near, backlog, sent):
    """A21: what arose without a URL is sent from the beginning, or left out, as `audit.backlog` says."""
    deliver(None).stop()
    delivery = deliver(near.url, backlog=backlog)
    wait_for(lambda: delivery.figures().pending == 0)
    happen(ledger, numbers=[4])
    delivery.wake()
    wait_for(lambda: len(events_of(near)) == len(sent))
    assert expected(sent) == story(events_of(near))


def test_without_a_url_nothing_is_pending(ledger, deliver):
    """A21: events stay in the ledger; nobody is alarmed by a queue that nobody drains."""
    figures = deliver(None).figures()
    assert (None, None, None) == (figures.pending, figures.quarantined, figures.target_ok)
    assert 3 == len(ledger.events())


def test_another_audit_stream_gets_the_last_weeks(ledger, deliver, near, tmp_path):
    """A changed address is no loss of receipts: the new server gets all of `audit.resend`."""
    first = deliver(near.url)
    drained(first)
    first.stop()
    with AuditStreamServer(tmp_path / "other") as other:
        second = deliver(other.url)
        wait_for(lambda: expected([1, 2, 3]) == story(events_of(other)))
        assert 0 == drained(second).receipts_lost


def test_what_a_restored_copy_tells_again_is_adopted(ledger, deliver, near):
    """S6: after a change of epoch the same transitions have the same ids; the server's are taken, none comes twice."""
    first = deliver(near.url)
    drained(first)
    first.stop()
    old = ledger.meta["epoch"]
    with Ledger.open("sqlite://") as copy:
        copy.commit(Entry(meta={"epoch": "a-new-one", "epoch_before": old}))
        happen(copy, numbers=range(1, 5))
        second = delivery_of(copy, near.url).start()
        assert {"adopted": 3, "delivered": 1} == drained(second).deliveries
        second.stop()
    assert expected([1, 2, 3, 4]) == story(events_of(near))


def test_stop_does_not_wait_for_a_server_that_hangs(ledger, deliver, audit_stream):
    """T6: what was attempted stays marked, the next run looks it up."""
    os.kill(audit_stream.pid, signal.SIGSTOP)
    try:
        delivery = deliver(audit_stream.url, timeout=600.0)
        time.sleep(0.2)
        delivery.stop(within=0.5)
        ledger.close()  # nobody writes to it any more
    finally:
        os.kill(audit_stream.pid, signal.SIGCONT)
    assert delivery._closed
