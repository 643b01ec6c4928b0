"""A display with SLOs in every state over a month of history, judged by the daemon's own rules."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from slo_budget_tracker.annotations import Annotation, Marked
from slo_budget_tracker.history import History
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.rows import Row
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, RequestsSli, workbook
from slo_budget_tracker.ticks import Outcome
from slo_budget_tracker.timeline import Found, Happening
from slo_budget_tracker.verdict import assess
from slo_budget_tracker.views import NO_NOTES
from slo_budget_tracker.web import Display, Past, build, compose

if TYPE_CHECKING:
    from collections.abc import Callable

    from slo_budget_tracker.corrections import Correction

DAY, MINUTE = 86_400, 60
STEP = 1_800  # seconds of a stored row; the last hours are stored by the minute
FINE = 8 * 3_600


def nothing(_: float) -> float:
    """Never an error."""
    return 0.0


@dataclass(frozen=True)
class Service:
    """One SLO with its traffic (events per second) and its error ratio, as functions of days before now."""

    name: str
    description: str
    service: str
    owner: str
    target: str = "0.999"
    window: int = 30 * DAY
    traffic: Callable[[float], float] = lambda ago: 40 + 15 * math.sin(ago * 2 * math.pi)
    errors: Callable[[float], float] = nothing
    silent: Callable[[float], bool] = lambda _: False
    labels: tuple[tuple[str, str], ...] = (("team", "shop"),)
    corrections: tuple[Correction, ...] = ()
    links: tuple[tuple[str, str], ...] = (("runbook", "https://runbooks.example.org/shop"),)

    @property
    def slo(self) -> SLO:
        """Its definition, with the workbook's alerts."""
        metric = f'http_requests_total{{job="{self.service}"'
        sli = RequestsSli(
            total=(parse_selector(f"{metric}}}"),), bad=(parse_selector(f'{metric}, code=~"5.."}}'),)
        )
        return SLO(
            name=self.name,
            description=self.description,
            service=self.service,
            owner=self.owner,
            labels=self.labels,
            links=self.links,
            target=Decimal(self.target),
            window=self.window,
            sli=sli,
            alerts=workbook(Decimal(self.target), self.window)[0],
            source=f"slos/{self.service}.yaml:7",
            corrections=self.corrections,
        )


def between(first: float, last: float, ratio: float, otherwise: float = 0.0002) -> Callable[[float], float]:
    """An error ratio that is another one between two times (days ago)."""
    return lambda ago: ratio if last <= ago < first else otherwise


SERVICES = (
    Service(
        "checkout-availability", "Checkout requests that do not fail on our side", "checkout",
        "payments@example.org", errors=between(0.02, -1, 0.08, 0.0002),
        labels=(("team", "payments"), ("tier", "1")),
        links=(("runbook", "https://runbooks.example.org/checkout"), ("dashboard", "https://grafana.example.org/d/checkout")),
    ),
    Service(
        "checkout-latency", "Checkouts answered within 300 ms", "checkout", "payments@example.org",
        target="0.99", errors=between(1.2, -1, 0.045, 0.006), labels=(("team", "payments"), ("tier", "1")),
    ),
    Service("search-availability", "Searches that are answered", "search", "search@example.org",
            traffic=lambda ago: 180 + 90 * math.sin(ago * 2 * math.pi), errors=between(12, 11.7, 0.01, 0.0001)),
    Service("search-latency", "Searches answered within 500 ms", "search", "search@example.org", target="0.95",
            errors=between(9, 8, 0.06, 0.02), window=7 * DAY),
    Service("webhooks-delivery", "Webhooks that reach the customer at the first attempt", "webhooks",
            "integrations@example.org", target="0.995", traffic=lambda _: 3.0,
            errors=between(6, 5.2, 0.3, 0.003)),
    Service("login-availability", "Logins that do not fail on our side", "identity", "identity@example.org",
            errors=between(20, 19.8, 0.02), silent=lambda ago: ago < 0.03 or 13 < ago < 14.5),
    Service("media-upload", "Uploads that arrive whole", "media", "media@example.org", target="0.99",
            traffic=lambda ago: 0.4 + 0.3 * math.sin(ago * 2 * math.pi), errors=lambda _: 0.004),
    Service("invoices-nightly", "Invoices printed", "billing", "billing@example.org", target="0.999",
            traffic=lambda ago: 0.8 if (ago % 1) < 0.1 else 0.0, errors=nothing),
)  # fmt: skip


def edges(at: int) -> list[int]:
    """The ends of stored rows, oldest first: every half hour, lately every minute."""
    begin = at - 31 * DAY
    return [*range(begin, at - FINE, STEP), *range(at - FINE, at + 1, MINUTE)]


def history(at: int, services: tuple[Service, ...]) -> History:
    """Counts of a month."""
    kept, ends, size = History(), edges(at), len(services)
    ids = np.arange(1, size + 1)
    rows = []
    for start, end in pairwise(ends):
        ago, span = (at - end) / DAY, end - start
        silent = np.array([one.silent(ago) for one in services])
        total = np.array(
            [
                0.0 if quiet else round(one.traffic(ago) * span)
                for one, quiet in zip(services, silent, strict=True)
            ]
        )
        bad = np.array(
            [round(t * one.errors(ago)) for one, t in zip(services, total, strict=True)], np.float64
        )
        outcome = np.where(silent, int(Outcome.NO_DATA), int(Outcome.OK)).astype(np.uint8)
        known = np.where(silent, 0, span).astype(np.int32)
        rows.append(
            Row(
                start,
                end,
                ids,
                total,
                bad,
                known,
                np.zeros(size, np.int32),
                np.where(silent, span, 0).astype(np.int32),
                outcome,
            )
        )
    kept.add(rows)
    return kept


