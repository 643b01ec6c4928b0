"""The ledger's tables, in SQL that SQLite and PostgreSQL both have; migrations/ makes the same ones."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy import UniqueConstraint as Unique

metadata = MetaData()

facts = Table("fact", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

instances = Table(
    "instance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slo", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("sli_hash", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("born", BigInteger, nullable=False),
    Column("retired", BigInteger),
    Unique("slo", "labels", "sli_hash", name="instance_identity"),
)

rosters = Table(
    "roster",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("members", LargeBinary, nullable=False),
)

buckets = Table(
    "bucket",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger, nullable=False),
    Column("step", Integer, nullable=False),
    Column("roster", Integer, ForeignKey("roster.id"), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Index("bucket_span", "end_at", "start_at"),
    Index("bucket_step", "step", "end_at"),
)

states = Table(
    "state",
    metadata,
    Column("instance", Integer, ForeignKey("instance.id"), primary_key=True),
    Column("payload", Text, nullable=False),
)

memories = Table(
    "memory",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("payload", LargeBinary, nullable=False),
)

cursors = Table(
    "cursor", metadata, Column("feed", Text, primary_key=True), Column("instant", BigInteger, nullable=False)
)

slo_cursors = Table(
    "slo_cursor",
    metadata,
    Column("instance", Integer, ForeignKey("instance.id"), primary_key=True),
    Column("instant", BigInteger, nullable=False),
)

events = Table(
    "event",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("slo", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("previous_id", Text),
    Column("kind", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("payload", Text, nullable=False),
    Unique("slo", "sequence", name="event_order"),
)
