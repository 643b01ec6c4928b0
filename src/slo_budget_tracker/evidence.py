"""What is asked about odd targets only: were they up before, when did their processes start."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from math import inf, isnan
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.answers import About, Answer, Query, Series
from slo_budget_tracker.histograms import ALL, LE
from slo_budget_tracker.targets import MOST, STARTED, UP, Target, question

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from slo_budget_tracker.feeds import RawFeed

    Labels = Mapping[str, str]
    Asking = Generator[tuple[Query, ...], tuple[Answer, ...], None]

LOOK_BACK = "24h"
SAME_START = 2.0  # seconds by which one process' start may differ from scrape to scrape

Samples = list[tuple[int, float]]


class Process(NamedTuple):
    """Process starts as scraped: (scrape time in ms, start in seconds), ascending."""

    scraped: Samples

    def start(self, at: int) -> float | None:
        """The start of the process that answered at `at` or, where it did not tell then, next after."""
        after = bisect_right(self.scraped, (at, float("inf")))
        if after:
            return self.scraped[after - 1][1]
        return self.scraped[0][1] if self.scraped else None

    def before(self, at: int) -> tuple[int, float] | None:
        """The start last seen by `at`, and when it was scraped (ms)."""
        after = bisect_right(self.scraped, (at, float("inf")))
        return self.scraped[after - 1] if after else None

    def newer(self, before: int, now: int) -> bool | None:
        """Whether the process that answers `now` started after the sample taken `before`; None: unknown."""
        start = self.start(now)
        if start is None:
            return None
        if start * 1000 <= before - SAME_START * 1000:
            return False
        known = self.before(before)
        if known is not None and abs(start - known[1]) <= SAME_START:
            return False
        if known is not None and known[0] == before:
            return True
        return start * 1000 > before  # an older scrape may have seen the process before the last one


@dataclass
class Evidence:
    """What a server said about some targets at the end of one tick.

    Args:
        feed: whose series are asked about.
        at: the tick's end, seconds.
        seconds: length of the tick and ten scrapes: how far back raw samples are asked for.
        key: the identity of a series by its labels.
    """

    feed: RawFeed
    at: int
    seconds: int
    key: Callable[[Labels], int]
    asked: set[tuple[str, Target]] = field(default_factory=set)
    _up: dict[Target, list[Series]] = field(default_factory=dict)
    _was_up: dict[Target, list[Labels]] = field(default_factory=dict)
    _starts: dict[Target, list[Series]] = field(default_factory=dict)
    _older_starts: dict[Target, list[tuple[Labels, int, float]]] = field(default_factory=dict)
    _window: dict[Target, list[Series]] = field(default_factory=dict)
    _before: dict[int, float] = field(default_factory=dict)
    _shown: set[int] = field(default_factory=set)

    def look(self, targets: Iterable[Target]) -> Asking:
        """Ask for the last scrapes of these targets, and for their processes."""
        for up, starts in (yield from self._ask("now", targets, f"{{0}}[{self.seconds}s]", (UP, STARTED))):
            _sort_in(self._up, up)
            _sort_in(self._starts, starts)

    def look_at_past(self, targets: Iterable[Target]) -> Asking:
        """Ask for all that these targets showed before, as far as it may be unknown."""
        targets = tuple(targets)
        yield from self.look_at_values(targets)
        before = f"last_over_time({{0}}[{LOOK_BACK}] offset {self.seconds}s)"
        histogram = self.feed.histogram
        for (answer,) in (yield from self._ask("before", targets, before, self.feed.metrics)):
            for series in answer.series:
                if histogram is not None and histogram.is_native(series.labels) and LE not in series.labels:
                    # Prometheus 2.42 answers with a 0 that says nothing
                    self._shown.add(self.key({**series.labels, LE: ALL}))
                elif is_count(series.values[-1]):
                    self._before[self.key(series.labels)] = series.values[-1]

    def look_at_values(self, targets: Iterable[Target]) -> Asking:
        """Ask for all series of the metric that these targets showed in the last scrapes."""
        for (window,) in (
            yield from self._ask("values", targets, f"{{0}}[{self.seconds}s]", self.feed.metrics)
        ):
            _sort_in(self._window, window)

    def look_back(self, targets: Iterable[Target]) -> Asking:
        """Ask whether these targets were up within the day before."""
        was_up = f"max_over_time({{0}}[{LOOK_BACK}] offset {self.seconds}s) == 1"
        for (answer,) in (yield from self._ask("was up", targets, was_up, (UP,))):
            for series in answer.series:
                self._was_up.setdefault(Target.of(series.labels), []).append(series.labels)

    def look_back_at_starts(self, targets: Mapping[Target, int]) -> Asking:
        """Ask for the process starts last seen by an instant (ms) of each of these targets."""
        if not targets:
            return
        oldest = min(targets.values())
        offset = max((self.at * 1000 - oldest) // 1000, 0)
        text = f"last_over_time({{0}}[{LOOK_BACK}] offset {offset}s)"
        for (answer,) in (yield from self._ask("start", targets, text, (STARTED,))):
            for series in answer.series:
                found = self._older_starts.setdefault(Target.of(series.labels), [])
                found.append((series.labels, oldest, series.values[-1]))

    def _ask(
        self, kind: str, targets: Iterable[Target], text: str, metrics: tuple[str, ...]
    ) -> Generator[tuple[Query, ...], tuple[Answer, ...], list[tuple[Answer, ...]]]:
        """One query per metric (all names of a histogram) and some targets; nothing is asked twice."""
        wanted = sorted({target for target in targets if (kind, target) not in self.asked})
        self.asked.update((kind, target) for target in wanted)
        queries = []
        own = metrics == self.feed.metrics
        asked = [metrics] if own else [(metric,) for metric in metrics]
        bounds = self.feed.bounds if own else ()
        for first in range(0, len(wanted), MOST):
            some = tuple(wanted[first : first + MOST])
            queries += [question(About(text, names, some), self.at, bounds) for names in asked]
        if not queries:
            return []
        answers = yield tuple(queries)
        width = len(asked)
        return [answers[at : at + width] for at in range(0, len(answers), width)]

    # conclusions

    def shown(self, whole: int) -> bool:
        """Whether a native histogram was there before, though nobody can say with which counts."""
        return whole in self._shown

    def was_up(self, labels: Labels, before: int) -> bool:
        """Whether a target whose labels are ALL among these was up before the instant (ms)."""
        target = Target.of(labels)
        return any(
            _within(up.labels, labels) and any(v == 1 for v in up.values[: bisect_left(up.times, before)])
            for up in self._up.get(target, ())
        ) or any(_within(up, labels) for up in self._was_up.get(target, ()))

    def has_up(self, labels: Labels) -> bool:
        """Whether the target has an `up` at all (pushed series have none)."""
        target = Target.of(labels)
        return target in self._up or target in self._was_up

    def process(self, labels: Labels) -> Process:
        """The process starts of the target whose labels are among these."""
        target = Target.of(labels)
        found = [
            sample
            for series in self._starts.get(target, ())
            if _within(series.labels, labels)
            for sample in zip(series.times, series.values, strict=True)
        ]
        found += [
            (at, start) for older, at, start in self._older_starts.get(target, ()) if _within(older, labels)
        ]
        return Process(sorted(sample for sample in found if not isnan(sample[1])))

    def earlier(self, key: int, labels: Labels, *, until: int) -> tuple[int, float] | None:
        """Its own last sample by `until` (ms) that no memory has; of old ones the time is a bound."""
        for series in self._window.get(Target.of(labels), ()):
            if self.key(series.labels) == key:
                pairs = zip(series.times, series.values, strict=True)
                known = [(time, value) for time, value in pairs if time <= until and is_count(value)]
                if known:
                    return known[-1]
        value = self._before.get(key)
        return None if value is None else ((self.at - self.seconds) * 1000, value)

    def predecessor(self, labels: Labels, *, last: int, first: int) -> tuple[int, float] | None:
        """The last sample of what a series was called before its target's own labels changed."""
        target = Target.of(labels)
        own = self._own_labels(labels, first)
        found = None
        for series in self._window.get(target, ()):
            gone = series.times[-1] == last
            if gone and own is not None and self._own_labels(series.labels, last) == own:
                if found is not None:
                    return None
                found = series.times[-1], series.values[-1]
        return found

    def _own_labels(self, labels: Labels, at: int) -> dict[str, str] | None:
        """A series' labels without its target's, as `up` had them in the scrape at this instant (ms)."""
        for up in self._up.get(Target.of(labels), ()):
            if at in up.times and _within(up.labels, labels):
                return {name: text for name, text in labels.items() if name not in up.labels}
        return None

    def carried_on(self, target: Target, *, last: int, first: int) -> bool:
        """Whether any series of the metric shows both in the scrape at `last` and from `first` on (ms)."""
        return any(
            series.times[-1] >= first and last in series.times for series in self._window.get(target, ())
        )


def is_count(value: float) -> bool:
    """Whether a sample can be a counter's: no NaN, nothing infinite, nothing negative."""
    return 0 <= value < inf


def _within(few: Labels, many: Labels) -> bool:
    return all(label == "__name__" or many.get(label) == value for label, value in few.items())


def _sort_in(by_target: dict[Target, list[Series]], answer: Answer) -> None:
    """Sort series by target, without NaN (VictoriaMetrics shows its staleness markers)."""
    for labels, times, values in answer.series:
        kept = [(time, value) for time, value in zip(times, values, strict=True) if not isnan(value)]
        if kept:
            series = Series(labels, [time for time, _ in kept], [value for _, value in kept])
            by_target.setdefault(Target.of(labels), []).append(series)
