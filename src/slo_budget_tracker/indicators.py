"""The `sli:` of an SLO file: what counts as an event, and which of them are bad."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from slo_budget_tracker import documents, presets
from slo_budget_tracker.documents import joined
from slo_budget_tracker.selectors import Selector, parse_expression, parse_selector
from slo_budget_tracker.slis import (
    HISTOGRAM_TYPES,
    OPERATIONS,
    CompositeSli,
    ConditionSli,
    Defect,
    DefectsError,
    LatencySli,
    Member,
    ProbeSli,
    PromqlSli,
    RequestsSli,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.fields import Fields
    from slo_budget_tracker.presets import Preset
    from slo_budget_tracker.slis import Sli

Model = TypeVar("Model", bound=BaseModel)

KINDS = ("requests", "latency", "probe", "condition", "composite", "preset", "promql")
SHORTEST_PROMQL_WINDOW = 60
MOST_SELECTORS = 100
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def read_sli(node: Node, fields: Fields) -> Sli | None:
    """The SLI that a node describes, or None with its faults noted."""
    found = fields.mapping(node, KINDS, expected=f"exactly one of {', '.join(KINDS)}")
    if found is None or not isinstance(node, documents.Mapping):
        return None
    given = [key for key in node.keys if key in KINDS]
    if len(given) != 1:
        named = " and ".join(f"`{key}`" for key in given) or "no kind of SLI"
        fields.refuse(node, named, f"exactly one of {', '.join(KINDS)}")
    readers: dict[str, Callable[[Node, Fields], Sli | None]] = {
        "requests": _requests,
        "latency": _latency,
        "probe": _probe,
        "condition": _condition,
        "composite": _composite,
        "preset": _preset,
        "promql": _promql,
    }
    read = [readers[key](value, fields) for key, value in found.items()]
    return read[0] if len(read) == 1 else None


def sound(
    fields: Fields, node: Node, make: Callable[[], Model], *, renamed: Callable[[str], str] = str
) -> Model | None:
    """What `make` makes; whatever its validators find becomes faults at the nodes that they name."""
    try:
        return make()
    except ValidationError as error:
        for one in error.errors():
            cause = one.get("ctx", {}).get("error")
            path = ".".join(map(str, one["loc"]))
            defects = cause.defects if isinstance(cause, DefectsError) else (Defect(path, one["msg"]),)
            for defect in defects:
                where = renamed(defect.path)
                place = place_of(node, where)
                fault = place.fault(defect.found, defect.expected, defect.suggestion, path="")
                fields.note(fault, path=joined(node.path, where))
        return None


def place_of(node: Node, path: str) -> Node:
    """The node that a path leads to, or the last one on the way there."""
    for step in _STEP.finditer(path):
        if step[1] is not None and isinstance(node, documents.Sequence) and int(step[1]) < len(node.items):
            node = node.items[int(step[1])]
        elif step[2] is not None and isinstance(node, documents.Mapping) and step[2] in node.values:
            node = node.values[step[2]]
        else:
            break
    return node


def _selectors(node: Node | None, fields: Fields) -> tuple[Selector, ...] | None:
    """One selector or a list of them."""
    expected = 'a selector such as http_requests_total{job="shop"}'
    if node is None:
        return None
    if not isinstance(node, documents.Sequence):
        selector = fields.parsed(node, parse_selector, expected)
        return (selector,) if selector is not None else ()
    items = fields.items(node, expected=expected) or ()
    if len(items) > MOST_SELECTORS:
        fields.refuse(node, f"{len(items)} selectors", f"at most {MOST_SELECTORS}")
        return ()
    read = [fields.parsed(item, parse_selector, expected) for item in items]
    return tuple(selector for selector in read if selector is not None)


def _requests(node: Node, fields: Fields) -> RequestsSli | None:
    before = len(fields.faults)
    found = fields.mapping(node, ("total", "bad", "good"), required=("total",))
    if found is None:
        return None
    total, bad, good = (_selectors(found.get(key), fields) for key in ("total", "bad", "good"))
    if len(fields.faults) > before:
        return None
    return sound(fields, node, lambda: RequestsSli(total=total or (), bad=bad, good=good))


def _latency(node: Node, fields: Fields) -> LatencySli | None:
    before = len(fields.faults)
    found = fields.mapping(node, ("histogram", "threshold", "type"), required=("histogram", "threshold"))
    if not found:
        return None
    histogram = threshold = None
    given = fields.choice(found["type"], HISTOGRAM_TYPES) if "type" in found else "auto"
    if "histogram" in found:
        expected = 'a histogram such as http_request_duration_seconds{job="shop"}'
        histogram = fields.parsed(found["histogram"], parse_selector, expected)
    if "threshold" in found:
        threshold = fields.fine_duration(found["threshold"])
    if histogram is None or threshold is None or len(fields.faults) > before:
        return None
    kind = next(one for one in HISTOGRAM_TYPES if one == given)
    return sound(fields, node, lambda: LatencySli(histogram=histogram, threshold=threshold, type=kind))


def _probe(node: Node, fields: Fields) -> ProbeSli | None:
    before = len(fields.faults)
    found = fields.mapping(node, ("up",), required=("up",), expected="{up: a selector}")
    up = _selectors(found.get("up"), fields) if found else None
    if up is None or len(fields.faults) > before:
        return None
    return sound(fields, node, lambda: ProbeSli(up=up))


def _condition(node: Node, fields: Fields) -> ConditionSli | None:
    before = len(fields.faults)
    keys = ("expr", "op", "limit")
    found = fields.mapping(node, keys, required=keys, expected="{expr: PromQL, op: '<', limit: 26h}")
    if not found:
        return None
    expr = op = limit = None
    if "expr" in found:
        parse = partial(parse_expression, window=False)
        expr = fields.parsed(found["expr"], parse, "PromQL such as time() - last_success_timestamp_seconds")
    if "op" in found:
        op = OPERATIONS.get(fields.choice(found["op"], OPERATIONS) or "")
    if "limit" in found:
        limit = fields.limit(found["limit"])
    if expr is None or op is None or limit is None or len(fields.faults) > before:
        return None
    return sound(fields, node, lambda: ConditionSli(expr=expr, op=op, limit=limit))


def _preset(node: Node, fields: Fields) -> Sli | None:
    before = len(fields.faults)
    given = fields.free_mapping(node, expected=f"{{name: …}} with one of {', '.join(presets.names())}")
    if given is None:
        return None
    name = fields.choice(given.values["name"], presets.names()) if "name" in given.values else None
    if "name" not in given.values:
        fields.refuse(node, "no `name`", f"`name:` and one of {', '.join(presets.names())}")
    if name is None:
        return None
    chosen = presets.preset(name)
    known = ("name", *(["threshold"] if chosen.latency is not None else []), *chosen.options)
    found = fields.mapping(node, known) or {}
    values = {key: fields.text(found[key]) or "" for key in chosen.options if key in found}
    threshold = fields.fine_duration(found["threshold"]) if "threshold" in found else None
    if len(fields.faults) > before:
        return None
    return sound(fields, node, lambda: _of_preset(chosen, values, threshold))


def _of_preset(chosen: Preset, values: Mapping[str, str], threshold: Decimal | None) -> Sli:
    """A latency where a threshold is given, else requests, or a probe."""
    if threshold is not None and chosen.latency is not None:
        return LatencySli(histogram=chosen.chosen(chosen.latency, values), threshold=threshold)
    if chosen.probe is not None:
        return ProbeSli(up=(chosen.chosen(chosen.probe, values),))
    total, bad, good = (
        (chosen.chosen(selector, values),) if selector is not None else None
        for selector in (chosen.total, chosen.bad, chosen.good)
    )
    return RequestsSli(total=total or (), bad=bad, good=good)


def _composite(node: Node, fields: Fields) -> CompositeSli | None:
    before = len(fields.faults)
    found = fields.mapping(node, ("members", "mode"), required=("members",), expected="{members: […]}")
    if not found:
        return None
    items = (
        fields.items(found["members"], expected="a list such as [{slo: a, weight: 2}]")
        if "members" in found
        else ()
    )
    members = [_member(item, fields) for item in items or ()]
    is_worst = "mode" in found and fields.choice(found["mode"], ("weighted", "worst")) == "worst"
    if len(fields.faults) > before:
        return None
    some = tuple(member for member in members if member is not None)
    return sound(fields, node, lambda: CompositeSli(members=some, mode="worst" if is_worst else "weighted"))


def _member(node: Node, fields: Fields) -> Member | None:
    before = len(fields.faults)
    found = fields.mapping(node, ("slo", "weight"), required=("slo",), expected="{slo: a, weight: 2}")
    if not found:
        return None
    name = fields.text(found["slo"], "the name of an SLO") if "slo" in found else None
    weight = fields.decimal(found["weight"]) if "weight" in found else None
    if name is None or len(fields.faults) > before:
        return None
    return sound(fields, node, lambda: Member(slo=name, weight=Decimal(1) if weight is None else weight))


def _promql(node: Node, fields: Fields) -> PromqlSli | None:
    before = len(fields.faults)
    roles = ("bad", "good", "total", "error_ratio")
    found = fields.mapping(node, (*roles, "window"))
    if found is None:
        return None
    expected = "PromQL such as sum(increase(x_total[$window]))"
    given = {role: fields.parsed(found[role], parse_expression, expected) for role in roles if role in found}
    window: int | None = 300
    if "window" in found:
        window = fields.duration(found["window"], least=SHORTEST_PROMQL_WINDOW)
    if len(fields.faults) > before or window is None:
        return None
    return sound(
        fields,
        node,
        lambda: PromqlSli(
            bad=given.get("bad"),
            good=given.get("good"),
            total=given.get("total"),
            error_ratio=given.get("error_ratio"),
            window=window,
        ),
    )
