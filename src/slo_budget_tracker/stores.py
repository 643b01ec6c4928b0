"""Stores: the open database of a ledger, whatever keeps it; both kinds have the same few methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slo_budget_tracker.postgres import Postgres, Term
from slo_budget_tracker.store import Store

if TYPE_CHECKING:
    from slo_budget_tracker.databases import Database


AnyStore = Store | Postgres

__all__ = ["AnyStore", "Term", "open_store"]


def open_store(
    database: Database,
    *,
    read_only: bool = False,
    force: bool = False,
    mend: str | None = None,
    term: Term | None = None,
) -> AnyStore:
    """Open or create what the URL names; `force` and `mend` are for files, `term` for PostgreSQL."""
    if database.in_postgresql:
        return Postgres.open(database, read_only=read_only, term=term)
    return Store.open(database, read_only=read_only, force=force, mend=mend)
