"""Entries: what one transaction of the ledger writes, and what it gives back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from slo_budget_tracker.payloads import complete
from slo_budget_tracker.snapshots import instant_text
from slo_budget_tracker.verdict import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.rows import Row

DAEMON = "*"  # the stream of events that belong to no SLO; no SLO can have this name


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the world; `event_id` is the same on every retry, `created` a data instant."""

    event_id: str
    slo: str
    kind: str
    created: int
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, one: Transition) -> Event:
        """The event of a transition; its id follows from SLO, group, rule, kind and tick: replicas agree.

        Without an SLO (`payload["slo_name"]` is None) it is about the daemon itself, in the stream `DAEMON`.
        """
        name = one.payload["slo_name"]
        identity = [name, dict(one.group), one.rule, one.kind, one.at]
        event_id = hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
        payload = {**one.payload, "event_kind": one.kind, "id": event_id, "reason": one.reason}
        payload |= {"late": one.late, "evaluated_at": instant_text(one.at)}
        return cls(event_id, DAEMON if name is None else str(name), one.kind, one.at, complete(payload))

    @classmethod
    def of_daemon(cls, kind: str, rule: str, *, at: int, reason: str, **payload: Any) -> Event:
        """An event about the daemon, such as `store_reset`; `rule` tells those of one instant apart."""
        return cls.of(Transition(kind, rule, at, reason, {**payload, "slo_name": None}))


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
    """All that one transaction writes; `revised` rows are like `rows`, for ticks that were stored before.

    `retired` are instances that are taken out, each with the data instant of it.
    """

    rows: Sequence[Row] = ()
    revised: Sequence[Row] = ()
    states: Mapping[int, Mapping[str, AlertState]] = field(default_factory=dict)
    events: Sequence[Event | Transition] = ()
    retired: Mapping[int, int] = field(default_factory=dict)
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
