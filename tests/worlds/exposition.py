"""Native histograms as they come to a Prometheus, in protobuf encoded by hand.

Scraped: `io.prometheus.client.MetricFamily`, each with its length before it, classic buckets beside native ones,
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
Written: `prometheus.WriteRequest` of remote write 1.0, with timestamps of one's own,
https://github.com/prometheus/prometheus/blob/main/prompb/remote.proto
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
GAUGE, HISTOGRAM = 1, 4  # io.prometheus.client.MetricType
_VARINT, _FIXED, _BYTES = 0, 1, 2  # wire types


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


def _field(number: int, kind: int, content: bytes) -> bytes:
    length = _varint(len(content)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + length + content


def _number(number: int, value: int) -> bytes:
    return _field(number, _VARINT, _varint(value))


def _double(number: int, value: float) -> bytes:
    return _field(number, _FIXED, struct.pack("<d", value))


def _text(number: int, value: str) -> bytes:
    return _field(number, _BYTES, value.encode())


def index_of(value: float, schema: int) -> int:
    """The bucket of a native histogram that an observation falls in: (2^((i-1)/2^s), 2^(i/2^s)]."""
    return math.ceil(math.log2(value) * 2**schema - 1e-12)


@dataclass
class Histogram:
    """The observations of one label set, in native buckets and in classic ones."""

    schema: int = 3
    bounds: Sequence[float] = ()  # of the classic buckets; none: native only
    zero_threshold: float = 1e-6
    count: int = 0
    total: float = 0.0
    zeros: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    classic: Counter[float] = field(default_factory=Counter)

    def observe(self, seconds: float, times: int = 1) -> None:
        """Some observations of the same value."""
        self.count += times
        self.total += seconds * times
        if seconds <= self.zero_threshold:
            self.zeros += times
        else:
            self.buckets[index_of(seconds, self.schema)] += times
        self.classic[min((b for b in self.bounds if seconds <= b), default=math.inf)] += times

    def coarser(self) -> None:
        """Halve the resolution, as a client does that has too many buckets: pairs of them become one."""
        merged: Counter[int] = Counter()
        for index, times in self.buckets.items():
            merged[-(-index // 2)] += times
        self.schema, self.buckets = self.schema - 1, merged

    def message(self, *, native: bool) -> bytes:
        """`io.prometheus.client.Histogram`, with native buckets or with classic ones."""
        parts = [_number(1, self.count), _double(2, self.total)]
        below = 0
        for bound in () if native else self.bounds:
            below += self.classic[bound]
            parts.append(_field(3, _BYTES, _number(1, below) + _double(2, bound)))
        if native:
            parts += [
                _number(5, _zigzag(self.schema)),
                _double(6, self.zero_threshold),
                _number(7, self.zeros),
            ]
            parts += self._spans(12, 13)
        return b"".join(parts)

    def written(self, at: int) -> bytes:
        """`prometheus.Histogram` with a timestamp (ms)."""
        parts = [_number(1, self.count), _double(3, self.total), _number(4, _zigzag(self.schema))]
        parts += [_double(5, self.zero_threshold), _number(6, self.zeros), *self._spans(11, 12)]
        return b"".join([*parts, _number(15, at)])

    def _spans(self, span: int, delta: int) -> list[bytes]:
        """Runs of buckets that are not empty, and each count as the difference to the one before."""
        indexes = sorted(index for index, times in self.buckets.items() if times)
        if not indexes:
            return [_field(span, _BYTES, _number(1, 0) + _number(2, 0))]  # empty, yet native
        spans, deltas, end, last = [], [], 0, 0
        for _, run in groupby(enumerate(indexes), key=lambda one: one[1] - one[0]):
            some = [index for _, index in run]
            spans.append(_field(span, _BYTES, _number(1, _zigzag(some[0] - end)) + _number(2, len(some))))
            end = some[-1] + 1
            for index in some:
                deltas.append(_number(delta, _zigzag(self.buckets[index] - last)))
                last = self.buckets[index]
        return spans + deltas


def _metric(labels: Mapping[str, str], inside: bytes) -> bytes:
    pairs = (_field(1, _BYTES, _text(1, name) + _text(2, value)) for name, value in sorted(labels.items()))
    return _field(4, _BYTES, b"".join(pairs) + inside)


def _family(name: str, kind: int, metrics: Iterable[bytes]) -> bytes:
    inside = _text(1, name) + _number(3, kind) + b"".join(metrics)
    return _varint(len(inside)) + inside


def histograms(name: str, series: Iterable[tuple[Mapping[str, str], bytes]]) -> bytes:
    """A family of histograms, by their labels and messages."""
    return _family(name, HISTOGRAM, (_metric(labels, _field(7, _BYTES, one)) for labels, one in series))


def gauge(name: str, value: float) -> bytes:
    """A family of one gauge without labels."""
    return _family(name, GAUGE, [_metric({}, _field(2, _BYTES, _double(1, value)))])


def _series(labels: Mapping[str, str], inside: bytes) -> bytes:
    pairs = (_field(1, _BYTES, _text(1, name) + _text(2, value)) for name, value in sorted(labels.items()))
    return _field(1, _BYTES, b"".join(pairs) + inside)


def written_sample(labels: Mapping[str, str], at: int, value: float) -> bytes:
    """One number of a series (`__name__` among its labels) at an instant (ms), as part of a request."""
    return _series(labels, _field(2, _BYTES, _double(1, value) + _number(2, at)))


def written_histogram(labels: Mapping[str, str], at: int, histogram: Histogram) -> bytes:
    """One native histogram of a series at an instant (ms), as part of a request."""
    return _series(labels, _field(4, _BYTES, histogram.written(at)))


def snappy(content: bytes) -> bytes:
    """Snappy's block format with nothing compressed: only literals."""
    chunks = (content[at : at + 60] for at in range(0, len(content), 60))
    return _varint(len(content)) + b"".join(bytes([(len(chunk) - 1) << 2]) + chunk for chunk in chunks)


def write(url: str, parts: Sequence[bytes]) -> None:
    """Send samples by remote write; their series' times ascend."""
    answer = httpx.post(
        f"{url}/api/v1/write", content=snappy(b"".join(parts)), timeout=30, trust_env=False,
        headers={"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf",
                 "X-Prometheus-Remote-Write-Version": "0.1.0"},
    )  # fmt: skip
    assert answer.is_success, answer.text
