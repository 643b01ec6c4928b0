"""Lulls: ticks that move nothing of an SLO but its figures, found for many SLOs at once.

No rule of the SLO is pending or firing, none begins to burn, its budget is far from spent, and its counts are
in no doubt: so are most SLOs in most ticks. Their states stay and nobody is told anything; what
`verdict.assess` would show of them is found in columns, to the last bit. The others are left to `assess`.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import compress, repeat
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slo_budget_tracker import alerts, budget, suspicions
from slo_budget_tracker.burns import (
    LARGEST,
    SMALLEST,
    Calm,
    difference,
    less,
    product,
    quotient,
    scaled,
)
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.snapshots import AlertStatus, SLOSnapshot
from slo_budget_tracker.ticks import Outcome, WindowCounts
from slo_budget_tracker.tuples import make
from slo_budget_tracker.verdict import BUDGET, DATA, DATA_STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal

    from numpy.typing import NDArray

    from slo_budget_tracker.alerts import AlertState, Ruleset
    from slo_budget_tracker.budget import Bounds, Ratio
    from slo_budget_tracker.burns import Column
    from slo_budget_tracker.history import WindowArrays
    from slo_budget_tracker.specs import SLO, BurnRateAlert
    from slo_budget_tracker.ticks import Counts

    Arrays = Callable[[int, NDArray[np.int64]], WindowArrays]

_FAR = 2.0**-8  # so much of the budget is left at least: of a smaller difference too many digits are lost


class Shape(NamedTuple):
    """What decides, at every tick alike, whether and with whom an SLO can be judged at once."""

    ruleset: Ruleset
    window: int
    recent: int
    states: frozenset[str]  # the rules that are remembered of it
    longest_scrape: float


class Still(NamedTuple):
    """An instance of which no rule is pending or firing: since when, and what the tick brought."""

    instance: int
    slo: SLO
    labels: Mapping[str, str]
    since: tuple[int, ...]  # of each pair
    outcome: Outcome


@by_identity
def shape_of(slo: SLO) -> Shape | None:
    """The shape of a plain SLO: its windows are what history has of them, and the pairs all its alerts."""
    special = slo.corrections or slo.budget_alerts or slo.slices is not None or slo.calendar is not None
    if special or not slo.alerts or slo.no_data == "bad" or slo.sli.kind == "composite":
        return None
    return _shape(slo.alerts, slo.target, slo.window, suspicions.longest_scrape(slo))


@lru_cache(maxsize=4096)
def _shape(
    pairs: tuple[BurnRateAlert, ...], target: Decimal, window: int, longest_scrape: float
) -> Shape | None:
    """One for all SLOs that are alike; None where two rules would be remembered by one name."""
    ruleset = alerts.ruleset(pairs, target)
    states = frozenset({DATA, BUDGET, *(rule.name for rule in ruleset.rules)})
    if len(states) != len(pairs) + 2:
        return None
    return Shape(ruleset, window, budget.exhaustion_window(window), states, longest_scrape)


def is_undoubted(shape: Shape, counts: Counts, spacing: float | None) -> bool:
    """Whether a tick was observed as a whole, and nothing is suspicious about its counts."""
    scraped = spacing is None or spacing <= shape.longest_scrape
    return counts.outcome <= Outcome.NO_TRAFFIC and counts.cut is None and scraped


def quiet_since(shape: Shape, states: Mapping[str, AlertState]) -> tuple[int, ...] | None:
    """Since when each pair has been quiet; None where anything else is remembered, or nothing yet."""
    if states.keys() != shape.states:
        return None
    for one in states.values():
        if one.state != "quiet":
            return None
    return tuple([states[rule.name].since for rule in shape.ruleset.rules])


def snapshots(instances: Iterable[tuple[Shape, Still]], at: int, arrays: Arrays) -> dict[int, SLOSnapshot]:
    """What is shown of those that go on being still at the data instant `at`, by instance.

    `arrays` gives what is known of a window of so many seconds, of some instances.
    """
    together: dict[int, tuple[Shape, list[Still]]] = {}
    for shape, still in instances:
        together.setdefault(id(shape), (shape, []))[1].append(still)
    found: dict[int, SLOSnapshot] = {}
    for shape, some in together.values():
        found |= _snapshots(shape, some, at, arrays)
    return found


def _snapshots(
    shape: Shape, some: Sequence[Still], at: int, arrays: Arrays
) -> Iterable[tuple[int, SLOSnapshot]]:
    """As `snapshots` does, of instances that have the same pairs and windows."""
    ids = np.array([one.instance for one in some], np.int64)
    calm = Calm.of(shape.ruleset, ids, arrays)
    if calm is None:
        return ()
    whole = _Whole.of(arrays(shape.window, ids), arrays(shape.recent, ids), shape.ruleset.allowance)
    sure = calm.sure & whole.sure
    kept = list(compress(some, sure.tolist()))
    columns = (
        [one.slo.name for one in kept],
        [one.slo.unit for one in kept],
        [one.slo.target for one in kept],
        repeat(shape.window),
        repeat(at),
        [DATA_STATES[one.outcome] for one in kept],
        *whole.columns(sure, [one.slo.unit == "ratio" for one in kept]),
        repeat(False),
        repeat(False),
        zip(*calm.samples(sure), strict=True),
        zip(*_statuses(calm, sure, kept), strict=True),
        [one.labels for one in kept],
        repeat(()),
        repeat(None),
        repeat(""),
        [bool(one.slo.group_by) and not one.labels for one in kept],
    )
    return zip(ids[sure].tolist(), map(make, repeat(SLOSnapshot), zip(*columns)), strict=True)  # noqa: B905


def _statuses(calm: Calm, sure: NDArray[np.bool_], kept: Sequence[Still]) -> Iterator[Iterable[AlertStatus]]:
    """The statuses of each pair, one for each instance that is kept."""
    for place, (rule, reasons) in enumerate(calm.reasons(sure)):
        since = [one.since[place] for one in kept]
        shown = zip(*map(repeat, rule.shown), repeat("quiet"), since, reasons, repeat(None))
        yield map(make, repeat(AlertStatus), shown)


class _Whole(NamedTuple):
    """The SLO window of many instances and how fast its budget goes, and of which instances that is sure."""

    counts: WindowArrays
    allowance: Ratio
    ratios: Column
    remaining: Column
    rates: Column
    events: Column
    seconds: Column
    sure: NDArray[np.bool_]

    @classmethod
    def of(cls, counts: WindowArrays, recent: WindowArrays, allowance: Ratio) -> _Whole:
        """Its figures as `budget` has them, where a good part of the budget is left."""
        total, bad, nothing = counts.total, counts.bad, np.zeros(len(counts.total))
        allowed, spent = product(total, allowance.over), product(bad, allowance.under)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            left = less(allowed, spent)
            burnt = product(recent.bad, allowance.under)
            ratios = quotient(difference(total, bad), (total, nothing))
            remaining, rates = quotient(left, allowed), quotient(spent, allowed)
            events = quotient(left, (nothing + allowance.under, nothing))
            seen = np.minimum(recent.known, recent.window)
            seconds = np.where(recent.bad == 0, np.inf, quotient(scaled(left, seen), burnt))
        sure = (recent.known > 0) & (counts.known > 0) & (total > 0) & (total < LARGEST) & (bad <= total)
        sure &= left[0] > allowed[0] * _FAR
        for some in (bad, recent.bad):
            sure &= (some == 0) | (some > SMALLEST)
        for some in (ratios, remaining, rates, events):
            sure &= np.isfinite(some)
        return cls(counts, allowance, ratios, remaining, rates, events, seconds, sure & ~np.isnan(seconds))

    def columns(self, wanted: NDArray[np.bool_], ratios: Sequence[bool]) -> Iterable[Iterable[object]]:
        """From coverage to exhaustion, as a snapshot has them, of wanted ones; `ratios` have no events."""
        counts = self.counts
        remaining = self.remaining[wanted].tolist()
        events = self.events[wanted].tolist()
        return (
            (np.minimum(counts.known, counts.window) / counts.window)[wanted].tolist(),
            counts.total[wanted].tolist(),
            counts.bad[wanted].tolist(),
            self.ratios[wanted].tolist(),
            remaining,
            self.rates[wanted].tolist(),
            self._bounds(wanted, remaining),
            [None if ratio else left for ratio, left in zip(ratios, events, strict=True)],
            [None if one == np.inf else one for one in self.seconds[wanted].tolist()],
        )

    def _bounds(self, wanted: NDArray[np.bool_], remaining: Sequence[float]) -> list[Bounds | None]:
        """The bounds of the budget: those of windows with gaps one by one."""
        counts = self.counts
        bounds: list[Bounds | None] = [make(budget.Bounds, (left, left)) for left in remaining]
        gaps = np.flatnonzero(counts.known[wanted] < counts.window).tolist()
        figures = (counts.total, counts.bad, counts.known, counts.partial)
        for at, *numbers in zip(gaps, *(one[wanted][gaps].tolist() for one in figures), strict=True):
            bounds[at] = budget.bounds(budget.exact(WindowCounts(counts.window, *numbers)), self.allowance)
        return bounds
