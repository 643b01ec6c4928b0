"""Pages: the list of SLOs and the page of each, rendered here, kept up to date by the stream of ticks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import FastAPI, Request, Response

from slo_budget_tracker import __version__, assets, drawing, wording
from slo_budget_tracker.courses import remains
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.inquiries import groups
from slo_budget_tracker.listing import ORDERS, Listing, Wish
from slo_budget_tracker.portrait import portrait
from slo_budget_tracker.replies import reply
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.views import prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.assets import Asset
    from slo_budget_tracker.listing import Line
    from slo_budget_tracker.views import Content, Display, View

HTML = "text/html; charset=utf-8"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SPARK_POINTS = 40
MOST_KEPT = 64  # lists of one view
MOST_FIRING = 20  # shown above the list; the rest is a number
CACHED = "public, max-age=31536000, immutable"


class Pages:
    """The templates; of the view that was last looked at its listing, and the lists made of it."""

    def __init__(self, display: Display, files: Mapping[str, Asset]) -> None:
        self.display = display
        self._listing: tuple[View, Listing, dict[object, Content]] | None = None
        self._templates = jinja2.Environment(
            loader=jinja2.DictLoader(assets.templates()),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            w=wording,
            version=__version__,
            asset={name: asset.address for name, asset in files.items()},
            bar=drawing.bar,
            address=address,
        )
        self._templates.filters["web"] = web

    def listing(self, view: View) -> Listing:
        """The lines of a view, made once."""
        return self._of(view)[1]

    def overview(self, wish: Wish) -> Content:
        """The list as somebody wishes it; between two ticks it is the same for all who wish the same."""
        display, view = self.display, self.display.view
        _, listing, made = self._of(view)
        key = (wish, tuple(display.unready()), tuple(display.remarks))
        content = made.get(key)
        if content is None:
            shown = listing.page(wish)
            content = self.content(
                "list.html",
                listing=listing,
                wish=wish,
                shown=shown,
                sparks=self.sparks(shown.lines),
                orders=tuple(ORDERS),
                most_firing=MOST_FIRING,
            )
            if len(made) < MOST_KEPT:
                made[key] = content
        return content

    def _of(self, view: View) -> tuple[View, Listing, dict[object, Content]]:
        known = self._listing
        if known is None or known[0] is not view:
            known = self._listing = (view, Listing.of(view), {})
        return known

    def content(self, template: str, **values: Any) -> Content:
        """A page, ready to be sent."""
        display, view = self.display, self.display.view
        body = self._templates.get_template(template).render(
            at=view.known_at,
            unready=display.unready(),
            faults=view.faults,
            remarks=display.remarks,
            interval=display.interval,
            **values,
        )
        return prepare(body.encode("utf-8", "replace"))

    def send(self, request: Request, content: Content, status: int = HTTPStatus.OK) -> Response:
        """The answer with a page; by its tag an unchanged one is not sent again."""
        answer = reply(request, content, HTML)
        if status != HTTPStatus.OK:
            answer.status_code = status
        answer.headers["content-security-policy"] = POLICY
        return answer

    def message(self, request: Request, status: HTTPStatus, sentence: str) -> Response:
        """A page that says one thing."""
        content = self.content("message.html", title=status.phrase, sentence=sentence)
        return self.send(request, content, status)

    def sparks(self, lines: Sequence[Line]) -> dict[int, drawing.Spark | None]:
        """How the budgets of a page's lines went over their windows, by place."""
        found, slos = {}, self.display.view.definitions
        for place, line in enumerate(lines):
            one, slo = line.snapshot, line.slo
            if slo is not None:
                step = max(one.window_seconds // (SPARK_POINTS - 1), 1)
                ends = [one.evaluated_at - step * back for back in range(SPARK_POINTS - 1, -1, -1)]
                clock = Clock(one.evaluated_at, self.display.interval)
                found[place] = drawing.spark(remains(slo, one.labels, ends, self.display.past, slos, clock))
            else:
                found[place] = None
        return found


def add_pages(app: FastAPI, display: Display) -> Pages:
    """The routes of pages and of the files they load; they run in threads, as they take milliseconds."""
    files = assets.load()
    pages = Pages(display, files)
    _files(app, files)

    @app.get("/", response_class=Response, include_in_schema=False)
    def overview(request: Request) -> Response:
        """All SLOs, filtered and sorted as the address says."""
        return pages.send(request, pages.overview(Wish.of(request.query_params)))

    @app.get("/slos/{name}", response_class=Response, include_in_schema=False)
    def detail(request: Request, name: str) -> Response:
        """One SLO: figures, charts, alerts, events, definition, and why it is as it is."""
        try:
            found = portrait(display, pages.listing(display.view), name, groups(request))
        except LedgerError as error:
            return pages.message(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        if found is None:
            return pages.message(request, HTTPStatus.NOT_FOUND, f"There is no SLO named “{name[:100]}”.")
        return pages.send(request, pages.content("slo.html", one=found))

    return pages


def _files(app: FastAPI, files: Mapping[str, Asset]) -> None:
    """Each file has a route of its own: nothing is looked up on a disk."""

    def add(name: str, asset: Asset) -> None:
        @app.get(f"/static/{name}", response_class=Response, include_in_schema=False, name=name)
        async def file(request: Request) -> Response:
            answer = reply(request, asset.content, asset.media_type)
            if request.url.query:
                answer.headers["cache-control"] = CACHED
            return answer

    for name, asset in files.items():
        add(name, asset)


def address(name: str, labels: Mapping[str, str]) -> str:
    """Where the page of an SLO instance is."""
    query = urlencode({f"group.{key}": value for key, value in labels.items()})
    return f"/slos/{quote(name, safe='')}" + (f"?{query}" if query else "")


def web(link: str) -> str | None:
    """The link if it leads to a web page; scripts and data are no addresses (H8)."""
    return link if link.lower().startswith(("http://", "https://")) else None
