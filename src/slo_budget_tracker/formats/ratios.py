"""An SLI as the PromQL that others ask: good or bad events and all events over a window."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.queries import bound_spellings
from slo_budget_tracker.selectors import Matcher, Selector, substitute_window

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.specs import SLO

DEFAULT_RANGE = 300


class Ratio(NamedTuple):
    """Expressions with `$window`: a part of all events, or the share of bad ones as `total` alone."""

    part: str
    total: str
    good: bool


def ratio_of(slo: SLO) -> Ratio:
    """The SLI as two expressions; ValueError says why it has none."""
    sli = slo.sli
    if sli.kind == "requests":
        return Ratio(_sum(sli.good or sli.bad or ()), _sum(sli.total), sli.good is not None)
    if sli.kind == "latency" and sli.type == "native":
        rate = f"sum(rate({sli.histogram}[$window]))"
        total = f"histogram_count({rate})"
        share = f"histogram_fraction(0, {sli.threshold.normalize():f}, {rate})"
        return Ratio(f"{share} * {total}", total, good=True)
    if sli.kind == "latency":
        buckets = bucket(sli.histogram, bound_spellings(sli.threshold))
        return Ratio(_sum([buckets]), _sum([_suffixed(sli.histogram, "_count")]), good=True)
    if sli.kind == "promql":
        if sli.window != DEFAULT_RANGE:
            raise ValueError("`promql` with a `window` of its own")
        if sli.error_ratio is not None:
            return Ratio("", sli.error_ratio, good=False)
        if sli.total is not None:
            return Ratio(sli.bad or sli.good or "", sli.total, sli.good is not None)
        return Ratio(sli.bad or "", f"({sli.bad}) + ({sli.good})", good=False)
    raise ValueError(f"`{sli.kind}`")


def error_ratio(ratio: Ratio, window: str) -> str:
    """The share of bad events over a window, as one expression."""
    part, total = substitute_window(ratio.part, window), substitute_window(ratio.total, window)
    if not part:
        return total
    return f"1 - (({part}) / ({total}))" if ratio.good else f"({part}) / ({total})"


def bucket(histogram: Selector, spellings: Iterable[str]) -> Selector:
    """The bucket of a histogram in each spelling of its bound."""
    bounds = sorted(spellings)
    matcher = (
        Matcher("le", "=", bounds[0])
        if len(bounds) == 1
        else Matcher("le", "=~", "|".join(re.escape(one) for one in bounds))
    )
    buckets = _suffixed(histogram, "_bucket")
    matchers = sorted((*buckets.matchers, matcher), key=lambda m: (m.label, m.operator, m.value))
    return Selector(buckets.metric, tuple(matchers))


def _suffixed(histogram: Selector, suffix: str) -> Selector:
    return Selector(f"{histogram.metric}{suffix}", histogram.matchers)


def _sum(selectors: Iterable[Selector]) -> str:
    return " + ".join(f"sum(rate({selector}[$window]))" for selector in selectors)
