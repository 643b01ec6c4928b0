"""Time slices: a span is one event, good or bad by its own success ratio."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo_budget_tracker.archive import Archive as LedgerArchive
from slo_budget_tracker.courses import course, span_of
from slo_budget_tracker.errors import QueryFailed, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.filling import Filler, chunks
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.instances import added_key
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.slices import Clock, Part, cut, end_of, judge, last_end
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import Slices
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.views import Past
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability, traffic

FIVE = Slices(width=300, target=Decimal("0.95"))
NO_DATA, ERROR = Counts(0, 0, Outcome.NO_DATA), Counts(0, 0, Outcome.ERROR)


def parts(*counts, start=0):
    """Ticks of a minute, one after the other."""
    ticks = [Tick(start + at * 60, start + at * 60 + 60) for at in range(len(counts))]
    return [Part.of(tick, one) for tick, one in zip(ticks, counts, strict=True)]


def ok(total, bad=0):
    """A tick with events."""
    return Counts(total, bad, Outcome.OK if total else Outcome.NO_TRAFFIC)


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        pytest.param([ok(20)] * 5, Counts(1, 0, Outcome.OK), id="no failure"),
        pytest.param([ok(20, 1)] * 5, Counts(1, 0, Outcome.OK), id="95 % is good enough"),
        pytest.param([ok(20, 1)] * 4 + [ok(20, 2)], Counts(1, 1, Outcome.OK), id="94 % is not"),
        pytest.param([ok(0)] * 5, Counts(0, 0, Outcome.NO_TRAFFIC), id="an empty slice is no event"),
        pytest.param([ok(0)] * 4 + [ok(1, 1)], Counts(1, 1, Outcome.OK), id="one request is enough"),
        pytest.param([ok(9)] * 4 + [NO_DATA], Counts(1, 0, Outcome.OK), id="80 % observed"),
        pytest.param([ok(9)] * 3 + [NO_DATA] * 2, NO_DATA, id="60 % observed"),
        pytest.param([ok(9)] * 3 + [NO_DATA, ERROR], ERROR, id="an error is not the absence of series"),
        pytest.param(
            [ok(9)] * 4 + [Counts(9, 0, Outcome.PARTIAL)],
            Counts(1, 0, Outcome.PARTIAL),
            id="a partial answer",
        ),
    ],
)
def test_a_slice_is_judged_by_its_own_ratio(ticks, expected):
    """At least the target is good, exactly; too little known is unknown."""
    assert expected == judge(parts(*ticks), FIVE)


def test_ticks_are_cut_at_the_ends_of_slices():
    """Slices end on the tick grid; the last one is not over."""
    found = cut(parts(*[ok(1)] * 12, start=-30), FIVE, interval=60)
    assert [Tick(-30, 270), Tick(270, 570)] == list(found.over)
    assert {Tick(570, 870): 2} == {span: len(some) for span, some in found.begun.items()}
    assert (270, 270, 570) == tuple(end_of(at, 300, interval=60) for at in (30, 270, 330))
    assert (-30, 270, 270) == tuple(last_end(at, 300, interval=60) for at in (210, 270, 510))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=5, max_size=5),
    st.decimals(min_value=Decimal("0.01"), max_value=1, places=2),
)
def test_one_slice_as_wide_as_the_window_is_the_definition(events, target):
    """It is bad exactly when the success ratio of the whole window is below the target."""
    ticks = [ok(max(total, bad), bad) for total, bad in events]
    total, bad = sum(t.total for t in ticks), sum(t.bad for t in ticks)
    one = judge(parts(*ticks), Slices(width=300, target=target))
    assert one.total == (total > 0)
    assert not total or bool(one.bad) == (Decimal(int(total - bad)) / Decimal(int(total)) < target)


def sliced(width=300, target="0.6", **options):
    """A shop by slices; it fails half of its requests between the 20th and the 40th minute."""
    slices = Slices(width=width, target=Decimal(target))
    return availability(**{"slices": slices, "window": 4 * HOUR, "alerts": ()} | options)


def run(slo, minutes, ledger, *, step=1, server=None):
    """The snapshot after so many minutes of live ticks, `step` at once."""
    server = server or Server(traffic(Archive()))
    one = Evaluator(slos=(slo,), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY)
    one.prepare(BEGIN)
    for minute in range(step, minutes + 1, step):
        report = one.advance(BEGIN + minute * INTERVAL)
    (snapshot,) = report.snapshots
    return snapshot


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


@pytest.mark.parametrize("step", [1, 2, 5, 30, 60])
def test_live_ticks_and_catching_up_count_the_same_slices(ledger, step):
    """An hour has twelve slices, four of them bad, whether ticked minute by minute or caught up at once."""
    found = run(sliced(), 60, ledger, step=step)
    assert ("slices", 12, 4) == (found.unit, found.total, found.failures)
    assert 0.25 == found.coverage


@pytest.mark.parametrize("step", [1, 2, 5, 30])
def test_a_slice_of_which_too_little_was_there_has_no_data(ledger, step):
    """Two of five minutes without any series, then one with: no data, and a bad slice where missing data are bad."""
    db = traffic(Archive(), seconds=12 * 60)
    for samples in db.samples.values():
        samples += [(time + 180_000, value) for time, value in samples if time > (BEGIN + 11 * 60) * 1000]
    found = run(sliced(no_data="bad"), 30, ledger, step=step, server=Server(db))
    assert (6, 4) == (found.total, found.failures)


def test_a_slice_that_is_not_over_is_looked_at_by_nobody(ledger):
    """Its events are no slices: figures are those of the last slice that is over."""
    assert [(4, 0), (4, 0), (4, 0), (5, 1)] == [
        (found.total, found.failures)
        for found in (run(sliced(), minutes, Ledger.open("sqlite://")) for minutes in (20, 22, 24, 25))
    ]


def charted(slo, ledger, snapshot, *, step=None):
    """The points of its chart over its window."""
    clock = Clock(snapshot.evaluated_at, INTERVAL)
    span = span_of(None, None, step, clock=clock, slo=slo)
    past = Past(courses=LedgerArchive(ledger).courses, events=None)
    return course(slo, {}, span, past, {}, clock)["points"]


@pytest.mark.parametrize("width", [120, 300, 600])
@pytest.mark.parametrize(
    "error", [Unreachable("no connection", reason="refused"), QueryFailed("no", reason="timeout")]
)
def test_no_request_is_ever_counted_as_a_slice(ledger, width, error):
    """An outage that begins within a slice and is longer than one: never more slices than there were."""
    server, slo, minute = Server(traffic(Archive())), sliced(width=width), 0
    server.trouble = lambda _query: error if 13 <= minute < 36 else None
    one = Evaluator(slos=(slo,), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY)
    one.prepare(BEGIN)
    for minute in range(1, 70):
        (found,) = one.advance(BEGIN + minute * INTERVAL).snapshots
        assert (found.total or 0) <= minute * 60 // width
        if (found.total or 0) > 0:
            points = charted(slo, ledger, found)
            assert found.error_budget_remaining == points[-1]["error_budget_remaining"]
            assert (found.total, found.failures) == (
                sum(point["total"] or 0 for point in points),
                sum(point["failures"] or 0 for point in points),
            )
    assert {0} == {(point["total"] or 0) % 1 for point in charted(slo, ledger, found, step=60)}


def test_a_slice_whose_rest_never_comes_is_unknown(ledger):
    """An SLO that was away goes on later: what its last slice had counted is no event."""
    run(sliced(), 12, ledger)
    instance = next(iter(ledger.instances))
    later = BEGIN + 40 * INTERVAL
    server = Server(traffic(Archive()))
    ledger.commit(Entry(cursors={added_key(instance): later}, slo_cursors={instance: later}))
    one = Evaluator(
        slos=(sliced(),), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
    ).prepare(BEGIN)
    for minute in range(41, 53):
        (found,) = one.advance(BEGIN + minute * INTERVAL).snapshots
        assert 2 + (minute - 40) // 5 == (found.total or 0)
    end = BEGIN + 50 * INTERVAL
    assert 4 == ledger.history.window(end, [HOUR])[instance][HOUR].total


@pytest.mark.parametrize("stepped", [None, 2, 4])
def test_a_fill_leaves_a_slice_that_was_judged_as_it_is(ledger, stepped):
    """Its part before the first live tick is written only while live ticks have not ended the slice."""
    server, until = Server(traffic(Archive(), before=HOUR)), BEGIN + 2 * INTERVAL
    slo = sliced(window=HOUR // 2)
    filler = Filler(
        slos=[slo], ids={"shop": 1}, until=until, filled_to=until, interval=INTERVAL, delay=DELAY
    ).prepare()
    filled = filler.step({"default": server})
    at = None if stepped is None else until + stepped * INTERVAL
    rows = filled.rows_after(lambda _: at)
    assert (0 if stepped == 4 else 2) == len(rows) - len(filled.rows)
    assert {300} == {row.seconds for row in filled.rows}


def test_slices_of_one_tick_are_ticks(ledger):
    """A minute each: twenty of an hour's sixty are bad."""
    found = run(sliced(width=60), 60, ledger)
    assert (60, 20) == (found.total, found.failures)


