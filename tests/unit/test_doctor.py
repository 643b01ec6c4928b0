"""The doctor: what Prometheus says about an SLO before it is relied on."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.doctor import Doctor
from slo_budget_tracker.errors import QueryRejected, Unreachable
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import Member
from slo_budget_tracker.specs import CompositeSli, ConditionSli, LatencySli, ProbeSli, PromqlSli
from tests.unit.serving import PAGE, availability

AT = 1_000_000
BUCKETS = LatencySli(histogram=parse_selector('seconds{job="a"}'), threshold=Decimal("0.3"))


def vector(*values, **labels):
    """An instant vector."""
    return Answer(tuple(Series(labels, [AT * 1000], [float(value)]) for value in values))


def spaced(seconds):
    """Raw samples of an hour, so many seconds apart."""
    times = list(range((AT - 3_600) * 1000, AT * 1000, seconds * 1000))
    return Answer((Series({"job": "a"}, times, [0.0] * len(times)),))


def examine(slo, answers, *, clock=lambda: 0.0):
    """The findings, where a query that contains a text has an answer; the first text that fits."""

    def ask(query):
        for text, answer in answers.items():
            if text in query.expression:
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return Answer(())

    return {(one.level, one.check): one.sentence for one in Doctor(ask, AT, 60, clock).examine(slo)}


def healthy(**changes):
    """A service with 1000 requests an hour, ten of which failed in a day."""
    given = {
        "offset": vector(4),
        "resets": vector(0),
        "count_over_time": vector(480),
        'increase(http_requests_total{code=~"5.."}': vector(10),
        "increase(http_requests_total[": vector(24_000),
        "last_over_time": vector(2),
        "count(http_requests_total)": vector(8),
    }
    return {**{key: value for key, value in changes.items() if key not in given}, **given, **changes}


def test_a_healthy_slo_has_notes_only():
    """Series and samples it reads; nothing is wrong."""
    found = examine(availability(), healthy())
    assert {("note", "series"): "8 series, 8 samples a minute"} == found


@pytest.mark.parametrize(
    ("changes", "key", "sentence"),
    [
        pytest.param(
            {"count(http_requests_total)": vector()},
            ("error", "series"),
            "no series of http_requests_total",
            id="no series",
        ),
        pytest.param(
            {"offset": vector()},
            ("warning", "history"),
            "what it counts reaches back about 1h, not 1d: until then its coverage is below 1",
            id="no history",
        ),
        pytest.param(
            {"resets": vector(60)},
            ("error", "counter"),
            "it fell 60 times in an hour: no counter does",
            id="a gauge",
        ),
        pytest.param(
            {"last_over_time": vector()},
            ("warning", "bad"),
            "no series of `bad` was seen in a day: is the selector right?",
            id="errors never seen",
        ),
        pytest.param(
            {'increase(http_requests_total{code=~"5.."}': vector(30_000)},
            ("error", "ratio"),
            "`bad` grew by 30000 in a day, `total` by 24000 only",
            id="a part is more than the whole",
        ),
        pytest.param(
            {'increase(http_requests_total{code=~"5.."}': vector(24_000)},
            ("error", "ratio"),
            "all of 24000 events of a day were bad",
            id="all are bad",
        ),
        pytest.param(
            {'increase(http_requests_total{code=~"5.."}': vector(0)},
            ("note", "ratio"),
            "none of 24000 events of a day was bad",
            id="none is bad",
        ),
        pytest.param(
            {"increase(http_requests_total[": vector(120)},
            ("warning", "alerts"),
            "below 7 requests an hour one failure pages (1h&5m), it has 5.0; see low_traffic",
            id="one failure pages",
        ),
        pytest.param(
            {
                "increase(http_requests_total[": vector(0),
                'increase(http_requests_total{code=~"5.."}': vector(0),
            },
            ("warning", "traffic"),
            "no events in a day: no alert can fire",
            id="no traffic",
        ),
        pytest.param(
            {"count(http_requests_total)": vector(30_000)},
            ("warning", "series"),
            "30000 series are much to read in every tick",
            id="many series",
        ),
        pytest.param(
            {"topk": vector(13, job="a"), 'http_requests_total{job="a"}[1h]': spaced(300)},
            ("error", "window"),
            "the alert window is 5m, it needs at least 10m, 2 scrapes of 300s",
            id="D21: an alert window of one scrape",
        ),
        pytest.param(
            {"resets": QueryRejected("bad data: oh", reason="bad_data")},
            ("error", "query"),
            "Prometheus refuses what it asks: bad data: oh",
            id="a refused query",
        ),
    ],
)
def test_what_is_wrong_is_told(changes, key, sentence):
    """Issue: series, history, counters, ratios, alerts that one failure fires, errors never seen."""
    assert sentence == examine(availability(), healthy(**changes))[key]


def test_the_workbooks_page_at_99_9_percent_needs_69_requests_an_hour():
    """1 / (14.4 x 0.001): below that one failure in an hour is beyond the factor."""
    few = healthy(**{"increase(http_requests_total[": vector(69 * 24)})
    slo = availability(target=Decimal("0.999"))
    assert examine(slo, few)["warning", "alerts"].startswith("below 69 requests an hour one failure pages")
    guarded = slo.model_copy(
        update={"alerts": tuple(a.model_copy(update={"minimum_bad": 2}) for a in slo.alerts)}
    )
    assert ("warning", "alerts") not in examine(guarded, few)


def test_thresholds_are_buckets():
    """The error names the nearest bounds."""
    by_le = Answer(tuple(Series({"le": le}, [0], [1.0]) for le in ("0.1", "0.25", "0.5", "1", "+Inf")))
    slo = availability(sli=BUCKETS)
    assert (
        "no bucket at 0.3s, the nearest are 0.25s and 0.5s"
        == examine(slo, {"by (le)": by_le})["error", "bucket"]
    )
    assert 'no buckets of seconds{job="a"}, classic or native' == examine(slo, {})["error", "bucket"]


@pytest.mark.parametrize(
    ("sli", "answers", "key", "sentence"),
    [
        (
            PromqlSli(error_ratio="x"),
            {"x": vector(0.25, slo="shop:error_ratio")},
            ("note", "weight"),
            "an error ratio weighs every tick alike, busy or not (unweighted)",
        ),
        (
            PromqlSli(good="g", total="t"),
            {
                "label_replace": Answer(
                    tuple(
                        Series({"slo": f"shop:{role}"}, [AT * 1000], [value])
                        for role, value in (("good", 12.0), ("total", 10.0))
                    )
                )
            },
            ("error", "ratio"),
            "`good` is 12 in a tick, `total` is 10",
        ),
        (
            PromqlSli(error_ratio="up", window=60),
            {
                "topk": vector(120, job="a"),
                '{job="a"}': spaced(30),
                "label_replace": vector(0.25, slo="shop:error_ratio"),
            },
            ("error", "window"),
            "the promql window is 1m, it needs at least 2m, 4 scrapes of 30s",
        ),
        (
            ConditionSli(expr="age", op="<", limit=Decimal(5)),
            {},
            ("error", "query"),
            "it answers, with no series at all",
        ),
        (
            ConditionSli(expr="age", op="<", limit=Decimal(5)),
            {"age": vector(4, slo="shop:condition")},
            ("note", "query"),
            "it answers: condition 1 in a tick",
        ),
        (
            ProbeSli(up=(parse_selector("up"),)),
            {"sum_over_time": vector(0), "count_over_time": vector(96), "": vector(4)},
            ("error", "ratio"),
            "all of 96 events of a day were bad",
        ),
        (
            CompositeSli(members=(Member(slo="a"),)),
            {},
            ("note", "query"),
            "it asks nothing: its members are read",
        ),
    ],
)
def test_other_kinds(sli, answers, key, sentence):
    """D4, D21: expressions are run once, parts compared, windows with scrapes; probes are looked at by their samples; composites ask nothing."""
    assert sentence == examine(availability(sli=sli), answers)[key]


ROWS = PromqlSli(total="sum by (h) (x)", bad="sum by (h) (y)", window=60)


def rows(**values):
    """An answer with a total and bad requests of two groups."""
    found = [
        Series({"slo": f"shop:{role}", "h": h}, [AT * 1000], [value])
        for role, of_role in values.items()
        for h, value in zip("ab", of_role, strict=False)
    ]
    return Answer(tuple(found))


@pytest.mark.parametrize(
    ("options", "answers", "key", "sentence"),
    [
        ({}, {}, ("note", "query"), "it answers: total 12, bad 3 in a tick, of 2 groups together"),
        ({}, {}, ("note", "groups"), "2 groups, max_groups is 100"),
        ({"max_groups": 1}, {}, ("error", "groups"), "2 groups, max_groups is 1"),
        ({}, {"part": vector(120)}, ("note", "series"), "120 series, 2 samples a minute"),
        ({}, {"part": vector(30_000)}, ("warning", "series"), "30000 series are much to read in every tick"),
        (
            {},
            {"label_replace": rows(total=(1, 2), bad=(3, 4))},
            ("error", "ratio"),
            "`bad` is 7 in a tick, `total` is 3",
        ),
        (
            {},
            {"label_replace": rows(total=(1, -2))},
            ("error", "query"),
            'shop{"h": "b"}: total: the value is negative (-2)',
        ),
        (
            {},
            {"avg_over_time((sum by (h) (x))": vector(0.05)},
            ("warning", "alerts"),
            "below 7 requests an hour one failure pages (1h&5m), it has 3.0; see low_traffic",
        ),
        (
            {},
            {"avg_over_time((sum by (h) (y))": vector(10)},
            ("error", "ratio"),
            "all of 14400 events of a day were bad",
        ),
        (
            {"alerts": (PAGE.model_copy(update={"minimum_bad": 1_000}),)},
            {},
            ("warning", "alerts"),
            "the page 1h&5m asks for 1000 bad requests in 1h, it has 600.0 at all: it cannot fire",
        ),
        (
            {},
            {"retention_limit": vector(43_200)},
            ("note", "retention"),
            "Prometheus keeps 12h, less than 1d; the ledger keeps what was counted",
        ),
    ],
)
def test_expressions_are_examined_too(options, answers, key, sentence):
    """Groups, series, parts and whole, history and alerts of free PromQL."""
    slo = availability(**{"sli": ROWS, "group_by": ("h",), **options})
    whole = {
        **answers,
        "retention_limit": answers.get("retention_limit", vector()),
        "part": answers.get("part", vector(8)),
        "label_replace": answers.get("label_replace", rows(total=(10, 2), bad=(1, 2))),
        "avg_over_time((sum by (h) (x))": answers.get("avg_over_time((sum by (h) (x))", vector(10)),
        "avg_over_time((sum by (h) (y))": answers.get("avg_over_time((sum by (h) (y))", vector(1)),
    }
    assert sentence == examine(slo, whole)[key]


def test_expressions_without_a_past_and_with_gaps():
    """History is what the expressions had a window ago; gaps of recorded series are told (D24)."""
    sli = ConditionSli(expr="job:load:ratio", op="<", limit=Decimal(1))
    now = Answer((*vector(0.5, slo="shop:condition").series, *vector(0.4, slo="shop:recorded").series))
    asked = []

    def ask(query):
        asked.append(query)
        return now if "label_replace" in query.expression and query.at == AT else Answer(())

    found = {
        (one.level, one.check): one.sentence
        for one in Doctor(ask, AT, 60, lambda: 0.0).examine(availability(sli=sli))
    }
    assert (
        "its recorded series have 40% of their usual samples: such ticks are unknown"
        == (found["warning", "recorded"])
    )
    assert (
        "what it counts reaches back about 1h, not 1d: until then its coverage is below 1"
        == (found["warning", "history"])
    )


def test_a_scalar_is_examined_as_a_vector():
    """PromQL has no ranges of scalars."""
    asked = []
    sli = PromqlSli(total="scalar(sum(x))", bad="sum(y)", window=60)

    def ask(query):
        asked.append(query.expression)
        return rows(total=(5,), bad=(1,)) if "slo" in query.expression else vector(3)

    Doctor(ask, AT, 60, lambda: 0.0).examine(availability(sli=sli))
    assert "sum(avg_over_time((vector(scalar(sum(x))))[1d:1h]))" in asked


def test_groups_and_slow_answers():
    """More groups than allowed are an error; an answer of seconds is told."""
    instants = iter(range(0, 1_000, 3))
    slo = availability(group_by=("handler",), max_groups=3)
    found = examine(
        slo, {"count(sum by (handler)": vector(12), **healthy()}, clock=lambda: float(next(instants))
    )
    assert "12 groups, max_groups is 3" == found["error", "groups"]
    assert "an answer took 3.0 s" == found["warning", "speed"]


def test_nobody_there_is_not_the_slos_fault():
    """The command ends with status 3."""
    with pytest.raises(Unreachable):
        examine(availability(), {"": Unreachable("no connection", reason="refused")})
