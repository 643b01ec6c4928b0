"""Searches: which events the audit stream has of us, from its newest one down as far as need be.

The server shows the last so many events of a source, and single ones by number. So a list is asked for and
made longer; where it is too long to be read it is made shorter, and what is further back is looked at one by
one, some at a time. What was looked at is kept for the server's life: a search that was interrupted goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker.auditstream import MOST_EVENTS
from slo_budget_tracker.errors import AuditError
from slo_budget_tracker.receipts import receipt_of, receipts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from slo_budget_tracker.auditstream import AuditStream
    from slo_budget_tracker.outbox import Receipt

FIRST_LIMIT = 1_000  # events in the first list
GROWTH = 3  # each longer list
SINGLES = 500  # events looked at one by one in one turn


@dataclass(slots=True)
class Search:
    """What is known of the server's events.

    Attributes:
        instances: under which names our events were sent.
        found: receipts by event id, the oldest first.
        spans: the numbers that were looked at, first and last of each, the newest behind.
        limit: how long the first list may be.
    """

    instances: Collection[str]
    found: dict[str, list[Receipt]] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)
    limit: int = FIRST_LIMIT

    def go_on(
        self,
        stream: AuditStream,
        *,
        wanted: Collection[str] | None,
        floor: int,
        stop: Callable[[], bool],
    ) -> bool:
        """Look at what is new, then further back, until all that is `wanted` is found or `floor` is reached.

        Without `wanted`, everything down to the floor. Returns whether the search has come to its end.

        Raises:
            AuditError: the server cannot be asked now; what was found stays found.
        """
        self._newest(stream, wanted, floor)
        for _ in range(SINGLES):
            if self._is_over(wanted, floor) or stop():
                break
            number = self.spans[-1][0] - 1
            self._take([_single(stream, number)], number, number)
        return self._is_over(wanted, floor)

    def _newest(self, stream: AuditStream, wanted: Collection[str] | None, floor: int) -> None:
        """The newest events: a list that is made longer while that helps, shorter where it is too long."""
        limit = self.limit = min(self.limit * 10, FIRST_LIMIT)
        begun = False
        while not (begun and self._is_over(wanted, floor)):
            try:
                listed = stream.events(limit=limit)
            except AuditError as error:
                if error.reason != "too_large":
                    raise
                if begun:
                    return
                if limit == 1:
                    newest = stream.newest()
                    self._take([], newest + 1, newest)
                    return  # one by one from there
                limit = self.limit = max(limit // 10, 1)
                continue
            begun = True
            numbers = [receipt.server_event_id for one in listed if (receipt := receipt_of(one)) is not None]
            whole = len(listed) < limit or not numbers
            self._take(listed, 1 if whole else min(numbers), max(numbers, default=1))
            if limit < FIRST_LIMIT or limit >= MOST_EVENTS:
                return  # further back one by one
            limit = min(limit * GROWTH, MOST_EVENTS)

    def _take(self, documents: Iterable[Any], low: int, high: int) -> None:
        """Note what was looked at."""
        spans: list[tuple[int, int]] = []
        for first, last in sorted([*self.spans, (low, high)]):
            if spans and first <= spans[-1][1] + 1:
                spans[-1] = (spans[-1][0], max(spans[-1][1], last))
            else:
                spans.append((first, last))
        self.spans = spans
        for event_id, some in receipts(documents, self.instances).items():
            known = {one.server_event_id: one for one in (*self.found.get(event_id, ()), *some)}
            self.found[event_id] = [known[number] for number in sorted(known)]

    def _is_over(self, wanted: Collection[str] | None, floor: int) -> bool:
        all_found = wanted is not None and self.found.keys() >= set(wanted)
        return all_found or self.spans[-1][0] - 1 <= floor


def _single(stream: AuditStream, number: int) -> Any:
    """One event; one that is too large to be read is none of ours."""
    try:
        return stream.event(number)
    except AuditError as error:
        if error.reason != "too_large":
            raise
        return None
