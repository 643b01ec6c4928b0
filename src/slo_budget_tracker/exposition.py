"""The text that Prometheus scrapes, equal to what prometheus_client would write, but faster."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

import orjson
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client import Metric

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

LONGEST_VALUE = 256  # bytes of UTF-8
_HASH_BYTES = 4
_MINUS_INFINITY = float("-inf")
_FIRST_EXPONENT = 1e6
_LAST_FRACTION = 1e-4  # smaller numbers are spelled with an exponent

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
# Prometheus' own parser reads NUL as the end of its input, and a lone surrogate cannot be encoded at all.
_UNREADABLE = re.compile("[\x00\ud800-\udfff]")
_COUNTER = re.compile(rb"^# HELP (\w+)_total (.*)\n# TYPE \1_total counter$", re.MULTILINE)


class Label(NamedTuple):
    """One label: its name, by which labels are sorted, and `name="value"` ready for printing."""

    name: str
    text: str


class Family(NamedTuple):
    """Name, type and HELP sentence of one metric; a counter's name ends in `_total`."""

    name: str
    type: str
    help: str

    @property
    def head(self) -> str:
        """The two comment lines above the samples."""
        words = self.help.replace("\\", r"\\").replace("\n", r"\n")
        return f"# HELP {self.name} {words}\n# TYPE {self.name} {self.type}\n"


def readable(value: str) -> str:
    """The label value with what no scraper can read as U+FFFD, cut to 256 bytes with a hash of the whole."""
    value = _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if len(value) <= LONGEST_VALUE // 4:
        return value
    whole = value.encode()
    if len(whole) <= LONGEST_VALUE:
        return value
    mark = "~" + blake2b(whole, digest_size=_HASH_BYTES).hexdigest()
    return whole[: LONGEST_VALUE - len(mark)].decode(errors="ignore") + mark


@lru_cache(maxsize=65_536)
def label(name: str, value: str) -> Label:
    """One label, its name made valid and its value readable and escaped."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    name = f"_{name}" if not name or name[0].isdigit() else name
    return Label(name, f'{name}="{readable(value).translate(_ESCAPES)}"')


def labels(pairs: Mapping[str, str]) -> tuple[Label, ...]:
    """All labels of a mapping; of two names that become the same the later one stays."""
    return tuple({one.name: one for one in (label(name, value) for name, value in pairs.items())}.values())


def braced(some: Iterable[Label]) -> str:
    """The labels as they stand between a sample's name and its value, sorted by name."""
    text = ",".join([text for _, text in sorted(some)])
    return f"{{{text}}}" if text else ""


@lru_cache(maxsize=4_096)
def around(name: str, further: tuple[Label, ...]) -> tuple[str, str]:
    """What stands before and after the label `name` when the further labels are sorted around it."""
    before = "".join(f"{one.text}," for one in sorted(further) if one.name < name)
    after = "".join(f",{one.text}" for one in sorted(further) if one.name > name)
    return f"{{{before}", f"{after}}}"


def sample(name: str, where: str, value: float | None) -> str:
    """One line; nothing for a value that is absent or no finite number."""
    text = printed(value)
    return "" if text is None else f"{name}{where} {text}\n"


def printed(value: float | None) -> str | None:
    """The number as Prometheus' own clients print it; None for what is absent or no finite number."""
    if value is None:
        return None
    if _MINUS_INFINITY < value < _FIRST_EXPONENT:  # the shape Python and Go agree on, and nearly every value
        return repr(float(value))
    if not isfinite(value):
        return None
    return _large(value)


def all_printed(values: list[float | None]) -> list[str | None]:
    """Numbers as `printed` gives each, at half the cost: few are spelled in another way by orjson."""
    found: list[str | None] = [*orjson.dumps(values).decode()[1:-1].split(",")]
    for at, value in enumerate(values):
        if value.__class__ is float and (_LAST_FRACTION <= value < _FIRST_EXPONENT or not value):
            continue
        found[at] = printed(value)
    return found


@lru_cache(maxsize=4_096)  # windows and instants are the same for many
def _large(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # of prometheus_client
    return text


def block(family: Family, lines: Iterable[str]) -> str:
    """A family with its samples; nothing where there is none."""
    body = "".join(lines)
    return family.head + body if body else ""


def foreign(metric: Metric) -> str:
    """A family collected by prometheus_client (the figures of our own process)."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    family = Family(name, metric.type, metric.documentation)
    return block(family, (sample(one.name, braced(labels(one.labels)), one.value) for one in metric.samples))


def openmetrics(text: bytes) -> bytes:
    """The same samples as OpenMetrics: a counter's family goes without `_total`, and the end is marked."""
    return _COUNTER.sub(rb"# HELP \1 \2\n# TYPE \1 counter", text) + b"# EOF\n"


def encoded(blocks: Iterable[str], *more: Iterable[str]) -> bytes:
    """All blocks as UTF-8."""
    return b"".join([text.encode() for text in chain(blocks, *more)])
