"""Groups of expressions and composites: a row of the answer for each, one query for all, and their roll-ups."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.courses import Span, course
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.gauges import render
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outcomes import together
from slo_budget_tracker.queries import plan
from slo_budget_tracker.reading import read, units
from slo_budget_tracker.replays import Grid, evaluate_at, replay
from slo_budget_tracker.rowlabels import lost
from slo_budget_tracker.slices import Clock
from slo_budget_tracker.slis import Member
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import SLO, BurnRateAlert, CompositeSli, ConditionSli, PromqlSli
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Server

WINDOW = 4 * HOUR
PAGE = BurnRateAlert(severity="page", long=HOUR, short=300, burn_rate=Decimal(5))
NAN = math.nan


def slo(name, sli, **options):
    """An SLO with a group for each handler."""
    return SLO(
        **{"name": name, "target": Decimal("0.99"), "window": WINDOW, "sli": sli, "group_by": ("handler",)}
        | options
    )


def counted(name="counted", **options):
    """Total and bad per minute, by handler."""
    return slo(name, PromqlSli(total="requests", bad="failures", window=60), **options)


def queue(**options):
    """Whether each handler's queue is short."""
    return slo("queue", ConditionSli(expr="depth", op="<", limit=Decimal(10)), **options)


def journey(*members, **options):
    """A composite of the members, each half."""
    sli = CompositeSli(members=tuple(Member(slo=name) for name in members))
    return slo("journey", sli, **options)


def broken(at):
    """Ten minutes in which /pay fails."""
    return BEGIN + 1_200 < at <= BEGIN + 1_800


SERVER = {
    "requests": lambda _: {"/": 100.0, "/pay": 10.0},
    "failures": lambda at: {"/pay": 5.0} if broken(at) else {},
    "depth": lambda at: {"/": 3.0, "/pay": 30.0 if broken(at) else 3.0},
}


def evaluator(ledger, *slos, **values):
    """A prepared evaluator over a server with these expressions."""
    return Evaluator(
        slos=slos,
        ledger=ledger,
        asks={"default": Server(values={**SERVER, **values})},
        interval=INTERVAL,
        delay=DELAY,
    ).prepare(BEGIN)


def figures(snapshots, name):
    """Total and failures of an SLO by handler; the roll-up's is None."""
    return {one.labels.get("handler"): (one.total, one.failures) for one in snapshots if one.name == name}


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def test_each_row_is_a_group_and_the_roll_up_is_their_sum(ledger):
    """Counts by their rows, conditions by theirs, all in one query of each kind, and one more for ten ticks."""
    one = evaluator(ledger, counted(), queue())
    for tick in range(1, 61):
        report = one.advance(BEGIN + tick * INTERVAL)
    assert {None: (6_600, 50), "/": (6_000, 0), "/pay": (600, 50)} == figures(report.snapshots, "counted")
    assert {None: (120, 10), "/": (60, 0), "/pay": (60, 10)} == figures(report.snapshots, "queue")
    assert 2 * 60 + 2 * 5 == len(set(one.asks["default"].asked))


@pytest.mark.parametrize("how", ["caught up", "evaluated", "replayed"])
def test_all_ways_to_look_at_an_hour_are_the_same(ledger, how):
    """Catch-up, `evaluate` and `replay` find the groups and counts that live ticks do."""
    slos = (counted(alerts=(PAGE,)), queue(alerts=(PAGE,)), journey("counted", "queue", alerts=(PAGE,)))
    live = evaluator(ledger, *slos)
    told = set()
    for tick in range(1, 61):
        report = live.advance(BEGIN + tick * INTERVAL)
        told |= {(e.payload["slo_name"], e.group.get("handler")) for e in report.transitions}
    burning = {
        ("counted", "/pay"),
        ("queue", "/pay"),
        ("queue", None),
        ("journey", "/pay"),
        ("journey", None),
    }
    assert burning == told
    asks = {"default": Server(values=SERVER)}
    window = [one.model_copy(update={"window": HOUR}) for one in slos]
    if how == "evaluated":
        found = evaluate_at(window, asks, at=BEGIN + HOUR, grid=Grid())
    elif how == "replayed":
        again = replay(window, asks, start=BEGIN, end=BEGIN + HOUR, grid=Grid())
        found = again.final
        assert told == {(e.payload["slo_name"], e.group.get("handler")) for e in again.transitions}
    else:
        with Ledger.open("sqlite://") as other:
            found = evaluator(other, *slos).advance(BEGIN + HOUR).snapshots
    for name in ("counted", "queue"):
        assert figures(report.snapshots, name) == figures(found, name)
    ratios = [
        {one.labels.get("handler"): one.success_ratio for one in some if one.name == "journey"}
        for some in (report.snapshots, found)
    ]
    assert ratios[0] == ratios[1]


