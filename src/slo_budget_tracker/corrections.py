"""Corrections: spans of time that do not count, such as maintenance, once or by a rule of RFC 5545.

A correction is taken out of every window of the SLOs it is for: the window is shorter by it, as if that
time had not been. What was counted stays in the ledger, so that a correction that is taken back changes
nothing.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dateutil.rrule import rrulestr

from slo_budget_tracker.calendars import zone
from slo_budget_tracker.errors import shown
from slo_budget_tracker.slis import Defect, Frozen
from slo_budget_tracker.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LONGEST = 31 * 86_400  # of one occurrence of a rule
SHIFT = (
    86_400  # seconds by which a local time may be off where clocks change: rules are compared by local time
)
RULES = ("FREQ=HOURLY", "FREQ=DAILY", "FREQ=WEEKLY", "FREQ=MONTHLY", "FREQ=YEARLY")


class Span(NamedTuple):
    """One occurrence of a correction."""

    correction: Correction
    span: Tick

    @property
    def rule(self) -> str:
        """The stable name of the application: its event is told once."""
        text = f"{self.correction.name}\0{self.span.start}\0{self.span.end}"
        return f"correction:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


class Correction(Frozen):
    """Time that does not count for some SLOs; `start` in epoch seconds, in whole ticks from there.

    `slos` are names, globs, or label matchers such as `team=payments`; all of an entry's matchers must hold.
    """

    name: str
    start: int
    end: int | None = None
    rrule: str | None = None
    duration: int | None = None
    timezone: str = "UTC"  # of the rule: 02:00 stays 02:00 when the clock changes
    slos: tuple[str | tuple[tuple[str, str], ...], ...]
    reason: str
    author: str

    def is_for(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether an SLO of this name and labels is corrected."""
        return any(
            fnmatchcase(name, one)
            if isinstance(one, str)
            else all(fnmatchcase(labels.get(key, ""), value) for key, value in one)
            for one in self.slos
        )

    def spans(self, after: int, until: int) -> list[Tick]:
        """The occurrences that overlap (after, until]."""
        if self.end is not None:
            found = [Tick(self.start, self.end)]
        else:
            assert self.rrule is not None
            assert self.duration is not None
            first = datetime.fromtimestamp(after - self.duration - SHIFT, UTC)
            starts = _rule(self.rrule, self.start, self.timezone).between(
                first.astimezone(zone(self.timezone)),
                datetime.fromtimestamp(until + SHIFT, UTC).astimezone(zone(self.timezone)),
            )
            instants = [int(start.timestamp()) for start in starts]
            found = [Tick(start, start + self.duration) for start in instants]
        return [span for span in found if span.start < until and span.end > after]

    def _defects(self) -> Iterator[Defect]:
        if (self.end is None) == (self.rrule is None):
            found = "neither `to` nor `rrule`" if self.end is None else "both `to` and `rrule`"
            yield Defect("", found, "`to`, or `rrule` and `duration`")
        if (self.rrule is None) != (self.duration is None):
            found = "`duration` without `rrule`" if self.rrule is None else "`rrule` without `duration`"
            yield Defect("", found, "both, or `to`")
        if self.end is not None and self.end <= self.start:
            yield Defect("to", "an end that is not after the start", "a later instant")
        if self.duration is not None and not 0 < self.duration <= LONGEST:
            yield Defect("duration", f"{self.duration} seconds", f"1 to {LONGEST} seconds")
        if self.rrule is not None:
            yield from self._defects_of_rule(self.rrule)

    def _defects_of_rule(self, rule: str) -> Iterator[Defect]:
        if not any(known in rule.upper() for known in RULES):
            yield Defect("rrule", shown(rule, most=80), f"a rule with one of {', '.join(RULES)}")
            return
        try:
            zone(self.timezone)
        except (ValueError, KeyError, OSError):
            yield Defect("timezone", shown(self.timezone, most=60), "a zone of the IANA database")
            return
        try:
            _rule(rule, self.start, self.timezone).after(datetime.fromtimestamp(self.start, UTC))
        except (ValueError, TypeError, OverflowError) as error:
            yield Defect("rrule", f"{shown(rule, most=80)}: {error}", "a recurrence rule of RFC 5545")


class Rule:
    """A recurrence in local time."""

    def __init__(self, text: str, start: int, timezone: str) -> None:
        begin = datetime.fromtimestamp(start, UTC).astimezone(zone(timezone))
        self._rule = rrulestr(text, dtstart=begin, cache=True)

    def between(self, first: datetime, last: datetime) -> Sequence[datetime]:
        """The starts from `first` to `last`."""
        found: list[datetime] = self._rule.between(first - timedelta(seconds=1), last, inc=True)
        return found

    def after(self, instant: datetime) -> datetime | None:
        """The first start after an instant."""
        found: datetime | None = self._rule.after(instant)
        return found


@lru_cache(maxsize=1_024)
def _rule(text: str, start: int, timezone: str) -> Rule:
    return Rule(text, start, timezone)


def overlapping(corrections: Iterable[Correction], after: int, until: int) -> tuple[Span, ...]:
    """All occurrences of all corrections that overlap (after, until]."""
    return tuple(Span(one, span) for one in corrections for span in one.spans(after, until))


def merged(spans: Iterable[Tick], at: int, interval: int) -> list[Tick]:
    """Spans in whole ticks of the grid that `at` is on, each second once: ascending, apart."""
    found: list[Tick] = []
    for start, end in sorted(Tick(*(edge - (edge - at) % interval for edge in span)) for span in spans):
        if found and start <= found[-1].end:
            found[-1] = Tick(found[-1].start, max(end, found[-1].end))
        elif end > start:
            found.append(Tick(start, end))
    return found
