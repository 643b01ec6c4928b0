"""Nodes back to YAML that reads back as the same nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Kind, Scalar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.documents import Node

# Keys whose values are numbers, however the original wrote them.
_NUMBERS = {"burn_rate", "threshold", "limit", "weight", "max_groups", "minimum_bad", "target"}
_STRING = "tag:yaml.org,2002:str"


class _Plain(str):
    """A text that is written without quotes, because it is no text but a number or a boolean."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes texts so that every reader takes them for texts, and no value as an alias of another."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's own form
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's own name and form
        super().increase_indent(flow, False)


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if "\n" in value.strip() and value.isascii() and not value.startswith((" ", "\n")):
        return dumper.represent_scalar(_STRING, value, style="|")
    plain = Scalar("", 1, 1, "", value, plain=True).kind is Kind.TEXT
    return dumper.represent_scalar(_STRING, value, style=None if plain else '"')


def _plain(dumper: yaml.SafeDumper, value: _Plain) -> yaml.Node:
    tag = dumper.resolve(yaml.ScalarNode, str(value), (True, False))  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(tag, str(value))


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Plain, _plain)


def yaml_text(roots: Iterable[Node]) -> str:
    """The documents as YAML, with `---` between them."""
    return values_text(_value(root, "") for root in roots)


def values_text(values: Iterable[Any]) -> str:
    """Mappings, lists, texts and numbers as YAML documents."""
    return yaml.dump_all(
        list(values),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=10_000,
        default_flow_style=False,
    )


def flow_text(value: Any) -> str:
    """One value as YAML in one line."""
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000, default_flow_style=True
    ).strip()


def value_of(node: Node) -> Any:
    """A node as mappings, lists and texts that are written as they stood."""
    return _value(node, "")


def plain(text: str) -> str:
    """A number in a tree of values, written as it is."""
    return _Plain(text)


def _value(node: Node, key: str) -> Any:
    if isinstance(node, documents.Mapping):
        return {name: _value(value, name) for name, value in node.values.items()}
    if isinstance(node, documents.Sequence):
        return [_value(item, key) for item in node.items]
    assert isinstance(node, Scalar)
    as_number = Scalar("", 1, 1, "", node.text, plain=True).kind is Kind.NUMBER
    if as_number and key in _NUMBERS:
        return _Plain(node.text)
    return _Plain(node.text) if node.plain and node.kind is not Kind.TEXT else str(node.text)
