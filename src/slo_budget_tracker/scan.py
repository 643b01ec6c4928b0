"""One tick over all series of a feed: the normal path, and notes of what is not normal."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from math import inf, isnan
from typing import TYPE_CHECKING

from slo_budget_tracker.memory import NOTHING_SPECIAL, Job, Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.feeds import Slot
    from slo_budget_tracker.lines import Lines
    from slo_budget_tracker.memory import Special
    from slo_budget_tracker.sorting import Sorting

USUAL_SPACING = 30_000  # ms between scrapes where nothing was seen yet
GAP_SCRAPES = 3  # a gap of the tick's length and so many scrapes is odd
_RECENT = 1.5  # scrapes: how old the youngest sample of present data may be


@dataclass(slots=True)
class Scan:
    """One tick of a feed; times are ms, `start` < sample <= `end`.

    `slow` are lines of remembered series with something to decide, `new` lines of series that are not
    remembered; both are left to others, who report by `settle` and `add`.
    """

    memory: Memory
    lines: Lines
    sorting: Sorting
    start: int
    end: int
    slow: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)  # lines with samples in this tick that are counted
    switched: set[int] = field(default_factory=set)  # lines that take over from a silent replica
    times: list[int] = field(init=False)
    values: list[float] = field(init=False)
    highs: list[int] = field(init=False)
    gains: list[float] = field(init=False)
    special: dict[int, Special] = field(init=False)
    _newest: list[int] = field(init=False)
    _gaps: list[float] = field(init=False)
    _limits: list[int] = field(init=False)
    _replicas: dict[int, str] = field(init=False)
    _added: dict[int, tuple[int, int, float]] = field(default_factory=dict)  # key -> target, time, value
    _dropped: set[int] = field(default_factory=set)  # keys
    _settled: dict[int, float] = field(default_factory=dict)  # by line: what was counted of a slow one

    def __post_init__(self) -> None:
        lanes = self.sorting.lanes
        self.times = list(self.memory.times)
        self.values = list(self.memory.values)
        self.highs = list(self.lines.done)
        self.gains = [0.0] * len(lanes)
        self.special = dict(self.memory.special)
        self._newest = [0] * len(lanes)
        self._gaps = [inf] * len(lanes)
        self._limits = [self.end - self.start + GAP_SCRAPES * self.spacing(lane.job) for lane in lanes]
        self._replicas = dict(self.memory.replicas)

    def run(self) -> None:
        """Count what is normal: a remembered series that goes on growing."""
        lines, memory, end = self.lines, self.memory, self.end
        find, old_times, old_values = memory.roll.index.get, memory.times, memory.values
        times, values, highs = self.times, self.values, self.highs
        odd = self.special.keys() | self._twice() if lines.twice else self.special
        gains, newest, gaps, limits = self.gains, self._newest, self._gaps, self._limits
        all_times, all_values, places, read = lines.times, lines.values, lines.places, self.read
        for at in self._chosen():
            stamps = all_times[at]
            low = highs[at]
            high = len(stamps) if stamps[-1] <= end else bisect_right(stamps, end, low)
            if low >= high:
                continue
            highs[at] = high
            read.append(at)
            key, _, lane = places[at]
            row = find(key)
            if row is None:
                self.new.append(at)
                self._note(at)
                continue
            gap = stamps[low] - old_times[row]
            before = now = old_values[row]
            if 0 < gap <= limits[lane] and key not in odd:
                for value in all_values[at][low:high]:
                    if value >= now:
                        now = value
                    else:
                        break
                else:
                    if now < inf:
                        last = stamps[high - 1]
                        if last > newest[lane]:  # noqa: PLR1730 - three times as fast as max()
                            newest[lane] = last
                        times[row] = last
                        values[row] = now
                        gains[lane] += now - before
                        if gap < gaps[lane]:  # noqa: PLR1730 - as above
                            gaps[lane] = gap
                        continue
            self.slow.append(at)
            self._settled[at] = 0.0
            self._note(at)

    def _twice(self) -> set[int]:
        """The keys of series that have several lines in this tick."""
        lines = self.lines
        seen = Counter(
            place.key
            for place, times in zip(lines.places, lines.times, strict=True)
            if place.key in lines.twice and times[0] <= self.end and times[-1] > self.start
        )
        return {key for key, times in seen.items() if times > 1}

    def _note(self, at: int) -> None:
        """Note the newest sample of a line that is not normal."""
        lane = self.lines.places[at].lane
        for time, _ in self.samples(at)[-1:]:
            self._newest[lane] = max(self._newest[lane], time)

    def _chosen(self) -> Iterable[int]:
        """The lines to read: all, or of each series the replica that was read before unless it is silent."""
        lines = self.lines
        if lines.replicas is None:
            return range(len(lines.places))
        candidates: dict[int, list[int]] = {}
        for at, stamps in enumerate(lines.times):
            self.highs[at] = bisect_right(stamps, self.start)
            if self.highs[at] < len(stamps) and stamps[self.highs[at]] <= self.end:
                candidates.setdefault(lines.places[at].key, []).append(at)
        chosen = (self._choose(key, some) for key, some in candidates.items())
        return [at for at in chosen if at is not None]

    def _choose(self, key: int, candidates: Sequence[int]) -> int | None:
        lines = self.lines
        assert lines.replicas is not None
        active = self._replicas.get(key)
        for at in candidates:
            if lines.replicas[at] == active:
                return at
        row = self.memory.roll.index.get(key)
        if row is not None and active is not None:
            spacing = self.spacing(self.sorting.lanes[lines.places[candidates[0]].lane].job)
            if self.end - self.memory.times[row] < 5 * spacing // 2:
                return None  # it may only be late
        best = min(candidates, key=lambda at: (-self._in_tick(at), lines.replicas[at]))  # type: ignore[index]  # asserted above
        if row is not None and active is not None:
            self.switched.add(best)
        self._replicas[key] = lines.replicas[best]
        return best

    def _in_tick(self, at: int) -> int:
        return bisect_right(self.lines.times[at], self.end) - self.highs[at]

    # what others ask and report

    def spacing(self, job: str) -> int:
        """The usual time between two scrapes of a job, ms."""
        known = self.memory.jobs.get(job)
        return USUAL_SPACING if known is None or known.spacing is None else known.spacing

    def job_of(self, at: int) -> str:
        """The job of a line."""
        return self.sorting.lanes[self.lines.places[at].lane].job

    def size(self, lines: Iterable[int]) -> int:
        """How many samples of some lines are in this tick."""
        return sum(self.highs[at] - bisect_right(self.lines.times[at], self.start) for at in lines)

    def come(self) -> tuple[int, int]:
        """How many samples series have that are new or back, and how many more a whole tick has of them."""
        lines = [*self.new, *(at for at in self.slow if self._is_back(at))]
        sizes = [self.size([at]) for at in lines]
        whole = [(self.end - self.start) // self.spacing(self.job_of(at)) for at in lines]
        return sum(sizes), sum(max(most - size, 0) for most, size in zip(whole, sizes, strict=True))

    def _is_back(self, at: int) -> bool:
        """Whether a remembered series was silent for long."""
        place, samples = self.lines.places[at], self.samples(at)
        before = self.memory.times[self.memory.roll.index[place.key]]
        return bool(samples) and samples[0][0] - before > self._limits[place.lane]

    def samples(self, at: int) -> list[tuple[int, float]]:
        """A line's samples in this tick, without NaN (VictoriaMetrics shows its staleness markers)."""
        part = slice(bisect_right(self.lines.times[at], self.start), self.highs[at])
        pairs = zip(self.lines.times[at][part], self.lines.values[at][part], strict=True)
        return [(time, value) for time, value in pairs if not isnan(value)]

    def remembered(self, at: int) -> tuple[int, float, Special] | None:
        """The sample of a line's series before this tick."""
        key = self.lines.places[at].key
        row = self.memory.roll.index.get(key)
        if row is None:
            return None
        return self.memory.times[row], self.memory.values[row], self.memory.special.get(key, NOTHING_SPECIAL)

    def settle(self, at: int, *, gain: float, time: int, value: float, special: Special) -> None:
        """Take over what was decided about a remembered series, in place of what `run` made of it."""
        key, _, lane = self.lines.places[at]
        row = self.memory.roll.index[key]
        counted = self._settled.get(at)
        if counted is None:
            counted = self.values[row] - self.memory.values[row]  # by `run`
        self._settled[at] = gain
        if gain != counted:
            self.gains[lane] += gain - counted
        self.times[row], self.values[row] = time, value
        self._mark(key, special)

    def add(self, at: int, *, gain: float, time: int, value: float, special: Special) -> None:
        """Remember a new series."""
        key, target, lane = self.lines.places[at]
        self.gains[lane] += gain
        self._added[key] = (target, time, value)
        self._dropped.discard(key)
        self._mark(key, special)

    def is_added(self, at: int) -> bool:
        """Whether the line's series was added in this tick already (under another line)."""
        return self.lines.places[at].key in self._added

    def drop(self, keys: Iterable[int]) -> None:
        """Remember some series no more: others go on in their place."""
        for key in keys:
            if self._added.pop(key, None) is not None or key in self.memory.roll.index:
                self._dropped.add(key)
                self.special.pop(key, None)

    def forget_value(self, row: int) -> None:
        """A silent series of a process that was replaced: whatever it shows next, it began at zero."""
        self.values[row] = 0.0
        self.special.pop(self.memory.roll.keys[row], None)

    def _mark(self, key: int, special: Special) -> None:
        if special != NOTHING_SPECIAL:
            self.special[key] = special
        else:
            self.special.pop(key, None)

    # results

    def remember(self, present: Mapping[Slot, int]) -> Memory:
        """The memory after this tick; `present` as below."""
        memory, roll, times, values = self.memory, self.memory.roll, self.times, self.values
        if self._added:
            targets, added_times, added_values = zip(*self._added.values(), strict=True)
            roll = roll.extended(tuple(self._added), targets)
            times, values = [*times, *added_times], [*values, *added_values]
        later = 2 * self.end - self.start
        remembered = Memory(
            scope=memory.scope,
            since=memory.since,
            until=self.end,
            roll=roll,
            times=times,
            values=values,
            jobs=self._jobs(),
            special=self.special,
            replicas=self._replicas,
            present={slot: until for slot, until in present.items() if until > later},
        )
        return remembered.without(self._dropped) if self._dropped else remembered

    def counts(self) -> dict[Slot, float]:
        """Events of each slot that had samples in this tick."""
        found: dict[Slot, float] = {}
        for (slots, _), gain, newest in zip(self.sorting.lanes, self.gains, self._newest, strict=False):
            if newest:
                for slot in slots:
                    found[slot] = found.get(slot, 0.0) + gain
        return found

    def present(self) -> dict[Slot, int]:
        """Until when (ms) each slot's youngest sample counts as data."""
        found = dict(self.memory.present)
        length = self.end - self.start
        for (slots, job), newest in zip(self.sorting.lanes, self._newest, strict=False):
            if newest:
                until = newest + max(length, int(_RECENT * self.spacing(job)))
                for slot in slots:
                    found[slot] = max(found.get(slot, 0), until)
        return {slot: until for slot, until in found.items() if until > self.end}

    def _jobs(self) -> dict[str, Job]:
        newest: dict[str, int] = {}
        gaps: dict[str, float] = {}
        for (_, job), last, gap in zip(self.sorting.lanes, self._newest, self._gaps, strict=False):
            if last:
                newest[job] = max(newest.get(job, 0), last)
                gaps[job] = min(gaps.get(job, inf), gap)
        self._shorten(gaps)
        unsure = {job for job, gap in gaps.items() if gap > GAP_SCRAPES * self.spacing(job)}
        oldest = self._oldest(unsure, gaps) if unsure else {}
        return {**self.memory.jobs, **{job: self._job(job, newest[job], gaps[job], oldest) for job in newest}}

    def _shorten(self, gaps: dict[str, float]) -> None:
        """Where scrapes seem rarer than they were, some may be missing: those within this tick tell more."""
        rarer = {job for job, gap in gaps.items() if _RECENT * self.spacing(job) < gap < inf}
        for at in self.read if rarer else ():
            job = self.job_of(at)
            if job in rarer and len(stamps := self.samples(at)) > 1:
                gaps[job] = min(gaps[job], stamps[1][0] - stamps[0][0])
                rarer.discard(job)
                if not rarer:
                    return

    def _oldest(self, jobs: set[str], gaps: dict[str, float]) -> dict[str, int]:
        """The first sample in this tick of some jobs; learns their spacing from new series where need be."""
        found: dict[str, int] = {}
        for at in self.read:
            job = self.job_of(at)
            if job in jobs:
                stamps = self.samples(at)
                if not stamps:
                    continue
                found[job] = min(found.get(job, stamps[0][0]), stamps[0][0])
                if gaps[job] == inf and len(stamps) > 1:
                    gaps[job] = stamps[1][0] - stamps[0][0]
        return found

    def _job(self, name: str, newest: int, gap: float, oldest: Mapping[str, int]) -> Job:
        old = self.memory.jobs.get(name)
        if old is None:
            return Job(newest, None if gap == inf else int(gap))
        spacing = self.spacing(name)
        hole = old.hole
        if name in oldest and oldest[name] - old.last > GAP_SCRAPES * spacing:
            hole = (old.last, oldest[name])
        if gap == inf:
            return Job(max(newest, old.last), old.spacing, hole)
        learnt = gap if old.spacing is None else min(max(gap, old.spacing // 2), old.spacing * 2)
        return Job(max(newest, old.last), int(learnt), hole)
