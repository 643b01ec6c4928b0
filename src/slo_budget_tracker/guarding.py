"""What stands before the routes: hosts, sizes, passwords; a refusal is an answer, a failure a log line."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.addresses import is_loopback, without_port
from slo_budget_tracker.guesses import GUESS_SECONDS, Verdict
from slo_budget_tracker.passwords import Passwords
from slo_budget_tracker.resources import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from slo_budget_tracker.protection import Protector

    Header = tuple[bytes, bytes]

LARGEST_BODY = 65_536  # bytes
BODY_SECONDS = 10
_DIGITS = 18  # of a length that is looked at
_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_CLOSE = {"connection": "close"}
_ASK = {"www-authenticate": 'Basic realm="slo-budget-tracker", charset="UTF-8"'}
_REASONS = {Verdict.WRONG: "password", Verdict.LATER: "guesses"}
OPEN = frozenset({"/-/healthy", "/-/ready"})  # without a password: who starts and watches us has none
log = structlog.get_logger()


class Guard:
    """Wraps the routes.

    With `local` only requests to loopback names get through: a page from elsewhere whose name was bound to
    127.0.0.1 (DNS rebinding) reads nothing. With a `protector` that has users, everything but health is for
    them, or for requests that `bears_token` leaves to a route which looks at a token itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        local: bool,
        protector: Protector | None = None,
        bears_token: Callable[[str, str, bytes], bool] = lambda *_: False,
    ) -> None:
        self.app = app
        self.local = local
        self.protector = protector
        self.bears_token = bears_token
        self.passwords = Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        started = False
        is_head = scope["method"] == "HEAD"
        ordered = () if self.protector is None else self.protector.current.headers

        async def sealed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _sealed(message["headers"], ordered)
            elif is_head:
                message["body"] = b""
            await send(message)

        if is_head:
            scope = {**scope, "method": "GET", "head": True}
        try:
            app = _refusal(scope, local=self.local) or await self._admission(scope)
            if app is None:
                app, receive = await _taken(self.app, scope, receive)
            await app(scope, receive, sealed)
        except Exception as error:  # noqa: BLE001 - the last line: whatever it is, the client gets an answer
            log.error("request failed", path=scope["path"], error=f"{type(error).__name__}: {error}")  # noqa: TRY400 - never a traceback
            if not started:
                answer = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "this is a fault of ours; the log has it")
                await answer(scope, receive, sealed)

    async def _admission(self, scope: Scope) -> ASGIApp | None:
        """The answer to who may not come in: without a password, or too often."""
        protector = self.protector
        users = {} if protector is None else protector.current.users
        if protector is None or scope["path"] in OPEN:
            scope["guarded"] = bool(users)  # what is open says no more than it must
            return None
        now = time.monotonic()
        if not protector.take(now):
            protector.refused["rate"] += 1
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "more requests than `rate_limit` lets in")
        given = dict(scope["headers"])
        header = given.get(b"authorization", b"")
        if not users or self.bears_token(scope["method"], scope["path"], header):
            return None
        client = (scope.get("client") or ("",))[0]
        verdict = await self.passwords.judge(users, header, client=client, now=now)
        if verdict in _REASONS:
            protector.refused[_REASONS[verdict]] += 1
        return _answer(verdict, {b"transfer-encoding", b"content-length"} & set(given))


def _answer(verdict: Verdict, body: Collection[bytes]) -> ASGIApp | None:
    """What a login gets; a body that comes with a wrong one is not read."""
    further = _CLOSE if body else {}
    if verdict is Verdict.RIGHT:
        return None
    if verdict is Verdict.LATER:
        detail, headers = "too many wrong passwords; wait a little", {"retry-after": f"{GUESS_SECONDS:.0f}"}
        return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers | further)
    detail = "a user and the right password are needed"
    return problem(HTTPStatus.UNAUTHORIZED, detail, headers=_ASK | further)


def _sealed(given: Iterable[Header], ordered: Iterable[Header]) -> list[Header]:
    """An answer's headers with those that every answer has; what is ordered goes before all others."""
    ordered = list(ordered)
    first = {name for name, _ in ordered}
    found = [(name, value) for name, value in given if name.lower() not in first] + ordered
    names = {name.lower() for name, _ in found}  # a page brings its own policy
    return found + [(name, value) for name, value in _HEADERS if name not in names]


def _refusal(scope: Scope, *, local: bool) -> ASGIApp | None:
    """The answer to a request that goes no further, by its headers alone."""
    values = {name: value.decode("latin-1") for name, value in scope["headers"]}
    if b"transfer-encoding" in values and b"content-length" in values:
        return problem(HTTPStatus.BAD_REQUEST, "a body has one length, not two", headers=_CLOSE)
    length = values.get(b"content-length", "0")
    if not length.isdecimal() or len(length) > _DIGITS or int(length) > LARGEST_BODY:
        return _too_large()
    host = values.get(b"host")
    if local and host is not None and not is_loopback(without_port(host)):
        return problem(
            HTTPStatus.MISDIRECTED_REQUEST, "this server answers to loopback names only", headers=_CLOSE
        )
    return None


def _too_large() -> ASGIApp:
    """The answer to a body that is too large."""
    detail = f"a body may have {LARGEST_BODY} bytes"
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers=_CLOSE)


async def _taken(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[ASGIApp, Receive]:
    """Take in the whole body, and say who gets it: a refusal where size or time have no end."""
    if not {b"transfer-encoding", b"content-length"} & {name for name, _ in scope["headers"]}:
        return app, receive
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    return _too_large(), receive
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        return problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not come", headers=_CLOSE), receive
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return whole.pop() if whole else await receive()

    return app, again
