"""Databases: where a ledger is: a SQLite file, memory, or one namespace of a PostgreSQL database.

A namespace is a schema of PostgreSQL. Each ledger has its own, so many of them share one database, and each
can be dumped and restored alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from slo_budget_tracker.errors import LedgerError

NAMESPACE = "slo_budget_tracker"
TIMEOUT = 30.0
POSTGRESQL = "postgresql+psycopg"
_NAMESPACE = re.compile(r"(?!pg_|public$|information_schema$)[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Database:
    """What a ledger's URL names, and what PostgreSQL wants to know besides.

    Attributes:
        namespace: the schema with the ledger's tables.
        password_file: holds the password; read again before each connection.
        timeout: seconds that one statement may take before the connection is given up.
    """

    url: sa.URL = field(repr=False)
    namespace: str = NAMESPACE
    password_file: Path | None = None
    timeout: float = TIMEOUT

    @classmethod
    def of(cls, given: str | Database) -> Database:
        """By its URL; one of PostgreSQL may carry `?namespace=NAME`.

        Raises:
            LedgerError: the URL cannot be read, or names another kind of database.
        """
        if isinstance(given, Database):
            return given
        try:
            url = sa.make_url(given)
        except SQLAlchemyError as error:
            raise LedgerError(
                "the ledger's url cannot be read, expected for example sqlite:///var/ledger.db"
            ) from error
        if url.drivername in {"postgresql", POSTGRESQL}:
            namespace = url.query.get("namespace", NAMESPACE)
            plain = url.set(drivername=POSTGRESQL).difference_update_query(["namespace"])
            return replace(cls(plain), namespace=checked_namespace(str(namespace)))
        if url.get_backend_name() != "sqlite":
            raise LedgerError(
                f"a ledger in {url.drivername} is not supported, expected sqlite:///PATH or {POSTGRESQL}://…"
            )
        return cls(url)

    @property
    def in_postgresql(self) -> bool:
        """Whether a server keeps it."""
        return self.url.drivername == POSTGRESQL

    @property
    def path(self) -> Path | None:
        """The file; None in memory and in PostgreSQL."""
        if self.in_postgresql or self.url.database in (None, "", ":memory:"):
            return None
        return Path(os.path.realpath(str(self.url.database)))

    def __str__(self) -> str:
        if not self.in_postgresql:
            return str(self.path or "in memory")
        place = sa.URL.create("postgresql", self.url.username, None, self.url.host, self.url.port)
        shown = place.set(database=self.url.database).render_as_string()
        return f"{shown} ({self.namespace})"


def checked_namespace(name: str) -> str:
    """The same name, where it may be one.

    Raises:
        LedgerError: it may not.
    """
    if not _NAMESPACE.fullmatch(name):
        raise LedgerError(
            f"the ledger's namespace {name!r} cannot be one, "
            "expected small letters, digits and _, not public and not pg_…"
        )
    return name
