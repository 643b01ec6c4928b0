"""The counts over 30 days of trouble stay within the bounds that the README promises."""

from __future__ import annotations

import pytest

from slo_budget_tracker import filling
from tests.worlds import catalogue
from tests.worlds.history import DAY, END, START, write
from tests.worlds.ours import fill, run

AT = END - 30
HOUR = 3_600
NAMES = [generate.__name__.replace("_", "-") for generate in catalogue.GENERATORS]
FEW = 3  # events that a count may be off by where there are few

pytestmark = pytest.mark.prometheus


@pytest.fixture(scope="module")
def filled(worlds_server, worlds):
    """The first fill of a fresh ledger with all ten worlds."""
    return fill(worlds_server.url, list(worlds.values()), at=AT)


def within(expected, actual, *, share, few=FEW):
    """Whether a count is within a share of the truth, or a few events of it."""
    return abs(actual - expected) <= max(share * expected, few)


@pytest.mark.parametrize("name", NAMES)
def test_failures_of_30_days_are_within_half_a_per_cent(filled, worlds, name):
    """Failures are within 0.5 % of what any scraper could see, or a few events where there are few."""
    truth = worlds[name].truth(AT, 30 * DAY)
    assert truth.bad == pytest.approx(filled.window(name, AT, 30 * DAY).bad, rel=0.005, abs=FEW)


@pytest.mark.parametrize("name", NAMES)
def test_totals_of_30_days_are_within_a_quarter_of_a_per_cent(filled, worlds, name):
    """Totals are within 0.25 % of what any scraper could see, or a few events where there are few."""
    truth = worlds[name].truth(AT, 30 * DAY)
    assert truth.total == pytest.approx(filled.window(name, AT, 30 * DAY).total, rel=0.0025, abs=FEW)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_ever_counted_twice(filled, worlds, name):
    """No count of 30 days exceeds the truth by more than the events of one scrape at the window's edge."""
    world = worlds[name]
    counts = filled.window(name, AT, 30 * DAY)
    most = world.truth(AT, 30 * DAY + 30)
    assert counts.bad <= most.bad
    assert counts.total <= most.total


def windows_off(found, world, *, window, most=200):
    """The windows that are off by over 2 % and a few events, of many that begin and end where the ledger has a point.

    Older points are sparse (5 minutes, an hour): the daemon's own windows end now, at a tick.
    """
    points = found.history.points.tolist()
    known = set(points)
    ends = [at for at in points if at - window in known]
    assert ends
    off = []
    for at in ends[:: max(len(ends) // most, 1)]:
        truth = world.truth(at, window, seen=True)
        counts = found.window(world.name, at, window)
        if not (within(truth.bad, counts.bad, share=0.02) and within(truth.total, counts.total, share=0.02)):
            off.append((at, truth, counts.total, counts.bad))
    return off


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hours", [1, 2, 6, 24, 72, 168])
def test_windows_of_an_hour_and_longer_are_within_two_per_cent(filled, worlds, name, hours):
    """Windows all over the 30 days are within 2 % of what the scrapes up to their ends had shown."""
    assert [] == windows_off(filled, worlds[name], window=hours * HOUR)


@pytest.mark.parametrize("name", NAMES)
def test_coverage_is_the_time_with_a_target(filled, worlds, name):
    """Known is the time with a target: at least what had scrapes, at most a row of 5 minutes more for each hole."""
    known = filled.window(name, AT, 30 * DAY).known
    holes = [] if name == "unreachable" else worlds[name].holes  # there the other pod still answers
    there = (20 if name == "late" else 30) * DAY
    lost = sum(end - begin + 120 for begin, end in holes)
    assert there - lost - 300 <= known <= min(there + 300, there - lost + (300 + 120) * len(holes))


@pytest.fixture(scope="module")
def ticked(worlds_server, worlds):
    """Every tick of a day, live-style, from a ledger born an hour after the history began."""
    return run(worlds_server.url, list(worlds.values()), start=START + HOUR - 30, end=START + 25 * HOUR - 30)


@pytest.mark.parametrize("name", NAMES)
def test_live_ticks_see_what_scrapes_showed(ticked, worlds, name):
    """Tick by tick, the counts of a day are those of the scrapes of that tick: exact, but for the doubtful."""
    world = worlds[name]
    truth = world.truth(START + 25 * HOUR - 30, 24 * HOUR, seen=True)
    counts = ticked.window(name, START + 25 * HOUR - 30, 24 * HOUR)
    assert within(truth.bad, counts.bad, share=0.005)
    assert within(truth.total, counts.total, share=0.0025)


@pytest.fixture(scope="module")
def filled_later(worlds_server, worlds):
    """The first fill of a ledger that begins where the live ticks ended."""
    return fill(worlds_server.url, list(worlds.values()), at=START + 25 * HOUR - 30)


@pytest.mark.parametrize("name", NAMES)
def test_live_and_filled_agree(ticked, filled_later, name):
    """The same 24 hours counted tick by tick and filled afterwards differ by at most 0.1 % or 2 events."""
    at = START + 25 * HOUR - 30
    live, later = (counted.window(name, at, 24 * HOUR) for counted in (ticked, filled_later))
    assert live.bad == pytest.approx(later.bad, rel=0.001, abs=2)
    assert live.total == pytest.approx(later.total, rel=0.001, abs=2)


@pytest.mark.parametrize("name", NAMES)
def test_live_windows_of_an_hour_are_within_two_per_cent(ticked, worlds, name):
    """Windows of an hour that end at ticks are within 2 % of what the scrapes up to their ends had shown."""
    assert [] == windows_off(ticked, worlds[name], window=HOUR)


STATELESS = ["replaced", "crashes", "server-down"]


@pytest.fixture(scope="module")
def stateless(worlds_server, worlds):
    """A fill that reads all but the last two days by range queries, as after very many samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filling, "RAW_BUDGET", 0)
        return fill(worlds_server.url, [worlds[name] for name in STATELESS], at=AT)


@pytest.mark.parametrize("name", STATELESS)
def test_the_stateless_form_of_old_history_is_close_and_never_over(stateless, worlds, name):
    """Range queries of old history lose at most 1.5 % where processes crash with few failures each, and add none."""
    most, truth = worlds[name].truth(AT, 30 * DAY + 30), worlds[name].truth(AT, 30 * DAY)
    counts = stateless.window(name, AT, 30 * DAY)
    assert 0.985 * truth.bad <= counts.bad <= most.bad + FEW
    assert 0.9975 * truth.total <= counts.total <= 1.0001 * most.total


@pytest.mark.long
@pytest.mark.victoriametrics
def test_victoriametrics_gives_the_same_counts(make_victoriametrics, worlds, tmp_path):
    """The same histories in VictoriaMetrics fill a ledger within the same bounds."""
    write(worlds.values(), tmp_path / "worlds.txt")
    server = make_victoriametrics()
    server.start()
    server.load(tmp_path / "worlds.txt")
    found = fill(server.url, list(worlds.values()), at=AT)
    off = []
    for name, world in worlds.items():
        truth, counts = world.truth(AT, 30 * DAY), found.window(name, AT, 30 * DAY)
        if not within(truth.bad, counts.bad, share=0.005) or not within(
            truth.total, counts.total, share=0.0025
        ):
            off.append((name, truth, counts.total, counts.bad))
    assert off == []
