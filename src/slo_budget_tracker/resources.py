"""The shapes of the HTTP API's answers; `Snapshot` and its parts are what `snapshot_json` writes."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

Ratio = Annotated[float, Field(description="A ratio, 1 is all")]


class Resource(BaseModel):
    """Base of all answers: nothing but what is written here."""

    model_config = ConfigDict(extra="forbid")


class Bounds(Resource):
    """The budget remaining if all that is unknown was bad, and if it was good."""

    worst: float
    best: float


class WindowFigures(Resource):
    """One window's figures; null where nothing is known or nothing happened."""

    window_seconds: int
    burn_rate: float | None
    success_ratio: Ratio | None
    sample_count: float | None
    failures: float | None
    coverage: Ratio


class Alert(Resource):
    """The state of one pair of burn-rate windows."""

    severity: str
    long_window_seconds: int
    short_window_seconds: int
    threshold: float
    state: Literal["quiet", "pending", "firing", "held"]
    since: datetime | None
    reason: str
    suppressed_by: str | None


class BudgetAlert(Resource):
    """The state of one alert on the budget."""

    severity: str
    rule: str
    state: Literal["quiet", "pending", "firing", "held"]
    since: datetime | None
    reason: str


class RawFigures(Resource):
    """The SLO window with the time that corrections took out of it."""

    corrected_seconds: int
    total: float | None
    failures: float | None
    success_ratio: Ratio | None
    error_budget_remaining: float | None
    burn_rate: float | None


class Snapshot(Resource):
    """All that one evaluation concluded about one SLO instance; times are data instants."""

    name: str
    labels: dict[str, str]
    unit: str
    target: Ratio
    window_seconds: int
    evaluated_at: datetime
    state: str
    coverage: Ratio
    total: float | None
    failures: float | None
    success_ratio: Ratio | None
    error_budget_remaining: float | None
    burn_rate: float | None
    error_budget_remaining_bounds: Bounds | None
    exhaustion_seconds: float | None
    breached: bool | None
    budget_exhausted: bool | None
    burn_rate_samples: list[WindowFigures]
    alerts: list[Alert]
    budget_alerts: list[BudgetAlert] = Field(default=[], description="where the SLO has such alerts")
    raw: RawFigures | None = Field(default=None, description="where corrections take time out of the window")
    suspicious: str | None = Field(
        default=None, description="what makes the figures doubtful, where it lasts"
    )


class SnapshotPage(Resource):
    """A page of SLOs in the order of their names; `total` counts all pages."""

    slos: list[Snapshot]
    total: int
    limit: int
    offset: int


class GroupPage(Resource):
    """An SLO with groups: over all of them, and a page of them; `total` counts all pages."""

    rollup: Snapshot
    groups: list[Snapshot]
    total: int
    limit: int
    offset: int


class HistoryPoint(Resource):
    """One step: what happened in it, and what remained and burned at its end; null where nothing is known."""

    at: datetime
    total: float | None
    failures: float | None
    success_ratio: Ratio | None
    coverage: Ratio
    error_budget_remaining: float | None
    window_coverage: Ratio
    burn_rates: dict[str, float | None] = Field(description="by the window's length in seconds")


class Corrected(Resource):
    """Time that does not count; it is not taken out of the points."""

    name: str
    start: datetime
    end: datetime
    reason: str
    author: str


class History(Resource):
    """How one SLO instance went, oldest first."""

    name: str
    labels: dict[str, str]
    unit: str
    target: Ratio
    window_seconds: int
    start: datetime
    end: datetime
    step_seconds: int
    points: list[HistoryPoint]
    corrections: list[Corrected]


class ActiveAlert(Alert):
    """An alert pair with the SLO it belongs to and what its two windows burn."""

    slo: str
    labels: dict[str, str]
    service: str
    owner: str
    long_burn_rate: float | None
    short_burn_rate: float | None


class AlertPage(Resource):
    """A page of alert pairs, the most urgent first."""

    alerts: list[ActiveAlert]
    total: int
    limit: int
    offset: int


