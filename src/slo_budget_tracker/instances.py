"""Instances: which id stands for which SLO, labels and SLI, and how ids come to be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import orjson


@dataclass(frozen=True, slots=True)
class Instance:
    """One SLO instance: what its id stands for. `retired` is the data instant it was taken out, if it was."""

    id: int
    slo: str
    labels: Mapping[str, str]
    sli_hash: str
    generation: int
    born: int
    retired: int | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two instances the same: then the counts are kept."""
        return (self.slo, canonical(self.labels), self.sli_hash)

    def stored(self) -> dict[str, object]:
        """Its row in the ledger."""
        return {**asdict(self), "labels": canonical(self.labels)}


def last_generations(instances: Iterable[Instance], names: Collection[str]) -> list[Instance]:
    """What counted last of these SLOs: what is there, or went with its SLO; not groups that were gone."""
    newest: dict[tuple[str, str], Instance] = {}
    for one in sorted(instances, key=lambda one: one.generation):
        if one.slo in names:
            newest[one.slo, canonical(one.labels)] = one
    gone = {one.slo: one.retired for one in newest.values() if not one.labels}
    return [one for one in newest.values() if one.retired is None or one.retired == gone.get(one.slo)]


Wanted = tuple[str, Mapping[str, str], str]  # SLO name, labels of the instance, hash of its SLI


class Enrolment(NamedTuple):
    """The ids asked for, in order, and the instances that are new or changed for it."""

    ids: list[int]
    changed: dict[int, Instance]


def enrol(instances: Mapping[int, Instance], wanted: Sequence[Wanted], *, at: int) -> Enrolment:
    """Find or make an id for each; a changed SLI begins a new generation and retires the one before."""
    now = dict(instances)
    by_identity = {instance.identity: number for number, instance in now.items()}
    generations: dict[tuple[str, str], list[int]] = {}
    for number, instance in now.items():
        generations.setdefault(instance.identity[:2], []).append(number)
    ids = []
    last = max(now, default=0)
    for slo, labels, sli_hash in wanted:
        identity = (slo, canonical(labels), sli_hash)
        siblings = generations.setdefault(identity[:2], [])
        number = by_identity.setdefault(identity, last + 1)
        if number not in now:
            last = number
            generation = 1 + max((now[i].generation for i in siblings), default=0)
            now[number] = Instance(number, slo, dict(labels), sli_hash, generation, born=at)
            siblings.append(number)
        if now[number].retired is not None:
            now[number] = replace(now[number], retired=None)
        for other in siblings:
            if other != number and now[other].retired is None:
                now[other] = replace(now[other], retired=at)
        ids.append(number)
    return Enrolment(ids, {i: instance for i, instance in now.items() if instances.get(i) != instance})


def retired(instances: Mapping[int, Instance], instants: Mapping[int, int]) -> dict[int, Instance]:
    """Those that are taken out now, each at its data instant; who was taken out before stays as it is."""
    return {
        number: replace(instances[number], retired=at)
        for number, at in instants.items()
        if instances[number].retired is None
    }


def canonical(labels: Mapping[str, str]) -> str:
    """Labels as text, the same for equal labels."""
    return orjson.dumps(dict(labels), option=orjson.OPT_SORT_KEYS).decode()


def fill_key(instance: int) -> str:
    """Where the ledger keeps down to which instant an instance is filled."""
    return f"fill/{instance}"


def kept_key(instance: int) -> str:
    """Where the ledger keeps up to when another daemon counted an instance: that is not filled again."""
    return f"kept/{instance}"


def left_key(instance: int) -> str:
    """Where the ledger keeps below which instant another daemon had not filled an instance yet."""
    return f"left/{instance}"


def floor_key(instance: int) -> str:
    """Where the ledger keeps down to where that goes; without, to the start of the window."""
    return f"floor/{instance}"


def added_key(instance: int) -> str:
    """Where the ledger keeps when an instance came back, if it had been away."""
    return f"added/{instance}"
