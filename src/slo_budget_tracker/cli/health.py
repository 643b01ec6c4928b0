"""`health`: the check of containers and service managers, as a command among the others."""

from __future__ import annotations

from typing import Annotated

import typer

from slo_budget_tracker.cli.app import ConfigOption, app
from slo_budget_tracker.health import check


@app.command()
def health(
    *,
    config: ConfigOption = None,
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether budgets are up to date, not only whether it lives.")
    ] = False,
) -> None:
    """Say whether the daemon of this machine is alive: exit status 0 yes, 1 no, 3 nobody answers.

    With TLS or without, with passwords or without: health needs none.

    Example: `slo-budget-tracker health -c config/slo-budget-tracker.yaml`
    """
    raise typer.Exit(check(config, ready=ready))
