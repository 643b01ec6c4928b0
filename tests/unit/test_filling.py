"""The first fill: the past in pieces, newest first, whatever the server refuses."""

from __future__ import annotations

from itertools import pairwise

import pytest

from slo_budget_tracker import filling
from slo_budget_tracker.answers import RangeQuery
from slo_budget_tracker.errors import Busy, QueryFailed, QueryRejected, Unauthorized, Unreachable
from slo_budget_tracker.filling import OLDER_PIECE, RECENT, RECENT_PIECE, SMALLEST_PIECE, Filler, chunks
from slo_budget_tracker.reading import MAX_POINTS
from slo_budget_tracker.ticks import Outcome, align_down
from tests.unit.serving import (
    BEGIN,
    DELAY,
    HOUR,
    INTERVAL,
    Server,
    availability,
    no_trouble,
    ratio,
    seconds_of,
    traffic,
)

DAY = 86_400
UNTIL = BEGIN + 2 * HOUR
SHOP = availability(window=2 * HOUR)


@pytest.fixture(scope="module")
def shop():
    """Two hours of a shop that fails for twenty minutes, seen from the end, and another metric beside it."""
    db = traffic(Server().db, seconds=2 * HOUR + 60)
    return traffic(db, metric="other_total", seconds=2 * HOUR + 60)


@pytest.fixture
def server(shop):
    """A server with the shop's samples, and no troubles yet."""
    return Server(shop)


def filler(*slos, until=UNTIL, **options):
    """A prepared filler of these SLOs (the shop's when none is given)."""
    slos = slos or (SHOP,)
    ids = {slo.name: number for number, slo in enumerate(slos, 1)}
    options = {"filled_to": until, "interval": INTERVAL, "delay": DELAY} | options
    return Filler(slos=slos, ids=ids, until=until, **options).prepare()


def drain(one, server):
    """All chunks, newest first."""
    found = []
    while (filled := one.step({"default": server}, workers=2)) is not None:
        found.append(filled)
    return found


def sums(fills, instance=1):
    """Total, bad and known seconds of one SLO over all rows."""
    rows = [row.only(row.ids == instance) for filled in fills for row in filled.rows]
    return tuple(sum(float(getattr(row, name).sum()) for row in rows) for name in ("total", "bad", "known"))


@pytest.mark.parametrize("window", [HOUR, 3 * DAY, 30 * DAY])
@pytest.mark.parametrize("interval", [1, 15, 60, 600])
def test_chunks_cover_the_window_once(window, interval):
    """Newest first, without a gap or an overlap, from the window's begin to the instant of birth."""
    if interval == 1 and window > 3 * DAY:
        window = 4 * DAY
    until = align_down(BEGIN, interval=interval, delay=DELAY)
    found = chunks(until=until, filled_to=until, begin=until - window, interval=interval, delay=DELAY)
    ticks = [tick for chunk in reversed(found) for tick in chunk.ticks]
    assert (until - window, until) == (ticks[0].start, ticks[-1].end)
    assert all(a.end == b.start for a, b in pairwise(ticks))
    assert all(a.start == b.end for a, b in pairwise(found))
    assert all((tick.end + DELAY) % interval == 0 for tick in ticks)


def test_chunks_are_short_and_of_one_kind():
    """Ticks for two days in chunks of six hours, then rows of five minutes in chunks of a day."""
    found = chunks(until=BEGIN, filled_to=BEGIN, begin=BEGIN - 30 * DAY, interval=INTERVAL, delay=DELAY)
    for chunk in found:
        recent = chunk.end > BEGIN - RECENT + 300
        assert chunk.seconds <= (RECENT_PIECE + 300 if recent else OLDER_PIECE)
        assert 1 == len({tick.seconds for tick in chunk.ticks[1:]} or {0})
    assert {60, 300} == {tick.seconds for chunk in found for tick in chunk.ticks[1:]}


@pytest.mark.parametrize("interval", [1, 5, 60])
@pytest.mark.parametrize("width", [1, 61, 300, 3_600])
def test_no_range_query_has_more_points_than_a_server_gives(interval, width):
    """P25: 11,000, also where ticks are a second and rows as short as odd slices make them."""
    options = {"until": 30 * DAY, "begin": 26 * DAY, "interval": interval, "delay": DELAY}
    found = chunks(filled_to=30 * DAY, widths=[width * interval], **options)
    assert max(len(chunk.ticks) for chunk in found) <= MAX_POINTS
    assert 4 * DAY == sum(chunk.seconds for chunk in found)


@pytest.mark.parametrize("done", [1, 3, 8, 12])
def test_chunks_go_on_where_a_fill_was_interrupted(done):
    """After a restart the rest is what was left, chunk by chunk."""
    options = {"until": BEGIN, "begin": BEGIN - 30 * DAY, "interval": INTERVAL, "delay": DELAY}
    all_of_them = chunks(filled_to=BEGIN, **options)
    assert all_of_them[done:] == chunks(filled_to=all_of_them[done - 1].start, **options)
    assert [] == chunks(filled_to=BEGIN - 30 * DAY, **options)


def test_a_fill_brings_the_whole_window(server):
    """Two hours of history: all requests, all failures, each tick known."""
    one = filler()
    assert 2 * HOUR == one.remaining
    fills = drain(one, server)
    assert (120 * 300, 20 * 148, 2 * HOUR) == sums(fills)
    assert ({"shop": Outcome.OK}, BEGIN, 0) == (fills[0].newest, fills[-1].filled_to, one.remaining)


