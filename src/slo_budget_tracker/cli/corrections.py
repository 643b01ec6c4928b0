"""`corrections list|add`: maintenance and incidents that do not count, in files of their own."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from slo_budget_tracker.cli import tables
from slo_budget_tracker.cli.app import ConfigOption, app, instant, settings_of
from slo_budget_tracker.cli.commands import Output, OutputOption
from slo_budget_tracker.correctionfiles import absent, for_slo, load_corrections, understood
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.specfiles import load

if TYPE_CHECKING:
    from slo_budget_tracker.corrections import Correction
    from slo_budget_tracker.settings import Settings

ADDED = "added.yaml"

corrections = typer.Typer(
    help="Maintenance and incidents that do not count.\n\n"
    "Example: `slo-budget-tracker corrections list -c config/slo-budget-tracker.yaml`",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(corrections, name="corrections")


@corrections.command("list")
def list_corrections(config: ConfigOption = None, *, output: OutputOption = Output.table) -> None:
    """Show all corrections: when, for which SLOs, why, by whom.

    Example: `slo-budget-tracker corrections list -c config/slo-budget-tracker.yaml --output json`
    """
    settings = settings_of(config)
    slos = (
        load(settings.slo_files, tick=settings.evaluation.interval, scrapes=settings.scrapes).slos
        if settings.slo_files
        else ()
    )
    for warning in absent(settings.corrections_files):
        sys.stderr.write(f"{warning}\n")
    rows = []
    for one in load_corrections(settings.corrections_files):
        names = [slo.name for slo in slos if for_slo(slo, [one])]
        rows.append((one, names))
    if output is Output.json:
        tables.print_json([_json(one, names) for one, names in rows])
        return
    heads = ("name", "from", "to", "SLOs", "reason", "author")
    tables.print_rows(
        heads,
        [
            (
                one.name,
                tables.iso(one.start),
                tables.iso(one.end) if one.end is not None else f"{one.rrule} for {one.duration} s",
                ", ".join(names) or "none",
                one.reason,
                one.author,
            )
            for one, names in rows
        ],
    )


@corrections.command("add")
def add(
    name: Annotated[str, typer.Argument(help="A name of its own.")],
    *,
    config: ConfigOption = None,
    start: Annotated[str, typer.Option("--from", help="First instant: RFC 3339, epoch or relative (-2h).")],
    end: Annotated[str | None, typer.Option("--to", help="Last instant; now when there is no rule.")] = None,
    rule: Annotated[str | None, typer.Option("--rrule", help="RFC 5545, such as FREQ=WEEKLY.")] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", help="Of each occurrence, such as 2h.")
    ] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Of the rule; UTC by default.")] = None,
    slo: Annotated[list[str], typer.Option("--slo", help="A name or glob; may be repeated.")],
    reason: Annotated[str, typer.Option("--reason", help="Why this time does not count.")],
    author: Annotated[str | None, typer.Option("--author", help="Who says so; you by default.")] = None,
) -> None:
    """Write a correction to a corrections file; a running daemon takes it over.

    Example: `slo-budget-tracker corrections add db-upgrade -c config/slo-budget-tracker.yaml
    --from 2026-11-01T02:00:00Z --to 2026-11-01T03:30:00Z --slo 'checkout-*' --reason 'planned upgrade'`
    """
    settings = settings_of(config)
    entry: dict[str, object] = {"name": name, "from": _time(start, "--from")}
    if rule is None:
        entry["to"] = _time(end, "--to")
    else:
        entry |= {"rrule": rule, "duration": duration or ""}
    if timezone is not None:
        entry["timezone"] = timezone
    entry |= {"slos": slo, "reason": reason, "author": author or os.environ.get("USER", "unknown")}
    path = _target(settings)
    written = _write(path, entry, settings)
    sys.stdout.write(f"{written.name} is written to {path}\n")


def _time(text: str | None, option: str) -> str:
    at = int(instant(text, option=option, default=time.time()))
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _target(settings: Settings) -> Path:
    """The file that corrections are added to: in the first folder, or the first file."""
    if not settings.corrections_files:
        raise UsageError("no corrections files are configured: name a folder under `corrections_files`")
    first = settings.corrections_files[0]
    return first if first.suffix in {".yaml", ".yml"} else first / ADDED


def _write(path: Path, entry: dict[str, object], settings: Settings) -> Correction:
    """Append the entry as one line of JSON, which is YAML, if all files are sound with it; by renaming."""
    text = path.read_text(encoding="utf-8") if path.exists() else "corrections:\n"
    text = f"{text.rstrip()}\n  - {orjson.dumps(entry).decode()}\n"
    (added,) = [one for one in understood([Source(str(path), text)]) if one.name == entry["name"]]
    if any(one.name == added.name for one in load_corrections(settings.corrections_files)):
        raise UsageError(f"there is a correction named {added.name} already")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return added


def _json(one: Correction, names: list[str]) -> dict[str, object]:
    return {
        "name": one.name,
        "from": tables.iso(one.start),
        "to": None if one.end is None else tables.iso(one.end),
        "rrule": one.rrule,
        "duration_seconds": one.duration,
        "timezone": one.timezone,
        "slos": names,
        "reason": one.reason,
        "author": one.author,
    }
