"""Contents: all that a ledger keeps in memory, as it is read from the tables."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.instances import Instance
from slo_budget_tracker.rows import DamageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.buckets import Buckets
    from slo_budget_tracker.entries import Entry
    from slo_budget_tracker.history import History
    from slo_budget_tracker.rows import Row
    from slo_budget_tracker.ticks import Outcome, Tick

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError)


class Newer(NamedTuple):
    """What was written to a ledger since it was read: whole tables that are small, and the rows that came."""

    instances: dict[int, Instance]
    meta: dict[str, str]
    cursors: dict[str, int]
    slo_cursors: dict[int, int]
    texts: dict[int, str]
    rows: Sequence[Row]
    last_row: int


@dataclass(slots=True)
class Contents:
    """Instances, counts, states, cursors and facts of one moment.

    Attributes:
        texts: the states as they are stored.
        last_row: the highest number of a stored row.
    """

    history: History
    instances: dict[int, Instance] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    slo_cursors: dict[int, int] = field(default_factory=dict)
    states: dict[int, dict[str, AlertState]] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    last_row: int = 0

    @classmethod
    def read(cls, connection: sa.Connection, buckets: Buckets, history: History) -> Contents:
        """Everything, inside one transaction; `history` is empty before.

        Raises:
            DamageError, ValueError, TypeError, KeyError, AttributeError …: something stored is not what was
                written.
        """
        found = cls(history)
        found.instances = _instances(connection, {})
        found.meta = _pairs(connection, tables.facts)
        found.cursors = _pairs(connection, tables.cursors)
        found.slo_cursors = _pairs(connection, tables.slo_cursors)
        found.texts = _pairs(connection, tables.states)
        alike: dict[str, dict[str, AlertState]] = {}  # where nothing burns many have the same
        for instance, text in found.texts.items():
            known = found.states[instance] = alike.get(text) or states_of(text)
            alike[text] = known
        found.last_row = buckets.newest(connection)
        history.admit(found.instances)
        history.add(buckets.load(connection, narrow=True))
        if "thinned_at" in found.meta:
            history.thin(int(found.meta["thinned_at"]))
        return found

    def newer(self, connection: sa.Connection, buckets: Buckets) -> Newer | None:
        """What came since, inside one transaction; None where all has to be read, as rows have no order.

        Rows that were merged since then come again with the others, and change nothing.
        """
        meta, last_row = _pairs(connection, tables.facts), buckets.newest(connection)
        same = meta.get("epoch") == self.meta.get("epoch")
        goes_on = (
            int(meta.get("commits", 0)) >= int(self.meta.get("commits", 0)) and last_row >= self.last_row
        )
        if connection.dialect.name != "postgresql" or not (same and goes_on):
            return None  # SQLite gives a number that became free again
        return Newer(
            instances=_instances(connection, self.instances),
            meta=meta,
            cursors=_pairs(connection, tables.cursors),
            slo_cursors=_pairs(connection, tables.slo_cursors),
            texts=_pairs(connection, tables.states),
            rows=list(buckets.load(connection, after=self.last_row)),
            last_row=last_row,
        )

    def take(self, newer: Newer) -> bool:
        """Take in what came; whether figures may have changed by it."""
        changed = {i: text for i, text in newer.texts.items() if self.texts.get(i) != text}
        states = {i: states_of(text) for i, text in changed.items()}
        fresh = bool(newer.rows or changed or newer.texts.keys() != self.texts.keys())
        fresh = fresh or (newer.instances, newer.slo_cursors) != (self.instances, self.slo_cursors)
        self.states = {i: states.get(i) or self.states[i] for i in newer.texts}
        self.instances, self.meta, self.texts = newer.instances, newer.meta, newer.texts
        self.cursors, self.slo_cursors, self.last_row = newer.cursors, newer.slo_cursors, newer.last_row
        self.history.admit(newer.instances)
        self.history.add(newer.rows)
        if "thinned_at" in newer.meta:
            self.history.thin(int(newer.meta["thinned_at"]))
        return fresh


def _pairs(connection: sa.Connection, table: sa.Table) -> dict[Any, Any]:
    """A table of two columns."""
    return dict(connection.execute(sa.select(table)).all())


def _instances(connection: sa.Connection, known: Mapping[int, Instance]) -> dict[int, Instance]:
    """All instances; those that are known and did not change are the same objects."""
    found = {}
    stored = connection.execute(sa.select(tables.instances))
    for number, slo, labels, sli_hash, generation, born, retired in stored:
        one = known.get(number)
        if one is None:
            one = Instance(number, slo, orjson.loads(labels), sli_hash, generation, born, retired)
        elif (one.retired, one.born) != (retired, born):  # nothing else of it ever changes
            one = replace(one, retired=retired, born=born)
        found[number] = one
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
