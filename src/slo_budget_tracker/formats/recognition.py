"""Whose format a document has, by its version key, and its translation with what other files bring."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Scalar
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats import generator, openslo, openslo_alpha, pyrra, sloth
from slo_budget_tracker.formats.alertwindows import Periods
from slo_budget_tracker.formats.drafts import at, word
from slo_budget_tracker.formats.openslo_library import Library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.drafts import Draft

Whose = Literal["sloth", "pyrra", "openslo", "slo-generator", "slo-generator configuration"]
_VERSIONS: tuple[tuple[str, re.Pattern[str], Whose, tuple[str, ...]], ...] = (
    ("version", re.compile(r"prometheus/.*"), "sloth", ("prometheus/v1",)),
    ("apiVersion", re.compile(r"sloth\.slok\.dev/.*"), "sloth", ("sloth.slok.dev/v1",)),
    ("apiVersion", re.compile(r"pyrra\.dev/.*"), "pyrra", ("pyrra.dev/v1alpha1",)),
    ("apiVersion", re.compile(r"openslo/.*"), "openslo", ("openslo/v1", openslo_alpha.VERSION)),
    ("apiVersion", re.compile(r"sre\.google\.com/.*"), "slo-generator", ("sre.google.com/v2",)),
)


def expanded(roots: Iterable[Node]) -> Iterator[Node]:
    """Documents, where a document may be a list of them or a Kubernetes `kind: List`."""
    for root in roots:
        items = root if isinstance(root, documents.Sequence) else at(root, "items")
        listed = isinstance(root, documents.Sequence) or word(root, "kind").endswith("List")
        if listed and isinstance(items, documents.Sequence) and any(map(_is_document, items.items)):
            yield from items.items
        else:
            yield root


def _is_document(node: Node) -> bool:
    return any(at(node, key) is not None for key in ("slos", "version", "apiVersion"))


def whose(root: Node) -> Whose | None:
    """Whose format a document has; None for the native one."""
    for key, pattern, name, _ in _VERSIONS:
        value = at(root, key)
        if isinstance(value, Scalar) and pattern.fullmatch(value.text):
            return name
    return "slo-generator configuration" if generator.is_configuration(root) else None


@dataclass(slots=True)
class Shelf:
    """What documents of all files bring for each other: catalogues, objects, policies."""

    tick: int = 60
    periods: Periods = field(default_factory=Periods)
    library: Library = field(default_factory=Library)
    policies: generator.Policies = field(default_factory=generator.Policies)

    @classmethod
    def of(cls, roots: Iterable[Node], *, tick: int = 60) -> Shelf:
        """Everything that documents refer to."""
        roots = tuple(roots)
        named = [(whose(root), root) for root in roots]
        catalogues = [
            root for name, root in named if name == "sloth" and word(root, "kind") == "AlertWindows"
        ]
        return cls(
            tick,
            Periods.of(catalogues),
            Library.of(root for name, root in named if name == "openslo"),
            generator.Policies.of(roots),
        )

    def native(self, draft: Draft, root: Node) -> tuple[Node, ...] | None:
        """The native documents of a foreign one; None for one that is native already."""
        name = whose(root)
        if name is None:
            return None
        if not _known(draft, root, name):
            return ()
        return tuple(self._translated(draft, root, name))

    def _translated(self, draft: Draft, root: Node, name: Whose) -> Iterator[Node]:
        if name == "sloth":
            yield from sloth.translate(draft, root, self.periods)
        elif name == "pyrra":
            yield from pyrra.translate(draft, root, tick=self.tick)
        elif name == "openslo":
            alpha = word(root, "apiVersion") == openslo_alpha.VERSION
            for one in openslo_alpha.rewritten(draft, root) if alpha else (root,):
                yield from openslo.translate(draft, one, self.library)
        elif name == "slo-generator":
            yield from generator.translate(draft, root, self.policies)
        else:
            generator.configure(draft, root)


def _known(draft: Draft, root: Node, name: Whose) -> bool:
    """Whether the version of a format is one that is read; else it is refused."""
    for key, _, own, versions in _VERSIONS:
        value = at(root, key)
        if own == name and isinstance(value, Scalar) and value.text not in versions:
            expected = " or ".join(versions)
            draft.refuse(value, f"the version {shown(value.text)}, not supported in this version", expected)
            return False
    return True
