"""Delivery: the thread that brings events to the audit stream, at least once, in order per SLO, with proof.

One round: is it still the same server with the same memory? What was attempted and not confirmed is looked
up; what is not there is sent, up to four SLOs side by side. A server that forgot gets everything of the last
`audit.resend` again, in order, with the same ids.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker import appeals
from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.couriers import Courier, DifferentError, Server, Trouble
from slo_budget_tracker.doubts import Doubts
from slo_budget_tracker.entries import Event
from slo_budget_tracker.errors import AuditError, LedgerError, TrackerError
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.pacing import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.outbox import Parcel, Waiting
    from slo_budget_tracker.settings import Audit

COURIERS = 4  # SLOs side by side
CHECK_SECONDS = 60.0  # between two looks at the last receipt
LOOK_SECONDS = 5.0  # between two looks for events and appeals that nobody announced
HEED_SECONDS = 1.0  # between two looks for appeals while something else is waited for
LONGEST_PAUSE = 60.0
SETTLE_SECONDS = 0.25  # after which what is still not there is taken not to come

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DeliveryFigures:
    """What delivery says about itself; counters count since its start, None is not known (or no URL).

    Attributes:
        oldest_at: the data instant of the oldest event that waits.
        deliveries: by outcome: delivered, adopted (was there already), quarantined, doubt, timeout,
            unreachable, hold, later.
        target_ok: whether the audit stream did what it should when it was last asked.
    """

    pending: int | None = None
    oldest_at: int | None = None
    deliveries: Mapping[str, int] = field(default_factory=dict)
    receipts_lost: int | None = None
    mismatches: int | None = None
    quarantined: int | None = None
    target_ok: bool | None = None


class Delivery:
    """Runs from `start` to `stop`; `wake` says that there are new events. Without a URL it does nothing."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        settings: Audit,
        clock: Callable[[], float] = time.time,
        settle: float = SETTLE_SECONDS,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._may_send = may_send or (lambda: True)
        self._clock = clock
        self._settle = settle
        self._ledger = ledger
        self._path: Path | None = ledger.path
        self._gate = threading.RLock()
        self._closed = False
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._outbox = Outbox(self._begin)
        self._server = Server()
        self._deliveries: Counter[str] = Counter()
        self._couriers: list[Courier] = []
        self._thread: threading.Thread | None = None
        self._trouble: str | None = None
        self._tries = 0
        self._not_before = 0.0  # monotonic
        self._check_at = 0.0
        self._ok: bool | None = None
        self._lost = 0
        self._mismatches = 0
        self._faced = 0
        self._seen: Waiting | None = None
        self._doubts: Doubts | None = None
        self._proven = False

    # --- what the daemon calls ------------------------------------------------------------------------------

    def start(self) -> Delivery:
        """Begin to deliver; without a URL, only remember that there was none."""
        if self._settings.url is None:
            with suppress(LedgerError):  # the daemon says so elsewhere
                self._outbox.note("audit_target", "")
            return self
        self._couriers = [self._courier(self._settings.url) for _ in range(COURIERS)]
        self._doubts = Doubts(
            stream=self._couriers[0].stream,
            server=self._server,
            outbox=self._outbox,
            clock=self._clock,
            pause=self._stopping.wait,
            deliveries=self._deliveries,
            settle=self._settle,
        )
        self._thread = threading.Thread(target=self._run, name="audit delivery", daemon=True)
        self._thread.start()
        return self

    def wake(self) -> None:
        """New events were committed."""
        self._woken.set()

    def stop(self, *, within: float = 1.0) -> None:
        """End within seconds; a request under way is left behind, its event stays marked as attempted."""
        self._stopping.set()
        self._woken.set()
        ends = time.monotonic() + within
        if self._thread is not None:
            self._thread.join(within)
        held = self._gate.acquire(timeout=max(ends - time.monotonic(), 0.1))
        self._closed = True
        if held:
            self._gate.release()

    def figures(self) -> DeliveryFigures:
        """What is shown of it; from the ledger's own numbers, the last known ones while it is in trouble."""
        if self._settings.url is None:
            return DeliveryFigures()
        try:
            self._seen = self._outbox.waiting()
        except LedgerError:
            if self._seen is None:
                return DeliveryFigures(target_ok=self._ok)
        with self._server.lock:
            deliveries = dict(self._deliveries)
        return DeliveryFigures(
            pending=self._seen.pending,
            oldest_at=self._seen.oldest,
            deliveries=deliveries,
            receipts_lost=self._lost,
            mismatches=self._mismatches,
            quarantined=self._seen.quarantined,
            target_ok=self._ok,
        )

    # --- the thread -----------------------------------------------------------------------------------------

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        """A transaction of the ledger, as long as nobody said stop: the ledger may be closed after that."""
        with self._gate:
            if self._closed:
                raise LedgerError("delivery has ended")
            with self._ledger.transaction() as connection:
                yield connection

    def _courier(self, url: str) -> Courier:
        return Courier(
            AuditStream(url, timeout=self._settings.timeout, may_send=self._may_send),
            self._server,
            self._outbox,
            self._clock,
            self._stopping.is_set,
            deliveries=self._deliveries,
            settle=self._settings.timeout,
        )

    def _run(self) -> None:
        begun = False
        while not self._stopping.is_set():
            try:
                if not begun:
                    self._take_over()
                    begun = True
                more = self._step()
            except Exception as error:  # noqa: BLE001 - the thread must outlive any fault (T12)
                more = False
                self._in_trouble(Trouble(_sentence(error)))
            if not more:
                self._wait()

    def _step(self) -> bool:
        """One round; whether the next one is to begin at once."""
        try:
            return self._round()
        except DifferentError as different:
            self._face(different)
            self._faced += 1
            self._stopping.wait(min(0.01 * 2**self._faced, LONGEST_PAUSE))  # were it so each time
            return self._not_before <= time.monotonic()

    def _wait(self) -> None:
        """Until there is something to do: the pause after a trouble is kept, news shorten only idleness.

        What a person asks for is done at once: they may have mended what delivery waits for.
        """
        paused = False
        while (left := self._not_before - time.monotonic()) > 0 and not self._stopping.is_set():
            paused = True
            if self._heed():
                self._not_before, self._tries = 0.0, 0
                return
            self._stopping.wait(min(left, HEED_SECONDS))
        if not paused:
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()

    def _heed(self) -> bool:
        """Take up what persons left for us; whether there was anything."""
        try:
            if self._path is not None:
                asked, freed = appeals.take_up(self._path, self._outbox.release)
            else:
                asked, freed = appeals.take_up_in(self._begin, self._outbox.release)
        except Exception:  # noqa: BLE001 - told by what is tried next (T12); the request stays where it is
            return False
        if freed:
            log.info("audit events released", events=len(freed))
        return asked

    def _take_over(self) -> None:
        """Begin where the last run of the daemon ended: the same server, another one, or the first one."""
        target, before = self._couriers[0].stream.address, self._outbox.fact("audit_target")
        if not before and self._settings.backlog == "none":
            skipped = self._outbox.skip_all()
            log.info("audit backlog left out", events=skipped)
        if before and before != target:
            again = self._outbox.forget(since=self._since())
            log.info("another audit stream", address=target, events_sent_again=again)
        if before != target:
            self._outbox.note("audit_target", target)
        self._server.instances = instances = self._outbox.instances()
        self._proven = len(instances) == 1 or self._outbox.fact("audit_epoch") == instances[0]
        self._server.hold_to(self._outbox.last_receipt())

    def _round(self) -> bool:
        """Everything that can be done now; whether there is more to do at once."""
        self._heed()
        queues = self._outbox.queues()
        now = time.monotonic()
        if not queues and now < self._check_at:
            return False
        try:
            self._couriers[0].greet()
            self._check_at = now + CHECK_SECONDS
            self._prove()
            if queues:
                assert self._doubts is not None
                if not self._doubts.clear_up(queues):
                    return True
                queues = self._outbox.queues()
        except AuditError as error:
            self._couriers[0].note(error)
            self._in_trouble(Trouble(str(error), wait=error.wait or 0.0))
            return False
        trouble = self._send(list(queues.values())) if queues else None
        if trouble is not None:
            self._in_trouble(trouble)
            return False
        self._out_of_trouble()
        return bool(queues)

    def _send(self, queues: list[list[Parcel]]) -> Trouble | None:
        """Share the queues among the couriers, and wait for all of them."""
        self._server.halted, self._server.alone = False, 0
        results: list[Trouble | Exception | None] = []
        lock = threading.Lock()

        def work(courier: Courier) -> None:
            while not self._stopping.is_set():
                with lock:
                    if not queues or self._server.halted:
                        return
                    queue = queues.pop(0)
                try:
                    result: Trouble | Exception | None = courier.carry(queue)
                except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                    result = error
                    self._server.halted = True
                with lock:
                    results.append(result)

        couriers = self._couriers[: len(queues)]
        threads = [
            threading.Thread(target=work, args=(one,), name="audit courier", daemon=True)
            for one in couriers[1:]
        ]
        for thread in threads:
            thread.start()
        work(couriers[0])
        for thread in threads:
            thread.join()
        troubles = [one for one in results if isinstance(one, Trouble)]
        worst = max(troubles, key=lambda one: one.wait, default=None)
        for result in results:
            if isinstance(result, Exception):
                if worst is not None:
                    self._in_trouble(worst)  # whatever else was found out, the server asked to be left alone
                raise result
        return worst

    # --- what is unusual ------------------------------------------------------------------------------------

    def _face(self, different: DifferentError) -> None:
        """The server is not what it was: queue again what it lost, or tell what it altered."""
        parcel, comparison = different.parcel, different.comparison
        if comparison.word == "altered" and self._proven:
            self._mismatches += 1
            at = int(self._clock())
            number = parcel.receipt.server_event_id if parcel.receipt else 0
            reason = f"the audit stream shows event {number} otherwise than it confirmed it"
            event = Event.of_daemon(
                "audit_mismatch_detected",
                f"mismatch/{parcel.event_id}/{number}",
                at=at,
                reason=reason,
                altered_id=parcel.event_id,
                altered_slo=parcel.slo,
                server_event_id=number,
                server_hash=parcel.receipt.server_hash if parcel.receipt else None,
                content_altered=comparison.content,
            )
            self._outbox.disown(parcel, event, altered=comparison.content)
            log.error("audit mismatch", slo=parcel.slo, id=parcel.event_id, server_event_id=number)
        else:
            lost = self._outbox.forget(since=self._since())
            self._lost += lost
            log.warning("the audit stream has forgotten", events_sent_again=lost)
            self._server.kinds.clear()
        if self._doubts is not None:
            self._doubts.forget()
        self._server.hold_to(self._outbox.last_receipt())

    def _prove(self) -> None:
        """The server showed the last receipt: from now on another hash is an alteration.

        Before, in a ledger that was put back from a copy, it may be of a life of the server that is over.
        """
        if not self._proven:
            self._outbox.note("audit_epoch", self._server.instances[0])
            self._proven = True

    def _since(self) -> int:
        return int(self._clock()) - self._settings.resend

    def _in_trouble(self, trouble: Trouble) -> None:
        """One line when it begins; the pause is what the server asked for, else it grows with failures."""
        if self._stopping.is_set():
            return
        if self._trouble is None:
            address = self._couriers[0].stream.address
            log.warning("audit stream: trouble", detail=trouble.reason, address=address)
        self._trouble = trouble.reason
        self._ok = False
        self._tries = min(self._tries + 1, 16)
        wait = pause(self._tries, longest=LONGEST_PAUSE)
        if trouble.wait:
            wait = trouble.wait + random.random() * min(trouble.wait * 0.1, 5.0)
        self._not_before = time.monotonic() + wait
        self._check_at = 0.0

    def _out_of_trouble(self) -> None:
        if self._trouble is not None:
            log.info("audit stream: trouble is over", address=self._couriers[0].stream.address)
        self._trouble, self._ok, self._tries, self._faced, self._not_before = None, True, 0, 0, 0.0


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, TrackerError) else f"internal error: {type(error).__name__}"
