"""Horizons: how far back each datasource's own history reaches, beside what windows want and the ledger has.

A window that is longer than the server's retention is known only as far as the ledger goes (P22): until the
daemon has run for a whole window its coverage is below 1. A server that lost its data, or was replaced by an
empty one, has less than the ledger (P21): then the ledger is the only place that still knows. Neither is an
error, both are told: in the log once, in `/api/v1/status`, on the pages, and as a gauge.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import structlog

from slo_budget_tracker.answers import Query
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reaches import reach_of, said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slo_budget_tracker.cycle import Cycle
    from slo_budget_tracker.evaluator import Evaluator
    from slo_budget_tracker.reading import Ask

SHORTER_WINDOW = "upstream_history_shorter_than_window"
SHORTER_STORE = "upstream_history_shorter_than_store"
HOUR = 3_600
EVERY = 3_600.0  # seconds between two looks
AGAIN = 30.0  # after one that was in vain
SPAN = 300  # seconds in which a scraped series has a sample
SLACK = HOUR  # seconds by which two histories may differ
MOST_SUBJECTS = 3

log = structlog.get_logger()


class Remark(NamedTuple):
    """What is to be known about a datasource's history: a word for machines, a sentence for people."""

    kind: str
    datasource: str
    text: str


@dataclass(slots=True)
class Horizons:
    """Looks at the start and once an hour, in a thread of its own; a look is one small query as a rule."""

    cycle: Cycle
    _told: set[tuple[str, str]] = field(default_factory=set)

    def start(self) -> None:
        """Look until the daemon stops."""
        threading.Thread(target=self.run, name="horizons", daemon=True).start()

    def run(self) -> None:
        """One look after the other; what goes wrong is told by the ticks."""
        pause = 0.0
        while not self.cycle.stop.wait(pause):
            try:
                pause = EVERY if self.look() else AGAIN
            except Exception as error:  # noqa: BLE001 - a look that fails must end nothing else (T12)
                log.warning("no look at the servers' history", detail=f"{type(error).__name__}: {error}")
                pause = EVERY

    def look(self) -> bool:
        """Ask each datasource, and publish what is to be known; whether all of them could say."""
        evaluator, asks = self.cycle.evaluator, self.cycle.patient_asks()
        at = self.cycle.now()
        reaches: dict[str, float] = {}
        remarks: list[Remark] = []
        answered = True
        for name in sorted({slo.datasource for slo in evaluator.slos}):
            wanted = max(slo.past for slo in evaluator.slos if slo.datasource == name)
            try:
                found = reach(asks[name], subjects(evaluator, name), at=at, wanted=wanted)
            except TrackerError:
                answered = False
                continue
            if found is None:
                answered = False  # nobody scrapes anything yet
                continue
            reaches[name] = found
            remarks += judged(evaluator, name, at=at, wanted=wanted, reaches=found)
        self._tell(remarks)
        self.cycle.publisher.horizons(reaches, [one.text for one in remarks])
        return answered

    def _tell(self, remarks: Iterable[Remark]) -> None:
        """One line when something begins to be so."""
        now = {(one.kind, one.datasource): one for one in remarks}
        for key in now.keys() - self._told:
            log.warning(now[key].kind, datasource=now[key].datasource, detail=now[key].text)
        self._told = set(now)


def subjects(evaluator: Evaluator, datasource: str) -> Iterator[str]:
    """Series that tell how far back a server goes: what every scrape leaves, else what the SLOs count."""
    yield f"up[{SPAN}s]"
    planned = plan(evaluator.slos, replica_labels=evaluator.replica_labels)
    feeds = [feed for feed in planned.raw if feed.datasource == datasource]
    for feed in feeds[:MOST_SUBJECTS]:
        yield feed.expressions(SPAN)[0]


def reach(ask: Ask, subjects: Iterable[str], *, at: int, wanted: int) -> int | None:
    """Seconds before `at` for which the server has samples, at most `wanted`; None where it has none now.

    Raises:
        PrometheusError: the server cannot be asked now.
    """
    subject = next((one for one in subjects if _has(ask, one, at)), None)
    if subject is None:
        return None
    return reach_of(lambda span: _has(ask, subject, at - span), wanted=wanted, least=SPAN)


def _has(ask: Ask, subject: str, at: int) -> bool:
    answer = ask(Query(f"count(count_over_time({subject}))", at))
    return any(value > 0 for series in answer.series for value in series.values)


def judged(evaluator: Evaluator, datasource: str, *, at: int, wanted: int, reaches: int) -> Iterator[Remark]:
    """What a history of this length means for the SLOs of a datasource."""
    slack = max(SLACK, wanted // 50)
    if reaches >= wanted - slack:
        return
    slos = [slo for slo in evaluator.slos if slo.datasource == datasource]
    ids, longest = [evaluator.ids[slo.name] for slo in slos], max(slo.window for slo in slos)
    ledger = evaluator.ledger
    with ledger.still():
        windows = ledger.history.window(at, [reaches, wanted], ids=ids)
    older = max(windows[one][wanted].known - windows[one][reaches].known for one in ids)
    here, there = said(reaches), format_duration(longest)
    if older > slack:
        text = (
            f"{datasource} has samples of about the last {here} only, the ledger knows "
            f"{said(older)} more: budgets go on from the ledger"
        )
        yield Remark(SHORTER_STORE, datasource, text)
    if reaches + older < longest - slack:
        text = (
            f"{datasource} has samples of about the last {here} only, the longest window is {there}: "
            "until the daemon has run for so long its coverage is below 1"
        )
        yield Remark(SHORTER_WINDOW, datasource, text)
