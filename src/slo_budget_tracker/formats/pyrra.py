"""Pyrra's files, v1alpha1: one native document for each of theirs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats import shapes
from slo_budget_tracker.formats.drafts import at, word
from slo_budget_tracker.formats.names import ORIGINAL, labels_of, slug
from slo_budget_tracker.formats.tiers import Tier, alerts_of
from slo_budget_tracker.formats.trees import text, tree
from slo_budget_tracker.histograms import is_border
from slo_budget_tracker.specs import LEAST_TICKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from slo_budget_tracker.documents import Node, Scalar
    from slo_budget_tracker.formats.drafts import Draft
    from slo_budget_tracker.specs import Severity

PREFIXES = ("pyrra.dev/",)
INDICATORS = ("ratio", "latency", "latencyNative", "bool_gauge")
_KEYS = ("target", "window", "description", "indicator", "alerting", "partial_response_strategy")
# Long and short window and `for` of a 28-day SLO in seconds, and the factor; others are scaled to theirs.
# Source: https://github.com/pyrra-dev/pyrra#how-it-works
_WEEKS4 = 28 * 86_400
_TIERS: tuple[tuple[Severity, int, int, int, int], ...] = (
    ("page", 3_600, 300, 120, 14),
    ("page", 21_600, 1_800, 900, 7),
    ("ticket", 86_400, 7_200, 3_600, 2),
    ("ticket", 345_600, 21_600, 10_800, 1),
)
_MINUTE = 60


def translate(draft: Draft, root: Node, *, tick: int) -> Iterator[Node]:
    """The native document of one of Pyrra's."""
    found = draft.mapping(
        root, ("apiVersion", "kind", "metadata", "spec", "status"), required=("metadata", "spec")
    )
    if word(root, "kind") != "ServiceLevelObjective":
        draft.refuse(
            at(root, "kind") or root, f"the kind {shown(word(root, 'kind'))}", "ServiceLevelObjective"
        )
        return
    spec = draft.mapping(found.get("spec"), _KEYS, required=("target", "window", "indicator"))
    name = draft.text(at(root, "metadata", "name"), most=253)
    if name is None:
        draft.refuse(found.get("metadata", root), "no `name`", "`name:`")
    target = draft.number(spec.get("target"), "a share of good events in per cent such as 99.9")
    if target is not None and 0 < Decimal(target) < 1:
        draft.warn(spec["target"], f"read as {target}%, a share in per cent, as Pyrra does")
    sli = _sli(draft, spec["indicator"]) if "indicator" in spec else None
    draft.left_out(spec, ("partial_response_strategy",), "a partial answer is kept and never ends an alert")
    if name is None or target is None or sli is None:
        return
    yield tree(root, {"slos": [_slo(draft, root, spec, name=name, target=target, sli=sli, tick=tick)]})


def _slo(
    draft: Draft,
    root: Node,
    spec: Mapping[str, Node],
    *,
    name: Scalar,
    target: str,
    sli: shapes.Indicator,
    tick: int,
) -> Node:
    annotations = _own(draft, at(root, "metadata", "annotations"))
    labels = labels_of(draft, (at(root, "metadata", "labels"), annotations), prefixes=PREFIXES)
    values = dict(labels.values)
    namespace = draft.text(at(root, "metadata", "namespace"))
    if namespace is not None:
        values.setdefault("namespace", namespace)
    own = slug(name.text)
    if own != name.text:
        values[ORIGINAL] = name
    window = draft.fields.duration(spec["window"]) if "window" in spec else None
    return tree(
        root,
        {
            "name": text(name, own),
            "description": draft.text(spec.get("description")),
            "target": text(spec["target"], f"{target}%"),
            "window": spec.get("window"),
            "sli": sli.sli,
            "group_by": tree(_grouping(spec["indicator"]), sli.groups_written) if sli.group_by else None,
            "alerts": _alerts(draft, spec, window=window, target=Decimal(target) / 100, tick=tick),
            "labels": values or None,
            "owner": labels.owner,
        },
    )


def _own(draft: Draft, node: Node | None) -> Node | None:
    """The annotations that Pyrra hands on; those of other programs are left out."""
    if not isinstance(node, documents.Mapping):
        return None
    own = {name: value for name, value in node.values.items() if name.startswith(PREFIXES)}
    for name, value in node.values.items():
        if name not in own:
            draft.warn(value, "left out: an annotation for other programs")
    return replace(node, values=own)


def _grouping(indicator: Node) -> Node:
    return next((found for kind in INDICATORS if (found := at(indicator, kind, "grouping"))), indicator)


