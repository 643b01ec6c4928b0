"""The plan of one tick: who shares which read, what is asked, and what joined expressions brought."""

from __future__ import annotations

import math
from decimal import Decimal

import promql_parser
import pytest

from slo_budget_tracker.errors import BadAnswer
from slo_budget_tracker.fillforms import fill_expression
from slo_budget_tracker.index import Index, alternation, cover, disjoint, literals, pieces
from slo_budget_tracker.queries import (
    Answer,
    ExpressionBatch,
    Member,
    Plan,
    PlannedRead,
    RawFeed,
    Series,
    Slot,
    bound_spellings,
    plan,
)
from slo_budget_tracker.selectors import Matcher, Selector
from slo_budget_tracker.specs import SLO, LatencySli, PromqlSli, RequestsSli


def sel(metric="http", **labels):
    """A selector; values may begin with an operator."""
    matchers = []
    for label, text in sorted(labels.items()):
        operator = next((o for o in ("=~", "!~", "!=") if text.startswith(o)), None)
        matchers.append(Matcher(label, operator or "=", text[2:] if operator else text))  # type: ignore[arg-type]
    return Selector(metric, tuple(matchers))


def requests(name, total, bad=None, good=None, **more):
    """An SLO that counts requests; by default its bad ones are some that no series of these tests has."""
    if bad is None and good is None:
        first = total[0] if isinstance(total, tuple) else total
        bad = Selector(first.metric, (*first.matchers, Matcher("zone", "=", "none")))
    as_tuple = [
        None if one is None else one if isinstance(one, tuple) else (one,) for one in (total, bad, good)
    ]
    sli = RequestsSli(total=as_tuple[0], bad=as_tuple[1], good=as_tuple[2])
    return SLO(name=name, target=Decimal("0.99"), sli=sli, **more)


def promql(name, **parts):
    """An SLO of free PromQL."""
    return SLO(name=name, target=Decimal("0.99"), sli=PromqlSli(**parts))


def planned(*slos, **replicas):
    """The plan of these SLOs."""
    return plan(slos, replica_labels=replicas)


# --- raw feeds


def test_slos_on_one_metric_share_one_read():
    """Any number of SLOs over one metric is one request, and series are sorted by their labels."""
    a = requests("a", sel(job="a"), bad=sel(job="a", code="=~5.."))
    b = requests("b", sel(job="b"), good=sel(job="b", code="!~5.."))
    (feed,) = planned(b, a).raw
    assert ("default/http", ('http{job=~"a|b"}[60s]',)) == (feed.key, feed.expressions(60))
    assert (Slot("a", "total"), Slot("a", "bad")) == feed.classify({"job": "a", "code": "503"})
    assert (Slot("b", "total"),) == feed.classify({"job": "b", "code": "503"})
    assert (Slot("b", "total"), Slot("b", "good")) == feed.classify({"job": "b", "code": "200"})
    assert () == feed.classify({"job": "c"})


def test_the_order_of_slos_is_of_no_matter():
    """The same SLOs in another order are the same plan."""
    slos = [requests(f"s{n}", sel(job=f"j{n % 3}", code=f"{n}")) for n in range(20)]
    slos += [promql(f"p{n}", bad=f"b{n}", total="t") for n in range(20)]
    assert planned(*slos) == planned(*reversed(slos))


def test_datasources_and_metrics_are_read_apart():
    """One feed per datasource and metric; a replica label is the datasource's."""
    here = requests("a", (sel("x", job="a"), sel("y", job="a")))
    there = requests("b", sel("x", job="a"), datasource="thanos")
    found = [(feed.key, feed.replica_label) for feed in planned(here, there, thanos="replica").raw]
    assert [("default/x", None), ("default/y", None), ("thanos/x", "replica")] == found


def test_a_series_in_two_selectors_of_one_slot_counts_once():
    """Nothing is ever counted twice, though a list of selectors may overlap."""
    (feed,) = planned(requests("a", (sel(job="a"), sel(code="500")))).raw
    assert (Slot("a", "total"),) == feed.classify({"job": "a", "code": "500"})


