"""Delivery: what became of each event at the audit stream; events of before wait for theirs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_KEYS = (
    *("schema", "event_kind", "id", "sequence", "previous_id", "instance"),
    *("slo_name", "labels", "severity", "window_seconds", "short_window_seconds", "burn_rate", "threshold"),
    *("success_ratio", "sample_count", "error_budget_remaining", "reason", "evaluated_at", "late"),
    *("definition_hash", "query"),
)


def upgrade() -> None:
    """Make the table, put every event into it, and give old payloads the keys that were missing."""
    op.create_table(
        "delivery",
        sa.Column("event_id", Text, sa.ForeignKey("event.event_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("slo", Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("state", Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempted_at", sa.BigInteger),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("server_event_id", sa.BigInteger),
        sa.Column("server_hash", Text),
        sa.Column("life", sa.Integer),
        sa.Column("disowned", sa.BigInteger),
        sa.Column("detail", Text),
    )
    op.create_index("delivery_queue", "delivery", ["state", "slo", "sequence"])
    op.create_index("delivery_receipts", "delivery", ["life", "server_event_id"])
    connection = op.get_bind()
    connection.execute(
        sa.text(
            "INSERT INTO delivery (event_id, slo, sequence, state, attempts) "
            "SELECT event_id, slo, sequence, 'pending', 0 FROM event"
        )
    )
    epoch = connection.execute(sa.text("SELECT value FROM fact WHERE key = 'epoch'")).scalar()
    update = sa.text("UPDATE event SET payload = :payload WHERE event_id = :event_id")
    columns = "event_id, slo, sequence, previous_id, kind, created, payload"
    events = connection.execute(sa.text(f"SELECT {columns} FROM event")).all()  # noqa: S608 - a constant
    for event_id, slo, sequence, previous, kind, created, text in events:
        payload = {**dict.fromkeys(_KEYS), "slo_name": slo, **json.loads(text)}
        at = datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        payload |= {"schema": "slo-budget-tracker/1", "event_kind": kind, "id": event_id}
        payload |= {"instance": epoch, "evaluated_at": at, "sequence": sequence, "previous_id": previous}
        connection.execute(
            update, {"event_id": event_id, "payload": json.dumps(payload, separators=(",", ":"))}
        )
