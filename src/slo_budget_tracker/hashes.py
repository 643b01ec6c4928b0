"""Hashes: by which SLOs are known to be the same as before: what is counted, and all that they mean."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from slo_budget_tracker.memos import by_identity
from slo_budget_tracker.selectors import Selector

if TYPE_CHECKING:
    from slo_budget_tracker.specs import SLO


@by_identity
def definition_hash(slo: SLO) -> str:
    """Changes whenever the SLO means something else: anything but description, links and place in a file."""
    fields = slo.model_dump(
        exclude={"description", "links", "source", "sli", "corrections"}, exclude_defaults=True
    )
    return _digest({**fields, "sli": _sli_fields(slo)})


@by_identity
def sli_hash(slo: SLO) -> str:
    """Changes whenever the same events would be counted differently: the SLI or its datasource."""
    fields = {"sli": _sli_fields(slo), "datasource": slo.datasource}
    if slo.slices is not None:
        fields["slices"] = slo.slices.model_dump()
    return _digest(fields)


def _sli_fields(slo: SLO) -> dict[str, Any]:
    """The SLI's fields with selectors as text; the order of a sum does not matter.

    Defaults are left out, so that a field that a later version adds changes no hash.
    """
    fields: dict[str, Any] = {"kind": slo.sli.kind}
    for name, described in type(slo.sli).model_fields.items():
        value = getattr(slo.sli, name)
        if value == described.default:
            continue
        if isinstance(value, tuple):
            value = sorted(map(str, value))
        fields[name] = str(value) if isinstance(value, Selector) else value
    return fields


def _digest(fields: dict[str, Any]) -> str:
    text = orjson.dumps(fields, default=_plain, option=orjson.OPT_SORT_KEYS)
    if not text.isascii() or b"\x7f" in text:  # the hashes of old are of such characters as \uXXXX
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_plain).encode()
    return hashlib.sha256(text).hexdigest()[:16]


def _plain(value: object) -> str:
    if isinstance(value, Decimal):  # 0.9990 and 99.9% are the same target
        return format(value.normalize(), "f")
    raise AssertionError(type(value))
