"""Recovery: a damaged file is put aside, the last good copy put back, a new epoch begun; never in silence."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from slo_budget_tracker.copies import backup_path, put_aside, put_back
from slo_budget_tracker.entries import Entry, Event
from slo_budget_tracker.errors import LedgerDamaged
from slo_budget_tracker.snapshots import instant_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_Opened = TypeVar("_Opened")


@dataclass(frozen=True, slots=True)
class Reset:
    """Why a ledger is not what it was: what was found, where the damaged file is, what took its place."""

    why: str
    aside: str | None = None
    restored: bool = False

    def __str__(self) -> str:
        if self.aside is None:
            return self.why
        then = "the last backup was put back" if self.restored else "a new ledger was begun"
        return f"{self.why}; the file was put aside as {self.aside}, {then}"


def recovered(
    path: Path, damage: LedgerDamaged, reopen: Callable[[], _Opened], *, suffix: str
) -> tuple[_Opened, Reset]:
    """Put the damaged file aside, and open the last good copy, or else a new ledger."""
    aside = put_aside(path, suffix=suffix)
    reset = Reset(damage.why, aside.name)
    if backup_path(path).exists():
        put_back(backup_path(path), path)
        try:
            return reopen(), replace(reset, restored=True)
        except LedgerDamaged:
            put_aside(path, suffix=suffix)
            put_aside(backup_path(path), suffix=suffix)
    return reopen(), reset


def epoch_entry(reset: Reset, *, before: str, epochs: str, newest: int | None, at: int) -> Entry:
    """What begins a new epoch: its name and the event that says so, in one transaction.

    `epochs` are the names before: what was sent under them is looked for before anything is sent again.
    """
    epoch = uuid.uuid4().hex
    event = Event.of_daemon(
        "store_reset",
        epoch,
        at=at,
        reason=str(reset),
        epoch=epoch,
        epoch_before=before,
        counts_until=None if newest is None else instant_text(newest),
    )
    facts = {"epoch": epoch, "epoch_before": before, "epochs": epochs, "copy_of": "", "reset_at": str(at)}
    return Entry(events=[event], meta=facts)
