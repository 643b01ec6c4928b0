"""A Prometheus (or what speaks like one) as a function from questions to answers.

`Prometheus.ask` returns an answer that can be relied on, or raises one of the PrometheusErrors; it tries
again only where the same request may succeed soon, and only within the time it is given.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from slo_budget_tracker.answers import Answer, Query, RangeQuery, printable
from slo_budget_tracker.connection import authorization, base_address, headers, tls_context
from slo_budget_tracker.decoding import decode, parse, refusal
from slo_budget_tracker.errors import (
    BadAnswer,
    Busy,
    PrometheusError,
    QueryFailed,
    QueryRejected,
    Unauthorized,
    Unreachable,
)
from slo_budget_tracker.pacing import Gate, Lanes, pause
from slo_budget_tracker.spellings import Spellings
from slo_budget_tracker.transport import Reply, Transport, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.connection import Connection

T = TypeVar("T")

TRIES = 3  # of one question, within its budget of time
LONGEST_WAIT = 60.0  # seconds: a longer Retry-After is cut to this, the next tick tries again
SLOW_SHARE = 0.5  # of the timeout: a server that takes longer is asked less at once
REFUSED_PAUSE = 60.0  # seconds without a request after 401 or 403, unless the credentials change

# VictoriaMetrics answers for 30 s ago, stamped as asked, without the first; the second keeps it from shifting
# the instants of a range query to its cache's grid. Prometheus and the others ignore both.
_ALWAYS = {"latency_offset": "1ms", "nocache": "1"}
_SECONDS = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(slots=True)
class Stats:
    """What has been asked since the start, for the daemon's own metrics; `None` is not known yet."""

    requests: Counter[str] = field(
        default_factory=Counter
    )  # tries by outcome: ok, partial, or the error's reason
    samples: int = 0
    notes: int = 0  # the engine's remarks on queries
    up: bool | None = None  # whether the last try was answered at all
    auth_ok: bool | None = None
    clock_skew_seconds: float | None = None  # the server's clock minus ours
    certificate_expires: float | None = None  # epoch seconds


