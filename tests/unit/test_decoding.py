"""From bytes to numbers: what is accepted, and the reason for what is not (rows P9, P10, P17, P18, D1 to D3, D12 to D15)."""

from __future__ import annotations

import json
import math

import pytest

from slo_budget_tracker.answers import printable
from slo_budget_tracker.decoding import decode
from slo_budget_tracker.errors import BadAnswer, PrometheusError
from slo_budget_tracker.queries import Answer, Query, RangeQuery, Series

AT = 1_700_000_000
INSTANT = Query("up", AT)
RANGE = RangeQuery("up", AT - 120, AT, 60)


def vector(*values, at=AT, **more):
    """An instant vector with these values, told apart by a label."""
    result = [{"metric": {"n": str(n)}, "value": [at, value]} for n, value in enumerate(values)]
    return document("vector", result, **more)


def matrix(*series, **more):
    """A matrix of series, each pairs of time and value."""
    result = [{"metric": {"n": str(n)}, "values": values} for n, values in enumerate(series)]
    return document("matrix", result, **more)


def document(kind, result, **more):
    """A successful answer."""
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def read(body, question=INSTANT):
    """Decode what JSON or bytes say."""
    return decode(body if isinstance(body, bytes) else json.dumps(body).encode(), question)


def refused(body, question=INSTANT):
    """The reason why a body cannot be used."""
    with pytest.raises(PrometheusError) as caught:
        read(body, question)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    return caught.value.reason


def test_raw_samples_become_series():
    """Times become milliseconds, values floats; label order is kept as it came."""
    body = document(
        "matrix",
        [{"metric": {"job": "a", "__name__": "x"}, "values": [[AT - 30.123, "1"], [AT - 0.001, "2.5"]]}],
    )
    expected = Answer(
        (Series({"job": "a", "__name__": "x"}, [(AT - 30) * 1_000 - 123, AT * 1_000 - 1], [1.0, 2.5]),)
    )
    assert expected == read(body)


def test_a_scalar_is_one_series_without_labels():
    """D13: scalars are accepted where vectors are."""
    assert Answer((Series({}, [AT * 1_000], [3.0]),)) == read(document("scalar", [AT, "3"]))


def test_an_empty_result_is_no_series():
    """P19: an answer without series."""
    assert Answer(()) == read(vector())


