"""Groups: one instance of an SLO for each combination of label values, named by a key.

The roll-up over all groups has the SLO's name as its key and no labels; a group's key is the name with its
labels behind it. Labels that the gauges use themselves get another name: `job` becomes `group_job`. In files
`job` and `instance` may be written as they are, of the others only that other name is accepted.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Group = tuple[tuple[str, str], ...]

RESERVED = frozenset(
    {
        *(
            "slo",
            "severity",
            "state",
            "bound",
            "service",
            "owner",
            "rule",
            "instance",
            "job",
            "le",
            "quantile",
        ),
        *("window_seconds", "long_window_seconds", "short_window_seconds"),
    }
)
OF_TARGETS = frozenset({"job", "instance"})  # may be written without the prefix
_PREFIX = "group_"
MOST_BYTES = 256  # of a value; longer ones are cut and told apart by a hash
_KEPT = 80


def key_of(slo: str, group: Iterable[tuple[str, str]] = ()) -> str:
    """The key of an instance: one text for SLO and labels."""
    labels = dict(group)
    return f"{slo}{json.dumps(labels, sort_keys=True, ensure_ascii=False)}" if labels else slo


def name_of(key: str) -> str:
    """The SLO of a key; names have no brace."""
    return key.partition("{")[0] if is_group(key) else key


def is_group(key: str) -> bool:
    """Whether the key is that of a group, not of a whole SLO."""
    return "{" in key


def labels_of(key: str) -> dict[str, str]:
    """The labels of a key."""
    if not is_group(key):
        return {}
    found: dict[str, str] = json.loads(key[key.index("{") :])
    return found


def shown(label: str) -> str:
    """The name that a label has in gauges, events and pages."""
    return f"{_PREFIX}{label}" if label in RESERVED else label


def written(label: str) -> str:
    """How a label of the series is written in files."""
    return label if label in OF_TARGETS else shown(label)


def meant(name: str) -> str:
    """The label of the series that a name in a file stands for."""
    label = name.removeprefix(_PREFIX)
    return label if label in RESERVED else name


def group_of(labels: Mapping[str, str], by: Iterable[str]) -> Group:
    """The group that a series belongs to; a label it does not have is empty, as in Prometheus."""
    return tuple((shown(label), readable(labels.get(label, ""))) for label in by)


def readable(value: str) -> str:
    """A value that everybody can store (D18): valid text, and short."""
    text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    encoded = text.encode()
    if len(encoded) <= MOST_BYTES:
        return text
    return f"{text[:_KEPT]}…{blake2b(encoded, digest_size=8).hexdigest()}"
