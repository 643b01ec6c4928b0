"""The command `slo-budget-tracker`."""

from __future__ import annotations

import sys

from slo_budget_tracker.cli.app import app
from slo_budget_tracker.cli.commands import evaluate, plan, replay, run, validate
from slo_budget_tracker.errors import TrackerError

__all__ = ["app", "evaluate", "main", "plan", "replay", "run", "validate"]


def main() -> None:
    """Run the command line; every fault is one sentence on standard error and an exit status."""
    try:
        app(prog_name="slo-budget-tracker")
    except TrackerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
