"""What every translation needs at hand: where faults and warnings go, and how foreign values are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Kind, Scalar
from slo_budget_tracker.errors import shown
from slo_budget_tracker.fields import Fields
from slo_budget_tracker.formats.trees import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.errors import Fault

_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+", re.ASCII)
_TRUE, _FALSE = {"true", "True", "TRUE"}, {"false", "False", "FALSE"}


@dataclass(slots=True)
class Draft:
    """Reads foreign nodes; faults go to `fields`, what is left out or read differently to `warnings`."""

    fields: Fields = field(default_factory=Fields)
    warnings: list[Fault] = field(default_factory=list)
    _told: set[Fault] = field(default_factory=set)

    def warn(self, node: Node, sentence: str, *, path: str = "") -> None:
        """Tell that something is left out, or read differently, at the place of the node."""
        warning = node.fault(sentence, path=path, warning=True)
        if warning not in self._told:
            self._told.add(warning)
            self.warnings.append(warning)

    def refuse(
        self, node: Node, found: str, expected: str = "", suggestion: str = "", *, path: str = ""
    ) -> None:
        """Refuse something by name at the place of the node."""
        self.fields.refuse(node, found, expected, suggestion, path=path)

    def mapping(
        self,
        node: Node | None,
        known: Iterable[str],
        *,
        required: Iterable[str] = (),
        expected: str = "a mapping",
    ) -> Mapping[str, Node]:
        """The values by key; a key without a value is no key, unknown keys are refused by name."""
        if node is None or is_nothing(node):
            return {}
        found = self.fields.mapping(node, known, required=required, expected=expected) or {}
        return {key: value for key, value in found.items() if not is_nothing(value)}

    def items(self, node: Node | None, *, expected: str = "a list") -> tuple[Node, ...]:
        """The items of a list that may be absent or empty."""
        if node is None or is_nothing(node):
            return ()
        return self.fields.items(node, expected=expected, least=0) or ()

    def text(self, node: Node | None, *, expected: str = "text", most: int = 16_384) -> Scalar | None:
        """A text, or a value that stands for its own text, as quoted text."""
        if node is None or is_nothing(node):
            return None
        if not isinstance(node, Scalar):
            self.fields.scalar(node, expected)
            return None
        found = text(node, node.text.strip())
        read = self.fields.text(found, expected, most=most, lines=True)
        return found if read is not None else None

    def number(self, node: Node | None, expected: str = "a number") -> str | None:
        """A number in digits, as text or plain."""
        found = self.text(node, expected=expected)
        if found is None:
            return None
        if not _NUMBER.fullmatch(found.text):
            self.refuse(found, shown(found.text), expected)
            return None
        return found.text

    def flag(self, node: Node | None, *, default: bool = False) -> bool:
        """True or false."""
        if node is None or is_nothing(node):
            return default
        if isinstance(node, Scalar) and node.text in _TRUE | _FALSE:
            return node.text in _TRUE
        self.refuse(node, "no boolean", "true or false")
        return default

    def left_out(self, found: Mapping[str, Node], keys: Iterable[str], why: str) -> None:
        """Warn of keys that have no counterpart, each by name."""
        for key in keys:
            if key in found:
                self.warn(found[key], f"left out: {why}")


def is_nothing(node: Node) -> bool:
    """Whether a key has no value."""
    return isinstance(node, Scalar) and node.kind is Kind.NULL


def at(node: Node, *keys: str) -> Node | None:
    """The node below a chain of keys, where there is one."""
    for key in keys:
        if not isinstance(node, documents.Mapping) or key not in node.values:
            return None
        node = node.values[key]
    return node


def word(node: Node, *keys: str) -> str:
    """The text below a chain of keys; empty where there is none."""
    found = at(node, *keys)
    return found.text.strip() if isinstance(found, Scalar) else ""
