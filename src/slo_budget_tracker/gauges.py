"""All gauges of /metrics, rendered from the last verdicts: no value, no sample; what is gone is gone."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.exposition import (
    Family,
    Label,
    block,
    braced,
    encoded,
    label,
    labels,
    sample,
)
from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.ownmetrics import own_lines
from slo_budget_tracker.sheets import Sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slo_budget_tracker.figures import OwnFigures
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO

    Identity = tuple[str, tuple[tuple[str, str], ...]]

DATA_STATES = ("ok", "no_traffic", "no_data", "partial", "error")

_HELP = {
    "slo_info": "What the SLO belongs to: service, owner and the labels of its definition; always 1.",
    "slo_target": "The objective as a ratio in (0, 1).",
    "slo_window_seconds": "Length of the SLO window; of a calendar window the nominal one.",
    "slo_success_ratio": "Good events per event over the SLO window; absent without events.",
    "slo_failures_total": "Bad events in the SLO window; a sum over a rolling window, do not rate() it.",
    "slo_total": "Events in the SLO window; a sum over a rolling window, do not rate() it.",
    "slo_error_budget_remaining": "Share of the error budget that is left; negative when overspent.",
    "slo_error_budget_remaining_bound": "Budget left if all unknown events were bad (worst) or good (best).",
    "slo_error_budget_events_remaining": "Events that may still fail; negative when overspent.",
    "slo_error_budget_exhaustion_seconds": "Seconds until the budget is spent at the recent rate.",
    "slo_corrected_seconds": "Seconds that corrections took out of the SLO window.",
    "slo_raw_success_ratio": "The success ratio with the time that corrections took out.",
    "slo_raw_error_budget_remaining": "The budget left with the time that corrections took out.",
    "slo_burn_rate": "Error ratio over the window divided by 1 - target; absent without events.",
    "slo_breached": "1 when the success ratio is below the target.",
    "slo_burn_alert_firing": "1 while the alert fires or is held for want of data: alert on this.",
    "slo_budget_alert_firing": "1 while a budget alert fires or is held for want of data.",
    "slo_suspicious": "1 while its figures are doubtful: parts above their whole, windows of few scrapes.",
    "slo_data_state": "What the last tick brought; exactly one state is 1.",
    "slo_window_coverage_ratio": "Share of the window that was observed.",
    "slo_data_age_seconds": "Age of the newest counted data when this page was rendered.",
    "slo_last_evaluation_timestamp_seconds": "The data instant of the last evaluation.",
}
_FAMILIES = {name: Family(name, "gauge", sentence) for name, sentence in _HELP.items()}
_FAMILIES |= {
    _rollup_name: Family(_rollup_name, "gauge", f"Over all groups: {_sentence}")
    for _name, _sentence in _HELP.items()
    if _name != "slo_info"
    for _rollup_name in (_name.replace("slo_", "slo_rollup_", 1),)
}
_STATES = {state: label("state", state) for state in DATA_STATES}
_STATE_VALUES = {one: tuple(float(state == one) for state in DATA_STATES) for one in DATA_STATES}
_AGE = "slo_data_age_seconds"
_WORST, _BEST = label("bound", "worst"), label("bound", "best")


def identity(name: str, instance_labels: Mapping[str, str]) -> Identity:
    """What tells SLO instances apart, as a key."""
    return name, tuple(sorted(instance_labels.items())) if instance_labels else ()


def render(
    snapshots: Iterable[SLOSnapshot],
    infos: Iterable[SLO],
    own: OwnFigures | None,
    *,
    now: float | None = None,
    data_until: Mapping[Identity, float] | None = None,
) -> bytes:
    """The whole page in Prometheus' text format (`exposition.openmetrics` makes the other one of it).

    `now` is the wall-clock time of this rendering, `data_until` the end of each instance's newest known tick:
    both are for `slo_data_age_seconds`, which is absent without them. Without `own` it is the SLOs' gauges.
    """
    return Page.of(snapshots, infos, data_until or {}).printed(own, now=now)


class _Row(NamedTuple):
    """The lines of one instance by family, and its labels."""

    snapshot: SLOSnapshot
    labels: str
    families: Sequence[str]
    lines: Sequence[str]

    @classmethod
    def of(cls, snapshot: SLOSnapshot) -> _Row:
        if not snapshot.labels and not snapshot.rollup:  # by far the most
            own = label("slo", snapshot.name)
            return cls(snapshot, braced((own,)), *_sheet(snapshot).filled(own, _values(snapshot)))
        base = labels({**snapshot.labels, "slo": snapshot.name})
        plain = braced(base)
        if snapshot.rollup:
            return cls(snapshot, plain, *_rollup_lines(base, snapshot))
        found = [(name, sample(name, plain, value)) for name, value in _plain(snapshot)]
        for name, further, value in _labelled(snapshot):
            found.append((name, sample(name, braced((*base, *further)), value)))
        return cls(snapshot, plain, [name for name, _ in found], [line for _, line in found])


class Page:
    """The gauges of SLOs as text, once for as long as their verdicts stand.

    Only the ages of their data are of the moment of printing, as are the daemon's own figures.
    """

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self._lines: dict[str, list[str]] = {name: [] for name in _FAMILIES}
        self._ages: dict[str, list[tuple[str, float]]] = {_AGE: [], _rollup(_AGE): []}

    @classmethod
    def of(
        cls,
        snapshots: Iterable[SLOSnapshot],
        infos: Iterable[SLO],
        data_until: Mapping[Identity, float],
        *,
        before: Page | None = None,
    ) -> Page:
        """The page of these verdicts and definitions; `data_until` as in `render`.

        The lines of verdicts that were on the page `before` are not made again.
        """
        page = cls()
        known = {} if before is None else {id(row.snapshot): row for row in before.rows}
        ordered = sorted(snapshots, key=lambda one: identity(one.name, one.labels))
        page.rows = [known.get(id(snapshot)) or _Row.of(snapshot) for snapshot in ordered]
        page._lines["slo_info"] += [_info(slo) for slo in sorted(infos, key=lambda slo: slo.name)]
        for families, rows in groupby(page.rows, key=attrgetter("families")):
            for family, lines in zip(families, zip(*(row.lines for row in rows), strict=True), strict=True):
                page._lines[family] += lines
        for row in page.rows:
            until = data_until.get(identity(row.snapshot.name, row.snapshot.labels))
            if until is not None:
                page._ages[_rollup(_AGE) if row.snapshot.rollup else _AGE].append((row.labels, until))
        return page

    def printed(self, own: OwnFigures | None, *, now: float | None) -> bytes:
        """The whole page as of now; without `own` only the SLOs' gauges."""
        return encoded(self._blocks(now), () if own is None else own_lines(own))

    def _blocks(self, now: float | None) -> Iterator[str]:
        for name, lines in self._lines.items():
            if name not in self._ages:
                yield block(_FAMILIES[name], lines)
            elif now is not None:
                ages = [sample(name, where, max(0.0, now - until)) for where, until in self._ages[name]]
                yield block(_FAMILIES[name], ages)


