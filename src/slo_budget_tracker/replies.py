"""Replies: a prepared body with its entity tag, compressed for those who take that."""

from __future__ import annotations

from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson
from fastapi import Response

from slo_budget_tracker.resources import problem
from slo_budget_tracker.views import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import Request

    from slo_budget_tracker.views import Content

JSON = "application/json"
_COMPARED_NAMES = 1_000  # a wrong name is compared with so many: bounded work for nonsense
_LONGEST_NAME = 100
SMALL = 2_048  # bytes that are not worth compressing


def json_reply(request: Request, found: object) -> Response:
    """An answer made for this request, with a tag of its own."""
    body = found if isinstance(found, bytes) else orjson.dumps(found)
    return reply(request, prepare(body, compress=len(body) > SMALL), JSON)


def reply(request: Request, content: Content, media_type: str) -> Response:
    """The body, compressed if the client takes that; nothing but the tag if it has it already."""
    headers = {"etag": content.tag, "vary": "Accept, Accept-Encoding", "cache-control": "no-cache"}
    if _has(request.headers.get("if-none-match", ""), content.tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if content.compressed is not None and _quality(request.headers.get("accept-encoding", ""), "gzip") > 0:
        headers["content-encoding"] = "gzip"
        return Response(content.compressed, media_type=media_type, headers=headers)
    return Response(content.body, media_type=media_type, headers=headers)


def _has(condition: str, tag: str) -> bool:
    """Whether `If-None-Match` names the tag (weak comparison)."""
    opaque = tag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in {opaque, "*"} for one in condition.split(","))


def wants_openmetrics(accept: str) -> bool:
    """Whether a scraper takes OpenMetrics at least as gladly as the older text format."""
    wanted = _quality(accept, "application/openmetrics-text")
    return wanted > 0 and wanted >= _quality(accept, "text/plain")


def _quality(header: str, word: str) -> float:
    """The highest q that an Accept or Accept-Encoding header gives to a word; 0 where it does not name it."""
    best = 0.0
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name == word:
            q = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            best = max(best, float(q) if q.replace(".", "", 1).isdecimal() else 0.0)
    return best


def unknown_slo(name: str, known: Iterable[str]) -> Response:
    """The answer for a name that no SLO has."""
    return problem(HTTPStatus.NOT_FOUND, _unknown(name, known))


def _unknown(name: str, known: Iterable[str]) -> str:
    """The sentence for a name that no SLO has."""
    if len(name) > _LONGEST_NAME:
        return "there is no SLO of that name"
    near = get_close_matches(name, list(known)[:_COMPARED_NAMES], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no SLO {name!r}{hint}"
