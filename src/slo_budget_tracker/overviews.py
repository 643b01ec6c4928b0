"""Overviews: all shards on one page, read from their ledgers; evaluates nothing, sends nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import merge
from typing import TYPE_CHECKING

from slo_budget_tracker.annotations import Marked
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.claims import UNSHARDED, survey
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.lookout import looked
from slo_budget_tracker.sources import clients
from slo_budget_tracker.timeline import Found
from slo_budget_tracker.views import Notebook, Past

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slo_budget_tracker.annotations import Annotation, Sought
    from slo_budget_tracker.claims import Claim
    from slo_budget_tracker.databases import Database
    from slo_budget_tracker.density import Density
    from slo_budget_tracker.lookout import Looked
    from slo_budget_tracker.publishing import Publisher
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts
    from slo_budget_tracker.timeline import Wanted


@dataclass(slots=True)
class ShardsLedgers:
    """The ledgers of all shards, and what each has concluded last of the SLOs that it evaluates."""

    database: Database
    _ledgers: dict[int, Ledger] = field(default_factory=dict)
    _looked: dict[int, Looked] = field(default_factory=dict)
    _claims: Mapping[str, Claim] = field(default_factory=dict)
    _last: dict[str, tuple[SLOSnapshot, ...]] = field(default_factory=dict)  # by SLO

    def close(self) -> None:
        """Read no more."""
        for ledger in self._ledgers.values():
            ledger.close()
        self._ledgers.clear()

    def refresh(self, density: Density) -> bool:
        """Whether any shard has written, came or took something over.

        Raises:
            LedgerError: they cannot be read.
        """
        found, ledgers = survey(self.database)
        there = {number: namespace for number, namespace in ledgers.items() if number != UNSHARDED}
        fresh = found != self._claims or there.keys() != self._ledgers.keys()
        self._claims = found
        for number in self._ledgers.keys() - there.keys():
            self._ledgers.pop(number).close()
        for number, namespace in there.items():
            if number in self._ledgers:
                fresh |= self._ledgers[number].refresh()
            else:
                place = replace(self.database, namespace=namespace)
                self._ledgers[number] = Ledger.open(place, read_only=True, density=density)
        return fresh

    def show(self, settings: Settings, slos: Sequence[SLO], publisher: Publisher) -> Mapping[str, str]:
        """Each SLO from the ledger of the shard that has it; one that moves just now as it was."""
        self._looked.clear()
        archives: dict[str, Archive] = {}
        faults: dict[str, str] = {}
        for number, ledger in self._ledgers.items():
            mine = [s for s in slos if s.name in self._claims and self._claims[s.name].shard == number]
            found = looked(ledger, mine, settings)
            if found is None:
                continue
            self._looked[number] = found
            faults |= found.faults
            by_name: dict[str, list[SLOSnapshot]] = {}
            for one in found.snapshots:
                by_name.setdefault(one.name, []).append(one)
            self._last |= {name: tuple(some) for name, some in by_name.items()}
            archives |= dict.fromkeys(by_name, Archive(ledger))
        self._last = {slo.name: self._last[slo.name] for slo in slos if slo.name in self._last}
        every = [Archive(ledger) for ledger in self._ledgers.values()]
        publisher.readiness.ticked = bool(self._looked)
        publisher.publish_all(
            [one.evaluator for one in self._looked.values()],
            clients(settings),
            tuple(one for some in self._last.values() for one in some),
            past=Past(_courses(archives), _events(archives, every), _born(archives)),
            notebook=Notebook(_marks(every), _refused, _refused),
        )
        return faults


def _courses(archives: Mapping[str, Archive]) -> Callable[..., Mapping[int, Sequence[WindowCounts]] | None]:
    def courses(
        name: str,
        labels: Mapping[str, str],
        ends: Sequence[int],
        windows: Iterable[int],
        width: int | None = None,
    ) -> Mapping[int, Sequence[WindowCounts]] | None:
        return archives[name].courses(name, labels, ends, windows, width) if name in archives else None

    return courses


def _born(archives: Mapping[str, Archive]) -> Callable[[str, Mapping[str, str]], int | None]:
    def born(name: str, labels: Mapping[str, str]) -> int | None:
        return archives[name].born(name, labels) if name in archives else None

    return born


def _events(archives: Mapping[str, Archive], every: Sequence[Archive]) -> Callable[[Wanted], Found]:
    def events(wanted: Wanted) -> Found:
        """Of one SLO from its shard, of all from all: as many of each as the page may need."""
        own = archives.get(wanted.slo or "")
        asked = every if own is None else [own]
        whole = wanted._replace(limit=wanted.offset + wanted.limit, offset=0)
        found = [one.events(whole) for one in asked]
        ordered = list(merge(*(one.events for one in found), key=lambda event: (-event.at, event.slo)))
        unique = list({event.event_id: event for event in reversed(ordered)}.values())[::-1]
        return Found(
            tuple(unique[wanted.offset : wanted.offset + wanted.limit]), sum(one.total for one in found)
        )

    return events


def _marks(every: Sequence[Archive]) -> Callable[[Sought], Marked]:
    def marks(sought: Sought) -> Marked:
        whole = sought._replace(limit=sought.offset + sought.limit, offset=0)
        found = [one.marks(whole) for one in every]
        marked = sorted({mark for one in found for mark in one.marks}, key=lambda mark: (-mark.start, mark))
        copies = sum(len(one.marks) for one in found) - len(marked)  # marks go along when an SLO moves
        page = tuple(marked[sought.offset : sought.offset + sought.limit])
        return Marked(page, sum(one.total for one in found) - copies)

    return marks


def _refused(_: Annotation | str) -> bool:
    raise LedgerError("this page only reads the shards' ledgers: annotations go to one of the shards")