@by_identity
def _info(slo: SLO) -> str:
    where = labels({**dict(slo.labels), "service": slo.service, "owner": slo.owner, "slo": slo.name})
    return sample("slo_info", braced(where), 1)


_SHEETS: dict[tuple[object, ...], Sheet] = {}
_MOST_SHEETS = 10_000


def _sheet(one: SLOSnapshot) -> Sheet:
    """The sheet of a snapshot's shape: all that decides which lines there are."""
    shape = (
        tuple([burn.window_seconds for burn in one.burn_rate_samples]),
        one.window_seconds,
        tuple([alert[:3] for alert in one.alerts]),  # severity, long and short window
        tuple([(alert.rule, alert.severity) for alert in one.budget_alerts]),
        one.error_budget_remaining_bounds is None,
        one.raw is None,
    )
    found = _SHEETS.get(shape)
    if found is None:
        if len(_SHEETS) >= _MOST_SHEETS:
            _SHEETS.clear()
        plain: list[tuple[str, tuple[Label, ...]]] = [(name, ()) for name, _ in _plain(one)]
        further = [(name, labels) for name, labels, _ in _labelled(one)]
        found = _SHEETS[shape] = Sheet([*plain, *further])
    return found


def _values(one: SLOSnapshot) -> list[float | None]:
    """The values of `_plain` and `_labelled` in their order."""
    values = _plain_values(one)
    if one.error_budget_remaining_bounds is not None:
        values += one.error_budget_remaining_bounds
    coverage = {burn.window_seconds: burn.coverage for burn in one.burn_rate_samples}
    coverage[one.window_seconds] = one.coverage
    values += [coverage[window] for window in sorted(coverage)]
    values += [burn.burn_rate for burn in one.burn_rate_samples]
    firing: dict[tuple[int, str, int], float] = {}
    for alert in one.alerts:
        key = alert.long_window_seconds, alert.severity, alert.short_window_seconds
        firing[key] = max(firing.get(key, 0.0), float(alert.firing))
    values += firing.values()
    values += [float(alert.firing) for alert in one.budget_alerts]
    values += _STATE_VALUES.get(one.state, _STATE_VALUES["error"])
    return values


