"""The odd case: series that are new, fell or were silent for long; only their targets are asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from slo_budget_tracker.births import Birth, Kin, Scrapes, unsettled
from slo_budget_tracker.evidence import Evidence
from slo_budget_tracker.memory import KEPT_MS
from slo_budget_tracker.resets import VAIN_FALLS, Walk
from slo_budget_tracker.scan import GAP_SCRAPES
from slo_budget_tracker.siblings import Siblings
from slo_budget_tracker.sorting import NO_TARGET
from slo_budget_tracker.targets import Target

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Generator

    from slo_budget_tracker.answers import Answer, Query
    from slo_budget_tracker.feeds import RawFeed
    from slo_budget_tracker.scan import Scan

    Asking = Generator[tuple[Query, ...], tuple[Answer, ...], None]

LOOK_SCRAPES = 10  # how far before the tick targets are asked about


@dataclass(slots=True)
class Strays:
    """What `Scan.run` left of one tick; `settle` decides it, asking where it must."""

    feed: RawFeed
    scan: Scan
    seed_ms: int
    doubts: Counter[str]
    _births: dict[int, list[tuple[int, float]]] = field(default_factory=dict)  # line -> samples
    _members: dict[int, list[int]] = field(default_factory=dict)  # target -> lines
    _scrapes: dict[str, Scrapes] = field(default_factory=dict)  # by job
    _born: dict[int, Birth] = field(default_factory=dict)  # by line
    _kin: dict[tuple[int, int], tuple[Kin, ...]] = field(default_factory=dict)  # by target and instant
    _siblings: Siblings = field(init=False)

    def settle(self) -> Asking:
        """Decide about all odd series of the tick, and about all others of their targets."""
        scan, places = self.scan, self.scan.lines.places
        self._siblings = Siblings(self.feed, scan, self.doubts).prepare()
        slow = self._siblings.with_slow(scan.slow)
        odd = [at for at in slow if self._needs_asking(at)]
        odd += [at for at in self._siblings.in_order(scan.new) if self._is_odd(at)]
        asked = {places[at].target: Target.of(scan.lines.labels[at]) for at in odd}
        for at in slow:
            if places[at].target not in asked:  # the others are walked once, when it is known what happened
                self._walk(at, None)
        if asked:
            yield from self._settle_asked(asked)
        self._siblings.settle()

    def _settle_asked(self, asked: dict[int, Target]) -> Asking:
        """Decide about all series of targets that must be asked about."""
        scan = self.scan
        places = scan.lines.places
        self._members = {target: [] for target in asked}
        for at in scan.read:
            countable = at in self._births or scan.remembered(at) is not None
            if places[at].target in asked and countable:
                self._members[places[at].target].append(at)
        evidence = yield from self._evidence(asked)
        for target, members in self._members.items():
            self._decide(target, self._siblings.in_order(members), evidence)

    # what is odd

    def _needs_asking(self, at: int) -> bool:
        """Whether a remembered series' fall or gap must be explained by its process."""
        scan = self.scan
        known = scan.remembered(at)
        assert known is not None
        time, value, special = known
        if scan.lines.places[at].target == NO_TARGET:
            return False
        samples = [one for one in scan.samples(at) if one[0] > time and one[1] >= 0]
        if not samples:
            return False
        limit = scan.end - scan.start + GAP_SCRAPES * scan.spacing(scan.job_of(at))
        if special.restarted or samples[0][0] - time > limit:
            return True
        for _, sample in samples:
            if sample < value and special.falls < VAIN_FALLS and not (special.marked and 2 * sample > value):
                return True
            value = max(value, sample) if special.marked else sample
        return False

    def _is_odd(self, at: int) -> bool:
        """Whether a new series must be asked about; one that begins at zero or has no instance need not."""
        scan = self.scan
        samples = [one for one in scan.samples(at) if 0 <= one[1] < float("inf")]
        if not samples or scan.is_added(at):
            return False
        if self._siblings.is_change(at, samples):
            return False
        time, value = samples[0]
        if value == 0:
            self._add(at, Walk(time, value), samples)
            return False
        self._births[at] = samples
        if scan.lines.places[at].target == NO_TARGET:
            self._begin(at, Evidence(self.feed, 0, 0, scan.sorting.key))
            return False
        return True

    # asking

    def _evidence(
        self, asked: dict[int, Target]
    ) -> Generator[tuple[Query, ...], tuple[Answer, ...], Evidence]:
        scan = self.scan
        spacing = max(scan.spacing(target.job) for target in asked.values())
        seconds = -(-(scan.end - scan.start + LOOK_SCRAPES * spacing) // 1000)
        evidence = Evidence(self.feed, scan.end // 1000, seconds, scan.sorting.key)
        yield from evidence.look(asked.values())
        births = [self._birth(at) for at in self._births]
        if scan.memory.since is not None and scan.end - scan.memory.since < KEPT_MS:
            yield from evidence.look_at_past(
                birth.target for birth in births if not self._began_since(birth, evidence)
            )
        was_up, values = unsettled(births, evidence)
        yield from evidence.look_back(was_up)
        yield from evidence.look_at_values(values)
        yield from evidence.look_back_at_starts(self._unknown_starts(births, evidence))
        return evidence

    def _began_since(self, birth: Birth, evidence: Evidence) -> bool:
        """Whether its process began when all series were remembered already, so nobody saw it before."""
        start = evidence.process(birth.labels).start(birth.time)
        assert self.scan.memory.since is not None
        return start is not None and start * 1000 > self.scan.memory.since - self.seed_ms

    def _unknown_starts(self, births: list[Birth], evidence: Evidence) -> dict[Target, int]:
        """Targets whose process may be newer than an old sample, with the time of that sample."""
        scan = self.scan
        pairs = [
            (scan.lines.labels[at], known[0], samples[-1][0])
            for members in self._members.values()
            for at in members
            if (known := scan.remembered(at)) is not None and (samples := scan.samples(at))
        ]
        pairs += [
            (birth.labels, birth.last_seen, birth.time) for birth in births if birth.last_seen is not None
        ]
        found: dict[Target, int] = {}
        for labels, before, now in pairs:
            process = evidence.process(labels)
            if process.newer(before, now) and process.before(before) is None:
                target = Target.of(labels)
                found[target] = min(before, found.get(target, before))
        return found

    # deciding

    def _decide(self, target: int, members: list[int], evidence: Evidence) -> None:
        scan = self.scan
        known = [at for at in members if at not in self._births]
        reset = any(self._began_with_its_process(at, evidence) for at in known)
        walked = {scan.memory.roll.index[scan.lines.places[at].key] for at in known}
        for at in known:
            self._walk(at, evidence, reset=reset)
        if reset:
            process = evidence.process(scan.lines.labels[known[0]])
            for row in scan.memory.roll.rows_of(target):
                if row not in walked and process.newer(scan.memory.times[row], scan.end):
                    scan.forget_value(row)
        for at in members:
            if at in self._births and not scan.is_added(at):
                self._begin(at, evidence, reset=reset)

    def _began_with_its_process(self, at: int, evidence: Evidence) -> bool:
        """Whether its process is newer, and the series fell now, or with its process in the tick before."""
        scan = self.scan
        remembered = scan.remembered(at)
        assert remembered is not None
        time, value, special = remembered
        samples = [(time, value), *(one for one in scan.samples(at) if one[0] > time and one[1] >= 0)]
        process = evidence.process(scan.lines.labels[at])
        return any(
            (special.restarted or later[1] < earlier[1]) and process.newer(earlier[0], later[0]) is True
            for earlier, later in pairwise(samples)
        )

    def _walk(self, at: int, evidence: Evidence | None, *, reset: bool = False) -> None:
        scan, siblings = self.scan, self._siblings
        walk = self._way(at, evidence, reset=reset)
        siblings.tell(at, walk, lambda part: self._way(part, evidence, reset=reset))
        siblings.lead(at, walk).through(scan.samples(at))
        siblings.note(at, walk)
        self.doubts.update(walk.doubts)
        scan.settle(at, gain=walk.gain, time=walk.time, value=walk.value, special=walk.special)

    def _way(self, at: int, evidence: Evidence | None, *, reset: bool) -> Walk:
        """The walk of a remembered series, before its first step."""
        scan = self.scan
        known = scan.remembered(at)
        assert known is not None
        time, value, special = known
        walk = Walk(
            time=time,
            value=value,
            special=special._replace(restarted=False) if special.restarted and scan.samples(at) else special,
            whole=scan.lines.places[at].target != NO_TARGET,
            switched=at in scan.switched,
            reset=reset,
            scrape=scan.spacing(scan.job_of(at)),
        )
        if evidence is not None:
            walk.newer = evidence.process(scan.lines.labels[at]).newer
        return walk

    def _birth(self, at: int) -> Birth:
        scan = self.scan
        if at in self._born:
            return self._born[at]
        time, value = self._births[at][0]
        place = scan.lines.places[at]
        born = self._born[at] = Birth(
            key=place.key,
            labels=scan.lines.labels[at],
            time=time,
            value=value,
            kin=self._kin_of(place.target, time) if place.target != NO_TARGET else (),
            scrapes=self._scrapes_of(scan.job_of(at)),
            unknown_until=min(scan.start, scan.memory.since or scan.start),
            whole=self._siblings.whole(at),
        )
        return born

    def _scrapes_of(self, job: str) -> Scrapes:
        scan = self.scan
        if job not in self._scrapes:
            instants = {
                stamp for other in scan.read if scan.job_of(other) == job for stamp, _ in scan.samples(other)
            }
            known = scan.memory.jobs.get(job)
            if known is not None:
                instants.add(known.last)
            hole = None if known is None else known.hole
            self._scrapes[job] = Scrapes(sorted(instants), scan.spacing(job), hole)
        return self._scrapes[job]

    def _kin_of(self, target: int, time: int) -> tuple[Kin, ...]:
        """The target's series that were seen before the instant."""
        scan, memory = self.scan, self.scan.memory
        if (target, time) in self._kin:
            return self._kin[target, time]
        found: list[Kin] = []
        rows = set()
        for other in self._members[target]:
            known = scan.remembered(other)
            if known is not None:
                rows.add(memory.roll.index[scan.lines.places[other].key])
            stamps = [stamp for stamp, _ in scan.samples(other)]
            before = [stamp for stamp in stamps if stamp < time]
            last = before[-1] if before else None if known is None else known[0]
            if last is not None:
                found.append(Kin(last, stamps[-1] if stamps else last))
        found += [
            Kin(memory.times[row], memory.times[row])
            for row in memory.roll.rows_of(target)
            if row not in rows
        ]
        self._kin[target, time] = tuple(found)
        return self._kin[target, time]

    def _begin(self, at: int, evidence: Evidence, *, reset: bool = False) -> None:
        birth = self._birth(at)
        before = birth.whole_before(evidence)
        if before is not None:
            self._siblings.go_on_from(at, before)
            return
        beginning = birth.begin(evidence)
        if beginning.doubt is not None:
            self.doubts[beginning.doubt] += 1
        walk = Walk(
            beginning.time,
            beginning.value,
            special=beginning.special,
            reset=reset,
            scrape=birth.scrapes.spacing,
        )
        if birth.target.instance:
            walk.newer = evidence.process(birth.labels).newer
        else:
            walk.whole = False
        self._add(at, walk, self._births[at])

    def _add(self, at: int, walk: Walk, samples: list[tuple[int, float]]) -> None:
        self._siblings.lead(at, walk).through(samples)
        self._siblings.note(at, walk)
        self.doubts.update(walk.doubts)
        self.scan.add(at, gain=walk.gain, time=walk.time, value=walk.value, special=walk.special)
