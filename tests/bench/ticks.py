"""What a steady tick costs the daemon, by part: CPU time of one process, without a server, a clock and the machine's load.

    python -m tests.bench ticks [2000] [--ticks 5] [--profile FILE]

The daemon's own cycle runs over a ledger with the rows of 30 days, at a clock of the bench's own, and is answered by
tests/bench/canned.py. What takes part in the first two ticks only, in which all series are new, is left out.
"""

from __future__ import annotations

import argparse
import cProfile
import logging
import os
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import structlog

from slo_budget_tracker import (
    evaluator,
    judging,
    ledger,
    lines,
    lulls,
    pieces,
    prometheus,
    publishing,
    reading,
    scan,
    specfiles,
    stepping,
    transport,
    views,
)
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.density import density_of
from slo_budget_tracker.inflight import AT_ONCE
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.settings import load_settings
from tests.bench.canned import Canned, Fleet
from tests.bench.cases import Case, write_config
from tests.bench.stepping import Stepped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST = 2  # ticks that are not told

# What a part does in another one is the other's.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "unpacking answers": [(transport, "_decompressed")],
    "decoding them": [(prometheus, "decode")],
    "sorting series into SLOs": [(lines.Lines, "of")],
    "counting": [(scan.Scan, "run")],
    "remembering": [(scan.Scan, "remember")],
    "the rest of counting": [(reading, "count")],
    "counts by SLO": [(reading._Brought, "reading")],
    "the rest of reading": [(reading, "read"), (evaluator.Attempts, "attempt")],
    "rows, and their staging": [(pieces.Piece, "rows"), (ledger.Ledger, "stage")],
    "windows": [(judging, "gather")],
    "verdicts": [(lulls, "snapshots"), (judging, "assess")],
    "the rest of stepping": [(stepping.Stepper, "commit")],
    "memories as bytes": [(pieces.Piece, "entry")],
    "the transaction": [(ledger.Ledger, "commit")],
    "late data": [(evaluator.Rechecks, "run"), (evaluator.Rechecks, "follow")],
    "the report": [(evaluator.Evaluator, "_report")],
    "the rest of the evaluator": [(evaluator.Evaluator, "advance")],
    "formatting gauges": [(publishing.Page, "of")],
    "the page as bytes": [(publishing.Page, "printed")],
    "compressing it": [(views, "prepare")],
    "the rest of publishing": [(publishing.Publisher, "publish")],
}


class Parts:
    """CPU seconds by part, of all threads."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner: dict[int, list[float]] = {}  # of parts under way, by thread: what others took

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at all parts."""
        with ExitStack() as stack:
            for name, places in PARTS.items():
                for owner, attribute in places:
                    stack.enter_context(
                        patch.object(owner, attribute, self._timed(name, owner.__dict__[attribute]))
                    )
            yield

    def _timed(self, name: str, found: Any) -> Any:
        function = found.__func__ if isinstance(found, classmethod) else found

        def timed(*args: Any, **further: Any) -> Any:
            with self._part(name):
                return function(*args, **further)

        def steps(*args: Any, **further: Any) -> Any:
            inner, sent = function(*args, **further), None
            while True:
                with self._part(name):
                    try:
                        wanted = inner.send(sent)
                    except StopIteration as done:
                        return done.value
                sent = yield wanted

        if function is reading.count:  # a generator, whose caller asks the server meanwhile
            return steps
        return classmethod(timed) if isinstance(found, classmethod) else timed

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        inner = self._inner.setdefault(threading.get_ident(), [])
        inner.append(0.0)
        began = time.thread_time()
        try:
            yield
        finally:
            took = time.thread_time() - began
            self.seconds[name] += took - inner.pop()
            if inner:
                inner[-1] += took


def measure(
    count: int, folder: Path, *, ticks: int, days: int = 30, profile: cProfile.Profile | None = None
) -> list[dict[str, float]]:
    """CPU seconds of each tick by part, and of all of it; with a profile only that."""
    start = int(time.time()) // 3_600 * 3_600 - 30
    config = write_config(Case(count, interval=60), folder, "http://127.0.0.1:1", 1)
    stepped = Stepped.open(config, at=start - 60)
    stepped.age(days=days, share=0.0003)
    stepped.close()
    settings = load_settings(config, {})
    slos = specfiles.load(settings.slo_files).slos
    world, now, delay = Fleet(count, start=start), [start + 30.0], settings.evaluation.delay
    sources = {name: Canned(one, world) for name, one in settings.datasources.items()}
    found, parts = [], Parts()
    with Ledger.open(settings.ledger.url, density=density_of(slos, interval=60)) as opened:
        cycle = Cycle.begin(settings, slos, opened, sources=sources, clock=lambda: now[0])
        cycle.evaluator._attempts._flights.spread = AT_ONCE
        for number in range(FIRST + ticks):
            at = start + 30 - delay + 60 * number
            now[0] = at + delay + 1.0
            world.scrape_until(at)
            for source in sources.values():
                source.expect(at)
            parts.seconds.clear()
            with nullcontext() if profile else parts.watched():
                took = _cpu(cycle.tick, profile if number >= FIRST else None)
            cycle.publisher.display.view.text.content()  # as Prometheus asks for it after each tick
            found.append({**parts.seconds, "all of it": took})
    return found[FIRST:]


def _cpu(work: Callable[[], object], profile: cProfile.Profile | None) -> float:
    began = time.process_time()
    with profile or nullcontext():
        work()
    return time.process_time() - began


def markdown(count: int, found: list[dict[str, float]]) -> str:
    """The medians as a table."""
    lines = [f"| {count:,} SLOs, a tick, median of {len(found)} | CPU | per SLO |", "|---|--:|--:|"]
    for name in (*PARTS, "all of it"):
        seconds = median(one.get(name, 0.0) for one in found)
        lines.append(f"| {name} | {1e3 * seconds:.0f} ms | {1e6 * seconds / count:.1f} µs |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=2_000)
    parser.add_argument("--ticks", type=int, default=5)
    parser.add_argument("--profile", help="write what cProfile says of the daemon's own thread to a file")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    profile = cProfile.Profile() if arguments.profile else None
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments.slos, Path(folder), ticks=arguments.ticks, profile=profile)
    if profile:
        profile.dump_stats(arguments.profile)
    else:
        print(markdown(arguments.slos, found))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
