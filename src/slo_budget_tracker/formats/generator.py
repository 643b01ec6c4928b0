"""slo-generator's files, v2 with the Prometheus backend: one native document for each of theirs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats import shapes
from slo_budget_tracker.formats.drafts import Draft, at, word
from slo_budget_tracker.formats.names import ORIGINAL, labels_of, slug
from slo_budget_tracker.formats.tiers import Tier, alerts_of
from slo_budget_tracker.formats.trees import text, tree
from slo_budget_tracker.specs import DEFAULT_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from slo_budget_tracker.documents import Node, Scalar
    from slo_budget_tracker.selectors import Selector

BACKEND = "prometheus"
_SPEC = (
    *("description", "backend", "method", "exporters", "service_level_indicator", "goal"),
    *("error_budget_policy", "frequency", "region"),
)
_STEP = ("name", "window", "burn_rate_threshold", "alert", "message_alert", "message_ok")
_WINDOW = re.compile(r"\[\s*window\b")
_TRAILING = re.compile(r"\[\s*(?:window|\$window)\s*\]\s*$")


@dataclass(slots=True)
class Policies:
    """The error budget policies of all configuration files, by name."""

    steps: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def of(cls, roots: Iterable[Node]) -> Policies:
        """The policies among documents."""
        policies = cls()
        for root in roots:
            named = at(root, "error_budget_policies")
            if isinstance(named, documents.Mapping):
                policies.steps.update(
                    (name, steps)
                    for name, node in named.values.items()
                    if (steps := at(node, "steps")) is not None
                )
        return policies


def is_configuration(root: Node) -> bool:
    """Whether a document is slo-generator's shared configuration, which has policies and no SLO."""
    return at(root, "error_budget_policies") is not None and at(root, "slos") is None


def configure(draft: Draft, root: Node) -> None:
    """What a shared configuration says beside its policies."""
    found = draft.mapping(root, ("backends", "exporters", "default_exporters", "error_budget_policies"))
    for key in ("backends", "exporters", "default_exporters"):
        if key in found:
            draft.warn(
                root, "left out: the daemon's own configuration says where to ask and whom to tell", path=key
            )
    named = found.get("error_budget_policies")
    for policy in named.values.values() if isinstance(named, documents.Mapping) else ():
        steps = draft.mapping(policy, ("steps",), required=("steps",))
        if "steps" in steps:
            _steps(draft, steps["steps"])


def translate(draft: Draft, root: Node, policies: Policies) -> Iterator[Node]:
    """The native document of one of slo-generator's."""
    if word(root, "kind") != "ServiceLevelObjective":
        draft.refuse(
            at(root, "kind") or root, f"the kind {shown(word(root, 'kind'))}", "ServiceLevelObjective"
        )
        return
    found = draft.mapping(root, ("apiVersion", "kind", "metadata", "spec"), required=("metadata", "spec"))
    required = ("backend", "method", "service_level_indicator", "goal")
    spec = draft.mapping(found.get("spec"), _SPEC, required=required)
    name = draft.text(at(root, "metadata", "name"), most=253)
    if name is None:
        draft.refuse(found.get("metadata", root), "no `name`", "`name:`")
    goal = draft.number(spec.get("goal"), "a share of good events such as 0.999")
    sli = _sli(draft, spec)
    draft.left_out(
        spec, ("exporters", "frequency", "region"), "the daemon serves gauges and events at every tick"
    )
    if name is None or goal is None or sli is None:
        return
    labels = labels_of(draft, (at(root, "metadata", "labels"),))
    annotations = at(root, "metadata", "annotations")
    if annotations is not None:
        draft.warn(annotations, "left out: annotations are for other programs")
    service = word(root, "metadata", "labels", "service_name")
    own = slug("" if name.text.startswith(f"{service}-") else service, name.text)
    steps = _policy(draft, spec, policies)
    period = max((step.long for step in steps), default=DEFAULT_WINDOW)
    slo = {
        "name": text(name, own),
        "description": draft.text(spec.get("description")),
        "target": text(spec["goal"], goal),
        "window": text(name, format_duration(period)),
        "sli": sli.sli,
        "group_by": tree(sli.sli, sli.groups_written) if sli.group_by else None,
        "alerts": alerts_of(draft, name, steps, target=Decimal(goal)) if steps else text(name, "workbook"),
        "labels": {**labels.values, **({} if own == name.text else {ORIGINAL: name})} or None,
        "owner": labels.owner,
    }
    yield tree(root, {"service": text(name, service) if service else None, "slos": [slo]})


