"""SLO files to other formats: what is written is read back, and what would be lost is refused by name."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from slo_budget_tracker.errors import Fault, SpecError
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats import openslo_writing, rules, sloth_writing
from slo_budget_tracker.formats.names import ORIGINAL
from slo_budget_tracker.formats.texts import values_text, yaml_text
from slo_budget_tracker.specfiles import understand_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.understood import Understood

    Place = tuple[str, int, int]  # file, line, column

# Places in files, and names that formats change in their own way.
_FREE = {"source", "name", "labels", "service"}
_CLOSE = Decimal("1e-9")  # factors are written with so many digits as the other format's unit leaves


class Target(StrEnum):
    """The formats that are written."""

    NATIVE = "native"
    OPENSLO = "openslo"
    SLOTH = "sloth"
    RULES = "prometheus-rules"


class Conversion(NamedTuple):
    """What could be written, what is called or asked differently there, and what was left out and why."""

    text: str
    warnings: tuple[Fault, ...]
    refused: tuple[Fault, ...]


def as_far_as_possible(files: Sequence[Understood], to: Target, *, tick: int = 60) -> Conversion:
    """Each SLO that the other format can say; those it cannot say are left out, and named.

    Raises:
        SpecError: nothing can be written.
    """
    refused: list[Fault] = []
    without: set[Place] = set()
    while True:
        try:
            text, warnings = converted(files, to, tick=tick, without=without)
        except SpecError as error:
            refused += error.faults
            fresh = {_place(one) for one in error.faults} - without
            without |= fresh
            left = [one for file in files for one in file.file.found if _place(one.place) not in without]
            if not fresh or not left:
                raise SpecError(sorted(refused)) from None
        else:
            return Conversion(text, warnings, tuple(sorted(refused)))


def converted(
    files: Sequence[Understood], to: Target, *, tick: int = 60, without: Container[Place] = ()
) -> tuple[str, tuple[Fault, ...]]:
    """The text in the other format, and warnings of what is called or asked differently there.

    Raises:
        SpecError: with everything that the other format cannot say.
    """
    if to is Target.NATIVE:
        return yaml_text(root for file in files for root in file.roots), ()
    pairs = [
        (one.slo, _node(file, one.place), one.place)
        for file in files
        for one in file.file.found
        if _place(one.place) not in without
    ]
    faults: list[Fault] = []
    documents: list[dict[str, Any]] = []
    for slo, node, place in pairs:
        try:
            documents += _written(to, [(slo, node)])
        except ValueError as error:
            faults.append(_lost(place, str(error), to))
    if faults:
        raise SpecError(sorted(faults))
    if to is not Target.OPENSLO:
        documents = _written(to, [(slo, node) for slo, node, _ in pairs])
    text = values_text(documents)
    if to is Target.RULES:
        faults = [_lost(place, f"`{name}`", to) for slo, _, place in pairs for name in _beyond_rules(slo)]
        if faults:
            raise SpecError(sorted(faults))
        return text, tuple(_left_out(pairs))
    return text, _checked(text, [(slo, place) for slo, _, place in pairs], to, tick=tick)


def _place(one: Fault | Node) -> Place:
    return one.file, one.line, one.column


def _written(to: Target, pairs: Sequence[tuple[SLO, Node]]) -> list[dict[str, Any]]:
    writers: dict[Target, Callable[[], list[dict[str, Any]]]] = {
        Target.OPENSLO: lambda: list(openslo_writing.documents(pairs)),
        Target.SLOTH: lambda: list(sloth_writing.documents([slo for slo, _ in pairs])),
        Target.RULES: lambda: [rules.document([slo for slo, _ in pairs])],
    }
    return writers[to]()


def _node(file: Understood, place: Node) -> Node:
    """The native mapping of the SLO whose name stands at a place."""
    for root in file.roots:
        slos = getattr(root, "values", {}).get("slos")
        for item in getattr(slos, "items", ()):
            if getattr(item, "values", {}).get("name") is place:
                return item  # type: ignore[no-any-return]
    raise AssertionError(place)


def _checked(text: str, pairs: Sequence[tuple[SLO, Node]], to: Target, *, tick: int) -> tuple[Fault, ...]:
    """Reads back what was written; SpecError with every field that came back different."""
    try:
        files = understand_texts([Source(f"<{to}>", text)], tick=tick)
    except SpecError as error:
        place = pairs[0][1]
        raise SpecError([_lost(place, f"what is refused when it is read: {error.faults[0]}", to)]) from error
    back = {one.slo.name: one.slo for file in files for one in file.file.found}
    faults: list[Fault] = []
    warnings: list[Fault] = []
    for slo, place in pairs:
        name = sloth_writing.name_of(slo)[1] if to is Target.SLOTH else slo.name
        other = back[name]
        faults += [_lost(place, f"`{field}`", to) for field in _differences(slo, other)]
        if name != slo.name:
            warnings.append(place.fault(f"is called {name} when it is read back", warning=True))
        if other.sli != slo.sli:
            warnings.append(place.fault("its SLI is asked differently when it is read back", warning=True))
    if faults:
        raise SpecError(sorted(faults))
    return tuple(warnings)


def _differences(slo: SLO, other: SLO) -> Iterator[str]:
    for name in type(slo).model_fields:
        mine, theirs = getattr(slo, name), getattr(other, name)
        if name in _FREE or mine == theirs:
            continue
        if name == "alerts" and _same_alerts(mine, theirs):
            continue
        if name == "sli" and {mine.kind, theirs.kind} <= {"promql", "requests", "latency"}:
            continue
        yield name
    if slo.service and slo.service != other.service:
        yield "service"
    if set(_own_labels(slo)) - set(other.labels):
        yield "labels"


def _own_labels(slo: SLO) -> list[tuple[str, str]]:
    return [(name, value) for name, value in slo.labels if name != ORIGINAL]


def _same_alerts(mine: Sequence[Any], theirs: Sequence[Any]) -> bool:
    if len(mine) != len(theirs):
        return False
    for one, other in zip(sorted(mine, key=_by_rule), sorted(theirs, key=_by_rule), strict=True):
        if abs(one.burn_rate - other.burn_rate) > _CLOSE * one.burn_rate:
            return False
        if one.model_copy(update={"burn_rate": other.burn_rate}) != other:
            return False
    return True


def _by_rule(alert: Any) -> str:
    return str(alert.rule)


def _beyond_rules(slo: SLO) -> Iterator[str]:
    """What rules would be wrong without."""
    for name in ("calendar", "group_by", "slices", "no_data"):
        if getattr(slo, name) != type(slo).model_fields[name].default:
            yield name


def _left_out(pairs: Sequence[tuple[SLO, Node, Node]]) -> Iterator[Fault]:
    """What rules do not carry and nobody needs for them to be right."""
    for slo, _, place in pairs:
        kept = {"name", "target", "window", "sli", "alerts", "service", "source", "description"}
        gone = [
            name
            for name, field in type(slo).model_fields.items()
            if name not in kept and getattr(slo, name) != field.default
        ]
        if any(alert.minimum_bad or alert.confidence for alert in slo.alerts):
            gone.append("low_traffic")
        if gone:
            yield place.fault(f"left out: {', '.join(gone)}", warning=True)


def _lost(place: Node, what: str, to: Target) -> Fault:
    return place.fault(what, f"what {to} can say", "keep this SLO in the native format")
