"""First fill: a fresh ledger, or an SLO that was added, gets its past from Prometheus' history, newest first.

How the past is read, by the age of the data:

age            how                                                            a row is
up to 2 days   raw samples, as live ticks are read                            one tick
older          raw samples while fewer than RAW_BUDGET samples were read      5 minutes
older beyond   range queries, value differences with look-back (stateless)    5 minutes
"""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.density import Density, Stage
from slo_budget_tracker.errors import BadAnswer, PrometheusError, QueryFailed, QueryRejected
from slo_budget_tracker.fillforms import fill_expression, presence
from slo_budget_tracker.groups import name_of
from slo_budget_tracker.outcomes import combine
from slo_budget_tracker.queries import Query, RangeQuery, Slot, plan
from slo_budget_tracker.reading import MAX_POINTS, PERMANENT, SLOW, Reading, Unit, read, roles, split, units
from slo_budget_tracker.rows import Row
from slo_budget_tracker.slices import Part, cut
from slo_budget_tracker.ticks import Counts, Outcome, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slo_budget_tracker.queries import RawFeed
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.specs import SLO, Slices

    CountsByKey = Mapping[str, Mapping[int, Counts]]

RECENT = 2 * 86_400  # seconds read tick by tick
STEP = 300  # seconds of an older row: 10 scrapes of 30 s
RAW_BUDGET = 20_000_000  # samples read raw by one first fill before older data come by range queries
RECENT_PIECE = 6 * 3_600  # seconds of one chunk
OLDER_PIECE = 86_400
SLOW_PIECE = 3_600  # where time runs out even for so little, the server is not there
SMALLEST_PIECE = 1_800  # a chunk that fails even so short is given up
ENOUGH = 5  # short chunks that were given up: longer ones are no more cut for the same unit


class Chunk(NamedTuple):
    """Rows to fill in one go: contiguous spans of data time, oldest first."""

    ticks: tuple[Tick, ...]

    @property
    def start(self) -> int:
        """Where the oldest row begins."""
        return self.ticks[0].start

    @property
    def end(self) -> int:
        """Where the newest row ends."""
        return self.ticks[-1].end

    @property
    def seconds(self) -> int:
        """Length of all rows."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Filled:
    """One chunk's rows, and down to where the SLOs named are filled now."""

    rows: tuple[Row, ...]
    slos: tuple[str, ...]
    filled_to: int
    newest: Mapping[str, Outcome]  # outcome of the chunk's last tick
    begun: tuple[tuple[int, Row], ...] = ()  # parts of slices that go on, with the ends of these

    def rows_after(self, stepped: Callable[[int], int | None]) -> tuple[Row, ...]:
        """All rows where each instance was stepped so far: parts of a slice that was judged are none."""
        parts = (row for end, row in self.begun if (stepped(int(row.ids[0])) or 0) < end)
        return (*self.rows, *parts)


def _as_it_is(counts: CountsByKey) -> CountsByKey:
    return counts


