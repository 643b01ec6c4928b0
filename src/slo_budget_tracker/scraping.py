"""Scraping: how often a source is scraped, asked of the source itself; nobody writes that into SLO files."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from slo_budget_tracker.selectors import Matcher, Selector, selectors_in, substitute_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slo_budget_tracker.answers import Answer
    from slo_budget_tracker.slis import PromqlSli

    Asked = Callable[[str], Answer]  # an instant query at one instant

LOOK = "1h"
LONGEST_SCRAPE = 300.0  # seconds: Prometheus forgets a series after five minutes without a sample


def scrape_interval(selectors: Iterable[Selector], asked: Asked) -> float | None:
    """The longest usual time (seconds) between two samples of what these select; None: nobody can tell."""
    found = [_of(selector, asked) for selector in dict.fromkeys(selectors)]
    return max((seconds for seconds in found if seconds is not None), default=None)


def _of(selector: Selector, asked: Asked) -> float | None:
    """Of the series with the most samples of an hour the middle distance, in whole seconds above one."""
    fullest = asked(f"topk(1, count_over_time({selector}[{LOOK}]))").series
    if not fullest:
        return None
    labels = {name: text for name, text in fullest[0].labels.items() if name != "__name__"}
    one = Selector(selector.metric, tuple(Matcher(name, "=", labels[name]) for name in sorted(labels)))
    times = [time for series in asked(f"{one}[{LOOK}]").series[:1] for time in series.times]
    distances = [(after - before) / 1000 for before, after in pairwise(times)]
    if not distances:
        return None
    seconds = median(distances)
    return float(round(seconds)) if seconds > 1 else seconds


def selectors_of(sli: PromqlSli) -> tuple[Selector, ...]:
    """What the expressions of an SLI read."""
    texts = [getattr(sli, role) for role in ("bad", "good", "total", "error_ratio")]
    found = (one for text in texts if text is not None for one in selectors_in(substitute_window(text, "5m")))
    return tuple(dict.fromkeys(found))
