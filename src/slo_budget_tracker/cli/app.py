"""The application, its options that every command shares, and what commands need before they work."""

from __future__ import annotations

import io
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, cast

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from slo_budget_tracker import __version__
from slo_budget_tracker.durations import parse_instant
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.settings import Settings, load_settings
from slo_budget_tracker.specfiles import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slo_budget_tracker.specfiles import Catalogue

app = typer.Typer(
    help="Exact SLO error budgets and burn rates beside an existing Prometheus.",
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


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Exact SLO error budgets and burn rates beside an existing Prometheus."""


def settings_of(config: Path | None) -> Settings:
    """The configuration from the file and the environment."""
    return load_settings(config, os.environ)


def catalogue_of(settings: Settings) -> Catalogue:
    """The SLOs the configuration names; warnings go to standard error."""
    catalogue = load(settings.slo_files, tick=settings.evaluation.interval)
    for warning in catalogue.warnings:
        sys.stderr.write(f"{warning}\n")
    unknown = {
        slo.name: slo.datasource for slo in catalogue.slos if slo.datasource not in settings.datasources
    }
    if unknown:
        slo, datasource = next(iter(unknown.items()))
        known = ", ".join(sorted(settings.datasources))
        raise UsageError(f"SLO {slo}: no datasource named {datasource!r}, expected one of {known}")
    return catalogue


def instant(text: str | None, *, option: str, default: float | None = None) -> float:
    """A time given on the command line: RFC 3339, epoch seconds, or relative like -2h."""
    now = time.time()
    if text is None:
        return now if default is None else default
    try:
        return parse_instant(text, now=now)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error


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


def logging_as(form: str, level: str) -> None:
    """Structured lines on standard error, as text or JSON; logging never blocks or ends the daemon."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Unbreakable())),
    )


def _printable(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Control characters and what is no text are escaped: a log line is one line (H18)."""
    return {
        key: value.encode("unicode_escape").decode()
        if isinstance(value, str) and not value.isprintable()
        else value
        for key, value in event.items()
    }


class _Unbreakable(io.TextIOBase):
    """Standard error that may be closed or broken without anybody noticing (T17)."""

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except (OSError, ValueError):
            return 0

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            return
