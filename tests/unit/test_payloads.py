"""Payloads: every key of the contract, for every kind, in what any receiver takes (A3)."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from importlib.resources import files

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_budget_tracker.entries import DAEMON, Event
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.payloads import (
    FIXED,
    KEYS,
    MOST_BYTES,
    MOST_DEPTH,
    SCHEMA,
    about,
    complete,
    query_text,
)
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, RequestsSli
from slo_budget_tracker.verdict import Transition

CONTRACT = {
    *("event_kind", "id", "sequence", "previous_id", "instance", "evaluated_at", "labels", "severity"),
    *("short_window_seconds", "error_budget_remaining", "reason", "definition_hash", "query", "late"),
    *("slo_name", "window_seconds", "burn_rate", "threshold", "success_ratio", "sample_count"),
}
TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
LONG = TEXT.map(lambda text: text * 500)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | LONG
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
AT = 1_700_000_000


def depth(value):
    """How many levels of lists and mappings there are."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def numbers(value):
    """All numbers in it."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers(one)
    elif isinstance(value, int | float):
        yield value


@settings(max_examples=settings().max_examples // 4)
@given(st.dictionaries(TEXT | st.sampled_from([key for key in KEYS if key not in FIXED]), VALUES))
def test_whatever_goes_in_a_sound_payload_comes_out(payload):
    """A3: UTF-8, finite numbers, four levels, 8 KiB with its place in the ledger, every key."""
    made = complete({"slo_name": "shop", "id": "0" * 32, "event_kind": "slo_recovered", **payload})
    place = {"sequence": 2**53, "previous_id": "f" * 32, "instance": "e" * 32}
    text = orjson.dumps({**made, **place})
    assert len(text) <= MOST_BYTES
    assert CONTRACT | {"schema"} == set(KEYS) <= set(made)
    assert depth(orjson.loads(text)) <= MOST_DEPTH
    assert all(math.isfinite(number) for number in numbers(made))
    assert (SCHEMA, "0" * 32) == (made["schema"], made["id"])


@settings(max_examples=settings().max_examples // 8)
@given(st.dictionaries(TEXT, VALUES))
def test_cleaning_what_is_clean_changes_nothing(payload):
    """What was made once is the same made again."""
    once = complete(payload)
    assert once == complete(once)


def test_text_that_is_no_text_becomes_a_replacement():
    """A3: a lone surrogate is U+FFFD, in keys as in values; what is too long ends in an ellipsis."""
    made = complete({"reason": "a\ud800b", "labels": {"\udfff": "x"}, "query": "q" * 20_000})
    assert ("a\ufffdb", {"\ufffd": "x"}) == (made["reason"], made["labels"])
    assert ("q…", True) == (made["query"][-2:], len(made["query"]) > 1_000)


def test_what_is_still_too_long_loses_its_largest_parts():
    """Many short texts: halves of the largest mappings and lists go, the names that others look for stay."""
    made = complete(
        {"labels": {str(n): "x" * 200 for n in range(300)}, "list": ["y" * 15] * 900, "id": "i" * 32}
    )
    assert 0 < len(made["labels"]) < 300
    assert ("i" * 32, True) == (made["id"], len(orjson.dumps(made)) <= MOST_BYTES)
    many = complete({f"key-{n}": "z" * 15 for n in range(600)} | {"slo_name": "shop"})
    assert (set(KEYS), "shop") == (set(many), many["slo_name"])


def test_values_that_json_does_not_have():
    """A number beyond what every receiver can hold is a float, or nothing; other things are their text."""
    made = complete(
        {"burn_rate": 2**60, "threshold": 10**400, "success_ratio": math.nan, "x": Decimal("1.5")}
    )
    assert (2.0**60, None, None, "1.5") == (
        made["burn_rate"], made["threshold"], made["success_ratio"], made["x"],
    )  # fmt: skip


def shop(**options):
    """An SLO with labels and a query."""
    sli = RequestsSli(
        total=(parse_selector("a"), parse_selector("b")), bad=(parse_selector('a{code="500"}'),)
    )
    return SLO(name="shop", target=Decimal("0.99"), sli=sli, labels=(("team", "payments"),), **options)


def test_what_an_event_says_about_its_slo():
    """Name, labels with those of the group, definition and query."""
    said = about(shop(), group={"handler": "/pay"})
    assert ("shop", {"team": "payments", "handler": "/pay"}) == (said["slo_name"], said["labels"])
    assert 'total: a + b; bad: a{code="500"}' == said["query"] == query_text(shop())
    assert said["definition_hash"] != about(shop(window=86_400))["definition_hash"]


def test_the_id_follows_from_slo_group_rule_kind_and_tick():
    """A15: replicas agree; labels, reasons and being late change nothing, everything else does."""

    def event(*, kind="slo_recovered", rule="r", at=AT, reason="", late=False, group=(), **payload):
        payload = {"slo_name": "shop", **payload}
        return Event.of(Transition(kind, rule, at, reason, payload, late, group=dict(group))).event_id

    same = {event(), event(reason="other"), event(late=True), event(labels={"a": "b"}), event(burn_rate=3)}
    different = {
        event(kind="slo_burn_started"), event(rule="s"), event(at=AT + 1), event(group={"a": "b"}),
        event(slo_name="other"),
    }  # fmt: skip
    assert (1, 5, set()) == (len(same), len(different), same & different)


def test_events_about_the_daemon_have_a_sequence_of_their_own():
    """`store_reset` and `audit_mismatch_detected` belong to no SLO: slo_name is null."""
    with Ledger.open("sqlite://") as ledger:
        events = [Event.of_daemon("store_reset", str(n), at=AT, reason="why", found=n) for n in range(2)]
        first, second = ledger.commit(Entry(events=events))
        assert (DAEMON, None, 1, 2) == (first.slo, first.payload["slo_name"], first.sequence, second.sequence)
        assert (ledger.meta["epoch"], 1) == (second.payload["instance"], second.payload["found"])
        assert first.event_id == second.payload["previous_id"]


def test_the_manual_has_every_key():
    """Each key of the payload has its row."""
    manual = (files("slo_budget_tracker") / "docs" / "audit.md").read_text()
    section = manual.split("## What an event carries")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(KEYS) == {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
