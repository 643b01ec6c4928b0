"""The only state machine: what a tick says about a rule, and what follows from it.

    quiet ──burning──► pending ──burning for `for`──► firing ──over for `keep_firing_for`──► quiet
                          └────────── over ──► quiet

Live ticks, catch-up and replay take the same `step`. A tick that says nothing moves nothing: a firing rule is
then shown as `held`, a pending one waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from slo_budget_tracker import budget
from slo_budget_tracker.budget import Ratio
from slo_budget_tracker.chance import at_least
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.ticks import Outcome
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.budget import Sums
    from slo_budget_tracker.specs import BudgetAlert, BurnRateAlert

Phase = Literal["quiet", "pending", "firing"]
Shown = Literal["quiet", "pending", "firing", "held"]
PHASES: tuple[Phase, ...] = ("quiet", "pending", "firing")
OK, NO_TRAFFIC, PARTIAL = Outcome.OK, Outcome.NO_TRAFFIC, Outcome.PARTIAL

# What one tick says about one rule:
#   burning     the condition is true, even with the unknown ticks good at mean traffic
#   lingering   not true, yet not over: the short window still burns
#   over        known well enough to be over
#   no_traffic  one long window without an event
#   silent      nothing: no data, an error, a partial answer, or too little is known
Finding = Literal["burning", "lingering", "over", "no_traffic", "silent"]
Turn = Literal["started", "ended"]


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
    finding, reason = judgement
    state = state or AlertState("quiet", at)
    if state.state == "quiet" and finding != "burning":  # by far the most
        return make(Decision, (state, "quiet", None, reason))
    if state.state == "firing":
        return _step_firing(state, judgement, at=at, seconds=seconds, keep_firing_for=keep_firing_for)
    if finding == "burning":
        waited = 0 if state.state == "quiet" else (state.progress or 0) + seconds
        if waited >= for_seconds:
            return Decision(AlertState("firing", at), "firing", "started", reason)
        since = at if state.state == "quiet" else state.since
        waiting = f"{reason}; pending until that lasts {format_duration(for_seconds)}"
        return Decision(AlertState("pending", since, waited), "pending", None, waiting)
    if state.state == "pending" and finding != "silent":
        state = AlertState("quiet", at)
    return Decision(state, state.state, None, reason)


def look(state: AlertState | None, judgement: Judgement, *, at: int, for_seconds: int = 0) -> Decision:
    """How a rule is shown without stepping it: as remembered, or as a first tick would find it."""
    if state is None:
        return step(None, judgement, at=at, seconds=0, for_seconds=for_seconds)._replace(turn=None)
    if state.state == "firing" and judgement.finding == "silent":
        return Decision(state, "held", None, f"held: {judgement.reason}")
    return Decision(state, state.state, None, judgement.reason)


def _step_firing(
    state: AlertState, judgement: Judgement, *, at: int, seconds: int, keep_firing_for: int
) -> Decision:
    finding, reason = judgement
    if finding == "silent":
        return Decision(state, "held", None, f"held: {reason}")
    if finding == "no_traffic":
        return Decision(AlertState("quiet", at), "quiet", "ended", "no_traffic")
    if finding == "over":
        over = 0 if state.progress is None else state.progress + seconds
        if over >= keep_firing_for:
            return Decision(AlertState("quiet", at), "quiet", "ended", reason)
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
    """An alert pair of one target, ready to be judged: its names and its exact limits.

    `shown` is what users see of it: severity, long and short window, factor.
    """

    pair: BurnRateAlert
    name: str
    long: str
    short: str
    limit: Ratio
    allowance: Ratio
    factor: str
    minimum_bad: int
    confidence: Decimal | None
    rank: tuple[bool, Decimal]
    shown: tuple[str, int, int, Decimal]


class BudgetRule(NamedTuple):
    """A budget alert, ready to be judged; `share` for what remains, else `within` seconds."""

    alert: BudgetAlert
    name: str
    share: Ratio | None
    within: int


@lru_cache(maxsize=4096)
def budget_rules(given: tuple[BudgetAlert, ...]) -> tuple[BudgetRule, ...]:
    """What is the same at every tick of an SLO's budget alerts."""
    return tuple(
        BudgetRule(
            one,
            one.rule,
            None if one.remaining_below is None else Ratio(*one.remaining_below.as_integer_ratio()),
            one.exhausted_within or 0,
        )
        for one in given
    )


