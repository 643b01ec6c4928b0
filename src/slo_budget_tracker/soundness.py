"""Soundness: what must be true of everything a ledger says, beyond what a database can check."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import orjson
import sqlalchemy as sa

from slo_budget_tracker import tables
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.contents import UNREADABLE, Contents
from slo_budget_tracker.history import History
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.ticks import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slo_budget_tracker.density import Density
    from slo_budget_tracker.rows import Row

MOST = 20  # sentences; whoever has more has no use for them


def problems(connection: sa.Connection, *, density: Density | None = None) -> list[str]:
    """Sentences about what is wrong, read from the tables in one transaction; nothing when all is well."""
    try:
        rows = list(Buckets().load(connection))
        contents = Contents.read(connection, Buckets(), History(density=density))
        found = [
            *_references(connection),
            *_of_events(connection),
            *_of_rows(rows),
            *_of_cursors(contents),
            *_of_outcomes(contents),
            *_of_memories(connection),
        ]
    except UNREADABLE as error:
        return [f"what is stored cannot be read: {error}"]
    return found[:MOST]


def _references(connection: sa.Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return  # other databases see to it at all times
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a {parent} that is gone"


def _of_events(connection: sa.Connection) -> Iterator[str]:
    """Per SLO: sequences without gaps, each event names the one before, payloads say the same."""
    table = tables.events
    query = sa.select(table).order_by(table.c.slo, table.c.sequence)
    for slo, events in groupby(connection.execute(query).mappings(), key=lambda row: row["slo"]):
        chain = list(events)
        if chain[0]["sequence"] == 1 and chain[0]["previous_id"] is not None:
            yield f"the first event of {slo} names one before it"
        for before, event in pairwise(chain):
            if event["sequence"] != before["sequence"] + 1:
                yield f"after event {before['sequence']} of {slo} comes {event['sequence']}"
            elif event["previous_id"] != before["event_id"]:
                yield f"event {event['sequence']} of {slo} does not name the one before it"
        for event in chain:
            told = orjson.loads(event["payload"])
            if (told.get("sequence"), told.get("previous_id")) != (event["sequence"], event["previous_id"]):
                yield f"the payload of event {event['sequence']} of {slo} says another place"


def _of_rows(rows: list[Row]) -> Iterator[str]:
    """Counts are finite and not negative, seconds fit their span, and no instance has two rows at a time."""
    for row in rows:
        channels = row.channels()
        if any(not np.isfinite(values).all() or (values < 0).any() for values in channels.values()):
            yield f"the counts of ({row.start}, {row.end}] are not all numbers from 0"
        if (row.known + row.absent + row.error + row.unknown > row.seconds).any():
            yield f"the seconds of ({row.start}, {row.end}] are more than there were"
    last: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (row.start, row.end)):
        twice = [number for number in row.ids.tolist() if last.get(number, row.start) > row.start]
        if twice:
            yield f"instance {twice[0]} has two rows over ({row.start}, {row.end}]"
        last.update(dict.fromkeys(row.ids.tolist(), row.end))


def _of_cursors(contents: Contents) -> Iterator[str]:
    """Nothing was read or stepped beyond the newest row."""
    newest = contents.history.newest
    for feed, at in contents.cursors.items():
        if newest is not None and at > newest and not feed.startswith("fill/"):
            yield f"the cursor of {feed} stands at {at}, the newest counts at {newest}"
    told = {*contents.slo_cursors, *contents.states, *contents.history.ids.tolist()}
    yield from (f"instance {number} is unknown" for number in sorted(told - contents.instances.keys()))
    for instance, at in contents.slo_cursors.items():
        span = contents.history.span(instance)
        if span is not None and at > span.end:
            yield f"instance {instance} was stepped to {at}, its counts end at {span.end}"
    names = Counter(instance.identity for instance in contents.instances.values())
    yield from (f"{identity} stands for two instances" for identity, times in names.items() if times > 1)


def _of_outcomes(contents: Contents) -> Iterator[str]:
    """The seconds of all outcomes add up to the time elapsed, none of them negative."""
    for instance in contents.instances:
        if min(contents.history.outcomes(instance).values()) < 0:
            missed = contents.history.outcomes(instance)[Outcome.MISSED]
            yield f"the outcomes of instance {instance} are {-missed} s more than the time elapsed"


def _of_memories(connection: sa.Connection) -> Iterator[str]:
    for feed, payload in connection.execute(sa.select(tables.memories)):
        try:
            Memory.loads(payload)
        except UNREADABLE as error:
            yield f"what is remembered of {feed} cannot be read: {error}"
