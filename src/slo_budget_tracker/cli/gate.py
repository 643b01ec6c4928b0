"""`gate`: may deploys go on? The exit status is the answer, for pipelines."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slo_budget_tracker import gates
from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, configuration_of, files_of, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption
from slo_budget_tracker.density import density_of
from slo_budget_tracker.errors import DaemonError, PrometheusError, UsageError
from slo_budget_tracker.inquiries import gate_json
from slo_budget_tracker.lookout import last_verdicts
from slo_budget_tracker.remote import ask
from slo_budget_tracker.shelves import shelves

if TYPE_CHECKING:
    from pathlib import Path

    from slo_budget_tracker.settings import DaemonSettings

FROZEN = 1
NOT_YET = "the ledger does not know it yet"


class Unknown(StrEnum):
    """What an answer that nobody can give means."""

    closed = "closed"
    open = "open"


@app.command()
def gate(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of SLOs; all when none is given.", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--url",
            help="Ask the daemon at this address instead of reading its ledger; login and certificates are "
            "`daemon.basic_auth` and `daemon.tls` of the configuration or the environment.",
        ),
    ] = None,
    min_remaining: Annotated[
        str, typer.Option("--min-remaining", help="The share of the budget that must remain, such as 10%.")
    ] = "0%",
    on_unknown: Annotated[
        Unknown, typer.Option("--on-unknown", help="Whether deploys go on when nobody can say.")
    ] = Unknown.closed,
    output: OutputOption = Output.table,
) -> None:
    """Say whether deploys may go on: exit status 0 go, 1 freeze, 3 nobody can say (stale, no data).

    With `--on-unknown open` the status is 0 where nobody can say.

    Example: `slo-budget-tracker gate --url http://localhost:9724 checkout-availability --min-remaining 10%`
    """
    least = _share(min_remaining)
    daemon = settings_of(config).daemon
    if url is not None:
        daemon = daemon.model_copy(update={"url": url})
    if daemon.url is not None:
        answer = _asked(daemon, names or [], least, on_unknown)
    else:
        answer = _read(config, names or [], least, on_unknown)
    if output is Output.json:
        tables.print_json(answer)
    else:
        for one in answer["slos"]:
            typer.echo(f"{one['decision']}: {one['name']}{_labels(one['labels'])}: {one['reason']}")
        typer.echo(f"deploys may go on: {'yes' if answer['allowed'] else 'no'} ({answer['decision']})")
    if not answer["allowed"]:
        raise typer.Exit(FROZEN if answer["decision"] == "freeze" else PrometheusError.exit_status)


def _read(config: Path | None, names: list[str], least: float, on_unknown: Unknown) -> dict[str, Any]:
    configuration = configuration_of(files_of(config))
    settings, slos = configuration.settings, configuration.catalogue.slos
    known = {slo.name for slo in slos}
    for name in names:
        if name not in known:
            raise UsageError(
                f"no SLO named {name!r}, expected one of {', '.join(sorted(known)) or 'none at all'}"
            )
    density = density_of(slos, interval=settings.evaluation.interval)
    wanted = [slo for slo in slos if not names or slo.name in names]
    with shelves(settings.ledger.database, wanted, density=density) as there:
        found = [one for shelf in there for one in last_verdicts(shelf.ledger, shelf.slos, settings)]
        moving = {name for shelf in there for name in shelf.moving}
    now, delay = time.time(), settings.evaluation.delay
    answers = [gates.judge(one, now=now, least=least, delay=delay) for one in found]
    for name in sorted({*(names or known)} - {one.name for one in found}):
        why = "it goes from one shard to another just now" if name in moving else NOT_YET
        sys.stderr.write(f"unknown: {name}: {why}\n")
    answer: dict[str, Any] = gate_json(answers, on_unknown=on_unknown)
    if {*(names or known)} - {one.name for one in found} and answer["decision"] == "go":
        answer |= {"decision": "unknown", "allowed": on_unknown is Unknown.open}
    return answer


def _asked(daemon: DaemonSettings, names: list[str], least: float, on_unknown: Unknown) -> dict[str, Any]:
    """The answer of a daemon; what is not one is as if there was none."""
    query = [
        *(("slo", name) for name in names),
        ("min_remaining", str(least)),
        ("on_unknown", on_unknown.value),
    ]
    try:
        body = ask(daemon, "/api/v1/gate", query)
    except DaemonError as error:
        sys.stderr.write(f"{error}\n")
        return {"allowed": on_unknown is Unknown.open, "decision": "unknown", "slos": []}
    if not isinstance(body, dict) or "decision" not in body:
        sys.stderr.write("what answers there is no gate\n")
        return {"allowed": on_unknown is Unknown.open, "decision": "unknown", "slos": []}
    return body


def _share(text: str) -> float:
    """A share as people write it: 10% or 0.1."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--min-remaining: {text!r}, expected a share such as 10% or 0.1")
    return share


def _labels(labels: dict[str, str]) -> str:
    return "".join(f" {key}={value}" for key, value in labels.items())
