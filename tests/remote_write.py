"""Remote write by hand: samples for a real Prometheus at the moment at which a test wants it to have them.

A write request is a protobuf of two levels; snappy, in which it is wrapped, also knows bytes that are not compressed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

import httpx

Samples = Iterable[tuple[int, float]]  # times in ms, ascending, and values
RECEIVER = "--web.enable-remote-write-receiver"
UNORDERED = {"storage": {"tsdb": {"out_of_order_time_window": "1d"}}}  # what is late is taken all the same
_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_LITERAL = bytes([63 << 2])  # four bytes of length follow


def send(url: str, series: Iterable[tuple[Mapping[str, str], Samples]]) -> None:
    """Store samples by their labels (`__name__` among them); what the server refuses is an error of the test."""
    message = b"".join(_field(1, _series(labels, samples)) for labels, samples in series)
    if not message:
        return
    wrapped = _varint(len(message)) + _LITERAL + struct.pack("<I", len(message) - 1) + message
    answer = httpx.post(f"{url}/api/v1/write", content=wrapped, headers=_HEADERS, timeout=60, trust_env=False)
    assert answer.is_success, answer.text


def _series(labels: Mapping[str, str], samples: Samples) -> bytes:
    names = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, text.encode()))
        for name, text in sorted(labels.items())
    )
    return names + b"".join(
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time)) for time, value in samples
    )


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes with its number and length."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest ones first."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
