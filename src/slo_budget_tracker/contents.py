"""Contents: all that a ledger keeps in memory, as it is read from the tables."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.instances import Instance
from slo_budget_tracker.rows import DamageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slo_budget_tracker.buckets import Buckets
    from slo_budget_tracker.entries import Entry
    from slo_budget_tracker.history import History
    from slo_budget_tracker.ticks import Outcome, Tick

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError)


@dataclass(slots=True)
class Contents:
    """Instances, counts, states, cursors and facts of one moment."""

    history: History
    instances: dict[int, Instance] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    slo_cursors: dict[int, int] = field(default_factory=dict)
    states: dict[int, dict[str, AlertState]] = field(default_factory=dict)

    @classmethod
    def read(cls, connection: sa.Connection, buckets: Buckets, history: History) -> Contents:
        """Everything, inside one transaction; `history` is empty before.

        Raises:
            DamageError, ValueError, TypeError, KeyError, AttributeError …: something stored is not what was
                written.
        """
        found = cls(history)
        for row in connection.execute(sa.select(tables.instances)).mappings():
            found.instances[row["id"]] = Instance(**{**row, "labels": orjson.loads(row["labels"])})
        found.meta = dict(connection.execute(sa.select(tables.facts)).all())
        found.cursors = dict(connection.execute(sa.select(tables.cursors)).all())
        found.slo_cursors = dict(connection.execute(sa.select(tables.slo_cursors)).all())
        alike: dict[str, dict[str, AlertState]] = {}  # where nothing burns many have the same
        for instance, payload in connection.execute(sa.select(tables.states)):
            known = found.states[instance] = alike.get(payload) or states_of(payload)
            alike[payload] = known
        history.admit(found.instances)
        history.add(buckets.load(connection))
        if "thinned_at" in found.meta:
            history.thin(int(found.meta["thinned_at"]))
        return found


class Known:
    """What can be asked without looking at the disk."""

    def __init__(self, contents: Contents) -> None:
        self._now = contents

    @property
    def contents(self) -> Contents:
        """Everything."""
        return self._now

    @property
    def history(self) -> History:
        """The counts of all instances over all time."""
        return self._now.history

    @property
    def states(self) -> dict[int, dict[str, AlertState]]:
        """The alert states by instance and rule."""
        return self._now.states

    @property
    def instances(self) -> Mapping[int, Instance]:
        """All instances by id, the retired ones too."""
        return self._now.instances

    @property
    def meta(self) -> Mapping[str, str]:
        """Facts kept with the ledger: `epoch`, made once per ledger; `birth`, when in data time it began."""
        return self._now.meta

    @property
    def birth(self) -> int | None:
        """The data instant at which this ledger began; ticks before it never send events."""
        return int(self._now.meta["birth"]) if "birth" in self._now.meta else None

    def cursor(self, feed: str) -> int | None:
        """The data instant until which the feed was read."""
        return self._now.cursors.get(feed)

    def born(self, instance: int) -> int:
        """The data instant at which the instance was first registered: its live ticks end after it."""
        return self._now.instances[instance].born

    def slo_cursor(self, instance: int) -> int | None:
        """The data instant until which the instance's state machine was stepped."""
        return self._now.slo_cursors.get(instance)

    def outcomes(self, instance: int) -> dict[Outcome, int]:
        """Seconds of each outcome since the instance's first row; they add up to the time elapsed."""
        return self.history.outcomes(instance)

    def missing(self, instance: int, *, since: int, until: int | None = None) -> list[Tick]:
        """Spans with seconds that were missed or failed and may still be fetched."""
        return self.history.missing(instance, since=since, until=until)


def states_of(text: str) -> dict[str, AlertState]:
    """The states by rule that `states_text` wrote.

    Raises:
        DamageError: it wrote something else; a text without a check sum is from an older program.
    """
    plain, _, told = text.partition("\n")
    if told and told != _sum(plain):
        raise DamageError("stored states are not what was written")
    return {rule: AlertState.from_json(state) for rule, state in orjson.loads(plain).items()}


def states_text(states: Mapping[str, AlertState]) -> str:
    """States by rule, as they are stored: JSON and its check sum on a line of its own."""
    plain = orjson.dumps({rule: state.to_json() for rule, state in states.items()}).decode()
    return f"{plain}\n{_sum(plain)}"


def write_facts(connection: sa.Connection, entry: Entry) -> None:
    """States, memories, cursors and facts: each takes the place of what was there."""
    for table, key, column, values in (
        (tables.states, "instance", "payload", {i: states_text(s) for i, s in entry.states.items()}),
        (tables.memories, "feed", "payload", entry.memories),
        (tables.cursors, "feed", "instant", entry.cursors),
        (tables.slo_cursors, "instance", "instant", entry.slo_cursors),
        (tables.facts, "key", "value", entry.meta),
    ):
        tables.upsert(connection, table, [{key: name, column: value} for name, value in values.items()])


def _sum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
