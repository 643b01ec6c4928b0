"""A ledger of the first version, on each engine: its events are delivered with all their keys, its counts are there."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from slo_budget_tracker import migrations
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.contents import states_text
from slo_budget_tracker.databases import Database
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.payloads import KEYS
from slo_budget_tracker.rows import pack
from slo_budget_tracker.ticks import Tick
from tests.audit_server import NOW, NearAuditStream, delivery_of, drained, expected, happen, story
from tests.real.ledgers import row

OLD = '{"slo_name":"shop","labels":{"team":"payments"},"reason":"number %d","evaluated_at":%d,"late":false}'
BURNING = {"page:3600/300": AlertState("firing", NOW - 600, 0)}


def of_version_one(url, *, events=2):
    """A ledger as the first version made it: some events, an instance with a tick's counts, and an alert that fires."""
    place = Database.of(url)
    options = {}
    if place.in_postgresql:
        options = {"connect_args": {"options": f"-csearch_path={place.namespace}"}}
    else:
        place.path.parent.mkdir(exist_ok=True)
    engine = sa.create_engine(place.url, **options)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        if place.in_postgresql:
            connection.execute(sa.schema.CreateSchema(place.namespace))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        old = sa.MetaData()
        old.reflect(connection)

        def insert(name, *values):
            connection.execute(sa.insert(old.tables[name]).values(list(values)))

        def keyed(name, **pairs):
            key, value = old.tables[name].columns
            insert(name, *({key.name: one, value.name: other} for one, other in pairs.items()))

        keyed("fact", epoch="the-epoch", birth="1")
        told = [
            {"event_id": f"id-{number}", "slo": "shop", "sequence": number, "kind": "slo_recovered"}
            | {"previous_id": f"id-{number - 1}" if number > 1 else None}
            | {"created": NOW + number, "payload": OLD % (number, NOW)}
            for number in range(1, events + 1)
        ]
        insert("event", *told)
        identity = {"id": 1, "slo": "shop", "labels": "{}", "sli_hash": "h", "generation": 1, "born": 1}
        insert("instance", identity)
        insert("state", {"instance": 1, "payload": states_text(BURNING)})
        insert("slo_cursor", {"instance": 1, "instant": NOW})
        counted = row(NOW - 60, NOW, {1: (10, 3)})
        ids = counted.ids.astype("<i8").tobytes()

        insert("roster", {"id": 1, "digest": hashlib.sha256(ids).digest(), "members": zlib.compress(ids)})
        span = {"start_at": NOW - 60, "end_at": NOW, "step": 0, "roster": 1, "payload": pack(counted)}
        insert("bucket", span)
    engine.dispose()


def test_events_of_before_are_delivered(url):
    """S10: the upgrade puts them into the outbox and gives their payloads the keys that were missing."""
    of_version_one(url)
    with Ledger.open(url) as ledger, NearAuditStream() as server:
        happen(ledger, numbers=[3])
        delivery = delivery_of(ledger, server.url).start()
        drained(delivery)
        delivery.stop()
        events = server.get("/events").json()
    assert expected([1, 2, 3]) == [
        (slo, number, why) for (slo, _, why), number in zip(story(events), (1, 2, 3), strict=True)
    ]
    payload = events[0]["payload"]
    assert set(KEYS) == set(payload)
    assert ("id-1", "the-epoch", "slo_recovered", "2023-11-14T22:13:21Z") == (
        payload["id"],
        payload["instance"],
        payload["event_kind"],
        payload["evaluated_at"],
    )
    places = [(one["payload"]["sequence"], one["payload"]["previous_id"]) for one in events]
    assert [(1, None), (2, "id-1"), (3, "id-2")] == places


def test_counts_and_alerts_of_before_are_there(url):
    """S10: what was counted, what fires, and since when; the ledger is sound, and goes on."""
    of_version_one(url)
    with Ledger.open(url) as ledger:
        assert [] == ledger.check()
        assert (BURNING, NOW, Tick(NOW - 60, NOW)) == (
            ledger.states[1],
            ledger.slo_cursor(1),
            ledger.history.span(1),
        )
        found = ledger.history.window(NOW, [60])[1][60]
        assert (10.0, 3.0) == (found.total, found.bad)
        assert 2 == ledger.register("cart", {}, "h", at=NOW)
