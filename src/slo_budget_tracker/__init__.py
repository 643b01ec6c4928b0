"""Exact SLO error budgets and burn rates beside an existing Prometheus."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slo_budget_tracker.api import (
        BurnRateAlert,
        BurnRateSample,
        PrometheusExporter,
        SLODefinition,
        SLORegistry,
        SLOSnapshot,
    )

__all__ = [
    "BurnRateAlert",
    "BurnRateSample",
    "PrometheusExporter",
    "SLODefinition",
    "SLORegistry",
    "SLOSnapshot",
    "__version__",
]
__version__ = version("slo-budget-tracker")


def __getattr__(name: str) -> object:
    """The Python API, loaded when it is first asked for: the daemon and most commands do without it."""
    if name in __all__:
        return getattr(import_module("slo_budget_tracker.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
