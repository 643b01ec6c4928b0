"""Sloth's files, v1 and the Kubernetes resource: one native document for each of theirs."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import documents
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats import shapes
from slo_budget_tracker.formats.alertwindows import Periods, duplicates, read_catalogue
from slo_budget_tracker.formats.drafts import at, word
from slo_budget_tracker.formats.names import ORIGINAL, labels_of, slug
from slo_budget_tracker.formats.plugins import read_plugin
from slo_budget_tracker.formats.tiers import alerts_of
from slo_budget_tracker.formats.trees import text, tree
from slo_budget_tracker.specs import DEFAULT_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.drafts import Draft
    from slo_budget_tracker.formats.shapes import Indicator

_LINK = re.compile(r"https?://[^\s{}]+")
_LINKS = {
    "runbook": "runbook",
    "runbook_url": "runbook",
    "dashboard": "dashboard",
    "dashboard_url": "dashboard",
}
_ALWAYS_ONE = re.compile(r"\(*\s*(?:vector\(\s*1\s*\)|1)\s*\)*(?:\[\{\{\s*\.window\s*\}\}\])?")
_ROUTED = "alert on slo_burn_alert_firing{slo, severity} and route by these two"
# What the chain of plugins adds and whether anything is missing without it.
_CHAIN = {
    "sloth.dev/core/": "the daemon does what it is for",
    "sloth.dev/contrib/validate_victoria_metrics/": "queries are checked as Prometheus takes them",
    "sloth.dev/contrib/denominator_corrected_rules/": "every window is weighted by its events anyway",
}


class Spelling(NamedTuple):
    """The names of keys, which differ between the file and the resource."""

    plugins: str
    page: str
    ticket: str
    error: str
    total: str
    ratio: str


FILE = Spelling(
    "slo_plugins", "page_alert", "ticket_alert", "error_query", "total_query", "error_ratio_query"
)
RESOURCE = Spelling("sloPlugins", "pageAlert", "ticketAlert", "errorQuery", "totalQuery", "errorRatioQuery")


def translate(draft: Draft, root: Node, periods: Periods) -> Iterator[Node]:
    """The native document of one of Sloth's."""
    if word(root, "apiVersion"):
        yield from _resource(draft, root, periods)
        return
    found = draft.mapping(
        root, ("version", "service", "labels", "slos", FILE.plugins), required=("service", "slos")
    )
    yield from _service(draft, root, found, FILE, periods)


def _resource(draft: Draft, root: Node, periods: Periods) -> Iterator[Node]:
    kind = word(root, "kind")
    if kind == "AlertWindows":
        again = duplicates(periods, root)
        if again:
            draft.refuse(at(root, "spec", "sloPeriod") or root, again, "one for each period")
        read_catalogue(draft, root)
    elif kind == "PrometheusServiceLevel":
        found = draft.mapping(
            root, ("apiVersion", "kind", "metadata", "spec", "status"), required=("metadata", "spec")
        )
        spec = found.get("spec")
        if spec is not None:
            keys = ("service", "labels", "slos", RESOURCE.plugins)
            named = draft.mapping(spec, keys, required=("service", "slos"))
            yield from _service(draft, spec, named, RESOURCE, periods)
    else:
        place = at(root, "kind") or root
        draft.refuse(place, f"the kind {shown(kind)}", "PrometheusServiceLevel or AlertWindows")


def _service(
    draft: Draft, place: Node, found: Mapping[str, Node], spelling: Spelling, periods: Periods
) -> Iterator[Node]:
    service = draft.text(found.get("service"), most=200)
    _chain(draft, found.get(spelling.plugins), "chain")
    items = draft.items(found.get("slos"), expected="a list of SLOs")
    if not items and "slos" in found:
        draft.refuse(found["slos"], "an empty list", "at least one SLO")
    group = _Group(found.get("labels"), service.text if service else "", spelling, periods)
    slos = [slo for item in items if (slo := _slo(draft, item, group))]
    if slos:
        yield tree(place, {"service": service, "slos": slos})


def _chain(draft: Draft, node: Node | None, key: str) -> None:
    """Plugins that only arrange Sloth's own rules are left out; what might change a figure is refused."""
    found = draft.mapping(node, ("overridePrevious", key))
    for item in draft.items(found.get(key)):
        plugin = draft.mapping(item, ("id", "config", "priority"))
        name = draft.text(plugin.get("id"))
        if name is None:
            continue
        why = next((why for start, why in _CHAIN.items() if name.text.startswith(start)), None)
        if why is None:
            draft.refuse(name, f"the plugin {shown(name.text)}, not supported in this version")
        else:
            draft.warn(name, f"left out: {why}")


class _Group(NamedTuple):
    """What the SLOs of one document share."""

    labels: Node | None
    service: str
    spelling: Spelling
    periods: Periods


