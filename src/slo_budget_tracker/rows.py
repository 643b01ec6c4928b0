"""Rows: counts of many SLO instances over one span, and the compact bytes they are stored as."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from slo_budget_tracker.ticks import Counts, Outcome, Tick

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

EVENTS = ("total", "bad")
SECONDS = ("known", "partial", "absent", "idle", "error", "unknown")
CHANNELS = EVENTS + SECONDS

_FORMAT = 3
_SPANNED = (
    2  # older: the seal is of span and instances only, the numbers have nothing but zlib's weak Adler-32
)
_UNSIGNED = 1  # older still: no seal
_SEAL = struct.Struct("<I")
_WIDTHS: dict[int, np.dtype[Any]] = {
    1: np.dtype("u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<f8"),
}
_CONSTANT = 0
_COLUMN = struct.Struct("<Bd")


class DamageError(ValueError):
    """Stored bytes are not what was written."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What (start, end] brought for the instances `ids` (distinct); one number per instance in each array.

    `total` and `bad` are events. The rest are seconds of the span: `known` observed at all (of these
    `partial` with a partial-response warning, `idle` without traffic), `absent` answered "no series exists",
    `error` failed, `unknown` given up. Seconds that are none of these were missed and may still be fetched.
    `outcome` is the tick's outcome; `idle`, `error` and `unknown` follow from it when they are not given.
    """

    start: int
    end: int
    ids: NDArray[np.int64]
    total: NDArray[np.float64]
    bad: NDArray[np.float64]
    known: NDArray[np.int32]
    partial: NDArray[np.int32]
    absent: NDArray[np.int32]
    outcome: NDArray[np.uint8]
    idle: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    error: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    unknown: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a row must end after it starts, not ({self.start}, {self.end}]")
        if len(self.idle) == len(self.ids):
            return
        rest = self.seconds - self.known - self.absent
        nothing = np.zeros_like(rest)
        derived = {
            "idle": np.where(self.outcome == Outcome.NO_TRAFFIC, self.known, nothing),
            "error": np.where(self.outcome == Outcome.ERROR, rest, nothing),
            "unknown": np.where(self.outcome == Outcome.UNKNOWN, rest, nothing),
        }
        for name, values in derived.items():
            object.__setattr__(self, name, values.astype(np.int32))

    @property
    def seconds(self) -> int:
        """Length of the span."""
        return self.end - self.start

    @classmethod
    def of(cls, tick: Tick, counts: Mapping[int, Counts]) -> Row:
        """The row of one tick; counts of a tick that is not known are not stored, whatever they are."""
        size = len(counts)
        outcome = np.fromiter((c.outcome for c in counts.values()), np.uint8, size)
        known = outcome <= Outcome.PARTIAL
        return cls(
            start=tick.start,
            end=tick.end,
            ids=np.fromiter(counts, np.int64, size),
            total=np.where(known, np.fromiter((c.total for c in counts.values()), np.float64, size), 0.0),
            bad=np.where(known, np.fromiter((c.bad for c in counts.values()), np.float64, size), 0.0),
            known=(known * tick.seconds).astype(np.int32),
            partial=((outcome == Outcome.PARTIAL) * tick.seconds).astype(np.int32),
            absent=((outcome == Outcome.NO_DATA) * tick.seconds).astype(np.int32),
            outcome=outcome,
        )

    @classmethod
    def from_channels(
        cls, start: int, end: int, ids: NDArray[np.int64], channels: Mapping[str, NDArray[Any]]
    ) -> Row:
        """A row whose seconds are all given by name, as stored rows are."""
        outcome = np.full(len(ids), Outcome.MISSED, np.uint8)
        for name, word in (
            ("unknown", Outcome.UNKNOWN),
            ("error", Outcome.ERROR),
            ("absent", Outcome.NO_DATA),
            ("known", Outcome.OK),
            ("idle", Outcome.NO_TRAFFIC),
            ("partial", Outcome.PARTIAL),
        ):
            if anything(channels[name]):
                outcome[channels[name] == end - start] = word
        return cls(start=start, end=end, ids=ids, outcome=outcome, **channels)

    def channels(self) -> dict[str, NDArray[Any]]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in CHANNELS}

    def only(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> Row:
        """The same span for some of the instances."""
        picked = {name: values[mask] for name, values in self.channels().items()}
        return Row(start=self.start, end=self.end, ids=self.ids[mask], outcome=self.outcome[mask], **picked)


def pack(row: Row) -> bytes:
    """The row's numbers as bytes: whole numbers as narrow as they go, equal ones once, compressed."""
    head, body = bytearray(), bytearray()
    for values in row.channels().values():
        if values.size and bool((values == values[0]).all()):
            head += _COLUMN.pack(_CONSTANT, float(values[0]))
            continue
        width = _width(values)
        head += _COLUMN.pack(width, 0.0)
        # bytes of equal weight beside each other: the high ones hardly vary and compress away
        body += values.astype(_WIDTHS[width]).view(np.uint8).reshape(-1, width).T.tobytes()
    numbers = bytes(head + body)
    seal = _SEAL.pack(zlib.crc32(numbers, _seal(row.start, row.end, row.ids)))
    return zlib.compress(bytes([_FORMAT]) + seal + numbers, 3)


