"""Condition SLIs: an expression compared with a limit, one event in each tick."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.batches import Test as Comparison
from slo_budget_tracker.filling import read_ticks
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import read, units
from slo_budget_tracker.specs import SLO, ConditionSli
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, PAGE, Server

NAN, INF = float("nan"), float("inf")


def condition(expr="age", op="<", limit="93600", **options):
    """An SLO whose expression is the name of one of the server's values."""
    sli = ConditionSli(expr=expr, op=op, limit=Decimal(limit))
    return SLO(**{"name": "backup", "target": Decimal("0.9"), "window": 24 * HOUR, "sli": sli} | options)


def unit_of(*slos):
    """The only unit of the SLOs' plan."""
    (unit,) = units(plan(slos, replica_labels={}))
    return unit


def read_one(value):
    """The counts of one tick in which the expression has this value, or no series."""
    unit = unit_of(condition())
    found = () if value is None else (Series({"slo": "backup:condition"}, [BEGIN * 1000], [value]),)
    reading = read(unit, [Tick(BEGIN - 60, BEGIN)], {}, lambda _: Answer(found))
    return reading.counts["backup"][BEGIN]


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        pytest.param(93_599.9, Counts(1, 0, Outcome.OK), id="true is a good tick"),
        pytest.param(93_600.0, Counts(1, 1, Outcome.OK), id="the limit itself is not below the limit"),
        pytest.param(-5.0, Counts(1, 0, Outcome.OK), id="a negative number is a number"),
        pytest.param(INF, Counts(1, 1, Outcome.OK), id="infinity is beyond every limit"),
        pytest.param(NAN, Counts(0, 0, Outcome.NO_TRAFFIC), id="what is no number says nothing"),
        pytest.param(None, Counts(0, 0, Outcome.NO_DATA), id="no series is no data, not a false condition"),
    ],
)
def test_a_tick_is_one_event(value, counts):
    """D1, D15: one event per tick, and none where there is nothing to compare."""
    assert counts == read_one(value)


@pytest.mark.parametrize(
    ("op", "holds"),
    [
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        (">", (False, False, True)),
        (">=", (False, True, True)),
        ("==", (False, True, False)),
        ("!=", (True, False, True)),
    ],
)
def test_comparisons_are_those_of_promql(op, holds):
    """Floats are compared, so a limit of 0.1 equals the 0.1 that PromQL computes."""
    assert holds == tuple(Comparison(op, float(Decimal("0.1"))).of(v) == 1 for v in (0.0999, 0.1, 0.1001))


def test_several_limits_on_one_expression_ask_it_once():
    """A page at 26 h and a ticket at 20 h are two SLOs and one expression."""
    slos = [condition(name="a", limit="93600"), condition(name="b", limit="72000")]
    query = unit_of(*slos).batch.query(BEGIN, INTERVAL)
    assert 'label_replace((age), "slo", "a:condition", "", "")' == query.expression


def test_old_rows_have_one_event_for_each_of_their_ticks():
    """Rows of five minutes in the past weigh as much as five ticks of a minute."""
    rows = [Tick(BEGIN - 600, BEGIN - 300), Tick(BEGIN - 300, BEGIN)]
    server = Server(values={"age": lambda at: 0.0 if at <= BEGIN - 120 else 1e9})
    reading = read_ticks(unit_of(condition()), rows, server, interval=60)
    assert {BEGIN - 300: Counts(5, 0, Outcome.OK), BEGIN: Counts(5, 2, Outcome.OK)} == reading.counts[
        "backup"
    ]


def test_a_row_is_known_by_the_ticks_that_are():
    """Nothing is made up for ticks without a series; a row without any has no data."""
    rows = [Tick(BEGIN - 600, BEGIN - 300), Tick(BEGIN - 300, BEGIN)]
    server = Server(values={"age": lambda at: 0.0 if at > BEGIN - 120 else None})
    reading = read_ticks(unit_of(condition()), rows, server, interval=60)
    assert {BEGIN - 300: Counts(0, 0, Outcome.NO_DATA), BEGIN: Counts(2, 0, Outcome.OK)} == reading.counts[
        "backup"
    ]


def test_the_whole_cycle_counts_ticks():
    """Ninety minutes with thirty bad ones, ticked live: 90 ticks, 30 of them bad, and one page."""
    from slo_budget_tracker.evaluator import Evaluator  # noqa: PLC0415 - the heavy one, once

    last = 90
    broken = range(BEGIN + 1_800, BEGIN + 3_600)
    server = Server(values={"age": lambda at: 1e9 if at in broken else 0.0})
    slo = condition(alerts=(PAGE.model_copy(update={"burn_rate": Decimal(2)}),))
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(
            slos=(slo,), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
        ).prepare(BEGIN)
        for tick in range(1, last + 1):
            report = one.advance(BEGIN + tick * INTERVAL)
        kinds = [event.kind for event in ledger.events()]
    (snapshot,) = report.snapshots
    assert ("ticks", 90, 30) == (snapshot.unit, snapshot.total, snapshot.failures)
    assert {"slo_burn_started", "slo_recovered"} <= set(kinds)
