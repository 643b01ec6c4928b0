"""`discover`: SLO files from nothing but a Prometheus."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, progress, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption, _asks, _grid
from slo_budget_tracker.discovery import Found, Proposal, file_of, judged, slos_of
from slo_budget_tracker.discovery import discover as look
from slo_budget_tracker.durations import parse_duration
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.native import LONGEST_WINDOW, SHORTEST_WINDOW
from slo_budget_tracker.replays import replay as replay_between

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.replays import Grid
    from slo_budget_tracker.specs import SLO

DAY = 86_400


@app.command()
def discover(
    *,
    config: ConfigOption = None,
    write: Annotated[
        Path | None, typer.Option("--write", "-w", help="A new file for the proposals.", show_default=False)
    ] = None,
    window: Annotated[str, typer.Option("--window", help="The past that targets are taken from.")] = "30d",
    replay: Annotated[
        str, typer.Option("--replay", help="The past in which alerts are looked for; 0 for none.")
    ] = "1d",
    output: OutputOption = Output.table,
) -> None:
    """Look at what Prometheus has and propose SLOs with targets that the past would have met.

    Asked are three questions for names, one for each metric that looks like requests (at most 80), and the
    history of what is proposed, as `evaluate` reads it.

    Example: `slo-budget-tracker discover -c config/slo-budget-tracker.yaml --write slos/discovered.yaml`
    """
    settings = settings_of(config)
    seconds, past = (_seconds(text, option) for text, option in ((window, "--window"), (replay, "--replay")))
    if not SHORTEST_WINDOW <= seconds <= LONGEST_WINDOW:
        raise UsageError(f"--window: {window}, expected 1h to 400d")
    asks, grid = _asks(settings), _grid(settings)
    now = int(time.time()) - grid.delay
    found = Found()
    for name, ask in asks.items():
        with progress(f"looking at {name}") as report:
            one = look(ask, at=now, datasource=name, progress=report)
        found.proposals += one.proposals
        found.left_out += one.left_out
    with progress("reading history") as report:
        found = judged(found, asks, at=now, window=seconds, grid=grid, progress=report)
    fired = _alerts(found, asks, grid, now=now, window=seconds, past=past) if past else {}
    if write is not None:
        with write.open("x", encoding="utf-8") as file:
            file.write(file_of(found.proposals, seconds))
    _print(found, fired, seconds, past, output)
    if not found.proposals:
        raise typer.Exit(1)


def _seconds(text: str, option: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


def _alerts(
    found: Found, asks: Mapping[str, Ask], grid: Grid, *, now: int, window: int, past: int
) -> dict[str, int]:
    """How often each proposal's alerts would have fired."""
    slos = [_short(slo) for slo in slos_of(found.proposals, window)]
    if not slos:
        return {}
    with progress("replaying") as report:
        result = replay_between(slos, asks, start=now - past, end=now, grid=grid, progress=report)
    kinds = [(one.payload.get("slo_name"), one.kind) for one in result.transitions]
    return {slo.name: kinds.count((slo.name, "slo_burn_started")) for slo in slos}


def _short(slo: SLO) -> SLO:
    """The SLO with no more past than its alerts look at."""
    longest = max((alert.long for alert in slo.alerts), default=DAY)
    return slo.model_copy(update={"window": min(slo.window, longest + DAY)})


def _print(found: Found, fired: Mapping[str, int], window: int, past: int, output: Output) -> None:
    if output is Output.json:
        tables.print_json(
            [
                {**_json(one, window), "alerts": fired.get(one.name) if past else None}
                for one in found.proposals
            ]
        )
        return
    rows = [
        (
            one.name,
            one.target,
            "-" if one.success_ratio is None else f"{one.success_ratio * 100:.4f} %",
            f"{one.total:,.0f}",
            str(fired.get(one.name, 0)) if past else "-",
            one.why,
        )
        for one in found.proposals
    ]
    tables.print_rows(("SLO", "target", "was", "events", "alerts", "what"), rows)
    for sentence in found.left_out:
        sys.stderr.write(f"left out: {sentence}\n")
    typer.echo(f"{len(rows)} SLOs; --write FILE writes them")


def _json(one: Proposal, window: int) -> dict[str, object]:
    return {
        **one.document(window),
        "success_ratio": one.success_ratio,
        "total": one.total,
        "reason": one.why,
    }