def test_a_range_that_is_too_much_is_halved(server):
    """P12: 422 above an hour; the newer half comes first and nothing is lost or counted twice."""
    server.trouble = lambda query: (
        QueryFailed("too many samples", reason="execution") if seconds_of(query) > HOUR else None
    )
    fills = drain(filler(), server)
    assert [BEGIN + HOUR, BEGIN] == [filled.filled_to for filled in fills]
    assert (120 * 300, 20 * 148, 2 * HOUR) == sums(fills)


def test_only_the_unit_that_is_too_much_is_asked_again(server):
    """P12: what others brought for the whole piece serves its newer half too."""
    server.trouble = lambda query: (
        QueryFailed("too many samples", reason="execution")
        if seconds_of(query) > HOUR and query.expression.startswith("other")
        else None
    )
    other = availability("other", metric="other_total", window=2 * HOUR)
    one = filler(other, SHOP)
    one.step({"default": server})
    asked = [query.expression for query in server.asked if "requests_total[7200" in query.expression]
    assert ["http_requests_total[7200s]"] == asked
    assert [(120 * 300, 20 * 148, 2 * HOUR)] * 2 == [
        sums([*drain(filler(other, SHOP), server)], n) for n in (1, 2)
    ]


def test_what_fails_in_every_size_is_given_up_and_others_are_filled(server):
    """P12: many-to-many stays so; its ticks are unknown, it does not block the rest, and soon costs little."""
    server.values = {"ratio_bad": lambda _: 1.0, "ratio_good": lambda _: 0.5}
    server.trouble = lambda query: (
        QueryFailed("many-to-many", reason="execution") if "ratio_bad" in query.expression else None
    )
    slos = [one.model_copy(update={"window": 12 * HOUR}) for one in (ratio("bad"), ratio("good"))]
    one = filler(*slos)
    fills = drain(one, server)
    assert (0, 0, 0) == sums(fills, 1)
    assert (720, 360, 12 * HOUR) == sums(fills, 2)
    assert {"bad"} == set(one.given_up)
    assert 40 > sum("ratio_bad" in query.expression for query in server.asked)
    assert all(
        seconds_of(query) >= SMALLEST_PIECE // 4 for query in server.asked if isinstance(query, RangeQuery)
    )


def test_a_poisoned_expression_is_given_up_alone(server):
    """P11: of five expressions in one query four are filled."""
    names = ["a", "b", "c", "d", "e"]
    server.values = {f"ratio_{name}": lambda _: 0.25 for name in names}
    server.trouble = lambda query: (
        QueryRejected("parse error", reason="bad_data") if "ratio_c" in query.expression else None
    )
    slos = [one.model_copy(update={"window": 2 * HOUR}) for one in map(ratio, names)]
    one = filler(*slos)
    fills = drain(one, server)
    assert ([120, 120, 0, 120, 120], {"c": 1}) == ([sums(fills, n)[0] for n in range(1, 6)], one.given_up)


@pytest.mark.parametrize("error", [Unreachable, Busy, Unauthorized])
@pytest.mark.parametrize("failing", ["http_requests_total", "other_total"])
def test_a_retry_asks_only_what_is_missing(server, error, failing):
    """P1: the server leaves in the middle of a chunk; what was read is kept, and the chunk is done later."""
    server.trouble = lambda query: (
        error("later", reason="x") if query.expression.startswith(failing) else None
    )
    one = filler(SHOP, availability("other", metric="other_total", window=2 * HOUR))
    for _ in range(2):
        with pytest.raises(error):
            one.step({"default": server})
    assert 2 * HOUR == one.remaining
    server.trouble = no_trouble
    fills = drain(one, server)
    asked = [query.expression for query in server.asked if query.expression.endswith("[7200s]")]
    assert {failing: 3} == {
        name: times
        for name in ("http_requests_total", "other_total")
        if (times := asked.count(f"{name}[7200s]")) != 1
    }
    assert [(120 * 300, 20 * 148, 2 * HOUR)] * 2 == [sums(fills, 1), sums(fills, 2)]


def test_a_fault_of_ours_in_one_unit_is_its_own(server):
    """T12: an exception in one metric gives up that metric's past; the fill ends and others are there."""
    server.trouble = lambda query: RuntimeError("oh") if query.expression.startswith("other") else None
    one = filler(SHOP, availability("other", metric="other_total", window=2 * HOUR))
    fills = drain(one, server)
    assert [(120 * 300, 20 * 148, 2 * HOUR), (0, 0, 0)] == [sums(fills, 1), sums(fills, 2)]
    assert {"other"} == set(one.given_up)


def test_old_history_beyond_the_budget_comes_by_range_queries(server, monkeypatch):
    """Rows of five minutes by the stateless form once raw reading costs too much."""
    monkeypatch.setattr(filling, "RAW_BUDGET", 0)
    server.steps = lambda _: 50.0
    fills = drain(filler(availability(window=4 * DAY)), server)
    asked = [query for query in server.asked if isinstance(query, RangeQuery)]
    assert {300} == {query.step for query in asked}
    old = [filled for filled in fills if filled.filled_to < UNTIL - RECENT - HOUR]
    rows = sum(len(filled.rows) for filled in old)
    assert (rows * 50, rows * 50, rows * 300) == sums(old)
    assert rows >= 2 * DAY // 300 - 24


def test_nothing_to_fill_is_nothing_to_do(server):
    """A fill that is done asks nothing."""
    one = filler(filled_to=BEGIN)
    assert (0, None, []) == (one.remaining, one.step({"default": server}), server.asked)
