"""Seats: the right to lead, taken by one of several daemons over one ledger in PostgreSQL, kept, and lost.

Who leads counts the lease's beat up. Who follows looks at it: a beat that stood still for the whole length of
a lease, on the follower's own clock, is of a leader that may do nothing any more: by its own clock the lease
has ended sooner. Both clocks go on while a process is paused or a machine asleep, and they are not compared.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from slo_budget_tracker import leases, sessions
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.plugs import Plug
from slo_budget_tracker.postgres import Term, bootstrap, holder, new_token
from slo_budget_tracker.processes import has_ended, this_process
from slo_budget_tracker.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.leases import Lease

LOOKS = 8  # of a follower in the length of a lease
BEATS = 3  # of a leader
SHARE = 0.9  # of its lease in which a leader acts: clocks may differ a little in speed

log = structlog.get_logger()


def uptime() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Seat:
    """One daemon's seat: `attempt` until it is taken, `keep` it, `release` it.

    Attributes:
        over: set when a term has ended, or the daemon has.
    """

    def __init__(self, database: Database, *, seconds: float, clock: Callable[[], float] = uptime) -> None:
        self.database = database
        self.seconds = seconds
        self.over = threading.Event()
        self._clock = clock
        self._token = new_token()
        self._term: int | None = None
        self._until = 0.0
        self._ended = False
        self._seen: Lease | None = None
        self._since = 0.0
        self._connection: sa.Connection | None = None
        self._guard = threading.Lock()
        hasty = replace(database, timeout=min(database.timeout, max(seconds / 2, 1.0)))
        self._plug = Plug(hasty.timeout)
        name = leases.lease_application(self._token)
        self._engine = sessions.engine_of(hasty, name=name, plug=self._plug)

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return self.seconds / LOOKS

    @property
    def term(self) -> Term:
        """The right to write that was taken."""
        assert self._term is not None
        return Term(self._term, self._token)

    @property
    def role(self) -> Role:
        """What is known of who leads."""
        if self._term is not None and not self.over.is_set():
            return Role(leads=True, term=self._term, leader=holder())
        seen = self._seen
        return Role(leads=False, term=seen.term, leader=seen.holder or None) if seen else Role(leads=False)

    def valid(self) -> bool:
        """Whether this daemon may act as the leader at this moment, without asking anybody."""
        return self._term is not None and not self.over.is_set() and self._clock() < self._until

    def attempt(self) -> bool:
        """Look at the lease, and take it when it is nobody's any more.

        Raises:
            LedgerError: PostgreSQL is out of reach.
        """
        with self._guard:
            before = self._clock()
            try:
                connection = self._opened()
                with connection.begin():
                    now = leases.read(connection)
                after = self._clock()
                if self._seen is None or (now.term, now.beat) != (self._seen.term, self._seen.beat):
                    self._since = after
                self._seen = now
                free = now.token == leases.NOBODY or before - self._since >= self.seconds
                if not free and not has_ended(now.place):
                    return False
                return self._take(connection, now)
            except SQLAlchemyError as error:
                self._close()
                raise sessions.fault(self.database, error, verb="read") from error

    def keep(self) -> None:
        """Keep the lease from a thread of its own until it is lost or released."""
        threading.Thread(target=self._keep, args=(self._term,), name="lease", daemon=True).start()

    def release(self) -> None:
        """Let another one lead at once."""
        with self._guard:
            term, self._term = self._term, None
            self.over.set()
            if term is not None:
                with suppress(SQLAlchemyError, LedgerError), self._opened().begin():
                    leases.release(self._opened(), term)
            self._seen = None

    def end(self) -> None:
        """The daemon ends."""
        self._ended = True
        self.over.set()

    def close(self) -> None:
        """Give the seat up."""
        self.release()
        self._close()
        self._plug.close()
        self._engine.dispose()

    # --- inside ---------------------------------------------------------------------------------------------

    def _take(self, connection: sa.Connection, seen: Lease) -> bool:
        begun = self._clock()
        with connection.begin():
            if seen.token:
                leases.end_sessions(connection, leases.application(seen.token))
                leases.end_sessions(connection, leases.lease_application(seen.token))
            mine = {"token": self._token, "holder": holder(), "place": this_process()}
            term = leases.take(connection, seen, **mine)
        if term is None:
            return False
        self._term, self._until = term, begun + SHARE * self.seconds
        self.over = threading.Event()
        if self._ended:
            self.over.set()
        log.info("leading", term=term, before=seen.holder or "nobody")
        return True

    def _keep(self, term: int | None) -> None:
        over = self.over
        while term is not None and not over.wait(self.seconds / BEATS):
            with self._guard:
                if self._term != term or over.is_set():
                    return
                begun = self._clock()
                try:
                    connection = self._opened()
                    with connection.begin():
                        mine = leases.renew(connection, term)
                except (SQLAlchemyError, LedgerError):
                    self._close()  # the lease ends by itself if this goes on; the ledger says what is wrong
                    continue
                if mine:
                    self._until = begun + SHARE * self.seconds
                    continue
                self._term = None
            log.warning("another daemon leads now", term=term)
            over.set()

    def _opened(self) -> sa.Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                with connection.begin():
                    bootstrap(connection, self.database)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()
        self._plug.drop()
