"""What the commands print: tables for people, the contract's JSON for programs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from rich import box
from rich.console import Console
from rich.table import Table

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.snapshots import snapshot_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slo_budget_tracker.replays import Replay
    from slo_budget_tracker.snapshots import AlertStatus, SLOSnapshot
    from slo_budget_tracker.verdict import Transition


NUMERIC = {"target", "window", "coverage", "events", "bad", "success", "budget left", "burn", "burn rate"}


def print_json(value: object) -> None:
    """Indented JSON on standard output."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def print_snapshots(snapshots: Sequence[SLOSnapshot]) -> None:
    """One row per SLO instance."""
    table = _table(
        *("SLO", "target", "window", "state", "coverage", "events"),
        *("bad", "success", "budget left", "burn", "firing"),
    )
    for one in snapshots:
        firing = [alert for alert in one.alerts if alert.state in {"firing", "held"}]
        table.add_row(
            key_of(one.name, one.labels.items()),
            percent(float(one.target)),
            format_duration(one.window_seconds),
            f"{one.state}, suspicious" if one.suspicious else one.state,
            percent(one.coverage, digits=1),
            number(None if one.unit == "ratio" else one.total),  # a composite has no events of its own
            number(None if one.unit == "ratio" else one.failures),
            percent(one.success_ratio),
            percent(one.error_budget_remaining, digits=2),
            number(one.burn_rate, digits=2),
            ", ".join(map(_pair, firing)),
        )
    _console().print(table)
    for one in snapshots:
        if one.suspicious:
            _console().print(f"{key_of(one.name, one.labels.items())} is suspicious: {one.suspicious}")


def print_replay(result: Replay) -> None:
    """The transitions in order, then the figures at the end."""
    console = _console()
    console.print(f"{iso(result.start)} to {iso(result.end)}: {result.ticks} ticks")
    table = _table("at", "SLO", "what", "severity", "window", "burn rate", "why")
    for one in result.transitions:
        row = transition_json(one)
        window = row["window_seconds"]
        table.add_row(
            str(row["at"]),
            str(one.payload["slo_name"]),
            one.kind,
            str(row["severity"] or ""),
            "" if window is None else format_duration(int(str(window))),
            number(row["burn_rate"], digits=2),  # type: ignore[arg-type]  # a float or None
            one.reason,
        )
    console.print(table if result.transitions else "no alert would have fired")
    print_snapshots(result.final)


def transition_json(one: Transition) -> dict[str, object]:
    """A transition as `replay --output json` prints it."""
    return {
        "at": iso(one.at),
        "slo": one.payload["slo_name"],
        "labels": dict(one.group),
        "severity": one.payload.get("severity"),
        "window_seconds": one.payload.get("window_seconds"),
        "kind": one.kind,
        "burn_rate": one.payload.get("burn_rate"),
    }


def replay_json(result: Replay) -> dict[str, object]:
    """A replay as the contract has it."""
    return {
        "from": iso(result.start),
        "to": iso(result.end),
        "ticks": result.ticks,
        "transitions": [transition_json(one) for one in result.transitions],
        "final": [snapshot_json(one) for one in result.final],
    }


def iso(at: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def number(value: float | None, *, digits: int = 0) -> str:
    """A number for people; unknown is a dash."""
    if value is None:
        return "-"
    return f"{value:,.{digits}f}"


def percent(value: float | None, *, digits: int = 3) -> str:
    """A ratio as a percentage; unknown is a dash."""
    if value is None:
        return "-"
    text = f"{value * 100:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + " %"


def print_rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table."""
    table = _table(*heads)
    for row in rows:
        table.add_row(*row)
    _console().print(table)


def _pair(alert: AlertStatus) -> str:
    windows = f"{format_duration(alert.long_window_seconds)}/{format_duration(alert.short_window_seconds)}"
    return f"{alert.severity} {windows}"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE if sys.stdout.isatty() else None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in NUMERIC else "left", overflow="fold")
    return table
