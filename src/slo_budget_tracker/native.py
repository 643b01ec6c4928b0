"""The native format of SLO files: a document with `slos:` becomes SLOs, and everything wrong in it faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker import documents
from slo_budget_tracker.documents import Kind, Node, Scalar, shown
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.fields import LATER, is_secret
from slo_budget_tracker.indicators import place_of, read_sli, sound
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.specs import (
    DAY,
    DEFAULT_BURN_RATE_THRESHOLD,
    DEFAULT_BURN_RATE_WINDOWS,
    DEFAULT_WINDOW,
    HOUR,
    LEAST_TICKS,
    SLO,
    BurnRateAlert,
    PromqlSli,
    RequestsSli,
    simple,
    workbook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slo_budget_tracker.errors import Fault
    from slo_budget_tracker.fields import Fields
    from slo_budget_tracker.specs import Severity, Sli

SHORTEST_WINDOW, LONGEST_WINDOW = HOUR, 400 * DAY
MOST_LABELS = 32
FILE_KEYS = ("service", "owner", "labels", "slos")
SLO_KEYS = (
    *("name", "description", "target", "window", "sli", "alerts", "burn_rate"),
    *("labels", "links", "owner", "datasource", "no_data"),
)
LATER_SLO_KEYS = {
    "group_by": "write one SLO for each value",
    "max_groups": "it belongs to `group_by`",
    "slices": "events are counted",
    "budget_alerts": "use `alerts`",
    "corrections": "",
}
FOREIGN = (
    (re.compile(r"prometheus/v1|sloth\.slok\.dev/.*"), "Sloth's"),
    (re.compile(r"pyrra\.dev/.*"), "Pyrra's"),
    (re.compile(r"openslo/.*"), "OpenSLO's"),
    (re.compile(r"sre\.google\.com/.*"), "slo-generator's"),
)
RESERVED_LABELS = {
    *("slo", "severity", "state", "bound", "service", "owner", "rule", "instance", "job", "le", "quantile"),
    *("window_seconds", "long_window_seconds", "short_window_seconds"),
}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,62}", re.ASCII)
_LINK = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,31}", re.ASCII)
_DATASOURCE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,12})?) ?%", re.ASCII)
_RATIO = re.compile(r"[0-9]{0,3}(?:\.[0-9]{1,15})?", re.ASCII)
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
        if self._is_foreign(root):
            return
        found = self.fields.mapping(root, FILE_KEYS, required=("slos",), expected="a mapping with `slos:`")
        if found is None:
            return
        service, owner = self._text(found.get("service")), self._text(found.get("owner"))
        labels = self._labels(found.get("labels"))
        items = self.fields.items(found["slos"], expected="a list of SLOs") if "slos" in found else ()
        for item in items or ():
            self._slo(item, service=service, owner=owner, labels=labels)

    def _is_foreign(self, root: Node) -> bool:
        if not isinstance(root, documents.Mapping):
            return False
        for key in ("version", "apiVersion"):
            value = root.values.get(key)
            if isinstance(value, Scalar):
                whose = next((name for pattern, name in FOREIGN if pattern.fullmatch(value.text)), None)
                if whose is not None:
                    self.fields.refuse(value, f"{whose} format, {LATER}", "the native format with `slos:`")
                    return True
        return False

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
        target = self._target(found["target"]) if "target" in found else None
        window = self._window(found["window"]) if "window" in found else DEFAULT_WINDOW
        sli = self._sli(found["sli"], window) if "sli" in found else None
        alerts = self._alerts(node, found, target=target, window=window)
        self._no_data(found.get("no_data"))
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
                sli=sli or _ANY_SLI,
                alerts=alerts,
                source=f"{node.file}:{node.line}",
            ),
            renamed=_as_simple if "burn_rate" in found else str,
        )
        if slo is not None and len(self.fields.faults) == before:
            self.found.append(Found(slo, found["name"]))

    def _text(self, node: Node | None, *, most: int = 200, lines: bool = False) -> str:
        return (self.fields.text(node, most=most, lines=lines) or "").strip() if node is not None else ""

    def _target(self, node: Node) -> Decimal | None:
        value = self.fields.scalar(node, _TARGET)
        if value is None:
            return None
        percent = _PERCENT.fullmatch(value.text)
        if percent is not None:
            return Decimal(percent[1]) / 100
        if value.kind is Kind.BOOLEAN or not value.text.strip(".") or not _RATIO.fullmatch(value.text):
            self.fields.refuse(value, shown(value.text), _TARGET)
            return None
        ratio = Decimal(value.text)
        if ratio > 1:
            share = format((ratio / 100).normalize(), "f")
            hint = f'write "{value.text}%" or {share}' if ratio < 100 else ""  # noqa: PLR2004 - per cent
            self.fields.refuse(value, f"the bare number {value.text}", _TARGET, hint)
            return None
        return ratio

    def _window(self, node: Node) -> int | None:
        if isinstance(node, documents.Mapping) and "calendar" in node.keys:
            self.fields.refuse(
                node.keys["calendar"], LATER, "", "write a rolling window such as 30d", path="calendar"
            )
            return None
        seconds = self.fields.duration(node)
        if seconds is not None and not SHORTEST_WINDOW <= seconds <= LONGEST_WINDOW:
            self.fields.refuse(node, format_duration(seconds), "1h to 400d")
            return None
        return seconds

    def _sli(self, node: Node, window: int | None) -> Sli | None:
        sli = read_sli(node, self.fields)
        if isinstance(sli, PromqlSli) and window is not None and sli.window > window:
            place = place_of(node, "promql.window")
            self.fields.refuse(place, format_duration(sli.window), f"at most {format_duration(window)}")
        return sli

    def _no_data(self, node: Node | None) -> None:
        if node is not None and self.fields.choice(node, ("hold", "bad")) == "bad":
            self.fields.refuse(node, f"`bad`, {LATER}", "hold")

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
            elif name in RESERVED_LABELS:
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

    def _alerts(
        self, node: Node, found: Mapping[str, Node], *, target: Decimal | None, window: int | None
    ) -> tuple[BurnRateAlert, ...]:
        given, burn_rate = found.get("alerts"), found.get("burn_rate")
        if burn_rate is not None:
            if given is not None:
                self.fields.refuse(burn_rate, "both `alerts` and `burn_rate`", "one of them")
            return self._simple(burn_rate)
        if isinstance(given, documents.Sequence):
            items = self.fields.items(given, expected="a list of alerts, `workbook` or `none`") or ()
            return tuple(alert for alert in map(self._alert, items) if alert is not None)
        choice = "workbook" if given is None else None
        if given is not None:
            choice = self.fields.choice(given, ("workbook", "none"))
        if choice != "workbook" or target is None or window is None or not 0 < target < 1:
            return ()
        return self._workbook(given or found.get("name") or node, node, target, window)

    def _workbook(self, place: Node, slo: Node, target: Decimal, window: int) -> tuple[BurnRateAlert, ...]:
        alerts, left_out = workbook(target, window, self.tick)
        path = f"{slo.path}.alerts"
        if not alerts:
            self.fields.note(
                place.fault(
                    f"no pair of `workbook` is left: {'; '.join(left_out)}",
                    "at least one",
                    "write a list of pairs, or `alerts: none`",
                ),
                path=path,
            )
            return ()
        for sentence in left_out:
            self.warnings.append(
                documents.Node(place.file, place.line, place.column, path).fault(sentence, warning=True)
            )
        return alerts

    def _simple(self, node: Node) -> tuple[BurnRateAlert, ...]:
        found = self.fields.mapping(node, ("windows", "threshold"), expected="{windows: …, threshold: …}")
        if found is None:
            return ()
        threshold: Decimal | None = DEFAULT_BURN_RATE_THRESHOLD
        windows: list[int | None] = list(DEFAULT_BURN_RATE_WINDOWS)
        if "threshold" in found:
            threshold = self.fields.decimal(found["threshold"], "a burn rate such as 14.4")
        if "windows" in found:
            items = self.fields.items(found["windows"], expected="a list of windows such as [1h, 6h]") or ()
            windows = [self._alert_window(item) for item in items]
        if threshold is None:
            return ()
        if threshold < 1:
            self.fields.refuse(found["threshold"], str(threshold), "at least 1")
            return ()
        return simple([window for window in windows if window is not None], threshold)

    def _alert_window(self, node: Node) -> int | None:
        return self.fields.duration(node, least=LEAST_TICKS * self.tick)

    def _alert(self, node: Node) -> BurnRateAlert | None:
        before = len(self.fields.faults)
        keys = ("severity", "long", "short", "burn_rate", "for", "keep_firing_for")
        later = {"minimum_bad": ""}
        required = ("long", "short", "burn_rate")
        found = self.fields.mapping(node, keys, later=later, required=required, expected="an alert")
        if found is None:
            return None
        severity: Severity = "page"
        if "severity" in found and self.fields.choice(found["severity"], ("page", "ticket")) == "ticket":
            severity = "ticket"
        long, short = (self._alert_window(found[key]) if key in found else None for key in ("long", "short"))
        rate = self.fields.decimal(found["burn_rate"], "a burn rate") if "burn_rate" in found else None
        pauses = [
            self.fields.duration(found[key]) if key in found else 0 for key in ("for", "keep_firing_for")
        ]
        if long is None or short is None or rate is None or len(self.fields.faults) > before:
            return None
        return sound(
            self.fields,
            node,
            lambda: BurnRateAlert(
                severity=severity,
                long=long,
                short=short,
                burn_rate=rate,
                for_seconds=pauses[0] or 0,
                keep_firing_for=pauses[1] or 0,
            ),
        )


def _as_simple(path: str) -> str:
    """The path in the seed's form that a path in the list of alerts stands for."""
    path = re.sub(r"^alerts\[\d+\]\.burn_rate$", "burn_rate.threshold", path)
    return re.sub(r"^alerts\[(\d+)\](?:\.(?:long|short))?$", r"burn_rate.windows[\1]", path)
