"""Shards: which of several daemons evaluates an SLO, so that a changed number of them moves few.

Rendezvous hashing: an SLO belongs to the shard whose number, hashed together with its name, is highest. From
n to n + 1 shards one SLO in n + 1 moves, all of them to the new one; from n + 1 to n only those of the shard
that is gone. Source: Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates" (1998).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slo_budget_tracker.composites import members_of
from slo_budget_tracker.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from slo_budget_tracker.specs import SLO

MOST = 1_000  # shards: finding an SLO's owner hashes once for each
_WRITTEN = re.compile(r"([0-9]{1,4})/([0-9]{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` daemons, counted from 0."""

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`0/3`, `1/3` and `2/3` are three shards.

        Raises:
            UsageError: it is not such a text.
        """
        found = _WRITTEN.fullmatch(text.strip())
        index, of = (int(found[1]), int(found[2])) if found else (0, 0)
        if not index < of <= MOST:
            last = f", the last of {of} is {of - 1}/{of}" if found and 0 < of <= index else ""
            raise UsageError(
                f"the shard {text!r} is none, expected its number from 0 and their count, such as 0/3{last}"
            )
        return cls(index, of)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def share(self, slos: Sequence[SLO]) -> list[SLO]:
        """The SLOs that this one evaluates, in their order; a composite stays with its members."""
        heads = families(slos)
        return [slo for slo in slos if owner(heads[slo.name], of=self.of) == self.index]

    def namespace(self, base: str) -> str:
        """Where its ledger is in a database that all share; the same however many there are."""
        return namespace_of(base, self.index)


def owner(name: str, *, of: int) -> int:
    """The number of the shard, of so many, that has this SLO."""
    return max(range(of), key=lambda number: _weight(name, number))


def _weight(name: str, number: int) -> bytes:
    return hashlib.blake2b(f"{number}/{name}".encode(), digest_size=8).digest()


def families(slos: Iterable[SLO]) -> dict[str, str]:
    """The name that decides, by SLO: its own, or the first in the alphabet of those it is composed with."""
    head: dict[str, str] = {}

    def find(name: str) -> str:
        while head.setdefault(name, name) != name:
            name = head[name]
        return name

    names = []
    for slo in slos:
        names.append(slo.name)
        for member in members_of(slo):
            one, other = sorted((find(slo.name), find(member)))
            head[other] = one
    return {name: find(name) for name in names}


def namespace_of(base: str, number: int) -> str:
    """The namespace of a shard's ledger."""
    return f"{base}_shard_{number}"


def number_of(namespace: str, base: str) -> int | None:
    """The shard whose ledger a namespace is; None where it is none of this base."""
    found = re.fullmatch(rf"{re.escape(base)}_shard_([0-9]{{1,4}})", namespace)
    return int(found[1]) if found else None
