"""What tests of the ledger share: rows, figures, and some traffic."""

from __future__ import annotations

import contextlib

import numpy as np

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick

NOW = 1_700_000_000 // DAY * DAY + 11 * HOUR - 30
FIRING = AlertState("firing", NOW)
WINDOWS = [300, 1800, 3600, 21_600, DAY, 3 * DAY, 7 * DAY, 30 * DAY]


def row(start, end, counts):
    """A row from `{id: (total, bad)}` or `{id: Outcome}`."""
    return Row.of(
        Tick(start, end),
        {
            number: Counts(0, 0, given) if isinstance(given, Outcome) else Counts(*given, Outcome.OK)
            for number, given in counts.items()
        },
    )


def figures(ledger, at=NOW, windows=WINDOWS):
    """All windows of all instances."""
    return ledger.history.window(at, windows)


def one(ledger, seconds, at=NOW, instance=1):
    """One window."""
    return ledger.history.window(at, [seconds])[instance][seconds]


def registered(ledger, count=2):
    """Ids of so many instances."""
    return ledger.register_all([(f"slo-{i}", {}, "h") for i in range(count)], at=NOW)


def lively(generator, span, ids):
    """A row of random traffic."""
    total = generator.poisson(1000 * span.seconds // 60, len(ids)).astype(np.float64)
    bad = generator.poisson(total / 1000).astype(np.float64)
    known = np.full(len(ids), span.seconds, np.int32)
    nothing = np.zeros(len(ids), np.int32)
    return Row(span.start, span.end, ids, total, bad, known, nothing, nothing, np.zeros(len(ids), np.uint8))


def fill(path):
    """Write until there is no space left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(512)):
            pass
