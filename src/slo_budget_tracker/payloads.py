"""Payloads: what an audit event carries: every key of the contract, clean, and small enough for anybody.

A lone surrogate, a number that is not finite, or nesting without end makes an audit stream answer 500 and
keep what it cannot show again (A3). So nothing of the kind leaves this room: text is UTF-8, numbers are
finite, nesting ends at four levels, and what is too long is shortened, longest text first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from slo_budget_tracker.hashes import definition_hash
from slo_budget_tracker.snapshots import NO_LABELS

if TYPE_CHECKING:
    from slo_budget_tracker.specs import SLO

SCHEMA = "slo-budget-tracker/1"  # tells our events from others' of the same source (A16)
MOST_BYTES = 8192  # of a whole payload
MOST_DEPTH = 4
KEYS = (
    *("schema", "event_kind", "id", "sequence", "previous_id", "instance"),
    *("slo_name", "labels", "severity", "window_seconds", "short_window_seconds", "burn_rate", "threshold"),
    *("success_ratio", "sample_count", "error_budget_remaining", "reason", "evaluated_at", "late"),
    *("definition_hash", "query"),
)
FIXED = frozenset({"schema", "event_kind", "id", "slo_name"})  # never shortened: others find events by them
_ROOM = (
    MOST_BYTES - 256
)  # the place of the event in its ledger (sequence, previous_id, instance) is added later
_MOST_ITEMS = 256  # of one mapping or list
_LEAST_TEXT = 16  # characters to which a text is shortened before things are left out
_SURROGATE = re.compile("[\\ud800-\\udfff]")
_LARGEST = 2**53  # integers beyond it are not the same in every receiver


def about(slo: SLO, *, group: Mapping[str, str] = NO_LABELS) -> dict[str, Any]:
    """What an event says about the SLO itself: name, its and its group's labels, definition and query."""
    return {
        "slo_name": slo.name,
        "labels": {**dict(slo.labels), **group},
        "definition_hash": definition_hash(slo),
        "query": query_text(slo),
    }


def query_text(slo: SLO) -> str:
    """The expressions that an SLO is made of, in one line."""
    fields = type(slo.sli).model_fields
    parts = [(name, getattr(slo.sli, name)) for name in fields if name != "kind"]
    return "; ".join(f"{name}: {_joined(value)}" for name, value in parts if value is not None)


def _joined(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def complete(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload with every key, null where it has no value, cleaned and at most `MOST_BYTES` long."""
    whole = {**dict.fromkeys(KEYS), **payload, "schema": SCHEMA}
    cleaned = {str(_clean(key, 0)): _clean(value, 2) for key, value in whole.items()}
    return _fitted(cleaned)


def _clean(value: Any, depth: int) -> Any:
    """The same in what every JSON reader takes; `depth` is the level at which the value stands."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping) and depth <= MOST_DEPTH:
        items = list(value.items())[:_MOST_ITEMS]
        return {str(_clean(str(key), depth)): _clean(one, depth + 1) for key, one in items}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and depth <= MOST_DEPTH:
        return [_clean(one, depth + 1) for one in value[:_MOST_ITEMS]]
    if isinstance(value, Mapping | list | tuple):
        return None
    return _text(str(value))


def _number(value: float) -> float | None:
    """A finite number; whole ones that not every receiver can hold become floats."""
    if isinstance(value, int) and abs(value) <= _LARGEST:
        return int(value)
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _text(text: str) -> str:
    """Text without lone surrogates: what no byte sequence stands for is U+FFFD."""
    return _SURROGATE.sub("\ufffd", text[: MOST_BYTES + 1])


def _fitted(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload cut to size: the longest texts first, then the contents of the largest keys."""
    limit = MOST_BYTES
    while len(orjson.dumps(payload)) > _ROOM and limit > _LEAST_TEXT:
        limit //= 2
        payload = {key: value if key in FIXED else _shortened(value, limit) for key, value in payload.items()}
    while len(orjson.dumps(payload)) > _ROOM:
        largest = max(payload.keys() - FIXED, key=lambda key: (len(orjson.dumps(payload[key])), key))
        if payload[largest] is None:  # names of keys alone: nobody of us writes so many
            return {key: payload[key] for key in KEYS}
        payload = {**payload, largest: _halved(payload[largest])}
    return payload


def _shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= limit else f"{value[: limit - 1]}…"
    if isinstance(value, dict):
        return {_shortened(key, limit): _shortened(one, limit) for key, one in value.items()}
    return [_shortened(one, limit) for one in value] if isinstance(value, list) else value


def _halved(value: Any) -> Any:
    """Half of what a mapping or list holds; nothing where it cannot be halved."""
    if isinstance(value, dict) and len(value) > 1:
        return dict(list(value.items())[: len(value) // 2])
    return value[: len(value) // 2] if isinstance(value, list) and len(value) > 1 else None