def test_latency_reads_only_the_buckets_it_needs():
    """D13: a classic histogram: the threshold's bucket in each spelling, and +Inf as the total."""
    sli = LatencySli(histogram=sel("took_seconds", job="a"), threshold=Decimal(1))
    (feed,) = planned(SLO(name="l", target=Decimal("0.99"), sli=sli)).raw
    assert (
        '{__name__=~"took_seconds|took_seconds_bucket",job="a",le=~"|\\\\+Inf|1|1\\\\.0"}[60s]',
    ) == feed.expressions(60)
    found = {le: feed.classify({"job": "a", "le": le}) for le in ("1", "1.0", "+Inf", "0.5")}
    good, total = (Slot("l", "good"),), (Slot("l", "total"),)
    assert {"1": good, "1.0": good, "+Inf": total, "0.5": ()} == found


@pytest.mark.parametrize(
    ("form", "key", "text"),
    [
        (
            "auto",
            "default/histogram:took",
            '{__name__=~"took|took_bucket",job="a",le=~"|\\\\+Inf|0\\\\.25"}[60s]',
        ),
        ("classic", "default/classic:took", 'took_bucket{job="a",le=~"\\\\+Inf|0\\\\.25"}[60s]'),
        ("native", "default/native:took", 'took{job="a"}[60s]'),
    ],
)
def test_each_type_of_histogram_is_one_request(form, key, text):
    """Classic buckets, native histograms or both; native ones are read at the thresholds of all SLOs."""
    sli = LatencySli(histogram=sel("took", job="a"), threshold=Decimal("0.25"), type=form)
    (feed,) = planned(SLO(name="l", target=Decimal("0.99"), sli=sli)).raw
    assert (key, (text,)) == (feed.key, feed.expressions(60))
    assert ((Decimal("0.25"),) if form != "classic" else ()) == feed.queries(60, 1)[0].bounds
    found = feed.classify({"__name__": "took_bucket", "job": "a", "le": "0.25"})
    assert (Slot("l", "good"),) == found
    if form != "classic":
        assert found == feed.classify({"__name__": "took", "job": "a", "le": "0.25@3:0.2..0.3"})


def test_thresholds_of_one_histogram_share_its_samples():
    """Two thresholds of different jobs: no native histogram is selected twice, whatever buckets are wanted."""
    slos = [
        SLO(name=f"l{n}", target=Decimal("0.99"),
            sli=LatencySli(histogram=sel("took", **labels), threshold=Decimal(threshold)))
        for n, (labels, threshold) in enumerate([({"job": "a"}, "0.25"), ({"job": "b"}, "0.5"), ({}, "1")])
    ]  # fmt: skip
    (feed,) = planned(*slos).raw
    assert (
        '{__name__=~"took|took_bucket",le=~"|\\\\+Inf|0\\\\.25|0\\\\.5|1|1\\\\.0"}[60s]',
    ) == feed.expressions(60)
    (apart,) = planned(*slos[:2]).raw
    assert (
        '{__name__=~"took|took_bucket",job=~"a|b",le=~"|\\\\+Inf|0\\\\.25|0\\\\.5"}[60s]',
    ) == apart.expressions(60)


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("0.3", {"0.3"}),
        ("0.30", {"0.3"}),
        ("1", {"1", "1.0"}),
        ("10", {"10", "10.0"}),
        ("2.5", {"2.5"}),
        ("1000000", {"1000000", "1000000.0", "1e+06", "1.0E6"}),
        ("2500000", {"2500000", "2500000.0", "2.5e+06", "2.5E6"}),
        ("0.00001", {"0.00001", "1e-05", "1.0E-5"}),
        ("0.0001", {"0.0001"}),
    ],
)
def test_a_bound_is_known_in_every_spelling(bound, expected):
    """Go writes 1, Python and Prometheus 3 write 1.0; large and small ones have exponents."""
    assert expected == set(bound_spellings(Decimal(bound)))


def test_a_long_selector_is_read_in_pieces():
    """A request stays below 8 KiB of selector, and no series is in two pieces."""
    slos = [requests(f"s{n}", sel(job=f"job-with-a-long-name-{n:04}")) for n in range(1_000)]
    (feed,) = planned(*slos).raw
    texts = feed.expressions(60)
    assert [True] * len(texts) == [len(text) <= 8_192 + 5 for text in texts]
    assert 1_000 == sum(text.count("job-with") for text in texts)
    assert 1 < len(texts) < 6


def test_equal_feeds_have_equal_hashes():
    """Feeds are keys of the evaluator's tables."""
    one, other = (planned(requests("a", sel(job="a"))).raw[0] for _ in range(2))
    assert ({one}, one) == ({other}, other)


