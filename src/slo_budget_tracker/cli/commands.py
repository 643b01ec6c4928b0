"""The commands: each reads its options, calls one room, prints."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slo_budget_tracker import garbage, logs
from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import (
    ConfigOption,
    app,
    configuration_of,
    files_of,
    instant,
    pinned_progress,
    progress,
    settings_of,
)
from slo_budget_tracker.composites import members_of
from slo_budget_tracker.daemon import Daemon
from slo_budget_tracker.doctor import Doctor
from slo_budget_tracker.errors import PrometheusError, UsageError
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.queries import plan as plan_of
from slo_budget_tracker.replays import Grid, evaluate_at, is_of_a_query
from slo_budget_tracker.replays import replay as replay_between
from slo_budget_tracker.shards import Shard
from slo_budget_tracker.signals import Wishes
from slo_budget_tracker.snapshots import snapshot_json
from slo_budget_tracker.sources import asks, clients
from slo_budget_tracker.specfiles import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.settings import Settings
    from slo_budget_tracker.specs import SLO


DEFAULT_TICK = 60  # seconds
MOST_NAMES = 5  # in a sentence


class Output(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people or JSON for programs.")
]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(help="Names of SLOs; all when none is given.", show_default=False)
]


@app.command()
def run(
    config: ConfigOption = None,
    *,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Run without any SLO, also after all files were deleted.")
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Evaluate one of N shares of the SLOs, the I-th from 0 on, over one PostgreSQL; "
            "or `all`: show what all shards concluded.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the daemon.

    Example: `slo-budget-tracker run -c config/slo-budget-tracker.yaml`

    One of three: `slo-budget-tracker run -c config/slo-budget-tracker.yaml --shard 0/3`

    A page over all: `slo-budget-tracker run -c config/slo-budget-tracker.yaml --shard all`
    """
    wishes = Wishes()
    wishes.catch()
    garbage.prepare()
    overview = shard == "all"
    one_of = None if shard is None or overview else Shard.parse(shard)
    files = files_of(config, allow_empty=allow_empty, cached=True)
    settings = settings_of(config)
    logs.configure(settings.log.format, settings.log.level)
    configuration = configuration_of(files, whole=True)
    with pinned_progress("filling from history") as report:
        daemon = Daemon(
            configuration.settings,
            configuration.catalogue.slos,
            files=files,
            shard=one_of,
            overview=overview,
            wishes=wishes,
            on_filling=report,
        )
        status = daemon.run()
    wishes.quit(status)
    raise typer.Exit(status)


@app.command()
def evaluate(
    names: NamesArgument = None,
    *,
    config: ConfigOption = None,
    at: Annotated[
        str | None, typer.Option("--at", help="Data instant: RFC 3339, epoch seconds or relative (-2h).")
    ] = None,
    output: OutputOption = Output.table,
) -> None:
    """Evaluate once from Prometheus alone; no ledger is needed.

    Example: `slo-budget-tracker evaluate -c config/slo-budget-tracker.yaml --at -1h --output json`
    """
    settings, slos = _asked(config, names)
    grid = _grid(settings)
    moment = instant(at, option="--at") - (grid.delay if at is None else 0)
    refused: dict[str, PrometheusError] = {}
    with progress("reading history") as report:
        snapshots = evaluate_at(slos, _asks(settings), at=moment, grid=grid, progress=report, refused=refused)
    if output is Output.json:
        tables.print_json([snapshot_json(one) for one in snapshots])
    else:
        tables.print_snapshots(snapshots)
    _tell({slo: str(error) for slo, error in refused.items()})
    if refused:
        raise typer.Exit(1 if all(map(is_of_a_query, refused.values())) else PrometheusError.exit_status)


@app.command()
def replay(
    names: NamesArgument = None,
    *,
    config: ConfigOption = None,
    start: Annotated[
        str, typer.Option("--from", help="First data instant: RFC 3339, epoch or relative (-7d).")
    ],
    end: Annotated[str | None, typer.Option("--to", help="Last data instant; now when not given.")] = None,
    output: OutputOption = Output.table,
) -> None:
    """Run the daemon's own cycle over past time: which alerts would have fired, when, for how long.

    Example: `slo-budget-tracker replay -c config/slo-budget-tracker.yaml --from -7d --to -1d`
    """
    settings, slos = _asked(config, names)
    grid = _grid(settings)
    first = instant(start, option="--from")
    last = instant(end, option="--to") - (grid.delay if end is None else 0)
    if last <= first:
        raise UsageError("--from must be before --to")
    with progress("replaying") as report:
        result = replay_between(slos, _asks(settings), start=first, end=last, grid=grid, progress=report)
    _tell(result.errors)
    if output is Output.json:
        tables.print_json(tables.replay_json(result))
    else:
        tables.print_replay(result)
    if result.errors:
        raise typer.Exit(PrometheusError.exit_status if result.out_of_reach else 1)


