"""Counts to success ratio, error budget and burn rate: exact integers inside, floats only as figures.

Every comparison is an integer cross-multiplication: `1 - 0.99999` is no float here (D20). A float count is
itself an exact rational with a power of two below the line, so counts cut by a window's edge stay exact too.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from decimal import Decimal

    from slo_budget_tracker.ticks import WindowCounts

SIX_HOURS = 21_600


class Ratio(NamedTuple):
    """An exact ratio of two integers."""

    over: int
    under: int


class Sums(NamedTuple):
    """A window's counts as integers: `scale` per event, `second` per second.

    `trusted` is the part of `known` that came without a partial-response warning. `ahead` are the events to
    be expected in the rest of a calendar period; None for a rolling window.
    """

    total: int
    bad: int
    scale: int
    known: int
    trusted: int
    window: int
    second: int
    ahead: int | None = None


class Bounds(NamedTuple):
    """The budget that remains if all unknown ticks were bad, and if all were good, at mean traffic."""

    worst: float
    best: float


def exact(counts: WindowCounts) -> Sums:
    """The same counts as integers; more seconds known than the window has count as all of it."""
    length, of_total, of_bad, of_known, of_partial, _, of_rest = counts
    if of_rest is None:
        total, bad, scale = _paired(of_total, of_bad)
        ahead = None
    else:
        (total, bad, ahead), scale = _common(of_total, of_bad, of_rest)
    if of_known == length and not of_partial:  # by far the most
        return make(Sums, (total, bad, scale, length, length, length, 1, ahead))
    known, partial, second = _paired(of_known, of_partial)
    window = length * second
    if known <= 0:
        return Sums(0, 0, 1, 0, 0, window, second, None if ahead is None else 0)
    known = min(known, window)
    return Sums(total, bad, scale, known, known - partial, window, second, ahead)


def _paired(one: float, other: float) -> tuple[int, int, int]:
    """Two values over one denominator, and it; of floats it is a power of two, so the larger one will do."""
    over, under = one.as_integer_ratio()
    other_over, other_under = other.as_integer_ratio()
    if under == other_under:
        return over, other_over, under
    times, rest = divmod(under, other_under) if under > other_under else divmod(other_under, under)
    if rest:
        (over, other_over), under = _common(one, other)
        return over, other_over, under
    return (
        (over, other_over * times, under) if under > other_under else (over * times, other_over, other_under)
    )


def _common(*values: float) -> tuple[list[int], int]:
    """The values over one denominator."""
    ratios = [value.as_integer_ratio() for value in values]
    denominator = lcm(*(under for _, under in ratios))
    return [over * (denominator // under) for over, under in ratios], denominator


@lru_cache(maxsize=4096)
def allowed(target: Decimal, factor: Decimal | int = 1) -> Ratio:
    """The error ratio at which a service burns at `factor`: `factor * (1 - target)`."""
    return Ratio(*(Fraction(factor) * (1 - Fraction(target))).as_integer_ratio())


def exhaustion_window(window: int) -> int:
    """The span whose bad events tell how fast the budget goes: 6 h, a quarter of a shorter window."""
    return min(SIX_HOURS, window // 4)


def coverage(sums: Sums) -> float:
    """The share of the window that was observed."""
    return sums.known / sums.window


def figures(
    sums: Sums, budget: Ratio
) -> tuple[float | None, float | None, float | None, float | None, float]:
    """Burn rate, success ratio, sample count, failures and coverage, as the functions of these names say."""
    total, bad, scale, known, _, window, _, _ = sums
    if not known:
        return None, None, None, None, 0.0
    if not total:
        return None, None, 0.0, bad / scale, known / window
    over, under = budget
    return (
        bad * under / (total * over),
        (total - bad) / total,
        total / scale,
        bad / scale,
        known / window,
    )


def sample_count(sums: Sums) -> float | None:
    """Events over known ticks; unknown where nothing is known."""
    return sums.total / sums.scale if sums.known else None


def failures(sums: Sums) -> float | None:
    """Bad events over known ticks; unknown where nothing is known."""
    return sums.bad / sums.scale if sums.known else None


def success_ratio(sums: Sums) -> float | None:
    """Good events per event; absent without traffic."""
    return (sums.total - sums.bad) / sums.total if sums.total else None


def burn_rate(sums: Sums, budget: Ratio) -> float | None:
    """How many times faster than allowed the budget goes: (1 - success ratio) / (1 - target)."""
    return sums.bad * budget.under / (sums.total * budget.over) if sums.total else None


def remaining(sums: Sums, budget: Ratio) -> float | None:
    """The share of the budget that is left: 1 untouched, 0 spent, negative overspent; 1 without traffic."""
    if not sums.total:
        return 1.0 if sums.known else None
    allowance = sums.total * budget.over
    return (allowance - sums.bad * budget.under) / allowance


def events_remaining(sums: Sums, budget: Ratio) -> float | None:
    """How many more events may fail at the traffic seen in the window; negative when overspent.

    Of a calendar period: in all of it, at the traffic to be expected.
    """
    if not sums.known:
        return None
    left, per = _left(sums, budget)
    return left / per


def _left(sums: Sums, budget: Ratio) -> tuple[int, int]:
    """The events that may still fail, as a ratio."""
    if sums.ahead is None:
        return sums.total * budget.over - sums.bad * budget.under, budget.under * sums.scale
    events, bad = _at_best(sums)
    return events * budget.over - bad * budget.under, budget.under * sums.scale * sums.known


def _at_best(sums: Sums) -> tuple[int, int]:
    """Events and bad ones of the whole window with the unknown ticks good at mean traffic, times `known`."""
    return sums.total * sums.window + (sums.ahead or 0) * sums.known, sums.bad * sums.known


def bounds(sums: Sums, budget: Ratio) -> Bounds | None:
    """What remains if the unknown ticks were all bad or all good, at the mean traffic of the known ones.

    With a success ratio s over a share c of the window, that is a success ratio of s*c and of 1 - (1 -
    s)*c. Without traffic there is no mean: s is 1, each unknown second weighs like a known one. The rest of
    a calendar period counts as good at the traffic to be expected, in both bounds.
    """
    if not sums.known:
        return None
    if sums.known == sums.window and not sums.ahead:
        left = remaining(sums, budget)
        assert left is not None
        return Bounds(left, left)
    if not sums.total and not sums.ahead:
        sums = sums._replace(total=1, bad=0)
    events, certainly_bad = _at_best(sums)
    allowance = events * budget.over
    possibly_bad = certainly_bad + sums.total * (sums.window - sums.known)
    return Bounds(
        worst=(allowance - possibly_bad * budget.under) / allowance,
        best=(allowance - certainly_bad * budget.under) / allowance,
    )


def breached(sums: Sums, budget: Ratio) -> bool | None:
    """Whether the success ratio is below the target, strictly; False without traffic."""
    return sums.bad * budget.under > sums.total * budget.over if sums.known else None


NOTHING = Ratio(0, 1)


def below(sums: Sums, budget: Ratio, share: Ratio) -> bool:
    """Whether less than a share of the budget remains, of what is known; nothing at all where the share is 0.

    Of a calendar period it is the budget of all of it, at the traffic to be expected.
    """
    return _is_below(sums.total + (sums.ahead or 0), sums.bad, budget, share)


def surely_below(sums: Sums, budget: Ratio, share: Ratio) -> bool:
    """The same even with the unknown ticks good at mean traffic."""
    return _is_below(*_at_best(sums), budget, share)


def _is_below(events: int, bad: int, budget: Ratio, share: Ratio) -> bool:
    spent, allowance = bad * budget.under * share.under, events * budget.over * (share.under - share.over)
    return spent > allowance or (not share.over and events > 0 and spent == allowance)


def exhausted(sums: Sums, budget: Ratio) -> bool | None:
    """Whether nothing remains (remaining <= 0); False without traffic. Of a calendar period: of all of it."""
    if not sums.known:
        return None
    if sums.ahead is not None:
        return surely_below(sums, budget, NOTHING)
    return below(sums, budget, NOTHING)


def reaches(sums: Sums, limit: Ratio) -> bool:
    """Whether the error ratio over what is known is at or above the limit."""
    return sums.total > 0 and sums.bad * limit.under >= sums.total * limit.over


def surely_reaches(sums: Sums, limit: Ratio) -> bool:
    """Whether the error ratio is at or above the limit even with the unknown ticks good at mean traffic."""
    return sums.total > 0 and sums.bad * sums.known * limit.under >= sums.total * sums.window * limit.over


def well_covered(sums: Sums) -> bool:
    """Whether at least 80 % of the window were observed; ticks with a partial answer do not count."""
    return 5 * sums.trusted >= 4 * sums.window


def surely_exhausted_within(sums: Sums, recent: Sums, budget: Ratio, seconds: int) -> bool:
    """Whether the budget ends within the seconds even with all unknown ticks good at mean traffic."""
    if not sums.known:
        return False
    if surely_below(sums, budget, NOTHING):
        return True
    if not (recent.known and recent.bad):
        return False
    events, bad = _at_best(sums)
    left = events * budget.over - bad * budget.under
    burnt = recent.bad * recent.second * seconds
    return left * recent.window * recent.scale <= burnt * budget.under * sums.scale * sums.known


def exhaustion_seconds(sums: Sums, recent: Sums, budget: Ratio) -> float | None:
    """When the budget ends if bad events go on as in the recent window, ignoring what rolls out.

    Absent when nothing burns or nothing is known, 0 when the budget is exhausted.
    """
    if not sums.known:
        return None
    if exhausted(sums, budget):
        return 0.0
    if not recent.bad:
        return None
    left, per = _left(sums, budget)
    return left * recent.scale * recent.known / (per * recent.bad * recent.second)
