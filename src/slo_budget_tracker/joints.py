"""Joints: raw reads of several metrics in one request, where each metric belongs to few SLOs.

`m[60s]` of sixteen metrics is `{__name__=~"m0|…|m15"}[60s]`, with the matchers that all of them share. It may
select more than the feeds do, which their counting leaves out; each series says in its name whose it is. A
joint is only a way to ask: each feed keeps its own cursor and memory, and asks alone where the joint fails.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

from slo_budget_tracker.answers import Answer, Query
from slo_budget_tracker.errors import BadAnswer, QueryFailed, QueryRejected
from slo_budget_tracker.index import alternation, superset

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from slo_budget_tracker.answers import RangeQuery, Series
    from slo_budget_tracker.feeds import RawFeed

    Ask = Callable[[Query | RangeQuery], Answer]

MANY = 100  # small feeds of a datasource: fewer are asked one by one
JOINED = 16  # feeds in one request
FEW = 3  # SLOs: a feed of more is worth a request of its own
SUPERFLUOUS = 2  # times as many series as the feeds select are read at most
SOME = 100  # series more than that do not matter
NAME = "__name__"
REFUSED = (QueryRejected, QueryFailed, BadAnswer)


@dataclass(frozen=True)
class Joint:
    """Feeds that are asked about together, each by one selector; all are histograms or none is."""

    feeds: tuple[RawFeed, ...]

    @property
    def key(self) -> str:
        """What tells it from others."""
        return self.feeds[0].key

    def query(self, seconds: int, at: int) -> Query:
        """The question for the samples of all feeds; native histograms are read at the bounds of any."""
        bounds = sorted({bound for feed in self.feeds for bound in feed.bounds})
        return Query(self.expression(seconds), at, tuple(bounds))

    def expression(self, seconds: int) -> str:
        """The range selector that brings the samples of all feeds."""
        selectors = [feed.reads[0] for feed in self.feeds]
        every = superset([replace(one, metric="") for one in selectors])
        name = alternation(NAME, frozenset(metric for feed in self.feeds for metric in feed.metrics))
        return f"{replace(every, matchers=(name, *every.matchers))}[{seconds}s]"

    def parts(self, answer: Answer) -> dict[str, Answer]:
        """The answer to each feed by its key; of histograms what it would have been told alone."""
        feed_of = {metric: feed for feed in self.feeds for metric in feed.metrics}
        found: dict[str, list[Series]] = {feed.key: [] for feed in self.feeds}
        for series in answer.series:
            feed = feed_of.get(series.labels.get(NAME, ""))
            if feed is not None and (feed.histogram is None or feed.asks_for(series.labels)):
                found[feed.key].append(series)
        return {key: replace(answer, series=tuple(some)) for key, some in found.items()}

    def wasteful(self, answer: Answer) -> bool:
        """Whether the request brought far more than the feeds select."""
        feed_of = {metric: feed for feed in self.feeds for metric in feed.metrics}
        wanted = 0
        for series in answer.series:
            feed = feed_of.get(series.labels.get(NAME, ""))
            wanted += feed is not None and feed.asks_for(series.labels)
        return len(answer.series) > SUPERFLUOUS * wanted + SOME


def joints(feeds: Iterable[RawFeed]) -> tuple[Joint, ...]:
    """Small feeds by sixteen, of one datasource, kind and labels; those left alone are no joint."""
    alike: dict[tuple[object, ...], dict[str, RawFeed]] = {}
    small = [feed for feed in feeds if _is_small(feed)]
    counts = Counter(feed.datasource for feed in small)
    for feed in small:
        if counts[feed.datasource] < MANY:
            continue
        labels = tuple(matcher.label for matcher in feed.reads[0].matchers)
        kind = None if feed.histogram is None else (feed.histogram.classic, feed.histogram.native)
        alike.setdefault((feed.datasource, kind, labels), {})[feed.metric] = feed
    found = []
    for by_metric in alike.values():
        some = list(by_metric.values())
        found += [Joint(tuple(some[at : at + JOINED])) for at in range(0, len(some), JOINED)]
    return tuple(joint for joint in found if len(joint.feeds) > 1)


def _is_small(feed: RawFeed) -> bool:
    few = len({slot.slo for slot, _ in feed.members}) <= FEW
    return few and not feed.gauge and feed.width == 1


@dataclass(slots=True)
class Shared:
    """Asks for feeds of a joint together: the first that wants an answer asks, the others wait for it.

    Each part is handed out once; who wants it again asks alone, and so do the feeds of a joint that was
    refused or brought too much.
    """

    joint_of: dict[str, Joint] = field(default_factory=dict)
    _asked: dict[tuple[Joint, int, int], Future[dict[str, Answer] | None]] = field(default_factory=dict)
    _guard: Lock = field(default_factory=Lock)

    @classmethod
    def of(cls, feeds: Iterable[RawFeed]) -> Shared:
        """All joints of some feeds."""
        return cls({feed.key: joint for joint in joints(feeds) for feed in joint.feeds})

    def begin(self) -> None:
        """Nothing that was answered before is handed out from now on."""
        with self._guard:
            self._asked.clear()

    def ask(
        self, feed: RawFeed, lengths: Iterable[int], ask: Ask, *, among: Container[str] | None = None
    ) -> Ask:
        """How a feed asks for its raw samples of these lengths (seconds): with its joint, or some of it."""
        joint = self.joint_of.get(feed.key)
        if joint is None:
            return ask
        if among is not None:
            joint = Joint(tuple(one for one in joint.feeds if one.key in among))
        seconds = {feed.expressions(length)[0]: length for length in lengths}

        def asked(query: Query | RangeQuery) -> Answer:
            length = seconds.get(query.expression) if isinstance(query, Query) else None
            part = None
            if length is not None and isinstance(query, Query):
                part = self._part(joint, feed, length, query.at, ask)
            return ask(query) if part is None else part

        return asked

    def _part(self, joint: Joint, feed: RawFeed, seconds: int, at: int, ask: Ask) -> Answer | None:
        if feed.key not in self.joint_of:
            return None
        key = joint, seconds, at
        with self._guard:
            future = self._asked.get(key)
            first = future is None
            if future is None:
                future = self._asked[key] = Future()
        if first:
            self._fetch(joint, future, joint.query(seconds, at), ask)
        parts = future.result()
        with self._guard:
            return None if parts is None else parts.pop(feed.key, None)

    def _fetch(self, joint: Joint, future: Future[dict[str, Answer] | None], query: Query, ask: Ask) -> None:
        parts: dict[str, Answer] | None = None
        try:
            answer = ask(query)
            if joint.wasteful(answer):
                self._part_ways(joint)
            parts = joint.parts(answer)
        except REFUSED:
            self._part_ways(joint)
        except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
            future.set_exception(error)
            return
        future.set_result(parts)

    def _part_ways(self, joint: Joint) -> None:
        for feed in joint.feeds:
            self.joint_of.pop(feed.key, None)
