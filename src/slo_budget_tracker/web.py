"""What the daemon shows over HTTP: metrics, health, snapshots as JSON; all of it from one frozen view."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Route

from slo_budget_tracker import __version__
from slo_budget_tracker.addresses import is_loopback, parse_listen
from slo_budget_tracker.exposition import OPENMETRICS_TYPE, TEXT_TYPE
from slo_budget_tracker.guarding import Guard
from slo_budget_tracker.inquiries import add_inquiries
from slo_budget_tracker.levers import Lever, add_reload, bears_token
from slo_budget_tracker.notes import add_annotations
from slo_budget_tracker.pages import add_pages
from slo_budget_tracker.replies import JSON, json_reply, reply, unknown_slo, wants_openmetrics
from slo_budget_tracker.resources import (
    GroupPage,
    Problem,
    ProblemResponse,
    SeedForm,
    Snapshot,
    SnapshotPage,
    Status,
    problem,
)
from slo_budget_tracker.streaming import add_stream
from slo_budget_tracker.tokens import Tokens
from slo_budget_tracker.views import Content, Display, Notebook, Past, View, compose, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from slo_budget_tracker.protection import Protector

__all__ = ["Content", "Display", "Notebook", "Past", "View", "build", "compose", "prepare", "routes"]

LARGEST_PAGE = 1_000
LARGEST_OFFSET = 1_000_000
FAULT = "This is a fault of ours; the log has it."
NOWHERE = "There is nothing at this path."


def build(
    display: Display,
    *,
    listen: str,
    lever: Lever | None = None,
    pen: Path | None = None,
    protector: Protector | None = None,
) -> ASGIApp:
    """The whole application for the address it will listen on.

    With a lever it can be made to reload; with a pen, the file of a token, annotations can be written; with a
    protector, it asks for passwords.
    """
    host, _ = parse_listen(listen)
    tokens = Tokens() if protector is None else Tokens(protector.refused)
    app = routes(display, lever=lever, pen=pen, tokens=tokens)
    return Guard(app, local=is_loopback(host), protector=protector, bears_token=bears_token)


def routes(
    display: Display, *, lever: Lever | None = None, pen: Path | None = None, tokens: Tokens | None = None
) -> FastAPI:
    """The routes without their guard."""
    tokens = tokens or Tokens()
    app = FastAPI(
        title="slo-budget-tracker",
        version=__version__,
        summary="Error budgets and burn rates. Times are RFC 3339 UTC, ratios 0..1, durations seconds.",
        docs_url=None,  # pages that load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        responses={
            "4XX": {
                "description": "What was wrong",
                "content": {ProblemResponse.media_type: _schema(Problem)},
            }
        },
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    _operations(app, display)
    add_reload(app, lever, tokens)
    _snapshots(app, display)
    add_inquiries(app, display)
    add_annotations(app, display, pen, tokens)
    add_stream(app, display)
    pages = add_pages(app, display)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.NOT_FOUND and "text/html" in request.headers.get("accept", ""):
            return await run_in_threadpool(pages.message, request, HTTPStatus.NOT_FOUND, NOWHERE)
        return _refused(request, error, app)

    async def failed(request: Request, _error: Exception) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            with suppress(Exception):  # whatever is wrong with pages, there is an answer
                return await run_in_threadpool(
                    pages.message, request, HTTPStatus.INTERNAL_SERVER_ERROR, FAULT
                )
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, FAULT)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, failed)  # the guard logs it
    return app


def _schema(model: type[Problem]) -> dict[str, Any]:
    """A model's schema as OpenAPI has it inside `content`."""
    return {"schema": model.model_json_schema()}


