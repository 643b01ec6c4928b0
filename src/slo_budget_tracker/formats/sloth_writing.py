"""Native SLOs as Sloth's files, and the catalogue of alert windows that they need."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.formats.names import ORIGINAL, slug
from slo_budget_tracker.formats.ratios import Ratio, ratio_of
from slo_budget_tracker.formats.texts import plain
from slo_budget_tracker.specs import DEFAULT_WINDOW, decimal_below, workbook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slo_budget_tracker.specs import SLO, BurnRateAlert

_TEMPLATE = "{{.window}}"
_SEVERITIES = ("page", "ticket")
_LINKS = {"runbook": "runbook", "dashboard": "dashboard"}


def documents(slos: Sequence[SLO]) -> Iterator[dict[str, Any]]:
    """Sloth's documents: one catalogue where the default is not meant, then one for each service."""
    alerting = [slo for slo in slos if slo.alerts]
    if alerting and not any(map(_usual, alerting)):
        yield from [found for slo in alerting if (found := _catalogue(slo)) is not None][:1]
    services: dict[str, list[SLO]] = {}
    for slo in slos:
        services.setdefault(slo.service or slo.name, []).append(slo)
    for service, members in services.items():
        yield {
            "version": "prometheus/v1",
            "service": service,
            "slos": [_slo(slo) for slo in members],
        }


def name_of(slo: SLO) -> tuple[str, str]:
    """The name that an SLO has in Sloth's file, and the name that it comes back with."""
    service = slo.service or slo.name
    original, prefix = dict(slo.labels).get(ORIGINAL, ""), f"{slug(service)}-"
    name = slo.name
    if original and slug(service, original) == slo.name:
        name = original
    elif slo.name.startswith(prefix):
        name = slo.name.removeprefix(prefix)
    return name, slug(service, name)


def _slo(slo: SLO) -> dict[str, Any]:
    labels = {name: value for name, value in slo.labels if name != ORIGINAL}
    if slo.owner:
        labels["owner"] = slo.owner
    found: dict[str, Any] = {
        "name": name_of(slo)[0],
        "objective": plain(f"{(slo.target * 100).normalize():f}"),
        "description": slo.description,
        "labels": labels,
        "sli": _sli(ratio_of(slo)),
        "alerting": _alerting(slo),
    }
    return {key: value for key, value in found.items() if value}


def _sli(ratio: Ratio) -> dict[str, Any]:
    part, total = (text.replace("$window", _TEMPLATE) for text in (ratio.part, ratio.total))
    if not part:
        return {"raw": {"error_ratio_query": total}}
    error = f"({total}) - ({part})" if ratio.good else part
    return {"events": {"error_query": error, "total_query": total}}


def _alerting(slo: SLO) -> dict[str, Any]:
    annotations = {name: url for name, url in slo.links if name in _LINKS}
    found: dict[str, Any] = {"name": slo.name, "annotations": annotations}
    for severity in _SEVERITIES:
        off = all(alert.severity != severity for alert in slo.alerts)
        found[f"{severity}_alert"] = {"disable": plain("true")} if off else {}
    return {key: value for key, value in found.items() if value}


def _usual(slo: SLO) -> bool:
    """Whether Sloth's own catalogue has the SLO's pairs."""
    usual = workbook(slo.target, slo.window)[0]
    return slo.window == DEFAULT_WINDOW and all(alert in usual for alert in slo.alerts)


def _catalogue(slo: SLO) -> dict[str, Any] | None:
    """The catalogue with an SLO's pairs; None where no catalogue can have them."""
    pairs = {severity: [one for one in slo.alerts if one.severity == severity] for severity in _SEVERITIES}
    if any(len(found) not in {0, 2} for found in pairs.values()):
        return None
    filled = {severity: found or next(filter(None, pairs.values())) for severity, found in pairs.items()}
    spec: dict[str, Any] = {"sloPeriod": format_duration(slo.window)}
    for severity, found in filled.items():
        spec[severity] = {
            which: _tier(alert, slo.window) for which, alert in zip(("quick", "slow"), found, strict=True)
        }
    return {"apiVersion": "sloth.slok.dev/v1", "kind": "AlertWindows", "spec": spec}


def _tier(alert: BurnRateAlert, period: int) -> dict[str, Any]:
    percent = Fraction(alert.burn_rate) * alert.long * 100 / period
    cut = decimal_below(percent).quantize(Decimal(10) ** -20).normalize()
    return {
        "errorBudgetPercent": plain(f"{cut:f}"),
        "shortWindow": format_duration(alert.short),
        "longWindow": format_duration(alert.long),
    }
