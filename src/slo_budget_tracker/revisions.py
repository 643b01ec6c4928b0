"""Revisions: counts of ticks that were stepped before, corrected by data that came late (D16).

A revision corrects budgets and burn rates from then on. It never steps the state machine again: what was sent
is not unsaid, the revision is an event of its own, `slo_burn_revised`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from slo_budget_tracker.payloads import about
from slo_budget_tracker.snapshots import NO_LABELS, instant_text, number
from slo_budget_tracker.ticks import Outcome
from slo_budget_tracker.verdict import Transition

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from slo_budget_tracker.history import History
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Counts, Tick, WindowCounts

KIND = "slo_burn_revised"
SAME = 1e-9  # relative difference up to which two values of an expression are one


@dataclass(frozen=True, slots=True)
class Sums:
    """Events and observed seconds of some ticks."""

    total: float = 0.0
    bad: float = 0.0
    known: int = 0

    def to_json(self) -> dict[str, float | int]:
        """As in the event's payload."""
        return {"total": number(self.total), "bad": number(self.bad), "known_seconds": self.known}


@dataclass(frozen=True, slots=True)
class Revision:
    """What changed of one SLO's ticks: the span from the first to the last, its sums before and after."""

    ticks: tuple[Tick, ...]
    before: Sums
    after: Sums
    takes_away: (
        bool  # something that was seen is not there now: the source is not what it was, nobody is late
    )

    def transition(
        self, slo: SLO, snapshot: SLOSnapshot | None, *, labels: Mapping[str, str] = NO_LABELS
    ) -> Transition:
        """The event: told once, because its identity has the new sums in it."""
        start, end = self.ticks[0].start, self.ticks[-1].end
        after = self.after
        old = self.before
        reason = (
            f"{len(self.ticks)} ticks corrected by late data: "
            f"bad {old.bad:.10g} -> {after.bad:.10g}, total {old.total:.10g} -> {after.total:.10g}"
        )
        payload: dict[str, Any] = {
            **about(slo, group=labels),
            "event_kind": KIND,
            "window_seconds": slo.window,
            **({} if snapshot is None else _figures(snapshot)),
            "reason": reason,
            "revised": {
                "from": instant_text(start),
                "to": instant_text(end),
                "ticks": len(self.ticks),
                "before": self.before.to_json(),
                "after": after.to_json(),
            },
            "evaluated_at": instant_text(end),
            "late": True,
        }
        rule = f"revised/{start}/{after.known}/{after.total:.17g}/{after.bad:.17g}"
        return Transition(KIND, rule, end, reason, payload, late=True, group=labels)


def _figures(snapshot: SLOSnapshot) -> dict[str, Any]:
    return {
        "burn_rate": snapshot.burn_rate,
        "success_ratio": snapshot.success_ratio,
        "sample_count": None if snapshot.total is None else number(snapshot.total),
        "error_budget_remaining": snapshot.error_budget_remaining,
    }


class Difference(NamedTuple):
    """One tick of one SLO, or ticks that are stored as one: as they are stored, and as they are now."""

    before: Sums
    after: Sums
    changed: bool
    completed: bool  # it was read in part, and now it is not

    @classmethod
    def of(cls, ticks: Sequence[Tick], stored: WindowCounts, new: Sequence[Counts]) -> Difference:
        """The difference; what is not known counts nothing.

        Where ticks are stored as one they were a guess only if all of them were read in part.
        """
        known = [(tick.seconds, one) for tick, one in zip(ticks, new, strict=True) if one.outcome.known]
        before = Sums(stored.total, stored.bad, round(stored.known))
        after = Sums(
            sum(one.total for _, one in known),
            sum(one.bad for _, one in known),
            sum(seconds for seconds, _ in known),
        )
        whole = len(known) == len(new) and all(one.outcome is not Outcome.PARTIAL for _, one in known)
        completed = whole and 0 < before.known <= round(stored.partial)
        same = _same(before.total, after.total) and _same(before.bad, after.bad)
        return cls(before, after, completed or before.known != after.known or not same, completed)

    @property
    def lost(self) -> bool:
        """Whether it was known and is not any more."""
        return self.after.known < self.before.known


def revision(
    history: History,
    instance: int,
    ticks: Sequence[Tick],
    counts: Mapping[int, Counts],
    *,
    fewer: Container[int] = (),
) -> Revision | None:
    """How the counts (by tick end) differ from what is stored for these ticks; None where nothing does.

    What was counted in a tick that was read in part was a guess, and so was what the first whole one behind
    it brought, by which series that were left out had grown: that this is less now takes nothing away. How
    long a last sample counts is a guess, too: a tick without events may become unknown, unless it is one of
    those that have `fewer` samples than there were.
    """
    changed: list[Tick] = []
    before, after = Sums(), Sums()
    firm = Sums(), Sums()  # the same, up to a tick that was read in part
    sure = Sums()  # what was counted in ticks that are no guess
    lost = guessed = guessing = False
    spans = list(_as_stored(history, ticks))
    edges = sorted({edge for some in spans for edge in (some[0].start, some[-1].end)})
    stored = dict(zip(edges, history.parts(instance, edges) if edges else (), strict=False))  # by start
    for some in spans:
        one = Difference.of(some, stored[some[0].start], [counts[tick.end] for tick in some])
        before, after = _plus(before, one.before), _plus(after, one.after)
        guessed, guessing = guessed or one.completed, guessing or one.completed
        firm = firm if guessed else (before, after)
        if not guessing:
            sure = _plus(sure, one.before)
        guessing = guessing and (one.completed or not one.before.total)
        lost = lost or (one.lost and (one.before.total > 0 or any(tick.end in fewer for tick in some)))
        if one.changed:
            changed += some
    takes_away = lost or falls(*firm) or falls(sure, after)
    return Revision(tuple(changed), before, after, takes_away) if changed else None


def _as_stored(history: History, ticks: Sequence[Tick]) -> Iterator[Sequence[Tick]]:
    """The ticks; old ones that are merged in the history together."""
    some: list[Tick] = []
    for tick, last in zip(ticks, history.told_apart([tick.end for tick in ticks]), strict=True):
        if some and some[-1].end < tick.start:
            yield some
            some = []
        some.append(tick)
        if last:
            yield some
            some = []
    if some:
        yield some


def falls(before: Sums, after: Sums) -> bool:
    """Whether there are fewer events than there were, or fewer bad ones."""
    return after.total < before.total * (1 - SAME) or after.bad < before.bad * (1 - SAME)


def _plus(one: Sums, other: Sums) -> Sums:
    return Sums(one.total + other.total, one.bad + other.bad, one.known + other.known)


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(abs(one), abs(other))