# --- selectors: index, cover, pieces


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("=", "a.b", {"a.b"}),
        ("=", "", {""}),
        ("=~", "a|b", {"a", "b"}),
        ("=~", "a\\.b|c\\-d", {"a.b", "c-d"}),
        ("=~", "", {""}),
        ("=~", "a|", {"a", ""}),
        ("=~", "a.b", None),
        ("=~", "a\\d", None),
        ("=~", "(a|b)", None),
        ("=~", "a\\", None),
        ("!=", "a", None),
        ("!~", "a", None),
    ],
)
def test_lists_of_values_are_recognised(operator, value, expected):
    """Only what certainly is a list of plain values is taken as one."""
    found = literals(Matcher("x", operator, value))
    assert expected == (found if found is None else set(found))


def test_an_alternation_accepts_its_values_only():
    """Special characters are quoted."""
    matcher = alternation("x", frozenset(("a.b", "c|d", "e+", "")))
    accepted = [
        value for value in ("a.b", "c|d", "e+", "", "aXb", "c", "ee") if matcher.matches({"x": value})
    ]
    assert ["a.b", "c|d", "e+", ""] == accepted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param([sel(job="a"), sel(job="a")], [sel(job="a")], id="equal ones are one"),
        pytest.param([sel(job="a"), sel(job="a", code="500")], [sel(job="a")], id="a narrower one is in it"),
        pytest.param([sel(), sel(job="a")], [sel()], id="the bare metric has all"),
        pytest.param([sel(job="a"), sel(job="b")], [sel(job="=~a|b")], id="an alternation"),
        pytest.param([sel(job="=~a|b"), sel(job="=~b|c")], [sel(job="=~a|b|c")], id="lists that overlap"),
        pytest.param(
            [sel(job="a", path="/x"), sel(job="b")], [sel(job="a", path="/x"), sel(job="b")], id="parts that differ"
        ),
        pytest.param(
            [sel(job="a", code="=~5.."), sel(job="b", code="=~5..")],
            [sel(job="=~a|b", code="=~5..")],
            id="what all have is kept",
        ),
        pytest.param(
            [sel(code="=~5.."), sel(code="=~4.."), sel(code="302")],
            [sel(code="=~(?:4..)|(?:5..)|302")],
            id="any of the patterns",
        ),
        pytest.param([sel(job="a", code="500"), sel(path="/")], [sel()], id="nothing in common"),
        pytest.param([sel(job="a", code="!=200"), sel(job="a", code="200")], [sel(job="a")], id="opposites"),
        pytest.param(
            [sel(job="a", le="1"), sel(job="b", le="1"), sel(job="c", le="2")],
            [sel(job="=~a|b", le="1"), sel(job="c", le="2")],
            id="parts that agree are joined",
        ),
        pytest.param(
            [sel(job=f"j{n}", path=f"/{n}") for n in range(20)],
            [sel(job="=~" + "|".join(sorted(f"j{n}" for n in range(20))),
                 path="=~" + "|".join(sorted(f"/{n}" for n in range(20))))],
            id="too many parts: a superset",
        ),
    ],
)  # fmt: skip
def test_selectors_are_covered_by_few(given, expected):
    """What is read in one request for many SLOs."""
    assert sorted(expected, key=str) == list(cover(given))


def test_disjoint_is_only_what_is_plain():
    """Overlap is assumed unless lists of values exclude it."""
    assert [True, False, True, False] == [
        disjoint(sel(job="a"), sel(job="b")),
        disjoint(sel(job="a"), sel(code="1")),
        disjoint(sel("x"), sel("y")),
        disjoint(sel(job="=~a|b"), sel(job="=~b.*")),
    ]


def test_a_selector_that_cannot_be_cut_stays_whole():
    """A long regular expression is sent as it is."""
    long = sel(job="=~" + "a.*" * 5_000)
    assert (long,) == pieces(long)


def test_the_index_tries_few_of_many_members():
    """Thousands of members: a series is compared with those of its own label value only."""
    members = [((n, part), sel(job=f"j{n}", **labels)) for n in range(2_000)
               for part, labels in (("total", {}), ("bad", {"code": "=~5.."}))]  # fmt: skip
    index = Index.of([*members, ((-1, "all"), sel(code="=~...")), ((-2, "pattern"), sel(job="=~j1.."))])
    tried = list(index.candidates({"job": "j100", "code": "500"}))
    assert len(tried) <= 4
    found = set(index.find({"job": "j100", "code": "500"}))
    assert {(100, "total"), (100, "bad"), (-1, "all"), (-2, "pattern")} == found


