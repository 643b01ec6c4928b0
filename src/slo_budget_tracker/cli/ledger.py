"""`ledger stats|check|backup`: all of them beside a running daemon, none of them changes anything."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption
from slo_budget_tracker.errors import LedgerDamaged, UsageError
from slo_budget_tracker.ledger import Ledger, LedgerStats

ledger = typer.Typer(
    help="The ledger: its size, its soundness, copies of it.\n\n"
    "Example: `slo-budget-tracker ledger stats -c config/slo-budget-tracker.yaml`",
    no_args_is_help=True,
)
app.add_typer(ledger, name="ledger")


@ledger.command()
def stats(config: ConfigOption = None, *, output: OutputOption = Output.table) -> None:
    """Show how large the ledger is and what it holds.

    Example: `slo-budget-tracker ledger stats -c config/slo-budget-tracker.yaml`
    """
    with _opened(config) as opened:
        figures, epoch = opened.stats(), opened.meta.get("epoch")
    if output is Output.json:
        tables.print_json({**_json(figures), "epoch": epoch})
    else:
        tables.print_rows(("figure", "value"), [*_lines(figures), ("epoch", str(epoch))])


@ledger.command()
def check(config: ConfigOption = None) -> None:
    """Check the ledger's file and everything it says; exit status 1 when something is wrong.

    Example: `slo-budget-tracker ledger check -c config/slo-budget-tracker.yaml`
    """
    try:
        with _opened(config) as opened:
            problems = opened.check()
    except LedgerDamaged as damage:
        problems = [str(damage)]
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise typer.Exit(1)
    typer.echo("the ledger is sound")


@ledger.command()
def backup(
    path: Annotated[Path, typer.Argument(help="The new file; it must not exist yet.", show_default=False)],
    *,
    config: ConfigOption = None,
) -> None:
    """Copy the ledger to one new file, also while the daemon uses it.

    To put a copy back, stop the daemon and copy it over the ledger's file. The daemon then begins a new
    epoch, reads again what came since the copy, and says so in the audit stream. A ledger in PostgreSQL is
    copied by pg_dump: the error says how.

    Example: `slo-budget-tracker ledger backup -c config/slo-budget-tracker.yaml /var/backups/ledger.db`
    """
    if path.exists():
        raise UsageError(f"{path} exists already, expected the name of a new file")
    with _opened(config) as opened:
        opened.backup(path)
    typer.echo(f"copied to {path} ({_size(path.stat().st_size)})")


def _opened(config: Path | None) -> Ledger:
    return Ledger.open(settings_of(config).ledger.database, read_only=True)


def _json(figures: LedgerStats) -> dict[str, object]:
    plain = {name: value for name, value in asdict(figures).items() if name != "rows_by_step"}
    steps = {str(step): rows for step, rows in sorted(figures.rows_by_step.items())}
    return {**plain, "rows_by_step": steps, "birth": _time(figures.birth), "newest": _time(figures.newest)}


def _lines(figures: LedgerStats) -> list[tuple[str, str]]:
    steps = ", ".join(
        f"{rows} of {step} s" if step else f"{rows} as written"
        for step, rows in sorted(figures.rows_by_step.items())
    )
    return [
        ("size on disk", _size(figures.bytes)),
        ("size in memory", _size(figures.memory_bytes)),
        ("SLO instances in use", str(figures.instances)),
        ("rows of counts", f"{figures.rows} ({steps})" if steps else "0"),
        ("late counts refused", str(figures.refused)),
        ("events not delivered", str(figures.events_pending)),
        ("birth", _time(figures.birth) or "none yet"),
        ("newest counts", _time(figures.newest) or "none yet"),
    ]


def _time(at: int | None) -> str | None:
    return None if at is None else tables.iso(at)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:  # noqa: PLR2004 - the next unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
