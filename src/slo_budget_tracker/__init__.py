"""Exact SLO error budgets and burn rates beside an existing Prometheus."""

from __future__ import annotations

# Nothing is imported here: until `__main__` has the signals, an interruption would end in a traceback (T7).
TYPE_CHECKING = False
if TYPE_CHECKING:
    from slo_budget_tracker.api import (
        BurnRateAlert,
        BurnRateSample,
        PrometheusExporter,
        SLODefinition,
        SLORegistry,
        SLOSnapshot,
    )

    __version__: str

__all__ = [
    "BurnRateAlert",
    "BurnRateSample",
    "PrometheusExporter",
    "SLODefinition",
    "SLORegistry",
    "SLOSnapshot",
    "__version__",
]


def __getattr__(name: str) -> object:
    """The version and the Python API, loaded when first asked for: most commands do without it."""
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("slo-budget-tracker")
    if name in __all__:
        from importlib import import_module  # noqa: PLC0415

        return getattr(import_module("slo_budget_tracker.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
