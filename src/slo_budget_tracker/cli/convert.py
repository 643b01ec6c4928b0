"""`convert`: SLO files of any accepted format to the native one, and the native one to others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from slo_budget_tracker.cli.app import ConfigOption, app, settings_of
from slo_budget_tracker.conversions import Target, as_far_as_possible
from slo_budget_tracker.specfiles import catalogue_of, understand

DEFAULT_TICK = 60


@app.command()
def convert(
    paths: Annotated[list[Path], typer.Argument(help="SLO files or folders.", show_default=False)],
    *,
    to: Annotated[Target, typer.Option("--to", help="The format to write.")] = Target.NATIVE,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file; standard output when not given.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Write SLO files in another format: Sloth, Pyrra, OpenSLO, slo-generator to native, native to others.

    What the other format cannot say is named and left out, with exit status 1; the rest is written. What is
    only called differently is a warning.

    Example: `slo-budget-tracker convert sloth/ --to native -o slos/imported.yaml`
    """
    tick = settings_of(config).evaluation.interval if config is not None else DEFAULT_TICK
    files = understand(paths, tick=tick)
    found = as_far_as_possible(files, to, tick=tick)
    for fault in (*catalogue_of(files).warnings, *found.warnings, *found.refused):
        sys.stderr.write(f"{fault}\n")
    if output is None:
        typer.echo(found.text, nl=False)
    else:
        with output.open("x", encoding="utf-8") as file:
            file.write(found.text)
    if found.refused:
        left_out = len({(one.file, one.line) for one in found.refused})
        sys.stderr.write(f"{left_out} of {len(catalogue_of(files).slos)} SLOs are left out\n")
        raise typer.Exit(1)
