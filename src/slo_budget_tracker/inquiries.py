"""Inquiries: the API beyond the snapshots: history, alerts, events and the gate."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Depends, FastAPI, Query, Request, Response

from slo_budget_tracker import gates
from slo_budget_tracker.courses import course, span_of
from slo_budget_tracker.durations import parse_instant
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.replies import json_reply, unknown_slo
from slo_budget_tracker.resources import AlertPage, EventPage, Gate, History, problem
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.snapshots import instant_text, snapshot_json
from slo_budget_tracker.timeline import Wanted

if TYPE_CHECKING:
    from slo_budget_tracker.snapshots import AlertStatus, SLOSnapshot
    from slo_budget_tracker.timeline import Happening
    from slo_budget_tracker.views import Display, View

LARGEST_PAGE = 1_000
LARGEST_OFFSET = 1_000_000
MOST_SLOS = 100
LONGEST_TIME = 40
ACTIVE = frozenset({"pending", "firing", "held"})

Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]
Offset = Annotated[int, Query(ge=0, le=LARGEST_OFFSET)]
Time = Annotated[
    str | None,
    Query(
        max_length=LONGEST_TIME, description="RFC 3339, epoch seconds, or relative to the newest data: -2h"
    ),
]
Name = Annotated[str, Query(max_length=100)]
State = Literal["quiet", "pending", "firing", "held"]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Which entries of a list are asked for, by SLO, kinds and span, and which page of them."""

    slo: Annotated[Name | None, Query()] = None
    kind: Annotated[list[Name] | None, Query(max_length=20)] = None
    start: Time = None
    end: Time = None
    limit: Limit = 100
    offset: Offset = 0

    @property
    def kinds(self) -> tuple[str, ...]:
        """None means each."""
        return tuple(self.kind or ())

    def span(self, newest: int) -> tuple[int | None, int | None]:
        """Its ends in epoch seconds, relative ones to the newest data; refused where they are no time."""
        return instant("start", self.start, newest), instant("end", self.end, newest)


class Refused(Exception):  # noqa: N818 - it is an answer, no fault
    """Parameters that make no sense together, in one sentence."""


def add_inquiries(app: FastAPI, display: Display) -> None:
    """All of these routes; they run in threads, because the past may have to be read from disk."""
    _history(app, display)
    _alerts(app, display)
    _events(app, display)
    _gate(app, display)


def _history(app: FastAPI, display: Display) -> None:
    @app.get(
        "/api/v1/slos/{name}/history",
        response_class=Response,
        responses={200: {"model": History}},
        tags=["slos"],
    )
    def history(
        request: Request,
        name: str,
        start: Time = None,
        end: Time = None,
        step: Annotated[int | None, Query(ge=1, le=31_536_000, description="seconds")] = None,
    ) -> Response:
        """How counts, budget and burn rates went: one point per step, at most 2,000 of them."""
        view = display.view
        snapshot = pick(view, name, groups(request))
        slo = view.definitions.get(name)
        if snapshot is None or slo is None:
            return unknown_slo(name, view.slos)
        try:
            newest = snapshot.evaluated_at
            first, last = instant("start", start, newest), instant("end", end, newest)
            clock = Clock(newest, display.interval)
            span = span_of(first, last, step, clock=clock, slo=slo)
        except (Refused, ValueError) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        return json_reply(request, course(slo, snapshot.labels, span, display.past, view.definitions, clock))


