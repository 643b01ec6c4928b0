"""What is remembered of a feed between two ticks: one sample per series, and what odd targets need."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from slo_budget_tracker.feeds import Slot

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from numpy.typing import NDArray

    from slo_budget_tracker.feeds import Role

KEPT_MS = 86_400_000  # a series that was silent for longer is forgotten
_MAGIC = b"SBTm1"
_HEAD = struct.Struct("<5sIQ")


class Job(NamedTuple):
    """When a job was scraped: the newest instant, the usual time between scrapes, the latest hole (ms)."""

    last: int
    spacing: int | None = None
    hole: tuple[int, int] | None = None


class Special(NamedTuple):
    """What few series need remembered beside their sample.

    `held`: an undecided first value, counted at the next growth if that growth times `allowance` reaches it.
    `marked`: the value is a high-water mark that the counter fell below without a reset.
    `falls`: how many falls were asked about in vain; after some, no more questions.
    `restarted`: it began again with its process in the last tick; if that crashes again it need not fall.
    """

    held: float | None = None
    allowance: float = 0.0
    marked: bool = False
    falls: int = 0
    restarted: bool = False


NOTHING_SPECIAL = Special()


@dataclass(frozen=True)
class Roll:
    """Which series are remembered: 64-bit hashes of their labels and of their (job, instance)."""

    keys: tuple[int, ...] = ()
    targets: tuple[int, ...] = ()

    @cached_property
    def index(self) -> dict[int, int]:
        """The row of each key."""
        return dict(zip(self.keys, range(len(self.keys)), strict=True))

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """Rows by ascending key: the order in which they are stored."""
        return np.argsort(np.array(self.keys, np.uint64), kind="stable")

    @cached_property
    def packed(self) -> bytes:
        """Keys and targets as stored."""
        keys, targets = (np.array(column, np.uint64)[self.order] for column in (self.keys, self.targets))
        return keys.tobytes() + targets.tobytes()

    def rows_of(self, target: int) -> list[int]:
        """The rows of one target."""
        return np.flatnonzero(self._targets == np.uint64(target)).tolist()

    @cached_property
    def _targets(self) -> NDArray[np.uint64]:
        return np.array(self.targets, np.uint64)

    def extended(self, keys: Sequence[int], targets: Sequence[int]) -> Roll:
        """The roll with further series at its end, which takes over what this one was looked up with."""
        longer = Roll((*self.keys, *keys), (*self.targets, *targets))
        if (index := self.let_go()) is not None:
            rows = range(len(self.keys), len(longer.keys))
            vars(longer)["index"] = {**index, **dict(zip(keys, rows, strict=True))}
        return longer

    def let_go(self) -> dict[int, int] | None:
        """Forget what can be made again, most of a roll's memory: it stays only where blocks begin."""
        for name in ("order", "packed", "_targets"):
            vars(self).pop(name, None)
        index: dict[int, int] | None = vars(self).pop("index", None)
        return index


@dataclass(frozen=True)
class Memory:
    """A feed's memory after the data instant `until` (ms); `since` is where it began without knowledge.

    `scope` tells what the feed selected: a series that was not selected then is unknown, not new.
    `present` holds, by slot, until when its youngest sample counts as data, where the next tick needs it.
    """

    scope: str = ""
    since: int | None = None
    until: int | None = None
    roll: Roll = field(default_factory=Roll)
    times: Sequence[int] = ()
    values: Sequence[float] = ()
    jobs: Mapping[str, Job] = field(default_factory=dict)
    special: Mapping[int, Special] = field(default_factory=dict)
    replicas: Mapping[int, str] = field(default_factory=dict)
    present: Mapping[Slot, int] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Memory:
        """The memory of a feed that was never read."""
        return cls()

    def __len__(self) -> int:
        return len(self.times)

    def spacings(self, at: int) -> list[int]:
        """The usual times (ms) between two scrapes of the jobs that were scraped shortly before then."""
        known = [(job.last, job.spacing) for job in self.jobs.values()]
        return [spacing for last, spacing in known if spacing is not None and at - last <= 2 * spacing]

    def purged(self) -> Memory:
        """The memory without what was silent for too long."""
        assert self.until is not None
        oldest = self.until - KEPT_MS
        jobs = {name: job for name, job in self.jobs.items() if job.last > oldest}
        kept = [row for row, time in enumerate(self.times) if time > oldest]
        memory = self if len(kept) == len(self.times) else self._of(kept)
        return replace(memory, jobs=jobs)

    def without(self, keys: Container[int]) -> Memory:
        """The memory without some series."""
        return self._of([row for row, key in enumerate(self.roll.keys) if key not in keys])

    def _of(self, rows: Sequence[int]) -> Memory:
        roll = Roll(tuple(self.roll.keys[row] for row in rows), tuple(self.roll.targets[row] for row in rows))
        self.roll.let_go()
        return replace(
            self,
            roll=roll,
            times=[self.times[row] for row in rows],
            values=[self.values[row] for row in rows],
            special={key: one for key, one in self.special.items() if key in roll.index},
            replicas={key: one for key, one in self.replicas.items() if key in roll.index},
        )

    def dumps(self) -> bytes:
        """The memory as bytes; equal memories are equal bytes."""
        rest = {
            "scope": self.scope,
            "since": self.since,
            "until": self.until,
            "jobs": self.jobs,
            "special": self.special,
            "replicas": self.replicas,
            "present": [[*slot, until] for slot, until in sorted(self.present.items())],
        }
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"), default=dict).encode()
        times = np.array(self.times, np.int64)[self.roll.order]
        values = np.array(self.values, np.float64)[self.roll.order]
        head = _HEAD.pack(_MAGIC, len(text), len(self.times))
        return head + text + self.roll.packed + times.tobytes() + values.tobytes()

    @classmethod
    def loads(cls, stored: bytes) -> Memory:
        """The memory that `dumps` gave; ValueError for anything else."""
        try:
            magic, length, rows = _HEAD.unpack_from(stored)
            rest = json.loads(stored[_HEAD.size : _HEAD.size + length])
            start = _HEAD.size + length
            if magic != _MAGIC or len(stored) != start + 32 * rows:
                raise ValueError(f"{len(stored)} bytes that begin with {magic!r}")  # noqa: TRY301 - one door
            columns = [
                np.frombuffer(stored, kind, rows, start + at * 8 * rows).tolist()
                for at, kind in enumerate((np.uint64, np.uint64, np.int64, np.float64))
            ]
            keys, targets, times, values = columns
            return cls(
                scope=rest["scope"],
                since=rest["since"],
                until=rest["until"],
                roll=Roll(tuple(keys), tuple(targets)),
                times=times,
                values=values,
                jobs={
                    name: Job(last, spacing, hole and tuple(hole))
                    for name, (last, spacing, hole) in rest["jobs"].items()
                },
                special={int(key): Special(*one) for key, one in rest["special"].items()},
                replicas={int(key): one for key, one in rest["replicas"].items()},
                present={_slot(*one): until for *one, until in rest["present"]},
            )
        except (struct.error, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a counting memory: {error}") from error


def _slot(slo: str, role: Role, group: Sequence[Sequence[str]] = ()) -> Slot:
    """A slot as stored; before there were groups it had two parts."""
    return Slot(slo, role, tuple((name, value) for name, value in group))
