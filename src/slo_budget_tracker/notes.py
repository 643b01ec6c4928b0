"""Notes: annotations over HTTP; read by all, written with a token and from the same origin only (H9)."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import Depends, FastAPI, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from slo_budget_tracker.annotations import Annotation, Sought, annotation_json
from slo_budget_tracker.durations import parse_instant
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.inquiries import Excerpt, Refused
from slo_budget_tracker.levers import refusal
from slo_budget_tracker.replies import JSON, json_reply, unknown_slo
from slo_budget_tracker.resources import (
    Annotation as Shape,
)
from slo_budget_tracker.resources import (
    AnnotationPage,
    NewAnnotation,
    Problem,
    problem,
)

if TYPE_CHECKING:
    from pathlib import Path

    from slo_budget_tracker.tokens import Tokens
    from slo_budget_tracker.views import Display

EARLIEST, LATEST = 400 * 86_400, 31 * 86_400  # seconds before and after now that a mark may be at
_OFF = "annotations are off: set `web.annotations: true` and `web.annotations_token_file`"
_PATH = "/api/v1/annotations"


def add_annotations(app: FastAPI, display: Display, pen: Path | None, tokens: Tokens) -> None:
    """The routes of annotations; without a pen, the file of the token, they are only read."""
    _reading(app, display)
    _writing(app, display, pen, tokens)


def _reading(app: FastAPI, display: Display) -> None:
    @app.get(_PATH, response_class=Response, responses={200: {"model": AnnotationPage}}, tags=["annotations"])
    def annotations(request: Request, asked: Annotated[Excerpt, Depends()]) -> Response:
        """Marks that touch a span, newest first; with `slo` those about it, by name, glob or service."""
        view, slo = display.view, asked.slo
        if slo is not None and slo not in view.slos:
            return unknown_slo(slo, view.slos)
        definition = view.definitions.get(slo or "")
        try:
            since, until = asked.span(view.at or 0)
            service = definition.service if definition else ""
            found = display.notebook.find(
                Sought(slo, service, asked.kinds, since, until, asked.limit, asked.offset)
            )
        except Refused as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except LedgerError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        page = [annotation_json(one) for one in found.marks]
        return json_reply(
            request, {"annotations": page, "total": found.total, "limit": asked.limit, "offset": asked.offset}
        )


def _writing(app: FastAPI, display: Display, pen: Path | None, tokens: Tokens) -> None:
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Problem} for code in (400, 401, 403, 404, 415, 429, 503)
    }
    body = {"required": True, "content": {JSON: {"schema": NewAnnotation.model_json_schema()}}}

    @app.post(
        _PATH,
        status_code=201,
        response_class=Response,
        responses={200: {"model": Shape}, 201: {"model": Shape}, **refusals},
        openapi_extra={"requestBody": body},
        tags=["annotations"],
    )
    async def annotate(request: Request) -> Response:
        """Set a mark: 201 with it, 200 when the same mark is there already."""
        refused = _stopped(request, pen, tokens) or _not_json(request)
        if refused is not None:
            return refused
        try:
            one = _mark(await request.body(), now=int(display.wall()))
            new = await run_in_threadpool(display.notebook.add, one)
        except Refused as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except LedgerError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        status = HTTPStatus.CREATED if new else HTTPStatus.OK
        return Response(orjson.dumps(annotation_json(one)), status, media_type=JSON)

    @app.delete(
        f"{_PATH}/{{mark_id}}",
        status_code=204,
        response_class=Response,
        responses=refusals,
        tags=["annotations"],
    )
    async def erase(request: Request, mark_id: str) -> Response:
        """Take a mark away."""
        refused = _stopped(request, pen, tokens)
        if refused is not None:
            return refused
        try:
            gone = await run_in_threadpool(display.notebook.erase, mark_id)
        except LedgerError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if not gone:
            return problem(HTTPStatus.NOT_FOUND, "there is no annotation of this id")
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _stopped(request: Request, pen: Path | None, tokens: Tokens) -> Response | None:
    if pen is None:
        return problem(HTTPStatus.FORBIDDEN, _OFF)
    return refusal(request, tokens, pen, setting="web.annotations_token_file", deed="write annotations")


def _not_json(request: Request) -> Response | None:
    """A form of another page cannot send JSON without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == JSON:
        return None
    return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a mark is sent as JSON: content-type application/json")


def _mark(body: bytes, *, now: int) -> Annotation:
    """The mark that a body describes.

    Raises:
        Refused: it does not describe one; every fault is named.
    """
    try:
        asked = NewAnnotation.model_validate_json(body)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg'].lower()}" for one in error.errors()
        )
        raise Refused("; ".join(faults)) from error
    start = now if asked.at is None else _when("at", asked.at, now)
    end = None if asked.until is None else _when("until", asked.until, now)
    if end is not None and end <= start:
        raise Refused("until: not after `at`")
    return Annotation(
        asked.kind, start, asked.text, end, asked.link, asked.author, asked.service, tuple(asked.slos)
    )


def _when(name: str, text: str, now: int) -> int:
    try:
        found = int(parse_instant(text.strip(), now=now))
    except (ValueError, OverflowError) as error:
        raise Refused(f"{name}: {error}") from error
    if not now - EARLIEST <= found <= now + LATEST:
        raise Refused(f"{name}: {text} is not within the last 400 days or the next 31")
    return found
