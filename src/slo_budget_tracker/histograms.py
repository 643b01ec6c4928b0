"""Native histogram samples as cumulative counts at few bounds, in the form that classic buckets have.

A sample has all buckets that are not empty, each with its borders. Of it are kept the count of all
observations and, for each bound asked for, how many were at or under it. Where the bound is a border between
buckets that is a fact. Where it lies inside a bucket the observations in there are divided as Prometheus 3's
`histogram_fraction` does (evenly over the logarithm in exponential buckets, evenly in custom ones), rounded
to whole ones, and the bound's name says so: `0.3@3:0.2973..0.3242`, inside that bucket of schema 3. Buckets
are merged, or taken into the one around zero, when a client has too many: then the name changes, as counts
before and after cannot be compared.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from decimal import Decimal
from functools import lru_cache
from operator import gt, lt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LE, ALL = "le", "+Inf"
SCHEMAS = range(-4, 9)  # Prometheus' exponential schemas: borders are powers of 2^(2^-schema)
CUSTOM = "custom"  # schema -53: borders that somebody chose
ZERO = "zero"  # inside the bucket around zero, which is as wide as the client chose, or had to
_ALIKE, _NEAR = 1e-9, 1e-6
_NEITHER = 99  # what tells nothing about the schema
_LARGEST = 1.7e308  # above this exponential buckets end


class Sample(NamedTuple):
    """One sample: all observations, and of each bucket that is not empty its borders and its count."""

    whole: float
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    counts: Sequence[float] = ()


class Bound(NamedTuple):
    """An upper bound as the label `le` tells it: the bound itself and, where it is no border, the bucket."""

    text: str
    resolution: str = ""
    low: float = 0.0
    high: float = 0.0

    @classmethod
    def of(cls, name: str) -> Bound:
        """The bound that has a name."""
        known, _, borders = name.partition(":")
        text, _, resolution = known.partition("@")
        low, _, high = borders.partition("..")
        return cls(text, resolution, float(low or 0), float(high or 0))

    @property
    def name(self) -> str:
        """The value of `le`."""
        if not self.resolution:
            return self.text
        return f"{self.text}@{self.resolution}:{self.low:.4g}..{self.high:.4g}"


def bound_text(bound: Decimal) -> str:
    """A bound as it is spelled here: plain digits, no zeros at the end."""
    return f"{bound.normalize():f}"


class Counted(NamedTuple):
    """Counts at one bound: its name, and the places of the samples that they are of."""

    name: str
    places: list[int]
    counts: list[float]


@lru_cache(maxsize=4_096)
def identity(name: str) -> str:
    """What of a bound's name says whether counts can be compared: bound, spelled one way, and resolution."""
    bound, at, resolution = name.partition(":")[0].partition("@")
    try:
        number = Decimal(bound)
    except ArithmeticError:
        return name
    return f"{bound_text(number) if number.is_finite() else ALL}{at}{resolution}"


def plain(name: str) -> str:
    """The bound alone."""
    return name.partition("@")[0]


def identities(bound: str) -> Iterator[str]:
    """All identities that one bound may have."""
    yield bound
    for resolution in (*map(str, SCHEMAS), CUSTOM, ZERO):
        yield f"{bound}@{resolution}"


def cumulative(samples: Sequence[Sample], bounds: Iterable[Decimal]) -> Iterator[Counted]:
    """The count of all of a series' samples, and of each bound a run of counts for each resolution in turn.

    Raises ValueError where a sample is none of a histogram.
    """
    yield Counted(ALL, list(range(len(samples))), [sample.whole for sample in samples])
    parsed = [_Buckets.of(sample) for sample in samples]
    for bound in bounds:
        text, limit = bound_text(bound), float(bound)
        run: Counted | None = None
        for at, buckets in enumerate(parsed):
            kind, value = buckets.under(limit, text)
            if run is None or identity(run.name) != identity(kind.name):
                if run is not None:
                    yield run
                run = Counted(kind.name, [], [])
            run.places.append(at)
            run.counts.append(float(min(value, buckets.sample.whole)))
        if run is not None:
            yield run


