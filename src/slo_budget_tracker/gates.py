"""The gate: may deploys go on? One decision for the command, the API and every pipeline that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.standing import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.snapshots import SLOSnapshot

Decision = Literal["go", "freeze", "unknown"]
STALE_SECONDS = 300  # a verdict that is older says nothing about now


class Answer(NamedTuple):
    """What the gate says about one SLO instance, and why."""

    slo: SLOSnapshot
    decision: Decision
    reason: str


def judge(one: SLOSnapshot, *, now: float, least: float = 0.0, delay: float = 0.0) -> Answer:
    """Whether the budget of one SLO lets deploys go on; `least` is the share that must remain.

    A budget that is spent freezes whatever the data; with nothing left, `least` 0 freezes too. `delay` is how
    far data instants lie behind the clock when all is well.
    """
    age = now - one.evaluated_at - delay
    left = one.error_budget_remaining
    if age > STALE_SECONDS:
        ago = format_duration(int(age) // 60 * 60)
        return Answer(one, "unknown", f"the last evaluation is {ago} late")
    if left is None:
        return Answer(one, "unknown", "nothing is known of its window")
    said = f"{left:.2%} of the error budget remains"
    if left <= 0 or left < least:
        wanted = f", at least {least:.2%} is asked for" if least > 0 else ""
        return Answer(one, "freeze", f"{said}{wanted}")
    if one.state in SILENT:
        return Answer(one, "unknown", f"no data: {SILENT[one.state]}; {said} of what is known")
    return Answer(one, "go", said)


def together(answers: Iterable[Answer]) -> Decision:
    """One decision for all: a freeze freezes, then what is unknown is unknown."""
    said = {answer.decision for answer in answers}
    if "freeze" in said:
        return "freeze"
    return "unknown" if "unknown" in said or not said else "go"