@dataclass
class Showcase:
    """Services, their history, and the display that shows them; `tick` judges and publishes."""

    services: tuple[Service, ...] = SERVICES
    at: int = field(default_factory=lambda: int(time.time()) // 60 * 60 - 30)
    display: Display = field(default_factory=lambda: Display(compose()))

    def __post_init__(self):
        self.slos = [one.slo for one in self.services]
        self.history = history(self.at, self.services)
        self.events = EVENTS(self.at)
        self.notes = NOTES(self.at)
        ids = {one.name: number for number, one in enumerate(self.services, 1)}
        self.ids = ids

        def courses(name, labels, ends, windows):
            return None if labels or name not in ids else self.history.courses(ids[name], ends, windows)

        def events(wanted):
            found = [one for one in self.events if wanted.slo in {None, one.slo}]
            found = [one for one in found if one.at >= (wanted.since or 0)]
            return Found(tuple(found[wanted.offset : wanted.offset + wanted.limit]), len(found))

        def marks(sought):
            found = [one for one in self.notes if one.is_for(sought.slo or "", sought.service)]
            found = [one for one in found if (one.end or one.start) >= (sought.since or 0)]
            return Marked(tuple(found), len(found))

        self.display.past = Past(courses, events)
        self.display.notebook = NO_NOTES._replace(find=marks)
        self.display.datasources = {"default": "http://prometheus.example.org:9090"}
        self.tick()

    def snapshots(self):
        """What the daemon's own rules say of each, now."""
        found = []
        for slo, one in zip(self.slos, self.services, strict=True):
            number = self.ids[slo.name]
            counts = self.history.window(self.at, slo.windows, ids=[number])[number]
            last = Outcome.OK if counts[slo.windows[0]].total else Outcome.NO_TRAFFIC
            outcome = Outcome.NO_DATA if one.silent(0) else last
            verdict = assess(slo, at=self.at, interval=60, outcome=outcome, windows=counts, states={})
            found.append(verdict.snapshot)
        return found

    def publish_grouped(self, groups: int = 6):
        """The first service as an SLO with groups by handler, every sixth of which fires; the others as they are."""
        first, *others = self.snapshots()
        quiet = next(one for one in others if one.name == "search-availability")
        found = [
            (first if n % 6 == 0 else quiet)._replace(
                name=first.name,
                labels={"handler": f"/api/v2/orders/{n}", "region": "eu-central-1"},
            )
            for n in range(groups)
        ]
        self.publish([quiet._replace(name=first.name, rollup=True), *found, *others])

    def publish(self, snapshots, *, unready=()):
        """Show these."""
        self.display.view = compose(snapshots=snapshots, slos=self.slos, unready=unready)

    def tick(self, seconds: int = 0, bad: float = 0.0):
        """Publish; with seconds, after so much more time in which that share of all events was bad."""
        if seconds:
            rows = []
            for start in range(self.at, self.at + seconds, MINUTE):
                size = len(self.services)
                total = np.array([round(one.traffic(0) * MINUTE) + 60 for one in self.services], np.float64)
                full, none = np.full(size, MINUTE, np.int32), np.zeros(size, np.int32)
                rows.append(
                    Row(start, start + MINUTE, np.arange(1, size + 1), total, np.round(total * bad), full, none, none,
                        np.zeros(size, np.uint8))
                )  # fmt: skip
            self.history.add(rows)
            self.at += seconds
        self.publish(self.snapshots())

    def serve(self) -> WebServer:
        """A started web server on a free port."""
        server = WebServer(build(self.display, listen="127.0.0.1:0"), listen="127.0.0.1:0")
        server.start()
        return server


def NOTES(at: int) -> list[Annotation]:  # noqa: N802 - a table
    """Deploys and an incident, newest first."""
    return [
        Annotation("deploy", at - 2_000, "checkout 1.43.0", link="https://ci.example.org/runs/812", author="ci",
                   service="checkout"),
        Annotation("incident", at - 9 * DAY - 1_200, "Card provider out", at - 9 * DAY + 4 * 3_600, author="ann",
                   slos=("checkout-*",)),
        Annotation("deploy", at - 11 * DAY, "checkout 1.42.0 <b>&</b>", author="ci", service="checkout"),
    ]  # fmt: skip


def EVENTS(at: int) -> list[Happening]:  # noqa: N802 - a table
    """What the ledger tells of the showcase."""
    page = {"severity": "page", "window_seconds": 3_600}
    return [
        Happening("e5", "checkout-availability", 4, "slo_burn_started", at - 1_260,
                  {**page, "reason": "1h burns 24.1 and 5m burns 80, at or above 14.4"}, "delivered", at - 1_200,
                  (1_204, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"), None),
        Happening("e4", "login-availability", 3, "slo_data_lost", at - 2_400,
                  {"reason": "no data in this tick"}, "pending", None, None, None),
        Happening("e3", "webhooks-delivery", 2, "slo_budget_exhausted", at - 5 * DAY,
                  {"reason": "-4.2% of the error budget remains"}, "delivered", at - 5 * DAY,
                  (1_101, "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"), None),
        Happening("e2", "checkout-availability", 3, "slo_recovered", at - 9 * DAY,
                  {**page, "reason": "5m burns 0.2, below 14.4", "late": True}, "delivered", at - 9 * DAY,
                  (987, "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13"), None),
        Happening("e1", "checkout-availability", 2, "slo_burn_started", at - 9 * DAY - 900,
                  {**page, "reason": "1h burns 15 and 5m burns 31, at or above 14.4"}, "quarantined", at, None,
                  "422: payload refused"),
    ]  # fmt: skip
