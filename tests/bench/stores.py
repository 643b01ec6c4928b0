"""What a ledger costs on disk: bytes per SLO, opening after years, a day's ticks, retention and a backup."""

from __future__ import annotations

import sqlite3
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from slo_budget_tracker import garbage, tables
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.retention import KEEP_EVENTS
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400
NOW = 1_700_000_000 // DAY * DAY - 30
OLD = NOW - KEEP_EVENTS - 100 * DAY
EVENTS = 2_000
TICKS = 1_560  # a day and two hours


def row(generator: np.random.Generator, span: Tick, ids: np.ndarray) -> Row:
    """Random traffic: a thousand requests a minute, one in a thousand bad."""
    total = generator.poisson(1000 * span.seconds // 60, len(ids)).astype(np.float64)
    bad = generator.poisson(total / 1000).astype(np.float64)
    known, nothing = np.full(len(ids), span.seconds, np.int32), np.zeros(len(ids), np.int32)
    outcome = np.zeros(len(ids), np.uint8)
    return Row(span.start, span.end, ids, total, bad, known, nothing, nothing, outcome)


@contextmanager
def timed(figures: dict[str, float], name: str) -> Iterator[None]:
    """Seconds of wall time, and of CPU, under a name."""
    begun, worked = time.perf_counter(), time.process_time()
    yield
    figures[name] = time.perf_counter() - begun
    figures[f"{name}_cpu"] = time.process_time() - worked


def measure(folder: Path, *, slos: int, days: int, ticks: int = TICKS) -> dict[str, float]:
    """The figures of one ledger."""
    figures: dict[str, float] = {}
    url, file = f"sqlite:///{folder / 'ledger.db'}", folder / "ledger.db"
    generator = np.random.default_rng(1)
    with Ledger.open(url) as ledger:
        ids = np.array(ledger.register_all([(f"slo-{i}", {}, "h") for i in range(slos)], at=NOW))
        spans = ledger.history.density.spans(NOW - days * DAY, NOW, interval=60, delay=30)
        for part in range(0, len(spans), 500):
            ledger.commit(Entry(rows=[row(generator, span, ids) for span in spans[part : part + 500]]))
    figures["bytes"] = file.stat().st_size
    with timed(figures, "open"):
        ledger = Ledger.open(url)
    with ledger:
        figures["memory"] = ledger.history.nbytes
        figures["events"] = events(ledger, file)
        with garbage.waiting():  # as in the daemon's ticks
            figures |= commits(ledger, generator, ids, ticks)
        figures["events_left"] = len(ledger.events(limit=EVENTS))
        with timed(figures, "backup"):
            ledger.keep_backup(time.time())
        with timed(figures, "check"):
            assert not ledger.check()
    return figures


def commits(ledger: Ledger, generator: np.random.Generator, ids: np.ndarray, ticks: int) -> dict[str, float]:
    """The slowest of a day's ticks by wall time and by CPU, with merging and retention among them, and the median."""
    wall, cpu = [], []
    for end in range(NOW + 60, NOW + 60 * ticks + 60, 60):
        entry = Entry(rows=[row(generator, Tick(end - 60, end), ids)], cursors={"feed": end})
        begun, worked = time.perf_counter(), time.process_time()
        ledger.commit(entry)
        wall.append(time.perf_counter() - begun)
        cpu.append(time.process_time() - worked)
    return {"commit": max(wall), "commit_cpu": max(cpu), "common_commit_cpu": float(np.median(cpu))}


def events(ledger: Ledger, file: Path) -> float:
    """Bytes of an event with a payload of common size; all were delivered so long ago that they may go."""
    before = pages(file)
    payload = {"reason": "x" * 500}
    ledger.commit(
        Entry(
            events=[Event(f"{n:032x}", f"slo-{n % 10}", "slo_recovered", OLD, payload) for n in range(EVENTS)]
        )
    )
    bytes_each = (pages(file) - before) / EVENTS
    with ledger.transaction() as connection:
        connection.execute(sa.update(tables.deliveries).values(state="delivered"))
    return bytes_each


def pages(file: Path) -> int:
    """Bytes of the file once its log is in it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    return file.stat().st_size


def markdown(found: dict[tuple[int, int], dict[str, float]]) -> str:
    """The figures as a table."""
    lines = [
        "Times are wall (CPU).",
        "",
        "| SLOs | days | file | per SLO | opens in | slowest of a day's commits | a backup | a check |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (slos, days), one in found.items():
        lines.append(
            f"| {slos:,} | {days:,} | {one['bytes'] / 1e6:.1f} MB | {one['bytes'] / slos / 1024:.1f} KiB "
            f"| {seconds(one, 'open')} | {seconds(one, 'commit')} | {seconds(one, 'backup')} "
            f"| {seconds(one, 'check')} |"
        )
    each = next(iter(found.values()))["events"]
    return "\n".join([*lines, "", f"An event takes {each / 1024:.1f} KiB."])


def seconds(one: dict[str, float], name: str) -> str:
    """Wall time and CPU time."""
    return f"{one[name]:.3f} s ({one[f'{name}_cpu']:.3f})"


def main() -> None:
    """Thirty days, a year and ten years of a hundred and of a thousand SLOs."""
    found = {}
    for slos in (100, 1000):
        for days in (30, 365, 3650):
            with tempfile.TemporaryDirectory() as folder:
                found[slos, days] = measure(Path(folder), slos=slos, days=days)
    print(markdown(found))
