"""Reviews: what a past period did to each SLO's error budget, from the counts that the ledger kept.

The budget of a period is the share of its own events that may fail, not that of the SLO's rolling window. A
composite is made of its members' accounts over the same period, as the daemon makes its windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from slo_budget_tracker import budget
from slo_budget_tracker.accounts import Book, account, combined
from slo_budget_tracker.annotations import Sought, among, find_annotations
from slo_budget_tracker.composites import members_of, parts_of, weights
from slo_budget_tracker.corrections import merged, overlapping
from slo_budget_tracker.groups import name_of, shown
from slo_budget_tracker.timeline import Found, Wanted, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slo_budget_tracker.accounts import Account
    from slo_budget_tracker.annotations import Annotation
    from slo_budget_tracker.corrections import Correction, Span
    from slo_budget_tracker.instances import Instance
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.periods import Period
    from slo_budget_tracker.shelves import Shelf
    from slo_budget_tracker.slices import Clock
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts

LITTLE = 0.25
ENDINGS = ("exhausted", "at_risk", "no_data", "healthy")  # how a period ends, the worst first
WORST = 5  # hours
EVENTS = 200  # of an instance
MOST_EVENTS = 20_000  # of an SLO with all its groups
NOTES = 1_000  # of a period


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the period: when it began, its counts, and what share of the period's budget it spent."""

    start: int
    counts: WindowCounts
    spent: float | None


@dataclass(frozen=True, slots=True)
class Review:
    """One SLO instance over a period, without the time that corrections take out.

    `raw` is what would remain with that time, `before` what remained of the budget of the period before.
    `members` are a composite's, each with the share of the composite's budget that it spent.
    """

    slo: SLO
    labels: Mapping[str, str]
    counts: WindowCounts
    remaining: float | None
    raw: float | None
    success_ratio: float | None
    coverage: float
    before: float | None
    days: tuple[Stretch, ...]
    worst: tuple[Stretch, ...]
    events: Found
    corrections: tuple[Span, ...] = ()
    notes: tuple[Annotation, ...] = ()
    members: tuple[tuple[str, float | None], ...] = ()

    @property
    def counted(self) -> bool:
        """Whether it has events of its own; a composite's counts are a ratio."""
        return not members_of(self.slo)

    @property
    def standing(self) -> str:
        """How the period ended for it."""
        return _standing(self.remaining)

    @property
    def standing_before(self) -> str:
        """How the period before ended for it."""
        return _standing(self.before)


def review(shelves: Sequence[Shelf], slos: Iterable[SLO], period: Period, clock: Clock) -> list[Review]:
    """Every instance of the SLOs that their ledgers know, over the period as far as there are data.

    Raises:
        LedgerError: the events cannot be read.
    """
    by_name = {slo.name: slo for slo in slos}
    notes = _notes([shelf.ledger for shelf in shelves], period)
    found = [one for shelf in shelves for one in _of_shelf(shelf, by_name, period, clock, notes)]
    return sorted(found, key=lambda one: (one.slo.name, sorted(one.labels.items())))


def _notes(ledgers: Iterable[Ledger], period: Period) -> list[Annotation]:
    """What people and pipelines marked, wherever it was written: marks are about SLOs of all ledgers."""
    sought = Sought(since=period.start, until=period.end, limit=NOTES)
    found: set[Annotation] = set()
    for ledger in ledgers:
        with ledger.transaction() as connection:
            found.update(find_annotations(connection, sought).marks)
    return sorted(found, key=lambda mark: (-mark.start, mark))[:NOTES]


