"""The audit stream's client: one door, one connection, a total deadline, answers of limited size (A19, A22).

A POST goes only over a connection on which the same server answered before: a server that was restarted in
between would take it as the first event of its new life, before all the others (A11).
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from slo_budget_tracker.connection import authorization, base_address, tls_context
from slo_budget_tracker.errors import AuditError, PrometheusError
from slo_budget_tracker.receipts import LATER, SOURCE, decoded, patience
from slo_budget_tracker.transport import Reply, Transport, mapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from slo_budget_tracker.outbox import Parcel

MOST_BYTES = 64 << 10  # of an answer about one event
MOST_LIST_BYTES = 32 << 20
MOST_EVENTS = 100_000  # in one answer: the server's own limit
_OK, _NOT_FOUND, _UNPROCESSABLE = 200, 404, 422
_LIST_PATIENCE = 10  # a list of events may take so many times longer than one of them


def _always() -> bool:
    return True


class AuditStream:
    """Asks one audit stream over one connection at a time; for one thread at a time."""

    def __init__(self, url: str, *, timeout: float, may_send: Callable[[], bool] = _always) -> None:
        self._configured = SimpleNamespace(
            url=url, headers={}, basic_auth=None, bearer_token_file=None, tls=None, timeout=timeout
        )
        self._timeout = timeout
        self._may_send = may_send
        self._door: Transport | None = None

    @property
    def address(self) -> str:
        """Where it is, without user and password; the same with and without `/events` (A18)."""
        address = base_address(self._configured)
        return address.removesuffix("/events").rstrip("/")

    def post(self, parcel: Parcel, *, kind: str, timestamp: str, connect: bool) -> Reply:
        """Send an event: the same bytes at every attempt; nothing once another daemon may send it."""
        head = f'{{"kind":"{kind}","source":"{SOURCE}","timestamp":"{timestamp}","payload":'
        body = f"{head}{parcel.text}}}".encode()
        if not self._may_send():
            raise AuditError("nothing is sent: this daemon's lease has run out", reason="lease")
        return self._send("POST", "/events", content=body, connect=connect)

    def event(self, number: int) -> Any:
        """The event under a number, None where there is none."""
        reply = self._send("GET", f"/events/{number}")
        if reply.status == _NOT_FOUND and _is_missing(decoded(reply.body)):
            return None
        return self._good(reply)

    def events(self, *, limit: int) -> list[Any]:
        """The last events of our source, at most `limit` of them."""
        form = {"source": SOURCE, "limit": str(limit)}
        reply = self._send("GET", "/events", form=form, most_bytes=MOST_LIST_BYTES, patience=_LIST_PATIENCE)
        found = self._good(reply)
        if not isinstance(found, list):
            raise AuditError(f"the audit stream at {self.address} answered no list of events")
        return found

    def newest(self) -> int:
        """The number of the newest event of anybody; 0 where there is none."""
        number = _field(self._good(self._send("GET", "/stats")), "last_event_id")
        if not isinstance(number, int):
            raise AuditError(f"the audit stream at {self.address} does not say how many events it has")
        return number

    def knows(self, kind: str) -> bool:
        """Whether the server takes events of this kind; a question without side effects (A1)."""
        reply = self._send("GET", "/events", form={"kind": kind, "limit": "1"})
        if reply.status == _UNPROCESSABLE:
            return False
        self._good(reply)
        return True

    def verify(self) -> Any:
        """What the server says about its own chain."""
        return self._good(self._send("GET", "/verify", patience=_LIST_PATIENCE))

    def close(self) -> None:
        """Close the connection."""
        if self._door is not None:
            self._door.close()

    def _good(self, reply: Reply) -> Any:
        if reply.status != _OK:
            message = f"the audit stream at {self.address} answered with status {reply.status}"
            wait = patience(reply.status, reply.headers, now=time.time())
            reason = "later" if reply.status in LATER else "status" if wait is None else "hold"
            raise AuditError(message, reason=reason, wait=wait)
        document = decoded(reply.body)
        if document is None:
            raise AuditError(f"the audit stream at {self.address} answered what is not JSON")
        return document

    def _send(
        self,
        method: str,
        path: str,
        *,
        form: dict[str, str] | None = None,
        content: bytes | None = None,
        connect: bool = True,
        most_bytes: int = MOST_BYTES,
        patience: int = 1,
    ) -> Reply:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            credentials = authorization(self._configured)
            if credentials:
                headers["Authorization"] = credentials
            return self._transport().send(
                method,
                f"{self.address}{path}",
                form=form or {},
                headers=headers,
                deadline=time.monotonic() + self._timeout * patience,
                content=content,
                connect=connect,
                most_bytes=most_bytes,
            )
        except PrometheusError as error:
            raise AuditError(f"the audit stream at {self.address}: {error}", reason=error.reason) from None

    def _transport(self) -> Transport:
        if self._door is None:
            with mapped():
                self._door = Transport(
                    context=tls_context(self._configured),
                    server_name=None,
                    connections=1,
                    most_bytes=MOST_BYTES,
                )
        return self._door


def _is_missing(document: Any) -> bool:
    """Whether a 404 is about the event, and not about the address (a wrong path, a proxy)."""
    return isinstance(document, dict) and document.get("detail") not in (None, "Not Found")


def _field(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None
