"""The native format of SLO files: a document with `slos:` becomes SLOs, and everything wrong in it faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import documents
from slo_budget_tracker.calendars import NOMINAL_DAYS, Calendar, parse_start
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.errors import shown
from slo_budget_tracker.fields import is_secret
from slo_budget_tracker.groups import OF_TARGETS, RESERVED, meant, written
from slo_budget_tracker.indicators import place_of, read_sli, sound
from slo_budget_tracker.policies import Policies
from slo_budget_tracker.selectors import Selector, beyond_promql
from slo_budget_tracker.specs import (
    DAY,
    DEFAULT_WINDOW,
    HOUR,
    MOST_GROUPS,
    SLO,
    PromqlSli,
    RequestsSli,
    Slices,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.calendars import PeriodUnit
    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.errors import Fault
    from slo_budget_tracker.fields import Fields
    from slo_budget_tracker.specs import NoData, Sli

SHORTEST_WINDOW, LONGEST_WINDOW = HOUR, 400 * DAY
MOST_LABELS = 32
LARGEST_MAX_GROUPS = 10_000
FILE_KEYS = ("service", "owner", "labels", "slos")
SLO_KEYS = (
    *("name", "description", "target", "window", "sli", "alerts", "burn_rate"),
    *("labels", "links", "owner", "datasource", "no_data", "budget_alerts", "low_traffic"),
    *("group_by", "max_groups", "slices"),
)
LATER_SLO_KEYS = {
    "corrections": "they stand in files of their own, named under `corrections_files`",
}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}", re.ASCII)
_LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,31}", re.ASCII)
_DATASOURCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}", re.ASCII)
_WINDOW = "a duration such as 30d, or {calendar: month}"
_TARGET = 'a share of good events such as "99.9%" or 0.999'
# Stand in for what could not be read, so that the rest of the SLO is still checked.
_ANY_TARGET = Decimal("0.999999999")
_ANY_SLI = RequestsSli(total=(Selector("any"),), bad=(Selector("any"),))


class Found(NamedTuple):
    """An SLO and the place of its name."""

    slo: SLO
    place: Node


@dataclass(slots=True)
class NativeFile:
    """Reads the documents of one file; faults go to `fields`."""

    fields: Fields
    tick: int = 60
    found: list[Found] = field(default_factory=list)
    named: list[tuple[str, Node]] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def read(self, root: Node) -> None:
        """Reads one document."""
        found = self.fields.mapping(root, FILE_KEYS, required=("slos",), expected="a mapping with `slos:`")
        if found is None:
            return
        service, owner = self._text(found.get("service")), self._text(found.get("owner"))
        labels = self._labels(found.get("labels"))
        items = self.fields.items(found["slos"], expected="a list of SLOs") if "slos" in found else ()
        for item in items or ():
            self._slo(item, service=service, owner=owner, labels=labels)

    def _slo(self, node: Node, *, service: str, owner: str, labels: Mapping[str, str]) -> None:
        before = len(self.fields.faults)
        found = self.fields.mapping(
            node, SLO_KEYS, later=LATER_SLO_KEYS, required=("name", "target", "sli"), expected="an SLO"
        )
        if found is None:
            return
        name = self.fields.text(found["name"], "a name", most=1_000) if "name" in found else None
        if name is not None:
            self.named.append((name, found["name"]))
        target = self.fields.share(found["target"], _TARGET) if "target" in found else None
        window: int | None = DEFAULT_WINDOW
        calendar = None
        if "window" in found:
            window, calendar = self._window(found["window"])
        sli = self._sli(found["sli"], window) if "sli" in found else None
        slices = self._slices(found["slices"]) if "slices" in found else None
        policies = Policies(self.fields, max(self.tick, slices.width if slices else 0), self.warnings)
        alerts = policies.alerts(node, found, target=target, window=window)
        budget_alerts = policies.budget_alerts(found.get("budget_alerts"))
        no_data: NoData = "bad" if self._is_bad(found.get("no_data")) else "hold"
        slo = sound(
            self.fields,
            node,
            lambda: SLO(
                name=name if name is not None else "any",
                description=self._text(found.get("description"), most=1_000, lines=True),
                service=service,
                owner=self._text(found.get("owner")) or owner,
                labels=tuple(sorted({**labels, **self._labels(found.get("labels"))}.items())),
                links=tuple(sorted(self._links(found.get("links")))),
                datasource=self._datasource(found.get("datasource")),
                target=target if target is not None else _ANY_TARGET,
                window=window if window is not None else LONGEST_WINDOW,
                calendar=calendar,
                sli=sli or _ANY_SLI,
                alerts=alerts,
                budget_alerts=budget_alerts,
                no_data=no_data,
                slices=slices,
                group_by=self._group_by(found.get("group_by")),
                max_groups=self._max_groups(found),
                source=f"{node.file}:{node.line}",
            ),
            renamed=_as_simple if "burn_rate" in found else str,
        )
        if slo is not None and len(self.fields.faults) == before:
            self.found.append(Found(slo, found["name"]))

    def _text(self, node: Node | None, *, most: int = 200, lines: bool = False) -> str:
        return (self.fields.text(node, most=most, lines=lines) or "").strip() if node is not None else ""

    def _window(self, node: Node) -> tuple[int | None, Calendar | None]:
        """The length of the SLO window; of a calendar window the nominal one."""
        if isinstance(node, documents.Mapping):
            calendar = self._calendar(node)
            return (None, None) if calendar is None else (calendar.nominal, calendar)
        seconds = self.fields.duration(node, _WINDOW)
        if seconds is not None and not SHORTEST_WINDOW <= seconds <= LONGEST_WINDOW:
            self.fields.refuse(node, format_duration(seconds), "1h to 400d")
            return None, None
        return seconds, None

    def _calendar(self, node: documents.Mapping) -> Calendar | None:
        before = len(self.fields.faults)
        expected = "{calendar: month, timezone: Europe/Berlin}"
        keys = ("calendar", "timezone", "start")
        found = self.fields.mapping(node, keys, required=("calendar",), expected=expected)
        if not found:
            return None
        unit = self.fields.choice(found["calendar"], NOMINAL_DAYS) if "calendar" in found else None
        zone = self.fields.text(found["timezone"], "a time zone") if "timezone" in found else "UTC"
        units = [one for one in NOMINAL_DAYS if one == unit]
        if not units or zone is None or len(self.fields.faults) > before:
            return None
        begin = self._start(found["start"], units[0]) if "start" in found else None
        if len(self.fields.faults) > before:
            return None
        return sound(self.fields, node, lambda: Calendar(unit=units[0], timezone=zone, start=begin))

    def _start(self, node: Node, unit: PeriodUnit) -> str | None:
        """Where a period begins, if it is not where periods begin anyway."""
        expected = "a local date and time such as 2026-01-03T12:00, at which a period begins"
        found = node.text if isinstance(node, documents.Scalar) else ""  # a date of YAML 1.1 is one here
        try:
            return parse_start(found, unit)
        except ValueError:
            self.fields.refuse(node, shown(found) if found else "no date", expected)
            return None

    def _sli(self, node: Node, window: int | None) -> Sli | None:
        sli = read_sli(node, self.fields)
        if isinstance(sli, PromqlSli) and window is not None and sli.window > window:
            place = place_of(node, "promql.window")
            self.fields.refuse(place, format_duration(sli.window), f"at most {format_duration(window)}")
        texts = (getattr(sli, role, None) for role in ("total", "bad", "good", "error_ratio", "expr"))
        beyond = sorted({name for text in texts if isinstance(text, str) for name in beyond_promql(text)})
        if beyond:
            what = f"{', '.join(beyond)}: of MetricsQL, which VictoriaMetrics answers and Prometheus refuses"
            self.warnings.append(node.fault(what, warning=True))
        return sli

    def _slices(self, node: Node) -> Slices | None:
        before = len(self.fields.faults)
        keys = ("width", "target")
        found = self.fields.mapping(node, keys, required=keys, expected="{width: 1m, target: 95%}")
        if not found:
            return None
        width = self.fields.duration(found["width"], least=self.tick) if "width" in found else None
        target = self.fields.share(found["target"], _TARGET) if "target" in found else None
        if width is not None and width % self.tick:
            expected = f"a multiple of the tick, {format_duration(self.tick)}"
            self.fields.refuse(found["width"], format_duration(width), expected)
        if width is None or target is None or len(self.fields.faults) > before:
            return None
        return sound(self.fields, node, lambda: Slices(width=width, target=target))

    def _group_by(self, node: Node | None) -> tuple[str, ...]:
        """Labels of the series, by whose values an SLO has instances."""
        items = self.fields.items(node, expected="a list of labels such as [handler]") if node else None
        found: list[str] = []
        for item in items or ():
            name = self.fields.text(item, "a label")
            if name is None:
                continue
            if not _LABEL.fullmatch(name) or name.startswith("__"):
                self.fields.refuse(item, f"the label {shown(name)}", "letters, digits and _, no __ in front")
            elif name in RESERVED - OF_TARGETS:
                suggestion = f"write {written(name)} for the label {name} of the series"
                self.fields.refuse(item, f"the reserved label {name}", "another one", suggestion)
            elif meant(name) in found:
                self.fields.refuse(item, f"the label {name} twice", "each label once")
            else:
                found.append(meant(name))
        return tuple(found)

    def _max_groups(self, found: Mapping[str, Node]) -> int:
        node = found.get("max_groups")
        if node is None:
            return MOST_GROUPS
        if "group_by" not in found:
            self.fields.refuse(node, "`max_groups` without `group_by`", "both, or neither")
        most = self.fields.whole(node, most=LARGEST_MAX_GROUPS)
        if most == 0:
            self.fields.refuse(node, "0", "at least 1")
        return most or MOST_GROUPS

    def _is_bad(self, node: Node | None) -> bool:
        return node is not None and self.fields.choice(node, ("hold", "bad")) == "bad"

    def _datasource(self, node: Node | None) -> str:
        if node is None:
            return "default"
        name = self.fields.text(node, "the name of a datasource")
        if name is not None and not _DATASOURCE.fullmatch(name):
            suggestion = "URLs stand in the daemon's configuration" if "/" in name else ""
            found = "a URL" if "://" in name else shown(name)
            self.fields.refuse(node, found, "the name of a datasource", suggestion)
        return name or "default"

    def _labels(self, node: Node | None) -> dict[str, str]:
        found = self.fields.free_mapping(node, expected="labels by name") if node is not None else None
        labels = {}
        for name, value in found.values.items() if found is not None else ():
            where = found.keys[name] if found is not None else value
            if is_secret(name):
                self.fields.refuse(
                    where, f"the label {shown(name)}, a secret by its name", "none in SLO files"
                )
            elif not _LABEL.fullmatch(name) or name.startswith("__"):
                self.fields.refuse(where, f"the label {shown(name)}", "letters, digits and _, no __ in front")
            elif name in RESERVED:
                self.fields.refuse(where, f"the reserved label {name}", "another name", f"perhaps slo_{name}")
            else:
                labels[name] = self.fields.text(value) or ""
        if len(labels) > MOST_LABELS and node is not None:
            self.fields.refuse(node, f"{len(labels)} labels", f"at most {MOST_LABELS}")
        return labels

    def _links(self, node: Node | None) -> Iterator[tuple[str, str]]:
        found = self.fields.free_mapping(node, expected="links by name") if node is not None else None
        for name, value in found.values.items() if found is not None else ():
            if not _LINK.fullmatch(name):
                where = found.keys[name] if found is not None else value
                self.fields.refuse(where, f"the name {shown(name)}", "letters, digits, _ and -")
            url = self.fields.link(value)
            if url is not None:
                yield name, url


def _as_simple(path: str) -> str:
    """The path in the seed's form that a path in the list of alerts stands for."""
    path = re.sub(r"^alerts\[\d+\]\.burn_rate$", "burn_rate.threshold", path)
    return re.sub(r"^alerts\[(\d+)\](?:\.(?:long|short))?$", r"burn_rate.windows[\1]", path)
