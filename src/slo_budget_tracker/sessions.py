"""Sessions: connections to PostgreSQL as a ledger wants them: durable, in its namespace, with deadlines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from slo_budget_tracker.errors import LedgerDamaged, LedgerError

if TYPE_CHECKING:
    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.plugs import Plug

_CONNECT_SECONDS = 5
_KEEPALIVES = {
    "keepalives": "1", "keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3",
}  # fmt: skip
_DAMAGE = ("XX001", "XX002")  # data_corrupted, index_corrupted
_READING = ("SELECT", "SHOW", "BEGIN")
_SERVER_GONE = "the server closed the connection"
MISSING = "PostgreSQL needs the package psycopg: pip install 'slo-budget-tracker[postgresql]'"
RESTORE = "restore it from a dump, or begin a new one under another ledger.namespace"


def engine_of(
    database: Database, *, name: str, read_only: bool = False, plug: Plug | None = None
) -> sa.Engine:
    """How to connect: what the URL says itself comes first.

    Raises:
        LedgerError: the driver is not installed, or a parameter of the URL is none.
    """
    seconds = database.timeout
    defaults = {
        "connect_timeout": str(max(int(min(_CONNECT_SECONDS, seconds)), 2)),
        "tcp_user_timeout": str(int(seconds * 1000)),
        "application_name": name,
        **_KEEPALIVES,
    }
    arguments = {key: value for key, value in defaults.items() if key not in database.url.query}
    try:
        engine = sa.create_engine(
            database.url,
            poolclass=NullPool,
            connect_args=arguments,
            isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise LedgerError(MISSING) from error
    milliseconds = int(seconds * 1000)
    settings = {
        "search_path": database.namespace,
        "synchronous_commit": "on",
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 2 * milliseconds,
        "default_transaction_read_only": "on" if read_only else "off",
        "TimeZone": "UTC",
        "client_encoding": "UTF8",
        "bytea_output": "hex",
    }

    def connect(dialect: Any, _record: Any, args: Any, parameters: dict[str, Any]) -> Any:
        if database.password_file is not None:
            parameters["password"] = _password(database)
        driver = dialect.connect(*args, **parameters)
        if plug is not None:
            plug.put(driver.fileno())
            plug.arm()
        with driver.cursor() as cursor:
            for key, value in settings.items():
                cursor.execute("SELECT set_config(%s, %s, false)", (key, str(value)))
        driver.commit()
        if plug is not None:
            plug.disarm()
        return driver

    sa.event.listen(engine, "do_connect", connect)
    if plug is not None:
        sa.event.listen(engine, "before_cursor_execute", lambda *_: plug.arm())
        sa.event.listen(engine, "after_cursor_execute", lambda *_: plug.disarm())
    return engine


def _password(database: Database) -> str:
    assert database.password_file is not None
    try:
        return database.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise LedgerError(
            f"the ledger's password file {database.password_file} cannot be read: {why}"
        ) from error


def writes(statement: str) -> bool:
    """Whether a statement may change something."""
    return not statement.lstrip().upper().startswith(_READING)


def is_lost(error: SQLAlchemyError) -> bool:
    """Whether the connection is gone with the error."""
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _state(error)[:3] == "57P")


def fault(database: Database, error: SQLAlchemyError, *, verb: str) -> LedgerError:
    """The error as a user is told it, without statement, values and passwords."""
    state = _state(error)
    reason = reason_of(error)
    if state in _DAMAGE:
        return LedgerDamaged(database, reason, then=RESTORE)
    out_of_reach = isinstance(error, DBAPIError) and (
        is_lost(error) or not state or state[:2] in {"08", "28"}
    )
    what = "is out of reach" if out_of_reach else f"cannot be {verb}"
    return LedgerError(f"the ledger {database} {what}: {reason}")


def reason_of(error: SQLAlchemyError) -> str:
    """What the driver or the server says, in one line."""
    told = str(getattr(error, "orig", None) or error).strip()
    lines = [line.strip() for line in told.splitlines() if line.strip()] or [_SERVER_GONE]
    said = lines[0].removeprefix("FATAL:").strip()
    return said.rpartition("FATAL:")[2].strip() or said


def _state(error: SQLAlchemyError) -> str:
    """The five letters of SQLSTATE; empty where the server did not say anything."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""
