"""Processes that commit tick after tick until they are killed; tells what is durable.

Reads lines of seconds. For each a process is forked that opens the ledger and commits; it is killed so many
seconds later. What it was told is durable stands in the lines before "killed".
"""

from __future__ import annotations

import os
import signal
import sys
import time

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Counts, Outcome, Tick


def commit_for_ever(url: str) -> None:
    """Commit from where the ledger stands."""
    with Ledger.open(url) as ledger:
        one, two = ledger.register_all([("one", {}, "h"), ("two", {}, "h")], at=0)
        at = ledger.cursor("feed") or 0
        while True:
            tick, at = Tick(at, at + 60), at + 60
            counts = {one: Counts(7, 1, Outcome.OK), two: Counts(3, 0, Outcome.OK)}
            ledger.commit(
                Entry(
                    rows=[Row.of(tick, counts)],
                    states={one: {"rule": AlertState("firing", at)}},
                    events=[Event(f"id-{at}", "one", "slo_burn_started", at, {"at": at})],
                    memories={"feed": str(at).encode()},
                    cursors={"feed": at},
                    slo_cursors={one: at, two: at},
                )
            )
            os.write(1, f"{at}\n".encode())


def main() -> None:
    """Fork, wait, kill, for each line."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            commit_for_ever(sys.argv[1])
        time.sleep(float(line))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.write(1, b"killed\n")


if __name__ == "__main__":
    main()
