"""Backfill: the past of SLOs that are new or were away, newest first, in a thread beside the ticks."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.filling import Filler
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.rollcall import added_key, fill_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.filling import Filled
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Counts

    CountsByKey = Mapping[str, Mapping[int, Counts]]

PAUSE = 10.0  # seconds to wait when Prometheus cannot answer

log = structlog.get_logger()


@dataclass(slots=True)
class Backfill:
    """Fills what is not filled; goes on where it was after a restart, and begins anew with each catalogue."""

    cycle: Cycle
    _again: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

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
            for filler in fillers(evaluator, guard=self.cycle.lock):
                self._fill(filler, evaluator, asks)
            self.cycle.filling = 0
            if self._goes_on(evaluator):
                self._again.wait()

    def _goes_on(self, evaluator: Evaluator) -> bool:
        """Whether this is still the catalogue that runs."""
        return not self.cycle.stop.is_set() and self.cycle.evaluator is evaluator

    def _fill(self, filler: Filler, evaluator: Evaluator, asks: Mapping[str, Ask]) -> None:
        cycle = self.cycle
        cycle.filling = filler.remaining
        log.info("filling from history", slos=len(filler.slos), seconds=filler.remaining)
        filled: Filled | None = None
        while self._goes_on(evaluator):
            try:
                filled = filled or filler.step(asks, workers=1)
                if filled is None:
                    log.info("filled", samples=filler.samples, given_up=dict(filler.given_up))
                    break
                self._add(filled, evaluator)
            except TrackerError as error:
                self._wait(str(error))
            except Exception as error:  # noqa: BLE001 - what is not filled stays unknown, the ticks go on
                self._wait(f"internal error: {type(error).__name__}: {error}")
            else:
                filled, cycle.publisher.readiness.filling = None, ""
                cycle.filling = filler.remaining
        cycle.publisher.readiness.filling = ""

    def _add(self, filled: Filled, evaluator: Evaluator) -> None:
        """One chunk into the ledger, and onto the page; nothing of it once another catalogue runs."""
        filled_to = {fill_key(evaluator.ids[slo]): filled.filled_to for slo in filled.slos}
        with self.cycle.lock:
            if not self._goes_on(evaluator):
                return
            evaluator.ledger.commit(Entry(rows=filled.rows, cursors=filled_to))
            for slo, outcome in filled.newest.items():
                evaluator.seen.setdefault(slo, outcome)
            self.cycle.show()

    def _wait(self, why: str) -> None:
        """Told once per trouble; tried again after a pause."""
        readiness = self.cycle.publisher.readiness
        if why != readiness.filling:
            log.warning("filling waits", detail=why)
        readiness.filling = why
        self._again.wait(PAUSE)


def fillers(evaluator: Evaluator, *, guard: AbstractContextManager[object] | None = None) -> Iterator[Filler]:
    """The fills that are due: SLOs that are filled down to the same instant are filled together.

    New groups are admitted under `guard`: ticks go on beside, and look at all groups.
    """
    ledger = evaluator.ledger
    guard = guard or nullcontext()

    def admit(counts: CountsByKey) -> CountsByKey:
        with guard:
            return evaluator.enrol(counts)

    together: dict[tuple[int, int], list[SLO]] = {}
    for slo in evaluator.slos:
        instance = evaluator.ids[slo.name]
        came_back = ledger.cursor(added_key(instance))
        born = ledger.born(instance) if came_back is None else came_back
        filled_to = ledger.cursor(fill_key(instance))
        together.setdefault((born, born if filled_to is None else filled_to), []).append(slo)
    for (born, filled_to), slos in sorted(together.items(), key=lambda item: item[0]):
        filler = Filler(
            slos=slos,
            ids=evaluator.ids,
            until=born,
            filled_to=filled_to,
            interval=evaluator.interval,
            delay=evaluator.delay,
            replica_labels=evaluator.replica_labels,
            admit=admit,
        ).prepare()
        if filler.remaining > 0:
            yield filler
