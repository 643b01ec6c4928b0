"""A ledger in PostgreSQL that is only read: each look reads what is new, and has what a whole reading would have."""

from __future__ import annotations

import numpy as np
import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.buckets import Buckets
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.ticks import Tick
from tests.bench.stores import row

pytestmark = pytest.mark.postgresql
DAY = 86_400
BEGIN = 20_000 * DAY - 30
WINDOWS = [60, 300, 3_600, 7 * 3_600, DAY, 9 * DAY]


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


@pytest.fixture
def writer(url):
    """Who leads."""
    with Ledger.open(url, now=BEGIN) as ledger:
        yield ledger


@pytest.fixture
def reader(url, writer):
    """Who follows."""
    with Ledger.open(url, read_only=True) as ledger:
        yield ledger


@pytest.fixture
def loaded(monkeypatch):
    """How many rows each loading brought."""
    found = []
    load = Buckets.load

    def counted(self, connection, **options):
        rows = list(load(self, connection, **options))
        found.append(len(rows))
        return iter(rows)

    monkeypatch.setattr(Buckets, "load", counted)
    return found


def known(ledger):
    """All that can be asked of it without looking at the disk."""
    newest = ledger.history.newest or BEGIN
    ends = [newest, newest - 3_600, newest - 2 * DAY]
    windows = {at: ledger.history.window(at, WINDOWS) for at in ends}
    sums = {
        (at, i, w): (one.total, one.bad, one.known)
        for at, by_id in windows.items()
        for i, by_window in by_id.items()
        for w, one in by_window.items()
    }
    meta = {key: value for key, value in ledger.meta.items() if key != "commits"}
    cursors = [(ledger.cursor(f"feed-{n}"), ledger.slo_cursor(n)) for n in range(12)]
    spans = {i: ledger.history.span(i) for i in ledger.instances}
    return sums, meta, cursors, spans, dict(ledger.states), dict(ledger.instances)


def live(ledger, rng, at):
    """A tick: rows, a changed state, cursors."""
    ids = np.array(sorted(i for i, one in ledger.instances.items() if one.retired is None))
    states = {int(rng.choice(ids)): {"rule": AlertState("firing", at, 0)}}
    ledger.commit(
        Entry(
            rows=[row(rng, Tick(at - 60, at), ids)],
            states=states,
            cursors={f"feed-{at // 60 % 12}": at},
            slo_cursors=dict.fromkeys(ids.tolist(), at),
        )
    )


def test_what_is_read_in_parts_is_what_is_read_as_a_whole(url, writer, reader):
    """Through ticks, fills, revisions, merges of old rows, SLOs that come and go: the same figures, states, cursors."""
    rng, at = np.random.default_rng(3), BEGIN
    writer.register_all([(f"slo-{n}", {}, "h") for n in range(5)], at=BEGIN)
    for step in range(10):
        for _ in range(int(rng.integers(1, 45))):
            at += 60
            live(writer, rng, at)
        ids = np.array(sorted(writer.instances))
        match step % 5:
            case 0:  # a piece of the past
                filled = BEGIN - step * 3_600
                spans = [Tick(end - 300, end) for end in range(filled - 3_600 + 300, filled + 1, 300)]
                writer.commit(Entry(rows=[row(rng, span, ids[:5]) for span in spans]))
            case 1:  # late data: the last hour again
                spans = [Tick(end - 60, end) for end in range(at - 600 + 60, at + 1, 60)]
                writer.commit(Entry(rows=[row(rng, span, ids[:3]) for span in spans]))
            case 2:
                writer.register(f"new-{step}", {"code": str(step)}, "h", at=at)
            case 3:
                writer.retire([int(ids[-1])], at=at)
            case _:  # only what is no figure
                assert reader.refresh()
                writer.commit(Entry(meta={"something": str(step)}))
                assert not reader.refresh()
        reader.refresh()
        with Ledger.open(url, read_only=True) as whole:
            assert known(whole) == known(reader)
    assert not reader.refresh()


def test_a_tick_is_one_row(writer, reader, loaded):
    """However much there is: what was read is not read again."""
    rng = np.random.default_rng(3)
    writer.register_all([(f"slo-{n}", {}, "h") for n in range(5)], at=BEGIN)
    for number in range(1, 40):
        live(writer, rng, BEGIN + 60 * number)
    reader.refresh()
    loaded.clear()
    for number in range(40, 43):
        live(writer, rng, BEGIN + 60 * number)
        assert reader.refresh()
    assert [1, 1, 1] == loaded


def test_another_ledger_in_its_place_is_read_as_a_whole(url, writer, reader, postgresql):
    """Dropped and begun anew, or put back from a dump: nothing of the old one stays."""
    rng = np.random.default_rng(3)
    writer.register("old", {}, "h", at=BEGIN)
    live(writer, rng, BEGIN + 60)
    assert reader.refresh()
    writer.close()
    postgresql.sql(f"DROP SCHEMA {reader._store.database.namespace} CASCADE")
    with Ledger.open(url, now=BEGIN) as fresh:
        fresh.register("new", {}, "h", at=BEGIN)
        for number in range(1, 9):
            live(fresh, rng, BEGIN + 60 * number)
        assert reader.refresh()
        assert known(fresh) == known(reader)
    assert ["new"] == [one.slo for one in reader.instances.values()]