def _policy(draft: Draft, spec: Mapping[str, Node], policies: Policies) -> tuple[Tier, ...]:
    node = spec.get("error_budget_policy")
    name = draft.text(node)
    wanted = name.text if name is not None else "default"
    if wanted in policies.steps:
        return _steps(Draft(), policies.steps[wanted])
    if name is not None:
        draft.refuse(
            name, f"the policy {shown(wanted)}", "one of error_budget_policies in a file beside this one"
        )
    elif "goal" in spec:
        draft.warn(
            spec["goal"],
            "no error budget policy `default` in these files: 30d and `alerts: workbook` are taken",
        )
    return ()


def _steps(draft: Draft, node: Node) -> tuple[Tier, ...]:
    """The steps of a policy: one window each, `alert` is a page."""
    tiers = []
    for item in draft.items(node, expected="a list of steps"):
        found = draft.mapping(item, _STEP, required=("name", "window", "burn_rate_threshold"))
        window = draft.number(found.get("window"), "seconds")
        factor = draft.number(found.get("burn_rate_threshold"), "a burn rate")
        draft.left_out(found, ("message_alert", "message_ok"), "messages are the receiver's")
        if window is None or factor is None:
            continue
        seconds = int(Decimal(window))
        severity = "page" if draft.flag(found.get("alert")) else "ticket"
        tiers.append(Tier(severity, seconds, seconds, Fraction(factor), item))  # type: ignore[arg-type]
    return tuple(tiers)


def _sli(draft: Draft, spec: Mapping[str, Node]) -> shapes.Indicator | None:
    backend = draft.text(spec.get("backend"))
    if backend is not None and backend.text.partition("/")[0] != BACKEND:
        draft.refuse(
            backend, f"the backend {shown(backend.text)}", BACKEND, "its figures are not in a Prometheus"
        )
        return None
    readers: dict[str, Callable[[Draft, Node], shapes.Indicator | None]] = {
        "good_bad_ratio": _ratio,
        "query_sli": _query,
        "distribution_cut": _cut,
    }
    method = draft.text(spec.get("method"))
    inside = spec.get("service_level_indicator")
    if method is None or inside is None:
        return None
    if method.text not in readers:
        draft.refuse(method, f"the method {shown(method.text)}", f"one of {', '.join(readers)}")
        return None
    return readers[method.text](draft, inside)


def _ratio(draft: Draft, node: Node) -> shapes.Indicator | None:
    found = draft.mapping(
        node, ("filter_good", "filter_bad", "filter_valid", "operators"), required=("filter_good",)
    )
    if "operators" in found:
        draft.warn(
            found["operators"], "left out: events are counted exactly, whatever function would estimate them"
        )
    if ("filter_bad" in found) == ("filter_valid" in found):
        draft.refuse(node, "neither or both of `filter_bad` and `filter_valid`", "exactly one of them")
        return None
    good = _filter(draft, found.get("filter_good"))
    valid = _filter(draft, found.get("filter_valid"))
    bad = _filter(draft, found.get("filter_bad"))
    if good is None or (valid is None and bad is None):
        return None
    if valid is not None:
        places = (found["filter_good"], found["filter_valid"])
        return shapes.Indicator(shapes.selected(node, part=good, total=valid, good=True, places=places))
    assert bad is not None
    sli = tree(
        node, {"requests": {"total": [str(good), str(bad)], "bad": tree(found["filter_bad"], str(bad))}}
    )
    return shapes.Indicator(sli)


def _filter(draft: Draft, node: Node | None) -> Selector | None:
    """A selector; older files carry `[window]` behind it."""
    found = draft.text(node, expected="a selector")
    return (
        shapes.selector_of(draft, text(found, _TRAILING.sub("", found.text))) if found is not None else None
    )


def _query(draft: Draft, node: Node) -> shapes.Indicator | None:
    found = draft.mapping(node, ("expression",), required=("expression",))
    expression = draft.text(found.get("expression"), expected="PromQL")
    return shapes.share(draft, node, _windowed(expression), good=True) if expression is not None else None


def _windowed(expression: Scalar) -> Scalar:
    return text(expression, _WINDOW.sub("[$window", expression.text))


def _cut(draft: Draft, node: Node) -> shapes.Indicator | None:
    keys = ("expression", "threshold_bucket")
    found = draft.mapping(node, (*keys, "good_below_threshold"), required=keys)
    buckets = _filter(draft, found.get("expression"))
    bound = draft.number(found.get("threshold_bucket"), "the upper bound of a bucket")
    if "good_below_threshold" in found and not draft.flag(found["good_below_threshold"], default=True):
        draft.refuse(found["good_below_threshold"], "false, not supported in this version", "true")
        return None
    if buckets is None or bound is None:
        return None
    place = found["expression"]
    if not buckets.metric.endswith("_bucket") or any(m.label == "le" for m in buckets.matchers):
        draft.refuse(place, shown(str(buckets)), "the buckets of a histogram, without `le`")
        return None
    return shapes.Indicator(shapes.at_most(node, buckets, bound, node=place))
