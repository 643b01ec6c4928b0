"""Calendar windows: borders in time zones, days of 23 and 25 hours, and budgets to date."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.budget import allowed, bounds, exact, exhausted, exhaustion_seconds, remaining
from slo_budget_tracker.calendars import Calendar, parse_start
from slo_budget_tracker.history import History
from slo_budget_tracker.rows import Row
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.specs import SLO, BudgetAlert, RequestsSli, workbook
from slo_budget_tracker.ticks import TO_DATE, Counts, Outcome, Tick, WindowCounts
from slo_budget_tracker.verdict import BUDGET, assess
from slo_budget_tracker.windows import gather, to_date

DAY, HOUR = 86_400, 3_600
BERLIN = ZoneInfo("Europe/Berlin")
SLI = RequestsSli(total=(Selector("x_total"),), bad=(Selector("bad_total"),))


def at(text, zone=UTC):
    """Epoch seconds of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


@pytest.mark.parametrize(
    ("unit", "zone", "instant", "period", "hours"),
    [
        ("month", "UTC", "2026-10-15 12:00", ("2026-10-01", "2026-11-01"), 744),
        ("month", "Europe/Berlin", "2026-03-15 12:00", ("2026-03-01", "2026-04-01"), 743),
        ("month", "Europe/Berlin", "2026-10-15 12:00", ("2026-10-01", "2026-11-01"), 745),
        ("week", "Europe/Berlin", "2026-10-25 12:00", ("2026-10-19", "2026-10-26"), 169),
        ("week", "America/New_York", "2026-03-08 12:00", ("2026-03-02", "2026-03-09"), 167),
        ("quarter", "Asia/Kolkata", "2026-05-05 05:05", ("2026-04-01", "2026-07-01"), 2_184),
        ("year", "Europe/Berlin", "2028-02-29 12:00", ("2028-01-01", "2029-01-01"), 8_784),
        ("month", "Asia/Beirut", "2022-03-27 12:00", ("2022-03-01", "2022-04-01"), 743),
        ("month", "America/Sao_Paulo", "2017-10-20 12:00", ("2017-10-01", "2017-11-01"), 743),
    ],
)
def test_periods_in_time_zones(unit, zone, instant, period, hours):
    """C20: borders are local midnights, so a month with a change of the clock is an hour shorter or longer."""
    local = ZoneInfo(zone)
    found = Calendar(unit=unit, timezone=zone).period(at(instant, local))
    assert (*(at(border, local) for border in period), hours * HOUR) == (*found, found.seconds)


@pytest.mark.parametrize(
    ("unit", "start", "instant", "period"),
    [
        ("week", "2022-01-01T12:00:00", "2026-10-25 12:00", ("2026-10-24 12:00", "2026-10-31 12:00")),
        ("week", "2030-01-05T12:00:00", "2026-10-24 12:00", ("2026-10-17 12:00", "2026-10-24 12:00")),
        ("month", "2026-01-31T00:00:00", "2026-03-01 00:00", ("2026-02-28", "2026-03-31")),
        ("month", "2026-01-15T06:30:00", "2026-01-15 06:30", ("2025-12-15 06:30", "2026-01-15 06:30")),
        ("quarter", "2026-02-01T00:00:00", "2026-01-10 00:00", ("2025-11-01", "2026-02-01")),
        ("year", "2024-02-29T00:00:00", "2026-02-28 12:00", ("2026-02-28", "2027-02-28")),
        ("year", "2026-04-06T00:00:00", "2026-04-06 00:00", ("2025-04-06", "2026-04-06")),
    ],
)
def test_periods_that_begin_elsewhere(unit, start, instant, period):
    """Saturdays at noon, the last of each month, financial years: before and after the start that is written."""
    local = ZoneInfo("Europe/Berlin")
    found = Calendar(unit=unit, timezone="Europe/Berlin", start=start).period(at(instant, local))
    assert tuple(at(border, local) for border in period) == found