def test_an_error_ratio_weighs_each_group_and_tick_alike(ledger):
    """Of two groups each tick is an event; no traffic (NaN) is none."""
    one = evaluator(
        ledger,
        slo("ratio", PromqlSli(error_ratio="errors", window=60)),
        errors=lambda at: {"/": 0.5, "/pay": NAN if broken(at) else 0.0},
    )
    report = one.advance(BEGIN + HOUR)
    assert {None: (110, 30), "/": (60, 30), "/pay": (50, 0)} == figures(report.snapshots, "ratio")


def test_a_row_that_cannot_be_used_is_its_groups_fault(ledger):
    """D5: the group and the roll-up have an error in that tick, the other group goes on."""
    one = evaluator(ledger, counted(), failures=lambda at: {"/pay": -1.0 if broken(at) else 0.0})
    for tick in range(1, 31):
        report = one.advance(BEGIN + tick * INTERVAL)
    assert {None: (2_200, 0), "/": (3_000, 0), "/pay": (200, 0)} == figures(report.snapshots, "counted")
    assert {None: "error", "/": "ok", "/pay": "error"} == {
        one.labels.get("handler"): one.state for one in report.snapshots
    }
    assert 'counted{"handler": "/pay"}: bad: the value is negative (-1)' == report.faults["counted"]


def test_two_rows_of_one_group_are_a_fault():
    """D11: rows that differ by other labels are named, not added up behind one's back."""
    (unit,) = units(plan([counted()], replica_labels={}))
    rows = [({"slo": "counted:total", "handler": "/", "pod": pod}, [BEGIN * 1000], [1.0]) for pod in "ab"]
    reading = read(unit, [Tick(BEGIN - 60, BEGIN)], {}, lambda _: Answer(tuple(Series(*row) for row in rows)))
    assert {Outcome.ERROR} == {of[BEGIN].outcome for of in reading.counts.values()}
    assert "total: 2 series where one is expected" in reading.faults["counted"]


def test_more_rows_than_allowed_are_an_error_of_all_groups(ledger):
    """D17: all or nothing; the roll-up goes on."""
    many = {f"/{n}": 1.0 for n in range(5)}
    one = evaluator(
        ledger,
        counted(max_groups=4),
        requests=lambda at: {"/": 1.0} if at <= BEGIN + 600 else many,
        failures=lambda _: {},
    )
    for tick in range(1, 21):
        report = one.advance(BEGIN + tick * INTERVAL)
    assert {"counted": "6 groups, more than max_groups: 4; none of them is counted"} == report.faults
    assert {None: (10 + 50, 0), "/": (10, 0)} == figures(report.snapshots, "counted")
    assert {None: "ok", "/": "error"} == {s.labels.get("handler"): s.state for s in report.snapshots}


def test_a_composite_has_the_groups_of_its_members(ledger):
    """A group is over the members that have it, the roll-up over their roll-ups."""
    one = evaluator(
        ledger,
        counted(),
        counted("other").model_copy(update={"sli": PromqlSli(total="more", bad="worse", window=60)}),
        journey("counted", "other"),
        more=lambda _: {"/pay": 100.0, "/new": 10.0},
        worse=lambda _: {"/new": 1.0},
    )
    report = one.advance(BEGIN + HOUR)
    ratios = {s.labels.get("handler"): s.success_ratio for s in report.snapshots if s.name == "journey"}
    whole = (Fraction(50, 6_600) + Fraction(60, 6_600)) / 2
    assert {
        None: float(1 - whole),
        "/": 1.0,
        "/pay": float(1 - Fraction(50, 600) / 2),
        "/new": 0.9,
    } == ratios
    at, known = BEGIN + HOUR, {slo.name: slo for slo in one.slos}
    span = Span(at - HOUR, at, HOUR)
    courses = [
        course(known["journey"], labels, span, Archive(ledger), known, Clock(span.end, 60))
        for labels in ({"handler": "/new"}, {"handler": "/nowhere"})
    ]
    assert [(0.9, 1.0), (None, 0.0)] == [
        (one["points"][-1]["success_ratio"], one["points"][-1]["coverage"]) for one in courses
    ]
    page = render(report.snapshots, one.slos, None).decode()
    assert 'slo_success_ratio{handler="/new",slo="journey"} 0.9' in page
    assert 'slo_rollup_success_ratio{slo="journey"} ' in page


def test_groups_of_a_composite_survive_a_restart_and_go_with_their_members(ledger):
    """They are known before the first tick; a group that no member has any more is retired with an event."""

    def fading(at):
        return {"/": 100.0, "/old": 5.0} if at <= BEGIN + 900 else {"/": 100.0}

    slos = (counted(window=2 * HOUR), journey("counted", window=2 * HOUR))
    values = {"requests": fading, "failures": lambda _: {}}
    evaluator(ledger, *slos, **values).advance(BEGIN + 1_200)
    again = evaluator(ledger, *slos, **values)
    old = key_of("journey", [("handler", "/old")])
    assert old in again.instances()
    assert 1.0 == next(s.success_ratio for s in again.look(BEGIN + 1_200) if s.labels == {"handler": "/old"})
    for hour in range(1, 6):
        again.advance(BEGIN + 1_200 + hour * HOUR)
    assert [
        "counted",
        key_of("counted", [("handler", "/")]),
        "journey",
        key_of("journey", [("handler", "/")]),
    ] == (again.instances())
    retired = [e.slo for e in ledger.events() if e.kind == "slo_retired"]
    assert ["counted", "journey"] == retired


