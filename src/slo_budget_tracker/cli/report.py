"""`report`: a period's error budgets for people who were not there."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from slo_budget_tracker.cli.app import ConfigOption, app, configuration_of, files_of
from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.periods import Period
from slo_budget_tracker.printouts import FORMATS
from slo_budget_tracker.reviews import review
from slo_budget_tracker.shelves import shelves
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.ticks import align_down


class Format(StrEnum):
    """How a report is written."""

    md = "md"
    html = "html"
    json = "json"
    csv = "csv"


@app.command()
def report(
    *,
    period: Annotated[str, typer.Option("--period", help="2026-10, 2026-Q3, 2026, 2026-10-05 or FROM..TO.")],
    config: ConfigOption = None,
    form: Annotated[
        Format, typer.Option("--format", help="Markdown, HTML (one file), JSON or CSV.")
    ] = Format.md,
) -> None:
    """Report a month, quarter, year or any period from the ledger: budgets, days, worst hours, events.

    Where shards share the ledger's database, it is the report over all of them.

    Example: `slo-budget-tracker report -c config/slo-budget-tracker.yaml --period 2026-10 --format html`
    """
    try:
        asked = Period.of(period, now=time.time())
    except ValueError as error:
        raise UsageError(f"--period: {error}") from error
    configuration = configuration_of(files_of(config))
    place, slos = configuration.settings.ledger.database, configuration.catalogue.slos
    grid = configuration.settings.evaluation
    density = density_of(slos, interval=grid.interval)
    with shelves(place, slos, density=density) as there:
        newest = max((shelf.ledger.history.newest or 0 for shelf in there), default=0)
        if asked.start < newest < asked.end:
            asked = asked._replace(end=newest)
        at = align_down(asked.end, interval=grid.interval, delay=grid.delay)
        found = review(there, slos, asked, Clock(at, grid.interval))
    typer.echo(FORMATS[form.value](found, asked), nl=False)