def _slo(draft: Draft, item: Node, group: _Group) -> Node | None:
    spelling, periods = group.spelling, group.periods
    keys = ("name", "description", "objective", "labels", "sli", "alerting", "plugins")
    found = draft.mapping(item, keys, required=("name", "objective", "sli"))
    if not found:
        return None
    name = draft.text(found.get("name"), most=200)
    objective = draft.number(found.get("objective"), "a share of good events in per cent such as 99.9")
    indicator = _sli(draft, found["sli"], spelling) if "sli" in found else None
    period = periods.period()
    if period is None:
        known = ", ".join(format_duration(one) for one in sorted(periods.catalogues))
        suggestion = "keep one AlertWindows document, or one of 30d"
        draft.refuse(
            name or item, f"catalogues of {known} and none of 30d", "the period of this SLO", suggestion
        )
    _chain(draft, found.get("plugins"), "chain")
    labels = labels_of(draft, (group.labels, found.get("labels")))
    if name is None or objective is None or indicator is None or period is None:
        return None
    own = slug(group.service, name.text)
    alerting = found.get("alerting")
    return tree(
        item,
        {
            "name": text(name, own),
            "description": draft.text(found.get("description")),
            "target": text(found["objective"], f"{objective}%"),
            "window": text(name, format_duration(period)),
            "sli": indicator.sli,
            "group_by": tree(indicator.sli, indicator.groups_written) if indicator.group_by else None,
            "alerts": _alerts(draft, alerting or name, spelling, periods, Decimal(objective) / 100),
            "labels": {**labels.values, **({} if own == name.text else {ORIGINAL: name})} or None,
            "owner": labels.owner,
            "links": _links(draft, alerting, spelling) or None,
        },
    )


def _sli(draft: Draft, node: Node, spelling: Spelling) -> Indicator | None:
    found = draft.mapping(node, ("events", "raw", "plugin"))
    if len(found) != 1:
        given = " and ".join(f"`{key}`" for key in found) or "no kind of SLI"
        draft.refuse(node, given, "exactly one of events, raw, plugin")
        return None
    kind, inside = next(iter(found.items()))
    if kind == "plugin":
        sli = read_plugin(draft, inside)
        return shapes.Indicator(sli) if sli is not None else None
    keys = (spelling.error, spelling.total) if kind == "events" else (spelling.ratio,)
    named = draft.mapping(inside, keys, required=keys)
    texts = [draft.text(named.get(key), expected="PromQL") for key in keys]
    first = texts[0]
    if first is None:
        return None
    if kind == "raw":
        return shapes.share(draft, inside, first, good=False)
    total = texts[1]
    if total is not None and _ALWAYS_ONE.fullmatch(total.text.strip()):
        draft.warn(total, "the total is always 1: the error query is read as an error ratio")
        return shapes.share(draft, inside, first, good=False)
    return shapes.events(draft, inside, part=first, total=total, good=False) if total is not None else None


def _alerts(draft: Draft, place: Node, spelling: Spelling, periods: Periods, target: Decimal) -> Node:
    """`workbook` where Sloth's own tiers are all on, else the tiers that are."""
    alerting = at(place, spelling.page), at(place, spelling.ticket)
    off = {
        severity
        for severity, node in zip(("page", "ticket"), alerting, strict=True)
        if node is not None and draft.flag(at(node, "disable"))
    }
    period = periods.period() or DEFAULT_WINDOW
    if not off and period == DEFAULT_WINDOW and period not in periods.catalogues:
        return text(place, "workbook")
    tiers = [tier for tier in periods.tiers(period, place) if tier.severity not in off]
    return alerts_of(draft, place, tiers, target=target)


def _links(draft: Draft, alerting: Node | None, spelling: Spelling) -> dict[str, Node]:
    """Links among the annotations; what else alert rules carry is left out, by name."""
    links: dict[str, Node] = {}
    found = draft.mapping(alerting, ("name", "labels", "annotations", spelling.page, spelling.ticket))
    blocks = {"": found}
    for key in (spelling.page, spelling.ticket):
        blocks[f"{key}."] = draft.mapping(found.get(key), ("disable", "labels", "annotations"))
    gone = []
    for where, block in blocks.items():
        gone += [f"{where}{key}" for key in ("name", "labels") if key in block]
        notes = block.get("annotations")
        named = notes.values if isinstance(notes, documents.Mapping) else {}
        for name, node in named.items():
            if isinstance(node, documents.Scalar) and name in _LINKS and _LINK.fullmatch(node.text):
                links.setdefault(_LINKS[name], text(node, node.text))
            else:
                gone.append(f"{where}annotations.{name}")
    if gone and alerting is not None:
        draft.warn(alerting, f"left out: {', '.join(gone)}; {_ROUTED}")
    return links
