"""The counts over 30 days of trouble stay within the bounds that the README promises."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hours", [1, 2, 6, 24, 72, 168])
def test_windows_of_an_hour_and_longer_are_within_two_per_cent(filled, worlds, name, hours):
    """Windows all over the 30 days are within 2 % of what the scrapes up to their ends had shown."""
    world, window = worlds[name], hours * HOUR
    off = []
    for at in range(AT - 30 * DAY + window, AT + 1, 7 * HOUR + 300):
        at -= (at - AT) % 300  # noqa: PLW2901 - filled rows are 5 minutes long, counted back from AT
        truth = world.truth(at, window, seen=True)
        counts = filled.window(name, at, window)
        if not (within(truth.bad, counts.bad, share=0.02) and within(truth.total, counts.total, share=0.02)):
            off.append((at, truth, counts.total, counts.bad))
    assert off == []


@pytest.mark.parametrize("name", NAMES)
def test_coverage_is_the_time_with_a_target(filled, worlds, name):
    """All of the window is known but the holes, and in the late world what was before its first series."""
    known = filled.window(name, AT, 30 * DAY).known
    lost = 0 if name == "unreachable" else sum(end - begin for begin, end in worlds[name].holes)
    expected = 20 * DAY if name == "late" else 30 * DAY - lost
    assert expected == pytest.approx(known, abs=0.01 * DAY * 30)


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
