"""OpenSLO's v1: an SLO with all that it refers to becomes one native SLO for each objective."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from slo_budget_tracker.documents import Mapping as Mapping_
from slo_budget_tracker.documents import Scalar, read_documents
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.formats.drafts import Draft, at, word
from slo_budget_tracker.formats.names import ORIGINAL, labels_of, slug
from slo_budget_tracker.formats.openslo_alerts import alerts
from slo_budget_tracker.formats.openslo_indicators import Objective, indicator_of, read_sli
from slo_budget_tracker.formats.openslo_library import Library, check
from slo_budget_tracker.formats.openslo_windows import seconds_of, window_of
from slo_budget_tracker.formats.trees import moved, text, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.documents import Node

# Annotations of ours: the exact name, a datasource of the daemon, native keys that OpenSLO has no place for.
NAME, DATASOURCE, KEYS = (f"slo-budget-tracker/{key}" for key in ("name", "datasource", "keys"))
_TAKEN = {"name", "description", "target", "window", "sli", "labels", "owner", "datasource", "slices"}
_MOST = 16_384
DISPLAY = "display_name"
_SPEC = (
    *("description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod"),
    *("objectives", "alertPolicies"),
)
_OBJECTIVE = (
    *("displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow"),
    *("indicator", "indicatorRef", "compositeWeight"),
)
_METHODS = ("Occurrences", "Timeslices", "RatioTimeslices")


def translate(draft: Draft, root: Node, library: Library) -> Iterator[Node]:
    """The native document of an SLO; other objects bring none of their own."""
    before = len(draft.fields.faults)
    check(draft, root, library)
    if word(root, "kind") != "SLO" or len(draft.fields.faults) > before:
        return
    required = ("service", "budgetingMethod", "objectives")
    spec = draft.mapping(at(root, "spec"), _SPEC, required=required)
    name = draft.text(at(root, "metadata", "name"))
    service = draft.text(spec.get("service"))
    method = draft.text(spec.get("budgetingMethod"))
    if method is not None and method.text not in _METHODS:
        draft.refuse(method, shown(method.text), f"one of {', '.join(_METHODS)}")
        return
    sli = indicator_of(draft, spec, library, at(root, "spec") or root)
    objectives = draft.items(spec.get("objectives"), expected="a list of objectives")
    if name is None or method is None or service is None or sli is None or not objectives:
        return
    shared = _Objectives(draft, root, spec, sli, library, method.text)
    slos = [
        slo
        for item, suffix in zip(objectives, _suffixes(objectives), strict=True)
        if (slo := shared.slo(item, own=slug(service.text, name.text, suffix)))
    ]
    if slos:
        yield tree(root, {"service": service, "slos": slos})


def _suffixes(objectives: tuple[Node, ...]) -> list[str]:
    """What tells several objectives apart: their display names, or their numbers."""
    if len(objectives) == 1:
        return [""]
    names = [word(item, "displayName") for item in objectives]
    slugs = Counter(slug(name) for name in names)
    return [
        name if slug(name) and slugs[slug(name)] == 1 else str(number)
        for number, name in enumerate(names, start=1)
    ]


@dataclass(frozen=True, slots=True)
class _Objectives:
    """What the objectives of one SLO share."""

    draft: Draft
    root: Node
    spec: Mapping[str, Node]
    sli: Mapping[str, Node]
    library: Library
    method: str

    def slo(self, item: Node, *, own: str) -> Node | None:
        """The native SLO of one objective."""
        draft, spec = self.draft, self.spec
        before = len(draft.fields.faults)
        found = self._found(item)
        target = _target(draft, item, found)
        slices = _slices(draft, item, found) if self.method == "Timeslices" else None
        indicator = read_sli(draft, self.sli, Objective(item, found, self.method), self.library)
        metadata = draft.mapping(at(self.root, "metadata"), ("name", "displayName", "labels", "annotations"))
        name = metadata["name"]
        native = _annotations(draft, metadata.get("annotations"))
        written = native.pop("name", None)
        if isinstance(written, Scalar) and len(draft.items(spec.get("objectives"))) == 1:
            own = written.text
        labels = labels_of(draft, (metadata.get("labels"),))
        window = window_of(draft, spec, name)
        tiers: Node | None = None
        if not native.keys() & {"alerts", "burn_rate"} or "alertPolicies" in spec:
            tiers = alerts(draft, spec, name, self.library, target=_share(target))
        if target is None or indicator is None or window is None or len(draft.fields.faults) > before:
            return None
        return tree(
            item,
            {
                "name": text(name, own),
                "description": draft.text(spec.get("description")),
                "target": target,
                "window": window,
                "sli": indicator.sli,
                "group_by": tree(indicator.sli, indicator.groups_written) if indicator.group_by else None,
                "slices": slices,
                **({"alerts": tiers} if tiers is not None else {}),
                "labels": {**labels.values, **self._names(metadata, own)} or None,
                "owner": labels.owner,
                **native,
            },
        )

    def _found(self, item: Node) -> Mapping[str, Node]:
        found = self.draft.mapping(item, _OBJECTIVE)
        for key in ("indicator", "indicatorRef", "compositeWeight"):
            if key in found:
                what = "an objective with an indicator of its own"
                self.draft.refuse(found[key], what, "one for all", "write an SLO for each")
        return found

    def _names(self, metadata: Mapping[str, Node], own: str) -> dict[str, Node]:
        """The names that people know the SLO by, as labels."""
        names: dict[str, Node] = {}
        shown_as = self.draft.text(metadata.get("displayName"))
        if shown_as is not None:
            names[DISPLAY] = shown_as
        original = word(self.root, "metadata", "name")
        if own != original:
            names[ORIGINAL] = text(metadata["name"], original)
        return names


def _share(target: Scalar | None) -> Decimal | None:
    if target is None:
        return None
    percent = target.text.removesuffix("%")
    return Decimal(percent) / (1 if percent == target.text else 100)


def _annotations(draft: Draft, node: Node | None) -> dict[str, Node]:
    """Native keys among the annotations; those for other programs are left out."""
    found = draft.fields.free_mapping(node, expected="annotations by name") if node is not None else None
    native: dict[str, Node] = {}
    for key, value in found.values.items() if found is not None else ():
        given = draft.text(value, most=_MOST)
        if key == NAME and given is not None:
            native["name"] = given
        elif key == DATASOURCE and given is not None:
            native["datasource"] = given
        elif key == KEYS and given is not None:
            native |= _keys(draft, given)
        elif key not in {NAME, DATASOURCE, KEYS}:
            draft.warn(value, "left out: an annotation for other programs")
    return native


def _keys(draft: Draft, given: Scalar) -> dict[str, Node]:
    """Keys that OpenSLO has no place for, as one line of YAML."""
    reading = read_documents(given.text, file=given.file)
    roots = reading.documents
    if reading.faults or len(roots) != 1 or not isinstance(roots[0], Mapping_):
        draft.refuse(given, "no YAML mapping", "native keys such as {alerts: workbook}")
        return {}
    taken = set(roots[0].values) & _TAKEN
    for key in sorted(taken):
        draft.refuse(given, f"the key {key}", "in its own place in the document")
    return {key: moved(value, given) for key, value in roots[0].values.items() if key not in taken}


def _target(draft: Draft, item: Node, found: Mapping[str, Node]) -> Scalar | None:
    if ("target" in found) == ("targetPercent" in found):
        draft.refuse(item, "neither or both of `target` and `targetPercent`", "exactly one of them")
        return None
    if "targetPercent" in found:
        percent = draft.number(found["targetPercent"], "a share in per cent such as 99.9")
        return text(found["targetPercent"], f"{percent}%") if percent is not None else None
    ratio = draft.number(found["target"], "a share such as 0.999")
    return text(found["target"], ratio) if ratio is not None else None


def _slices(draft: Draft, item: Node, found: Mapping[str, Node]) -> Node | None:
    for key in ("timeSliceTarget", "timeSliceWindow"):
        if key not in found:
            draft.refuse(item, f"no `{key}`", f"`{key}:`")
    width = seconds_of(draft, found.get("timeSliceWindow"), minutes=True)
    share = draft.number(found.get("timeSliceTarget"), "a share such as 0.95")
    if width is None or share is None:
        return None
    return tree(item, {"width": text(found["timeSliceWindow"], format_duration(width)), "target": share})
