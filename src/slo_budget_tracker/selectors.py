"""Vector selectors as Prometheus understands them: parsed by a real PromQL parser, matched in Python."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Operator = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True)
class Matcher:
    """One label matcher; regular expressions are anchored at both ends, as in Prometheus."""

    label: str
    operator: Operator
    value: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(f"(?:{self.value})", re.DOTALL)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the label set satisfies the matcher; an absent label is the empty string."""
        found = labels.get(self.label, "")
        if self.operator == "=":
            return found == self.value
        if self.operator == "!=":
            return found != self.value
        hit = self._pattern.fullmatch(found) is not None
        return hit if self.operator == "=~" else not hit

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quote(self.value)}"


@dataclass(frozen=True)
class Selector:
    """`metric{matchers}`: matchers are sorted, so equal selectors are equal values."""

    metric: str
    matchers: tuple[Matcher, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels (with or without `__name__`) is selected."""
        return labels.get("__name__", self.metric) == self.metric and all(
            m.matches(labels) for m in self.matchers
        )

    def __str__(self) -> str:
        inside = ",".join(map(str, self.matchers))
        return f"{self.metric}{{{inside}}}" if inside else self.metric


def quote(value: str) -> str:
    """A PromQL string literal (the rules are Go's)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
