"""Backfill: the past of SLOs that are new or were away, newest first, in a thread beside the ticks.

Each datasource is filled by itself: one that does not answer holds up nobody else's past.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.filling import Filler
from slo_budget_tracker.holes import Hole, Holes
from slo_budget_tracker.instances import fill_key
from slo_budget_tracker.ledger import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.filling import Filled
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Counts

    CountsByKey = Mapping[str, Mapping[int, Counts]]

PAUSE = 10.0  # seconds to wait when Prometheus cannot answer


def _nobody(_done: int, _of: int) -> None:
    """Nobody watches."""


log = structlog.get_logger()


@dataclass(slots=True)
class Backfill:
    """Fills what is not filled; goes on where it was after a restart, and begins anew with each catalogue."""

    cycle: Cycle
    on_progress: Callable[[int, int], None] = _nobody  # seconds of data time that are filled, of all
    _again: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _left: dict[str, int] = field(default_factory=dict)  # seconds of data time, by datasource
    _waits: dict[str, str] = field(default_factory=dict)  # why it waits, by datasource
    _whole: int = 0

    def start(self) -> None:
        """Fill in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="fill", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is another catalogue, or the end."""
        self._again.set()

    def join(self, timeout: float) -> None:
        """Wait until it has seen the stop."""
        self.wake()
        if self._thread is not None:
            self._thread.join(timeout)

    def run(self) -> None:
        """Fill all that is due, for each catalogue."""
        while not self.cycle.stop.is_set():
            self._again.clear()
            evaluator = self.cycle.evaluator
            asks = self.cycle.patient_asks()
            by_source: dict[str, list[Filler]] = {}
            for filler in fillers(evaluator, guard=self.cycle.lock):
                by_source.setdefault(filler.slos[0].datasource, []).append(filler)
            self._left = {name: sum(one.remaining for one in due) for name, due in by_source.items()}
            self._whole = sum(self._left.values())
            others = [
                threading.Thread(target=self._fill_all, args=(name, due, evaluator, asks), daemon=True)
                for name, due in by_source.items()
            ]
            for thread in others:
                thread.start()
            for thread in others:
                thread.join()
            self._left.clear()
            self._note()
            if self._goes_on(evaluator):
                self._again.wait()

    def _goes_on(self, evaluator: Evaluator) -> bool:
        """Whether this is still the catalogue that runs."""
        return not self.cycle.stop.is_set() and self.cycle.evaluator is evaluator

    def _fill_all(
        self, source: str, due: Sequence[Filler], evaluator: Evaluator, asks: Mapping[str, Ask]
    ) -> None:
        for done, filler in enumerate(due, start=1):
            after = sum(one.remaining for one in due[done:])
            self._fill(source, filler, after, evaluator, asks)

    def _note(self) -> None:
        self.cycle.filling = sum(self._left.values())
        self.on_progress(self._whole - self.cycle.filling, self._whole)
        self.cycle.publisher.readiness.filling = "; ".join(sorted(set(self._waits.values())))

    def _fill(
        self, source: str, filler: Filler, after: int, evaluator: Evaluator, asks: Mapping[str, Ask]
    ) -> None:
        log.info("filling from history", slos=len(filler.slos), seconds=filler.remaining, datasource=source)
        filled: Filled | None = None
        while self._goes_on(evaluator):
            try:
                filled = filled or filler.step(asks, workers=1)
                if filled is None:
                    log.info("filled", samples=filler.samples, given_up=dict(filler.given_up))
                    break
                self._add(filled, evaluator)
            except TrackerError as error:
                self._wait(source, str(error))
            except Exception as error:  # noqa: BLE001 - what is not filled stays unknown, the ticks go on
                self._wait(source, f"internal error: {type(error).__name__}: {error}")
            else:
                filled = None
                self._waits.pop(source, None)
                self._left[source] = filler.remaining + after
                self._note()
        self._waits.pop(source, None)
        self._note()

    def _add(self, filled: Filled, evaluator: Evaluator) -> None:
        """One chunk into the ledger, and onto the page; nothing of it once another catalogue runs."""
        filled_to = {fill_key(evaluator.ids[slo]): filled.filled_to for slo in filled.slos}
        with self.cycle.lock:
            if not self._goes_on(evaluator):
                return
            rows = filled.rows_after(evaluator.ledger.slo_cursor)
            evaluator.ledger.commit(Entry(rows=rows, cursors=filled_to))
            for slo, outcome in filled.newest.items():
                evaluator.seen.setdefault(slo, outcome)
            self.cycle.publisher.readiness.ticked = True
            self.cycle.show()

    def _wait(self, source: str, why: str) -> None:
        """Told once per trouble; tried again after a pause."""
        fresh = why != self._waits.get(source)
        self._waits[source] = why
        self._note()
        if fresh:
            log.warning("filling waits", datasource=source, detail=why)
            self.cycle.publisher.refresh()
        self._again.wait(PAUSE)


def fillers(evaluator: Evaluator, *, guard: AbstractContextManager[object] | None = None) -> Iterator[Filler]:
    """The fills that are due: SLOs of a datasource that are filled down to the same instant together.

    New groups are admitted under `guard`: ticks go on beside, and look at all groups.
    """
    ledger = evaluator.ledger
    guard = guard or nullcontext()

    def admit(counts: CountsByKey) -> CountsByKey:
        with guard:
            return evaluator.enrol(counts)

    together: dict[tuple[int, str, int, Hole], list[SLO]] = {}
    for slo in evaluator.slos:
        instance = evaluator.ids[slo.name]
        holes = Holes.of(ledger.cursor, instance, born=ledger.born(instance))
        for place, hole in enumerate(holes.open(slo.past)):  # the newer one of two is filled first
            together.setdefault((place, slo.datasource, holes.begun, hole), []).append(slo)
    for (_, _, begun, hole), slos in sorted(together.items(), key=lambda item: item[0]):
        filler = Filler(
            slos=slos,
            ids=evaluator.ids,
            until=begun,
            filled_to=hole.top,
            kept_to=hole.bottom,
            interval=evaluator.interval,
            delay=evaluator.delay,
            replica_labels=evaluator.replica_labels,
            admit=admit,
        ).prepare()
        if filler.remaining > 0:
            yield filler