def test_a_restart_within_a_slice_loses_nothing(ledger):
    """What a slice has counted so far is in the ledger."""
    run(sliced(width=600), 26, ledger)
    found = run(sliced(width=600), 60, ledger, step=60)
    assert (6, 2) == (found.total, found.failures)


@settings(deadline=None, max_examples=20)
@given(
    st.lists(st.integers(0, 30), min_size=3 * 60, max_size=3 * 60),
    st.sampled_from(["0.5", "0.8", "0.9", "0.99"]),
    st.sampled_from([1, 7, 60]),
)
def test_a_slice_as_wide_as_the_window_is_the_slo_by_requests(failures, target, step):
    """Whenever a slice ends, whether ticked or caught up: one event, bad just where the requests missed the target."""
    db, good, bad = Archive(), 0, 0
    for minute, failed in enumerate(failures):
        good, bad = good + 30 - failed, bad + failed
        for code, value in (("200", good), ("500", bad)):
            labels = {"job": "shop", "instance": "shop:80", "code": code}
            db.put("http_requests_total", labels, (BEGIN + minute * INTERVAL) * 1000 + 7_000, value)
    whole = sliced(width=HOUR, target=target, window=HOUR)
    plain = availability("plain", target=Decimal(target), window=HOUR, alerts=())
    ended = 0
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(
            slos=(whole, plain), ledger=ledger, asks={"default": Server(db)}, interval=INTERVAL, delay=DELAY
        )
        one.prepare(BEGIN)
        for minute in range(step, len(failures), step):
            one.advance(BEGIN + minute * INTERVAL)
            last = last_end(BEGIN + minute * INTERVAL, HOUR, interval=INTERVAL)
            if last < BEGIN + HOUR:
                continue  # the first whole slice is not over yet
            slices, requests = (
                ledger.history.window(last, [HOUR], ids=[instance])[instance][HOUR]
                for instance in sorted(ledger.instances)
            )
            ended += 1
            missed = (requests.total - requests.bad) < Decimal(target) * int(requests.total)
            assert (1, int(missed)) == (slices.total, slices.bad)
            assert sum(failures[(last - BEGIN - HOUR) // 60 : (last - BEGIN) // 60]) == requests.bad
    assert ended


@pytest.mark.parametrize("width", [60, 300, 420, 3_600, 7_200])
def test_the_past_is_filled_in_slices(width):
    """`evaluate` at the end of two hours knows them from history, and those of the two days are no other."""
    server = Server(traffic(Archive(), before=3 * HOUR))
    at = BEGIN + 2 * HOUR
    slo = sliced(width=width, window=4 * HOUR)
    (found,) = evaluate_at([slo], {"default": server}, at=at, grid=Grid())
    last = last_end(at, width, interval=60)
    bad = {end for minute in range(20, 40) for end in [end_of(BEGIN + minute * 60 + 60, width, interval=60)]}
    worst = 0 if width > 3_000 else len(bad) if width < 400 else None
    assert abs(found.total - 4 * HOUR / width) <= 1
    assert worst is None or worst == found.failures
    assert last <= at


def test_files(tmp_path):
    """A width in whole ticks and a target of its own; alerts look at two slices at least."""
    text = "slos:\n  - name: a\n    target: 99%\n    sli: {probe: {up: up}}\n    slices: "
    file = tmp_path / "a.yaml"
    file.write_text(f"{text}{{width: 5m, target: 95%}}\n")
    catalogue = load([file])
    assert FIVE == catalogue.slos[0].slices
    assert "2 ticks of 5m" in str(catalogue.warnings[0])
    assert sli_hash(catalogue.slos[0]) != sli_hash(catalogue.slos[0].model_copy(update={"slices": None}))
    for wrong, sentence in {
        "{width: 90s, target: 95%}": "slices.width: 1m30s, expected a multiple of the tick, 1m",
        "{width: 5m}": "slices: no `target`, expected `target:`",
        "{width: 60d, target: 95%}": "slices.width: 60d, longer than the window, expected at most 30d",
        "{width: 5m, target: 0}": "slices.target: 0, expected a ratio above 0 and at most 1",
    }.items():
        file.write_text(f"{text}{wrong}\n")
        with pytest.raises(Exception, match="slices") as error:
            load([file])
        assert sentence in str(error.value)


@pytest.mark.parametrize("delay", [0, 5, 20, 30, 40, 59])
@pytest.mark.parametrize("width", [60, 300, 1_800])
def test_a_row_of_a_first_fill_lies_in_one_slice(delay, width):
    """Whatever the delay: a week of the past is a week of slices, and none is left half."""
    until = 60 * 29_833_333 - delay
    week = 7 * 86_400
    found = chunks(until=until, filled_to=until, begin=until - week, interval=60, delay=delay, widths=[width])
    slices = Slices(width=width, target=Decimal("0.95"))
    parts = [Part.of(tick, Counts(10, 1, Outcome.OK)) for chunk in reversed(found) for tick in chunk.ticks]
    result = cut(parts, slices, interval=60)
    assert week // width - 1 <= len(result.over) <= week // width + 1
    assert len(result.begun) <= 1
