"""The portrait: all that the page of one SLO says, in sentences and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

import orjson

from slo_budget_tracker import budget, wording
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.groups import shown
from slo_budget_tracker.hashes import definition_hash
from slo_budget_tracker.queries import plan
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.timeline import Found, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.listing import Line, Listing
    from slo_budget_tracker.snapshots import AlertStatus, BurnRateSample, SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.timeline import Happening
    from slo_budget_tracker.views import Display

EVENTS = 25
MOST_EVENTS = 1_000  # of an SLO with all its groups, looked through for one of them
RANGES = ("1h", "6h", "1d", "3d", "7d", "30d", "90d")
SECONDS = {
    "1h": 3_600,
    "6h": 21_600,
    "1d": 86_400,
    "3d": 259_200,
    "7d": 604_800,
    "30d": 2_592_000,
    "90d": 7_776_000,
}
WELL_KNOWN = 0.995


class Pair(NamedTuple):
    """An alert pair with its two windows' figures.

    `near` is the share of the factor that is reached, `fails` the share of events that fail at the factor.
    """

    alert: AlertStatus
    long: BurnRateSample | None
    short: BurnRateSample | None
    near: float
    fails: float


class Asked(NamedTuple):
    """A query as Prometheus gets it, and where people can ask it."""

    text: str
    link: str | None


@dataclass(frozen=True, slots=True)
class Portrait:
    """One SLO instance as its page shows it."""

    line: Line
    pairs: tuple[Pair, ...]
    queries: tuple[Asked, ...]
    definition: tuple[tuple[str, str], ...]
    events: Found
    siblings: tuple[Line, ...]
    why: tuple[str, ...]
    ranges: tuple[tuple[str, int], ...]
    opening: int  # seconds: the range that charts begin with
    allowed: float | None
    members: tuple[tuple[Line, str], ...] = ()  # of a composite, with their weights

    @property
    def snapshot(self) -> SLOSnapshot:
        """Its last evaluation."""
        return self.line.snapshot

    @property
    def group(self) -> str:
        """Its group labels as JSON, for the script that asks for its history."""
        return orjson.dumps(dict(self.snapshot.labels)).decode()

    @property
    def per_second(self) -> float | None:
        """Events per second over the window, while they were observed."""
        one = self.snapshot
        return None if not one.total or not one.coverage else one.total / one.window_seconds / one.coverage

    @property
    def outage(self) -> float | None:
        """Seconds for which everything may fail until the budget is spent, at the window's mean traffic."""
        left = self.snapshot.events_remaining
        return None if not left or left < 0 or not self.per_second else left / self.per_second

    @property
    def pace(self) -> int:
        """The span whose failures the forecast goes on with, seconds."""
        return budget.exhaustion_window(self.snapshot.window_seconds)

    def group_of(self, event: Happening) -> Mapping[str, str]:
        """The group that an event is about; nothing on the page of a group, where all are about it."""
        return {} if self.snapshot.labels else _group(event, self.line)


def portrait(display: Display, listing: Listing, name: str, labels: Mapping[str, str]) -> Portrait | None:
    """The portrait of the instance of that name with these group labels; None where there is none.

    Raises:
        LedgerError: its events cannot be read.
    """
    of_name = [line for line in listing.lines if line.snapshot.name == name]
    line = next((one for one in of_name if labels.items() <= dict(one.snapshot.labels).items()), None)
    if line is None:
        return None
    one, slo = line.snapshot, line.slo
    siblings = [other for other in of_name if not other.snapshot.rollup]
    siblings.sort(key=lambda other: other.snapshot.error_budget_remaining or 0.0)
    return Portrait(
        line,
        tuple(_pair(alert, one) for alert in one.alerts),
        _queries(slo, display) if slo is not None else (),
        tuple(_definition(slo)) if slo is not None else (),
        _events(display, line),
        tuple(siblings) if len(of_name) > 1 else (),
        tuple(_why(line)),
        _ranges(one),
        _opening(line),
        None if one.total is None else one.total * budget_share(one),
        _members(listing, line),
    )


def _members(listing: Listing, line: Line) -> tuple[tuple[Line, str], ...]:
    """What a composite is made of, the least budget first; of a group the same groups."""
    if line.slo is None or line.slo.sli.kind != "composite":
        return ()
    weights = {one.slo: one.weight for one in line.slo.sli.members}
    found = [
        other
        for other in listing.lines
        if other.snapshot.name in weights and other.snapshot.labels == line.snapshot.labels
    ]
    found.sort(key=lambda other: other.snapshot.error_budget_remaining or 0.0)
    return tuple((other, f"{weights[other.snapshot.name].normalize():f}") for other in found)


