"""Reviews: a period's figures are those that the daemon's own windows over it have."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.correctionfiles import Correction
from slo_budget_tracker.entries import Entry, Event
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.periods import Period
from slo_budget_tracker.printouts import by_owner, tally
from slo_budget_tracker.reviews import review
from slo_budget_tracker.rows import Row
from slo_budget_tracker.shelves import Shelf
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.slis import Member
from slo_budget_tracker.specs import SLO, CompositeSli, Slices
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability, traffic

MIDNIGHT = 86_400 * 13
FIRST = MIDNIGHT - DELAY  # the tick that ends there is the last one of the day before
SLICED = availability(slices=Slices(width=300, target=Decimal("0.6")), window=4 * HOUR, alerts=())


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def lived(ledger, slos, minutes, *, server=None):
    """The snapshots of the last of so many live ticks, by name."""
    server = server or Server(traffic(traffic(Archive()), metric="quiet_total", broken=(0, 0)))
    one = Evaluator(slos=slos, ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY)
    one.prepare(BEGIN)
    for minute in range(1, minutes + 1):
        report = one.advance(BEGIN + minute * INTERVAL)
    return {found.name: found for found in report.snapshots}


def reviews(ledger, slos, start, end):
    """The reviews by name."""
    found = review([Shelf(ledger, slos)], slos, Period("p", start, end), Clock(BEGIN, INTERVAL))
    return {one.slo.name: one for one in found}


def figures(one):
    """What a review and a snapshot have in common."""
    counts = getattr(one, "counts", one)
    left = one.remaining if hasattr(one, "remaining") else one.error_budget_remaining
    failures = counts.bad if hasattr(counts, "bad") else counts.failures
    return (counts.total, failures, left, one.success_ratio, one.coverage)


@pytest.mark.parametrize("minutes", [20, 22, 24, 25, 38, 41, 60, 63])
def test_slices_that_are_not_over_are_in_no_report(ledger, minutes):
    """A period that ends inside a slice ends with the last one that is over, as the daemon's window does."""
    found = lived(ledger, [SLICED], minutes)
    at = BEGIN + minutes * INTERVAL
    (one,) = reviews(ledger, [SLICED], at - 4 * HOUR, at).values()
    assert figures(found["shop"]) == figures(one)
    assert minutes // 5 == one.counts.total
    assert [one.counts.total] == [sum(part.counts.total for part in one.days)]


def test_slices_are_whole_in_days_and_hours(ledger):
    """An hour that ends inside of a slice has the whole ones before; what an outage cut off is in none."""
    server = Server(traffic(Archive()))
    minute = 0
    server.trouble = lambda _query: Unreachable("no", reason="refused") if minute >= 67 else None
    evaluator = Evaluator(
        slos=[SLICED], ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
    ).prepare(BEGIN)
    for minute in range(1, 90):
        evaluator.advance(BEGIN + minute * INTERVAL)
    (one,) = reviews(ledger, [SLICED], BEGIN + 7 * 60, BEGIN + 89 * 60).values()
    assert (12, 4) == (one.counts.total, one.counts.bad)
    assert [(12, 4)] == [(day.counts.total, day.counts.bad) for day in one.days]
    assert [(BEGIN + 7 * 60, 7, 4)] == [(one.start, one.counts.total, one.counts.bad) for one in one.worst]
    (before,) = reviews(ledger, [SLICED], BEGIN + 62 * 60, BEGIN + 89 * 60).values()
    assert (1, 0) == (before.counts.total, before.counts.bad)


def test_a_composite_is_what_the_daemon_has(ledger):
    """The same budget, ratio and coverage as its window; members that it knows nothing of make it unknown."""
    sli = CompositeSli(members=(Member(slo="shop"), Member(slo="quiet")))
    journey = SLO(name="journey", target=Decimal("0.95"), window=4 * HOUR, sli=sli, alerts=())
    quiet = availability("quiet", metric="quiet_total", alerts=())
    slos = [journey, availability(alerts=()), quiet]
    found = lived(ledger, slos, 60)
    one = reviews(ledger, slos, BEGIN - 3 * HOUR, BEGIN + HOUR)["journey"]
    assert figures(found["journey"])[2:] == figures(one)[2:]
    assert pytest.approx(1 - one.remaining) == sum(part.spent or 0 for part in one.days)
    assert [("shop", pytest.approx(1 - one.remaining)), ("quiet", 0)] == list(one.members)
    ledger.retire([n for n, one in ledger.instances.items() if one.slo == "quiet"], at=BEGIN + HOUR)
    one = reviews(ledger, slos, BEGIN - 3 * HOUR, BEGIN + HOUR)["journey"]
    assert ("no_data", {None}) == (one.standing, {part.spent for part in one.days})