def _rollup_lines(base: tuple[Label, ...], snapshot: SLOSnapshot) -> tuple[list[str], list[str]]:
    """The figures over all groups, under names of their own: no sum over groups counts them twice."""
    figures = [(name, (), value) for name, value in _plain(snapshot)]
    found = [
        (_rollup(name), sample(_rollup(name), braced((*base, *further)), value))
        for name, further, value in [*figures, *_labelled(snapshot)]
    ]
    return [name for name, _ in found], [line for _, line in found]


def _rollup(name: str) -> str:
    return name.replace("slo_", "slo_rollup_", 1)


_OF_SNAPSHOT = {
    "slo_window_seconds": "window_seconds",
    "slo_success_ratio": "success_ratio",
    "slo_failures_total": "failures",
    "slo_total": "total",
    "slo_error_budget_remaining": "error_budget_remaining",
    "slo_error_budget_events_remaining": "events_remaining",
    "slo_error_budget_exhaustion_seconds": "exhaustion_seconds",
    "slo_breached": "breached",
    "slo_last_evaluation_timestamp_seconds": "evaluated_at",
}
_RAW = ("slo_corrected_seconds", "slo_raw_success_ratio", "slo_raw_error_budget_remaining")
_PLAIN = ("slo_target", *_OF_SNAPSHOT, "slo_suspicious")
_of_snapshot = attrgetter(*_OF_SNAPSHOT.values())


def _plain_values(one: SLOSnapshot) -> list[float | None]:
    *figures, breached, at = _of_snapshot(one)
    values = [float(one.target), *figures, None if breached is None else float(breached), at]
    values.append(1.0 if one.suspicious else 0.0)
    raw = one.raw
    if raw is not None:
        values += (raw.corrected_seconds, raw.success_ratio, raw.error_budget_remaining)
    return values


def _plain(one: SLOSnapshot) -> Iterator[tuple[str, float | None]]:
    """The figures an instance has once."""
    names = _PLAIN if one.raw is None else (*_PLAIN, *_RAW)
    return zip(names, _plain_values(one), strict=True)


def _labelled(one: SLOSnapshot) -> Iterator[tuple[str, tuple[Label, ...], float | None]]:
    """The figures an instance has per window, alert, state or bound."""
    if one.error_budget_remaining_bounds is not None:
        worst, best = one.error_budget_remaining_bounds
        yield "slo_error_budget_remaining_bound", (_WORST,), worst
        yield "slo_error_budget_remaining_bound", (_BEST,), best
    coverage = {burn.window_seconds: burn.coverage for burn in one.burn_rate_samples}
    for window, ratio in sorted({**coverage, one.window_seconds: one.coverage}.items()):
        yield "slo_window_coverage_ratio", (label("window_seconds", str(window)),), ratio
    for burn in one.burn_rate_samples:
        yield "slo_burn_rate", (label("window_seconds", str(burn.window_seconds)),), burn.burn_rate
    firing: dict[tuple[Label, ...], bool] = {}
    for alert in one.alerts:
        key: tuple[Label, ...] = (
            label("long_window_seconds", str(alert.long_window_seconds)),
            label("severity", alert.severity),
            label("short_window_seconds", str(alert.short_window_seconds)),
        )
        firing[key] = firing.get(key, False) or alert.state in {"firing", "held"}
    for alert_labels, on in firing.items():
        yield "slo_burn_alert_firing", alert_labels, on
    for one_alert in one.budget_alerts:
        yield (
            "slo_budget_alert_firing",
            (label("rule", one_alert.rule), label("severity", one_alert.severity)),
            one_alert.firing,
        )
    # Outcomes that the contract has no word for (a tick missed, given up) are Prometheus out of reach.
    current = one.state if one.state in _STATES else "error"
    for state, mark in _STATES.items():
        yield "slo_data_state", (mark,), state == current