class _Buckets(NamedTuple):
    """A sample, which of its buckets is the one around zero, and the schema of its exponential buckets.

    There is no schema where buckets are custom, and where only the bucket around zero has observations.
    """

    sample: Sample
    zero: int | None
    schema: int | None

    @classmethod
    def of(cls, sample: Sample) -> _Buckets:
        """Look at the borders."""
        lows, highs = sample.lows, sample.highs
        if not (min(sample.counts, default=0) >= 0 and 0 <= sample.whole < math.inf):
            raise ValueError("a count that is none")
        formed = len({len(lows), len(highs), len(sample.counts)}) == 1 and all(map(lt, lows, highs))
        if not formed or any(map(gt, highs, highs[1:])):
            raise ValueError("buckets without borders, or in no order")
        zero = next((at for at, low in enumerate(lows) if -low == highs[at] < math.inf), None)
        schemas = set(map(_schema, lows, highs)) - {_NEITHER}
        if zero is not None:  # only exponential ones have such a bucket, and it may cut the next one short
            schemas.discard(None)
        schema = schemas.pop() if len(schemas) == 1 else None
        return cls(sample, zero, schema)

    def under(self, limit: float, text: str) -> tuple[Bound, float]:
        """How many observations were at or under the limit, and what kind of bound it is."""
        all_of_it, lows, highs, counts = self.sample
        at = bisect_right(highs, limit * (1 + _ALIKE))  # buckets come in the order of their borders
        below = sum(counts[:at])
        if at == len(lows) or lows[at] >= limit * (1 - _ALIKE):
            return self._beside(limit, text), below
        value = below + counts[at] * self._share(at, limit)
        bound = Bound(text, self._resolution(at), lows[at], highs[at])
        return bound, math.floor(value + 0.5) if all_of_it.is_integer() else value

    def _resolution(self, at: int) -> str:
        """The kind of bucket that a bound lies in."""
        if at == self.zero:
            return ZERO
        return CUSTOM if self.schema is None else str(self.schema)

    def _beside(self, limit: float, text: str) -> Bound:
        """The bound where its bucket is empty: among exponential ones it may still be no border."""
        if self.schema is None:
            return Bound(text)
        low, high = around(limit, self.schema)
        return Bound(text, str(self.schema), low, high) if low < high else Bound(text)

    def _share(self, at: int, limit: float) -> float:
        """The share of a bucket's observations that are taken to be at or under a limit inside."""
        low, high = self.sample.lows[at], self.sample.highs[at]
        if low == -math.inf or (at == self.zero and at == 0):  # nothing below zero was seen
            low = 0.0
        if high == math.inf:
            return 0.0
        if self.schema is None or at == self.zero:
            return (limit - low) / (high - low)
        return math.log2(limit / low) / math.log2(high / low)


def is_border(bound: Decimal) -> bool:
    """Whether a bound is a border in exponential buckets of every schema that clients use: a power of two."""
    return math.frexp(float(bound))[0] == 0.5  # noqa: PLR2004 - as frexp has it


def around(limit: float, schema: int) -> tuple[float, float]:
    """The borders of an exponential bucket that a limit lies in; twice the limit where it is a border."""
    place = math.log2(limit) * 2.0**schema
    if abs(place - round(place)) < _ALIKE * max(abs(place), 1):
        return limit, limit
    below = math.floor(place)
    return 2.0 ** (below / 2.0**schema), 2.0 ** ((below + 1) / 2.0**schema)


@lru_cache(maxsize=65_536)
def _schema(low: float, high: float) -> int | None:
    """The exponential schema that has a bucket with these borders: None for none, `_NEITHER` for zero's."""
    if -low == high < math.inf or low >= _LARGEST or high <= -_LARGEST:
        return _NEITHER
    if low < 0:
        low, high = -high, -low
    if not 0 < low < high < math.inf:
        return None
    width = math.log2(high) - math.log2(low)
    schema = round(-math.log2(width))
    place = math.log2(high) * 2.0**schema
    fits = abs(width * 2.0**schema - 1) < _NEAR and abs(place - round(place)) < _NEAR
    return schema if schema in SCHEMAS and fits else None
