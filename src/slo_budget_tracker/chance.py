"""Chance: how likely it is to see so many failures where each request fails with a given probability.

With three requests an hour one failure is an error ratio of a third, far beyond every factor, and says next
to nothing. Source of the problem: SRE Workbook, "Alerting on SLOs", "Low-Traffic Services and Error Budget
Alerting". The answer here is the exact one-sided binomial test, not the normal approximation, which is
wrong just where traffic is low.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log, log1p

_ENOUGH = 1e-17  # terms that add less than this share are left out


@lru_cache(maxsize=4_096)
def at_least(bad: int, total: int, ratio: float) -> float:
    """The probability of `bad` or more failures among `total` requests, each failing with that of `ratio`."""
    if bad <= 0:
        return 1.0
    if bad > total or ratio <= 0:
        return 0.0
    if ratio >= 1:
        return 1.0
    if bad <= total * ratio:  # the tail is the larger part: one minus the smaller
        return 1.0 - _tail(total - bad + 1, total, 1 - ratio)
    return _tail(bad, total, ratio)


def _tail(bad: int, total: int, ratio: float) -> float:
    """The sum of the binomial terms from `bad` upwards, above the mean: they fall from the first one on."""
    first = (
        lgamma(total + 1)
        - lgamma(bad + 1)
        - lgamma(total - bad + 1)
        + bad * log(ratio)
        + (total - bad) * log1p(-ratio)
    )
    odds = ratio / (1 - ratio)
    term = sum_ = 1.0
    for count in range(bad, total):
        term *= (total - count) / (count + 1) * odds
        sum_ += term
        if term < _ENOUGH * sum_:
            break
    return min(exp(first) * sum_, 1.0)
