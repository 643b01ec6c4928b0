"""Groups: one instance of an SLO for each combination of label values, named by a key.

The roll-up over all groups has the SLO's name as its key and no labels; a group's key is the name with its
labels behind it. Labels that Prometheus has for targets, `job` and `instance`, become `group_job` and
`group_instance`.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Group = tuple[tuple[str, str], ...]

RENAMED = {"job": "group_job", "instance": "group_instance"}
MOST_BYTES = 256  # of a value; longer ones are cut and told apart by a hash
_KEPT = 80


def key_of(slo: str, group: Iterable[tuple[str, str]] = ()) -> str:
    """The key of an instance: one text for SLO and labels."""
    labels = dict(group)
    return f"{slo}{json.dumps(labels, sort_keys=True, ensure_ascii=False)}" if labels else slo


def name_of(key: str) -> str:
    """The SLO of a key; names have no brace."""
    return key.partition("{")[0]


def is_group(key: str) -> bool:
    """Whether the key is that of a group, not of a whole SLO."""
    return "{" in key


def labels_of(key: str) -> dict[str, str]:
    """The labels of a key."""
    _, brace, rest = key.partition("{")
    found: dict[str, str] = json.loads(brace + rest) if brace else {}
    return found


def shown(label: str) -> str:
    """The name that a label has in gauges, events and pages."""
    return RENAMED.get(label, label)


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