def judge_budget_rule(
    rule: BudgetRule, whole: Sums, recent: Sums, allowance: Ratio, *, outcome: Outcome
) -> Judgement:
    """What a tick says about a budget alert."""
    if rule.share is not None:
        return judge_remaining(whole, allowance, rule.share, outcome=outcome)
    return judge_exhaustion(whole, recent, allowance, rule.within, outcome=outcome)


class Ruleset(NamedTuple):
    """The pairs of one SLO, the error ratio that spends its budget, the windows of the pairs, their pauses.

    `pauses` has for each rule how long it must burn before it fires, and how long be over before it ends.
    """

    rules: tuple[Rule, ...]
    allowance: Ratio
    windows: tuple[int, ...]
    pauses: Mapping[str, tuple[int, int]]


_MOST_KNOWN = 65_536
_KNOWN: dict[tuple[int, int], tuple[tuple[BurnRateAlert, ...], Decimal, Ruleset]] = {}


def ruleset(pairs: tuple[BurnRateAlert, ...], target: Decimal) -> Ruleset:
    """What is the same at every tick of an SLO.

    It is looked up by the identity of what it is made of, which is kept alive with it: comparing pairs by
    value takes longer than judging them.
    """
    key = (id(pairs), id(target))
    known = _KNOWN.get(key)
    if known is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[key] = (pairs, target, _ruleset(pairs, target))
    return known[2]


@lru_cache(maxsize=4096)
def _ruleset(pairs: tuple[BurnRateAlert, ...], target: Decimal) -> Ruleset:
    allowance = budget.allowed(target)
    rules = tuple(
        Rule(
            pair=pair,
            name=pair.rule,
            long=format_duration(pair.long),
            short=format_duration(pair.short),
            limit=budget.allowed(target, pair.burn_rate),
            allowance=allowance,
            factor=f"{pair.burn_rate.normalize():f}",
            minimum_bad=pair.minimum_bad,
            confidence=pair.confidence,
            rank=(pair.severity == "page", pair.burn_rate),
            shown=(pair.severity, pair.long, pair.short, pair.burn_rate),
        )
        for pair in pairs
    )
    windows = sorted({window for pair in pairs for window in (pair.long, pair.short)})
    pauses = {rule.name: (rule.pair.for_seconds, rule.pair.keep_firing_for) for rule in rules}
    return Ruleset(rules, allowance, tuple(windows), pauses)


def judge_pair(rule: Rule, *, outcome: Outcome, long: Sums, short: Sums) -> Judgement:
    """What a tick says about a pair of windows.

    Burning only if it would burn with the unknown ticks good at mean traffic; over only when the short window
    is below the factor and known well enough, or when the long one is and had no traffic.
    """
    if outcome > PARTIAL:
        return Judgement("silent", SAYS_NOTHING[outcome])
    judgement = _judge_windows(rule, long=long, short=short)
    if outcome is PARTIAL and judgement.finding != "burning":
        return Judgement("silent", f"{SAYS_NOTHING[outcome]}; {judgement.reason}")
    return judgement


def _judge_windows(rule: Rule, *, long: Sums, short: Sums) -> Judgement:
    if not long.total and budget.well_covered(long):
        return Judgement("no_traffic", f"no traffic in {rule.long}")
    rate = budget.burn_rate(short, rule.allowance)
    if rate is None or not long.total:
        return Judgement("silent", f"no traffic known in {rule.short}")
    if budget.reaches(short, rule.limit):
        return _judge_burning_short(rule, long=long, short=short)
    if budget.well_covered(short):
        return make(Judgement, ("over", below(rule, rate)))
    return Judgement("silent", f"{below(rule, rate)}, but under 80% of it is known")


def below(rule: Rule, rate: float) -> str:
    """That a pair is over, as its short window burns below the factor and is known well enough."""
    return f"{rule.short} burns {rate:.6g}, below {rule.factor}"


