"""Native trees at foreign places: what a translation wrote, as nodes that stand where the original stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Node, Scalar, joined

if TYPE_CHECKING:
    Tree = Node | str | Sequence["Tree"] | Mapping[str, "Tree | None"]


def tree(place: Node, value: Tree) -> Node:
    """Nodes for texts, lists and mappings, all at one place; nodes among them keep their own.

    Values of a mapping that are None are left out.
    """
    return _tree(place, value, place.path)


def text(place: Node, value: str, *, path: str | None = None) -> Scalar:
    """A quoted text."""
    return Scalar(place.file, place.line, place.column, place.path if path is None else path, value)


def moved(node: Node, place: Node) -> Node:
    """The same tree at another place: what was read from a text in a document stands where the text does."""
    where = (place.file, place.line, place.column, place.path)
    if isinstance(node, documents.Mapping):
        keys = {name: Scalar(*where, key.text, key.plain) for name, key in node.keys.items()}
        return documents.Mapping(
            *where, keys, {name: moved(value, place) for name, value in node.values.items()}
        )
    if isinstance(node, documents.Sequence):
        return documents.Sequence(*where, tuple(moved(item, place) for item in node.items))
    return Scalar(*where, node.text, node.plain) if isinstance(node, Scalar) else node


def _tree(place: Node, value: Tree, path: str) -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, str):
        return text(place, value, path=path)
    where = (place.file, place.line, place.column, path)
    if isinstance(value, Sequence):
        items = tuple(_tree(place, item, f"{path}[{at}]") for at, item in enumerate(value))
        return documents.Sequence(*where, items)
    keys: dict[str, Scalar] = {}
    values: dict[str, Node] = {}
    for name, item in value.items():
        if item is None:
            continue
        node = _tree(place, item, joined(path, name))
        keys[name] = text(node, name, path=path)
        values[name] = node
    return documents.Mapping(*where, keys, values)
