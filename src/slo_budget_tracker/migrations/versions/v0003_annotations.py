"""Annotations: marks that people and pipelines set in time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "annotation",
        sa.Column("mark_id", Text, primary_key=True),
        sa.Column("kind", Text, nullable=False),
        sa.Column("start_at", sa.BigInteger, nullable=False),
        sa.Column("end_at", sa.BigInteger),
        sa.Column("text", Text, nullable=False),
        sa.Column("link", Text),
        sa.Column("author", Text, nullable=False),
        sa.Column("service", Text, nullable=False),
        sa.Column("slos", Text, nullable=False),
    )
    op.create_index("annotation_time", "annotation", ["start_at"])
