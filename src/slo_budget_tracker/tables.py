"""The ledger's tables, in SQL that SQLite and PostgreSQL both have; migrations/ makes the same ones."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, MetaData, Table
from sqlalchemy import Text as PlainText
from sqlalchemy import UniqueConstraint as Unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

metadata = MetaData()
# Texts are ordered by their bytes everywhere, so no index depends on a server's language or library.
Text = PlainText().with_variant(PlainText(collation="C"), "postgresql")

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

deliveries = Table(
    "delivery",
    metadata,
    Column("event_id", Text, ForeignKey("event.event_id", ondelete="CASCADE"), primary_key=True),
    Column("slo", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("attempted_at", BigInteger),
    Column("settled_at", BigInteger),
    Column("server_event_id", BigInteger),
    Column("server_hash", Text),
    Column("life", Integer),
    Column("disowned", BigInteger),
    Column("detail", Text),
    Index("delivery_queue", "state", "slo", "sequence"),
    Index("delivery_receipts", "life", "server_event_id"),
)

notes = Table(
    "annotation",
    metadata,
    Column("mark_id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("start_at", BigInteger, nullable=False),
    Column("end_at", BigInteger),
    Column("text", Text, nullable=False),
    Column("link", Text),
    Column("author", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("slos", Text, nullable=False),
    Index("annotation_time", "start_at"),
)


def upsert(connection: Connection, table: Table, values: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace those with the same primary key."""
    if not values:
        return
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")  # one of the two, as loaded
    statement = dialect.insert(table)
    key = list(table.primary_key.columns)
    rest = {c.name: statement.excluded[c.name] for c in table.columns if c not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=rest), values)
