"""The first schema: instances, counts in buckets, states, memories, cursors and events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make all tables; a file without them is an empty one."""
    op.create_table(
        "fact", sa.Column("key", Text, primary_key=True), sa.Column("value", Text, nullable=False)
    )
    op.create_table(
        "instance",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("slo", Text, nullable=False),
        sa.Column("labels", Text, nullable=False),
        sa.Column("sli_hash", Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("born", sa.BigInteger, nullable=False),
        sa.Column("retired", sa.BigInteger),
        sa.UniqueConstraint("slo", "labels", "sli_hash", name="instance_identity"),
    )
    op.create_table(
        "roster",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("members", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "bucket",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("start_at", sa.BigInteger, nullable=False),
        sa.Column("end_at", sa.BigInteger, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("roster", sa.Integer, sa.ForeignKey("roster.id"), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("bucket_span", "bucket", ["end_at", "start_at"])
    op.create_index("bucket_step", "bucket", ["step", "end_at"])
    op.create_table(
        "state",
        sa.Column("instance", sa.Integer, sa.ForeignKey("instance.id"), primary_key=True),
        sa.Column("payload", Text, nullable=False),
    )
    op.create_table(
        "memory",
        sa.Column("feed", Text, primary_key=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "cursor",
        sa.Column("feed", Text, primary_key=True),
        sa.Column("instant", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "slo_cursor",
        sa.Column("instance", sa.Integer, sa.ForeignKey("instance.id"), primary_key=True),
        sa.Column("instant", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("event_id", Text, primary_key=True),
        sa.Column("slo", Text, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("previous_id", Text),
        sa.Column("kind", Text, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("payload", Text, nullable=False),
        sa.UniqueConstraint("slo", "sequence", name="event_order"),
    )
