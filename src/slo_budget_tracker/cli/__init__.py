"""The command `slo-budget-tracker`."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import NoReturn

from slo_budget_tracker.cli.annotate import annotate
from slo_budget_tracker.cli.app import app, arrange
from slo_budget_tracker.cli.audit import audit
from slo_budget_tracker.cli.commands import evaluate, plan, replay, run, validate
from slo_budget_tracker.cli.convert import convert
from slo_budget_tracker.cli.corrections import corrections
from slo_budget_tracker.cli.diff import diff
from slo_budget_tracker.cli.discover import discover
from slo_budget_tracker.cli.docs import docs
from slo_budget_tracker.cli.gate import gate
from slo_budget_tracker.cli.health import health
from slo_budget_tracker.cli.ledger import ledger
from slo_budget_tracker.cli.report import report
from slo_budget_tracker.errors import PrometheusError, TrackerError, UsageError

USAGE = UsageError.exit_status
arrange()

__all__ = [
    "annotate",
    "app",
    "audit",
    "convert",
    "corrections",
    "diff",
    "discover",
    "docs",
    "evaluate",
    "gate",
    "health",
    "ledger",
    "main",
    "plan",
    "replay",
    "report",
    "run",
    "validate",
]


def main() -> None:
    """Run the command line; every fault is one sentence on standard error and an exit status."""
    try:
        sys.exit(app(prog_name="slo-budget-tracker", standalone_mode=False) or 0)
    except TrackerError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # what could not be written is not tried again at exit
        _fail(f"{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - never a traceback: a sentence that can be reported
        _misused(error)
        _fail(f"internal error, please report it: {type(error).__name__}: {error}")


def _misused(error: Exception) -> None:
    """One sentence about words that typer does not know; its errors are click's, under several names."""
    told, status = getattr(error, "format_message", None), getattr(error, "exit_code", None)
    if type(error).__name__ == "NoArgsIsHelpError" and hasattr(error, "show"):
        error.show()
        sys.exit(USAGE)
    if told is None or not isinstance(status, int):
        return
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "slo-budget-tracker")
    sentence = " ".join(str(told()).split()).replace("Value error, ", "")
    sys.stderr.write(f"{sentence.rstrip('.')}; see {path} --help\n")
    sys.exit(status)


def _fail(sentence: str) -> NoReturn:
    """Nobody can say: not the answer is bad, there is none."""
    sys.stderr.write(f"{sentence}\n")
    sys.exit(PrometheusError.exit_status)
