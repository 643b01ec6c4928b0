"""Absences: what is said of groups that a fill finds, of days in which their SLO went on without them."""

from __future__ import annotations

import pytest

from slo_budget_tracker.density import DAY, HOUR
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.rows import Row, merge
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, evaluator, ratio

FIRST, NOW = BEGIN + INTERVAL, BEGIN + 10 * DAY
OLD = [key_of("mood", (("handler", f"old{number}"),)) for number in range(3)]
YOUNG = 7 * 60  # ticks of seven hours, each of which is kept on its own
ONE = Counts(1, 0, Outcome.OK)
UNUSABLE = Counts(0, 0, Outcome.ERROR)


@pytest.fixture
def url(tmp_path):
    """Of a ledger in a file."""
    return f"sqlite:///{tmp_path}/ledger.db"


def spans_since(ledger, start):
    """The spans from there on in which a ledger has ten days of ticks."""
    every = ledger.history.density.spans(FIRST, NOW, interval=INTERVAL, delay=DELAY)
    return [span for span in every if start <= span.start]


def told(ledger, *, errors=()):
    """The ids of three groups that a fill finds after ten days of their SLO, once a tick has followed.

    The last tick of each of the `errors`, spans of the ledger's, was one of the SLO.
    """
    slo = ratio("mood").model_copy(update={"group_by": ("handler",), "window": 40 * DAY})
    one = evaluator(Server(values={"ratio_mood": lambda _: {"a": 0.0}}), ledger, slo)
    one.advance(FIRST)
    ids = [one.ids["mood"], one.ids[key_of("mood", (("handler", "a"),))]]
    spans = [span for span in spans_since(ledger, FIRST) if span not in errors]
    rows = [Row.of(span, dict.fromkeys(ids, ONE)) for span in spans]
    for start, end in errors:
        parts = (Tick(start, end - INTERVAL), ONE), (Tick(end - INTERVAL, end), UNUSABLE)
        rows += merge([Row.of(span, dict.fromkeys(ids, counts)) for span, counts in parts if span.seconds])
    ledger.commit(Entry(rows=rows, slo_cursors=dict.fromkeys(ids, NOW), cursors={"expression/mood": NOW}))
    before = ledger.stats().rows
    one.enrol({key: {BEGIN - 600: ONE} for key in OLD})
    one.advance(NOW + INTERVAL)
    return [one.ids[key] for key in OLD], ledger.stats().rows - before


def outcomes(ledger, instance):
    """The seconds of each outcome that there is."""
    return {outcome: seconds for outcome, seconds in ledger.outcomes(instance).items() if seconds}


def test_days_without_a_group_are_a_few_rows_however_many_groups(url):
    """D16: all its ticks had no data, and are said in one row but for those that are young, for all groups."""
    with Ledger.open(url) as ledger:
        ids, rows = told(ledger)
        assert YOUNG <= rows <= YOUNG + 5
        assert [{Outcome.NO_DATA: 10 * DAY + INTERVAL}] * 3 == [outcomes(ledger, one) for one in ids]
        kept = [outcomes(ledger, one) for one in ids]
    with Ledger.open(url) as again:
        assert kept == [outcomes(again, one) for one in ids]
        ticks = again.history.parts(ids[0], range(BEGIN, NOW + 1, INTERVAL))
        assert {INTERVAL} == {round(tick.absent, 6) for tick in ticks}


def test_of_what_was_merged_with_an_error_nothing_is_said_of_a_group(url):
    """D16, I1: whether it had a series at the tick that failed nobody knows; all of its ticks add up."""
    with Ledger.open(url) as ledger:
        errors = [spans_since(ledger, at)[0] for at in (NOW - 5 * DAY, NOW - HOUR)]
        ids, rows = told(ledger, errors=errors)
        missed = errors[0].seconds + INTERVAL
        expected = {Outcome.NO_DATA: 10 * DAY + INTERVAL - missed, Outcome.MISSED: missed}
        assert HOUR + INTERVAL == missed
        assert [expected] * 3 == [outcomes(ledger, one) for one in ids]
        assert rows <= YOUNG + 10


def test_what_comes_late_takes_the_place_of_a_tick(url):
    """D16: not of a share of all that had no data."""
    with Ledger.open(url) as ledger:
        ids, _ = told(ledger)
        late = Tick(NOW - HOUR, NOW - HOUR + INTERVAL)
        ledger.commit(Entry(rows=[Row.of(late, {ids[0]: ONE})]))
    with Ledger.open(url) as again:
        edges = (BEGIN, *late, NOW)
        assert [0, INTERVAL, 0] == [part.known for part in again.history.parts(ids[0], edges)]


def test_what_follows_is_merged_without_being_spread(url):
    """S11: a group that is there again has its events in the hours and days that had them."""
    with Ledger.open(url) as ledger:
        ids, _ = told(ledger)
        spans = [Tick(NOW + at, NOW + at + INTERVAL) for at in range(INTERVAL, DAY, INTERVAL)]
        for some in (spans[:700], spans[700:]):
            ledger.commit(Entry(rows=[Row.of(span, {ids[0]: ONE}) for span in some]))
        for later in range(200):
            end = NOW + 90 * DAY + later * INTERVAL
            ledger.commit(Entry(rows=[Row.of(Tick(end - INTERVAL, end), {ids[1]: ONE})]))
            if set(ledger.stats().rows_by_step) >= {DAY} and not ledger._unmerged:
                break
    with Ledger.open(url) as again:
        first = -(-NOW // DAY) * DAY - DELAY
        edges = [BEGIN, first - DAY, first, first + DAY, NOW + 80 * DAY]
        parts = again.history.parts(ids[0], edges)
        assert [0, first - NOW - INTERVAL, DAY - (first - NOW), 0] == [round(one.known) for one in parts]
        assert again.check() == []
