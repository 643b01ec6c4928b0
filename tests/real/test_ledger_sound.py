"""`Ledger.check`: each thing that must be true of a ledger, made untrue."""

from __future__ import annotations

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.ledger import Entry, Event, Ledger
from slo_budget_tracker.memory import Memory
from tests.real.ledgers import NOW, registered, row


@pytest.fixture
def ledger(url):
    """A sound ledger with something of everything."""
    with Ledger.open(url) as opened:
        registered(opened)
        opened.commit(
            Entry(
                rows=[row(NOW - 60, NOW, {1: (10, 1), 2: (1, 0)})],
                states={1: {"burn": AlertState("firing", NOW)}},
                events=[Event(f"e-{n}", "slo-0", "slo_recovered", NOW, {}) for n in (1, 2, 3)],
                memories={"feed": Memory.empty().dumps()},
                cursors={"feed": NOW},
                slo_cursors={1: NOW},
            )
        )
        assert [] == opened.check()
        yield opened


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE event SET sequence = 4 WHERE event_id = 'e-3'", "after event 2 of slo-0 comes 4"),
        ("UPDATE event SET previous_id = 'e-1' WHERE event_id = 'e-3'", "does not name the one before it"),
        ("UPDATE event SET previous_id = 'x' WHERE event_id = 'e-1'", "the first event of slo-0 names one"),
        ("UPDATE event SET payload = '{}' WHERE event_id = 'e-2'", "the payload of event 2 of slo-0 says"),
        ("UPDATE event SET payload = '{' WHERE event_id = 'e-2'", "cannot be read"),
        ("UPDATE state SET payload = '{\"burn\": {}}'", "cannot be read"),
        ("UPDATE state SET payload = 'nonsense'", "cannot be read"),
        ("UPDATE cursor SET instant = instant + 60", "the cursor of feed stands at"),
        ("UPDATE slo_cursor SET instant = instant + 60", "instance 1 was stepped to"),
        ("UPDATE memory SET payload = x'0102'", "what is remembered of feed cannot be read"),
        ("UPDATE bucket SET payload = x'0102'", "stored counts of"),
        (
            "INSERT INTO bucket SELECT 9, start_at, end_at, step, roster, payload FROM bucket",
            "has two rows over",
        ),
        ("UPDATE bucket SET start_at = start_at + 30", "or of another span"),
        ("DELETE FROM instance WHERE id = 2", "instance 2 is unknown"),
        ("DELETE FROM roster", "is gone"),
    ],
)
def test_what_must_be_true_is_checked(ledger, engine, damage, found):
    """S5: one sentence about each thing that is not as it must be."""
    with ledger._store.begin():
        pass
    driver = ledger._store._connection.connection.driver_connection
    unchecked = {"sqlite": "PRAGMA foreign_keys=OFF", "postgresql": "SET session_replication_role = replica"}
    driver.execute(unchecked[engine])
    driver.execute(damage if engine == "sqlite" else damage.replace("x'0102'", r"'\x0102'"))
    if engine == "postgresql":
        driver.commit()
    problems = ledger.check()
    assert [problem for problem in problems if found in problem], problems
