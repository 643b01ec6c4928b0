"""Where a series begins that was not remembered: at zero, at its first value, or undecided until it grows."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.evidence import SAME_START
from slo_budget_tracker.memory import NOTHING_SPECIAL, Special
from slo_budget_tracker.targets import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slo_budget_tracker.evidence import Evidence
    from slo_budget_tracker.resets import Doubt

SCRAPES = 10  # a process that started up to so many scrapes before the job's last scrape is a new one
UNDECIDED_SCRAPES = 4  # a first value of unknown origin is counted if it is at most so many scrapes' worth


class Beginning(NamedTuple):
    """The sample a new series is counted from, and why not from zero where it is not."""

    time: int
    value: float
    special: Special = NOTHING_SPECIAL
    doubt: Doubt | None = None


class Kin(NamedTuple):
    """A series of the same target: when it was last seen before the birth, and its newest sample (ms)."""

    before: int
    newest: int


@dataclass(frozen=True)
class Scrapes:
    """When a job was scraped (ms): instants of this tick and the last one before, and the usual spacing."""

    instants: Sequence[int]
    spacing: int
    hole: tuple[int, int] | None = None

    @cached_property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """Spans without a scrape: the latest one remembered and those of this tick, ascending."""
        found = ((a, b) for a, b in pairwise(self.instants) if b - a > 3 * self.spacing)
        return (*(() if self.hole is None else (self.hole,)), *found)

    def last_before(self, birth: int) -> int | None:
        """The last instant the job was scraped before a birth, or before a hole that ended only recently."""
        recent = birth - SCRAPES * self.spacing
        for begin, end in self.holes:
            if begin < birth and end >= recent:
                return begin
        after = bisect_left(self.instants, birth)
        return self.instants[after - 1] if after else None

    def hole_before(self, birth: int) -> int:
        """How long the job was not scraped shortly before a birth, ms."""
        last = self.last_before(birth)
        gap = 0 if last is None else birth - last
        return gap if gap > 3 * self.spacing else 0


@dataclass(frozen=True, slots=True)
class Birth:
    """A series that was not remembered: its labels, first sample, target's other series and job's scrapes."""

    key: int
    labels: Mapping[str, str]
    time: int
    value: float
    kin: tuple[Kin, ...]
    scrapes: Scrapes
    unknown_until: int  # ms; what the series showed up to here the memory would not know
    whole: int | None = None  # of a histogram: the key of all its observations

    @property
    def target(self) -> Target:
        """Job and instance."""
        return Target.of(self.labels)

    @property
    def last_seen(self) -> int | None:
        """When the target's other series were last seen before."""
        return max((kin.before for kin in self.kin), default=None)

    @property
    def kin_gone(self) -> bool:
        """Whether everything the target had at its last scrape before is not seen any more."""
        last = self.last_seen
        return last is not None and all(kin.newest < self.time for kin in self.kin if kin.before == last)

    @property
    def kin_continues(self) -> bool:
        """Whether another series of the target is seen in the last scrape before and still."""
        return self.last_seen is not None and not self.kin_gone

    def replaced(self, evidence: Evidence) -> bool | None:
        """Whether the target's process started after its last scrape before; None where unknown."""
        last = self.last_seen
        return evidence.process(self.labels).newer(self.time - 1 if last is None else last, self.time)

    def renamed(self, evidence: Evidence) -> bool:
        """Whether a running process only shows its counters under other labels now."""
        last = self.last_seen
        if last is None or not self.kin_gone or self.replaced(evidence):
            return False
        return not evidence.carried_on(self.target, last=last, first=self.time)

    def known(self, evidence: Evidence) -> bool:
        """Whether its target was scraped before the birth, without this series."""
        if evidence.was_up(self.labels, self.time):
            return True
        return not evidence.has_up(self.labels) and self.kin_continues

    def begin(self, evidence: Evidence) -> Beginning:
        """Decide where the series is counted from."""
        baseline = Beginning(self.time, self.value)
        zero = Beginning(self.time - 1, 0.0)
        if not self.target.instance:
            return self._undecided("no_instance")
        earlier = self._earlier(evidence)
        if earlier is not None:
            return earlier
        if self.renamed(evidence):
            return self._under_its_old_name(evidence) or baseline._replace(doubt="renamed")
        if self.known(evidence):
            return zero
        start = evidence.process(self.labels).start(self.time)
        if start is None:
            return self._undecided(None)
        last = self.scrapes.last_before(self.time)
        reference = self.time if last is None else last
        young = start * 1000 > reference - SCRAPES * self.scrapes.spacing - SAME_START * 1000
        return zero if young else baseline._replace(doubt="baseline")

    def whole_before(self, evidence: Evidence) -> tuple[int, float] | None:
        """Of a count at a histogram's bound: the last one of all, if its own had another resolution then."""
        if self.whole in (None, self.key):
            return None
        own, whole = (
            evidence.earlier(key, self.labels, until=self.unknown_until) for key in (self.key, self.whole)
        )
        return whole if own is None else None

    def _earlier(self, evidence: Evidence) -> Beginning | None:
        """What it showed before the memory began, or its first value where nobody can say what that was."""
        found = evidence.earlier(self.key, self.labels, until=self.unknown_until)
        if found is not None:
            return Beginning(*found)
        if self.whole is not None and evidence.shown(self.whole):
            return Beginning(self.time, self.value, doubt="baseline")
        return None

    def _under_its_old_name(self, evidence: Evidence) -> Beginning | None:
        """The last sample before its target got other labels: at least the growth since then is new."""
        last = self.last_seen
        found = None if last is None else evidence.predecessor(self.labels, last=last, first=self.time)
        return Beginning(*found) if found is not None and found[1] <= self.value else None

    def _undecided(self, doubt: Doubt | None) -> Beginning:
        allowance = UNDECIDED_SCRAPES + self.scrapes.hole_before(self.time) / self.scrapes.spacing
        return Beginning(self.time, self.value, Special(held=self.value, allowance=allowance), doubt)


def unsettled(births: Iterable[Birth], evidence: Evidence) -> tuple[set[Target], set[Target]]:
    """Of which targets more must be asked: whether they were up before, and what they showed."""
    births = [birth for birth in births if birth.target.instance]
    was_up = {b.target for b in births if not evidence.was_up(b.labels, b.time)}
    values = {b.target for b in births if b.kin_gone and not b.replaced(evidence)}
    return was_up, values
