"""Figures that are doubtful although every tick was read: parts above their whole, windows of few scrapes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.errors import QueryRejected, SpecError, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.scraping import scrape_interval, selectors_of
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.snapshots import snapshot_json
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import BurnRateAlert, ConditionSli, PromqlSli, RequestsSli
from slo_budget_tracker.standing import judge
from slo_budget_tracker.suspicions import sentences, too_short
from tests.unit.cycling import Client, Clock, begin, events, metric, ticks
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Server, availability, traffic

TWO_METRICS = RequestsSli(total=(parse_selector("all_total"),), good=(parse_selector("good_total"),))
GOOD_ABOVE = "`good` was more than `total`: none counts as bad"


def short_pair(seconds):
    """An alert with a short window of so many seconds."""
    return BurnRateAlert(severity="page", long=HOUR, short=seconds, burn_rate=Decimal("14.4"))


def two_counters(*, raced, seconds=1_800):
    """Two counters a scrape apart: ten good and ten in all per scrape, and one good more in the raced spans."""
    server = Server()
    pod = {"job": "shop", "instance": "a:80"}
    good = total = 1_000
    for offset in range(-900, seconds, 15):
        time = (BEGIN + offset) * 1000 + 7_000
        total += 10
        good += 10 + any(first <= offset < last for first, last in raced)
        server.db.put("up", pod, time, 1)
        server.db.put("process_start_time_seconds", pod, time, BEGIN - 90_000)
        server.db.put("all_total", pod, time, total)
        server.db.put("good_total", pod, time, good)
    return server


def suspicious(cycle):
    """What the last tick says about the SLO."""
    (shown,) = cycle.publisher.display.view.snapshots
    return shown.suspicious


def test_good_above_total_is_suspicious_from_the_third_tick_on(capsys):
    """D4: bad stays 0, each such tick is counted, the third in a row is said on every door, and what ends is said."""
    server = two_counters(raced=[(0, 240)])
    cycle = begin([availability(sli=TWO_METRICS)], server=server)
    found = []
    for _ in range(6):
        ticks(cycle, 1)
        found.append(suspicious(cycle))
    assert ["", "", GOOD_ABOVE, GOOD_ABOVE, "", ""] == found
    assert metric(cycle, 'slo_budget_tracker_values_clamped_total{slo="shop"} 4')
    assert metric(cycle, 'slo_suspicious{slo="shop"} 0')
    assert metric(cycle, 'slo_failures_total{slo="shop"} 0')
    assert [] == events(cycle)
    said = capsys.readouterr().out
    assert (1, 1) == (said.count("no longer suspicious"), said.count(f"detail={GOOD_ABOVE!r}"))


def test_what_is_suspicious_is_shown_with_its_reason():
    """D4: the gauge is 1, the API and the page have the sentence, no alert and no event is touched."""
    cycle = begin([availability(sli=TWO_METRICS)], server=two_counters(raced=[(0, 900)]))
    ticks(cycle, 3)
    (shown,) = cycle.publisher.display.view.snapshots
    assert metric(cycle, 'slo_suspicious{slo="shop"} 1')
    assert GOOD_ABOVE == snapshot_json(shown)["suspicious"]
    assert ("at_risk", f"Its figures are suspicious: {GOOD_ABOVE}.") == (
        judge(shown).standing,
        judge(shown).reasons[0],
    )
    assert [] == events(cycle)


def test_a_restart_does_not_forget_it(tmp_path):
    """D4: two ticks before a restart and one after it are three in a row."""
    server = two_counters(raced=[(0, 900)])
    url = f"sqlite:///{tmp_path}/ledger.db"
    found = []
    for times in (2, 1):
        with Ledger.open(url) as ledger:
            evaluator = Evaluator(
                slos=[availability(sli=TWO_METRICS)],
                ledger=ledger,
                asks={"default": server},
                interval=INTERVAL,
                delay=DELAY,
            )
            begun = ledger.slo_cursor(1) or BEGIN
            report = evaluator.prepare(begun).advance(begun + times * INTERVAL)
            found.append(report.snapshots[0].suspicious)
    assert ["", GOOD_ABOVE] == found


def test_noise_of_floating_point_is_no_excess():
    """D4: parts of an extrapolated sum that differ in the twelfth digit are equal."""
    server = Server(values={"good": lambda _: 0.1 + 0.2, "all": lambda _: 0.3})
    slo = availability(sli=PromqlSli(good="good", total="all", window=300))
    cycle = begin([slo], server=server)
    ticks(cycle, 4)
    assert "" == suspicious(cycle)
    assert not metric(cycle, "slo_budget_tracker_values_clamped_total{")


@pytest.mark.parametrize(
    ("slo", "scrape", "expected"),
    [
        pytest.param(availability(alerts=(short_pair(60),)), 30, [], id="two scrapes are enough"),
        pytest.param(
            availability(alerts=(short_pair(60),)),
            31,
            [("the alert window", "1m", "at least 1m2s, 2 scrapes of 31s")],
            id="one and a half are not",
        ),
        pytest.param(
            availability(alerts=(), sli=PromqlSli(error_ratio="x[$window]", window=60)),
            30,
            [("the promql window", "1m", "at least 2m, 4 scrapes of 30s")],
            id="two are too few for an expression",
        ),
        pytest.param(
            availability(alerts=(short_pair(60),), sli=ConditionSli(expr="age", op="<", limit=Decimal(5))),
            300,
            [],
            id="a condition is looked at at each tick",
        ),
    ],
)
def test_windows_need_scrapes(slo, scrape, expected):
    """D21: a window below two scrapes (four in an expression) is too short, and the least is computed."""
    assert expected == list(too_short(slo, scrape))


FILE = """
slos:
  - name: shop
    target: 99%
    window: 1d
    sli: {requests: {total: x_total, bad: 'x_total{code="500"}'}}
    alerts: [{severity: page, long: 1h, short: 2m, burn_rate: 14.4}]
  - name: other
    target: 99%
    window: 1d
    datasource: other
    sli: {promql: {error_ratio: 'rate(x_total[$window])', window: 2m}}
    alerts: none
