"""Couriers: each carries events of one SLO at a time to the audit stream, over a connection of its own."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.errors import AuditError
from slo_budget_tracker.receipts import Answered, adoptable, compare, judge, readable
from slo_budget_tracker.snapshots import instant_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slo_budget_tracker.auditstream import AuditStream
    from slo_budget_tracker.outbox import Outbox, Parcel, Receipt
    from slo_budget_tracker.receipts import Comparison
    from slo_budget_tracker.transport import Reply

MOST_ALONE = 8  # events in doubt in one round, after which the server is to blame
FIRST_KIND = "slo_burn_started"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing more is sent for now, and how long at least."""

    reason: str
    wait: float = 0.0
    alone: bool = False  # it may be this event's, and not the server's


class DifferentError(Exception):
    """The server is not what it was: what it shows under the number of the last receipt."""

    def __init__(self, parcel: Parcel, comparison: Comparison) -> None:
        super().__init__(comparison.word)
        self.parcel = parcel
        self.comparison = comparison


@dataclass(slots=True)
class Server:
    """What is known of the server in its present life; shared by all couriers."""

    instances: Sequence[str] = ()  # the names under which our events were sent
    anchor: Parcel | None = None  # the last event it gave a receipt for
    anchor_number: int = 0
    kinds: dict[str, bool] = field(default_factory=dict)
    known: dict[str, list[Receipt]] | None = None  # our events that it had when it was looked through
    halted: bool = False  # one courier met a trouble of the server's: the others stop, too
    alone: int = 0  # troubles of single events in this round
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold_to(self, anchor: Parcel | None) -> None:
        """Take the last receipt that the ledger has for the one to compare with."""
        self.anchor = anchor
        self.anchor_number = anchor.receipt.server_event_id if anchor and anchor.receipt else 0

    def gave(self, parcel: Parcel, receipt: Receipt) -> None:
        """Note a receipt."""
        with self.lock:
            if receipt.server_event_id > self.anchor_number:
                self.anchor_number = receipt.server_event_id
                self.anchor = replace(parcel, receipt=receipt)


@dataclass(slots=True)
class Courier:
    """One connection to the server; `carry` is what it does for one SLO."""

    stream: AuditStream
    server: Server
    outbox: Outbox
    clock: Callable[[], float]
    stop: Callable[[], bool]
    deliveries: Counter[str] = field(default_factory=Counter)
    settle: float = 0.0  # seconds in which a server may still store what nobody waits for any more

    def greet(self) -> None:
        """Open the connection and see whether it is still the same server with the same memory.

        Raises:
            AuditError: it cannot be asked.
            DifferentError: it has forgotten, or altered, the last event it confirmed.
        """
        anchor = self.server.anchor
        if anchor is None or anchor.receipt is None:
            self.server.kinds[FIRST_KIND] = self.stream.knows(FIRST_KIND)
            return
        shown = self.stream.event(anchor.receipt.server_event_id)
        comparison = compare(anchor, shown, instances=self.server.instances)
        if comparison.word != "same":
            raise DifferentError(anchor, comparison)

    def carry(self, queue: Sequence[Parcel]) -> Trouble | None:
        """Send the events in order until something is in the way."""
        for parcel in queue:
            if self.stop() or self.server.halted:
                return None
            trouble = self._carry_one(parcel)
            if trouble is not None:
                with self.server.lock:
                    self.server.alone += trouble.alone
                    if not trouble.alone or self.server.alone >= MOST_ALONE:
                        self.server.halted = True
                return trouble
        return None

    def _carry_one(self, parcel: Parcel) -> Trouble | None:
        if not readable(parcel.text):
            self._put_aside(parcel, "the stored payload is not of this version")
            return None
        receipt = adoptable(parcel, self.server.known or {})
        if receipt is not None:
            self._confirm(parcel, receipt, outcome="adopted")
            return None
        try:
            return self._send(parcel)
        except AuditError as error:
            if error.reason == "lease":
                return Trouble(str(error))
            late = error.reason == "timeout"
            self.note(error)
            return Trouble(str(error), wait=self.settle if late else error.wait or 0.0)

    def _send(self, parcel: Parcel) -> Trouble | None:
        native = self._native(parcel.kind)
        before = self.server.anchor_number
        self.outbox.attempt(parcel, at=int(self.clock()))
        answered = self._post(parcel, parcel.kind if native else "other")
        if answered.word == "unknown_kind" and native:
            self.server.kinds[parcel.kind] = False
            answered = self._post(parcel, "other")
        if answered.receipt is not None:
            self._confirm(parcel, answered.receipt, outcome="delivered")
            if answered.receipt.server_event_id <= before and self.server.anchor is not None:
                self.greet()  # numbers that go back: the server was restarted without anybody noticing
            return None
        if answered.word in {"refused", "unknown_kind"}:
            self._put_aside(parcel, answered.reason)
            return None
        self._count(answered.word)
        return Trouble(answered.reason, wait=answered.wait or 0.0, alone=answered.word == "doubt")

    def _native(self, kind: str) -> bool:
        """Whether the server knows the kind; asked once in each of its lives."""
        known = self.server.kinds.get(kind)
        if known is None:
            known = self.server.kinds[kind] = self.stream.knows(kind)
        return known

    def _post(self, parcel: Parcel, kind: str) -> Answered:
        timestamp = instant_text(parcel.created)
        try:
            reply = self.stream.post(parcel, kind=kind, timestamp=timestamp, connect=False)
        except AuditError as error:
            if error.reason != "closed":
                raise
            self.greet()
            reply = self._post_again(parcel, kind, timestamp)
        return judge(reply.status, reply.headers, reply.body, event_id=parcel.event_id, now=self.clock())

    def _post_again(self, parcel: Parcel, kind: str, timestamp: str) -> Reply:
        try:
            return self.stream.post(parcel, kind=kind, timestamp=timestamp, connect=False)
        except AuditError as error:
            if error.reason != "closed":
                raise
            # a server that closes after each answer: the greeting a moment ago has to do
            return self.stream.post(parcel, kind=kind, timestamp=timestamp, connect=True)

    def _confirm(self, parcel: Parcel, receipt: Receipt, *, outcome: str) -> None:
        self.outbox.confirm({parcel.event_id: receipt}, at=int(self.clock()))
        self.server.gave(parcel, receipt)
        self._count(outcome)

    def _put_aside(self, parcel: Parcel, reason: str) -> None:
        self.outbox.quarantine(parcel.event_id, reason, at=int(self.clock()))
        self._count("quarantined")
        log.warning("audit event quarantined", slo=parcel.slo, id=parcel.event_id, reason=reason)

    def note(self, error: AuditError) -> None:
        """Count a request that came to nothing."""
        self._count(error.reason if error.reason in {"timeout", "later", "hold"} else "unreachable")

    def _count(self, outcome: str) -> None:
        with self.server.lock:
            self.deliveries[outcome] += 1