# --- expressions


def batch(*members):
    """A batch of members, each (slo, role, expression[, window])."""
    return ExpressionBatch.of(
        "default",
        [Member(Slot(slo, role), text, *(window or (300,))) for slo, role, text, *window in members],
    )


TWO = batch(("a", "total", "ta"), ("a", "bad", "ba"), ("b", "error_ratio", "rb"))


def reply(*values, **more):
    """An instant vector of (tag, value[, labels])."""
    return Answer(
        tuple(
            Series({"slo": tag, **(labels[0] if labels else {})}, [1], [value])
            for tag, value, *labels in values
        ),
        **more,
    )


def test_members_are_joined_and_scaled_to_the_tick():
    """Counts over the window become counts of the tick; a ratio stays as it is."""
    expected = (
        'label_replace((ba) * 60 / 300, "slo", "a:bad", "", "")'
        ' or label_replace((ta) * 60 / 300, "slo", "a:total", "", "")'
        ' or label_replace((rb), "slo", "b:error_ratio", "", "")'
    )
    query = TWO.query(1_000, 60)
    assert (expected, 1_000) == (query.expression, query.at)
    assert promql_parser.parse(query.expression)


def test_equal_expressions_are_asked_once():
    """SLOs that share a total do not cost it twice; each gets its value."""
    shared = batch(("a", "total", "t"), ("b", "total", "t"), ("c", "total", "t", 600))
    assert 2 == shared.query(0, 60).expression.count("label_replace")
    assert {Slot("a", "total"): 3.0, Slot("b", "total"): 3.0, Slot("c", "total"): None} == shared.read(
        reply(("a:total", 3.0))
    )


@pytest.mark.parametrize(
    ("text", "wrapped"),
    [
        ("1", True),
        ("(1 + 2)", True),
        ("-time()", True),
        ("scalar(x)", True),
        ("scalar(x) * 2", True),
        ("scalar(x) * x", False),
        ("x", False),
        ("vector(1)", False),
        ("sum(x)", False),
        ("1 # one", True),
        ("what is this", False),
        ("(" * 100_000 + "1" + ")" * 100_000, False),
        ("1" + " + 1" * 100_000, False),
    ],
)
def test_scalars_become_vectors(text, wrapped):
    """D13: `scalar(…)` and numbers are accepted; label_replace needs a vector."""
    expression = batch(("a", "error_ratio", text)).query(0, 60).expression
    assert wrapped == expression.startswith("label_replace(vector(")


def test_a_comment_cannot_swallow_what_follows():
    """Expressions end where their own text ends."""
    expression = batch(("a", "total", "x # why"), ("b", "total", "y")).query(0, 60).expression
    assert isinstance(promql_parser.parse(expression), promql_parser.BinaryExpr)


def test_values_are_read_by_slot():
    """None is an answer without this series."""
    found = TWO.read(reply(("a:total", 7.0), ("b:error_ratio", 0.25)))
    assert {Slot("a", "total"): 7.0, Slot("a", "bad"): None, Slot("b", "error_ratio"): 0.25} == found


def test_groups_by_the_label_slo_of_the_series_are_theirs():
    """What tells the members of a query apart is then called otherwise: no group takes its name for its own."""
    sli = PromqlSli(total="sum by (slo) (t)", bad="sum by (slo) (b)")
    one = SLO(name="a", target=Decimal("0.9"), sli=sli, group_by=("slo",))
    (asked,) = plan([one], replica_labels={}).expressions
    assert promql_parser.parse(asked.query(0, 300).expression)
    rows = [({"slo": "x", "__slo__": f"a:{role}"}, value) for role, value in (("total", 9.0), ("bad", 2.0))]
    assert all(f'"__slo__", "{labels["__slo__"]}"' in asked.query(0, 300).expression for labels, _ in rows)
    group = (("group_slo", "x"),)
    assert {Slot("a", "total", group): 9.0, Slot("a", "bad", group): 2.0} == asked.read(
        Answer(tuple(Series(labels, [1], [value]) for labels, value in rows))
    )


