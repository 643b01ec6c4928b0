"""A ledger of the version before, whose events nobody ever delivered: they are, with all their keys."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config

from slo_budget_tracker import migrations
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.payloads import KEYS
from tests.audit_server import NOW, NearAuditStream, delivery_of, drained, expected, happen, story

OLD = '{"slo_name":"shop","labels":{"team":"payments"},"reason":"number %d","evaluated_at":%d,"late":false}'


def of_version_one(path):
    """A file as the first version made it, with two events."""
    import sqlalchemy as sa  # noqa: PLC0415

    engine = sa.create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO fact VALUES ('epoch', 'the-epoch'), ('birth', '1')")
        for number, previous in ((1, None), (2, "id-1")):
            row = (
                f"id-{number}",
                "shop",
                number,
                previous,
                "slo_recovered",
                NOW + number,
                OLD % (number, NOW),
            )
            connection.execute("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()


def test_events_of_before_are_delivered(tmp_path):
    """S10: the upgrade puts them into the outbox and gives their payloads the keys that were missing."""
    of_version_one(tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, NearAuditStream() as server:
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
    assert "id-2" == events[2]["payload"]["previous_id"]
