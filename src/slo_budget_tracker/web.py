"""What the daemon shows over HTTP: metrics, health, snapshots as JSON; all of it from one frozen view."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from slo_budget_tracker import __version__
from slo_budget_tracker.addresses import is_loopback, parse_listen
from slo_budget_tracker.exposition import OPENMETRICS_TYPE, TEXT_TYPE, openmetrics
from slo_budget_tracker.guarding import Guard
from slo_budget_tracker.levers import Lever, add_reload
from slo_budget_tracker.resources import (
    Problem,
    ProblemResponse,
    SeedForm,
    Snapshot,
    SnapshotPage,
    Status,
    problem,
)
from slo_budget_tracker.snapshots import seed_json, snapshot_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.types import ASGIApp

    from slo_budget_tracker.snapshots import SLOSnapshot

LARGEST_PAGE = 1_000
LARGEST_OFFSET = 1_000_000
JSON = "application/json"
_COMPARED_NAMES = 1_000  # a wrong name is compared with so many: bounded work for nonsense
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is ready to be sent, plain and compressed."""

    body: bytes
    compressed: bytes | None
    tag: str


def prepare(body: bytes, *, compress: bool = True) -> Content:
    """The body with its entity tag; the lowest level of compression is a twentieth of the size already."""
    tag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    return Content(body, gzip.compress(body, 1, mtime=0) if compress else None, tag)


@dataclass(frozen=True, slots=True)
class View:
    """Everything there is to show after one tick.

    `unready` says why the daemon is not ready. After `fresh_until`, on the display's clock, it is not ready
    either: the next view should have been here.
    """

    text: Content
    openmetrics: Content
    seed: Content
    slos: Mapping[str, bytes] = field(default_factory=dict)  # JSON by name, in the order of names
    unready: tuple[str, ...] = ()
    fresh_until: float | None = None
    faults: tuple[str, ...] = ()  # of the last reload, which was refused for them


def compose(
    *,
    metrics: bytes = b"",
    snapshots: Iterable[SLOSnapshot] = (),
    unready: Iterable[str] = (),
    fresh_until: float | None = None,
    faults: Iterable[str] = (),
) -> View:
    """The view of one tick, all bodies made once: to be called by the daemon's own thread."""
    ordered = sorted(snapshots, key=lambda one: (one.name, sorted(one.labels.items())))
    return View(
        text=prepare(metrics),
        openmetrics=prepare(openmetrics(metrics)),
        seed=prepare(orjson.dumps({"slos": [seed_json(one) for one in ordered]})),
        slos=MappingProxyType({one.name: orjson.dumps(snapshot_json(one)) for one in ordered}),
        unready=tuple(unready),
        fresh_until=fresh_until,
        faults=tuple(faults),
    )


class Display:
    """Where the daemon hangs up its latest view: `display.view = compose(…)`, one assignment."""

    def __init__(self, view: View, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.view = view
        self.clock = clock

    def unready(self) -> list[str]:
        """Why the daemon is not ready right now; empty when it is."""
        view = self.view
        late = 0.0 if view.fresh_until is None else self.clock() - view.fresh_until
        return [*view.unready, *([f"the next tick is {late:.0f} s overdue"] if late > 0 else [])]


def build(display: Display, *, listen: str, lever: Lever | None = None) -> ASGIApp:
    """The whole application for the address it will listen on; with a lever, it can be made to reload."""
    host, _ = parse_listen(listen)
    return Guard(routes(display, lever=lever), local=is_loopback(host))


def routes(display: Display, *, lever: Lever | None = None) -> FastAPI:
    """The routes without their guard."""
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
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    _operations(app, display)
    add_reload(app, lever)
    _snapshots(app, display)
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
        if _wants_openmetrics(request.headers.get("accept", "")):
            return _content(request, view.openmetrics, OPENMETRICS_TYPE)
        return _content(request, view.text, TEXT_TYPE)

    @app.get("/-/healthy", response_class=Response, tags=["operations"])
    async def healthy() -> Response:
        """200 while the process answers, whatever Prometheus does."""
        return Response("slo-budget-tracker is healthy.\n", media_type="text/plain")

    @app.get("/-/ready", response_class=Response, tags=["operations"])
    async def ready() -> Response:
        """200 when budgets are served and up to date, else 503 with the reasons."""
        reasons = display.unready()
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
        )
        return _content(request, prepare(orjson.dumps(found.model_dump()), compress=False), JSON)


def _snapshots(app: FastAPI, display: Display) -> None:
    """The routes that show SLOs as JSON."""

    @app.get("/slo", response_class=Response, responses={200: {"model": SeedForm}}, tags=["slos"])
    async def seed(request: Request) -> Response:
        """All SLOs at once, as slo-budget-tracker 0.1 showed them."""
        return _content(request, display.view.seed, JSON)

    @app.get("/api/v1/slos", response_class=Response, responses={200: {"model": SnapshotPage}}, tags=["slos"])
    async def slos(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 100,
        offset: Annotated[int, Query(ge=0, le=LARGEST_OFFSET)] = 0,
    ) -> Response:
        """A page of SLOs, in the order of their names."""
        known = list(display.view.slos.values())
        page = b",".join(known[offset : offset + limit])
        rest = b'],"total":%d,"limit":%d,"offset":%d}' % (len(known), limit, offset)
        return _content(request, prepare(b'{"slos":[' + page + rest, compress=False), JSON)

    @app.get(
        "/api/v1/slos/{name}", response_class=Response, responses={200: {"model": Snapshot}}, tags=["slos"]
    )
    async def slo(request: Request, name: str) -> Response:
        """One SLO."""
        known = display.view.slos
        body = known.get(name)
        if body is None:
            return problem(HTTPStatus.NOT_FOUND, _unknown(name, known))
        return _content(request, prepare(body, compress=False), JSON)


def _unknown(name: str, known: Iterable[str]) -> str:
    """The sentence for a name that no SLO has."""
    if len(name) > _LONGEST_NAME:
        return "there is no SLO of that name"
    near = get_close_matches(name, list(known)[:_COMPARED_NAMES], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"there is no SLO {name!r}{hint}"


def _content(request: Request, content: Content, media_type: str) -> Response:
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


def _wants_openmetrics(accept: str) -> bool:
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


async def _refused(_request: Request, error: Exception) -> Response:
    """No such path, wrong method."""
    assert isinstance(error, HTTPException)
    detail = {404: "there is nothing at this path", 405: "this path is only read (GET, HEAD)"}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and "POST" in (error.headers or {}).get(
        "allow", ""
    ):
        detail[405] = "this path is written to (POST), reading it changes nothing"
    return problem(error.status_code, detail.get(error.status_code, str(error.detail)), headers=error.headers)


async def _invalid(_request: Request, error: Exception) -> Response:
    """Parameters that are not what the API says; every fault is named."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg'].lower()}" for one in error.errors()]
    return problem(HTTPStatus.BAD_REQUEST, "; ".join(faults))
