"""Processes that open a ledger with the migrations of another folder, and upgrade it by that, until they are killed.

Reads lines of seconds. For each a process is forked that opens the ledger; it is killed so many seconds later,
and the line "done" or "killed" says whether it was through by then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import alembic.command
import alembic.config  # noqa: F401

from slo_budget_tracker import migrations
from slo_budget_tracker.ledger import Ledger


def main() -> None:
    """Fork, wait, kill, for each line."""
    url, folder = sys.argv[1:]
    migrations.REVISIONS = tuple(sorted(file.name[1:5] for file in (Path(folder) / "versions").glob("v*.py")))
    migrations.__file__ = str(Path(folder) / "__init__.py")
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            Ledger.open(url).close()
            os._exit(0)
        time.sleep(float(line))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print("done" if status == 0 else "killed", flush=True)


if __name__ == "__main__":
    main()
