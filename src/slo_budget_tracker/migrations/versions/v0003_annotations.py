"""Annotations: marks that people and pipelines set in time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "annotation",
        sa.Column("mark_id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("start_at", sa.BigInteger, nullable=False),
        sa.Column("end_at", sa.BigInteger),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("link", sa.Text),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("service", sa.Text, nullable=False),
        sa.Column("slos", sa.Text, nullable=False),
    )
    op.create_index("annotation_time", "annotation", ["start_at"])
