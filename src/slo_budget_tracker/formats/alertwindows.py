"""Sloth's catalogues of alert windows: which share of a period's budget two windows may burn."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.drafts import Draft, at
from slo_budget_tracker.formats.tiers import Tier
from slo_budget_tracker.specs import DAY, DEFAULT_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.specs import Severity

KEYS = ("apiVersion", "kind", "metadata", "spec")
TIER_KEYS = ("errorBudgetPercent", "shortWindow", "longWindow")
SEVERITIES: tuple[Severity, ...] = ("page", "ticket")
# Source: Sloth's own catalogues of 28 and 30 days, which follow the SRE Workbook.
_DEFAULT: tuple[tuple[Severity, int, int, int], ...] = (
    ("page", 3_600, 300, 2),
    ("page", 21_600, 1_800, 5),
    ("ticket", DAY, 7_200, 10),
    ("ticket", 3 * DAY, 21_600, 10),
)


class Catalogue(NamedTuple):
    """The tiers of one period, and where they stand."""

    period: int
    tiers: tuple[Tier, ...]
    node: Node


@dataclass(slots=True)
class Periods:
    """All catalogues of all files."""

    catalogues: dict[int, list[Catalogue]] = field(default_factory=dict)

    @classmethod
    def of(cls, roots: Iterable[Node]) -> Periods:
        """The catalogues among documents; what is wrong in them is told when they are translated."""
        periods = cls()
        for root in roots:
            found = read_catalogue(Draft(), root)
            if found is not None:
                periods.catalogues.setdefault(found.period, []).append(found)
        return periods

    def period(self) -> int | None:
        """The period of Sloth's SLOs: 30 days, or that of the only catalogue; None when nobody can say.

        Sloth's files do not carry it: it is an option of its command, and a catalogue replaces the default.
        """
        if not self.catalogues or DEFAULT_WINDOW in self.catalogues:
            return DEFAULT_WINDOW
        return next(iter(self.catalogues)) if len(self.catalogues) == 1 else None

    def tiers(self, period: int, place: Node) -> tuple[Tier, ...]:
        """The tiers of a period."""
        found = self.catalogues.get(period)
        return found[0].tiers if found else default_tiers(period, place)


def default_tiers(period: int, place: Node) -> tuple[Tier, ...]:
    """Sloth's own tiers."""
    return tuple(
        Tier(severity, long, short, Fraction(percent * period, 100 * long), place)
        for severity, long, short, percent in _DEFAULT
    )


def read_catalogue(draft: Draft, root: Node) -> Catalogue | None:
    """The tiers of one document; None with its faults noted."""
    before = len(draft.fields.faults)
    found = draft.mapping(root, KEYS, required=("spec",))
    spec = draft.mapping(found.get("spec"), ("sloPeriod", *SEVERITIES), required=("sloPeriod", *SEVERITIES))
    period = draft.fields.duration(spec["sloPeriod"]) if "sloPeriod" in spec else None
    tiers = []
    for severity in SEVERITIES:
        named = draft.mapping(spec.get(severity), ("quick", "slow"), required=("quick", "slow"))
        tiers += [_tier(draft, node, severity=severity, period=period) for node in named.values()]
    if period is None or len(draft.fields.faults) > before or at(root, "spec") is None:
        return None
    return Catalogue(period, tuple(tier for tier in tiers if tier is not None), root)


def _tier(draft: Draft, node: Node, *, severity: Severity, period: int | None) -> Tier | None:
    found = draft.mapping(node, TIER_KEYS, required=TIER_KEYS)
    if len(found) < len(TIER_KEYS):
        return None
    percent = draft.number(found["errorBudgetPercent"], "a share of the budget in per cent")
    short, long = (draft.fields.duration(found[key], least=1) for key in ("shortWindow", "longWindow"))
    if percent is None or short is None or long is None or period is None:
        return None
    return Tier(severity, long, short, Fraction(percent) * period / 100 / long, node)


def duplicates(periods: Periods, root: Node) -> str:
    """Where a second catalogue of the same period stands; empty if nowhere."""
    for found in periods.catalogues.values():
        if any(one.node is root for one in found) and len(found) > 1:
            others = ", ".join(f"{o.node.file}:{o.node.line}" for o in found if o.node is not root)
            return f"a second catalogue of {format_duration(found[0].period)}, the other is in {others}"
    return ""
