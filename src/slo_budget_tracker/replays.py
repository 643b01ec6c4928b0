"""The daemon's cycle over past time: `evaluate` looks at one instant, `replay` steps every tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import QueryFailed, QueryRejected
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.filling import Filler
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.reading import PERMANENT
from slo_budget_tracker.ticks import align_down

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slo_budget_tracker.errors import PrometheusError
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.verdict import Transition

    Progress = Callable[[int, int], None]  # seconds of data time done, of all

REPLAY_PIECE = 6 * 3_600


@dataclass(frozen=True, slots=True)
class Grid:
    """The tick grid and how the datasources are asked."""

    interval: int = 60
    delay: int = 30
    workers: int = 4
    replica_labels: Mapping[str, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What the daemon would have done between two data instants."""

    start: int
    end: int
    ticks: int
    transitions: tuple[Transition, ...]
    final: tuple[SLOSnapshot, ...]
    errors: Mapping[str, str]  # why something could not be read
    out_of_reach: bool = False  # of these errors, some are not refusals: the server did not answer


def evaluate_at(
    slos: Sequence[SLO],
    asks: Mapping[str, Ask],
    *,
    at: float,
    grid: Grid = Grid(),
    progress: Progress | None = None,
    refused: dict[str, PrometheusError] | None = None,
) -> tuple[SLOSnapshot, ...]:
    """The figures of each SLO at the data instant `at` (aligned down), from Prometheus alone.

    `refused` is filled, by SLO, with why something of it could not be read.

    Raises:
        PrometheusError: Prometheus is out of reach or refuses to answer.
    """
    instant = align_down(at, interval=grid.interval, delay=grid.delay)
    with Ledger.open("sqlite://", density=density_of(slos, interval=grid.interval)) as ledger:
        evaluator = _evaluator(slos, asks, ledger, grid).prepare(instant)
        _, reasons = _fill(evaluator, instant, progress, extra=0)
        if refused is not None:
            refused.update(reasons)
        return evaluator.look(instant)


def replay(
    slos: Sequence[SLO],
    asks: Mapping[str, Ask],
    *,
    start: float,
    end: float,
    grid: Grid = Grid(),
    progress: Progress | None = None,
) -> Replay:
    """Step every tick between two instants (aligned down) after filling the window before `start`.

    Raises:
        PrometheusError: Prometheus is out of reach or refuses to answer.
    """
    first = align_down(start, interval=grid.interval, delay=grid.delay)
    last = align_down(end, interval=grid.interval, delay=grid.delay)
    transitions: list[Transition] = []
    errors: dict[str, str] = {}
    out_of_reach = False
    with Ledger.open("sqlite://", density=density_of(slos, interval=grid.interval)) as ledger:
        evaluator = _evaluator(slos, asks, ledger, grid).prepare(first)
        total, reasons = _fill(evaluator, first, progress, extra=last - first)
        at = first
        report = None
        while at < last:
            at = min(at + REPLAY_PIECE, last)
            report = evaluator.advance(at)
            transitions += report.transitions
            errors.update({key: str(error) for key, error in report.errors.items()})
            out_of_reach |= not all(isinstance(error, PERMANENT) for error in report.errors.values())
            if progress is not None:
                progress(total - (last - at), total)
        final = report.snapshots if report is not None else evaluator.look(last)
    return Replay(
        start=first,
        end=last,
        ticks=(last - first) // grid.interval,
        transitions=tuple(transitions),
        final=final,
        errors={**{slo: str(error) for slo, error in reasons.items()}, **errors},
        out_of_reach=out_of_reach or not all(map(is_of_a_query, reasons.values())),
    )


def is_of_a_query(error: PrometheusError) -> bool:
    """Whether an error says that a query is wrong, not that the server cannot be used."""
    return isinstance(error, (QueryRejected, QueryFailed))


def _evaluator(slos: Sequence[SLO], asks: Mapping[str, Ask], ledger: Ledger, grid: Grid) -> Evaluator:
    return Evaluator(
        slos=slos,
        ledger=ledger,
        asks=asks,
        interval=grid.interval,
        delay=grid.delay,
        workers=grid.workers,
        replica_labels=grid.replica_labels or {},
    )


def _fill(
    evaluator: Evaluator, until: int, progress: Progress | None, *, extra: int
) -> tuple[int, Mapping[str, PrometheusError]]:
    """Fill the past of a fresh ledger; the seconds that all work covers, and what was refused."""
    filler = Filler(
        slos=evaluator.slos,
        ids=evaluator.ids,
        until=until,
        filled_to=until,
        interval=evaluator.interval,
        delay=evaluator.delay,
        replica_labels=evaluator.replica_labels,
        admit=evaluator.enrol,
    ).prepare()
    total = filler.remaining + extra
    while (filled := filler.step(evaluator.asks, workers=evaluator.workers)) is not None:
        rows = filled.rows_after(evaluator.ledger.slo_cursor)
        evaluator.ledger.commit(Entry(rows=rows))
        if filled.newest and filled.filled_to < until and not evaluator.seen:
            evaluator.seen.update(filled.newest)
        if progress is not None:
            progress(total - extra - filler.remaining, total)
    if (error := filler.in_vain) is not None:
        raise error
    return total, filler.reasons
