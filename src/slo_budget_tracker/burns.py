"""Burns: how fast the budgets of many SLOs go, found at once where nothing burns, exactly as one by one.

`budget` and `alerts` compute with integers, one window after the other. Here the windows of all SLOs with the
same pairs are columns of floats. Each product and difference is kept with what its rounding lost, itself a
float (Dekker 1971), so a quotient is known to be the nearest one, or else is left to `budget`. As are SLOs of
which any short window burns or is not known well enough, or any window had no traffic.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slo_budget_tracker import alerts
from slo_budget_tracker.alerts import Judgement
from slo_budget_tracker.snapshots import BurnRateSample
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from slo_budget_tracker.alerts import Rule, Ruleset
    from slo_budget_tracker.budget import Ratio
    from slo_budget_tracker.history import WindowArrays
    from slo_budget_tracker.specs import SLO

    Column = NDArray[np.float64]
    Pair = tuple[Column, Column]  # a number, and what its rounding lost

_HALVES = 2.0**27 + 1
_SURE = 1 - 2.0**-40  # what is computed of a remainder is exact to far less than the rest
LARGEST, SMALLEST = 2.0**53, 2.0**-100
_COVERED = 0.8  # of a short window, as `budget.well_covered` has it
_TRIES = 3  # a first guess is off by a few of its last digit at most


class Burns(NamedTuple):
    """What the alert windows of one SLO say: their figures, ascending, and of each pair that it is over."""

    samples: tuple[BurnRateSample, ...]
    judgements: Mapping[str, Judgement]


def calm(
    instances: Iterable[tuple[SLO, int]], arrays: Callable[[int, NDArray[np.int64]], WindowArrays]
) -> dict[int, Burns]:
    """The burns of those instances whose short windows are known well enough and none of them burns.

    `arrays` gives what is known of a window of so many seconds, of some instances.
    """
    together: dict[int, tuple[Ruleset, list[int]]] = {}
    for slo, instance in instances:
        ruleset = alerts.ruleset(slo.alerts, slo.target)
        together.setdefault(id(ruleset), (ruleset, []))[1].append(instance)
    found: dict[int, Burns] = {}
    for ruleset, some in together.values():
        ids = np.array(some, np.int64)
        columns = Calm.of(ruleset, ids, arrays) if ruleset.rules else None
        if columns is not None:
            found |= zip(ids[columns.sure].tolist(), columns.burns(), strict=True)
    return found


class Calm(NamedTuple):
    """The alert windows of instances that have the same pairs, and of which it is sure that none burns."""

    ruleset: Ruleset
    windows: Mapping[int, _Window]
    sure: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        ruleset: Ruleset,
        ids: NDArray[np.int64],
        arrays: Callable[[int, NDArray[np.int64]], WindowArrays],
    ) -> Calm | None:
        """Their figures; None where they have more digits than floats."""
        rules, allowance = ruleset.rules, ruleset.allowance
        if max(allowance.under, *(rule.limit.under for rule in rules)) >= LARGEST:
            return None
        windows = {window: _Window.of(arrays(window, ids), allowance) for window in ruleset.windows}
        sure = np.logical_and.reduce([one.sure for one in windows.values()])
        for rule in rules:
            short = windows[rule.pair.short]
            bad, total = short.counts.bad, short.counts.total
            # products are rounded: where these are in this order, the exact ones are too
            sure &= short.covered & (bad * rule.limit.under < total * rule.limit.over)
        return cls(ruleset, windows, sure)

    def samples(self, wanted: NDArray[np.bool_]) -> list[Iterable[BurnRateSample]]:
        """The samples of each window, one for each wanted instance."""
        return [one.samples(wanted) for one in self.windows.values()]

    def reasons(self, wanted: NDArray[np.bool_]) -> Iterable[tuple[Rule, list[str]]]:
        """Why each pair is over, one sentence for each wanted instance."""
        for rule in self.ruleset.rules:
            rates = self.windows[rule.pair.short].rates[wanted].tolist()
            yield rule, [alerts.below(rule, rate) for rate in rates]

    def burns(self) -> Iterable[Burns]:
        """What each instance says of which it is sure."""
        names = [rule.name for rule in self.ruleset.rules]
        judgements = [
            [make(Judgement, ("over", reason)) for reason in reasons]
            for _, reasons in self.reasons(self.sure)
        ]
        for of_windows, of_rules in zip(
            zip(*self.samples(self.sure), strict=True), zip(*judgements, strict=True), strict=True
        ):
            yield Burns(of_windows, dict(zip(names, of_rules, strict=True)))


class _Window(NamedTuple):
    """One window of many instances: figures, of which instances these are sure, and which know most of it."""

    counts: WindowArrays
    rates: Column
    ratios: Column
    coverage: Column
    sure: NDArray[np.bool_]
    covered: NDArray[np.bool_]

    @classmethod
    def of(cls, counts: WindowArrays, allowance: Ratio) -> _Window:
        """Its figures, sure of those instances alone of which something is known and that had traffic."""
        total, bad = counts.total, counts.bad
        with np.errstate(divide="ignore", invalid="ignore"):
            rates = quotient(product(bad, allowance.under), product(total, allowance.over))
            ratios = quotient(difference(total, bad), (total, np.zeros(len(total))))
        known = np.minimum(counts.known, counts.window)
        sure = (known > 0) & (total > 0) & (total < LARGEST) & (bad <= total)
        sure &= (bad == 0) | (bad > SMALLEST)
        sure &= np.isfinite(rates) & np.isfinite(ratios)
        covered = known - counts.partial >= _COVERED * counts.window + 1  # a second more than rounding takes
        return cls(counts, rates, ratios, known / counts.window, sure, covered)

    def samples(self, wanted: NDArray[np.bool_]) -> Iterable[BurnRateSample]:
        """The samples of the wanted instances."""
        figures = (self.rates, self.ratios, self.counts.total, self.counts.bad, self.coverage)
        columns = [column[wanted].tolist() for column in figures]
        return map(make, repeat(BurnRateSample), zip(repeat(self.counts.window), *columns))


def product(one: Column, other: int) -> Pair:
    """The product, exactly."""
    return _product(one, np.float64(other))


def difference(larger: Column, smaller: Column) -> Pair:
    """The difference, exactly."""
    found = larger - smaller
    return found, (larger - found) - smaller


def less(larger: Pair, smaller: Pair) -> Pair:
    """The difference, to twice the digits of a float; where nearly nothing is left, to fewer."""
    high, lost = difference(larger[0], smaller[0])
    low = lost + (larger[1] - smaller[1])
    found = high + low
    return found, low - (found - high)


def scaled(one: Pair, other: Column) -> Pair:
    """The product, to twice the digits of a float."""
    found, lost = _product(one[0], other)
    return found, lost + one[1] * other


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