def test_a_group_of_a_composite_that_no_member_has_is_unknown(ledger):
    """It is there, without data; the group that both members have is made of theirs."""
    options = {"alerts": (), "group_by": ("handler",), "target": Decimal("0.9")}
    sli = CompositeSli(members=(Member(slo="a"), Member(slo="b")))
    slos = [availability("a", **options), availability("b", **options), SLO(name="all", sli=sli, **options)]
    here, gone = {"handler": "/here"}, {"handler": "/gone"}
    wanted = [("a", here), ("b", here), ("all", {}), ("all", here), ("all", gone)]
    by_name = {slo.name: sli_hash(slo) for slo in slos}
    a, b, *_ = ledger.register_all([(name, labels, by_name[name]) for name, labels in wanted], at=BEGIN)
    counts = {a: Counts(100, 4, Outcome.OK), b: Counts(10, 0, Outcome.OK)}
    ledger.commit(Entry(rows=[Row.of(Tick(BEGIN, BEGIN + HOUR), counts)]))
    found = review([Shelf(ledger, slos)], slos, Period("p", BEGIN, BEGIN + HOUR), Clock(BEGIN, INTERVAL))
    assert [({}, None), (gone, None), (here, pytest.approx(0.8))] == [
        (dict(one.labels), one.remaining) for one in found if one.slo.name == "all"
    ]


def test_the_worst_member_spends_all_of_it(ledger):
    """Its days are those of the member that has the least budget left over the period."""
    slos = [availability(name, alerts=(), target=Decimal(t)) for name, t in (("a", "0.99"), ("b", "0.9"))]
    sli = CompositeSli(members=(Member(slo="b"), Member(slo="a")), mode="worst")
    slos.append(SLO(name="all", target=Decimal("0.95"), sli=sli, alerts=()))
    a, b, _ = ledger.register_all([(slo.name, {}, sli_hash(slo)) for slo in slos], at=FIRST)
    rows = [
        Row.of(
            Tick(FIRST + n * HOUR, FIRST + n * HOUR + HOUR),
            {a: Counts(100, (n == 1) * 4, Outcome.OK), b: Counts(100, (n == 2) * 30, Outcome.OK)},
        )
        for n in range(4)
    ]
    ledger.commit(Entry(rows=rows))
    one = reviews(ledger, slos, MIDNIGHT, MIDNIGHT + 4 * HOUR)["all"]
    assert pytest.approx(1 - 0.01 / 0.05) == one.remaining
    assert [(MIDNIGHT + HOUR, pytest.approx(0.2))] == [(hour.start, hour.spent) for hour in one.worst]
    assert [("a", pytest.approx(0.2)), ("b", 0)] == sorted(one.members)


@pytest.mark.parametrize("own", [True, False], ids=["its own", "a member's"])
def test_corrections_of_a_composite_and_of_its_members(ledger, own):
    """What is corrected of either is taken out; what is left without is told of its own only."""
    drill = Correction(
        name="drill",
        start=MIDNIGHT + HOUR,
        end=MIDNIGHT + 2 * HOUR,
        slos=("all" if own else "a",),
        reason="r",
        author="x",
    )
    sli = CompositeSli(members=(Member(slo="a"), Member(slo="b")))
    member = availability("a", alerts=(), corrections=() if own else (drill,))
    whole = SLO(name="all", target=Decimal("0.9"), sli=sli, alerts=(), corrections=(drill,) if own else ())
    slos = [member, availability("b", alerts=()), whole]
    a, b, _ = ledger.register_all([(slo.name, {}, sli_hash(slo)) for slo in slos], at=FIRST)
    ledger.commit(
        Entry(
            rows=[
                Row.of(
                    Tick(FIRST + n * HOUR, FIRST + n * HOUR + HOUR),
                    {a: Counts(100, (n == 1) * 40, Outcome.OK), b: Counts(100, 0, Outcome.OK)},
                )
                for n in range(4)
            ]
        )
    )
    one = reviews(ledger, slos, MIDNIGHT, MIDNIGHT + 4 * HOUR)["all"]
    assert (1.0, 0.5 if own else 1.0, ()) == (one.remaining, pytest.approx(one.raw), one.worst)