@given(
    st.sampled_from(["week", "month", "quarter", "year"]),
    st.datetimes(datetime(2001, 1, 1), datetime(2040, 1, 1)).map(  # noqa: DTZ001
        lambda at: at.replace(microsecond=0).isoformat()
    ),
    st.integers(1_000_000_000, 2_200_000_000),
)
def test_each_instant_is_in_one_period(unit, start, instant):
    """Periods follow each other without gaps, whatever begins them."""
    calendar = Calendar(unit=unit, timezone="America/New_York", start=start)
    period = calendar.period(instant)
    assert period.start < instant <= period.end
    assert period.start == calendar.period(period.start).end
    assert period == calendar.period(period.start + 1)


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("2022-01-01 12:00:00", "week", "2022-01-01T12:00:00"),
        ("2026-01-05", "week", None),
        ("2026-07-01T00:00Z", "quarter", None),
        ("2026-02-01", "quarter", "2026-02-01T00:00:00"),
        ("2026-02-01", "month", None),
        ("2027-1-1", "year", None),
    ],
)
def test_starts_that_say_something(text, unit, expected):
    """What is where periods begin anyway is left out, so that it is the same SLO."""
    assert expected == parse_start(text, unit)


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "2026-02-30", "2026-01-01T25:00"])
def test_a_start_is_a_date(text):
    """Neither a word nor a day that no month has."""
    with pytest.raises(ValueError, match=r"date|month|day|hour"):
        parse_start(text, "month")


def test_a_day_without_midnight_begins_when_its_clock_does():
    """C20: in Beirut the clock went from Saturday 23:59 to Sunday 01:00: a week that began then begins there."""
    period = Calendar(unit="month", timezone="America/Havana").period(at("2026-03-08 12:00"))
    assert at("2026-03-01 05:00") == period.start
    gap = ZoneInfo("Africa/Cairo")  # Friday 2026-04-24 has no midnight
    assert at("2026-04-23 22:00") == int(datetime(2026, 4, 24, tzinfo=gap).timestamp())


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        ("2026-03-22T02:30", "2026-03-29 01:30"),  # 02:00 becomes 03:00: 02:30 is 03:30
        ("2026-03-22T02:00", "2026-03-29 01:00"),  # the jump itself
        ("2026-10-18T02:30", "2026-10-25 00:30"),  # 03:00 becomes 02:00: the first of two
    ],
    ids=["in a gap", "at its begin", "twice"],
)
def test_a_week_that_begins_while_the_clock_changes(start, begins):
    """A local time that there is not is as long after midnight as always; of two it is the first."""
    weeks = Calendar(unit="week", timezone="Europe/Berlin", start=start)
    assert at(begins) == weeks.period(at(begins) + 1).start
    assert at(begins) == weeks.period(at(begins)).end


def test_the_border_belongs_to_the_period_that_ends_there():
    """Spans are (start, end], as ticks are."""
    october = Calendar(unit="month").period(at("2026-11-01"))
    assert (at("2026-10-01"), at("2026-11-01")) == october
    assert at("2026-11-01") == Calendar(unit="month").period(at("2026-11-01") + 1).start


@pytest.mark.parametrize("zone", ["Europe/Bonn", "", "../passwd", "localtime", "/etc/localtime", "\0"])
def test_zones_are_checked_at_load(zone):
    """C20: a zone that the IANA database does not have is refused, and one that differs by machine."""
    with pytest.raises(ValidationError, match="a zone of the IANA database"):
        Calendar(unit="month", timezone=zone)


def monthly(**options):
    """99 % of each month in Berlin."""
    calendar = Calendar(unit="month", timezone="Europe/Berlin")
    given = {"name": "shop", "target": Decimal("0.99"), "sli": SLI, "calendar": calendar, "window": 30 * DAY}
    return SLO(**given | options)