def _of_shelf(
    shelf: Shelf, by_name: Mapping[str, SLO], period: Period, clock: Clock, notes: Sequence[Annotation]
) -> Iterator[Review]:
    instances = shelf.instances()
    desk = _Desk(Book(shelf.ledger.history, period, clock), by_name, instances)
    events: dict[str, Found] = {}
    with shelf.ledger.transaction() as connection:
        for name in {one.slo for one in instances.values()}:
            wanted = Wanted(slo=name, since=period.start, until=period.end, limit=MOST_EVENTS)
            events[name] = find(connection, wanted)
    for key, one in instances.items():
        yield desk.review(key, _of_instance(events[one.slo], by_name[one.slo], one), notes)


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where reviews are made."""

    book: Book
    slos: Mapping[str, SLO]
    instances: Mapping[str, Instance]

    def review(self, key: str, events: Found, notes: Sequence[Annotation]) -> Review:
        """One instance's review."""
        instance, period = self.instances[key], self.book.period
        slo = self.slos[instance.slo]
        parts, allowance = self._parts(key, corrected=True), budget.allowed(slo.target)
        whole = _whole(slo, self.slos, parts)
        sums = budget.exact(whole.whole)
        spending = _Spending.of(slo, self.slos, parts)
        return Review(
            slo,
            dict(instance.labels),
            whole.whole,
            budget.remaining(sums, allowance),
            self._remaining_raw(key) if slo.corrections else budget.remaining(sums, allowance),
            budget.success_ratio(sums),
            budget.coverage(sums),
            budget.remaining(budget.exact(whole.before), allowance),
            tuple(map(Stretch, self.book.days, whole.days, spending.by_part(lambda one: one.days))),
            self._worst(whole, spending),
            events,
            overlapping(slo.corrections, period.start, period.end),
            among(notes, slo.name, slo.service),
            () if instance.slo in parts else tuple(spending.by_name().items()),
        )

    def _parts(self, key: str, *, corrected: bool) -> dict[str, Account]:
        """The accounts that an instance's is made of: its own, or its members' by name."""
        slo = self.slos[name_of(key)]
        own = slo.corrections if corrected else ()
        if not members_of(slo):
            return {slo.name: self._account(key, own)}
        keys = parts_of(slo, key, self.instances)
        if not keys:  # a group that no member has any more: nothing is known of it
            return {slo.name: self._account(key, own)}
        return {
            name_of(one): self._account(one, (*self.slos[name_of(one)].corrections, *own)) for one in keys
        }

    def _account(self, key: str, corrections: Iterable[Correction]) -> Account:
        period, clock = self.book.period, self.book.clock
        spans = [one.span for one in overlapping(corrections, period.before.start, period.end)]
        without = merged(spans, clock.at, clock.interval)
        return account(self.book, self.slos[name_of(key)], self.instances.get(key), without=without)

    def _remaining_raw(self, key: str) -> float | None:
        slo = self.slos[name_of(key)]
        whole = _whole(slo, self.slos, self._parts(key, corrected=False)).whole
        return budget.remaining(budget.exact(whole), budget.allowed(slo.target))

    def _worst(self, whole: Account, spending: _Spending) -> tuple[Stretch, ...]:
        """The hours that spent most, as far as counts are kept by the hour."""
        spent = spending.by_part(lambda one: one.hours)
        hours = [
            Stretch(start, counts, share)
            for start, counts, share, close in zip(
                self.book.hours, whole.hours, spent, whole.closely, strict=False
            )
            if share and close
        ]
        return tuple(sorted(hours, key=lambda one: (-(one.spent or 0), one.start))[:WORST])


@dataclass(frozen=True, slots=True)
class _Spending:
    """Who spends a budget: accounts, and what share of it one bad event of each takes."""

    accounts: Mapping[str, Account]
    shares: Mapping[str, float]

    @classmethod
    def of(cls, slo: SLO, slos: Mapping[str, SLO], accounts: Mapping[str, Account]) -> _Spending:
        counts = {name: one.whole for name, one in accounts.items()}
        if slo.sli.kind == "composite" and slo.name not in accounts:
            found = weights(slo.sli, slos, counts) if all(one.known for one in counts.values()) else {}
        else:
            found = {name: 1 / Fraction(one.total) for name, one in counts.items() if one.total}
        return cls(accounts, {name: float(share / slo.error_budget) for name, share in found.items()})

    def by_part(self, pick: Callable[[Account], Sequence[WindowCounts]]) -> list[float | None]:
        """What each part of the period spent; None where nothing is known of it."""
        columns = zip(*(pick(one) for one in self.accounts.values()), strict=True)
        return [self._spent(dict(zip(self.accounts, counts, strict=True))) for counts in columns]

    def by_name(self) -> dict[str, float | None]:
        """What each of the accounts spent."""
        return {name: self._spent({name: one.whole}) for name, one in self.accounts.items()}

    def _spent(self, counts: Mapping[str, WindowCounts]) -> float | None:
        if not self.shares or not any(one.known for one in counts.values()):
            return None
        return sum(self.shares.get(name, 0.0) * float(one.bad) for name, one in counts.items())


def _whole(slo: SLO, slos: Mapping[str, SLO], parts: Mapping[str, Account]) -> Account:
    if slo.sli.kind == "composite" and slo.name not in parts:
        return combined(slo.sli, slos, parts)
    return parts[slo.name]


def _of_instance(found: Found, slo: SLO, instance: Instance) -> Found:
    """An SLO's events that are one group's, or those of all of it."""
    labels = [shown(label) for label in slo.group_by]

    def group(payload: Mapping[str, Any]) -> dict[str, object]:
        said = payload.get("labels") or {}
        return {label: said[label] for label in labels if label in said}

    own = [event for event in found.events if group(event.payload) == dict(instance.labels)]
    return Found(tuple(own[:EVENTS]), len(own))


def _standing(remaining: float | None) -> str:
    if remaining is None:
        return "no_data"
    if remaining <= 0:
        return "exhausted"
    return "at_risk" if remaining < LITTLE else "healthy"
