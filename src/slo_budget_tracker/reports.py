"""Reports: what one call of the cycle tried, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.errors import BadAnswer, PrometheusError
from slo_budget_tracker.groups import is_group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.errors import LedgerError
    from slo_budget_tracker.memory import Memory
    from slo_budget_tracker.reading import Reading, Unit
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.ticks import Tick
    from slo_budget_tracker.verdict import Transition


@dataclass(frozen=True, slots=True)
class Report:
    """What one `advance` did; counters are of this call."""

    at: int
    snapshots: tuple[SLOSnapshot, ...]
    transitions: tuple[Transition, ...] = ()
    outcomes: Mapping[str, int] = field(default_factory=dict)  # SLO ticks by outcome
    errors: Mapping[str, PrometheusError] = field(default_factory=dict)  # by unit
    faults: Mapping[str, str] = field(default_factory=dict)  # by SLO
    store_error: LedgerError | None = None
    samples: int = 0
    series: int | None = None  # of which a last sample is remembered
    doubts: Mapping[str, int] = field(default_factory=dict)
    pending_seconds: int = 0  # data time that could not be read yet
    clamped: Mapping[str, int] = field(
        default_factory=dict
    )  # ticks by SLO in which a part exceeded the whole
    revised: int = 0  # SLO ticks whose counts were corrected by data that came late
    stopped: bool = False  # it was enough, and there is more that can be read now
    under_way: bool = False  # a slow datasource's answers are still to come


@dataclass(frozen=True, slots=True)
class Attempt:
    """A unit's contiguous ticks, what was remembered before them, and what reading them brought."""

    unit: Unit
    ticks: Sequence[Tick]
    reading: Reading | None = None
    error: PrometheusError | None = None
    memories: Mapping[str, Memory] = field(default_factory=dict)
    passable: bool = False  # it failed for long, and a newer tick can be read

    def failed(self, error: Exception) -> Attempt:
        """The attempt that came to nothing; what is no error of a server's is a fault of ours (T12)."""
        if not isinstance(error, PrometheusError):
            error = BadAnswer(f"internal error: {type(error).__name__}: {error}", reason="internal")
        return Attempt(self.unit, self.ticks, error=error)


@dataclass(slots=True)
class Tally:
    """What adds up during one `advance`."""

    snapshots: dict[str, SLOSnapshot] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: dict[str, PrometheusError] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    doubts: Counter[str] = field(default_factory=Counter)
    store_error: LedgerError | None = None
    clamped: Counter[str] = field(default_factory=Counter)
    samples: int = 0
    revised: int = 0

    def add(self, attempt: Attempt) -> None:
        """Count an attempt."""
        if attempt.error is not None:
            self.errors[attempt.unit.key] = attempt.error
            self.faults.update(dict.fromkeys(attempt.unit.slos, str(attempt.error)))
        if attempt.reading is not None:
            self.samples += attempt.reading.samples
            self.doubts.update(attempt.reading.doubts)
            for key, ticks in attempt.reading.counts.items():
                for counts in ticks.values():
                    if counts.cut is not None and not is_group(key):
                        self.clamped[key] += 1
            self.faults.update(attempt.reading.faults)

    def take(self, errand: Tally) -> None:
        """Add what came of an errand; it steps nothing."""
        self.transitions += errand.transitions
        self.outcomes.update(errand.outcomes)
        self.faults.update(errand.faults)
        self.doubts.update(errand.doubts)
        self.store_error = self.store_error or errand.store_error
        self.samples += errand.samples
        self.revised += errand.revised