def _alerts(
    draft: Draft, spec: Mapping[str, Node], *, window: int | None, target: Decimal, tick: int
) -> Node | None:
    place = spec.get("alerting", spec["target"])
    found = draft.mapping(spec.get("alerting"), ("disabled", "burnrates", "absent", "name", "absentName"))
    draft.left_out(found, ("name", "absentName"), "alert on slo_burn_alert_firing{slo, severity}")
    if "absent" in found and not draft.flag(found["absent"]):
        draft.warn(found["absent"], "left out: slo_data_lost is told whenever data are missing")
    if draft.flag(found.get("disabled")) or not draft.flag(found.get("burnrates"), default=True):
        return text(place, "none")
    return alerts_of(draft, place, tiers(place, window, tick=tick), target=target) if window else None


def tiers(place: Node, window: int, *, tick: int = _MINUTE) -> tuple[Tier, ...]:
    """Pyrra's four tiers of a window in seconds; no window is shorter than two ticks."""
    least = LEAST_TICKS * tick
    return tuple(
        Tier(
            severity,
            max(_scaled(long, window), least),
            max(_scaled(short, window), least),
            Fraction(factor),
            place,
            for_seconds=_scaled(pause, window),
        )
        for severity, long, short, pause, factor in _TIERS
    )


def _scaled(seconds: int, window: int) -> int:
    """As many seconds of this window as of 28 days, in whole minutes."""
    return (seconds * window * 2 + _WEEKS4 * _MINUTE) // (2 * _WEEKS4 * _MINUTE) * _MINUTE


def _sli(draft: Draft, node: Node) -> shapes.Indicator | None:
    found = draft.mapping(node, INDICATORS)
    if len(found) != 1:
        given = " and ".join(f"`{key}`" for key in found) or "no indicator"
        draft.refuse(node, given, f"exactly one of {', '.join(INDICATORS)}")
        return None
    readers: dict[str, Callable[[Draft, Node], tuple[Node | None, Node | None]]] = {
        "ratio": _ratio,
        "latency": _latency,
        "latencyNative": _native,
        "bool_gauge": _gauge,
    }
    kind, inside = next(iter(found.items()))
    sli, grouping = readers[kind](draft, inside)
    groups = [one.text for item in draft.items(grouping) if (one := draft.text(item)) is not None]
    return shapes.Indicator(sli, tuple(groups)) if sli is not None else None


def _ratio(draft: Draft, node: Node) -> tuple[Node | None, Node | None]:
    return _two(draft, node, "errors", good=False)


def _latency(draft: Draft, node: Node) -> tuple[Node | None, Node | None]:
    return _two(draft, node, "success", good=True)


def _two(draft: Draft, node: Node, role: str, *, good: bool) -> tuple[Node | None, Node | None]:
    found = draft.mapping(node, (role, "total", "grouping"), required=(role, "total"))
    places = [_metric(draft, found.get(key)) for key in (role, "total")]
    part, total = (shapes.selector_of(draft, place) for place in places)
    if part is None or total is None or places[0] is None or places[1] is None:
        return None, None
    if good and not any(matcher.label == "le" for matcher in part.matchers):
        draft.refuse(places[0], "a bucket without `le`", 'a bucket such as {le="0.5"}')
        return None, None
    sli = shapes.selected(node, part=part, total=total, good=good, places=(places[0], places[1]))
    return sli, found.get("grouping")


def _native(draft: Draft, node: Node) -> tuple[Node | None, Node | None]:
    found = draft.mapping(node, ("latency", "total", "grouping"), required=("latency", "total"))
    place = _metric(draft, found.get("total"))
    histogram = shapes.selector_of(draft, place)
    if histogram is None or place is None or "latency" not in found:
        return None, None
    seconds = draft.fields.fine_duration(found["latency"])
    if seconds is None:
        return None, None
    if not is_border(seconds):
        draft.warn(
            found["latency"],
            "no power of two: requests in the native bucket around it are divided in proportion",
        )
    latency = {
        "histogram": text(place, str(histogram)),
        "threshold": text(found["latency"], shapes.threshold(seconds)),
        "type": text(place, "native"),
    }
    return tree(node, {"latency": tree(node, latency)}), found.get("grouping")


def _gauge(draft: Draft, node: Node) -> tuple[Node | None, Node | None]:
    found = draft.mapping(node, ("metric", "grouping"), required=("metric",))
    place = draft.text(found.get("metric"), expected="a selector")
    selector = shapes.selector_of(draft, place)
    if selector is None or place is None:
        return None, None
    return tree(node, {"probe": tree(node, {"up": text(place, str(selector))})}), found.get("grouping")


def _metric(draft: Draft, node: Node | None) -> Scalar | None:
    found = draft.mapping(node, ("metric",), required=("metric",))
    return draft.text(found.get("metric"), expected="a selector")
