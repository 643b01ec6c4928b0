"""A simulated Prometheus: what it stored and when, answered with the real server's semantics, and its faults.

It knows the few kinds of query that are asked: raw range selectors, `last_over_time` and `max_over_time(…) == 1`
with an offset, and instant selectors joined by `label_replace(…, "slo", …)`. A sample may arrive late: before that
nobody sees it. tests/real/test_simulator.py compares all of it with a real server.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from operator import itemgetter

from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series
from slo_budget_tracker.errors import BadAnswer, Busy, QueryRejected, Unauthorized, Unreachable
from tests.unit.tsdb import parse

RAW = re.compile(r"(?P<selector>.*)\[(?P<seconds>\d+)s\]$", re.DOTALL)
OVER_TIME = re.compile(
    r"(?P<how>last|max)_over_time\((?P<selector>.*)\[(?P<hours>\d+)h\] offset (?P<offset>\d+)s\)(?P<one> == 1)?$"
)
TAGGED = re.compile(r'label_replace\(\((?P<selector>[^()]*)\), "slo", "(?P<tag>[^"]*)", "", ""\)')

Key = tuple[tuple[str, str], ...]


@dataclass
class Simulator:
    """Series by labels, samples by time; `now` (seconds) decides what has arrived.

    `left_closed`: a range includes its left edge, as Prometheus 2 has it; Prometheus 3 leaves it out. `look_back`
    (seconds) is `--query.lookback-delta`.
    """

    left_closed: bool = True
    now: float = 0
    series: dict[Key, tuple[list[int], list[float]]] = field(default_factory=dict)
    on_the_way: list[tuple[float, Key, int, float]] = field(default_factory=list)
    look_back: int = 300

    def put(
        self, metric: str, labels: dict[str, str], time: int, value: float, *, arrives: float = 0
    ) -> None:
        """Store one sample (ms), visible from the instant `arrives` (seconds) on."""
        key = tuple(sorted({"__name__": metric, **labels}.items()))
        if arrives > self.now:
            insort(self.on_the_way, (arrives, key, time, float(value)))
        else:
            self._store(key, time, float(value))

    def copy(self) -> Simulator:
        """The same samples; what one of the two learns later is its own."""
        stored = {key: ([*times], [*values]) for key, (times, values) in self.series.items()}
        return Simulator(self.left_closed, self.now, stored, [*self.on_the_way], self.look_back)

    def arrive(self, now: float) -> None:
        """Let time pass."""
        self.now = now
        due = bisect_right(self.on_the_way, now, key=itemgetter(0))
        for _, key, time, value in self.on_the_way[:due]:
            self._store(key, time, value)
        del self.on_the_way[:due]

    def lose(self, text: str, samples: slice = slice(None)) -> None:
        """The series that have a label of this value are not stored any more, or some of their samples are not."""
        for times, values in (of for key, of in self.series.items() if text in dict(key).values()):
            del times[samples], values[samples]

    def forget(self, instance: str, since: int, until: int) -> None:
        """Lose what was stored of an instance between two times (ms)."""
        for key, (times, values) in self.series.items():
            if ("instance", instance) in key:
                part = slice(bisect_left(times, since), bisect_right(times, until))
                del times[part], values[part]

    def _store(self, key: Key, time: int, value: float) -> None:
        times, values = self.series.setdefault(key, ([], []))
        place = bisect_left(times, time)
        times.insert(place, time)
        values.insert(place, value)

    def ask(self, query: Query | RangeQuery) -> Answer:
        """Answer as a server does."""
        if isinstance(query, RangeQuery):
            return self._range(query)
        at = query.at * 1000
        if raw := RAW.match(query.expression):
            return Answer(tuple(self._between(raw["selector"], at - int(raw["seconds"]) * 1000, at)))
        if over := OVER_TIME.match(query.expression):
            return Answer(tuple(self._over_time(over, at)))
        return Answer(tuple(self._instant(query.expression, at)))

    def _between(self, text: str, after: int, until: int):
        """The series of a selector with their samples of a range."""
        selector = parse(text)
        first_of = bisect_left if self.left_closed else bisect_right
        for key, (times, values) in self.series.items():
            labels = dict(key)
            if labels["__name__"] == selector.metric and selector.matches(labels):
                part = slice(first_of(times, after), bisect_right(times, until))
                if times[part]:
                    yield Series(labels, times[part], values[part])

    def _over_time(self, over: re.Match, at: int):
        until = at - int(over["offset"]) * 1000
        for one in self._between(over["selector"], until - int(over["hours"]) * 3_600_000, until):
            if over["how"] == "last":
                yield Series(one.labels, [at], one.values[-1:])
                continue
            labels = {name: text for name, text in one.labels.items() if name != "__name__"}
            highest = max(one.values)
            if not over["one"] or highest == 1:
                yield Series(labels, [at], [highest])

    def _instant(self, expression: str, at: int):
        """Selectors joined by tags: of each series the newest sample of the look-back."""
        found = list(TAGGED.finditer(expression))
        assert found, f"the simulator does not know {expression}"
        for one in found:
            selector = parse(one["selector"])
            for key, (times, values) in self.series.items():
                labels = dict(key)
                place = bisect_right(times, at) - 1
                known = labels["__name__"] == selector.metric and selector.matches(labels)
                if known and place >= 0 and times[place] > at - self.look_back * 1000:
                    yield Series({**labels, "slo": one["tag"]}, [at], [values[place]])

    def _range(self, query: RangeQuery) -> Answer:
        found: dict[Key, tuple[list[int], list[float]]] = {}
        for at in range(query.start, query.end + 1, query.step):
            for one in self.ask(Query(query.expression, at)).series:
                times, values = found.setdefault(tuple(sorted(one.labels.items())), ([], []))
                times.append(at * 1000)
                values.append(one.values[0])
        return Answer(tuple(Series(dict(key), times, values) for key, (times, values) in found.items()))


def refused(_query, _dice):
    """Nobody listens."""
    return Unreachable("connection refused", reason="refused")


def hangs(_query, _dice):
    """No answer within the deadline."""
    return Unreachable("no answer", reason="timeout")


def busy(_query, _dice):
    """Replaying its log."""
    return Busy("503", reason="busy")


def unauthorized(_query, _dice):
    """A token that ran out."""
    return Unauthorized("401", reason="unauthorized")


def flaky(_query, dice):
    """Every other request is lost."""
    return Unreachable("reset", reason="refused") if dice.random() < 0.5 else None


def garbage(_query, _dice):
    """A login page."""
    return BadAnswer("not JSON", reason="bad_json")


def rejected(_query, _dice):
    """A proxy that does not like the query."""
    return QueryRejected("400", reason="bad_data")


OUTAGES = {one.__name__: one for one in (refused, hangs, busy, unauthorized, flaky)}
REFUSALS = {one.__name__: one for one in (garbage, rejected)}


@dataclass
class Faulty:
    """A way to ask a simulator that goes wrong for some ticks: `fault` is the name of what is the matter now."""

    simulator: Simulator
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    fault: str | None = None
    asked: int = 0

    def __call__(self, query):
        """Answer, or fail, or answer only a part (with a warning) or nothing at all (without)."""
        self.asked += 1
        failing = (OUTAGES | REFUSALS).get(self.fault or "")
        error = failing(query, self.dice) if failing else None
        if error is not None:
            raise error
        if self.fault == "empty":
            return Answer(())
        answer = self.simulator.ask(query)
        if self.fault == "partial":
            return Answer(
                answer.series[: len(answer.series) // 2], partial=True, warnings=("a store is away",)
            )
        return answer