BROKEN = {
    "100,000 objects deep": b'{"a":' * 100_000,
    "100,000 lists deep": b'{"a":' + b"[" * 100_000,
    "5,000-digit integer": b'{"status":"success","data":{"resultType":"scalar","result":[' + b"1" * 5_000 + b',"1"]}}',
    "NaN literal": b'{"status":"success","data":{"resultType":"scalar","result":[NaN,"1"]}}',
    "Infinity literal": b'{"status":"success","data":{"resultType":"scalar","result":[Infinity,"1"]}}',
    "1e999 as a time": b'{"status":"success","data":{"resultType":"scalar","result":[1e999,"1"]}}',
    "lone surrogate": b'{"status":"\\ud800"}',
    "not UTF-8": b'{"status":"\xff"}',
    "text after the end": json.dumps(vector()).encode() + b"x",
    "a prefix": json.dumps(vector("1")).encode()[:-5],
    "key twice": json.dumps(vector()).encode().replace(b'{"status": "success"', b'{"status": "success", "status": "success"'),
    "label twice": b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1","a":"2"},"value":[1700000000,"1"]}]}}',
    "key twice, a space after one": b'{"status":"success","status" :"success","data":{"resultType":"vector","result":[]}}',
    "key twice, in a foreign field": b'{"status":"success","data":{"resultType":"vector","result":[]},"stats":{"a":1,"a":2}}',
    "no data": {"status": "success"},
    "data is a list": {"status": "success", "data": []},
    "no status": {"data": {"resultType": "vector", "result": []}},
    "no result": {"status": "success", "data": {"resultType": "vector"}},
    "result is an object": document("vector", {}) | {"data": {"resultType": "vector", "result": {"a": 1}}},
    "result is null": document("matrix", None),
    "series without value": document("vector", [{"metric": {}}]),
    "series without labels": document("vector", [{"value": [AT, "1"]}]),
    "labels are a list": document("vector", [{"metric": ["a"], "value": [AT, "1"]}]),
    "a label is a number": document("vector", [{"metric": {"a": 1}, "value": [AT, "1"]}]),
    "a value is a number": vector(1),
    "a value is null": vector(None),
    "a value alone": document("vector", [{"metric": {}, "value": "1"}]),
    "three in a pair": document("vector", [{"metric": {}, "value": [AT, "1", "2"]}]),
    "a time is text": vector("1", at=str(AT)),
    "a time is true": vector("1", at=True),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_json_is_bad_json(case):
    """P9: each is one error with its reason, never a traceback and never a value."""
    assert "bad_json" == refused(BROKEN[case])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"\xef\xbb\xbf" + json.dumps(vector()).encode(),
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_object_is_not_json(body):
    """P8 P9: pages, nothing, other JSON, a byte order mark."""
    assert "not_json" == refused(body)


def test_the_first_characters_of_a_page_are_shown():
    """P8: 80 printable characters and not more."""
    with pytest.raises(BadAnswer) as caught:
        read(b"<html>\x1b[31m" + b"x" * 500)
    assert "the answer is not JSON of Prometheus' API: <html> [31m" + "x" * 69 + "…" == str(caught.value)


@pytest.mark.parametrize(
    "text",
    ['{"a" : 1}', '\\":', '" :', 'x": y', "\\", '\\\\":', "\n", '"\t'],
)
def test_odd_label_values_are_not_mistaken_for_keys(text):
    """P9: the count of keys is a proof only; doubt is settled by a slower decoder."""
    body = document("vector", [{"metric": {"a": text, text: "b"}, "value": [AT, "1"]}])
    assert {"a": text, text: "b"} == read(body).series[0].labels


def test_pretty_printed_json_is_read():
    """P9: white space between tokens is allowed."""
    body = json.dumps(vector("1"), indent=2, separators=(" , ", " : ")).encode()
    assert [1.0] == read(body).series[0].values


NUMBERS = {
    "0": 0.0,
    "-0": -0.0,
    "1": 1.0,
    "1.5": 1.5,
    "+2": 2.0,
    ".5": 0.5,
    "5.": 5.0,
    "1e3": 1e3,
    "1E-3": 1e-3,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_numbers_of_prometheus_are_read(text):
    """D3: the grammar of Prometheus."""
    assert [NUMBERS[text]] == read(vector(text)).series[0].values


@pytest.mark.parametrize(
    "text",
    ["", " 1 ", "1\n", "1_000", "١٢", "infinity", "nan", "NAN", "inf", "-nan", "0x10", "1,5", "1e", "e5", "--1", ".", "1 2", "True", "\uff11"],
)  # fmt: skip
def test_numbers_that_only_python_reads_are_refused(text):
    """D3: what `float()` would take, and what nobody would."""
    assert "bad_value" == refused(vector("1", text))


@pytest.mark.parametrize("text", ["+Inf", "-Inf", "Inf", "1e400", "-1e400"])
def test_an_infinite_counter_is_judged_by_its_slos(text):
    """D2: infinity cannot be counted, however it is written; the series beside it can."""
    first, second = read(matrix([[AT - 30, "1"], [AT, text]], [[AT, "4"]])).series
    assert ([1.0, float(text)], [4.0]) == (first.values, second.values)


@pytest.mark.parametrize(("text", "expected"), [("+Inf", math.inf), ("-Inf", -math.inf), ("1e400", math.inf)])
def test_an_infinite_expression_is_judged_by_its_slo(text, expected):
    """D2: in a joined query infinity is one member's fault, so it is passed on."""
    assert [1.0, expected] == [series.values[0] for series in read(vector("1", text)).series]


def test_nan_is_dropped_from_raw_samples():
    """D1: a raw NaN is no observation; the samples around it stay."""
    body = matrix([[AT - 60, "1"], [AT - 30, "NaN"], [AT, "3"]], [[AT, "4"]])
    first, second = read(body).series
    assert ([(AT - 60) * 1_000, AT * 1_000], [1.0, 3.0], [4.0]) == (first.times, first.values, second.values)


def test_nan_of_expressions_is_kept():
    """D1: 0/0 says that there was no traffic, which is not the same as no answer."""
    instant = read(vector("NaN")).series[0].values
    ranged = read(matrix([[AT - 60, "NaN"], [AT, "1"]]), RANGE).series[0].values
    assert [True, True, False] == [math.isnan(value) for value in instant + ranged]


@pytest.mark.parametrize(
    ("body", "question"),
    [
        pytest.param(document("string", [AT, "x"]), INSTANT, id="string"),
        pytest.param(document("streams", []), INSTANT, id="another API"),
        pytest.param(vector("1"), RANGE, id="a vector for a range query"),
        pytest.param(document("scalar", [AT, "1"]), RANGE, id="a scalar for a range query"),
        pytest.param(
            document("vector", [{"metric": {}, "histogram": [AT, {"count": "1"}]}]), INSTANT, id="native"
        ),
        pytest.param(
            document("matrix", [{"metric": {}, "values": [[AT, "1"]], "histograms": []}]), INSTANT, id="mixed"
        ),
        pytest.param(document({"a": 1}, []), INSTANT, id="a type that is no text"),
    ],
)
def test_other_types_of_result_are_refused(body, question):
    """D13: only what can be counted."""
    assert "result_type" == refused(body, question)


@pytest.mark.parametrize("shift", [-300, -2, 2, 300])
def test_an_instant_of_another_time_is_refused(shift):
    """D14: a value that is older or younger than asked for is not the value asked for."""
    assert "stale_sample" == refused(vector("1", at=AT + shift))


@pytest.mark.parametrize("shift", [-1, -0.4, 0.4, 1])
def test_a_second_off_is_tolerated(shift):
    """D14: rounding of a proxy."""
    assert [1.0] == read(vector("1", at=AT + shift)).series[0].values


def test_raw_samples_of_the_future_are_refused():
    """D14: nothing after the asked instant may be counted in its tick."""
    assert "stale_sample" == refused(matrix([[AT, "1"], [AT + 30, "2"]]))


@pytest.mark.parametrize("at", [AT - 200, AT + 60])
def test_a_range_answer_keeps_to_its_range(at):
    """D14: points outside of start and end."""
    assert "stale_sample" == refused(matrix([[at, "1"]]), RANGE)


def test_samples_out_of_order_are_refused():
    """D14: time goes forward within a series."""
    assert "bad_value" == refused(matrix([[AT, "1"], [AT - 30, "2"]]))


@pytest.mark.parametrize(
    "second", [{"a": "1", "b": "2"}, {"b": "2", "a": "1"}], ids=["in the same order", "in another order"]
)
def test_a_series_that_appears_twice_is_refused(second):
    """D12: one label set, one series, whatever the order of its labels."""
    result = [{"metric": labels, "values": [[AT, "1"]]} for labels in ({"a": "1", "b": "2"}, second)]
    assert "duplicate_series" == refused(document("matrix", result))


def test_equal_values_under_other_names_are_two_series():
    """D12: labels are compared with their names."""
    result = [
        {"metric": labels, "value": [AT, "1"]} for labels in ({"a": "1"}, {"b": "1"}, {"a": "1", "b": "1"})
    ]
    assert 3 == len(read(document("vector", result)).series)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({}, Answer(()), id="none"),
        pytest.param({"warnings": []}, Answer(()), id="empty"),
        pytest.param(
            {"warnings": ["store down"]},
            Answer((), partial=True, warnings=("store down",)),
            id="P17: a warning",
        ),
        pytest.param({"isPartial": True}, Answer((), partial=True), id="P17: VictoriaMetrics' cluster"),
        pytest.param({"isPartial": False}, Answer(()), id="P17: complete"),
        pytest.param(
            {"infos": ["PromQL info: metric might not be a counter"]},
            Answer((), notes=("PromQL info: metric might not be a counter",)),
            id="P17: an info",
        ),
        pytest.param(
            {"warnings": ["PromQL info: metric might not be a counter", "store down"]},
            Answer(
                (),
                partial=True,
                warnings=("store down",),
                notes=("PromQL info: metric might not be a counter",),
            ),
            id="P17: an info among warnings",
        ),
        pytest.param(
            {"warnings": ["PromQL warning: mixed floats"]},
            Answer((), notes=("PromQL warning: mixed floats",)),
            id="P17: the engine's remark",
        ),
        pytest.param({"warnings": "odd"}, Answer((), partial=True, warnings=("odd",)), id="P17: not a list"),
    ],
)
def test_warnings_are_told_from_remarks(fields, expected):
    """P17: what may have cost data makes an answer partial; remarks on the query do not."""
    assert expected == read(vector(**fields))


def test_a_truncated_result_is_an_error():
    """P18: a cut result is not a smaller result."""
    assert "truncated_result" == refused(vector(warnings=["results truncated due to limit"]))


def test_an_error_with_status_200_is_an_error():
    """P10: `status: error` wins over everything else in the body."""
    body = {"status": "error", "errorType": "execution", "error": "no", "data": vector("1")["data"]}
    assert "execution" == refused(body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("plain", "plain"), ("a\x1b\x00\u202eb\ud800", "a   b"), ("x" * 81, "x" * 80 + "…"), ("  ", "")],
)
def test_foreign_text_is_made_printable(text, expected):
    """P8 P11: control characters, direction marks and surrogates become spaces; 80 characters and a mark."""
    assert expected == printable(text)