def _operations(app: FastAPI, display: Display) -> None:
    """The routes for Prometheus and for whoever starts and watches the daemon."""

    @app.get("/metrics", response_class=Response, tags=["operations"])
    async def metrics(request: Request) -> Response:
        """All gauges, in Prometheus' text format or as OpenMetrics, as of the last tick."""
        view = display.view
        if wants_openmetrics(request.headers.get("accept", "")):
            return reply(request, view.openmetrics.content(), OPENMETRICS_TYPE)
        return reply(request, view.text.content(), TEXT_TYPE)

    @app.get("/-/healthy", response_class=Response, tags=["operations"])
    async def healthy() -> Response:
        """200 while the process answers, whatever Prometheus does."""
        return Response("slo-budget-tracker is healthy.\n", media_type="text/plain")

    @app.get("/-/ready", response_class=Response, tags=["operations"])
    async def ready(request: Request) -> Response:
        """200 when budgets are served and up to date, else 503 with the reasons, unless they are guarded."""
        reasons = display.unready()
        if reasons and request.scope.get("guarded", False):
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "not ready; /api/v1/status has the reasons")
        if reasons:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(reasons), reasons=reasons)
        return Response("slo-budget-tracker is ready.\n", media_type="text/plain")

    @app.get(
        "/api/v1/status", response_class=Response, responses={200: {"model": Status}}, tags=["operations"]
    )
    async def status(request: Request) -> Response:
        """What the daemon says about itself: is it ready, did the last reload succeed, and if not, why."""
        view, reasons = display.view, display.unready()
        found = Status(
            version=__version__,
            slos=len(view.slos),
            ready=not reasons,
            reasons=reasons,
            reload_successful=not view.faults,
            reload_faults=list(view.faults),
            remarks=list(display.remarks),
            role="leader" if display.role.leads else "follower",
            term=display.role.term,
            leader=display.role.leader,
        )
        return json_reply(request, orjson.dumps(found.model_dump()))


def _snapshots(app: FastAPI, display: Display) -> None:
    """The routes that show SLOs as JSON."""

    @app.get("/slo", response_class=Response, responses={200: {"model": SeedForm}}, tags=["slos"])
    async def seed(request: Request) -> Response:
        """All SLOs at once, as slo-budget-tracker 0.1 showed them."""
        return reply(request, display.view.seed.content(), JSON)

    @app.get("/api/v1/slos", response_class=Response, responses={200: {"model": SnapshotPage}}, tags=["slos"])
    async def slos(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0,
    ) -> Response:
        """A page of SLOs, in the order of their names."""
        view = display.view
        page = b",".join([view.slos[name] for name in view.names[offset : offset + limit]])
        rest = b'],"total":%d,"limit":%d,"offset":%d}' % (len(view.names), limit, offset)
        return json_reply(request, b'{"slos":[' + page + rest)

    @app.get(
        "/api/v1/slos/{name}",
        response_class=Response,
        responses={200: {"model": Snapshot | GroupPage}},
        tags=["slos"],
    )
    async def slo(
        request: Request,
        name: str,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0,
    ) -> Response:
        """One SLO; of an SLO with groups the roll-up and a page of groups, `?group.handler=/pay` chooses."""
        view = display.view
        body = view.slos.get(name)
        if body is None:
            return unknown_slo(name, view.slos)
        if name not in view.groups:
            return json_reply(request, body)
        wanted = {
            key.removeprefix("group."): value
            for key, value in request.query_params.items()
            if key.startswith("group.")
        }
        found = [one.body for one in view.groups[name] if wanted.items() <= one.labels.items()]
        page = b",".join(found[offset : offset + limit])
        rest = b'],"total":%d,"limit":%d,"offset":%d}' % (len(found), limit, offset)
        return json_reply(request, b'{"rollup":' + body + b',"groups":[' + page + rest)


_READ, _WRITTEN = {"GET", "HEAD"}, {"POST"}


def _refused(request: Request, error: HTTPException, app: FastAPI) -> Response:
    """No such path, wrong method."""
    detail, headers = str(error.detail), {key.lower(): text for key, text in (error.headers or {}).items()}
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this path"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = _methods(app, request.url.path)
        headers["allow"] = ", ".join(sorted(methods))
        if methods == _READ:
            detail = "this path is only read (GET, HEAD)"
        elif methods == _WRITTEN:
            detail = "this path is written to (POST), reading it changes nothing"
        else:
            detail = f"this path answers to {headers['allow']}, not to {request.method}"
    return problem(error.status_code, detail, headers=headers)


def _methods(app: FastAPI, path: str) -> set[str]:
    """What all routes of a path answer to together."""
    routes = [one for one in app.routes if isinstance(one, Route) and one.path_regex.match(path)]
    found = {method for one in routes for method in one.methods or ()}
    return found | ({"HEAD"} if "GET" in found else set())  # the guard makes one of the other


async def _invalid(_request: Request, error: Exception) -> Response:
    """Parameters that are not what the API says; every fault is named."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg'].lower()}" for one in error.errors()]
    return problem(HTTPStatus.BAD_REQUEST, "; ".join(faults))
