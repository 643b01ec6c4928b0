"""Understood: what a file says, and what is kept of that for the next time the same is in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import documents, slis, specs
from slo_budget_tracker.calendars import Calendar
from slo_budget_tracker.errors import Fault
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.filecache import by_name, frozen, thawed
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.hashes import definition_hash, sli_hash
from slo_budget_tracker.native import Found, NativeFile
from slo_budget_tracker.selectors import Matcher, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.filecache import FileCache, Print


class Understood(NamedTuple):
    """A file, what it says as native documents, and what became of them."""

    source: Source
    roots: tuple[Node, ...]
    file: NativeFile
    native: bool = False  # nothing in it is in another format


# All that a native file without a fault consists of.
PARTS = by_name((
    *(Understood, Source, NativeFile, Found, Fields, Fault, Decimal, Selector, Matcher, Calendar),
    *(documents.Scalar, documents.Broken, documents.Sequence, documents.Mapping),
    *(slis.RequestsSli, slis.LatencySli, slis.PromqlSli, slis.ProbeSli, slis.ConditionSli),
    *(slis.CompositeSli, slis.Member, specs.SLO, specs.BurnRateAlert, specs.BudgetAlert, specs.Slices),
))  # fmt: skip


@dataclass(slots=True)
class Kept:
    """What native files said when they were last read: who did not change need not be understood again.

    Documents of other formats may refer to those in other files; they are always understood together.
    """

    files: dict[Print, Understood] = field(default_factory=dict)
    stored: dict[Print, bytes] = field(default_factory=dict)  # what the cache had, until it is asked for
    _cached: set[Print] = field(default_factory=set)  # what lies in the cache

    def recall(self, cache: FileCache) -> None:
        """Begin with what another process kept."""
        self.stored = cache.read()
        self._cached = set(self.stored)

    def remember(self, cache: FileCache) -> bool:
        """Keep what is known now for another process; whether anything had to be written."""
        files = self.files
        if files.keys() == self._cached:
            return False
        before = cache.read()
        cache.write({key: before.get(key) or _frozen(one) for key, one in files.items()})
        self._cached = set(files)
        return True

    def known(self, source: Source, tick: int) -> Understood | None:
        """What a file said, if it said the same before."""
        key = _print(source, tick)
        known = self.files.get(key)
        if known is None and (stored := self.stored.pop(key, None)) is not None:
            known = _recalled(stored)
        return known

    def unite(self, files: Iterable[Understood]) -> None:
        """Let SLOs that are equal to those of before be the very same: what is known of these goes on."""
        before = {one.slo.name: one.slo for known in self.files.values() for one in known.file.found}
        for file in files:
            for at, one in enumerate(file.file.found):
                old = before.get(one.slo.name)
                if old == one.slo:
                    file.file.found[at] = one._replace(slo=old)

    def replace(self, files: Iterable[Understood], tick: int) -> None:
        """Keep these files' words, without their nodes, and nobody else's."""
        self.files = {
            _print(one.source, tick): one._replace(roots=(), source=Source(one.source.file, ""))
            for one in files
            if one.native
        }
        self.stored = {}


def _frozen(one: Understood) -> bytes:
    """For the cache; with the hashes of its SLOs, which would take longer than reading it here."""
    return frozen((one, [(sli_hash(found.slo), definition_hash(found.slo)) for found in one.file.found]))


def _recalled(stored: bytes) -> Understood | None:
    """What lay in the cache; None for anything but what a file was understood as."""
    try:
        one, hashes = thawed(stored, PARTS)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the file is there to be read
        return None
    if not isinstance(one, Understood):
        return None
    for found, (of_sli, of_definition) in zip(one.file.found, hashes, strict=True):
        sli_hash.learn(found.slo, of_sli)
        definition_hash.learn(found.slo, of_definition)
    return one


def _print(source: Source, tick: int) -> Print:
    return source.file, tick, hashlib.sha256(source.text.encode("utf-8", "surrogatepass")).digest()