class Prometheus:
    """One datasource; thread-safe."""

    def __init__(
        self,
        settings: Connection,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stats = Stats()
        self._settings = settings
        self._wall = wall
        self._monotonic = monotonic
        self._lanes = Lanes(settings.concurrency)
        self._busy = Gate(monotonic)
        self._refused = Gate(monotonic)
        self._refused_credentials: str | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._door: Transport | None = None
        self._server_clock: tuple[float, float] | None = None  # what it said, and when on our monotonic clock
        self._method = "POST"
        self._spellings = Spellings()

    @property
    def address(self) -> str:
        """Where it is, without user, password and query."""
        return base_address(self._settings)

    @property
    def server_time(self) -> float | None:
        """What time it is for the server, by its last Date header and a clock that nobody sets."""
        if self._server_clock is None:
            return None
        said, then = self._server_clock
        return said + self._monotonic() - then

    def ask(self, query: Query | RangeQuery, *, budget_seconds: float) -> Answer:
        """The answer, at the latest after `budget_seconds`; raises a PrometheusError when there is none."""
        path, form = _request_of(query)

        def once(ends: float) -> Answer:
            answer = decode(self._reply(path, form, ends).body, query, self._spellings)
            self._note_answer(answer)
            return answer

        return self._patiently(once, budget_seconds)

    def buildinfo(self, *, budget_seconds: float = 10.0) -> str:
        """What kind of server this is and its version, as far as it says: `Prometheus 2.42.0`."""

        def once(ends: float) -> str:
            return _flavor(parse(self._reply("/api/v1/status/buildinfo", {}, ends, method="GET").body))

        return self._patiently(once, budget_seconds)

    def close(self) -> None:
        """Close all connections and wake whoever waits for the next try."""
        self._closed.set()
        with self._lock:
            if self._door is not None:
                self._door.close()

    def _patiently(self, once: Callable[[float], T], budget: float) -> T:
        ends = self._monotonic() + budget
        tries = 0
        while True:
            tries += 1
            try:
                found = once(ends)
            except PrometheusError as error:
                self._count(error.reason)
                wait = error.retry_after
                if wait is None:
                    wait = pause(tries, longest=budget / 2)
                if not _worth_another_try(error) or tries >= TRIES or wait >= ends - self._monotonic():
                    raise
                if self._closed.wait(wait):
                    raise
            else:
                return found

    def _reply(self, path: str, form: Mapping[str, str], ends: float, *, method: str | None = None) -> Reply:
        """One try: wait until the server may be asked, ask it, and raise unless it answered with 200."""
        credentials = authorization(self._settings)
        self._pass_gates(credentials, ends)
        with self._lanes.lane(ends - self._monotonic()) as free:
            if not free:
                raise Unreachable("too many requests are under way", reason="timeout")
            asked = self._monotonic()
            reply = self._exchange(path, form, credentials, ends, method=method or self._method)
            slow = self._monotonic() - asked > SLOW_SHARE * self._settings.timeout
            if reply.status in (405, 501) and method is None and self._method == "POST":
                self._method = "GET"
                reply = self._exchange(path, form, credentials, ends, method="GET")
        error = self._error_of(reply)
        if error is None:
            (self._lanes.narrow if slow else self._lanes.widen)()
            self.stats.auth_ok = True
            return reply
        if isinstance(error, Unauthorized):
            self.stats.auth_ok = False
            self._refused_credentials = credentials
            self._refused.shut(REFUSED_PAUSE)
        if isinstance(error, Busy):
            self._lanes.narrow()
        if isinstance(error, Busy) and error.retry_after is not None:
            self._busy.shut(error.retry_after)
        raise error

    def _pass_gates(self, credentials: str, ends: float) -> None:
        if self._refused.wait and credentials == self._refused_credentials:
            raise Unauthorized(
                "the server refused the credentials a moment ago",
                reason="unauthorized",
                retry_after=self._refused.wait,
            )
        if (wait := self._busy.wait) and (wait >= ends - self._monotonic() or self._closed.wait(wait)):
            raise Busy("the server asked to wait", reason="too_many_requests", retry_after=wait)

    def _exchange(
        self, path: str, form: Mapping[str, str], credentials: str, ends: float, *, method: str
    ) -> Reply:
        transport = self._transport()
        began = self._monotonic()
        left = min(ends - began, self._settings.timeout)
        if left <= 0:
            raise Unreachable("no time was left to ask", reason="timeout")
        sent = headers(self._settings)
        if credentials:
            sent["Authorization"] = credentials
        if form:
            form = {
                **form,
                "timeout": f"{max(int(left * 1_000), 1)}ms",
                **_ALWAYS,
            }  # the server may give up when we do
        try:
            reply = transport.send(
                method,
                f"{base_address(self._settings)}{path}",
                form=form,
                headers=sent,
                deadline=time.monotonic() + left,
            )
        except Unreachable as error:
            self.stats.up = False
            if error.reason == "timeout":
                self._lanes.narrow()  # as slow as can be
            raise
        self.stats.up = True
        self.stats.certificate_expires = transport.certificate_expires
        self._note_clock(reply, self._wall() - (self._monotonic() - began) / 2)
        return reply

    def _error_of(self, reply: Reply) -> PrometheusError | None:  # noqa: PLR0911 - a table of statuses
        status = reply.status
        if status == HTTPStatus.OK:
            return None
        said = _error_said(reply)
        text = str(said) if said is not None else f"the server answered with status {status}"
        if 300 <= status < 400:  # noqa: PLR2004 - 3xx
            return BadAnswer(
                f"a redirect ({status}) is not followed: configure the address", reason="redirect"
            )
        if status == HTTPStatus.BAD_REQUEST:
            return QueryRejected(text, reason="bad_data" if said is not None else "bad_request")
        if status in (401, 403):
            return Unauthorized(
                text, reason="unauthorized" if status == HTTPStatus.UNAUTHORIZED else "forbidden"
            )
        if status == HTTPStatus.NOT_FOUND and said is None:
            return BadAnswer("no Prometheus answers there (404): check the address", reason="status")
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return QueryFailed(text, reason="execution")
        wait = _retry_after(reply.headers.get("Retry-After"), now=self._wall())
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            return Busy(text, reason="too_many_requests", retry_after=wait)
        if said is not None and said.reason == "timeout":
            return Busy(text, reason="query_timeout", retry_after=wait)
        if status >= 500 or status == HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 - 5xx
            return Busy(text, reason="unavailable", retry_after=wait)
        return BadAnswer(text, reason="status")

    def _note_answer(self, answer: Answer) -> None:
        self._count("partial" if answer.partial else "ok")
        with self._lock:
            self.stats.samples += sum(len(series.times) for series in answer.series)
            self.stats.notes += len(answer.notes)

    def _note_clock(self, reply: Reply, ours: float) -> None:
        theirs = _http_date(reply.headers.get("Date"))
        if theirs is not None:
            self.stats.clock_skew_seconds = theirs + 0.5 - ours  # the header has whole seconds, cut off
            self._server_clock = (theirs + 0.5, self._monotonic())

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.stats.requests[outcome] += 1

    def _transport(self) -> Transport:
        """The one door of this datasource, made when it is first needed."""
        with self._lock:
            if self._door is None:
                with mapped():
                    self._door = Transport(
                        context=tls_context(self._settings),
                        server_name=getattr(self._settings.tls, "server_name", None),
                        connections=max(self._settings.concurrency, 1),
                        most_bytes=self._settings.max_response_bytes,
                    )
            return self._door


def _request_of(query: Query | RangeQuery) -> tuple[str, dict[str, str]]:
    if isinstance(query, Query):
        return "/api/v1/query", {"query": query.expression, "time": str(query.at)}
    span = {"start": str(query.start), "end": str(query.end), "step": str(query.step)}
    return "/api/v1/query_range", {"query": query.expression, **span}


def _worth_another_try(error: PrometheusError) -> bool:
    return isinstance(error, (Busy, Unreachable)) and error.reason != "query_timeout"


def _error_said(reply: Reply) -> PrometheusError | None:
    """What the body says in the API's own form; None where it is something else (a proxy's page)."""
    try:
        document = parse(reply.body)
    except BadAnswer:
        return None
    return refusal(document) if document.get("status") == "error" else None


def _retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds to wait; None where the header is absent, in the past or not to be understood."""
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_WAIT)
    instant = _http_date(text)
    return None if instant is None or instant <= now else min(instant - now, LONGEST_WAIT)


def _http_date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _flavor(document: Mapping[str, Any]) -> str:
    data = document.get("data")
    data = data if isinstance(data, dict) else {}
    version = printable(str(data.get("version", "")), 40)
    if "application" in data:
        return f"{printable(str(data['application']), 40)} {version}".strip()
    # VictoriaMetrics claims to be an old Prometheus for Grafana's sake, without saying where it was built
    return f"Prometheus {version}" if data.get("goVersion") else "VictoriaMetrics"