def test_factors_use_nominal_lengths():
    """Contract, section 3: 7, 30, 91 and 365 days."""
    lengths = [Calendar(unit=unit).nominal // DAY for unit in ("week", "month", "quarter", "year")]
    assert [7, 30, 91, 365] == lengths
    assert "14.4" == str(workbook(Decimal("0.999"), Calendar(unit="month").nominal)[0][0].burn_rate)
    with pytest.raises(ValidationError, match="nominal 2592000 seconds"):
        monthly(window=31 * DAY)


def test_the_span_of_the_budget_is_what_is_over_of_the_period():
    """`budget_span` of a rolling window is the window."""
    noon = at("2026-10-26 12:00", BERLIN)
    assert 25 * DAY + 13 * HOUR == monthly().budget_span(noon)  # one day had 25 hours
    assert 30 * DAY == monthly(calendar=None).budget_span(noon)


def world(first, last, *, step=HOUR, total=100, bad=0, history=None):
    """A row of events each hour between two instants, ticks end half a minute before the hour."""
    history = history or History()
    ends = range(first - 30 + step, last - 30 + 1, step)
    history.add([Row.of(Tick(end - step, end), {1: Counts(total, bad, Outcome.OK)}) for end in ends])
    return history


def test_sums_to_date_are_exact_over_a_change_of_the_clock():
    """C20: October 2026 in Berlin has 745 hours, each with 100 requests: nothing is lost or counted twice."""
    october, november = at("2026-10-01", BERLIN), at("2026-11-01", BERLIN)
    history = world(at("2026-09-01", BERLIN), at("2026-12-01", BERLIN))
    calendar = monthly().calendar
    last = to_date(history, calendar, november - 30, 1, interval=60)
    assert (74_500, 745 * HOUR, 0) == (last.total, last.window, last.ahead)
    first = to_date(history, calendar, november + HOUR - 30, 1, interval=60)
    assert (100, HOUR, 100 * 719) == (first.total, first.window, first.ahead)
    middle = to_date(history, calendar, october + 10 * DAY - 30, 1, interval=60)
    assert (24_000, 10 * DAY) == (middle.total, middle.window)


def test_a_tick_with_the_border_in_it_belongs_to_the_new_period():
    """Windows are sums of whole ticks; the tick that ends 30 s after midnight is November's."""
    midnight = at("2026-11-01", BERLIN)
    history = History()
    rows = {midnight - 30: 7, midnight + 30: 5}
    history.add([Row.of(Tick(e - 60, e), {1: Counts(n, 0, Outcome.OK)}) for e, n in rows.items()])
    calendar = monthly().calendar
    assert 5 == to_date(history, calendar, midnight + 30, 1, interval=60).total
    assert 7 == to_date(history, calendar, midnight - 30, 1, interval=60).total


def test_the_rest_goes_with_the_traffic_of_the_period_before():
    """September had 100 requests an hour: after a day of October 720 - 24 + 25 more hours are to come."""
    september, october = at("2026-09-01", BERLIN), at("2026-10-01", BERLIN)
    history = world(september, october)
    world(october, october + DAY, total=50, bad=2, history=history)
    so_far = to_date(history, monthly().calendar, october + DAY - 30, 1, interval=60)
    assert (1_200, 48, 72_100) == (so_far.total, so_far.bad, so_far.ahead)


@pytest.mark.parametrize(
    ("bad", "ahead", "spent", "best"),
    [
        pytest.param(20, 9_000, False, 0.8, id="20 of 1000 so far, 10000 by the end: 80 of 100 are left"),
        pytest.param(99, 9_000, False, 0.01, id="one is left"),
        pytest.param(100, 9_000, True, 0.0, id="none is left, whatever comes"),
        pytest.param(10, 0, True, 0.0, id="at the end it is what it is"),
        pytest.param(0, 0, False, 1.0, id="no failure"),
    ],
)
def test_exhausted_uses_the_bound(bad, ahead, spent, best):
    """Contract, section 3: a bad first day is no spent month; the budget itself is to date."""
    sums = exact(WindowCounts(DAY, 1_000, bad, DAY, ahead=ahead))
    allowance = allowed(Decimal("0.99"))
    assert (spent, best) == (exhausted(sums, allowance), bounds(sums, allowance).best)
    assert pytest.approx(1 - bad / 10) == remaining(sums, allowance)


def test_time_to_exhaustion_is_of_the_whole_period():
    """80 of 100 failures are left; at ten an hour they last eight hours."""
    sums = exact(WindowCounts(DAY, 1_000, 20, DAY, ahead=9_000))
    recent = exact(WindowCounts(6 * HOUR, 250, 60, 6 * HOUR))
    assert 8 * HOUR == exhaustion_seconds(sums, recent, allowed(Decimal("0.99")))


def verdict(counts, *, instant, states=None, outcome=Outcome.OK, **options):
    """One tick's verdict over the period so far."""
    return assess(
        monthly(**options),
        at=instant,
        interval=60,
        outcome=outcome,
        windows={TO_DATE: counts},
        states=states or {},
    )


def test_a_new_period_restores_with_that_reason():
    """Contract, section 3: exhausted in October, restored by the first tick of November, with reason `period`."""
    little = BudgetAlert(severity="ticket", remaining_below=Decimal("0.5"))
    november = at("2026-11-01", BERLIN)
    spent = WindowCounts(30 * DAY, 1_000, 20, 30 * DAY, ahead=10)
    first = verdict(spent, instant=november - 30 - DAY, budget_alerts=(little,))
    assert ["slo_budget_exhausted", "slo_budget_alert_started"] == [t.kind for t in first.transitions]
    fresh = WindowCounts(60, 5, 0, 60, ahead=1_000)
    silent = verdict(
        fresh, instant=november + 30, states=first.states, outcome=Outcome.ERROR, budget_alerts=(little,)
    )
    assert () == silent.transitions
    new = verdict(fresh, instant=november + 30, states=first.states, budget_alerts=(little,))
    assert [("slo_budget_restored", "period"), ("slo_budget_alert_recovered", "period")] == [
        (t.kind, t.reason) for t in new.transitions
    ]


def test_a_period_that_begins_spent_stays_spent():
    """All its requests failed and none is expected: there is nothing to restore."""
    november = at("2026-11-01", BERLIN)
    states = {BUDGET: AlertState("firing", november - DAY)}
    found = verdict(WindowCounts(60, 5, 5, 60, ahead=0), instant=november + 30, states=states)
    assert () == found.transitions


def test_gather_gives_each_slo_its_own_windows():
    """Rolling windows beside the period so far, also where an alert is as long as the nominal period."""
    november = at("2026-11-01", BERLIN)
    history = world(at("2026-09-01", BERLIN), november + DAY)
    instant = november + DAY - 30
    found = gather(history, instant, [(monthly(), 1)], interval=60, born=lambda _: 0)[1]
    assert (2_400, 72_000, 600) == (found[TO_DATE].total, found[30 * DAY].total, found[21_600].total)


@pytest.mark.parametrize(
    ("born", "bad", "known"),
    [(0, 2_400, 4 * DAY), (3 * DAY + 12 * HOUR, 1_200, 3 * DAY + 12 * HOUR)],
)
def test_missing_ticks_are_bad_at_mean_traffic(born, bad, known):
    """`no_data: bad`: a day without any series counts as failed at the traffic of the others, since the birth."""
    history = History()
    spans = [Tick(at_ * HOUR, (at_ + 1) * HOUR) for at_ in range(96)]
    outcomes = [Counts(100, 0, Outcome.OK)] * 72 + [Counts(0, 0, Outcome.NO_DATA)] * 24
    history.add([Row.of(span, {1: counts}) for span, counts in zip(spans, outcomes, strict=True)])
    slo = monthly(calendar=None, window=4 * DAY, no_data="bad")
    found = gather(history, 4 * DAY, [(slo, 1)], interval=60, born=lambda _: born)[1][4 * DAY]
    assert (7_200 + bad, bad, known) == (found.total, found.bad, found.known)


def test_missing_ticks_that_are_corrected_are_not_bad():
    """`no_data: bad`: a correction takes out what was missing while the daemon watched, and nothing from before does for it."""
    history = History()
    outcomes = [Counts(0, 0, Outcome.NO_DATA)] * 6 + [Counts(100, 0, Outcome.OK)] * 8
    outcomes += [Counts(0, 0, Outcome.NO_DATA)] * 2 + [Counts(100, 0, Outcome.OK)] * 4
    spans = [Tick(at_ * HOUR, (at_ + 1) * HOUR) for at_ in range(20)]
    history.add([Row.of(span, {1: counts}) for span, counts in zip(spans, outcomes, strict=True)])
    slo = monthly(calendar=None, window=20 * HOUR, no_data="bad")
    without = [Tick(14 * HOUR, 16 * HOUR)]
    found = gather(history, 20 * HOUR, [(slo, 1)], interval=60, born=lambda _: 12 * HOUR, without=without)
    assert (1_200, 0, 12 * HOUR) == found[1][20 * HOUR][1:4]
