"""OpenSLO's v1alpha, where each objective has its own metrics: rewritten as v1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats.drafts import Draft, at, word
from slo_budget_tracker.formats.trees import text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.trees import Tree

VERSION = "openslo/v1alpha"
_SPEC = ("service", "description", "budgetingMethod", "objectives", "timeWindows", "indicator")
_OBJECTIVE = ("displayName", "ratioMetrics", "target", "value", "op", "timeSliceTarget")
_UNITS = {"Minute": "m", "Hour": "h", "Day": "d", "Week": "w", "Month": "M", "Quarter": "Q", "Year": "Y"}


def rewritten(draft: Draft, root: Node) -> Iterator[Node]:
    """The v1 documents of one in v1alpha: one for each objective."""
    kind = word(root, "kind")
    if kind == "Service":
        return
    if kind != "SLO":
        draft.refuse(at(root, "kind") or root, f"the kind {shown(kind)}", "SLO or Service")
        return
    found = draft.mapping(root, ("apiVersion", "kind", "metadata", "spec"), required=("metadata", "spec"))
    required = ("service", "budgetingMethod", "objectives")
    spec = draft.mapping(found.get("spec"), _SPEC, required=required)
    objectives = draft.items(spec.get("objectives"))
    window = _window(draft, spec.get("timeWindows"))
    if "indicator" in spec:
        draft.refuse(spec["indicator"], "a threshold in openslo/v1alpha", "openslo/v1")
    metadata = draft.mapping(found.get("metadata"), ("name", "displayName"), required=("name",))
    if "name" not in metadata:
        return
    for number, item in enumerate(objectives, start=1):
        objective = draft.mapping(item, _OBJECTIVE, required=("ratioMetrics", "target"))
        suffix = f"-{number}" if len(objectives) > 1 else ""
        name = text(metadata["name"], word(root, "metadata", "name") + suffix)
        ratio = _ratio(draft, objective.get("ratioMetrics"))
        document: dict[str, Tree | None] = {
            "apiVersion": "openslo/v1",
            "kind": "SLO",
            "metadata": {"name": name, "displayName": metadata.get("displayName")},
            "spec": {
                "service": spec.get("service"),
                "description": spec.get("description"),
                "indicator": {"spec": {"ratioMetric": ratio}},
                "timeWindow": [window] if window is not None else None,
                "budgetingMethod": spec.get("budgetingMethod"),
                "objectives": [tree(item, {"target": objective.get("target")})],
            },
        }
        yield tree(root, document)


def _ratio(draft: Draft, node: Node | None) -> dict[str, Tree | None]:
    found = draft.mapping(node, ("good", "bad", "total", "counter", "incremental"))
    ratio: dict[str, Tree | None] = {key: found[key] for key in ("counter",) if key in found}
    for key in ("good", "bad", "total"):
        if key in found:
            source = draft.mapping(found[key], ("source", "queryType", "query"), required=("query",))
            metric = {"type": source.get("source", "prometheus"), "spec": {"query": source.get("query")}}
            ratio[key] = tree(found[key], {"metricSource": metric})
    return ratio


def _window(draft: Draft, node: Node | None) -> dict[str, Tree | None] | None:
    items = draft.items(node)
    found: Mapping[str, Node] = (
        draft.mapping(items[0], ("count", "unit", "isRolling", "calendar")) if items else {}
    )
    count, unit = draft.number(found.get("count"), "how many"), draft.text(found.get("unit"))
    if count is None or unit is None:
        return None
    if unit.text not in _UNITS:
        draft.refuse(unit, shown(unit.text), f"one of {', '.join(_UNITS)}")
        return None
    return {
        "duration": f"{count}{_UNITS[unit.text]}",
        "isRolling": found.get("isRolling"),
        "calendar": found.get("calendar"),
    }