@app.command()
def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="SLO files or folders.", show_default=False)
    ] = None,
    *,
    config: ConfigOption = None,
    live: Annotated[bool, typer.Option("--live", help="Ask Prometheus, too; needs a configuration.")] = False,
    output: OutputOption = Output.table,
) -> None:
    """Check SLO files offline; all faults of all files are reported at once.

    With a configuration the alert windows are checked against its tick, else against one minute; with a
    configuration alone, that is checked with all files it names, certificates and users included. `--live`
    asks Prometheus whether what the SLOs need exists and moves; the configuration's own files will do then.
    Exit status: 0 fine, 1 a fault, 3 Prometheus is out of reach.

    Example: `slo-budget-tracker validate config/slos`
    """
    if live:
        _examine(paths, config, output)
        return
    if not paths and config is not None:
        _check(config)
        return
    if not paths:
        raise UsageError("validate: no SLO files; name files or folders, or a configuration (-c)")
    settings = None if config is None else settings_of(config)
    if settings is None:
        catalogue = load(paths, tick=DEFAULT_TICK)
    else:
        catalogue = load(paths, tick=settings.evaluation.interval, scrapes=settings.scrapes)
    for warning in catalogue.warnings:
        sys.stderr.write(f"{warning}\n")
    _valid(catalogue.slos)


def _valid(slos: Sequence[SLO]) -> None:
    noun = "SLO is" if len(slos) == 1 else "SLOs are"
    typer.echo(f"{len(slos)} {noun} valid: {', '.join(slo.name for slo in slos)}")


def _check(config: Path) -> None:
    """A configuration with everything it names, as the daemon would load it."""
    configuration = configuration_of(files_of(config), whole=True)
    protector = Protector.of(configuration.settings.web)
    for warning in protector.warnings():
        sys.stderr.write(f"warning: {warning}\n")
    _valid(configuration.catalogue.slos)
    typer.echo(f"the configuration is valid: it listens on {protector.web.listen}, {protector.current.told}")


@app.command()
def plan(config: ConfigOption = None, *, output: OutputOption = Output.table) -> None:
    """Show the queries that a tick asks, and which SLOs share them.

    Example: `slo-budget-tracker plan -c config/slo-budget-tracker.yaml`
    """
    configuration = configuration_of(files_of(config))
    settings, catalogue = configuration.settings, configuration.catalogue
    planned = plan_of(catalogue.slos, replica_labels=settings.replica_labels)
    requests = planned.describe(settings.evaluation.interval)
    if output is Output.json:
        tables.print_json(
            [{"datasource": r.datasource, "queries": list(r.queries), "slos": list(r.slos)} for r in requests]
        )
    else:
        rows = [(r.datasource, query, ", ".join(r.slos)) for r in requests for query in r.queries]
        tables.print_rows(("datasource", "query", "SLOs"), rows)
        typer.echo(f"{len(rows)} requests per tick for {len(catalogue.slos)} SLOs")


def _asked(config: Path | None, names: list[str] | None) -> tuple[Settings, Sequence[SLO]]:
    configuration = configuration_of(files_of(config))
    return configuration.settings, _chosen(configuration.catalogue.slos, names)


def _examine(paths: list[Path] | None, config: Path | None, output: Output) -> None:
    """Ask Prometheus about each SLO, and print what was found."""
    settings = settings_of(config)
    catalogue = load(paths or settings.slo_files, tick=settings.evaluation.interval, scrapes=settings.scrapes)
    at = int(time.time()) - settings.evaluation.delay
    findings = []
    known = _asks(settings)
    for slo in catalogue.slos:
        if slo.datasource not in known:
            raise UsageError(f"SLO {slo.name}: no datasource named {slo.datasource!r}")
    for warning in catalogue.warnings:
        sys.stderr.write(f"{warning}\n")
    with progress("asking about SLOs") as report:
        for done, slo in enumerate(catalogue.slos, 1):
            doctor = Doctor(known[slo.datasource], at, settings.evaluation.interval, time.monotonic)
            findings += doctor.examine(slo)
            if report is not None:
                report(done, len(catalogue.slos))
    if output is Output.json:
        tables.print_json([one._asdict() for one in findings])
    else:
        tables.print_rows(("SLO", "level", "check", "finding"), findings)
    if any(one.level == "error" for one in findings):
        raise typer.Exit(1)


def _chosen(slos: Sequence[SLO], names: list[str] | None) -> Sequence[SLO]:
    known = {slo.name: slo for slo in slos}
    for name in names or ():
        if name not in known:
            raise UsageError(
                f"no SLO named {name!r}, expected one of {', '.join(sorted(known)) or 'none at all'}"
            )
    wanted = [other for name in names or () for other in (name, *members_of(known[name]))]
    return [known[name] for name in dict.fromkeys(wanted)] if names else slos


def _tell(reasons: Mapping[str, str]) -> None:
    """Why something could not be read: each reason once, with whom it is about."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    for reason, some in names.items():
        more = f" and {len(some) - MOST_NAMES} more" if len(some) > MOST_NAMES else ""
        sys.stderr.write(f"{', '.join(some[:MOST_NAMES])}{more}: {reason}\n")


def _grid(settings: Settings) -> Grid:
    return Grid(
        interval=settings.evaluation.interval,
        delay=settings.evaluation.delay,
        workers=settings.concurrency,
        replica_labels=settings.replica_labels,
    )


def _asks(settings: Settings) -> dict[str, Ask]:
    return asks(clients(settings), budget=settings.longest_timeout * 3)