def _judge_burning_short(rule: Rule, *, long: Sums, short: Sums) -> Judgement:
    rates = {rule.long: long, rule.short: short}
    burns = " and ".join(f"{n} burns {budget.burn_rate(s, rule.allowance):.6g}" for n, s in rates.items())
    if not budget.reaches(long, rule.limit):
        finding: Finding = "lingering" if budget.well_covered(long) else "silent"
        return Judgement(finding, f"{burns}, not both at {rule.factor} or above")
    if not (budget.surely_reaches(long, rule.limit) and budget.surely_reaches(short, rule.limit)):
        return Judgement("silent", f"{burns}, but not at {rule.factor} were the unknown ticks good")
    if long.bad < rule.minimum_bad * long.scale:
        few = f"fewer than {rule.minimum_bad} failed in {rule.long}"
        return Judgement("lingering", f"insufficient events: {burns}, but {few}")
    if rule.confidence is not None:
        chance = _chance(rule, long)
        if Decimal(chance) > 1 - rule.confidence:
            few = (
                f"so many of {long.total / long.scale:.10g} fail by chance at {rule.factor} (p {chance:.2g})"
            )
            return Judgement("lingering", f"insufficient events: {burns}, but {few}")
    return Judgement("burning", f"{burns}, at or above {rule.factor}")


def _chance(rule: Rule, long: Sums) -> float:
    """The probability of the failures in the long window if the service burned just at the factor."""
    return at_least(long.bad // long.scale, -(-long.total // long.scale), rule.limit.over / rule.limit.under)


def judge_data(outcome: Outcome) -> Judgement:
    """Whether a tick brought nothing at all; a partial answer is neither a loss nor a return of data."""
    if outcome is OK or outcome is NO_TRAFFIC:
        return Judgement("over", "data in this tick")
    return Judgement("silent" if outcome is PARTIAL else "burning", SAYS_NOTHING[outcome])


def judge_remaining(
    sums: Sums, allowance: Ratio, share: Ratio = budget.NOTHING, *, outcome: Outcome
) -> Judgement:
    """What a tick says about less than a share of the SLO window's budget remaining, or nothing of it.

    Burning only if it would be with the unknown ticks good at mean traffic; over only when the window is
    known well enough.
    """
    left = budget.remaining(sums, allowance)
    if outcome > PARTIAL or left is None:
        return Judgement("silent", SAYS_NOTHING.get(outcome, "nothing is known"))
    reason = f"{100 * left:.6g}% of the error budget remains"
    if not budget.below(sums, allowance, share):
        return _over(sums, reason, outcome)
    if budget.surely_below(sums, allowance, share):
        return Judgement("burning", reason)
    return Judgement("silent", f"{reason}, but more than that were the unknown ticks good")


def in_new_period(state: AlertState | None, judgement: Judgement, start: int, outcome: Outcome) -> Judgement:
    """A rule about the budget that fired in the period before ends with it, unless it burns anew."""
    old = state is not None and state.state == "firing" and state.since <= start
    if old and outcome <= PARTIAL and judgement.finding != "burning":
        return Judgement("over", "period")
    return judgement


def judge_exhaustion(
    sums: Sums, recent: Sums, allowance: Ratio, within: int, *, outcome: Outcome
) -> Judgement:
    """What a tick says about the budget being spent within some seconds at the recent rate."""
    if outcome > PARTIAL or not sums.known:
        return Judgement("silent", SAYS_NOTHING.get(outcome, "nothing is known"))
    seconds = budget.exhaustion_seconds(sums, recent, allowance)
    lasts = "for ever" if seconds is None else format_duration(int(seconds))
    reason = f"at the recent rate the error budget lasts {lasts}"
    if budget.surely_exhausted_within(sums, recent, allowance, within):
        return Judgement("burning", reason)
    if seconds is not None and seconds <= within:
        return Judgement("silent", f"{reason}, but longer were the unknown ticks good")
    return _over(recent, reason, outcome)


def _over(sums: Sums, reason: str, outcome: Outcome) -> Judgement:
    """Over, where the tick and the window are known well enough to say so."""
    if outcome is PARTIAL:
        return Judgement("silent", f"{SAYS_NOTHING[outcome]}; {reason}")
    if not budget.well_covered(sums):
        return Judgement("silent", f"{reason}, but under 80% of the window is known")
    return Judgement("over", reason)


def suppressor(rule: Rule, firing: Iterable[Rule]) -> str | None:
    """The name of the highest firing rule above this one: a page above a ticket, then the larger factor."""
    higher = [other for other in firing if other.rank > rule.rank]
    return max(higher, key=lambda other: other.rank).name if higher else None
