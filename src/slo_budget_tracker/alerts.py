"""The only state machine: what a tick says about a rule, and what follows from it.

    quiet ──burning──► pending ──burning for `for`──► firing ──over for `keep_firing_for`──► quiet
                          └────────── over ──► quiet

Live ticks, catch-up and replay take the same `step`. A tick that says nothing moves nothing: a firing rule is
then shown as `held`, a pending one waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from slo_budget_tracker import budget
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from slo_budget_tracker.budget import Ratio, Sums
    from slo_budget_tracker.specs import BurnRateAlert

Phase = Literal["quiet", "pending", "firing"]
Shown = Literal["quiet", "pending", "firing", "held"]
PHASES: tuple[Phase, ...] = ("quiet", "pending", "firing")
NO_TRAFFIC = "no_traffic"


class Finding(Enum):
    """What one tick says about one rule."""

    BURNING = "burning"  # the condition is true, whatever the unknown ticks were at mean traffic
    LINGERING = "lingering"  # not true, but not over: the short window still burns
    OVER = "over"  # known well enough to be over
    NO_TRAFFIC = "no_traffic"  # one long window without an event
    SILENT = "silent"  # nothing: no data, error, partial, missed, or too little is known


class Turn(Enum):
    """A change that is told to others."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class AlertState:
    """What is remembered of one rule of one SLO instance between ticks.

    `since` is the data instant of the state's first tick. `progress` is, in seconds, how long a pending rule
    has been true, or how long a firing one has been over, counted from the first such tick (0); None where
    neither is the case. A tick that says nothing adds nothing.
    """

    state: Phase
    since: int
    progress: int | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """The state as the ledger stores it."""
        return {"state": self.state, "since": self.since, "progress": self.progress}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> AlertState:
        """The state as it was stored; raises ValueError for what `to_json` never writes."""
        state, since, progress = (stored.get(key) for key in ("state", "since", "progress"))
        if state not in PHASES or not isinstance(since, int) or not isinstance(progress, int | None):
            raise ValueError(f"not the state of an alert: {dict(stored)!r}")
        return cls(state, since, progress)


class Decision(NamedTuple):
    """The state after a tick, how it is shown, what others are told, and why."""

    state: AlertState
    shown: Shown
    turn: Turn | None
    reason: str


class Judgement(NamedTuple):
    """What a tick says about a rule, in one word and in a sentence."""

    finding: Finding
    reason: str


def step(
    state: AlertState | None,
    judgement: Judgement,
    *,
    at: int,
    seconds: int,
    for_seconds: int = 0,
    keep_firing_for: int = 0,
) -> Decision:
    """One tick, `seconds` after the one before, at the data instant `at`; no state yet is quiet."""
    state = state or AlertState("quiet", at)
    if state.state == "firing":
        return _step_firing(state, judgement, at=at, seconds=seconds, keep_firing_for=keep_firing_for)
    finding, reason = judgement
    if finding is Finding.BURNING:
        if state.state == "quiet":
            state = AlertState("pending", at, 0)
        else:
            state = AlertState("pending", state.since, (state.progress or 0) + seconds)
        if (state.progress or 0) >= for_seconds:
            return Decision(AlertState("firing", at), "firing", Turn.STARTED, reason)
        return Decision(
            state, "pending", None, f"{reason}; pending until that lasts {format_duration(for_seconds)}"
        )
    if state.state == "pending" and finding is not Finding.SILENT:
        state = AlertState("quiet", at)
    return Decision(state, state.state, None, reason)


def look(state: AlertState | None, judgement: Judgement, *, at: int, for_seconds: int = 0) -> Decision:
    """How a rule is shown without stepping it: as remembered, or as a first tick would find it."""
    if state is None:
        return step(None, judgement, at=at, seconds=0, for_seconds=for_seconds)._replace(turn=None)
    if state.state == "firing" and judgement.finding is Finding.SILENT:
        return Decision(state, "held", None, f"held: {judgement.reason}")
    return Decision(state, state.state, None, judgement.reason)


def _step_firing(
    state: AlertState, judgement: Judgement, *, at: int, seconds: int, keep_firing_for: int
) -> Decision:
    finding, reason = judgement
    if finding is Finding.SILENT:
        return Decision(state, "held", None, f"held: {reason}")
    if finding is Finding.NO_TRAFFIC:
        return Decision(AlertState("quiet", at), "quiet", Turn.ENDED, NO_TRAFFIC)
    if finding is Finding.OVER:
        over = 0 if state.progress is None else state.progress + seconds
        if over >= keep_firing_for:
            return Decision(AlertState("quiet", at), "quiet", Turn.ENDED, reason)
        lasting = f"{reason}; firing until that lasts {format_duration(keep_firing_for)}"
        return Decision(AlertState("firing", state.since, over), "firing", None, lasting)
    if state.progress is not None:
        state = AlertState("firing", state.since)
    return Decision(state, "firing", None, reason)


SAYS_NOTHING = {
    Outcome.NO_DATA: "no data in this tick",
    Outcome.ERROR: "Prometheus or the query failed",
    Outcome.MISSED: "this tick has not been fetched yet",
    Outcome.UNKNOWN: "this tick is unknown",
    Outcome.PARTIAL: "only a partial answer in this tick",
}


class Rule(NamedTuple):
    """An alert pair of one target, ready to be judged: its names and its exact limit."""

    pair: BurnRateAlert
    name: str
    long: str
    short: str
    limit: Ratio
    factor: str
    minimum_bad: int
    rank: tuple[bool, Decimal]


