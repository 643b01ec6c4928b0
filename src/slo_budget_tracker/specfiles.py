"""SLO files to a catalogue of SLOs; all faults of all files are told at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import Fault, SpecError
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.filesets import Source, read_sources
from slo_budget_tracker.native import Found, NativeFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.specs import SLO

MOST_SLOS = 10_000
MOST_FAULTS = 100  # of one file that are told


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The SLOs of all files in the order of their names, and what was left out of them."""

    slos: tuple[SLO, ...]
    warnings: tuple[Fault, ...] = ()


def load(paths: Sequence[Path], *, tick: int = 60) -> Catalogue:
    """The SLOs of files, folders (recursive) and patterns; `tick` is the interval in seconds.

    Raises:
        SpecError: with all faults of all files; nothing is used of files where one has a fault.
    """
    sources, faults = read_sources(paths)
    told = list(faults)
    files = [_read(source, tick=tick, told=told) for source in sources]
    told.extend(_duplicates([named for file in files for named in file.named]))
    found: list[Found] = [one for file in files for one in file.found]
    if not paths:
        told.append(Fault("slo_files", 1, 1, "", "no SLO files", "at least one file or folder"))
    if len(found) > MOST_SLOS:
        place = found[MOST_SLOS].place
        told.append(place.fault(f"{len(found)} SLOs in all files", f"at most {MOST_SLOS}"))
    if told:
        raise SpecError(sorted(set(told)))
    slos = tuple(sorted((one.slo for one in found), key=lambda slo: slo.name))
    return Catalogue(slos, tuple(sorted(warning for file in files for warning in file.warnings)))


def _read(source: Source, *, tick: int, told: list[Fault]) -> NativeFile:
    """Reads one file; its faults go to `told`."""
    reading = read_documents(source.text, file=source.file)
    fields = Fields(list(reading.faults))
    file = NativeFile(fields, tick)
    for document in reading.documents:
        file.read(document)
    if not reading.documents and not fields.faults:
        fields.faults.append(Fault(source.file, 1, 1, "", "an empty file", "a mapping with `slos:`"))
    faults = sorted(set(fields.faults))
    told.extend(faults[:MOST_FAULTS])
    if len(faults) > MOST_FAULTS:
        last = faults[-1]
        more = f"{len(faults) - MOST_FAULTS} more faults"
        told.append(Fault(source.file, last.line, last.column, "", more, "none"))
    return file


def _duplicates(named: Sequence[tuple[str, Node]]) -> Iterator[Fault]:
    """A fault at every place that gives a name another place gives too: whichever was read first."""
    places: dict[str, list[Node]] = {}
    for name, place in named:
        places.setdefault(name, []).append(place)
    for name, nodes in places.items():
        for node in nodes if len(nodes) > 1 else ():
            others = ", ".join(f"{o.file}:{o.line}:{o.column}" for o in nodes if o is not node)
            yield node.fault(
                f"the name {name[:63]!a} again in {others[:500]}", "each name once over all files"
            )
