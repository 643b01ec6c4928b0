"""From a plan and a way to ask to the counts of each SLO and tick: what is read together, what it brought."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slo_budget_tracker.counting import Memory, count
from slo_budget_tracker.errors import BadAnswer, QueryFailed, QueryRejected
from slo_budget_tracker.feeds import TICKED
from slo_budget_tracker.groups import key_of, name_of
from slo_budget_tracker.outcomes import ERROR, NO_DATA, combine, judge
from slo_budget_tracker.probes import count_samples
from slo_budget_tracker.queries import Answer, ExpressionBatch, Query, RangeQuery, RawFeed, Series, Slot
from slo_budget_tracker.sizes import NOTHING, Size
from slo_budget_tracker.ticks import Counts, Outcome, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from slo_budget_tracker.queries import Member, Plan, Role

    Ask = Callable[[Query | RangeQuery], Answer]
    Steps = Generator[tuple[Query, ...], tuple[Answer, ...], "Reading"]

RANGE_FROM = 4  # so many ticks of an expression are asked for by one range query instead of one by one
MAX_POINTS = 11_000  # of one range query (Prometheus HTTP API, "Range queries")


@dataclass(frozen=True, slots=True)
class Unit:
    """SLOs that are read together or not at all: feeds joined by SLOs that need several, or one batch."""

    key: str
    datasource: str
    slos: tuple[str, ...]
    feeds: tuple[RawFeed, ...] = ()
    batch: ExpressionBatch | None = None

    @property
    def ticked(self) -> bool:
        """Whether each tick is one event: then a longer row has as many as it has ticks."""
        return self.batch is not None and all(member.slot.role in TICKED for member in self.batch.members)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one read of a unit brought; `counts[key][tick.end]` of SLOs and groups, memories by feed key."""

    counts: Mapping[str, Mapping[int, Counts]]
    memories: Mapping[str, Memory] = field(default_factory=dict)
    samples: int = 0
    doubts: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)  # by SLO: why its answer could not be used
    partial: bool = False
    kept: Mapping[int, Mapping[str, Memory]] = field(default_factory=dict)  # by the end of ticks to keep
    sizes: Mapping[int, Size] = field(default_factory=dict)  # raw samples by tick

    def doubting(self, doubts: Mapping[str, int]) -> Reading:
        """The same with further doubts."""
        return replace(self, doubts=Counter(self.doubts) + Counter(doubts)) if doubts else self


def units(plan: Plan) -> tuple[Unit, ...]:
    """The units of a plan: raw feeds that share an SLO belong together; each batch stands alone."""
    parent = {feed.key: feed.key for feed in plan.raw}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first: dict[str, str] = {}
    for feed in plan.raw:
        for slot, _ in feed.members:
            parent[root(feed.key)] = root(first.setdefault(slot.slo, feed.key))
    together: dict[str, list[RawFeed]] = {}
    for feed in plan.raw:
        together.setdefault(root(feed.key), []).append(feed)
    raw = [
        Unit(
            key=feeds[0].key,
            datasource=feeds[0].datasource,
            slos=tuple(dict.fromkeys(slot.slo for feed in feeds for slot, _ in feed.members)),
            feeds=tuple(feeds),
        )
        for feeds in together.values()
    ]
    return (*raw, *map(_batch_unit, plan.expressions))


def split(unit: Unit) -> tuple[Unit, ...]:
    """The halves of a batch that was refused, to isolate the member that poisons it; nothing for one SLO."""
    if unit.batch is None or len(unit.slos) < 2:  # noqa: PLR2004 - two halves
        return ()
    return tuple(map(_batch_unit, unit.batch.split()))


def apart(unit: Unit, read_until: Callable[[str], int]) -> tuple[Unit, ...]:
    """A batch as several where its SLOs were read up to different instants; other units as they are."""
    if unit.batch is None:
        return (unit,)
    together: dict[int, list[Member]] = {}
    for member in unit.batch.members:
        together.setdefault(read_until(member.slot.slo), []).append(member)
    if len(together) == 1:
        return (unit,)
    return tuple(_batch_unit(ExpressionBatch.of(unit.datasource, some)) for some in together.values())