def _alerts(app: FastAPI, display: Display) -> None:
    @app.get(
        "/api/v1/alerts", response_class=Response, responses={200: {"model": AlertPage}}, tags=["alerts"]
    )
    def alerts(
        request: Request,
        *,
        state: Annotated[list[State] | None, Query(max_length=4)] = None,
        severity: Annotated[str | None, Query(max_length=20)] = None,
        slo: Annotated[Name | None, Query()] = None,
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> Response:
        """The alert pairs that are not quiet, firing ones first, or those in the states asked for."""
        states = frozenset(state) if state else ACTIVE
        found = [
            (alert, one)
            for one in display.view.snapshots
            for alert in one.alerts
            if alert.state in states and severity in {None, alert.severity} and slo in {None, one.name}
        ]
        found.sort(key=lambda pair: urgency(*pair))
        page = [_alert_json(alert, one, display.view) for alert, one in found[offset : offset + limit]]
        return json_reply(request, {"alerts": page, "total": len(found), "limit": limit, "offset": offset})


def _events(app: FastAPI, display: Display) -> None:
    @app.get(
        "/api/v1/events", response_class=Response, responses={200: {"model": EventPage}}, tags=["events"]
    )
    def events(request: Request, asked: Annotated[Excerpt, Depends()]) -> Response:
        """What the ledger has told or will tell the audit stream, newest first, with receipts."""
        try:
            since, until = asked.span(display.view.at or 0)
            found = display.past.events(
                Wanted(asked.slo, asked.kinds, since, until, asked.limit, asked.offset)
            )
        except Refused as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except LedgerError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        page = [event_json(one) for one in found.events]
        return json_reply(
            request,
            {"events": page, "total": found.total, "limit": asked.limit, "offset": asked.offset},
        )


def _gate(app: FastAPI, display: Display) -> None:
    @app.get("/api/v1/gate", response_class=Response, responses={200: {"model": Gate}}, tags=["gate"])
    def gate(
        request: Request,
        slo: Annotated[list[Name] | None, Query(max_length=MOST_SLOS)] = None,
        min_remaining: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.0,
        on_unknown: Annotated[Literal["closed", "open"], Query()] = "closed",
    ) -> Response:
        """May deploys go on? `allowed` answers it for the SLOs named, or for all of them."""
        view = display.view
        for name in slo or ():
            if name not in view.slos:
                return unknown_slo(name, view.slos)
        asked = [one for one in view.snapshots if slo is None or one.name in slo]
        now = display.wall()
        answers = [gates.judge(one, now=now, least=min_remaining, delay=display.delay) for one in asked]
        return json_reply(request, gate_json(answers, on_unknown=on_unknown))


def gate_json(answers: list[gates.Answer], *, on_unknown: str) -> dict[str, object]:
    """The gate's answer; of many SLOs only those that stand in the way are given one by one."""
    decision = gates.together(answers)
    allowed = decision == "go" or (decision == "unknown" and on_unknown == "open")
    shown = [answer for answer in answers if answer.decision != "go"] if len(answers) > MOST_SLOS else answers
    return {
        "allowed": allowed,
        "decision": decision,
        "slos": [
            {
                "name": answer.slo.name,
                "labels": dict(answer.slo.labels),
                "decision": answer.decision,
                "reason": answer.reason,
                "error_budget_remaining": answer.slo.error_budget_remaining,
                "evaluated_at": instant_text(answer.slo.evaluated_at),
            }
            for answer in shown[:LARGEST_PAGE]
        ],
    }


def pick(view: View, name: str, labels: dict[str, str]) -> SLOSnapshot | None:
    """The instance of that name whose group labels are those given."""
    of_name = (one for one in view.snapshots if one.name == name)
    return next((one for one in of_name if labels.items() <= dict(one.labels).items()), None)


def groups(request: Request) -> dict[str, str]:
    """Group labels as the query names them: `?group.handler=/pay`."""
    return {key[6:]: value for key, value in request.query_params.items() if key.startswith("group.")}


def urgency(alert: AlertStatus, one: SLOSnapshot) -> tuple[bool, bool, float, str]:
    """The order of alerts: firing before pending, pages before tickets, higher factors first."""
    return (not alert.firing, alert.severity != "page", -float(alert.threshold), one.name)


def event_json(one: Happening) -> dict[str, object]:
    """An event with its payload and what became of it."""
    receipt = None if one.receipt is None else {"id": one.receipt[0], "hash": one.receipt[1]}
    return {
        "id": one.event_id,
        "slo": None if one.slo == "*" else one.slo,
        "sequence": one.sequence,
        "kind": one.kind,
        "at": instant_text(one.at),
        "reason": one.payload.get("reason"),
        "delivery": {
            "state": one.delivery,
            "settled_at": None if one.settled_at is None else instant_text(one.settled_at),
            "receipt": receipt,
            "detail": one.detail,
        },
        "payload": dict(one.payload),
    }


def _alert_json(alert: AlertStatus, one: SLOSnapshot, view: View) -> dict[str, object]:
    slo = view.definitions.get(one.name)
    burns = {sample.window_seconds: sample.burn_rate for sample in one.burn_rate_samples}
    return {
        "slo": one.name,
        "labels": dict(one.labels),
        "service": slo.service if slo else "",
        "owner": slo.owner if slo else "",
        **snapshot_json(one)["alerts"][one.alerts.index(alert)],
        "long_burn_rate": burns.get(alert.long_window_seconds),
        "short_burn_rate": burns.get(alert.short_window_seconds),
    }


def instant(name: str, text: str | None, newest: int) -> int | None:
    """A time of the query in epoch seconds; None where none is given.

    Raises:
        Refused: it is none.
    """
    if text is None:
        return None
    try:
        return int(parse_instant(text.strip(), now=newest))
    except (ValueError, OverflowError) as error:
        raise Refused(f"{name}: {error}") from error
