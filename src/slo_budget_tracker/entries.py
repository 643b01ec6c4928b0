"""Entries: what one transaction of the ledger writes, and what it gives back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.rows import Row
    from slo_budget_tracker.verdict import Transition


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the world; `event_id` is the same on every retry, `created` a data instant."""

    event_id: str
    slo: str
    kind: str
    created: int
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, transition: Transition, *, labels: Mapping[str, str] | None = None) -> Event:
        """The event of a transition; its id follows from SLO, labels, rule, kind and tick: replicas agree."""
        slo = str(transition.payload["slo_name"])
        identity = [
            slo,
            dict(labels or transition.payload.get("labels") or {}),
            transition.rule,
            transition.kind,
        ]
        digest = hashlib.sha256(orjson.dumps([*identity, transition.at], option=orjson.OPT_SORT_KEYS))
        payload = {**transition.payload, "event_kind": transition.kind, "id": digest.hexdigest()[:32]}
        payload |= {"reason": transition.reason, "late": transition.late, "evaluated_at": transition.at}
        return cls(digest.hexdigest()[:32], slo, transition.kind, transition.at, payload)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event in its place: `sequence` counts from 1 per SLO without gaps; `previous_id` came before."""

    event_id: str
    slo: str
    kind: str
    created: int
    sequence: int
    previous_id: str | None
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """All that one transaction writes; `revised` rows are like `rows`, for ticks that were stored before."""

    rows: Sequence[Row] = ()
    revised: Sequence[Row] = ()
    states: Mapping[int, Mapping[str, AlertState]] = field(default_factory=dict)
    events: Sequence[Event | Transition] = ()
    memories: Mapping[str, bytes] = field(default_factory=dict)
    cursors: Mapping[str, int] = field(default_factory=dict)
    slo_cursors: Mapping[int, int] = field(default_factory=dict)
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """Figures about the ledger itself; `rows_by_step` by the seconds they were merged to (0: as written)."""

    bytes: int
    memory_bytes: int
    rows: int
    rows_by_step: Mapping[int, int]
    instances: int
    events_pending: int
    refused: int
    birth: int | None
    newest: int | None
