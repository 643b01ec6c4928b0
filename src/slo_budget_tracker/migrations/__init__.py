"""Schema versions of the ledger, oldest first; alembic runs them from inside the package."""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003")
