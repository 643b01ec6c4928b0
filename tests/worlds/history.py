"""Histories of 30 days whose every event is known, as a real scrape every 30 s would have left them.

A world is one job. Its generator draws events in time (Poisson, cell by cell), lets processes count them and
scrapes read the counters, and keeps two truths on a grid of 30 s, both without what no scraper could see (events
after a process' last successful scrape):

* `happened`: by the time of the event;
* `seen`: by the time of the scrape that first showed it, which is where an exact counter must put it.

One thing a history file cannot hold is a staleness marker: series just end. The live worlds have them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TextIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

DAY = 86_400
SCRAPE = 30  # seconds; also the truth's grid
BLOCK = 1_769_472_000  # midnight of 2026-01-27; all of it lies in one 1458 h block of the TSDB
START = BLOCK + DAY // 2
END = BLOCK + 31 * DAY
CELLS = (END - START) // SCRAPE
METRIC = "http_requests_total"

Span = tuple[float, float]
Rate = "Callable[[np.ndarray], np.ndarray]"


class Sums(NamedTuple):
    """Events of a window."""

    total: int
    bad: int


@dataclass(frozen=True)
class Life:
    """One process: when it started and ended, and bursts of failures (event times) beside its rates."""

    start: float
    end: float
    base: tuple[int, int] = (0, 0)  # good and bad counted before the history begins
    failures: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Written:
    """One series: its name with labels, sample times in ms, values."""

    series: str
    times: np.ndarray
    values: np.ndarray

    def write(self, out: TextIO) -> None:
        """Append the samples as OpenMetrics lines."""
        head = self.series + " "
        pairs = zip(self.values.tolist(), self.times.tolist(), strict=True)
        out.write("".join([f"{head}{value} {ms // 1000}.{ms % 1000:03d}\n" for value, ms in pairs]))


@dataclass
class World:
    """One job's 30 days: the series to load and what truly happened."""

    name: str
    title: str
    good_rate: Callable[[np.ndarray], np.ndarray]
    bad_rate: Callable[[np.ndarray], np.ndarray]
    good_from_start: bool = True  # the client library shows the good counter at 0 from the start
    bad_from_start: bool = False  # the failures' series is born with the first failure
    holes: list[Span] = field(
        default_factory=list
    )  # spans in which some counts arrive late: no window should end there
    written: list[Written] = field(default_factory=list)
    happened: np.ndarray = field(default_factory=lambda: np.zeros((2, CELLS), np.int64))
    seen: np.ndarray = field(default_factory=lambda: np.zeros((2, CELLS), np.int64))

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(zlib.crc32(self.name.encode()))

    @property
    def total(self) -> str:
        """Selector of all requests."""
        return f'{METRIC}{{job="{self.name}"}}'

    @property
    def bad(self) -> str:
        """Selector of the failed ones."""
        return f'{METRIC}{{job="{self.name}",code=~"5.."}}'

    @property
    def samples(self) -> int:
        """Samples to load."""
        return sum(len(one.times) for one in self.written)

    def truth(self, at: int, window: int, *, seen: bool = False) -> Sums:
        """Events in (at - window, at] by their own time, or by the scrape that first showed them."""
        last = (at - START) // SCRAPE
        first = max(0, last - window // SCRAPE)
        good, bad = (self.seen if seen else self.happened)[:, first:last].sum(axis=1).tolist()
        return Sums(good + bad, bad)

    def smooth(self, instant: float, *, margin: float = 90) -> bool:
        """Whether the instant is away from every hole, so that both truths agree up to one scrape."""
        return not any(begin - margin <= instant <= end + margin for begin, end in self.holes)

    def target(
        self,
        instance: str,
        lives: Iterable[Life],
        *,
        watched: Span = (START, END),
        failed: Iterable[Span] = (),
        silent: Iterable[Span] = (),
    ) -> None:
        """Scrape one target over its lives: in `failed` spans `up` is 0, in `silent` ones nothing is written."""
        lives = list(lives)
        times = self._scrapes(watched)
        times = times[~_within(times, silent)]
        reached = ~_within(times, failed)
        up = np.zeros(len(times), np.int64)
        labels = f'job="{self.name}",instance="{instance}"'
        starts, good, bad = [], [], []
        for life in lives:
            answers = (times >= life.start) & (times < life.end) & reached
            up[answers] = 1
            mine = times[answers]
            if len(mine):
                counted = self._count(life, mine)
                starts.append((mine, np.full(len(mine), round(life.start, 2))))
                good.append(_from_birth(mine, counted[0], born=self.good_from_start))
                bad.append(_from_birth(mine, counted[1], born=self.bad_from_start))
        self._add("up{" + labels + "}", [(times, up)])
        self._add("process_start_time_seconds{" + labels + "}", starts)
        self._add(METRIC + "{" + labels + ',code="200"}', good)
        self._add(METRIC + "{" + labels + ',code="500"}', bad)

    def _add(self, series: str, parts: list[tuple[np.ndarray, np.ndarray]]) -> None:
        times = np.concatenate([part[0] for part in parts]) if parts else np.empty(0)
        if len(times):
            values = np.concatenate([part[1] for part in parts])
            self.written.append(Written(series, np.rint(times * 1000).astype(np.int64), values))

    def _scrapes(self, watched: Span) -> np.ndarray:
        """Scrape instants, with the target's own offset and a jitter of milliseconds."""
        offset = self.random.uniform(0, SCRAPE)
        first, last = np.ceil((np.array(watched) - offset) / SCRAPE).astype(np.int64)
        times = np.arange(first, last) * SCRAPE + offset
        times = times + np.abs(self.random.normal(0, 0.004, len(times)))
        times = np.rint(times * 1000) / 1000
        return times[(times > watched[0]) & (times <= watched[1])]

    def _count(self, life: Life, scrapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw one process' events; add what scrapes can see to the truths; return counters at the scrapes."""
        begin, end = max(life.start, START), min(life.end, END)
        grid = np.arange(np.ceil(begin / SCRAPE), end / SCRAPE) * SCRAPE
        edges = np.unique(np.concatenate([[begin, end], grid, scrapes]))
        middles = (edges[:-1] + edges[1:]) / 2
        cells = ((middles - START) // SCRAPE).astype(np.int64)
        cells_of_scrapes = np.ceil((scrapes - START) / SCRAPE).astype(np.int64) - 1
        places = np.searchsorted(edges, scrapes)
        # a process older than the history: only what follows its first scrape can be known
        visible = (middles < scrapes[-1]) & ((middles > scrapes[0]) | (life.start >= START))
        counters = []
        for kind, rate in enumerate((self.good_rate, self.bad_rate)):
            events = self.random.poisson(rate(middles) * np.diff(edges))
            if kind:
                events += np.histogram(life.failures, edges)[0]
            np.add.at(self.happened[kind], cells[visible], events[visible])
            counter = life.base[kind] + np.concatenate([[0], np.cumsum(events)])[places]
            before = counter[0] if life.start < START else 0
            np.add.at(self.seen[kind], cells_of_scrapes, np.diff(counter, prepend=before))
            counters.append(counter)
        return counters[0], counters[1]


def _from_birth(times: np.ndarray, values: np.ndarray, *, born: bool) -> tuple[np.ndarray, np.ndarray]:
    """The samples of a series that exists from the start, or from its first event on."""
    first = 0 if born else int(np.searchsorted(values, 0, side="right"))
    return times[first:], values[first:]


def _within(times: np.ndarray, spans: Iterable[Span]) -> np.ndarray:
    """Which instants lie in one of the spans."""
    inside = np.zeros(len(times), bool)
    for begin, end in spans:
        inside |= (times >= begin) & (times < end)
    return inside


def write(worlds: Iterable[World], path: Path) -> int:
    """Write the worlds as one OpenMetrics file; returns the number of samples."""
    samples = 0
    with path.open("w") as out:
        for world in worlds:
            for one in world.written:
                one.write(out)
            samples += world.samples
        out.write("# EOF\n")
    return samples
