"""What is asked of a Prometheus and what it answers, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

_QUOTED = 80  # so many characters of foreign text are quoted in a message


class About(NamedTuple):
    """What a question about some targets is made of, so that several can be asked as one."""

    form: str  # the expression, with {0} where its selector belongs
    metrics: tuple[str, ...]
    targets: tuple[tuple[str, str], ...]  # job and instance


class Query(NamedTuple):
    """An instant query: `expression` at the data instant `at` (seconds).

    Native histograms in the answer are read at these upper `bounds`; without any they are refused.
    """

    expression: str
    at: int
    bounds: tuple[Decimal, ...] = ()
    about: About | None = None  # where it is made of these


class RangeQuery(NamedTuple):
    """A range query: `expression` at start, start + step … end (seconds), at most 11,000 points."""

    expression: str
    start: int
    end: int
    step: int


class Series(NamedTuple):
    """One series of an answer: labels (with `__name__` where the server sends it), times in ms, values.

    An instant vector or scalar comes as series of one sample. A native histogram comes as a series of its
    count (`le="+Inf"`) and one for each bound that was asked for, with names that `histograms` tells of.
    """

    labels: Mapping[str, str]
    times: list[int]
    values: list[float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered: series, and whether it warned of a partial response.

    `warnings` say that data may be missing; `notes` are remarks on the query, the answer is complete.
    """

    series: tuple[Series, ...]
    partial: bool = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def printable(text: str, limit: int = _QUOTED) -> str:
    """Foreign text as it may stand in a message: printable characters only, and not many of them."""
    cut = text[: limit + 1]
    shown = "".join(c if c.isprintable() else " " for c in cut[:limit]).strip()
    return f"{shown}…" if len(cut) > limit else shown
