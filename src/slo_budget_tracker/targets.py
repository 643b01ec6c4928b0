"""Targets: questions about the few targets that something odd happened at, those of many metrics in one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.answers import About, Query
from slo_budget_tracker.index import alternation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from slo_budget_tracker.answers import Answer

MOST = 256  # targets in one question: as many values as Prometheus looks up without trying a regex
NAME = "__name__"
UP, STARTED = "up", "process_start_time_seconds"


class Target(NamedTuple):
    """Job and instance; either may be empty."""

    job: str
    instance: str

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Target:
        """The target a series came from."""
        return cls(labels.get("job", ""), labels.get("instance", ""))


def question(about: About, at: int, bounds: tuple[Decimal, ...] = ()) -> Query:
    """The query for these metrics of these targets (and of others with a job and an instance of theirs)."""
    jobs, instances = (frozenset(one) for one in zip(*about.targets, strict=True))
    matchers = [alternation("job", jobs), alternation("instance", instances)]
    metric = about.metrics[0] if len(about.metrics) == 1 else ""
    if not metric:
        matchers.insert(0, alternation(NAME, frozenset(about.metrics)))
    return Query(about.form.format(f"{metric}{{{','.join(map(str, matchers))}}}"), at, bounds, about)


def joined(queries: Iterable[Query]) -> list[tuple[Query, tuple[Query, ...]]]:
    """Questions about targets that can be asked as one, with those that it stands for."""
    alike: dict[object, list[Query]] = defaultdict(list)
    for query in dict.fromkeys(queries):
        if query.about is not None:
            own = not {UP, STARTED}.issuperset(query.about.metrics)
            alike[query.about.form, query.at, query.bounds, own].append(query)
    return [(_one(some), tuple(some)) for many in alike.values() for some in _packed(many) if len(some) > 1]


def part(answer: Answer, about: About) -> Answer | None:
    """What a question would have been answered alone; None where nobody can say, as names are missing."""
    names = None if answer.series and about.metrics == (UP,) and not _named(answer) else set(about.metrics)
    if names is not None and not _named(answer):
        return None
    targets = set(about.targets)
    kept = [
        series
        for series in answer.series
        if Target.of(series.labels) in targets and (names is None or series.labels[NAME] in names)
    ]
    return replace(answer, series=tuple(kept))


def _named(answer: Answer) -> bool:
    return all(NAME in series.labels for series in answer.series)


def _one(queries: list[Query]) -> Query:
    """The question that stands for all of these."""
    parts = [query.about for query in queries if query.about is not None]
    metrics = tuple(sorted({metric for one in parts for metric in one.metrics}))
    targets = tuple(sorted({target for one in parts for target in one.targets}))
    return question(About(parts[0].form, metrics, targets), queries[0].at, queries[0].bounds)


def _packed(queries: Iterable[Query]) -> list[list[Query]]:
    """Queries by as many as have no more targets than one question may name."""
    found: list[list[Query]] = []
    named: set[tuple[str, str]] = set()
    for query in queries:
        targets = set() if query.about is None else set(query.about.targets)
        if not found or len(named | targets) > MOST:
            found.append([])
            named = set()
        found[-1].append(query)
        named |= targets
    return found