def read(
    unit: Unit,
    ticks: Sequence[Tick],
    memories: Mapping[str, Memory],
    ask: Ask,
    *,
    keep: frozenset[int] = frozenset(),
) -> Reading:
    """Read the contiguous `ticks` of a unit; raises PrometheusError when any of its requests fails.

    What is remembered at the end of ticks that are to `keep` comes with the reading.
    """
    if unit.batch is not None:
        return replace(_read_batch(unit.batch, ticks, ask), kept={end: {} for end in keep})
    return _drive(steps(unit, ticks, memories, keep=keep), ask)


def steps(
    unit: Unit,
    ticks: Sequence[Tick],
    memories: Mapping[str, Memory],
    *,
    keep: frozenset[int] = frozenset(),
) -> Steps:
    """The same for raw samples, for whoever asks: yields questions, is sent their answers."""
    brought = _Brought(ticks, keep)
    for feed in unit.feeds:
        yield from brought.add(feed, memories.get(feed.key) or Memory.empty())
    return brought.reading(unit)


@dataclass(slots=True)
class _Brought:
    """What the feeds of a unit bring to its ticks, one feed after the other."""

    ticks: Sequence[Tick]
    keep: frozenset[int] = frozenset()
    kept: dict[int, dict[str, Memory]] = field(default_factory=dict)
    sizes: dict[int, Size] = field(default_factory=dict)
    increments: dict[int, dict[Slot, float]] = field(init=False)
    present: dict[int, set[Slot]] = field(init=False)
    infinite: dict[str, set[int]] = field(default_factory=dict)  # ticks by SLO
    memories: dict[str, Memory] = field(default_factory=dict)
    doubts: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    partial: bool = False
    samples: int = 0

    def __post_init__(self) -> None:
        self.increments = {tick.end: {} for tick in self.ticks}
        self.present = {tick.end: set() for tick in self.ticks}

    def add(self, feed: RawFeed, memory: Memory) -> Generator[tuple[Query, ...], tuple[Answer, ...], None]:
        """Read one feed and count it."""
        start, end = self.ticks[0].start, self.ticks[-1].end
        answers = yield feed.queries(end - start, end)
        self.partial = self.partial or any(answer.partial for answer in answers)
        series = [one for answer in answers for one in answer.series]
        counted = count_samples if feed.gauge else count
        tally = yield from counted(feed, series, memory, self.ticks, keep=self.keep)
        for end, by_slot in tally.counts.items():
            for slot, value in by_slot.items():
                self.increments[end][slot] = self.increments[end].get(slot, 0.0) + value
        for end, slots in tally.present.items():
            self.present[end] |= slots
        self.memories[feed.key] = tally.memory
        for end, size in tally.sizes.items():
            self.sizes[end] = size.plus(self.sizes.get(end, NOTHING))
        for end, kept in tally.kept.items():
            self.kept.setdefault(end, {})[feed.key] = kept
        self.doubts.update(tally.doubts)
        self.samples += tally.samples
        for one in series:
            if math.inf in one.values or -math.inf in one.values:
                self._refuse(feed, one)

    def _refuse(self, feed: RawFeed, series: Series) -> None:
        """No counter is infinite: the ticks that hold such a sample are errors of the SLOs that select it."""
        ends = [tick.end for tick in self.ticks]
        times = [time for time, value in zip(series.times, series.values, strict=True) if math.isinf(value)]
        places = (bisect_left(ends, time / 1000) for time in times if time > self.ticks[0].start * 1000)
        found = {ends[place] for place in places if place < len(ends)}
        for slot in feed.classify(series.labels) if found else ():
            self.infinite.setdefault(slot.slo, set()).update(found)
            self.faults[slot.slo] = f"{slot.slo}: {slot.role}: a sample of {feed.metric} is infinite"

    def _groups(self, planned: Mapping[str, Sequence[Slot]]) -> dict[str, tuple[Slot, ...]]:
        """The slots of each group that was seen, by its key."""
        seen = {slot for slots in self.present.values() for slot in slots if slot.group}
        seen |= {slot for slots in self.increments.values() for slot in slots if slot.group}
        groups = {(slot.slo, slot.group) for slot in seen}
        return {
            key_of(slo, group): tuple(slot._replace(group=group) for slot in planned[slo])
            for slo, group in sorted(groups)
        }

    def reading(self, unit: Unit) -> Reading:
        """All of it by SLO and tick."""
        counts: dict[str, dict[int, Counts]] = {}
        faults = dict(self.faults)
        planned = roles(slot for feed in unit.feeds for slot, _ in feed.members)
        for key, wanted in {**planned, **self._groups(planned)}.items():
            of_slo = counts[key] = {}
            needed = frozenset(slot.role for slot in wanted)
            infinite = self.infinite.get(wanted[0].slo, ())
            for end, increments in self.increments.items():
                values = {
                    slot.role: increments.get(slot, 0.0) for slot in wanted if slot in self.present[end]
                }
                of_slo[end] = combine(needed, values, partial=self.partial)
                if self.partial and not values:
                    faults.setdefault(wanted[0].slo, _unsaid(wanted[0].slo))
                if end in infinite:
                    of_slo[end] = Counts(0, 0, Outcome.ERROR)
        return Reading(
            counts,
            self.memories,
            self.samples,
            self.doubts,
            faults,
            partial=self.partial,
            kept=self.kept,
            sizes=self.sizes,
        )