def test_a_composite_with_too_many_groups_says_so(ledger):
    """D17: its own limit holds over the groups of all members together."""
    one = evaluator(ledger, counted(), journey("counted", max_groups=1))
    report = one.advance(BEGIN + 600)
    assert [
        "counted",
        key_of("counted", [("handler", "/")]),
        key_of("counted", [("handler", "/pay")]),
        "journey",
    ] == (one.instances())
    assert "2 groups, more than max_groups: 1; none of them is counted" == report.faults["journey"]
    assert {"journey"} == set(one.limited())


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("sum(rate(x[$window]))", "a"),
        ("sum by (a) (rate(x[$window]))", "b"),
        ("sum by (a, b, c) (rate(x[$window]))", None),
        ("sum without (pod) (rate(x[$window]))", None),
        ("sum without (b) (rate(x[$window]))", "b"),
        ("topk(3, sum by (a, b) (rate(x[$window])))", None),
        ('count_values by (a) ("b", increase(x[$window]))', None),
        ("rate(x[$window])", None),
        ("2 * -sum by (a, b) (rate(x[$window]))", None),
        ("sum by (a, b) (rate(x[$window])) or vector(0)", "a"),
        ("sum by (a, b) (rate(x[$window])) unless vector(0)", None),
        ("rate(x[$window]) / on (a) rate(y[$window])", "b"),
        ("rate(x[$window]) / ignoring (b) rate(y[$window])", "b"),
        ("rate(x[$window]) / on (a) group_left (b) rate(y[$window])", None),
        ("sum by (a) (rate(x[$window])) / on (a) group_right () rate(y[$window])", None),
        ('label_replace(label_replace(sum(x), "a", "1", "", ""), "b", "$1", "c", "(.*)")', None),
        ("vector(scalar(sum(rate(x[$window]))))", "a"),
        ("clamp_max(sum by (a, b) (rate(x[$window])), 1)", None),
        ("absent(x)", None),
        ("3", "a"),
    ],
)
def test_labels_that_no_row_can_have(expression, missing):
    """What an aggregation or a matching drops is found before anything is asked."""
    assert missing == lost(expression, ["a", "b"])


@pytest.mark.parametrize(
    ("sli", "sentence"),
    [
        (
            "{promql: {total: 'sum(rate(x[$window]))', bad: 'sum by (handler) (rate(y[$window]))'}}",
            "no row of it has the label handler, expected one row for each group; write sum by (handler) (…)",
        ),
        (
            "{condition: {expr: max(x), op: '<', limit: 1}}",
            "sli.condition.expr: no row of it has the label handler",
        ),
        (
            "{composite: {members: [{slo: plain}]}}",
            "the member plain, which has no groups, expected members with group_by: [handler], as the composite has",
        ),
        ("{composite: {members: [{slo: other}]}}", "the member other, which has other groups"),
    ],
)
def test_faults_of_files(tmp_path, sli, sentence):
    """An expression that cannot have the groups is refused with what to write, a member without them by name."""
    file = tmp_path / "a.yaml"
    probes = "\n".join(
        f"  - {{name: {name}, target: 99%, sli: {{probe: {{up: up}}}}{by}}}"
        for name, by in (("plain", ""), ("other", ", group_by: [job]"), ("same", ", group_by: [handler]"))
    )
    file.write_text(f"slos:\n{probes}\n  - {{name: a, target: 99%, group_by: [handler], sli: {sli}}}\n")
    with pytest.raises(Exception, match=r"handler|member") as error:
        load([file])
    assert sentence in str(error.value)
    good = "{composite: {members: [{slo: same}]}}"
    file.write_text(f"slos:\n{probes}\n  - {{name: a, target: 99%, group_by: [handler], sli: {good}}}\n")
    assert ("handler",) == next(one.group_by for one in load([file]).slos if one.name == "a")


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([], Counts(0, 0, Outcome.NO_DATA)),
        ([Counts(3, 1, Outcome.OK), Counts(0, 0, Outcome.NO_TRAFFIC)], Counts(3, 1, Outcome.OK)),
        ([Counts(0, 0, Outcome.NO_TRAFFIC)], Counts(0, 0, Outcome.NO_TRAFFIC)),
        ([Counts(3, 1, Outcome.PARTIAL), Counts(2, 0, Outcome.OK)], Counts(5, 1, Outcome.PARTIAL)),
        ([Counts(3, 1, Outcome.OK), Counts(0, 0, Outcome.ERROR)], Counts(0, 0, Outcome.ERROR)),
        ([Counts(3, 1, Outcome.OK), Counts(0, 0, Outcome.NO_DATA)], Counts(3, 1, Outcome.OK)),
    ],
)
def test_the_roll_up_of_a_tick(groups, expected):
    """A sum, unless one of them could not be counted."""
    assert expected == together(groups)
