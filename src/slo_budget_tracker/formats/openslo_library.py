"""OpenSLO's objects over all files, and the references between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats.drafts import Draft, at, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.documents import Node, Scalar

KEYS = ("apiVersion", "kind", "metadata", "spec")
# Of each kind: what a user sees of an object that no SLO uses, and the keys of its spec that must be there.
KINDS: Mapping[str, tuple[str, ...]] = {
    "SLO": (),
    "SLI": (),
    "AlertPolicy": ("conditions",),
    "AlertCondition": ("condition",),
    "AlertNotificationTarget": ("target",),
    "DataSource": ("type",),
    "Service": (),
}
# Backends that answer PromQL as Prometheus does.
PROMETHEUS = {"prometheus", "thanos", "cortex", "mimir", "victoriametrics"}


@dataclass(slots=True)
class Library:
    """The objects of all files by kind and name, and which of them were used."""

    objects: dict[tuple[str, str], list[Node]] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, roots: Iterable[Node]) -> Library:
        """All objects among documents."""
        library = cls()
        roots = tuple(roots)
        for root in roots:
            key = word(root, "kind"), word(root, "metadata", "name")
            library.objects.setdefault(key, []).append(root)
        for root in roots:
            library.used |= {(kind, name.text.strip()) for kind, name in _references(root)}
        return library

    def find(self, draft: Draft, kind: str, name: Scalar | None) -> Node | None:
        """The object that a reference names; None with a fault where there is none, or more than one."""
        if name is None:
            return None
        found = self.objects.get((kind, name.text), [])
        if len(found) == 1:
            return found[0]
        known = ", ".join(sorted(shown(one) for of, one in self.objects if of == kind)) or "none"
        what = (
            f"no {kind} {shown(name.text)}" if not found else f"{len(found)} times {kind} {shown(name.text)}"
        )
        draft.refuse(name, what, f"one of those in these files: {known}")
        return None

    def source_type(self, draft: Draft, metric: Mapping[str, Node], place: Node) -> bool:
        """Whether a metric source is a Prometheus; else it is refused by name."""
        reference, named = draft.text(metric.get("metricSourceRef")), draft.text(metric.get("type"))
        if named is None and reference is None:
            return True
        if named is None:
            source = self.find(draft, "DataSource", reference)
            named = draft.text(at(source, "spec", "type")) if source is not None else None
        if named is None:
            return False
        if named.text.lower() not in PROMETHEUS:
            where = metric.get("type", metric.get("metricSourceRef", place))
            draft.refuse(where, f"the source {shown(named.text)}", "Prometheus")
            return False
        if reference is not None:
            draft.warn(reference, "left out: the daemon's own configuration says where to ask")
        return True


def check(draft: Draft, root: Node, library: Library) -> None:
    """What is wrong with an object by itself, and whether any SLO uses it."""
    found = draft.mapping(root, KEYS, required=("kind", "metadata", "spec"))
    kind = draft.text(found.get("kind"))
    if kind is None or kind.text not in KINDS:
        if kind is not None:
            draft.refuse(kind, f"the kind {shown(kind.text)}", f"one of {', '.join(KINDS)}")
        return
    name = draft.text(at(root, "metadata", "name"))
    if name is None:
        draft.refuse(found.get("metadata", root), "no `name`", "`name:`")
    spec = found.get("spec")
    for key in KINDS[kind.text]:
        if spec is not None and at(spec, key) is None:
            draft.refuse(spec, f"no `{key}`", f"`{key}:`")
    if name is not None and kind.text in {"SLI", "AlertPolicy", "AlertCondition"}:
        if (kind.text, name.text) not in library.used:
            draft.warn(name, "used by no SLO of these files")
    elif kind.text == "DataSource":
        draft.warn(found["kind"], "left out: the daemon's own configuration says where to ask")
    elif kind.text == "AlertNotificationTarget":
        draft.warn(
            found["kind"], "left out: the daemon's gauges and events say what fires, others tell people"
        )


_REFERENCES = {"indicatorRef": "SLI", "alertPolicyRef": "AlertPolicy", "conditionRef": "AlertCondition"}


def _references(root: Node) -> Iterable[tuple[str, Scalar]]:
    """The kind and name of each reference in a document."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, documents.Sequence):
            waiting.extend(node.items)
        elif isinstance(node, documents.Mapping):
            waiting.extend(node.values.values())
            for key, kind in _REFERENCES.items():
                value = node.values.get(key)
                if isinstance(value, documents.Scalar):
                    yield kind, value
