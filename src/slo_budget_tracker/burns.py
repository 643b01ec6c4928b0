"""Burns: how fast the budgets of many SLOs go, found at once where nothing burns, exactly as one by one.

`budget` and `alerts` compute with integers, one window after the other. Here the windows of all SLOs with the
same pairs are columns of floats. Each product and difference is kept with what its rounding lost, itself a
float (Dekker 1971), so a quotient is known to be the nearest one, or else is left to `budget`. As are SLOs of
which any short window burns, any window is not wholly known, or had no traffic.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slo_budget_tracker import alerts
from slo_budget_tracker.snapshots import BurnRateSample
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from slo_budget_tracker.alerts import Judgement, Ruleset
    from slo_budget_tracker.budget import Ratio
    from slo_budget_tracker.history import WindowArrays
    from slo_budget_tracker.specs import SLO

    Column = NDArray[np.float64]
    Pair = tuple[Column, Column]  # a number, and what its rounding lost

_HALVES = 2.0**27 + 1
_SURE = 1 - 2.0**-40  # what is computed of a remainder is exact to far less than the rest
_LARGEST, _SMALLEST = 2.0**53, 2.0**-100
_TRIES = 3  # a first guess is off by a few of its last digit at most


class Burns(NamedTuple):
    """What the alert windows of one SLO say: their figures, ascending, and of each pair that it is over."""

    samples: tuple[BurnRateSample, ...]
    judgements: Mapping[str, Judgement]


def calm(
    instances: Iterable[tuple[SLO, int]], arrays: Callable[[int, NDArray[np.int64]], WindowArrays]
) -> dict[int, Burns]:
    """The burns of those instances whose windows are wholly known and of which no short one burns.

    `arrays` gives what is known of a window of so many seconds, of some instances.
    """
    together: dict[int, tuple[Ruleset, list[int]]] = {}
    for slo, instance in instances:
        ruleset = alerts.ruleset(slo.alerts, slo.target)
        together.setdefault(id(ruleset), (ruleset, []))[1].append(instance)
    found: dict[int, Burns] = {}
    for ruleset, some in together.values():
        if ruleset.rules:
            ids = np.array(some, np.int64)
            found |= _calm(ruleset, ids, [arrays(window, ids) for window in ruleset.windows])
    return found


def _calm(ruleset: Ruleset, ids: NDArray[np.int64], windows: list[WindowArrays]) -> dict[int, Burns]:
    """As `calm` does, of instances that have the same pairs."""
    rules, allowance, _, _ = ruleset
    if max(allowance.under, *(rule.limit.under for rule in rules)) >= _LARGEST:
        return {}
    known = {one.window: _Window.of(one, allowance) for one in windows}
    sure = np.logical_and.reduce([one.sure for one in known.values()])
    for rule in rules:
        short = known[rule.pair.short].counts
        # products are rounded: where these are in this order, the exact ones are too
        sure &= short.bad * rule.limit.under < short.total * rule.limit.over
    samples = [one.samples(sure) for one in known.values()]
    judgements = [
        [alerts.below(rule, rate) for rate in known[rule.pair.short].rates[sure].tolist()] for rule in rules
    ]
    names = [rule.name for rule in rules]
    found = zip(ids[sure].tolist(), zip(*samples, strict=True), zip(*judgements, strict=True), strict=True)
    return {
        instance: Burns(of_windows, dict(zip(names, of_rules, strict=True)))
        for instance, of_windows, of_rules in found
    }


class _Window(NamedTuple):
    """One window of many instances: burn rates and success ratios, and of which instances both are sure."""

    counts: WindowArrays
    rates: Column
    ratios: Column
    sure: NDArray[np.bool_]

    @classmethod
    def of(cls, counts: WindowArrays, allowance: Ratio) -> _Window:
        """Its figures, sure of those instances alone of which all is known and that had traffic."""
        total, bad = counts.total, counts.bad
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = quotient(product(bad, allowance.under), product(total, allowance.over))
            ratios = quotient(difference(total, bad), (total, np.zeros(len(total))))
        sure = (counts.known == counts.window) & (counts.partial == 0)
        sure &= (total > 0) & (total < _LARGEST) & (bad <= total)
        sure &= (bad == 0) | (bad > _SMALLEST)
        return cls(counts, rates, ratios, sure & np.isfinite(rates) & np.isfinite(ratios))

    def samples(self, wanted: NDArray[np.bool_]) -> Iterable[BurnRateSample]:
        """The samples of the wanted instances."""
        figures = (self.rates, self.ratios, self.counts.total, self.counts.bad)
        columns = [column[wanted].tolist() for column in figures]
        return map(make, repeat(BurnRateSample), zip(repeat(self.counts.window), *columns, repeat(1.0)))


def product(one: Column, other: int) -> Pair:
    """The product, exactly."""
    return _product(one, np.float64(other))


def difference(larger: Column, smaller: Column) -> Pair:
    """The difference, exactly."""
    found = larger - smaller
    return found, (larger - found) - smaller


def quotient(numerator: Pair, denominator: Pair) -> Column:
    """The float that is nearest to the quotient; NaN where that is not sure."""
    nearest = numerator[0] / denominator[0]
    for _ in range(_TRIES):
        found = nearest
        times, lost = _product(found, denominator[0])
        rest = ((numerator[0] - times) - lost) + (numerator[1] - found * denominator[1])
        half = 0.5 * np.spacing(np.nextafter(found, 0.0)) * denominator[0]
        sure = np.abs(rest) <= half * _SURE
        if sure.all():
            break
        nearest = np.where(sure, found, np.nextafter(found, np.copysign(np.inf, rest)))
    return np.where(sure, found, np.nan)


def _product(one: Column, other: Column | np.float64) -> Pair:
    found = one * other
    (high, low), (top, rest) = _halves(one), _halves(other)
    return found, low * rest - (((found - high * top) - low * top) - high * rest)


def _halves(number: Any) -> tuple[Any, Any]:
    """A number as the sum of two with half as many digits."""
    large = number * _HALVES
    high = large - (large - number)
    return high, number - high
