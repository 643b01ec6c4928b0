"""The application, its options that every command shares, and what commands need before they work."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from slo_budget_tracker import __version__, garbage, logs
from slo_budget_tracker.configuration import Files
from slo_budget_tracker.durations import parse_instant
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.settings import Settings, load_settings
from slo_budget_tracker.wording import bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typer.models import CommandInfo, TyperInfo

    from slo_budget_tracker.configuration import Configuration

ABOUT = """Exact SLO error budgets and burn rates beside an existing Prometheus.

Example: `slo-budget-tracker validate config/slos`

then: `slo-budget-tracker evaluate -c config/slo-budget-tracker.yaml`

then: `slo-budget-tracker run -c config/slo-budget-tracker.yaml`
"""
PANELS = {  # what the help lists, and in which order
    "Begin": ("docs", "validate", "discover", "run"),
    "Budgets and health": ("evaluate", "replay", "plan", "gate", "report", "health"),
    "Files": ("convert", "diff", "corrections"),
    "Events and ledger": ("annotate", "audit", "ledger"),
}


app = typer.Typer(
    help=ABOUT,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", help="The daemon's configuration file (YAML).", show_default=False),
]

PROGRESS_AFTER = 2.0  # seconds before a progress bar is worth showing


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"slo-budget-tracker {__version__}")
        raise typer.Exit


@app.callback(help=ABOUT)
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Exact SLO error budgets and burn rates beside an existing Prometheus."""


def arrange() -> None:
    """Put the commands into the order in which people come to need them; call it when all are there."""
    panels = {name: panel for panel, names in PANELS.items() for name in names}
    order = list(panels)

    def name_of(info: CommandInfo | TyperInfo) -> str:
        return str(info.name or getattr(info.callback, "__name__", ""))

    app.registered_commands.sort(key=lambda info: order.index(name_of(info)))
    listed: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
    for info in listed:
        info.rich_help_panel = panels[name_of(info)]


def files_of(config: Path | None, *, allow_empty: bool = False, cached: bool = False) -> Files:
    """Where the configuration comes from: the file and the environment."""
    return Files(config, os.environ, allow_empty=allow_empty, cached=cached)


def settings_of(config: Path | None) -> Settings:
    """The configuration from the file and the environment."""
    return load_settings(config, os.environ)


def configuration_of(files: Files, *, whole: bool = False) -> Configuration:
    """Settings and catalogue; warnings go to standard error, one by one or how many there are."""
    with garbage.waiting():
        configuration = files.read()
        garbage.last()
    warnings = configuration.catalogue.warnings
    if warnings and not whole:
        named = f" -c {files.config}" if files.config is not None else ""
        count = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        sys.stderr.write(f"{count} about the files: slo-budget-tracker validate{named}\n")
    for warning in warnings if whole else ():
        sys.stderr.write(f"{warning}\n")
    return configuration


def instant(text: str | None, *, option: str, default: float | None = None) -> float:
    """A time given on the command line: RFC 3339, epoch seconds, or relative like -2h."""
    now = time.time()
    if text is None:
        return now if default is None else default
    try:
        found = parse_instant(text, now=now)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    if found > now:
        raise UsageError(f"{option}: {text} is in the future, expected a time that has passed")
    return found


@contextmanager
def pinned_progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """The same beside a log: a bar below the lines on a terminal; nothing where nobody looks at one."""
    if sys.stderr is None or not sys.stderr.isatty():  # none where the descriptor is closed (T17)
        yield None
        return
    begun: float | None = None

    def report(done: int, whole: int) -> None:
        nonlocal begun
        now = time.monotonic()
        begun = now if begun is None or done <= 0 else begun
        going_on = done < whole and now - begun > PROGRESS_AFTER
        logs.pin(f"{what} {bar(done, whole, now - begun)}" if going_on else "")

    try:
        yield report
    finally:
        logs.pin("")


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal once the work takes longer than a moment; nothing when piped."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
        console=console,
    )
    task = bar.add_task(what, total=None)
    begun = time.monotonic()
    shown = False

    def report(done: int, total: int) -> None:
        nonlocal shown
        if not shown and time.monotonic() - begun > PROGRESS_AFTER:
            bar.start()
            shown = True
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        if shown:
            bar.stop()
