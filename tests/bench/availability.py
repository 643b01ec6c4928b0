"""The availability SLOs of the bench's shapes, as each tool is told of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from tests.bench import shapes
from tests.peers.rules import Rule, pyrra, sloth

KINDS = ("shared", "list", "good", "own")  # of shapes.SHAPES: availability from counters
OPPOSITE = {"=~": "!~", "!~": "=~", "=": "!="}


@dataclass(frozen=True)
class Service:
    """One SLO's service: a shape of the bench and its number."""

    shape: shapes.Shape
    number: int

    @property
    def name(self) -> str:
        """The SLO's name."""
        return f"slo-{shapes.SHAPES.index(self.shape)}-{self.number}"

    def selector(self, matcher: str = "") -> str:
        """Its series, or those of them that match."""
        metric, own = (text.format(n=self.number) for text in (self.shape.metric, self.shape.own))
        return f"{metric}{{{own},{matcher}}}" if matcher else f"{metric}{{{own}}}"

    @property
    def bad(self) -> str:
        """Selector of the failed requests."""
        return self.selector(self._opposites()[0])

    @property
    def good(self) -> str:
        """Selector of the others."""
        return self.selector(self._opposites()[1])

    def _opposites(self) -> tuple[str, str]:
        said = self.shape.bad
        if self.shape.kind == "list":
            values = "|".join(re.findall(r'"(.+?)"', said))
            said = f'{said.partition("=")[0]}=~"{values}"'
        other = re.sub("=~|!~|=", lambda found: OPPOSITE[found[0]], said, count=1)
        return (other, said) if self.shape.kind == "good" else (said, other)

    def sloth(self) -> tuple[Rule, ...]:
        """Sloth's rules."""
        return sloth(self.name, bad=self.bad, total=self.selector())

    def pyrra(self) -> tuple[Rule, ...]:
        """Pyrra's rules."""
        return pyrra(bad=self.bad, total=self.selector(), by=self.shape.values[0])

    def slo_generator(self) -> dict[str, Any]:
        """slo-generator's file."""
        return {
            "apiVersion": "sre.google.com/v2",
            "kind": "ServiceLevelObjective",
            "metadata": {
                "name": self.name,
                "labels": {"service_name": self.name, "feature_name": "all", "slo_name": "availability"},
            },
            "spec": {
                "description": "Requests that do not fail",
                "backend": "prometheus",
                "method": "good_bad_ratio",
                "service_level_indicator": {"filter_good": self.good, "filter_valid": self.selector()},
                "goal": 0.999,
            },
        }


def services(count: int) -> list[Service]:
    """`count` services, in turn of every availability shape."""
    kinds = [shape for shape in shapes.SHAPES if shape.kind in KINDS]
    return [Service(kinds[index % len(kinds)], index // len(kinds)) for index in range(count)]
