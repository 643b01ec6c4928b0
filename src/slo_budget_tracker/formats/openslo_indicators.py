"""OpenSLO's SLIs: ratios, ready-made ratios and thresholds, to the native `sli:`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats import shapes
from slo_budget_tracker.formats.drafts import Draft, at
from slo_budget_tracker.formats.expressions import has_window, read_counts, with_window
from slo_budget_tracker.formats.openslo_library import KEYS, Library
from slo_budget_tracker.formats.openslo_windows import seconds_of
from slo_budget_tracker.formats.trees import text, tree
from slo_budget_tracker.selectors import substitute_window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.documents import Node, Scalar

_OPS = {"lte": "<=", "gte": ">=", "lt": "<", "gt": ">"}


def indicator_of(
    draft: Draft, spec: Mapping[str, Node], library: Library, place: Node
) -> Mapping[str, Node] | None:
    """The spec of the SLI that an SLO has, or refers to."""
    if ("indicator" in spec) == ("indicatorRef" in spec):
        draft.refuse(place, "neither or both of `indicator` and `indicatorRef`", "exactly one of them")
        return None
    if "indicatorRef" in spec:
        named = library.find(draft, "SLI", draft.text(spec["indicatorRef"]))
        inside = at(named, "spec") if named is not None else None
    else:
        found = draft.mapping(spec["indicator"], KEYS, required=("spec",))
        inside = found.get("spec")
    if inside is None:
        return None
    sli = draft.mapping(inside, ("description", "ratioMetric", "thresholdMetric"))
    if ("ratioMetric" in sli) == ("thresholdMetric" in sli):
        draft.refuse(inside, "neither or both of `ratioMetric` and `thresholdMetric`", "exactly one of them")
        return None
    return sli


class Objective(NamedTuple):
    """An objective: where it stands, what it says, and the budgeting method."""

    node: Node
    found: Mapping[str, Node]
    method: str


def read_sli(
    draft: Draft, sli: Mapping[str, Node], objective: Objective, library: Library
) -> shapes.Indicator | None:
    """The native `sli:` of an SLI's spec for one objective; None with a fault."""
    if "thresholdMetric" in sli:
        return _threshold(draft, sli["thresholdMetric"], objective, library)
    for key in ("op", "value"):
        if key in objective.found:
            draft.warn(objective.found[key], "left out: it belongs to a thresholdMetric")
    node = sli["ratioMetric"]
    found = draft.mapping(node, ("counter", "good", "bad", "total", "rawType", "raw"))
    if "raw" in found:
        return _raw(draft, node, found, library)
    if "total" not in found or ("good" in found) == ("bad" in found):
        draft.refuse(node, "no `total` with one of `good` and `bad`", "both, or `raw`")
        return None
    role = "good" if "good" in found else "bad"
    part, total = (_query(draft, found[key], library) for key in (role, "total"))
    if part is None or total is None:
        return None
    if objective.method == "RatioTimeslices":
        return _mean(draft, objective, part, total, good=role == "good")
    counter = draft.flag(found.get("counter"), default=True)
    return shapes.events(draft, node, part=part, total=total, good=role == "good", counter=counter)


def _raw(draft: Draft, node: Node, found: Mapping[str, Node], library: Library) -> shapes.Indicator | None:
    kind = draft.fields.choice(found["rawType"], ("success", "failure")) if "rawType" in found else None
    query = _query(draft, found["raw"], library)
    if kind is None:
        draft.refuse(node, "no `rawType`", "success or failure")
    return None if query is None or kind is None else shapes.share(draft, node, query, good=kind == "success")


def _mean(
    draft: Draft, objective: Objective, part: Scalar, total: Scalar, *, good: bool
) -> shapes.Indicator | None:
    """Slices that count by their ratios, as an error ratio over the slice at each tick."""
    width = seconds_of(draft, objective.found.get("timeSliceWindow"), minutes=True)
    if width is None:
        draft.refuse(objective.node, "no `timeSliceWindow`", "`timeSliceWindow:`")
        return None
    texts = [_increase(draft, node) for node in (part, total)]
    if None in texts:
        return None
    ratio = f"({texts[0]}) / ({texts[1]})"
    draft.warn(part, "runs as PromQL, the ratio of the last slice at each tick, whatever its traffic")
    sli = {"error_ratio": f"1 - {ratio}" if good else ratio, "window": format_duration(width)}
    return shapes.Indicator(tree(part, {"promql": sli}))


def _increase(draft: Draft, node: Scalar) -> str | None:
    """The events in `$window` as an expression."""
    found = with_window(node.text)
    if has_window(found):
        return found
    try:
        counts = read_counts(found)
    except ValueError as error:
        draft.refuse(node, str(error), "a sum of counters, or PromQL with `{{.window}}` in it")
        return None
    signs = ["-" if term.sign < 0 else "+" for term in counts.terms]
    sums = [
        f"{sign} sum(increase({term.selector}[$window]))"
        for sign, term in zip(signs, counts.terms, strict=True)
    ]
    return " ".join(sums).removeprefix("+ ")


def _threshold(draft: Draft, node: Node, objective: Objective, library: Library) -> shapes.Indicator | None:
    if objective.method == "RatioTimeslices":
        draft.refuse(node, "a threshold with RatioTimeslices", "Occurrences or Timeslices")
        return None
    query = _query(draft, node, library)
    for key in ("op", "value"):
        if key not in objective.found:
            draft.refuse(objective.node, f"no `{key}`", f"`{key}:`")
    op, value = (
        draft.text(objective.found.get("op")),
        draft.text(objective.found.get("value"), expected="a number"),
    )
    if query is None or op is None or value is None:
        return None
    if op.text not in _OPS:
        draft.refuse(op, shown(op.text), f"one of {', '.join(_OPS)}")
        return None
    expression = with_window(query.text)
    if has_window(expression):
        width = seconds_of(draft, objective.found.get("timeSliceWindow"), minutes=True)
        if width is None:
            draft.refuse(query, "`{{.window}}` in a threshold", "a range of its own such as [5m]")
            return None
        expression = substitute_window(expression, format_duration(width))
    condition = {
        "expr": text(query, expression),
        "op": text(op, _OPS[op.text]),
        "limit": text(objective.found["value"], value.text),
    }
    return shapes.Indicator(tree(node, {"condition": tree(node, condition)}))


def _query(draft: Draft, node: Node, library: Library) -> Scalar | None:
    """The PromQL of a metric source."""
    source = draft.mapping(node, ("metricSource",), required=("metricSource",)).get("metricSource")
    if source is None:
        return None
    found = draft.mapping(source, ("metricSourceRef", "type", "spec"), required=("spec",))
    if not library.source_type(draft, found, source) or "spec" not in found:
        return None
    spec = draft.mapping(found["spec"], ("query", "promql", "queryType"))
    query = draft.text(spec.get("query", spec.get("promql")), expected="PromQL")
    if query is None:
        draft.refuse(found["spec"], "no `query`", "PromQL under `query:`")
    return query