def _events(display: Display, line: Line) -> Found:
    """The newest events; on the page of a group those of the others are left out."""
    one = line.snapshot
    if not one.labels:
        return display.past.events(Wanted(slo=one.name, limit=EVENTS))
    found = display.past.events(Wanted(slo=one.name, limit=MOST_EVENTS)).events
    own = [event for event in found if _group(event, line) in ({}, dict(one.labels))]
    return Found(tuple(own[:EVENTS]), len(own))


def _group(event: Happening, line: Line) -> Mapping[str, str]:
    """The labels of an event's group, as far as the SLO is one with groups."""
    said = event.payload.get("labels") or {}
    return (
        {} if line.slo is None else {key: said[key] for key in map(shown, line.slo.group_by) if key in said}
    )


def budget_share(one: SLOSnapshot) -> float:
    """The share of events that may fail."""
    allowance = budget.allowed(one.target)
    return allowance.over / allowance.under


def _pair(alert: AlertStatus, one: SLOSnapshot) -> Pair:
    samples = {sample.window_seconds: sample for sample in one.burn_rate_samples}
    long, short = samples.get(alert.long_window_seconds), samples.get(alert.short_window_seconds)
    rates = [(sample.burn_rate or 0.0) if sample else 0.0 for sample in (long, short)]
    factor = float(alert.threshold)
    return Pair(alert, long, short, min(rates) / factor, min(factor * budget_share(one), 1.0))


def _ranges(one: SLOSnapshot) -> tuple[tuple[str, int], ...]:
    """The spans to choose from: up to twice the window, which is always one of them."""
    usual = {text: seconds for text, seconds in SECONDS.items() if seconds <= 2 * one.window_seconds}
    return tuple(
        sorted({**usual, format_duration(one.window_seconds): one.window_seconds}.items(), key=_second)
    )


def _opening(line: Line) -> int:
    """The whole window; while a pair fires the range in which its long window is to be seen well."""
    window = line.snapshot.window_seconds
    firing = [alert for alert in line.snapshot.alerts if alert.firing]
    wanted = min((6 * alert.long_window_seconds for alert in firing), default=window)
    return next((seconds for _, seconds in _ranges(line.snapshot) if wanted <= seconds <= window), window)


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


def _queries(slo: SLO, display: Display) -> tuple[Asked, ...]:
    """What a tick asks for this SLO alone; others may share these requests."""
    planned = plan([slo], replica_labels={}).describe(display.interval)
    base = display.datasources.get(slo.datasource, "")
    return tuple(Asked(query, _graph(base, query)) for read in planned for query in read.queries)


def _graph(base: str, query: str) -> str | None:
    if not base.startswith(("http://", "https://")):
        return None
    return f"{base.rstrip('/')}/graph?" + urlencode({"g0.expr": query, "g0.tab": "1"})


def _definition(slo: SLO) -> list[tuple[str, str]]:
    sli = [
        (name.replace("_", " "), " + ".join(map(str, value)) if isinstance(value, tuple) else str(value))
        for name in type(slo.sli).model_fields
        if name != "kind" and (value := getattr(slo.sli, name)) is not None
    ]
    facts = [
        ("kind", slo.sli.kind),
        *sli,
        ("counts", slo.unit),
        ("service", slo.service),
        ("owner", slo.owner),
        *((f"label {key}", value) for key, value in slo.labels),
        ("datasource", slo.datasource),
        ("defined in", slo.source),
        ("definition hash", definition_hash(slo)),
    ]
    return [(name, text) for name, text in facts if text]


def _why(line: Line) -> list[str]:
    """The verdict in words: what decided first, then how well it is known."""
    one = line.snapshot
    said = list(line.judged.reasons)
    if line.alerting:
        verb = "alerts" if line.alerting == 1 else "alert"
        said = [
            f"{line.alerting} of its {line.groups} groups {verb}.",
            *(f"Over all groups: {one}" for one in said),
        ]
    if one.coverage < WELL_KNOWN and one.error_budget_remaining is not None:
        sentence = f"{one.coverage:.1%} of the window was observed"
        if one.error_budget_remaining_bounds is not None:
            sentence += f"; whatever the rest was, {wording.between(*one.error_budget_remaining_bounds)}"
        said.append(f"{sentence}.")
    if one.raw is not None:
        hours = format_duration(one.raw.corrected_seconds)
        kept = _without(one.raw.error_budget_remaining)
        said.append(f"Corrections take {hours} out of the window; without them {kept}.")
    said += [
        f"The {alert.severity} over {format_duration(alert.long_window_seconds)} is {alert.state}"
        f"{_since(alert)}: {alert.reason}."
        for alert in one.alerts
        if not alert.firing
    ]
    return said


def _without(left: float | None) -> str:
    """What would be of the budget without corrections."""
    if left is None:
        return "nothing would be known"
    if left < 0:
        return f"it would be overspent by {wording.share(-left)}"
    return f"{wording.share(left)} of the budget would remain"


def _since(alert: AlertStatus) -> str:
    return f" since {instant_text(alert.since)}" if alert.since is not None and alert.state != "quiet" else ""
