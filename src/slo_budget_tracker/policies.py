"""The alerts of an SLO file: burn rates over pairs of windows, and what remains of the budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slo_budget_tracker import documents
from slo_budget_tracker.indicators import sound
from slo_budget_tracker.specs import (
    DEFAULT_BURN_RATE_THRESHOLD,
    DEFAULT_BURN_RATE_WINDOWS,
    LEAST_TICKS,
    BudgetAlert,
    BurnRateAlert,
    simple,
    workbook,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.errors import Fault
    from slo_budget_tracker.fields import Fields
    from slo_budget_tracker.specs import Severity

ALERT_KEYS = (
    *("severity", "long", "short", "burn_rate", "for", "keep_firing_for"),
    *("minimum_bad", "confidence"),
)
MOST_BAD = 1_000_000


@dataclass(slots=True)
class Guard:
    """What a pair demands beside its factor: so many failures, and that they are hardly chance."""

    minimum_bad: int = 0
    confidence: Decimal | None = None


@dataclass(slots=True)
class Policies:
    """Reads the alerts of the SLOs of one file; faults go to `fields`."""

    fields: Fields
    tick: int = 60
    warnings: list[Fault] = field(default_factory=list)

    def alerts(
        self, node: Node, found: Mapping[str, Node], *, target: Decimal | None, window: int | None
    ) -> tuple[BurnRateAlert, ...]:
        """The pairs of an SLO: its own, the seed's, or the Workbook's; each guarded as `low_traffic` says."""
        guard = self._low_traffic(found.get("low_traffic"))
        return tuple(guarded(pair, guard) for pair in self._pairs(node, found, target=target, window=window))

    def _pairs(
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
        required = ("long", "short", "burn_rate")
        found = self.fields.mapping(node, ALERT_KEYS, required=required, expected="an alert")
        if found is None:
            return None
        severity = self._severity(found)
        guard = self._guard(found)
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
                minimum_bad=guard.minimum_bad,
                confidence=guard.confidence,
            ),
        )

    def _severity(self, found: Mapping[str, Node]) -> Severity:
        given = found.get("severity")
        is_ticket = given is not None and self.fields.choice(given, ("page", "ticket")) == "ticket"
        return "ticket" if is_ticket else "page"

    def _low_traffic(self, node: Node | None) -> Guard:
        keys = ("minimum_bad", "confidence")
        expected = "{minimum_bad: 3, confidence: 99%}"
        found = self.fields.mapping(node, keys, expected=expected) if node is not None else None
        return self._guard(found or {})

    def _guard(self, found: Mapping[str, Node]) -> Guard:
        minimum = self.fields.whole(found["minimum_bad"], most=MOST_BAD) if "minimum_bad" in found else None
        confidence = None
        if "confidence" in found:
            confidence = self.fields.share(found["confidence"], 'a share such as "99%" or 0.99')
        return Guard(minimum or 0, confidence)

    def budget_alerts(self, node: Node | None) -> tuple[BudgetAlert, ...]:
        """What is said about the budget itself: little is left, or it will not last."""
        expected = "a list such as [{severity: ticket, remaining_below: 10%}]"
        items = self.fields.items(node, expected=expected) if node is not None else None
        return tuple(alert for alert in map(self._budget_alert, items or ()) if alert is not None)

    def _budget_alert(self, node: Node) -> BudgetAlert | None:
        before = len(self.fields.faults)
        keys = ("severity", "remaining_below", "exhausted_within")
        found = self.fields.mapping(node, keys, expected="{severity: …, remaining_below: …}")
        if found is None:
            return None
        severity = self._severity(found)
        below = within = None
        if "remaining_below" in found:
            below = self.fields.share(found["remaining_below"], 'a share such as "10%" or 0.1')
        if "exhausted_within" in found:
            within = self.fields.duration(found["exhausted_within"], least=self.tick)
        if len(self.fields.faults) > before:
            return None
        return sound(
            self.fields,
            node,
            lambda: BudgetAlert(severity=severity, remaining_below=below, exhausted_within=within),
        )


def guarded(pair: BurnRateAlert, guard: Guard) -> BurnRateAlert:
    """The pair with the SLO's guard where it has none of its own; that very pair where nothing changes."""
    if not guard.minimum_bad and guard.confidence is None:
        return pair
    return pair.model_copy(
        update={
            "minimum_bad": pair.minimum_bad or guard.minimum_bad,
            "confidence": guard.confidence if pair.confidence is None else pair.confidence,
        }
    )
