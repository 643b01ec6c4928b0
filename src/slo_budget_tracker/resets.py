"""How far a known counter went from sample to sample: growth, resets, falls that are no resets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from slo_budget_tracker.memory import NOTHING_SPECIAL, Special

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    Newer = Callable[[int, int], bool | None]

Doubt = Literal["baseline", "held", "guarded", "renamed", "no_instance", "replica", "bad_value", "resolution"]
DOUBTS: tuple[Doubt, ...] = (
    "baseline",
    "held",
    "guarded",
    "renamed",
    "no_instance",
    "replica",
    "bad_value",
    "resolution",
)

VAIN_FALLS = (
    5  # after so many falls of one series that no new process explains, its falls are not asked about
)


@dataclass(slots=True)
class Walk:
    """One counter's way through the samples of a tick, from the remembered one on.

    Args:
        time, value: the remembered sample (ms); a series counted from zero begins with value 0.
        newer: whether the process at the second instant started after the first; None where unknown.
        whole: the series stands for one process; a recorded sum does not, its falls are no resets.
        switched: the first new sample is another replica's.
        reset: counters of the target fell when the process was replaced, now or in the tick before: so this
            one began again too, even where it shows no fall.
        scrape: usual time between two scrapes, ms.
        also: instants (ms) at which the counter began again because others of its histogram did.
        led: whether an undecided first value counts, where the count of all of its histogram decided it.
        spared: instants (ms) at which a fall is no reset because that of all of its histogram was none.
    """

    time: int
    value: float
    special: Special = NOTHING_SPECIAL
    newer: Newer = field(default=lambda _before, _now: None)
    whole: bool = True
    switched: bool = False
    reset: bool = False
    scrape: int = 30_000
    also: Container[int] = ()
    led: bool | None = None
    spared: Container[int] = ()
    gain: float = 0.0
    doubts: list[Doubt] = field(default_factory=list)
    begun: list[int] = field(default_factory=list)  # when it began again, ms
    guarded: list[int] = field(default_factory=list)  # when it fell without beginning again, ms
    held_counts: bool | None = None  # what was decided of an undecided first value

    def through(self, samples: Iterable[tuple[int, float]]) -> Walk:
        """Walk through the samples; what is not newer than the remembered one, or no count, is left out."""
        for time, value in samples:
            if time <= self.time or math.isnan(value):
                continue
            if math.isinf(value) or value < 0:
                self.doubts.append("bad_value")
                continue
            self._step(time, value)
            self.time = time
            self.switched = False
        return self

    def _step(self, time: int, value: float) -> None:
        newer = self.newer(self.time, time)
        if time in self.also or (newer and self.reset and value >= self.value):
            self._begin(time, value, newer=newer)
        elif value < self.value:
            self._fall(time, value, newer=newer)
        else:
            self._grow(value - self.value)
            if newer and self.value > 0:
                # Nothing fell in this target: a young process that passed all old values, or an exporter in
                # front of counters that live on. The next growth tells.
                life = max(time - self.time, 0) / self.scrape
                self.special = self.special._replace(held=self.value, allowance=4 + 2 * life)
        # A mark stays for good: two servers behind one address fall every other scrape.
        self.value = max(self.value, value) if self.special.marked else value

    def _fall(self, time: int, value: float, *, newer: bool | None) -> None:
        slight = 2 * value > self.value
        if self.switched:
            self.doubts.append("replica")
            self.special = NOTHING_SPECIAL
        elif not self.whole and slight:
            self.doubts.append("no_instance")
            self.special = NOTHING_SPECIAL
        elif time in self.spared or (slight and not newer and (newer is False or self.special.marked)):
            self.guarded.append(time)
            if not self.special.marked:
                self.doubts.append("guarded")
            self.special = self.special._replace(marked=True)
        else:
            falls = 0 if newer else min(self.special.falls + 1, VAIN_FALLS)
            self._begin(time, value, newer=newer)
            self.special = self.special._replace(falls=falls)

    def _begin(self, time: int, value: float, *, newer: bool | None) -> None:
        """The counter began at zero again."""
        if self.special.held is not None:
            self.doubts.append("held")
        self.special = Special(restarted=bool(newer))
        self.begun.append(time)
        self.gain += value

    def _grow(self, growth: float) -> None:
        self.gain += growth
        held = self.special.held
        if held is None or (growth <= 0 and self.led is None):
            return
        self.held_counts = held <= growth * self.special.allowance if self.led is None else self.led
        if self.held_counts:
            self.gain += held
        else:
            self.doubts.append("baseline")
        self.special = self.special._replace(held=None, allowance=0.0)
