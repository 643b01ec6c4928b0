"""What answers of an audit stream mean: pure decisions, as tables."""

from __future__ import annotations

import json

import pytest

from slo_budget_tracker.outbox import Parcel, Receipt
from slo_budget_tracker.receipts import (
    Answered,
    Comparison,
    adoptable,
    compare,
    judge,
    readable,
    receipts,
    retry_after,
)

NOW = 1_700_000_000
HASH, OTHER = "a" * 64, "b" * 64
PAYLOAD = {"schema": "slo-budget-tracker/1", "id": "e1", "instance": "here", "reason": "why"}
PARCEL = Parcel(
    "e1", "shop", 1, "slo_recovered", NOW, json.dumps(PAYLOAD), "delivered", 1, NOW, NOW, Receipt(7, HASH), 0, None, None
)  # fmt: skip


def shown(number=7, digest=HASH, **payload):
    """An event as the server shows it."""
    return {"event_id": number, "hash": digest, "payload": {**PAYLOAD, **payload}}


@pytest.mark.parametrize(
    ("status", "document", "word"),
    [
        (201, shown(), "delivered"),
        (201, shown(id="e2"), "doubt"),
        (201, shown(number=0), "doubt"),
        (201, shown(number=True), "doubt"),
        (201, shown(digest="short"), "doubt"),
        (201, [], "doubt"),
        (200, shown(), "doubt"),
        (202, {}, "doubt"),
        (204, None, "doubt"),
        (500, {}, "doubt"),
        (502, {}, "doubt"),
        (599, {}, "doubt"),
        (301, {}, "hold"),
        (401, {}, "hold"),
        (403, {}, "hold"),
        (404, {}, "hold"),
        (405, {}, "hold"),
        (407, {}, "hold"),
        (408, {}, "later"),
        (429, {}, "later"),
        (503, {}, "later"),
        (400, {}, "refused"),
        (413, {}, "refused"),
        (422, {"detail": [{"loc": ["body", "payload"]}]}, "refused"),
        (422, {"detail": [{"loc": ["body", "kind"]}, {"loc": ["body", "payload"]}]}, "refused"),
        (422, {"detail": []}, "refused"),
        (422, {"detail": [{"loc": ["body", "kind"]}]}, "unknown_kind"),
    ],
)
def test_what_an_answer_means(status, document, word):
    """A1, A2, A3, A6, A7, A8, A9, A10: one word for each answer."""
    body = json.dumps(document).encode()
    answered = judge(status, {}, body, event_id="e1", now=NOW)
    assert (word, Receipt(7, HASH) if word == "delivered" else None) == (answered.word, answered.receipt)
    assert (60.0 if word == "hold" else None) == answered.wait


def test_an_answer_that_is_no_text_is_quoted_printable():
    """What a proxy says is shown in part, in one line."""
    answered = judge(500, {}, b"\xff<html>\n" + b"x" * 500, event_id="e1", now=NOW)
    assert Answered("doubt", answered.reason) == answered
    assert (True, True) == (answered.reason.isprintable(), len(answered.reason) < 300)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("86400", 600.0),
        ("Tue, 14 Nov 2023 22:15:20 GMT", 120.0),
        ("Tue, 14 Nov 2023 22:13:20 GMT", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("soon", None),
        ("9" * 40, None),
    ],
)
def test_retry_after(header, seconds):
    """A9: seconds or a date, at most ten minutes, nonsense is none."""
    assert seconds == retry_after(header, now=NOW)


@pytest.mark.parametrize(
    ("document", "comparison"),
    [
        (shown(), Comparison("same")),
        (None, Comparison("forgotten")),
        (shown(id="e2"), Comparison("forgotten")),
        (shown(instance="replica"), Comparison("forgotten")),
        ({"event_id": 7, "hash": HASH, "payload": None}, Comparison("forgotten")),
        (shown(digest=OTHER), Comparison("altered", content=False)),
        (shown(digest=OTHER, reason="another"), Comparison("altered", content=True)),
        (shown(number=8), Comparison("altered", content=False)),
    ],
    ids=["same", "gone", "other", "replica's", "nonsense", "chain", "content", "number"],
)
def test_what_the_server_shows_under_a_receipt(document, comparison):
    """A11, A12: forgotten is not altered."""
    assert comparison == compare(PARCEL, document)


def test_our_events_in_a_list():
    """A16: only with our schema, of our ledger; A14: several of one id in their order."""
    mine = [shown(1), shown(2, OTHER), shown(9, id="e2", instance="before")]
    others = [
        shown(3, instance="replica"),
        shown(4, schema="x/1"),
        {"event_id": 5},
        "text",
        {**shown(6), "payload": 1},
    ]
    found = receipts([*others, *mine], {"here", "before"})
    assert {"e1": [Receipt(1, HASH), Receipt(2, OTHER)], "e2": [Receipt(9, HASH)]} == found
    assert Receipt(1, HASH) == adoptable(PARCEL, found)
    assert adoptable(PARCEL, {}) is None


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        (PARCEL.text, True),
        ("{", False),
        ("[]", False),
        ('{"schema": "slo-budget-tracker/2"}', False),
        ("\ud800", False),
    ],
)
def test_stored_payloads_of_this_version(text, ours):
    """A20: what is not ours is not sent."""
    assert ours == readable(text)
