"""SLO files to a catalogue of SLOs; all faults of all files are told at once."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from slo_budget_tracker.composites import faults as faults_of_members
from slo_budget_tracker.documents import read_documents
from slo_budget_tracker.errors import Fault, NoFilesError, SpecError, shown
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.filesets import is_missing, read_sources
from slo_budget_tracker.formats.drafts import Draft
from slo_budget_tracker.formats.recognition import Shelf, expanded
from slo_budget_tracker.native import NativeFile
from slo_budget_tracker.suspicions import too_short
from slo_budget_tracker.understood import Understood

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from slo_budget_tracker.documents import Node, Reading
    from slo_budget_tracker.filesets import Source
    from slo_budget_tracker.native import Found
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.understood import Kept

NOBODY_KNOWS: Mapping[str, float] = MappingProxyType({})
MOST_SLOS = 10_000
MOST_FAULTS = 100  # of one file that are told


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The SLOs of all files in the order of their names, and what was left out of them."""

    slos: tuple[SLO, ...]
    warnings: tuple[Fault, ...] = ()


def load(
    paths: Sequence[Path],
    *,
    tick: int = 60,
    scrapes: Mapping[str, float] = NOBODY_KNOWS,
    kept: Kept | None = None,
) -> Catalogue:
    """The SLOs of files, folders (recursive) and patterns; `tick` is the interval in seconds.

    `scrapes` are the seconds between two scrapes, of datasources that are known to have so many. What is
    `kept` of the last time is not done again.

    Raises:
        SpecError: with all faults of all files; nothing is used of files where one has a fault.
    """
    files = understand(paths, tick=tick, kept=kept)
    short = [fault for one in files for found in one.file.found for fault in _too_short(found, scrapes)]
    if short:
        raise SpecError(sorted(set(short)))
    return catalogue_of(files)


def _too_short(found: Found, scrapes: Mapping[str, float]) -> Iterator[Fault]:
    """A fault for each window that is too short for how often its datasource is scraped."""
    scrape = scrapes.get(found.slo.datasource)
    for what, length, least in () if scrape is None else too_short(found.slo, scrape):
        yield found.place.fault(f"{what} {length}", least, "choose a longer one, or scrape more often")


def catalogue_of(files: Sequence[Understood]) -> Catalogue:
    """The SLOs of files that were understood."""
    slos = tuple(sorted((one.slo for found in files for one in found.file.found), key=lambda slo: slo.name))
    return Catalogue(slos, tuple(sorted(warning for found in files for warning in found.file.warnings)))


def understand(paths: Sequence[Path], *, tick: int = 60, kept: Kept | None = None) -> tuple[Understood, ...]:
    """All files with their native documents, whatever format they are in.

    All documents are read before the first is understood, because those of some formats refer to each other.

    Raises:
        SpecError: with all faults of all files.
    """
    sources, faults = read_sources(paths)
    told = list(faults)
    if not paths:
        told.append(Fault("slo_files", 1, 1, "", "no SLO files", "at least one file or folder"))
    return understand_texts(sources, tick=tick, faults=told, kept=kept)


def understand_texts(
    sources: Sequence[Source], *, tick: int = 60, faults: Sequence[Fault] = (), kept: Kept | None = None
) -> tuple[Understood, ...]:
    """The same of texts that were read already, and the faults of reading them.

    Raises:
        SpecError: with all faults of all texts.
    """
    told = list(faults)
    known = {} if kept is None else {s: one for s in sources if (one := kept.known(s, tick)) is not None}
    readings = {s: read_documents(s.text, file=s.file) for s in sources if s not in known}
    shelf = Shelf.of(expanded(root for reading in readings.values() for root in reading.documents), tick=tick)
    read = {s: _read(s, reading, shelf, tick=tick, told=told) for s, reading in readings.items()}
    files = tuple(read[source] if source in read else known[source] for source in sources)
    told.extend(_duplicates([named for found in files for named in found.file.named]))
    slos: list[Found] = [one for found in files for one in found.file.found]
    if len(slos) > MOST_SLOS:
        place = slos[MOST_SLOS].place
        told.append(place.fault(f"{len(slos)} SLOs in all files", f"at most {MOST_SLOS}"))
    if not told:
        told.extend(_without_members(slos))
    if told:
        raise (NoFilesError if all(map(is_missing, told)) else SpecError)(sorted(set(told)))
    if kept is not None:
        kept.unite(read.values())
        kept.replace((one._replace(source=s) for s, one in zip(sources, files, strict=True)), tick)
    return files


def _without_members(found: Sequence[Found]) -> Iterator[Fault]:
    """A fault for each composite whose members are not there, or composites themselves."""
    places = {one.slo.name: one.place for one in found}
    for slo, wrong, expected in faults_of_members([one.slo for one in found]):
        yield places[slo.name].fault(wrong, expected)


def _read(source: Source, reading: Reading, shelf: Shelf, *, tick: int, told: list[Fault]) -> Understood:
    """Understands one file; its faults go to `told`."""
    fields = Fields(list(reading.faults))
    file = NativeFile(fields, tick)
    draft = Draft(fields, file.warnings)
    roots: list[Node] = []
    native = True
    for document in expanded(reading.documents):
        translated = shelf.native(draft, document)
        native = native and translated is None
        roots.extend((document,) if translated is None else translated)
    for root in roots:
        file.read(root)
    if not reading.documents and not fields.faults:
        fields.faults.append(Fault(source.file, 1, 1, "", "an empty file", "a mapping with `slos:`"))
    faults = sorted(set(fields.faults))
    told.extend(faults[:MOST_FAULTS])
    if len(faults) > MOST_FAULTS:
        last = faults[-1]
        more = f"{len(faults) - MOST_FAULTS} more faults"
        told.append(Fault(source.file, last.line, last.column, "", more, "none"))
    return Understood(source, tuple(roots), file, native and not faults)


def _duplicates(named: Sequence[tuple[str, Node]]) -> Iterator[Fault]:
    """A fault at every place that gives a name another place gives too: whichever was read first."""
    places: dict[str, list[Node]] = {}
    for name, place in named:
        places.setdefault(name, []).append(place)
    for name, nodes in places.items():
        for node in nodes if len(nodes) > 1 else ():
            others = ", ".join(f"{o.file}:{o.line}:{o.column}" for o in nodes if o is not node)
            yield node.fault(
                f"the name {shown(name, most=63)} again in {others[:500]}", "each name once over all files"
            )