def roles(slots: Iterable[Slot]) -> dict[str, tuple[Slot, ...]]:
    """The slots of each SLO or group, by its key."""
    by_key: dict[str, dict[Slot, None]] = {}
    for slot in slots:
        by_key.setdefault(slot.key, {})[slot] = None
    return {key: tuple(found) for key, found in by_key.items()}


def _batch_unit(batch: ExpressionBatch) -> Unit:
    slos = tuple(dict.fromkeys(slot.slo for slot, *_ in batch.members))
    return Unit(key=batch.key, datasource=batch.datasource, slos=slos, batch=batch)


def _read_batch(batch: ExpressionBatch, ticks: Sequence[Tick], ask: Ask) -> Reading:
    counts: dict[str, dict[int, Counts]] = {}
    faults: dict[str, str] = {}
    doubts: Counter[str] = Counter()
    samples = 0
    partial = False
    for tick, answer in _batch_answers(batch, ticks, ask):
        partial = partial or answer.partial
        samples += len(answer.series)
        faulty = batch.faults(answer)
        faults.update({name_of(key): str(fault) for key, fault in faulty.items()})
        values: dict[str, dict[Role, float]] = {}
        for slot, value in batch.read(answer).items():
            if value is not None:
                values.setdefault(slot.key, {})[slot.role] = value
        judged = judge(batch, values, faulty, partial=answer.partial)
        if answer.partial:
            unsaid = [name_of(key) for key, one in judged.counts.items() if not one.outcome.known]
            faults = {**{name: _unsaid(name) for name in unsaid}, **faults}
        doubts["source_gap"] += judged.gaps
        for key, one in judged.counts.items():
            counts.setdefault(key, {})[tick.end] = one
    nothing = {tick.end: ERROR if partial else NO_DATA for tick in ticks}  # of a group that other ticks have
    return Reading(
        {key: {**nothing, **of_key} for key, of_key in counts.items()},
        samples=samples,
        doubts=+doubts,
        faults=faults,
        partial=partial,
    )


def _unsaid(slo: str) -> str:
    return f"{slo}: a partial answer without its series"


def _batch_answers(batch: ExpressionBatch, ticks: Sequence[Tick], ask: Ask) -> Generator[tuple[Tick, Answer]]:
    """An answer for each tick: one by one, or cut out of range queries where many ticks are wanted."""
    regular = list(ticks)
    while regular and (len(regular) < RANGE_FROM or regular[0].seconds != regular[-1].seconds):
        tick = regular.pop(0)
        yield tick, ask(batch.query(tick.end, tick.seconds))
    for first in range(0, len(regular), MAX_POINTS):
        piece = regular[first : first + MAX_POINTS]
        step = piece[0].seconds
        expression = batch.query(piece[0].end, step).expression
        answer = ask(RangeQuery(expression, piece[0].end, piece[-1].end, step))
        at: dict[int, list[Series]] = {}
        for labels, times, values in answer.series:
            for time, value in zip(times, values, strict=True):
                at.setdefault(time // 1000, []).append(Series(labels, [time], [value]))
        for tick in piece:
            yield tick, Answer(tuple(at.get(tick.end, ())), partial=answer.partial, warnings=answer.warnings)


def _drive(reading: Steps, ask: Ask) -> Reading:
    """Ask what a reading wants to know until it is there."""
    try:
        wanted = next(reading)
        while True:
            wanted = reading.send(tuple(map(ask, wanted)))
    except StopIteration as done:
        result: Reading = done.value
        return result


SLOW = frozenset({"timeout", "query_timeout"})  # reasons of failures that a shorter range may not have
PERMANENT = (QueryRejected, QueryFailed, BadAnswer)  # failures that may be one member's and not the server's
