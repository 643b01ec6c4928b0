"""Appeals: requests to send quarantined events once more, left beside the ledger for its one writer.

A command must not write to a ledger that a daemon has open. So it leaves a small file, in PostgreSQL a fact
of its own, which the daemon takes up within seconds, or which whoever opens the ledger next takes up.
"""

from __future__ import annotations

import glob
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from slo_budget_tracker import leases, sessions, tables
from slo_budget_tracker.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from slo_budget_tracker.databases import Database

    Begin = Callable[[], AbstractContextManager[sa.Connection]]
    Release = Callable[[Sequence[str] | None], Sequence[str]]

_MOST_BYTES = 1 << 20
_FACT = "appeal/"


def leave(ledger: Path, event_ids: Sequence[str] | None) -> Path:
    """Leave a request for these events, or for all; it appears whole or not at all."""
    path = ledger.with_name(f"{ledger.name}.retry-{uuid.uuid4().hex}")
    draft = path.with_name(f".{path.name}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(orjson.dumps(event_ids))
        draft.replace(path)
    except OSError as error:
        raise LedgerError(f"no request can be left beside the ledger {ledger}: {error.strerror}") from error
    return path


def take_up(ledger: Path, release: Release) -> tuple[bool, list[str]]:
    """Carry out all requests, then remove them; whether there were any, and which events wait again."""
    freed: list[str] = []
    asked = False
    for path in sorted(ledger.parent.glob(f"{glob.escape(ledger.name)}.retry-*")):
        with suppress(OSError):
            freed += release(_asked(path))
            path.unlink()
            asked = True
    return asked, freed


def leave_in(database: Database, event_ids: Sequence[str] | None) -> str:
    """The same in PostgreSQL; returns the fact's name.

    Raises:
        LedgerError: it cannot be written.
    """
    key = f"{_FACT}{uuid.uuid4().hex}"
    text = orjson.dumps(event_ids).decode()
    engine = sessions.engine_of(database, name=leases.APPLICATION)
    try:
        with engine.begin() as connection:
            connection.execute(sa.insert(tables.facts).values(key=key, value=text))
    except SQLAlchemyError as error:
        raise sessions.fault(database, error, verb="written") from error
    finally:
        engine.dispose()
    return key


def take_up_in(begin: Begin, release: Release) -> tuple[bool, list[str]]:
    """The same for requests that are facts."""
    fact = tables.facts.c
    with begin() as connection:
        found = connection.execute(sa.select(fact.key, fact.value).where(fact.key.startswith(_FACT))).all()
    freed: list[str] = []
    for _, text in found:
        freed += release(_wanted(text))
    if found:
        with begin() as connection:
            connection.execute(sa.delete(tables.facts).where(fact.key.in_([key for key, _ in found])))
    return bool(found), freed


def _asked(path: Path) -> Sequence[str] | None:
    with path.open("rb") as file:
        return _wanted(file.read(_MOST_BYTES))


def _wanted(text: bytes | str) -> Sequence[str] | None:
    """What a request asks for; one that cannot be read asks for nothing."""
    with suppress(ValueError):
        wanted = orjson.loads(text)
        if wanted is None or (isinstance(wanted, list) and all(isinstance(one, str) for one in wanted)):
            return wanted
    return ()