@dataclass(slots=True)
class Filler:
    """Fills SLOs that are filled down to the same instant, chunk by chunk, newest first.

    `step` does one chunk; it raises Unreachable, Busy or Unauthorized when the server cannot answer now, and
    goes on at the same place the next time. What a server refuses for good is given up and stays unknown.
    """

    slos: Sequence[SLO]
    ids: Mapping[str, int]
    until: int
    filled_to: int
    interval: int
    delay: int
    replica_labels: Mapping[str, str | None] = field(default_factory=dict)
    kept_to: int = 0  # up to here another daemon's ledger had the counts
    admit: Callable[[CountsByKey], CountsByKey] = _as_it_is  # gives groups that are new their ids
    samples: int = 0
    given_up: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, PrometheusError] = field(default_factory=dict)  # by SLO: why it was given up
    doubts: Counter[str] = field(default_factory=Counter)
    _units: list[Unit] = field(default_factory=list)
    _pending: deque[Chunk] = field(default_factory=deque)
    _held: dict[str, list[Part]] = field(default_factory=dict)  # of slices that begin in an older chunk
    _read: dict[str, Mapping[str, Mapping[int, Counts]]] = field(default_factory=dict)

    def prepare(self) -> Filler:
        """Plan the requests and the chunks; returns itself."""
        self._units = list(units(plan(self.slos, replica_labels=self.replica_labels)))
        self._pending = deque(
            chunks(
                until=self.until,
                filled_to=self.filled_to,
                begin=max(self.until - max((slo.past for slo in self.slos), default=0), self.kept_to),
                interval=self.interval,
                delay=self.delay,
                widths=[slo.slices.width for slo in self.slos if slo.slices is not None],
            )
        )
        return self

    @property
    def remaining(self) -> int:
        """Seconds of data time that are still to be filled."""
        return sum(chunk.seconds for chunk in self._pending)

    def step(self, asks: Mapping[str, Ask], *, workers: int = 4) -> Filled | None:
        """Fill the next chunk; None when nothing is left."""
        if not self._pending:
            return None
        chunk = self._pending[0]
        wanted = [unit for unit in self._units if unit.key not in self._read]
        with ThreadPoolExecutor(max_workers=workers) as pool:
            readings = list(pool.map(partial(self._try, chunk=chunk, asks=asks), wanted))
        for unit, (reading, _) in zip(wanted, readings, strict=True):  # first of all: an error may end this
            if reading is not None:
                self._read[unit.key] = reading.counts
                self.samples += reading.samples
                self.doubts.update(reading.doubts)
        for unit, (_, error) in zip(wanted, readings, strict=True):
            if error is not None:
                self._sort_out(error, unit, chunk)
        if any(unit.key not in self._read for unit in self._units):
            return self.step(asks, workers=workers)
        return self._finish()

    def _sort_out(self, error: PrometheusError, unit: Unit, chunk: Chunk) -> None:
        """Isolate, shorten or give up what the server refuses; raise what may be better later."""
        if isinstance(error, PERMANENT) and (halves := split(unit)):
            at = self._units.index(unit)
            self._units[at : at + 1] = halves
        elif isinstance(error, QueryRejected):
            self._give_up(unit, error)
        elif isinstance(error, (QueryFailed, BadAnswer)) or (
            error.reason in SLOW and chunk.seconds > SLOW_PIECE
        ):
            self._halve(chunk, unit, error)
        else:
            raise error

    def _try(
        self, unit: Unit, *, chunk: Chunk, asks: Mapping[str, Ask]
    ) -> tuple[Reading | None, PrometheusError | None]:
        ask = asks[unit.datasource]
        try:
            if unit.ticked:
                return read_ticks(unit, chunk.ticks, ask, interval=self.interval), None
            if unit.batch is not None or self._raw(chunk):
                return read(unit, chunk.ticks, {}, ask), None
            return read_steps(unit, chunk.ticks, ask), None
        except PrometheusError as error:
            return None, error  # sorted out by `step`, in its own thread
        except Exception as error:  # noqa: BLE001 - a fault of ours in one unit must not stop the others (T12)
            return None, BadAnswer(f"internal error: {type(error).__name__}: {error}", reason="internal")

    def _raw(self, chunk: Chunk) -> bool:
        return chunk.end > self.until - RECENT or self.samples < RAW_BUDGET

    @property
    def in_vain(self) -> PrometheusError | None:
        """Why nothing at all could be read, where that is the server's fault and no query's."""
        asked = {slo for unit in self._units for slo in unit.slos}
        errors = {str(error): error for error in self.reasons.values()}
        of_queries = any(isinstance(error, (QueryRejected, QueryFailed)) for error in errors.values())
        if self.samples or of_queries or len(errors) != 1 or not asked <= self.reasons.keys():
            return None
        return next(iter(errors.values()))

    def _give_up(self, unit: Unit, error: PrometheusError) -> None:
        self._read[unit.key] = {}
        self.given_up.update(unit.slos)
        self.reasons.update(dict.fromkeys(unit.slos, error))

    def _halve(self, chunk: Chunk, unit: Unit, error: PrometheusError) -> None:
        """Too much for the server at once: the newer half first, the older one after it."""
        hopeless = all(self.given_up[slo] >= ENOUGH for slo in unit.slos)
        if hopeless or chunk.seconds < SMALLEST_PIECE or len(chunk.ticks) == 1:
            self._give_up(unit, error)
        elif self._pending[0] == chunk:
            middle = len(chunk.ticks) // 2
            self._pending[0] = Chunk(chunk.ticks[:middle])
            self._pending.appendleft(Chunk(chunk.ticks[middle:]))  # what was read of others covers it

    def _sliced(
        self, key: str, slices: Slices, parts: Sequence[Part]
    ) -> tuple[list[Row], list[tuple[int, Row]]]:
        """The slices of a chunk, and parts of the one that live ticks end.

        The oldest one is judged when the chunk before has brought its beginning.
        """
        whole = [*parts, *self._held.pop(key, ())]
        found = cut(whole, slices, interval=self.interval)
        over = dict(found.over)
        oldest = min(over, default=None)
        if oldest is not None and oldest.start < whole[0].span.start and self._pending:
            del over[oldest]
            self._held[key] = [part for part in whole if part.span.end <= oldest.end]
        rows = [
            Row.of(span, {self.ids[key]: counts})
            for span, counts in over.items()
            if counts.outcome.known or span.start < self.kept_to
        ]
        begun = [
            (span.end, Row.of(part.span, {self.ids[key]: Counts(part.total, part.bad, part.outcome)}))
            for span, some in found.begun.items()
            for part in some
            if part.known and span.end > self.until
        ]
        return rows, begun

    def _finish(self) -> Filled:
        chunk = self._pending.popleft()
        by_slo = {
            key: ticks
            for counts in self._read.values()
            for key, ticks in self.admit(counts).items()
            if key in self.ids
        }
        self._read = {}
        by_name = {slo.name: slo.slices for slo in self.slos if slo.slices is not None}
        sliced = {key: by_name[name_of(key)] for key in by_slo if name_of(key) in by_name}
        rows, begun = [], []
        for tick in chunk.ticks:
            row = {
                self.ids[key]: ticks[tick.end]
                for key, ticks in by_slo.items()
                if tick.end in ticks and key not in sliced
            }
            if any(counts.outcome.known for counts in row.values()):
                rows.append(Row.of(tick, row))
        for key, slices in sliced.items():
            ticks = by_slo[key]
            parts = [Part.of(tick, ticks[tick.end]) for tick in chunk.ticks if tick.end in ticks]
            over, open_ = self._sliced(key, slices, parts)
            rows += over
            begun += open_
        newest = {key: ticks[chunk.end].outcome for key, ticks in by_slo.items()}
        names = tuple(slo.name for slo in self.slos)
        return Filled(tuple(rows), names, chunk.start, newest, tuple(begun))