@pytest.mark.parametrize(
    ("values", "reason", "message"),
    [
        pytest.param(
            [("a:total", 1.0, {"x": "1"}), ("a:total", 1.0, {"x": '2"\x1b'})],
            "multiple_series",
            'a: total: 2 series where one is expected: {x="1"}; {x="2\\" "}',
            id="D11",
        ),
        pytest.param([("a:total", math.inf)], "non_finite", "a: total: the value is inf", id="D2"),
        pytest.param([("a:total", -1.0)], "negative", "a: total: the value is negative (-1)", id="D5"),
        pytest.param(
            [("a:bad", math.nan), ("a:total", 3.0)], "non_finite", "a: bad: NaN beside traffic", id="D1"
        ),
    ],
)
def test_a_member_that_cannot_be_used_is_its_slos_fault_only(values, reason, message):
    """D2 D5 D11: the SLO is named with the reason and left out; its neighbours are read."""
    answer = reply(*values, ("b:error_ratio", 0.5))
    faults = TWO.faults(answer)
    assert {"a": (reason, message)} == {slo: (fault.reason, str(fault)) for slo, fault in faults.items()}
    assert {Slot("b", "error_ratio"): 0.5} == TWO.read(answer)


def test_no_more_than_three_label_sets_are_named():
    """D11: a million series do not make a message of a million label sets."""
    answer = reply(*(("a:total", 1.0, {"x": str(n)}) for n in range(10)))
    assert str(TWO.faults(answer)["a"]).endswith('10 series where one is expected: {x="0"}; {x="1"}; {x="2"}')


def test_nan_is_no_traffic():
    """D1: counts of 0/0 are 0; a ratio of 0/0 stays NaN, for which there is no number."""
    found = TWO.read(reply(("a:total", math.nan), ("a:bad", math.nan), ("b:error_ratio", math.nan)))
    assert (0.0, 0.0, True) == (
        found[Slot("a", "total")],
        found[Slot("a", "bad")],
        math.isnan(found[Slot("b", "error_ratio")]),
    )


def test_a_member_with_many_samples_is_a_fault():
    """D13: one value at one instant."""
    series = Series({"slo": "a:total"}, [1, 2], [1.0, 2.0])
    assert "result_type" == TWO.faults(Answer((series,)))["a"].reason
    assert isinstance(TWO.faults(Answer((series,)))["a"], BadAnswer)


def test_a_batch_is_split_by_slos_then_by_members():
    """P11 P12: a poisoned member is found by halving."""
    left, right = TWO.split()
    assert (TWO.members[:2], TWO.members[2:]) == (left.members, right.members)
    total, bad = left.split()
    assert (TWO.members[:1], TWO.members[1:2]) == (total.members, bad.members)
    assert 5 == len({one.key for one in (TWO, left, right, total, bad)})


def test_batches_are_small_and_hold_whole_slos():
    """Ten SLOs a query: the server's cost per expression grows with the size of a query."""
    found = planned(*(promql(f"p{n:02}", bad=f"b{n}", total=f"t{n}") for n in range(25))).expressions
    assert [20, 20, 10] == [len(one.members) for one in found]


def test_the_plan_describes_itself():
    """`plan` shows each query and the SLOs that share it."""
    found = planned(
        requests("a", sel(job="a")),
        requests("b", sel(job="a"), bad=sel(job="a", code="500")),
        promql("c", error_ratio="r[$window]", window=600),
    ).describe(60)
    digest = found[1].key
    assert (
        PlannedRead("default/http", "default", ('http{job="a"}[60s]',), ("a", "b")),
        PlannedRead(digest, "default", ('label_replace((r[10m]), "slo", "c:error_ratio", "", "")',), ("c",)),
    ) == found


def test_an_empty_plan_asks_nothing():
    """No SLOs, no requests."""
    assert Plan() == planned()


# --- first fill


def test_the_fill_expression_is_promql():
    """The stateless form parses, with and without replicas, and for several selectors."""
    (feed,) = planned(requests("a", (sel(job="a"), sel(job="b", code="1"))), default="replica").raw
    plain = RawFeed(feed.key, feed.datasource, feed.metric, feed.members, feed.selectors)
    texts = [fill_expression(one, Slot("a", "total"), 300) for one in (feed, plain)]
    assert [True, False] == ["max without (replica)" in text for text in texts]
    assert [promql_parser.AggregateExpr] * 2 == [type(promql_parser.parse(text)) for text in texts]
