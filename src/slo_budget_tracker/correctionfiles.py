"""Corrections files: YAML with `corrections:`, checked as strictly as SLO files, all faults at once."""

from __future__ import annotations

import glob
from datetime import datetime
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import Fault, SpecError, shown
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.filesets import nothing_there, read_sources
from slo_budget_tracker.indicators import sound

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.filesets import Source
    from slo_budget_tracker.specs import SLO

KEYS = ("name", "from", "to", "rrule", "duration", "timezone", "slos", "reason", "author")
REQUIRED = ("name", "from", "slos", "reason", "author")
_INSTANT = "an instant such as 2026-11-01T02:00:00Z or 2026-11-01T02:00:00+01:00"


def load_corrections(paths: Sequence[Path]) -> tuple[Correction, ...]:
    """The corrections of files, folders and patterns; folders may be empty.

    Raises:
        SpecError: with all faults of all files.
    """
    if nothing_there(paths):
        return ()
    sources, faults = read_sources([path for path in paths if not nothing_there([path])])
    return understood(sources, faults)


def absent(paths: Iterable[Path]) -> tuple[Fault, ...]:
    """Warnings of files and folders that are named and not there; a pattern may match nothing."""
    return tuple(
        Fault(
            str(path),
            *(1, 1),
            path="corrections_files",
            found="no such file or folder, nothing is corrected by it",
            suggestion="create it, or take it out of the configuration",
            warning=True,
        )
        for path in paths
        if not glob.has_magic(str(path)) and nothing_there([path]) and not path.is_dir()
    )


def understood(sources: Iterable[Source], faults: Sequence[Fault] = ()) -> tuple[Correction, ...]:
    """The corrections of texts that were read."""
    fields = Fields(list(faults))
    found: dict[str, Correction] = {}
    for source in sources:
        reading = read_documents(source.text, file=source.file)
        fields.faults.extend(reading.faults)
        for document in reading.documents:
            _read(document, fields, found)
    if fields.faults:
        raise SpecError(sorted(set(fields.faults)))
    return tuple(sorted(found.values(), key=lambda one: (one.start, one.name)))


def _read(root: Node, fields: Fields, found: dict[str, Correction]) -> None:
    given = fields.mapping(
        root, ("corrections",), required=("corrections",), expected="a mapping with `corrections:`"
    )
    items = fields.items(given["corrections"], least=0) if given and "corrections" in given else None
    for item in items or ():
        one = _correction(item, fields)
        if one is not None and one.name in found:
            fields.refuse(item, f"the name {one.name[:60]} again", "each name once over all files")
        elif one is not None:
            found[one.name] = one


def _correction(node: Node, fields: Fields) -> Correction | None:
    before = len(fields.faults)
    found = fields.mapping(node, KEYS, required=REQUIRED, expected="a correction")
    if found is None:
        return None
    texts = {key: fields.text(found[key], most=500) for key in ("name", "reason", "author") if key in found}
    start, end = (_instant(found[key], fields) if key in found else None for key in ("from", "to"))
    rule = fields.text(found["rrule"], "a recurrence rule", most=500) if "rrule" in found else None
    duration = fields.duration(found["duration"]) if "duration" in found else None
    zone = fields.text(found["timezone"], "a time zone") if "timezone" in found else "UTC"
    slos = _slos(found["slos"], fields) if "slos" in found else ()
    if len(fields.faults) > before or start is None:
        return None
    return sound(
        fields,
        node,
        lambda: Correction(
            name=texts["name"] or "",
            start=start,
            end=end,
            rrule=rule,
            duration=duration,
            timezone=zone or "UTC",
            slos=slos,
            reason=texts["reason"] or "",
            author=texts["author"] or "",
        ),
    )


def _instant(node: Node, fields: Fields) -> int | None:
    """An instant with its offset; YAML takes it for a date of its own, which is as good here."""
    if not isinstance(node, documents.Scalar):
        fields.refuse(node, "no single value", _INSTANT)
        return None
    try:
        instant = datetime.fromisoformat(node.text)
    except ValueError:
        fields.refuse(node, shown(node.text), _INSTANT)
        return None
    if instant.tzinfo is None:
        fields.refuse(node, f"{shown(node.text)}, without an offset", _INSTANT, "with Z for UTC")
        return None
    return int(instant.timestamp())


def _slos(node: Node, fields: Fields) -> tuple[str | tuple[tuple[str, str], ...], ...]:
    found: list[str | tuple[tuple[str, str], ...]] = []
    expected = "a list of names, globs such as shop-*, or {label: value}"
    for item in fields.items(node, expected=expected) or ():
        if isinstance(item, documents.Mapping):
            pairs = [(key, fields.text(value) or "") for key, value in item.values.items()]
            found.append(tuple(sorted(pairs)))
        else:
            name = fields.text(item, expected)
            if name is not None:
                found.append(name)
    return tuple(found)


def corrected(slos: Iterable[SLO], corrections: Sequence[Correction]) -> tuple[SLO, ...]:
    """The SLOs with the corrections that are for them."""
    if not corrections:
        return tuple(slos)
    return tuple(
        slo.model_copy(update={"corrections": some}) if (some := for_slo(slo, corrections)) else slo
        for slo in slos
    )


def for_slo(slo: SLO, corrections: Iterable[Correction]) -> tuple[Correction, ...]:
    """The corrections of one SLO, by its name, labels, service and owner."""
    labels: Mapping[str, str] = {**dict(slo.labels), "service": slo.service, "owner": slo.owner}
    return tuple(one for one in corrections if one.is_for(slo.name, labels))