def chunks(
    *, until: int, filled_to: int, begin: int, interval: int, delay: int, widths: Sequence[int] = ()
) -> list[Chunk]:
    """The spans from `filled_to` back to `begin`, newest chunk first, by the table at the top of this file.

    Rows of a chunk have one length; their edges are on the tick grid and on the ledger's own cells, so that
    filled and live rows share points.
    """
    step = gcd(max(STEP // interval, 1) * interval, *widths)  # a row lies in one slice
    spans = Density((Stage(RECENT, step),)).spans(begin, until, interval=interval, delay=delay)
    found: list[Chunk] = []
    piece: list[Tick] = []
    for start, end in reversed(spans):
        if start >= filled_to:
            continue
        longest = RECENT_PIECE if end > until - RECENT else OLDER_PIECE
        full = len(piece) == MAX_POINTS or (bool(piece) and piece[0].end - start > longest)
        if piece and (full or end - start != piece[-1].seconds):
            found.append(Chunk(tuple(reversed(piece))))
            piece = []
        piece.append(Tick(start, min(end, filled_to)))
    return [*found, Chunk(tuple(reversed(piece)))] if piece else found


def read_steps(unit: Unit, ticks: Sequence[Tick], ask: Ask) -> Reading:
    """Read old rows of a raw unit by range queries of the stateless form."""
    increments: dict[int, dict[Slot, float]] = {tick.end: {} for tick in ticks}
    samples = 0
    step = ticks[-1].seconds
    regular = [
        tick for tick in ticks if tick.seconds == step
    ]  # the oldest may be cut short: it stays unknown
    seen: dict[Slot, None] = dict.fromkeys(slot for _, slot in _slots(unit))
    first, last = regular[0], regular[-1]
    native = {feed.key: _is_native(feed, first.start, last.end, ask) for feed in unit.feeds}
    for feed, slot in _slots(unit):
        expression = fill_expression(feed, slot, step, native=native[feed.key])
        answer = ask(RangeQuery(expression, first.end, last.end, step))
        for series in answer.series:
            samples += len(series.times)
            for one in feed.grouped([slot], series.labels):
                seen[one] = None
                for time, value in zip(series.times, series.values, strict=True):
                    of_tick = increments[time // 1000]
                    of_tick[one] = of_tick.get(one, 0.0) + value
    counts: dict[str, dict[int, Counts]] = {}
    for slo, wanted in roles(seen).items():
        of_slo = counts[slo] = {}
        for tick in ticks:
            found = increments[tick.end]
            values = {slot.role: found[slot] for slot in wanted if slot in found}
            of_slo[tick.end] = combine(frozenset(s.role for s in wanted), values, partial=False)
    return Reading(counts, samples=samples)


def _is_native(feed: RawFeed, start: int, end: int, ask: Ask) -> bool:
    """Whether there are native histograms at all: not every server knows the functions that read them."""
    asked = presence(feed, end - start)
    return not asked or any(ask(Query(one, end)).series for one in asked)


def read_ticks(unit: Unit, rows: Sequence[Tick], ask: Ask, *, interval: int) -> Reading:
    """Read each tick of longer rows, where a tick is an event, and add up what a row has."""
    ticks = [tick for row in rows for tick in _ticks(row, interval)]
    reading = read(unit, ticks, {}, ask)
    counts = {
        slo: {row.end: _sum([of_slo[tick.end] for tick in _ticks(row, interval)]) for row in rows}
        for slo, of_slo in reading.counts.items()
    }
    return replace(reading, counts=counts)


def _ticks(row: Tick, interval: int) -> list[Tick]:
    """The ticks of a row, which ends on the grid; the first one may be cut short."""
    starts = range(row.end - interval, row.start, -interval)
    edges = [row.start, *reversed(starts), row.end]
    return [Tick(start, end) for start, end in pairwise(edges)]


def _sum(parts: Sequence[Counts]) -> Counts:
    """The counts of all ticks of a row that brought something; else what they brought instead."""
    known = [part for part in parts if part.outcome.known]
    if not known:
        return Counts(0, 0, max(part.outcome for part in parts))
    total, bad = sum(part.total for part in known), sum(part.bad for part in known)
    if any(part.outcome is Outcome.PARTIAL for part in known):
        return Counts(total, bad, Outcome.PARTIAL)
    return Counts(total, bad, Outcome.OK if total else Outcome.NO_TRAFFIC)


def _slots(unit: Unit) -> list[tuple[RawFeed, Slot]]:
    return list(dict.fromkeys((feed, slot) for feed in unit.feeds for slot, _ in feed.members))
