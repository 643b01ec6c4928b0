"""Names and labels of imported SLOs: what is allowed here, with the original beside it."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import documents
from slo_budget_tracker.formats.drafts import is_nothing
from slo_budget_tracker.formats.trees import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.drafts import Draft

LONGEST = 63
ORIGINAL = "original_name"
_HASH = 8
_OTHER = re.compile(r"[^a-z0-9]")
_NO_LABEL = re.compile(r"[^a-zA-Z0-9_]")
# What series and events say of themselves: a label of an SLO cannot have these names.
RESERVED = {
    *("slo", "severity", "state", "bound", "service", "rule", "instance", "job", "le", "quantile"),
    *("window_seconds", "long_window_seconds", "short_window_seconds", "owner"),
}


def slug(*parts: str) -> str:
    """`service-name[-objective]` in lower case, other characters `-`; over 63 characters cut, with a hash."""
    whole = "-".join(part for part in parts if part)
    name = _OTHER.sub("-", whole.lower()).strip("-")
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH]
    return f"{name[: LONGEST - _HASH - 1].rstrip('-')}-{digest}"


class Labels(NamedTuple):
    """Labels of an imported SLO and the owner among them."""

    values: dict[str, Node]
    owner: Node | None = None


def labels_of(draft: Draft, nodes: Iterable[Node | None], *, prefixes: Sequence[str] = ()) -> Labels:
    """Labels merged, later ones win; prefixes are taken off, names become legal, each with a warning."""
    values: dict[str, Node] = {}
    owner: Node | None = None
    for node in nodes:
        if node is None or is_nothing(node):
            continue
        found = draft.fields.free_mapping(node, expected="labels by name")
        for name, value in found.values.items() if found is not None else ():
            read = _value(draft, value)
            if read is None:
                continue
            short = next((name.removeprefix(one) for one in prefixes if name.startswith(one)), name)
            if short == "owner":
                owner = read
            else:
                values[_label(draft, value, short)] = read
    return Labels(values, owner)


def _value(draft: Draft, value: Node) -> Node | None:
    """A label's text; several are joined."""
    if not isinstance(value, documents.Sequence):
        return draft.text(value, expected="the value of a label")
    texts = [one.text for item in value.items if (one := draft.text(item)) is not None]
    if len(texts) > 1:
        draft.warn(value, "the values of a label are joined by commas")
    return text(value, ",".join(texts))


def _label(draft: Draft, value: Node, name: str) -> str:
    legal = _NO_LABEL.sub("_", name)
    if not legal or legal[0].isdigit() or legal.startswith("__"):
        legal = f"label_{legal}"
    if legal in RESERVED:
        legal = f"slo_{legal}"
    if legal != name:
        draft.warn(value, f"the label is called {legal} here")
    return legal
