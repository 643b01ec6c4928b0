"""Native histogram samples: counts at a bound, exact at a border of buckets and divided inside one."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest

from slo_budget_tracker.answers import Query, RangeQuery
from slo_budget_tracker.decoding import decode
from slo_budget_tracker.errors import BadAnswer
from slo_budget_tracker.histograms import (
    ALL,
    Bound,
    Sample,
    cumulative,
    identities,
    identity,
    is_border,
    plain,
)

AT = 1_790_000_000


def sample(*buckets, whole=None):
    """A sample of (lower border, upper border, count) triples."""
    counts = [count for *_, count in buckets]
    lows, highs = [low for low, *_ in buckets], [high for _, high, _ in buckets]
    return Sample(float(sum(counts) if whole is None else whole), lows, highs, counts)


def exponential(schema, counts, *, zero=None):
    """A sample of exponential buckets by index, and of observations around zero."""
    around = [] if zero is None else [(-0.001, 0.001, zero)]
    width = 2.0**-schema
    return sample(
        *around, *((2 ** ((i - 1) * width), 2 ** (i * width), n) for i, n in sorted(counts.items()))
    )


def at(bound, *samples):
    """What of some samples is at or under a bound, by its name."""
    found = {one.name: one.counts for one in cumulative(samples, [Decimal(bound)])}
    found.pop(ALL)
    return found


@pytest.mark.parametrize(
    ("bound", "one", "expected"),
    [
        pytest.param("1", exponential(3, {-3: 5, 0: 7, 1: 11}), {"1": [12]}, id="a border"),
        pytest.param("0.25", exponential(0, {-2: 5, -1: 7}), {"0.25": [5]}, id="a border of whole powers"),
        pytest.param("4", exponential(-1, {1: 3, 2: 5}), {"4": [3]}, id="a border of powers of four"),
        pytest.param("2", exponential(-1, {0: 3, 1: 8}), {"2@-1:1..4": [7]}, id="inside, half way of the logarithm"),
        pytest.param("1", exponential(3, {5: 2}, zero=9), {"1": [9]}, id="all at zero are under it"),
        pytest.param("1", exponential(3, {}, zero=9), {"1": [9]}, id="nothing but at zero"),
        pytest.param("1", sample(), {"1": [0]}, id="nothing at all"),
        pytest.param("1", exponential(3, {0: 4}, zero=0)._replace(whole=6.0), {"1": [4]}, id="NaN is in no bucket"),
        pytest.param("0.3", exponential(3, {1: 4}), {"0.3@3:0.2973..0.3242": [0]}, id="an empty bucket is no border"),
        pytest.param("1", sample((-4.0, -2.0, 3), (-0.1, 0.1, 2), (0.5, 1.0, 1)), {"1": [6]}, id="below zero"),
        pytest.param("0.05", sample((-0.1, 0.1, 8), (0.5, 1.0, 1)), {"0.05@zero:-0.1..0.1": [4]}, id="inside zero's"),
        pytest.param("0.05", sample((-4.0, -2.0, 1), (-0.1, 0.1, 8)), {"0.05@zero:-0.1..0.1": [7]}, id="of both signs"),
        pytest.param("1", sample((-0.1, 0.1, 1), (0.1, 0.5, 4), (0.5, 1.0, 2)), {"1": [7]}, id="cut short by zero's"),
        pytest.param("0.3", sample((-math.inf, 0.1, 2), (0.1, 0.3, 3), (0.3, 0.7, 4)), {"0.3": [5]}, id="custom, a border"),
        pytest.param("0.4", sample((0.1, 0.3, 3), (0.3, 0.7, 4)), {"0.4@custom:0.3..0.7": [4]}, id="custom, inside"),
        pytest.param("0.05", sample((-math.inf, 0.1, 2)), {"0.05@custom:-inf..0.1": [1]}, id="custom, the first"),
        pytest.param("9", sample((0.1, 0.3, 3), (2.0, math.inf, 4)), {"9@custom:2..inf": [3]}, id="custom, the last"),
        pytest.param("1", exponential(0, {0: 1})._replace(whole=1.5), {"1": [1]}, id="a mean of histograms"),
    ],
)  # fmt: skip
def test_what_is_at_or_under_a_bound(bound, one, expected):
    """D13: whole observations, and the name of a bound that is no border says so."""
    assert expected == at(bound, one)


def test_names_tell_the_bucket():
    """A threshold inside a bucket is known with the borders and the schema; what is compared is without them."""
    (name,) = at("0.3", exponential(3, {-13: 4}))
    assert ("0.3@3:0.2973..0.3242", "0.3@3", "0.3") == (name, identity(name), plain(name))
    assert Bound("0.3", "3", 0.2973, 0.3242) == Bound.of(name)
    assert {identity("1.0"), identity("1"), identity("1e0")} == {"1"}
    assert {identity("+Inf"), identity("Inf")} == {ALL}
    assert "odd" == identity("odd")
    assert {"0.3", "0.3@3", "0.3@-4", "0.3@custom"} <= set(identities("0.3"))


def test_merged_buckets_are_another_series():
    """D8: the resolution changes, and changes back: three series, none of which goes on after another."""
    fine, coarse = exponential(3, {-13: 4}), exponential(2, {-6: 9})
    _, *found = cumulative([fine, fine, coarse, fine], [Decimal("0.3")])
    assert [("0.3@3", [0, 1]), ("0.3@2", [2]), ("0.3@3", [3])] == [
        (identity(one.name), one.places) for one in found
    ]


def test_what_was_taken_into_the_bucket_around_zero_is_another_series():
    """D8: the bucket around zero grows over the threshold: no count goes on after another."""
    before, after = exponential(3, {-35: 4}), sample((-0.1, 0.1, 4), (0.5, 1.0, 1))
    _, *found = cumulative([before, after], [Decimal("0.05")])
    assert [("0.05@3", [0]), ("0.05@zero", [1])] == [(identity(one.name), one.places) for one in found]


@pytest.mark.parametrize(
    ("bound", "expected"), [("0.25", True), ("1", True), ("0.3", False), ("0.75", False)]
)
def test_powers_of_two_are_borders(bound, expected):
    """Whatever the schema: 250 ms and 500 ms are borders, 300 ms never is."""
    assert expected is is_border(Decimal(bound))


def body(*items, kind="matrix"):
    """An answer."""
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": list(items)}}).encode()


def native(count, *buckets, labels=None):
    """A series with one sample of a native histogram."""
    one = {"count": count, "sum": "1", **({"buckets": list(buckets)} if buckets else {})}
    return {"metric": {"__name__": "took", **(labels or {})}, "histograms": [[AT - 5, one]]}


QUARTER = Query("took[60s]", AT, (Decimal("0.25"),))


def test_a_native_histogram_is_as_many_series_as_bounds_and_one():
    """D13: all observations, and those at each bound; numbers beside them stay as they are."""
    number = {"metric": {"__name__": "took_bucket", "le": "0.25"}, "values": [[AT - 5, "7"]]}
    answer = decode(body(native("9", [3, "-0.1", "0.1", "4"], [0, "0.5", "1", "5"]), native("0", labels={"h": "b"}),
                         number), QUARTER)  # fmt: skip
    found = [(one.labels.get("h"), one.labels["le"], one.times, one.values) for one in answer.series]
    stamp = [(AT - 5) * 1_000]
    assert [
        (None, "+Inf", stamp, [9.0]), (None, "0.25", stamp, [4.0]),
        ("b", "+Inf", stamp, [0.0]), ("b", "0.25", stamp, [0.0]), (None, "0.25", stamp, [7.0]),
    ] == [(h, plain(le), times, values) for h, le, times, values in found]  # fmt: skip


def test_an_instant_has_one_sample():
    """The newest histogram of a series, as a vector has it."""
    item = {"metric": {"__name__": "took"}, "histogram": [AT, {"count": "3", "sum": "1", "buckets": []}]}
    answer = decode(body(item, kind="vector"), QUARTER)
    assert [("+Inf", [3.0]), ("0.25", [0.0])] == [(one.labels["le"], one.values) for one in answer.series]


@pytest.mark.parametrize(
    ("item", "question", "reason"),
    [
        (native("1"), Query("took[60s]", AT), "result_type"),
        (native("1"), RangeQuery("took", AT - 60, AT, 60), "result_type"),
        (native("1_0"), QUARTER, "bad_value"),
        (native("-1"), QUARTER, "bad_json"),
        (native("NaN"), QUARTER, "bad_json"),
        (native("+Inf"), QUARTER, "bad_json"),
        (native("1", [0, "0.5", "1", "-1"]), QUARTER, "bad_json"),
        (native("1", [0, "1", "0.5", "1"]), QUARTER, "bad_json"),
        (native("2", [0, "0.5", "1", "1"], [0, "0.1", "0.2", "1"]), QUARTER, "bad_json"),
        (native("1", [0, "0.5", "1"]), QUARTER, "bad_json"),
        (native("1", [0, "0.5", "1", 1]), QUARTER, "bad_json"),
        ({"metric": {}, "histograms": [[AT - 5, "x"]]}, QUARTER, "bad_json"),
        ({"metric": {}, "histograms": [[AT + 5, {"count": "1"}]]}, QUARTER, "stale_sample"),
        (
            {"metric": {}, "histograms": [[AT, {"count": "1"}], [AT - 9, {"count": "1"}]]},
            QUARTER,
            "bad_value",
        ),
    ],
)
def test_what_is_no_histogram_is_refused(item, question, reason):
    """D2 D3 D5 D13: a wrong number is worse than none."""
    with pytest.raises(BadAnswer) as caught:
        decode(body(item), question)
    assert reason == caught.value.reason


def test_a_series_twice_is_refused():
    """D12: once with numbers, once with histograms."""
    number = {"metric": {"__name__": "took"}, "values": [[AT - 5, "7"]]}
    with pytest.raises(BadAnswer) as caught:
        decode(body(native("1"), number), QUARTER)
    assert "duplicate_series" == caught.value.reason


def test_a_key_twice_is_refused():
    """P9: inside a histogram too."""
    text = body(native("1")).replace(b'"count": "1"', b'"count": "1", "count": "2"')
    with pytest.raises(BadAnswer) as caught:
        decode(text, QUARTER)
    assert "bad_json" == caught.value.reason
