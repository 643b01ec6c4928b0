"""Tiers of alerts as others write them, to the native list; what cannot fire is left out with a warning."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.trees import tree
from slo_budget_tracker.specs import decimal_below, highest_burn_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slo_budget_tracker.documents import Node
    from slo_budget_tracker.formats.drafts import Draft
    from slo_budget_tracker.formats.trees import Tree
    from slo_budget_tracker.specs import Severity

_DIGITS = Decimal("0.000000000001")


class Tier(NamedTuple):
    """Two windows in seconds and the factor at which both must burn; `node` is where it was written."""

    severity: Severity
    long: int
    short: int
    factor: Fraction
    node: Node
    for_seconds: int = 0


def alerts_of(draft: Draft, place: Node, tiers: Sequence[Tier], *, target: Decimal | None) -> Node:
    """The native `alerts:`; `none` where no tier is left."""
    highest = highest_burn_rate(target) if target is not None and 0 < target < 1 else None
    kept: list[Tree] = []
    for tier in tiers:
        pair = f"{format_duration(tier.long)}&{format_duration(tier.short)}"
        factor = tier.factor
        if factor < 1:
            draft.warn(tier.node, f"the factor {float(factor):.10g} of {pair} is raised to 1")
            factor = Fraction(1)
        if highest is not None and factor > highest:
            draft.warn(
                tier.node,
                f"the {tier.severity} pair {pair} is left out: "
                f"its factor {float(factor):.10g} cannot be reached, at most {float(highest):.10g}",
            )
            continue
        kept.append(tree(tier.node, _alert(tier, factor)))
    if tiers and not kept:
        draft.warn(place, "no alert is left")
    return tree(place, kept or "none")


def _alert(tier: Tier, factor: Fraction) -> dict[str, Tree | None]:
    rate = decimal_below(factor).quantize(_DIGITS, rounding=ROUND_FLOOR).normalize()
    return {
        "severity": tier.severity,
        "long": format_duration(tier.long),
        "short": format_duration(tier.short),
        "burn_rate": f"{rate:f}",
        "for": format_duration(tier.for_seconds) if tier.for_seconds else None,
    }
