"""Readiness: why the daemon cannot judge at the moment; liveness is another question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STARTING = "no tick has been evaluated yet"
MOST_REASONS = 5
MOST_NAMES = 3  # in one reason
LONGEST_DETAIL = 300
INTERNAL = "internal error"
MOST_IN_A_ROW = 100  # ticks that end in a fault of ours


@dataclass(slots=True)
class Readiness:
    """What stands in the way of a judgement; `reasons` is empty when nothing does."""

    ticked: bool = False
    troubles: Mapping[str, str] = field(default_factory=dict)  # what is wrong, by what it is with
    filling: str = ""  # why the first fill waits
    in_a_row: Counter[str] = field(default_factory=Counter)  # faults of ours, by SLO or ""

    def reasons(self) -> Iterator[str]:
        """One sentence for each, the first few of many."""
        if not self.ticked:
            yield STARTING
        yield from islice(self._troubles(), MOST_REASONS)
        if self.filling:
            yield f"the first fill waits: {self.filling}"
        stuck = sorted(name for name, times in self.in_a_row.items() if times >= MOST_IN_A_ROW)
        for name in stuck[:MOST_REASONS]:
            yield f"{name or 'the cycle'} failed {self.in_a_row[name]} times in a row, a fault of ours"

    def _troubles(self) -> Iterator[str]:
        """One sentence for all that suffer from the same: a server that is down is one trouble."""
        alike: dict[str, list[str]] = {}
        for key in sorted(self.troubles):
            alike.setdefault(self.troubles[key], []).append(key)
        for detail, keys in alike.items():
            names = [key for key in keys if "/" not in key] or keys  # SLOs rather than the queries they share
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            yield f"trouble with {', '.join(names[:MOST_NAMES])}{more}: {detail[:LONGEST_DETAIL]}"

    def failed(self, names: Iterable[str]) -> None:
        """Count the faults of ours of one tick: who had none begins anew (T12)."""
        self.in_a_row = Counter({name: self.in_a_row[name] + 1 for name in names})
