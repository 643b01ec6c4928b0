"""Native SLOs as OpenSLO's v1; what it has no place for goes into annotations that we read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slo_budget_tracker.documents import Mapping as MappingNode
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.names import ORIGINAL
from slo_budget_tracker.formats.openslo import DATASOURCE, DISPLAY, KEYS, NAME
from slo_budget_tracker.formats.ratios import ratio_of
from slo_budget_tracker.formats.texts import flow_text, plain, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.specs import SLO

_TEMPLATE = "{{.window}}"
_OPS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_CALENDAR = {"week": "1w", "month": "1M", "quarter": "1Q", "year": "1Y"}
# What an OpenSLO document says in its own words.
_OWN = {"name", "description", "target", "window", "sli", "labels", "owner", "datasource", "slices"}


def documents(slos: Sequence[tuple[SLO, Node]]) -> Iterator[dict[str, Any]]:
    """One document for each SLO and its native node."""
    for slo, node in slos:
        yield _document(slo, node)


def _document(slo: SLO, node: Node) -> dict[str, Any]:
    assert isinstance(node, MappingNode)
    labels = dict(slo.labels)
    metadata: dict[str, Any] = {"name": labels.pop(ORIGINAL, slo.name)}
    if DISPLAY in labels:
        metadata["displayName"] = labels.pop(DISPLAY)
    if slo.owner:
        labels["owner"] = slo.owner
    annotations = {NAME: slo.name}
    if slo.datasource != "default":
        annotations[DATASOURCE] = slo.datasource
    rest = {key: value_of(value) for key, value in node.values.items() if key not in _OWN}
    rest.setdefault("alerts", "workbook")
    if "burn_rate" in rest:
        del rest["alerts"]
    annotations[KEYS] = flow_text(rest)
    spec: dict[str, Any] = {
        "description": slo.description,
        "service": slo.service or slo.name,
        "indicator": {"metadata": {"name": slo.name}, "spec": _sli(slo)},
        "timeWindow": [_window(slo)],
        "budgetingMethod": "Occurrences" if slo.slices is None else "Timeslices",
        "objectives": [_objective(slo)],
    }
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {**metadata, **({"labels": labels} if labels else {}), "annotations": annotations},
        "spec": {key: value for key, value in spec.items() if value},
    }


def _sli(slo: SLO) -> dict[str, Any]:
    if slo.sli.kind == "condition":
        if slo.sli.op not in _OPS:
            raise ValueError(f"`condition` with {slo.sli.op}")
        return {"thresholdMetric": _source(slo.sli.expr)}
    ratio = ratio_of(slo)
    if not ratio.part:
        return {"ratioMetric": {"rawType": "failure", "raw": _source(ratio.total)}}
    role = "good" if ratio.good else "bad"
    return {
        "ratioMetric": {"counter": plain("true"), role: _source(ratio.part), "total": _source(ratio.total)}
    }


def _source(query: str) -> dict[str, Any]:
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query.replace("$window", _TEMPLATE)}}}


def _window(slo: SLO) -> dict[str, Any]:
    if slo.calendar is None:
        return {"duration": _shorthand(slo.window), "isRolling": plain("true")}
    calendar = {"timeZone": slo.calendar.timezone}
    if slo.calendar.start is not None:
        calendar["startTime"] = slo.calendar.start.replace("T", " ")
    return {"duration": _CALENDAR[slo.calendar.unit], "isRolling": plain("false"), "calendar": calendar}


def _shorthand(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    raise ValueError(f"a window or slice of {format_duration(seconds)}")


def _objective(slo: SLO) -> dict[str, Any]:
    objective: dict[str, Any] = {"target": plain(f"{slo.target.normalize():f}")}
    if slo.sli.kind == "condition":
        objective |= {"op": _OPS[slo.sli.op], "value": plain(f"{slo.sli.limit.normalize():f}")}
    if slo.slices is not None:
        objective |= {
            "timeSliceTarget": plain(f"{slo.slices.target.normalize():f}"),
            "timeSliceWindow": _shorthand(slo.slices.width),
        }
    return objective
