"""Applications: a correction that takes effect, or is taken back, is an event of each SLO it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.corrections import overlapping
from slo_budget_tracker.payloads import about
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.verdict import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.corrections import Span
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO

KIND = "slo_correction_applied"
RULE = "correction:"


def applications(
    slo: SLO, at: int, snapshot: SLOSnapshot, known: Mapping[str, AlertState]
) -> tuple[dict[str, AlertState], list[Transition]]:
    """The applications that are in effect after a tick, as states to remember, and what is told of them.

    `known` are the states before it; the end of an application's span is its `since`, so that one which
    rolled out of the window is told from one that was taken back.
    """
    if not slo.corrections and not any(name.startswith(RULE) for name in known):
        return {}, []
    spans = overlapping(slo.corrections, at - slo.past, at)
    applied = {one.rule: AlertState("quiet", one.span.end) for one in spans}
    told = [_applied(slo, at, snapshot, one) for one in spans if one.rule not in known]
    for name, state in known.items():
        if name.startswith(RULE) and name not in applied and state.since > at - slo.past:
            payload = _payload(slo, snapshot, action="removed")
            told.append(
                Transition(KIND, f"{name}:removed:{at}", at, "the correction was taken back", payload)
            )
    return applied, told


def _applied(slo: SLO, at: int, snapshot: SLOSnapshot, one: Span) -> Transition:
    correction = one.correction
    payload = {
        **_payload(slo, snapshot, action="applied"),
        "correction": correction.name,
        "from": instant_text(one.span.start),
        "to": instant_text(one.span.end),
        "author": correction.author,
    }
    return Transition(KIND, one.rule, at, f"{correction.name}: {correction.reason}", payload)


def _payload(slo: SLO, snapshot: SLOSnapshot, *, action: str) -> dict[str, Any]:
    raw = snapshot.raw
    left = snapshot.error_budget_remaining
    return {
        **about(slo),
        "action": action,
        "window_seconds": slo.window,
        "error_budget_remaining": left,
        "error_budget_remaining_raw": left if raw is None else raw.error_budget_remaining,
    }
