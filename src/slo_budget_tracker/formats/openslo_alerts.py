"""OpenSLO's alert policies and conditions, to the native list of alerts."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats.drafts import Draft, at
from slo_budget_tracker.formats.openslo_windows import seconds_of
from slo_budget_tracker.formats.tiers import Tier, alerts_of
from slo_budget_tracker.formats.trees import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

    from slo_budget_tracker.documents import Node, Scalar
    from slo_budget_tracker.formats.openslo_library import Library
    from slo_budget_tracker.specs import Severity

_OBJECT = ("apiVersion", "kind", "metadata", "spec")
_POLICY = (
    *("description", "alertWhenNoData", "alertWhenResolved", "alertWhenBreaching"),
    *("conditions", "notificationTargets"),
)
_CONDITION = ("kind", "op", "threshold", "lookbackWindow", "alertAfter")
_PAGES = {"page", "critical", "high", "sev1", "p1"}
_TICKETS = {"ticket", "warning", "low", "medium", "sev2", "sev3", "p2", "p3", "info"}


def alerts(
    draft: Draft, spec: Mapping[str, Node], place: Node, library: Library, *, target: Decimal | None
) -> Node:
    """The native `alerts:` of an SLO's policies."""
    node = spec.get("alertPolicies")
    if node is None:
        draft.warn(place, "no alertPolicies: no alerts")
        return text(place, "none")
    tiers = [
        tier
        for item in draft.items(node, expected="a list of alert policies")
        for tier in _policy(draft, item, library)
    ]
    return alerts_of(draft, node, tiers, target=target)


def _policy(draft: Draft, item: Node, library: Library) -> Iterator[Tier]:
    spec = _spec(draft, item, library, "AlertPolicy", "alertPolicyRef")
    found = draft.mapping(spec, _POLICY)
    draft.left_out(found, ("notificationTargets",), "gauges and events say what fires, others tell people")
    if draft.flag(found.get("alertWhenNoData")):
        draft.warn(found["alertWhenNoData"], "left out: slo_data_lost is told whenever data are missing")
    if spec is not None and not draft.flag(found.get("alertWhenBreaching")):
        draft.warn(spec, "no alert: alertWhenBreaching is not true")
        return
    for condition in draft.items(found.get("conditions"), expected="a list of conditions"):
        tier = _condition(draft, _spec(draft, condition, library, "AlertCondition", "conditionRef"))
        if tier is not None:
            yield tier


def _spec(draft: Draft, item: Node, library: Library, kind: str, key: str) -> Node | None:
    """The spec of an object that is written here, or that a reference names."""
    if isinstance(item, documents.Scalar):
        found = library.find(draft, kind, draft.text(item))
        return at(found, "spec") if found is not None else None
    named = draft.mapping(item, (*_OBJECT, key))
    if key in named:
        found = library.find(draft, kind, draft.text(named[key]))
        return at(found, "spec") if found is not None else None
    if "spec" not in named:
        draft.refuse(item, f"neither `{key}` nor `spec`", "one of them")
    return named.get("spec")


def _condition(draft: Draft, spec: Node | None) -> Tier | None:
    if spec is None:
        return None
    keys = ("severity", "condition")
    found = draft.mapping(spec, ("description", *keys), required=keys)
    inside = draft.mapping(found.get("condition"), _CONDITION, required=("op", "threshold", "lookbackWindow"))
    kind, op = draft.text(inside.get("kind")), draft.text(inside.get("op"))
    threshold = draft.number(inside.get("threshold"), "a burn rate")
    lookback, after = (seconds_of(draft, inside.get(key)) for key in ("lookbackWindow", "alertAfter"))
    severity = _severity(draft, draft.text(found.get("severity")))
    if kind is not None and kind.text.lower() != "burnrate":
        draft.refuse(kind, f"the condition {shown(kind.text)}", "burnrate")
        return None
    if op is not None and op.text not in {"gt", "gte"}:
        draft.refuse(op, f"a burn rate that is {op.text} {threshold}", "gt or gte", "a low burn rate is good")
        return None
    if threshold is None or lookback is None or op is None:
        return None
    if op.text == "gt":
        draft.warn(op, "read as gte")
    return Tier(severity, lookback, lookback, Fraction(threshold), inside["threshold"], after or 0)


def _severity(draft: Draft, node: Scalar | None) -> Severity:
    if node is None or node.text.lower() in _PAGES:
        return "page"
    if node.text.lower() not in _TICKETS:
        draft.warn(node, f"the severity {shown(node.text)} is read as ticket")
    return "ticket"
