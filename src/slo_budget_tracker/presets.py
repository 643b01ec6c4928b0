"""Presets: the counters of common instrumentations under one name, so that an SLO need not spell them out.

Each is a short YAML file in the package: selectors of all and of bad (or good) requests, the histogram of
their latencies or the gauge of a probe, and options with the label that each is matched with.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from slo_budget_tracker.selectors import Matcher, Selector, parse_selector

if TYPE_CHECKING:
    from collections.abc import Mapping

# Options that every preset takes: how a scrape is told apart.
COMMON = {"job": "job", "instance": "instance", "namespace": "namespace"}
_FOLDER = "presets"


@dataclass(frozen=True, slots=True)
class Preset:
    """One instrumentation.

    Attributes:
        name: of its file.
        title: in words.
        documentation: where its metrics are described.
        options: the label that each option is matched with.
        total: all requests; None where there are only probes.
        bad: those that failed; or
        good: those that did not.
        latency: the histogram of their durations, where it has one.
        probe: the gauge of a probe, where it is one.
    """

    name: str
    title: str
    documentation: str
    options: Mapping[str, str]
    total: Selector | None = None
    bad: Selector | None = None
    good: Selector | None = None
    latency: Selector | None = None
    probe: Selector | None = None

    def chosen(self, selector: Selector, values: Mapping[str, str]) -> Selector:
        """A selector of this preset with the matchers that options ask for."""
        matchers = {
            *selector.matchers,
            *(Matcher(self.options[key], "=", value) for key, value in values.items()),
        }
        return Selector(
            selector.metric, tuple(sorted(matchers, key=lambda one: (one.label, one.operator, one.value)))
        )


def names() -> tuple[str, ...]:
    """The names of all presets."""
    folder = resources.files(__package__) / _FOLDER
    return tuple(
        sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))
    )


@lru_cache(maxsize=64)
def preset(name: str) -> Preset:
    """The preset of a name; KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    text = (resources.files(__package__) / _FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    given = {**found.get("requests", {}), **{key: found[key] for key in ("latency", "probe") if key in found}}
    return Preset(
        name=name,
        title=found["title"],
        documentation=found["documentation"],
        options={**COMMON, **found.get("options", {})},
        **{role: parse_selector(selector) for role, selector in given.items()},
    )
