"""SLOs to few requests: the plan of one tick, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Role = Literal["total", "bad", "good", "error_ratio"]


class Slot(NamedTuple):
    """Where an increment goes: an SLO (by name) and the part of its ratio."""

    slo: str
    role: Role


class Query(NamedTuple):
    """An instant query: `expression` at the data instant `at` (seconds)."""

    expression: str
    at: int


class RangeQuery(NamedTuple):
    """A range query: `expression` at start, start + step … end (seconds), at most 11,000 points."""

    expression: str
    start: int
    end: int
    step: int


class Series(NamedTuple):
    """One series of an answer: labels (with `__name__` where the server sends it), times in ms, values.

    An instant vector or scalar comes as series of one sample.
    """

    labels: Mapping[str, str]
    times: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: series, and whether it warned of a partial response."""

    series: tuple[Series, ...]
    partial: bool = False
    warnings: tuple[str, ...] = ()


Ask = "Callable[[Query | RangeQuery], Answer]"
