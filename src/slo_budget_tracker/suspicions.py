"""Suspicions: what makes figures doubtful although every tick was read, and whether it lasts.

Two things are noticed: parts that exceed their whole (a race, an extrapolation: they are cut to it), and
windows that hold so few scrapes that what they say is chance. Neither changes a count, a state or an alert;
what lasts is said, wherever the SLO is shown.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from slo_budget_tracker.alerts import AlertState, Judgement, look, step
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.alerts import Decision
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Cut

RULE = "suspicion"
TICKS = 3  # in a row before it is said
SCRAPES = 2  # in the short window of an alert
PROMQL_SCRAPES = 4  # in the window of a `promql` SLI
SCRAPED = frozenset({"requests", "latency", "probe", "promql"})  # kinds whose events come with scrapes
CUTS: Mapping[Cut, str] = {
    "good": "`good` was more than `total`: none counts as bad",
    "bad": "`bad` was more than `total`: all count as bad",
}


def too_short(slo: SLO, scrape: float) -> Iterator[tuple[str, str, str]]:
    """Each window that holds too few scrapes of `scrape` seconds: what it is, how long, and the least."""
    if slo.sli.kind not in SCRAPED:
        return
    if slo.sli.kind == "promql" and slo.sli.window < PROMQL_SCRAPES * scrape:
        yield "the promql window", format_duration(slo.sli.window), _scrapes(PROMQL_SCRAPES, scrape)
    for short in sorted({pair.short for pair in slo.alerts if pair.short < SCRAPES * scrape}):
        yield "the alert window", format_duration(short), _scrapes(SCRAPES, scrape)


def _scrapes(times: int, scrape: float) -> str:
    return f"at least {format_duration(-int(-times * scrape // 1))}, {times} scrapes of {scrape:g}s"


@by_identity
def longest_scrape(slo: SLO) -> float:
    """The longest time between two scrapes for which no window of an SLO is too short."""
    if slo.sli.kind not in SCRAPED:
        return inf
    own = slo.sli.window / PROMQL_SCRAPES if slo.sli.kind == "promql" else inf
    return min([own, *(pair.short / SCRAPES for pair in slo.alerts)])


def sentences(slo: SLO, scrape: float | None) -> str:
    """The windows that are too short, in words; nothing where it is not known how often there is a scrape."""
    if scrape is None or scrape <= longest_scrape(slo):
        return ""
    found = too_short(slo, scrape)
    return "; ".join(f"{what} is {length}, it needs {least}" for what, length, least in found)


def stepped(
    state: AlertState | None, sentence: str, *, outcome: Outcome, at: int, interval: int, live: bool
) -> Decision | None:
    """What is known after a tick in which `sentence` was to be said; None where there is nothing to remember.

    It is firing from the third tick in a row on, and over with the first tick without; a tick without events
    says nothing.
    """
    if not sentence and (state is None or state.state == "quiet"):
        return None
    if outcome is not Outcome.OK:
        judgement = Judgement("silent", sentence)
    else:
        judgement = Judgement("burning" if sentence else "over", sentence)
    waits = (TICKS - 1) * interval
    if not live:
        return look(state, judgement, at=at, for_seconds=waits)
    return step(state, judgement, at=at, seconds=interval, for_seconds=waits)
