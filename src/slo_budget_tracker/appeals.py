"""Appeals: requests to send quarantined events once more, left beside the ledger for its one writer.

A command must not write to a ledger that a daemon has open. So it leaves a small file, which the daemon takes
up within seconds, or which whoever opens the ledger next takes up.
"""

from __future__ import annotations

import glob
import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson

from slo_budget_tracker.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MOST_BYTES = 1 << 20


def leave(ledger: Path, event_ids: Sequence[str] | None) -> Path:
    """Leave a request for these events, or for all; it appears whole or not at all."""
    path = ledger.with_name(f"{ledger.name}.retry-{uuid.uuid4().hex}")
    draft = path.with_name(f".{path.name}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(orjson.dumps(event_ids))
        draft.replace(path)
    except OSError as error:
        raise LedgerError(f"no request can be left beside the ledger {ledger}: {error.strerror}") from error
    return path


def take_up(ledger: Path, release: Callable[[Sequence[str] | None], Sequence[str]]) -> tuple[bool, list[str]]:
    """Carry out all requests, then remove them; whether there were any, and which events wait again."""
    freed: list[str] = []
    asked = False
    for path in sorted(ledger.parent.glob(f"{glob.escape(ledger.name)}.retry-*")):
        with suppress(OSError):
            freed += release(_wanted(path))
            path.unlink()
            asked = True
    return asked, freed


def _wanted(path: Path) -> Sequence[str] | None:
    """What a request asks for; one that cannot be read asks for nothing."""
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES)
    with suppress(ValueError):
        wanted = orjson.loads(text)
        if wanted is None or (isinstance(wanted, list) and all(isinstance(one, str) for one in wanted)):
            return wanted
    return ()