"""


def test_where_the_interval_is_known_such_windows_are_refused_at_load(tmp_path):
    """D21: both SLOs at once, each by its own datasource, with place and computed reason; unknown is no fault."""
    (tmp_path / "slos.yaml").write_text(FILE)
    assert 2 == len(load([tmp_path]).slos)
    assert 2 == len(load([tmp_path], scrapes={"default": 60, "other": 30}).slos)
    with pytest.raises(SpecError) as caught:
        load([tmp_path], scrapes={"default": 90, "other": 60})
    what_to_do = "choose a longer one, or scrape more often"
    assert [
        f"3:11: slos[0].name: the alert window 2m, expected at least 3m, 2 scrapes of 90s; {what_to_do}",
        f"8:11: slos[1].name: the promql window 2m, expected at least 4m, 4 scrapes of 60s; {what_to_do}",
    ] == [str(fault).removeprefix(f"{tmp_path}/slos.yaml:") for fault in caught.value.faults]


def test_the_daemon_sees_how_often_an_slo_is_scraped(capsys):
    """D21: a scrape each 15 s and a short window of 20 s: said after three ticks, in the state and in the log."""
    slo = availability(alerts=(short_pair(20),))
    cycle = begin([slo])
    ticks(cycle, 4)
    sentence = "the alert window is 20s, it needs at least 30s, 2 scrapes of 15s"
    assert sentence == suspicious(cycle)
    assert 1 == capsys.readouterr().out.count(sentence)


@pytest.mark.parametrize("unreachable", [False, True], ids=["asked", "not answered"])
def test_the_daemon_asks_about_expressions(unreachable):
    """D21: how often what an expression reads is scraped is asked once; without an answer nothing is said."""
    server = Server(traffic(Server().db), values={"ratio": lambda _: 0.0})
    asked = []

    def ask(query):
        if isinstance(query, Query) and "topk" in query.expression:
            asked.append(query.expression)
            if unreachable:
                raise Unreachable("no connection", reason="refused")
            return Answer((Series({"job": "shop", "instance": "a"}, [query.at * 1000], [60.0]),))
        if isinstance(query, Query) and query.expression == 'ratio{instance="a",job="shop"}[1h]':
            times = [(query.at - 60 * back) * 1000 for back in range(50, 0, -1)]
            return Answer((Series({}, times, [1.0] * 50),))
        return server(query)

    slo = availability(alerts=(), sli=PromqlSli(error_ratio="ratio", window=200))
    cycle = begin([slo], client=Client(ask, Clock()))
    ticks(cycle, 5)
    sentence = "the promql window is 3m20s, it needs at least 4m, 4 scrapes of 60s"
    assert ("" if unreachable else sentence) == suspicious(cycle)
    assert ["topk(1, count_over_time(ratio[1h]))"] == asked


def test_expressions_are_asked_about_while_others_fail():
    """D21: a datasource that refuses one SLO's expression for good is asked about those of others."""
    asked = []

    def refuse(query):
        asked.extend([query.expression] if "topk" in query.expression else [])
        return QueryRejected("parse error", reason="bad_data") if "bad" in query.expression else None

    server = Server(traffic(Server().db), values={"good": lambda _: 0.0}, trouble=refuse)
    slos = [availability(name, sli=PromqlSli(error_ratio=name, window=200)) for name in ("good", "bad")]
    cycle = begin(slos, server=server)
    ticks(cycle, 5)
    assert {"topk(1, count_over_time(good[1h]))", "topk(1, count_over_time(bad[1h]))"} == set(asked)


def test_how_often_something_is_scraped_is_the_middle_distance():
    """D21: of the fullest series, gaps and jitter left out; no series and a single sample tell nothing."""
    times = [0, 30_010, 59_990, 90_000, 300_000, 330_000]
    answers = {
        "topk(1, count_over_time(x[1h]))": Answer((Series({"job": 'a"'}, [0], [6.0]),)),
        'x{job="a\\""}[1h]': Answer((Series({}, times, [0.0] * 6),)),
        "topk(1, count_over_time(y[1h]))": Answer((Series({}, [0], [1.0]),)),
        "y[1h]": Answer((Series({}, [0], [1.0]),)),
    }

    def interval(*selectors):
        return scrape_interval(map(parse_selector, selectors), lambda text: answers.get(text, Answer(())))

    assert [30.0, None, None, 30.0] == [interval("x"), interval("y"), interval("z"), interval("x", "y")]


def test_what_an_expression_reads():
    """D21: selectors in functions, offsets and subqueries; what names no metric cannot be asked about."""
    sli = PromqlSli(
        bad='sum(rate(x_total{a="b"}[$window] offset 1h)) or max_over_time(y[$window:1m])',
        total='sum(rate({__name__=~"x.*"}[$window])) + sum(increase(x_total{a="b"}[$window]))',
    )
    assert ['x_total{a="b"}', "y"] == [str(one) for one in selectors_of(sli)]


def test_nothing_is_said_where_nobody_knows():
    """D21: without an interval there is no sentence."""
    assert "" == sentences(availability(alerts=(short_pair(1),)), None)
