"""Discovery: what a Prometheus really has, as SLOs whose targets the past would have met.

Names and labels are asked for first (the newest sample of each series that looks like requests, three
questions), then the values of labels that tell failures apart and the buckets of histograms (one question for
each metric, at most `MOST_METRICS` of both), and at last their history, as `evaluate` reads it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from slo_budget_tracker import presets
from slo_budget_tracker.answers import Query
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import QueryFailed, QueryRejected
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats.names import slug
from slo_budget_tracker.formats.texts import plain, values_text
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.selectors import Matcher, Selector, quote
from slo_budget_tracker.specfiles import catalogue_of, understand_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slo_budget_tracker.errors import PrometheusError
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO

MOST_METRICS = 40  # whose labels and buckets are looked at
MOST_SLOS = 50
DAY = 86_400
TARGETS = ("99.99", "99.95", "99.9", "99.5", "99", "98", "95", "90")
LEAST_FAILURES = 5  # that the budget must allow: below, one failure is most of it
FAST_ENOUGH = 0.99  # of requests should be in the bucket that is proposed
_FIRST_TARGET = "90%"
_COUNTERS = (
    r".*(?:request|response|http|rpc|call|handled|processed|operation|probe_success).*(?:_total|_count)"
)
_HISTOGRAMS = r".*(?:request|response|http|rpc|call|handl|process|operation|latency).*_seconds_bucket"
_NATIVES = _HISTOGRAMS.removesuffix("_bucket")
_OURS = re.compile(r"(?:slo_|go_|promhttp_|process_|scrape_).*")
_BYTES = re.compile(r".*_(?:bytes|size)_(?:total|count)")
_STATUS = ("code", "status", "status_code", "http_status", "http_status_code", "response_code")
_WORDS = ("result", "outcome", "status", "success", "error")
_HTTP = re.compile(r"[1-5](?:[0-9]{2}|[xX]{2})")
_BAD_WORDS = {"error", "errors", "failure", "failed", "fail", "exception", "timeout", "aborted"}
_GRPC = "(?i:aborted|unavailable|internal|unknown|unimplemented|data_?loss|deadline_?exceeded)"


@dataclass(frozen=True, slots=True)
class Proposal:
    """An SLO that could be, and what the past says of it."""

    name: str
    job: str
    kind: str
    why: str
    sli: Mapping[str, Any]
    datasource: str = "default"
    target: str = _FIRST_TARGET
    total: float = 0.0
    success_ratio: float | None = None

    @property
    def rank(self) -> tuple[bool, float]:
        """Of two for the same job and kind: one that is documented, then the busier."""
        return "preset" in self.sli, self.total

    def document(self, window: int) -> dict[str, Any]:
        """The SLO as an SLO file has it."""
        found: dict[str, Any] = {
            "name": self.name,
            "description": self.why,
            "target": plain(self.target),
            "window": format_duration(window),
            "sli": self.sli,
        }
        return found if self.datasource == "default" else {**found, "datasource": self.datasource}


@dataclass(slots=True)
class Found:
    """Proposals, and what was left out with its reason."""

    proposals: list[Proposal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def file_of(proposals: Iterable[Proposal], window: int) -> str:
    """An SLO file with the proposals."""
    return values_text([{"slos": [proposal.document(window) for proposal in proposals]}])


def slos_of(proposals: Iterable[Proposal], window: int) -> tuple[SLO, ...]:
    """The proposals as SLOs, read as the file that would be written."""
    proposals = tuple(proposals)
    if not proposals:
        return ()
    files = understand_texts([Source("<discovered>", file_of(proposals, window))])
    return catalogue_of(files).slos


def discover(
    ask: Ask,
    *,
    at: int,
    datasource: str = "default",
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """What a Prometheus has, as proposals that were not yet looked at over the past."""
    found = Found()
    counters = _names(ask, _COUNTERS, at)
    histograms = _names(ask, _HISTOGRAMS, at, 'le="+Inf"')
    known = _preset_metrics()
    wanted = _names(ask, "|".join(sorted(known)), at)
    metrics = _worth(counters, found)
    for number, metric in enumerate(metrics):
        if progress is not None:
            progress(number, len(metrics) + len(histograms))
        found.proposals += _requests(ask, metric, counters[metric], at, datasource)
    found.proposals += _of_presets(ask, wanted, at, datasource)
    bases = {metric.removesuffix("_bucket"): jobs for metric, jobs in histograms.items()}
    natives = _names(ask, _NATIVES, at, 'quantile=""')
    for number, (base, jobs) in enumerate(sorted(bases.items())[:MOST_METRICS]):
        if progress is not None:
            progress(len(metrics) + number, len(metrics) + len(histograms))
        found.proposals += _latencies(ask, base, jobs, at, datasource)
    for base, jobs in list(natives.items())[:MOST_METRICS]:
        only = sorted(set(jobs) - set(bases.get(base, ())))
        found.proposals += _natives(ask, base, only, at, datasource) if only else ()
    return found


def judged(
    found: Found,
    asks: Mapping[str, Ask],
    *,
    at: float,
    window: int,
    grid: Grid,
    progress: Callable[[int, int], None] | None = None,
) -> Found:
    """The proposals with targets that the past would have met; of each job and kind the busiest."""
    candidates = found.proposals[: 2 * MOST_SLOS]
    named = [replace(one, name=f"c{number}") for number, one in enumerate(candidates)]
    slos = [slo.model_copy(update={"alerts": ()}) for slo in slos_of(named, window)]
    refused: dict[str, PrometheusError] = {}
    snapshots = {
        one.name: one for one in evaluate_at(slos, asks, at=at, grid=grid, progress=progress, refused=refused)
    }
    result = Found(left_out=list(found.left_out))
    best: dict[tuple[str, str], Proposal] = {}
    for number, one in enumerate(candidates):
        snapshot = snapshots.get(f"c{number}")
        if snapshot is None or not snapshot.total or snapshot.success_ratio is None:
            result.left_out.append(f"{one.why}: {refused.get(f'c{number}', 'no events in the window')}")
            continue
        judged_ = _with_target(one, snapshot)
        rival = best.get((one.job, one.kind))
        if rival is None or judged_.rank > rival.rank:
            best[one.job, one.kind] = judged_
    kept = sorted(best.values(), key=lambda one: (-one.total, one.name))
    result.proposals = sorted(_named(kept[:MOST_SLOS]), key=lambda one: one.name)
    result.left_out += [f"{one.why}: only {MOST_SLOS} are proposed" for one in kept[MOST_SLOS:]]
    return result


def _named(proposals: Sequence[Proposal]) -> Iterator[Proposal]:
    taken: set[str] = set()
    for one in proposals:
        name = slug(one.job or "all", one.kind)
        if name in taken:
            name = slug(one.datasource, one.job or "all", one.kind)
        taken.add(name)
        yield replace(one, name=name)


def _with_target(proposal: Proposal, snapshot: SLOSnapshot) -> Proposal:
    """The highest target that was met, with a budget of some failures at least."""
    ratio, total = Fraction(snapshot.success_ratio or 0), float(snapshot.total or 0)
    met = [
        target
        for target in TARGETS
        if ratio >= Fraction(target) / 100 and total * float(1 - Fraction(target) / 100) >= LEAST_FAILURES
    ]
    chosen = met[0] if met else TARGETS[-1]
    return replace(proposal, target=f"{chosen}%", total=total, success_ratio=snapshot.success_ratio)


def _names(ask: Ask, pattern: str, at: int, more: str = "") -> dict[str, list[str]]:
    """Metrics whose names match, with their jobs."""
    inside = ",".join(filter(None, [f"__name__=~{quote(pattern)}", more]))
    answer = ask(Query(f"count by (__name__, job) ({{{inside}}})", at))
    found: dict[str, list[str]] = defaultdict(list)
    for series in answer.series:
        name = series.labels.get("__name__", "")
        if name:
            found[name].append(series.labels.get("job", ""))
    return {name: sorted(jobs) for name, jobs in sorted(found.items())}


def _worth(counters: Mapping[str, list[str]], found: Found) -> list[str]:
    metrics = [name for name in counters if not _OURS.fullmatch(name) and not _BYTES.fullmatch(name)]
    found.left_out += [f"{name}: more than {MOST_METRICS} metrics" for name in metrics[MOST_METRICS:]]
    return metrics[:MOST_METRICS]


def _preset_metrics() -> dict[str, str]:
    """The metric by which each preset is known, and the preset."""
    found = {}
    for name in presets.names():
        preset = presets.preset(name)
        selector = preset.probe or preset.total
        if selector is not None:
            found[selector.metric] = name
    return found


def _of_presets(ask: Ask, wanted: Mapping[str, list[str]], at: int, datasource: str) -> Iterator[Proposal]:
    known = _preset_metrics()
    for metric, jobs in wanted.items():
        preset = presets.preset(known[metric])
        there = _jobs_with(ask, preset.bad or preset.good, at)
        for job in jobs if there is None else sorted(there & set(jobs)):
            options = {"name": preset.name, **({"job": job} if job else {})}
            kind = "probe" if preset.probe is not None else "availability"
            yield Proposal("", job, kind, preset.title, {"preset": options}, datasource)


def _jobs_with(ask: Ask, part: Selector | None, at: int) -> set[str] | None:
    """The jobs that have the labels by which a preset tells failures apart; None where it needs none.

    Many programs call their counter http_requests_total, with other labels.
    """
    if part is None:
        return None
    labels = tuple(Matcher(one.label, "!=", "") for one in part.matchers)
    answer = ask(Query(f"count by (job) ({Selector(part.metric, labels)})", at))
    return {series.labels.get("job", "") for series in answer.series}


def _requests(ask: Ask, metric: str, jobs: Sequence[str], at: int, datasource: str) -> Iterator[Proposal]:
    """Requests by a label that tells failures apart."""
    labels = dict.fromkeys((*_STATUS, *_WORDS, "grpc_code"))
    answer = ask(Query(f"count by (job, {', '.join(labels)}) ({metric})", at))
    for job in jobs:
        values: dict[str, set[str]] = defaultdict(set)
        for series in answer.series:
            if series.labels.get("job", "") == job:
                for label in labels:
                    values[label].add(series.labels.get(label, ""))
        bad = _failures(values)
        if bad is None:
            continue
        total = _selector(metric, job)
        failed = Selector(metric, tuple(sorted((*total.matchers, bad), key=_order)))
        sli = {"requests": {"total": str(total), "bad": str(failed)}}
        yield Proposal("", job, "availability", f"Requests of {metric} by {bad.label}", sli, datasource)


def _failures(values: Mapping[str, set[str]]) -> Matcher | None:
    """The matcher of failures, by the values that labels really have."""
    for label in _STATUS:
        if any(_HTTP.fullmatch(value) for value in values.get(label, ())):
            return Matcher(label, "=~", "5..")
    if any(values.get("grpc_code", set()) - {""}):
        return Matcher("grpc_code", "=~", _GRPC)
    for label in _WORDS:
        bad = sorted(value for value in values.get(label, ()) if value.lower() in _BAD_WORDS)
        if bad:
            return Matcher(label, "=~", "|".join(re.escape(value) for value in bad))
    return None


def _latencies(ask: Ask, base: str, jobs: Sequence[str], at: int, datasource: str) -> Iterator[Proposal]:
    """A threshold that nearly all requests of the last day kept."""
    answer = ask(Query(f"sum by (job, le) (increase({base}_bucket[1d]))", at))
    for job in jobs:
        buckets = {
            series.labels.get("le", ""): series.values[-1]
            for series in answer.series
            if series.labels.get("job", "") == job and series.values
        }
        bound = _bound(buckets)
        if bound is not None:
            threshold = _threshold(bound)
            sli = {"latency": {"histogram": str(_selector(base, job)), "threshold": threshold}}
            yield Proposal("", job, "latency", f"Requests of {base} within {threshold}", sli, datasource)


def _natives(ask: Ask, base: str, jobs: Sequence[str], at: int, datasource: str) -> Iterator[Proposal]:
    """A power of two, a border of native buckets, that nearly all requests of the last day kept."""
    grown = f"sum by (job) (increase({base}[1d]))"
    try:  # a server that has no native histograms may not know the function
        answer = ask(
            Query(f"histogram_quantile({FAST_ENOUGH}, {grown}) and histogram_count({grown}) > 0", at)
        )
    except (QueryRejected, QueryFailed):
        return
    slowest = {series.labels.get("job", ""): series.values[-1] for series in answer.series if series.values}
    for job in jobs:
        value = slowest.get(job, math.nan)
        if 0 < value < math.inf:
            threshold = _threshold(Decimal(2.0 ** math.ceil(math.log2(value))))
            sli = {"histogram": str(_selector(base, job)), "threshold": threshold, "type": "native"}
            why = f"Requests of {base} within {threshold}"
            yield Proposal("", job, "latency", why, {"latency": sli}, datasource)


def _threshold(bound: Decimal) -> str:
    fine = bound * 1000 != int(bound * 1000)
    return f"{bound.normalize():f}s" if fine else format_duration(bound)


def _bound(buckets: Mapping[str, float]) -> Decimal | None:
    """The lowest bucket that has nearly all; None where there was nothing, or no such bucket."""
    total = buckets.get("+Inf", 0.0)
    if not total > 0:
        return None
    bounds = sorted((Decimal(le), count) for le, count in buckets.items() if re.fullmatch(r"[0-9.e+-]+", le))
    return next((le for le, count in bounds if le > 0 and count >= FAST_ENOUGH * total), None)


def _selector(metric: str, job: str) -> Selector:
    return Selector(metric, (Matcher("job", "=", job),) if job else ())


def _order(matcher: Matcher) -> tuple[str, str, str]:
    return matcher.label, matcher.operator, matcher.value
