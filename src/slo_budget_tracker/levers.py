"""Levers: what can be done over HTTP, behind a token and for callers of the same origin only (H9)."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request, Response

from slo_budget_tracker.filesets import read_text
from slo_budget_tracker.guesses import GUESS_SECONDS, Verdict
from slo_budget_tracker.resources import Problem, Reloaded, problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from slo_budget_tracker.tokens import Tokens

LONGEST = 120.0  # seconds that a caller waits for a reload
_WRITING = (  # each of these routes looks at a token of its own
    ("POST", re.compile(r"/-/reload|/api/v1/annotations")),
    ("DELETE", re.compile(r"/api/v1/annotations/[^/]+")),
)
SAME_ORIGIN = {"same-origin", "none"}  # Sec-Fetch-Site of a page of ours, of a person's own doing
_OFF = "reloading over HTTP is off: set `web.reload: true` and `web.reload_token_file`, or send SIGHUP"


@dataclass(frozen=True, slots=True)
class Lever:
    """Starts a reload; the token is read anew each time, so that it can be rotated."""

    reload: Callable[[], Future[Reloaded]]
    token_file: Path


def bears_token(method: str, asked: str, authorization: bytes) -> bool:
    """Whether a request comes with a token that its route looks at: it needs no password beside it."""
    writes = any(method == one and path.fullmatch(asked) for one, path in _WRITING)
    return writes and authorization.lower().startswith(b"bearer ")


def add_reload(app: FastAPI, lever: Lever | None, tokens: Tokens) -> None:
    """The route that reloads: POST only, off without a lever."""
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem} for code in (400, 401, 403, 429, 500, 503)
    }

    @app.post(
        "/-/reload",
        response_class=Response,
        responses={200: {"model": Reloaded}, **refusals},
        tags=["operations"],
    )
    async def reload(request: Request) -> Response:
        """Read all files again: 200 with what changed, 400 with every fault; then what ran goes on."""
        if lever is None:
            return problem(HTTPStatus.FORBIDDEN, _OFF)
        refused = refusal(
            request, tokens, lever.token_file, setting="web.reload_token_file", deed="reload this daemon"
        )
        if refused is not None:
            return refused
        try:
            async with asyncio.timeout(LONGEST):
                done = await asyncio.shield(asyncio.wrap_future(lever.reload()))
        except (TimeoutError, asyncio.CancelledError):
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "the reload is not done yet; the log will say more"
            )
        if done.faults:
            return problem(done.status, "; ".join(done.faults), reasons=done.faults)
        return Response(orjson.dumps(done.model_dump()), media_type="application/json")


def refusal(
    request: Request, tokens: Tokens, token_file: Path, *, setting: str, deed: str
) -> Response | None:
    """The answer to who may not: a page of another origin, without the token, or guessing; None for who may.

    `setting` names the token's file, `deed` what is not allowed.
    """
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin")
    if site not in SAME_ORIGIN or (origin is not None and not _ours(origin, request)):
        return problem(HTTPStatus.FORBIDDEN, f"a page of another origin cannot {deed}")
    expected = read_text(token_file)
    if not isinstance(expected, str) or not expected.strip():
        return problem(HTTPStatus.FORBIDDEN, f"{setting} cannot be read or is empty")
    client = request.client.host if request.client else ""
    given = request.headers.get("authorization", "")
    verdict = tokens.judge(setting, given, expected.strip(), client=client, now=time.monotonic())
    if verdict is Verdict.RIGHT:
        return None
    if verdict is Verdict.LATER:
        wait = {"retry-after": f"{GUESS_SECONDS:.0f}"}
        detail = "too many wrong tokens from this address; wait a little"
        return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, headers=wait)
    ask = {"www-authenticate": 'Bearer realm="slo-budget-tracker"'}
    return problem(HTTPStatus.UNAUTHORIZED, "the token is missing or not the right one", headers=ask)


def _ours(origin: str, request: Request) -> bool:
    """Whether a page of this very server asks."""
    return origin.partition("://")[2] == request.headers.get("host", "")