class Receipt(Resource):
    """What the audit stream gave for an event."""

    id: int
    hash: str


class Delivery(Resource):
    """What became of an event."""

    state: Literal["pending", "attempted", "delivered", "quarantined", "skipped"]
    settled_at: datetime | None
    receipt: Receipt | None
    detail: str | None


class AuditEvent(Resource):
    """An event of the ledger; `slo` is null for those about the daemon itself."""

    id: str
    slo: str | None
    sequence: int
    kind: str
    at: datetime
    reason: str | None
    delivery: Delivery
    payload: dict[str, object]


class EventPage(Resource):
    """A page of events, newest first."""

    events: list[AuditEvent]
    total: int
    limit: int
    offset: int


class Annotation(Resource):
    """A mark in time, about all SLOs unless it names some or a service."""

    id: str
    kind: Literal["deploy", "incident", "note"]
    at: datetime
    until: datetime | None
    text: str
    link: str | None
    author: str
    service: str
    slos: list[str]


class AnnotationPage(Resource):
    """A page of marks, newest first."""

    annotations: list[Annotation]
    total: int
    limit: int
    offset: int


_SAYABLE = (
    r"^[^\x00-\x08\x0b-\x1f\x7f]*$"  # no control characters but tabs and line ends: some stores take none
)


class NewAnnotation(Resource):
    """A mark to be set: now unless `at` says when, over a span with `until`."""

    kind: Literal["deploy", "incident", "note"]
    text: Annotated[str, Field(min_length=1, max_length=300, pattern=_SAYABLE)]
    at: Annotated[str | None, Field(max_length=40, description="RFC 3339, epoch seconds or -10m")] = None
    until: Annotated[str | None, Field(max_length=40, description="the same, after `at`")] = None
    link: Annotated[str | None, Field(max_length=1_000, pattern=r"^https?://[^\s\x00-\x1f\x7f]+$")] = None
    author: Annotated[str, Field(max_length=100, pattern=_SAYABLE)] = ""
    service: Annotated[str, Field(max_length=100, pattern=_SAYABLE)] = ""
    slos: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100, pattern=_SAYABLE)]],
        Field(max_length=100, description="names or globs"),
    ] = []


class GateAnswer(Resource):
    """What the gate says about one SLO."""

    name: str
    labels: dict[str, str]
    decision: Literal["go", "freeze", "unknown"]
    reason: str
    error_budget_remaining: float | None
    evaluated_at: datetime


class Gate(Resource):
    """Whether deploys may go on; of more than 100 SLOs only those in the way are listed."""

    allowed: bool
    decision: Literal["go", "freeze", "unknown"]
    slos: list[GateAnswer]


class SeedForm(BaseModel):
    """All SLOs at once, as slo-budget-tracker 0.1 showed them."""

    slos: list[dict[str, object]]


class DefinitionChange(Resource):
    """One SLO that a reload brought, took away or changed."""

    slo: str
    change: Literal["added", "changed", "removed"]
    what: str
    old_definition_hash: str | None
    definition_hash: str | None
    counts_kept: bool


class Reloaded(Resource):
    """What a reload did: how many SLOs run now, what changed, which changed keys need a restart."""

    slos: int = 0
    changes: list[DefinitionChange] = Field(default_factory=list)
    restart: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    faults: list[str] = Field(default_factory=list, exclude=True)
    status: int = Field(default=HTTPStatus.OK, exclude=True)


class Status(Resource):
    """The daemon itself: why it is not ready, what was wrong with the last reload, who leads of a pair."""

    version: str
    slos: int
    ready: bool
    reasons: list[str]
    reload_successful: bool
    reload_faults: list[str]
    role: Literal["leader", "follower"]
    term: int | None
    leader: str | None
    remarks: list[str] = []  # what is to be known and is no fault: a server's history that is too short


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    reasons: list[str] | None = None


class ProblemResponse(Response):
    """An error as RFC 9457 has it."""

    media_type = "application/problem+json"


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> Response:
    """The answer for one error."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return ProblemResponse(orjson.dumps(body), status, headers=headers)
