"""Exact SLO error budgets and burn rates beside an existing Prometheus."""

from importlib.metadata import version

__version__ = version("slo-budget-tracker")
