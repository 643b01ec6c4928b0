"""Leases: who may write to a ledger in PostgreSQL, as one row that every transaction of a writer looks at.

Each time another daemon takes the lease its `term` goes up. A writer's transaction locks its term's row FOR
KEY SHARE: it commits before another term begins, or it is refused. Keeping the lease alive counts `beat` up,
which no such lock is in the way of. Nothing compares clocks: whoever waits looks whether `beat` still moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from slo_budget_tracker.errors import LedgerDeposed

if TYPE_CHECKING:
    from sqlalchemy import Connection

APPLICATION = "slo-budget-tracker"  # of every session; of writers followed by their token
NOBODY = ""
_TABLE = """
CREATE TABLE IF NOT EXISTS lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    term bigint NOT NULL UNIQUE,
    beat bigint NOT NULL,
    token text NOT NULL,
    holder text NOT NULL,
    place text NOT NULL
)
"""


class Lease(NamedTuple):
    """The row: which term it is, whether it still beats, whose it is (`token`), who and where that is."""

    term: int
    beat: int
    token: str
    holder: str
    place: str


def make(connection: Connection) -> None:
    """The table with its row, where it is missing."""
    connection.execute(sa.text(_TABLE))
    connection.execute(
        sa.text(
            "INSERT INTO lease (term, beat, token, holder, place) VALUES (0, 0, '', '', '') "
            "ON CONFLICT DO NOTHING"
        )
    )


def read(connection: Connection) -> Lease:
    """The row as it is now."""
    return Lease(*connection.execute(sa.text("SELECT term, beat, token, holder, place FROM lease")).one())


def take(connection: Connection, seen: Lease, *, token: str, holder: str, place: str) -> int | None:
    """Begin the next term, unless the lease is not what was seen any more; the new number."""
    update = sa.text(
        "UPDATE lease SET term = term + 1, beat = beat + 1, token = :token, holder = :holder, place = :place "
        "WHERE term = :term AND beat = :beat RETURNING term"
    )
    values = {"term": seen.term, "beat": seen.beat, "token": token, "holder": holder, "place": place}
    term = connection.execute(update, values).scalar()
    return None if term is None else int(term)


def renew(connection: Connection, term: int) -> bool:
    """Count the beat up; False where the term is over."""
    update = sa.text("UPDATE lease SET beat = beat + 1 WHERE term = :term")
    return connection.execute(update, {"term": term}).rowcount == 1


def release(connection: Connection, term: int) -> None:
    """Let the next one begin at once."""
    update = sa.text(
        "UPDATE lease SET beat = beat + 1, token = '', holder = '', place = '' WHERE term = :term"
    )
    connection.execute(update, {"term": term})


def fence(connection: Connection, term: int) -> None:
    """Keep the term from ending before this transaction does.

    Raises:
        LedgerDeposed: it is over.
    """
    query = sa.text("SELECT term FROM lease WHERE term = :term FOR KEY SHARE")
    if connection.execute(query, {"term": term}).scalar() is None:
        raise LedgerDeposed(f"the ledger is led by {read(connection).holder or 'another daemon'} now")


def lock(connection: Connection, namespace: str) -> bool:
    """Take the lock of a namespace's writer, unless another session has it."""
    query = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
    return bool(connection.execute(query, {"key": _key(namespace)}).scalar_one())


def unlock(connection: Connection, namespace: str) -> None:
    """Let it go again."""
    query = sa.text("SELECT pg_advisory_unlock(hashtextextended(:key, 0))")
    connection.execute(query, {"key": _key(namespace)})


def _key(namespace: str) -> str:
    return f"{APPLICATION}/{namespace}"


def end_sessions(connection: Connection, name: str) -> None:
    """End what a daemon may have left open: a paused or cut off one holds locks."""
    query = sa.text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"
    )
    connection.execute(query, {"name": name})


def application(token: str) -> str:
    """How the session that writes is named."""
    return f"{APPLICATION} {token}"


def lease_application(token: str) -> str:
    """How the session that keeps the lease is named."""
    return f"{APPLICATION} lease {token}"
