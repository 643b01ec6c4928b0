"""Streaming: one message per published view to whoever listens (server-sent events), to a bounded number."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

import orjson
from fastapi import FastAPI, Query, Request, Response
from starlette.responses import StreamingResponse

from slo_budget_tracker.replies import unknown_slo
from slo_budget_tracker.resources import problem
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.standing import tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

    from slo_budget_tracker.views import Display

MOST_LISTENERS = 64
HEARTBEAT_SECONDS = 15.0
LONGEST_SECONDS = 3_600.0  # then the listener comes again
EVENT_STREAM = "text/event-stream"
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Listening(StreamingResponse):
    """The answer to one listener; its place is free again however it ends."""

    media_type = EVENT_STREAM

    def __init__(self, display: Display, slo: str | None, places: set[Listening]) -> None:
        super().__init__(_messages(display, slo), headers=HEADERS)
        self.places = places
        places.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until the listener leaves."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.places.discard(self)


def add_stream(app: FastAPI, display: Display) -> None:
    """The route of the stream."""
    places: set[Listening] = set()

    @app.get(
        "/api/v1/stream",
        response_class=Response,
        responses={200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}},
        tags=["slos"],
    )
    async def stream(request: Request, slo: Annotated[str | None, Query(max_length=100)] = None) -> Response:
        """Server-sent events: `tick` after each evaluation, how all SLOs stand, or one as a whole."""
        if slo is not None and slo not in display.view.slos:
            return unknown_slo(slo, display.view.slos)
        if request.scope.get("head", False):  # an answer without a body has an end
            return Response(media_type=EVENT_STREAM, headers=HEADERS)
        if len(places) >= MOST_LISTENERS:
            detail = f"{MOST_LISTENERS} listeners are served already"
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"retry-after": "30"})
        return Listening(display, slo, places)


async def _messages(display: Display, slo: str | None) -> AsyncIterator[bytes]:
    """The view of now and each one after it; a comment now and then shows that the line is open."""
    loop, fresh = asyncio.get_running_loop(), asyncio.Event()
    ends = loop.time() + LONGEST_SECONDS

    def wake() -> None:
        with suppress(RuntimeError):  # the server has left
            loop.call_soon_threadsafe(fresh.set)

    forget = display.subscribe(wake)
    try:
        yield b"retry: 3000\n\n"
        yield _message(display, slo)
        while loop.time() < ends:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await fresh.wait()
            except TimeoutError:
                yield b": open\n\n"
                continue
            fresh.clear()
            yield _message(display, slo)
    finally:
        forget()


def _message(display: Display, slo: str | None) -> bytes:
    view = display.view
    at = view.at
    if slo is not None:
        data = view.slos.get(slo, b"null")
    else:
        data = orjson.dumps(
            {
                "evaluated_at": None if at is None else instant_text(at),
                "slos": len(view.snapshots),
                **tally(view.snapshots),
                "ready": not display.unready(),
            }
        )
    return b"event: tick\nid: %d\ndata: %s\n\n" % (at or 0, data)
