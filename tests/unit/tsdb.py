"""A small Prometheus in memory: samples by label set, and the few kinds of query that counting asks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.counting import Memory, count
from slo_budget_tracker.feeds import RawFeed, Slot
from slo_budget_tracker.histograms import Sample, cumulative
from slo_budget_tracker.selectors import Matcher, Selector
from slo_budget_tracker.ticks import Tick

RAW = re.compile(r"(?P<metric>\w*)(?:\{(?P<inside>.*)\})?\[(?P<seconds>\d+)s\]$")
BEFORE = re.compile(
    r"(?P<how>last|max)_over_time\((?P<selector>.*)\[24h\] offset (?P<offset>\d+)s\)(?: == 1)?$"
)
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)"')
DAY_MS = 86_400_000

METRIC = "http_requests_total"
TOTAL = Slot("shop", "total")
BAD = Slot("shop", "bad")


def feed_of(metric=METRIC, *, replica_label=None):
    """A feed of one SLO: all requests of the metric, and the failed ones."""
    everything = Selector(metric)
    failed = Selector(metric, (Matcher("code", "=~", "5.."),))
    return RawFeed("default/" + metric, "default", metric, ((TOTAL, everything), (BAD, failed)), (everything,),
                   replica_label=replica_label)  # fmt: skip


def parse(text):
    """A selector of the shape that counting writes."""
    metric, _, inside = text.partition("{")
    matchers = tuple(
        Matcher(label, operator, value.encode().decode("unicode_escape"))
        for label, operator, value in MATCHER.findall(inside)
    )
    return Selector(metric, matchers)


@dataclass
class Tsdb:
    """Samples by label set (sorted pairs with `__name__`), and the queries it was asked."""

    samples: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)

    def put(self, metric, labels, time, value):
        """Store one sample; times are ms."""
        key = tuple(sorted({"__name__": metric, **labels}.items()))
        self.samples.setdefault(key, []).append((time, value if isinstance(value, Sample) else float(value)))

    def scrape(self, time, target, *, start=None, up=1, **values):
        """One scrape of a target: `up`, the process start (seconds), and http_requests_total by code (c200=…)."""
        self.put("up", target, time, up)
        if start is not None and up:
            self.put("process_start_time_seconds", target, time, start)
        for name, value in values.items() if up else ():
            self.put(METRIC, {**target, "code": name.removeprefix("c")}, time, value)

    def between(self, selector, after, until, bounds=()):
        """The series of a selector with their samples in (after, until], ms; native ones as counts at bounds."""
        found = []
        for key, samples in self.samples.items():
            labels = dict(key)
            if all(one.matches(labels) for one in selector.matchers) and selector.metric in (
                "",
                labels["__name__"],
            ):
                inside = [one for one in samples if after < one[0] <= until]
                times, values = [t for t, _ in inside], [v for _, v in inside]
                if inside and isinstance(values[0], Sample):
                    for name, places, counts in cumulative(values, bounds):
                        found.append(Series({**labels, "le": name}, [times[at] for at in places], counts))
                elif inside:
                    found.append(Series(labels, times, values))
        return found

    def ask(self, query):
        """Answer one query."""
        self.asked.append(query)
        at = query.at * 1000
        if raw := RAW.match(query.expression):
            selector = parse(query.expression[: query.expression.rindex("[")])
            return Answer(tuple(self.between(selector, at - int(raw["seconds"]) * 1000, at, query.bounds)))
        before = BEFORE.match(query.expression)
        assert before is not None, query.expression
        until = at - int(before["offset"]) * 1000
        series = self.between(parse(before["selector"]), until - DAY_MS, until, query.bounds)
        if before["how"] == "last":
            return Answer(tuple(Series(s.labels, [at], s.values[-1:]) for s in series))
        kept = [s for s in series if max(s.values) == 1]
        return Answer(
            tuple(Series({k: v for k, v in s.labels.items() if k != "__name__"}, [at], [1.0]) for s in kept)
        )

    def count(self, feed, memory, ticks):
        """Drive `count` over contiguous ticks."""
        first, last = ticks[0].start, ticks[-1].end
        series = [one for query in feed.queries(last - first, last) for one in self.ask(query).series]
        steps = count(feed, series, memory, ticks)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(tuple(map(self.ask, wanted)))
        except StopIteration as done:
            return done.value


@dataclass
class Story:
    """A feed that is read tick by tick from `begin` on."""

    db: Tsdb = field(default_factory=Tsdb)
    feed: RawFeed = field(default_factory=feed_of)
    slots: tuple[Slot, ...] = (TOTAL, BAD)
    memory: Memory = field(default_factory=Memory.empty)
    at: int = 1_000_000
    doubts: dict[str, int] = field(default_factory=dict)

    def read(self, seconds=60, *, step=60):
        """Read on for some seconds in ticks of `step`; returns (total, bad) of all of them."""
        ticks = [Tick(end - step, end) for end in range(self.at + step, self.at + seconds + 1, step)]
        tally = self.db.count(self.feed, self.memory, ticks)
        self.at = ticks[-1].end
        self.memory = Memory.loads(tally.memory.dumps())
        for doubt, times in tally.doubts.items():
            self.doubts[doubt] = self.doubts.get(doubt, 0) + times
        return tuple(sum(one.get(slot, 0) for one in tally.counts.values()) for slot in self.slots)