def _width(values: NDArray[Any]) -> int:
    if not values.size:
        return 1
    low, high = values.min(), values.max()
    if low < 0 or high >= 2**32 or bool((values != np.floor(values)).any()):
        return 8
    return next(width for width in (1, 2, 4) if high < 256**width)


def unpack(data: bytes, *, start: int, end: int, ids: NDArray[np.int64], narrow: bool = False) -> Row:
    """The row that `pack` made bytes of; DamageError when they are not such bytes.

    With `narrow` its numbers stay as they were stored, and there are no outcomes: for whoever sums them up.
    """
    plain, begin = _opened(data, start, end, ids)
    offset = begin + len(CHANNELS) * _COLUMN.size
    size = len(ids)
    channels: dict[str, NDArray[Any]] = {}
    for index, name in enumerate(CHANNELS):
        dtype: np.dtype[Any] = np.dtype(np.float64 if name in EVENTS else np.int32)
        width, constant = _COLUMN.unpack_from(plain, begin + index * _COLUMN.size)
        if width == _CONSTANT:
            channels[name] = _constant(constant, dtype, size)
            continue
        planes = np.frombuffer(plain, np.uint8, count=size * width, offset=offset).reshape(width, size)
        stored = np.ascontiguousarray(planes.T).view(_WIDTHS[width])[:, 0]
        channels[name] = stored if narrow else stored.astype(dtype)
        offset += size * width
    if narrow:  # what the outcomes were is nobody's question then
        return Row(
            start=start, end=end, ids=ids, outcome=_constant(0.0, np.dtype(np.uint8), size), **channels
        )
    return Row.from_channels(start, end, ids, channels)


def _opened(data: bytes, start: int, end: int, ids: NDArray[np.int64]) -> tuple[bytes, int]:
    """The bytes that were packed, which are as they were, and where what tells of the channels begins."""
    try:
        plain = zlib.decompress(data)
    except zlib.error as error:
        raise DamageError(f"stored counts of ({start}, {end}] are damaged: {error}") from error
    form = plain[0] if plain else None
    begin = 1 if form == _UNSIGNED else 1 + _SEAL.size
    if form not in {_FORMAT, _SPANNED, _UNSIGNED} or len(plain) < begin + len(CHANNELS) * _COLUMN.size:
        raise DamageError(f"stored counts of ({start}, {end}] have an unknown format")
    if form != _UNSIGNED:
        seal = _seal(start, end, ids)
        if form == _FORMAT:
            seal = zlib.crc32(memoryview(plain)[begin:], seal)
        if _SEAL.unpack_from(plain, 1)[0] != seal:
            raise DamageError(
                f"stored counts of ({start}, {end}] are damaged, or of another span or other instances"
            )
    return plain, begin


def _seal(start: int, end: int, ids: NDArray[np.int64]) -> int:
    """What ties numbers to their span and instances, stored beside them; goes on with the numbers."""
    return zlib.crc32(
        ids.astype("<i8", order="C", copy=False).data, zlib.crc32(struct.pack("<qq", start, end))
    )


@lru_cache(maxsize=64)
def _constant(value: float, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """An array of equal numbers that takes no memory; most stored columns are such."""
    return np.broadcast_to(dtype.type(value), size)


def anything(values: NDArray[Any]) -> bool:
    """Whether any number is not 0."""
    return bool(values[:1].any() if values.strides == (0,) else values.any())


def merge(rows: Sequence[Row]) -> list[Row]:
    """The rows summed up per instance; instances with the same first start and last end share a row."""
    ids = np.unique(np.concatenate([row.ids for row in rows]))
    starts = np.full(len(ids), np.iinfo(np.int64).max)
    ends = np.full(len(ids), np.iinfo(np.int64).min)
    sums: dict[str, NDArray[Any]] = {
        name: np.zeros(len(ids), np.float64 if name in EVENTS else np.int32) for name in CHANNELS
    }
    for row in rows:
        at = np.searchsorted(ids, row.ids)
        starts[at] = np.minimum(starts[at], row.start)
        ends[at] = np.maximum(ends[at], row.end)
        for name, values in row.channels().items():
            sums[name][at] += values
    merged = []
    for start, end in np.unique(np.column_stack((starts, ends)), axis=0).tolist():
        mask = (starts == start) & (ends == end)
        channels = {name: values[mask] for name, values in sums.items()}
        merged.append(Row.from_channels(start, end, ids[mask], channels))
    return merged


def disjoint(rows: Sequence[Row]) -> bool:
    """Whether no instance has two of the rows over the same time."""
    if len(rows) < 2:  # noqa: PLR2004 - one row alone overlaps nothing
        return True
    top = max((int(row.ids.max()) for row in rows if len(row.ids)), default=0)
    last = np.full(top + 1, np.iinfo(np.int64).min)
    ordered = sorted(rows, key=lambda row: (row.start, row.end))
    for _, same in groupby(ordered, key=lambda row: id(row.ids)):  # rows of one roster share its array
        run = list(same)
        if any(row.start < before.end for before, row in pairwise(run)):
            return False
        if bool((last[run[0].ids] > run[0].start).any()):
            return False
        last[run[0].ids] = run[-1].end
    return True
