"""`diff`: what a reload of some files would change in the running daemon, and which counts are kept."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from slo_budget_tracker.changes import compare, remembered
from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rollcall import DEFINITIONS
from slo_budget_tracker.specfiles import load

_COUNTS = {"added": "begin", "removed": "end", True: "kept", False: "begin anew"}


@app.command()
def diff(
    paths: Annotated[list[Path], typer.Argument(help="SLO files or folders.", show_default=False)],
    *,
    config: ConfigOption = None,
    output: OutputOption = Output.table,
) -> None:
    """Compare SLO files with what the daemon's ledger runs on: what a reload of them would change.

    Example: `slo-budget-tracker diff -c config/slo-budget-tracker.yaml slos/`
    """
    settings = settings_of(config)
    catalogue = load(paths, tick=settings.evaluation.interval, scrapes=settings.scrapes)
    for warning in catalogue.warnings:
        sys.stderr.write(f"{warning}\n")
    with closing(Ledger.open(settings.ledger.database, read_only=True)) as ledger:
        before = remembered(ledger.meta.get(DEFINITIONS))
    known = {name: one for name, one in before.items() if one.gone is None}
    changes = tuple(compare(known, catalogue.slos))
    if output is Output.json:
        tables.print_json([change.to_json() for change in changes])
        return
    rows = [
        (
            change.slo,
            change.what.partition("; ")[0],
            _COUNTS[change.kind if change.kind != "changed" else change.counts_kept],
        )
        for change in changes
    ]
    if rows:
        tables.print_rows(("SLO", "change", "counts"), rows)
    unchanged = len(known) - sum(change.old is not None for change in changes)
    typer.echo(f"{len(changes)} changes, {unchanged} SLOs stay as they are")
