"""Is the threshold of a latency SLO a border between buckets, and of which kind of histogram?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slo_budget_tracker.answers import Query
from slo_budget_tracker.histograms import CUSTOM, LE, Bound
from slo_budget_tracker.selectors import Selector

if TYPE_CHECKING:
    from collections.abc import Callable

    from slo_budget_tracker.answers import Answer
    from slo_budget_tracker.specs import LatencySli

Form = Literal["classic", "native"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Which form is counted, None where nothing can be, and what is to be said about it."""

    form: Form | None
    level: Literal["error", "warning", "note"] | None = None
    sentence: str = ""


def examine(sli: LatencySli, ask: Callable[[Query], Answer], at: int) -> Finding:
    """Look at the buckets that a histogram has at an instant."""
    bounds: list[float] = []
    natives: list[Bound] = []
    if sli.type != "native":
        bucket = Selector(f"{sli.histogram.metric}_bucket", sli.histogram.matchers)
        answer = ask(Query(f"count by (le) ({bucket})", at))
        found = (_float(one.labels.get(LE, "")) for one in answer.series)
        bounds = sorted(bound for bound in found if bound is not None and math.isfinite(bound))
    if sli.type != "classic":
        answer = ask(Query(str(sli.histogram), at, (sli.threshold,)))
        natives = [Bound.of(one.labels[LE]) for one in answer.series if LE in one.labels]
    at_bound = [bound for bound in natives if math.isfinite(float(bound.text))]
    if float(sli.threshold) in bounds:
        both = "native histograms are there too: the classic buckets are counted as long as they last"
        return Finding("classic", "note" if natives else None, both if natives else "")
    if at_bound:
        return _native(float(sli.threshold), max(at_bound, key=lambda bound: bound.high - bound.low))
    return Finding(None, "error", _nothing(sli, bounds))


def _native(wanted: float, bound: Bound) -> Finding:
    how = "custom borders" if bound.resolution == CUSTOM else f"schema {bound.resolution}"
    if not bound.resolution:
        return Finding("native", "note", f"native histograms, {wanted:g}s is a border of their buckets")
    exact = [bound.low, bound.high]
    if bound.resolution != CUSTOM:
        power = math.floor(math.log2(wanted))
        exact = [2.0**power, 2.0 ** (power + 1)]
    named = " and ".join(f"{one:g}s" for one in exact if 0 < one < math.inf)
    return Finding(
        "native",
        "warning",
        f"{wanted:g}s lies inside a native bucket, {bound.low:g}s to {bound.high:g}s ({how}): requests in"
        f" there are divided in proportion; exact at {named}",
    )


def _nothing(sli: LatencySli, bounds: list[float]) -> str:
    if sli.type == "native":
        return f"no native histogram {sli.histogram}; without `type: native` classic buckets are counted"
    if not bounds:
        return f"no buckets of {sli.histogram}" + ("" if sli.type == "classic" else ", classic or native")
    wanted = float(sli.threshold)
    below = [bound for bound in bounds if bound < wanted][-1:]
    above = [bound for bound in bounds if bound > wanted][:1]
    named = " and ".join(f"{bound:g}s" for bound in [*below, *above])
    return f"no bucket at {wanted:g}s, the nearest are {named}"


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