@lru_cache(maxsize=4096)
def windows(alerts: tuple[BurnRateAlert, ...]) -> tuple[int, ...]:
    """Every window a pair looks at, in seconds, ascending."""
    return tuple(sorted({window for pair in alerts for window in (pair.long, pair.short)}))


class Burn(NamedTuple):
    """One window as a rule sees it: the exact counts, and the burn rate for the words (None: no traffic)."""

    sums: Sums
    rate: float | None


@lru_cache(maxsize=4096)
def rules(alerts: tuple[BurnRateAlert, ...], target: Decimal) -> tuple[Rule, ...]:
    """The pairs of one SLO with what is the same at every tick."""
    return tuple(
        Rule(
            pair=pair,
            name=pair.rule,
            long=format_duration(pair.long),
            short=format_duration(pair.short),
            limit=budget.allowed(target, pair.burn_rate),
            factor=f"{pair.burn_rate.normalize():f}",
            minimum_bad=getattr(pair, "minimum_bad", 0),
            rank=(pair.severity == "page", pair.burn_rate),
        )
        for pair in alerts
    )


def judge_pair(rule: Rule, *, outcome: Outcome, long: Burn, short: Burn) -> Judgement:
    """What a tick says about a pair of windows.

    Burning only if it would burn with the unknown ticks good at mean traffic; over only when the short window
    is below the factor and known well enough, or when the long one is and had no traffic.
    """
    if outcome is not Outcome.OK and outcome is not Outcome.NO_TRAFFIC and outcome is not Outcome.PARTIAL:
        return Judgement(Finding.SILENT, SAYS_NOTHING[outcome])
    judgement = _judge_windows(rule, long=long, short=short)
    if outcome is Outcome.PARTIAL and judgement.finding is not Finding.BURNING:
        return Judgement(Finding.SILENT, f"{SAYS_NOTHING[outcome]}; {judgement.reason}")
    return judgement


def _judge_windows(rule: Rule, *, long: Burn, short: Burn) -> Judgement:
    if long.rate is None and budget.well_covered(long.sums):
        return Judgement(Finding.NO_TRAFFIC, f"no traffic in {rule.long}")
    if long.rate is None or short.rate is None:
        return Judgement(Finding.SILENT, f"no traffic known in {rule.short}")
    now = f"{rule.short} burns {short.rate:.6g}"
    if budget.reaches(short.sums, rule.limit):
        both = now if rule.long == rule.short else f"{rule.long} burns {long.rate:.6g} and {now}"
        return _judge_burning_short(rule, long=long.sums, short=short.sums, both=both)
    if budget.well_covered(short.sums):
        return Judgement(Finding.OVER, f"{now}, below {rule.factor}")
    return Judgement(Finding.SILENT, f"{now}, below {rule.factor}, but under 80% of it is known")


def _judge_burning_short(rule: Rule, *, long: Sums, short: Sums, both: str) -> Judgement:
    if not budget.reaches(long, rule.limit):
        finding = Finding.LINGERING if budget.well_covered(long) else Finding.SILENT
        return Judgement(finding, f"{both}, not both at {rule.factor} or above")
    if not (budget.surely_reaches(long, rule.limit) and budget.surely_reaches(short, rule.limit)):
        return Judgement(Finding.SILENT, f"{both}, but not at {rule.factor} were the unknown ticks good")
    if long.bad < rule.minimum_bad * long.scale:
        few = f"fewer than {rule.minimum_bad} failed in {rule.long}"
        return Judgement(Finding.LINGERING, f"insufficient events: {both}, but {few}")
    return Judgement(Finding.BURNING, f"{both}, at or above {rule.factor}")


def judge_data(outcome: Outcome) -> Judgement:
    """Whether a tick brought nothing at all; a partial answer is neither a loss nor a return of data."""
    if outcome is Outcome.OK or outcome is Outcome.NO_TRAFFIC:
        return Judgement(Finding.OVER, "data in this tick")
    finding = Finding.SILENT if outcome is Outcome.PARTIAL else Finding.BURNING
    return Judgement(finding, SAYS_NOTHING[outcome])


def judge_budget(sums: Sums, whole: Ratio, *, outcome: Outcome, left: float | None) -> Judgement:
    """What a tick says about the budget of the SLO window.

    Exhausted only if it would be with the unknown ticks good at mean traffic; restored only when the window
    is known well enough. `whole` is the error ratio that spends the budget, `left` the figure for the reason.
    """
    if not outcome.known or left is None:
        return Judgement(Finding.SILENT, SAYS_NOTHING.get(outcome, "nothing is known"))
    reason = f"{100 * left:.6g}% of the error budget remains"
    if budget.surely_reaches(sums, whole):
        return Judgement(Finding.BURNING, reason)
    if budget.reaches(sums, whole):
        return Judgement(Finding.SILENT, f"{reason}, but more than none were the unknown ticks good")
    if outcome is Outcome.PARTIAL:
        return Judgement(Finding.SILENT, f"{SAYS_NOTHING[outcome]}; {reason}")
    if not budget.well_covered(sums):
        return Judgement(Finding.SILENT, f"{reason}, but under 80% of the window is known")
    return Judgement(Finding.OVER, reason)


def suppressor(rule: Rule, firing: Iterable[Rule]) -> str | None:
    """The name of the highest firing rule above this one: a page above a ticket, then the larger factor."""
    higher = [other for other in firing if other.rank > rule.rank]
    return max(higher, key=lambda other: other.rank).name if higher else None