def test_missing_data_that_count_as_bad_do_so_in_reports(ledger):
    """An hour without any series, watched, costs what an hour of failures at mean traffic does."""
    slo = availability(alerts=(), no_data="bad", target=Decimal("0.5"))
    (number,) = ledger.register_all([(slo.name, {}, sli_hash(slo))], at=FIRST)
    kinds = [Counts(100, 0, Outcome.OK), Counts(0, 0, Outcome.NO_DATA), Counts(100, 0, Outcome.OK)]
    rows = [
        Row.of(Tick(FIRST + n * HOUR, FIRST + n * HOUR + HOUR), {number: one}) for n, one in enumerate(kinds)
    ]
    before = Row.of(Tick(FIRST - HOUR, FIRST), {number: Counts(0, 0, Outcome.NO_DATA)})
    ledger.commit(Entry(rows=[before, *rows]))
    (one,) = reviews(ledger, [slo], MIDNIGHT - HOUR, MIDNIGHT + 3 * HOUR).values()
    assert (300, 100, pytest.approx(1 / 3), 0.75) == (
        one.counts.total,
        one.counts.bad,
        one.remaining,
        one.coverage,
    )
    assert [(MIDNIGHT + HOUR, 100)] == [(hour.start, hour.counts.bad) for hour in one.worst]


def test_groups_have_their_own_events_and_count_once(ledger):
    """What one group's alert did is not said of the others; the SLO is one in every tally."""
    slo = availability(alerts=(), group_by=("handler",), service="web", owner="ann")
    labels = [{}, {"handler": "/a"}, {"handler": "/b"}]
    numbers = ledger.register_all([(slo.name, one, sli_hash(slo)) for one in labels], at=BEGIN)
    rows = [Row.of(Tick(BEGIN, BEGIN + HOUR), {n: Counts(100, 0, Outcome.OK) for n in numbers})]
    events = [
        Event("e1", "shop", "slo_burn_started", BEGIN + 60, {"labels": {"team": "x", "handler": "/a"}}),
        Event("e2", "shop", "slo_data_lost", BEGIN + 90, {"labels": {"team": "x"}}),
    ]
    ledger.commit(Entry(rows=rows, events=events))
    found = review([Shelf(ledger, [slo])], [slo], Period("p", BEGIN, BEGIN + HOUR), Clock(BEGIN, INTERVAL))
    assert [["e2"], ["e1"], []] == [[event.event_id for event in one.events.events] for one in found]
    assert {"healthy": 1} == tally(found)
    assert {("web", "ann"): {"healthy": 1}} == by_owner(found)


def test_hours_of_days_that_are_kept_whole_are_not_made_up(ledger):
    """A day that is one row has no hours, not even its last; one kept by ticks has."""
    slo = availability(alerts=())
    (number,) = ledger.register_all([(slo.name, {}, sli_hash(slo))], at=FIRST)
    day = 24 * HOUR
    rows = [Row.of(Tick(FIRST, FIRST + day), {number: Counts(2_400, 240, Outcome.OK)})]
    rows += [
        Row.of(Tick(at, at + HOUR), {number: Counts(100, at == FIRST + 30 * HOUR, Outcome.OK)})
        for at in range(FIRST + day, FIRST + 2 * day, HOUR)
    ]
    ledger.commit(Entry(rows=rows))
    (one,) = reviews(ledger, [slo], MIDNIGHT, MIDNIGHT + 2 * day).values()
    assert ([240, 1], [MIDNIGHT + 30 * HOUR]) == (
        [part.counts.bad for part in one.days],
        [hour.start for hour in one.worst],
    )


def test_days_are_those_of_the_calendar(ledger):
    """A period that begins at noon has half a day first; hours begin when the clock's do."""
    slo = availability(alerts=())
    (number,) = ledger.register_all([(slo.name, {}, sli_hash(slo))], at=FIRST)
    rows = [
        Row.of(Tick(at, at + HOUR), {number: Counts(100, 1, Outcome.OK)})
        for at in range(FIRST, FIRST + 48 * HOUR, HOUR)
    ]
    ledger.commit(Entry(rows=rows))
    (one,) = reviews(ledger, [slo], MIDNIGHT + 12 * HOUR + 1_800, MIDNIGHT + 36 * HOUR).values()
    assert [(MIDNIGHT + 12 * HOUR + 1_800, 1_150), (MIDNIGHT + 24 * HOUR, 1_200)] == [
        (part.start, part.counts.total) for part in one.days
    ]
    assert {0} == {part.start % HOUR for part in one.worst}
