"""Laws of decoding: what a Prometheus writes comes out as it went in, and no bytes break the door."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.decoding import decode
from slo_budget_tracker.errors import PrometheusError
from slo_budget_tracker.queries import Answer, Query, Series
from slo_budget_tracker.spellings import Spellings

AT = 1_700_000_000
LABELS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SAMPLES = st.lists(
    st.tuples(st.integers(0, 10**6), NUMBERS), min_size=1, max_size=5, unique_by=lambda one: one[0]
)
SERIES = st.lists(
    st.tuples(LABELS, SAMPLES.map(sorted)), max_size=6, unique_by=lambda one: frozenset(one[0].items())
)

MARKS = [
    b'{"metric":',
    b',"values":',
    b"]]}",
    b"]]},",
    b"}",
    b"[",
    b'"',
    b"4",
    b'"4',
    b'4"',
    b"4,",
    b",4",
    b"4]",
    b"[4",
]


def written(series, **style):
    """The JSON of a matrix as a server writes it."""
    result = [
        {
            "metric": labels,
            "values": [[(AT * 1_000 - 10**6 + ms) / 1_000, repr(value)] for ms, value in samples],
        }
        for labels, samples in series
    ]
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result}}, **style
    ).encode()


@given(SERIES, st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_raw_samples_survive_the_way(series, ascii_only, separators):
    """Labels, milliseconds and values come out exactly, whatever the style of the JSON (P9, D3)."""
    body = written(series, ensure_ascii=ascii_only, separators=separators)
    expected = tuple(
        Series(labels, [AT * 1_000 - 10**6 + ms for ms, _ in samples], [value for _, value in samples])
        for labels, samples in series
    )
    spellings = Spellings()
    answers = [decode(body, Query("m", AT), *further) for further in ((), (spellings,), (spellings,))]
    assert [Answer(expected)] * 3 == answers


def judged(body, *spellings):
    """The answer, or why it is none."""
    try:
        return decode(body, Query("m", AT), *spellings)
    except PrometheusError as error:
        return error.reason


@given(SERIES, st.data())
def test_known_spellings_change_no_answer(series, data):
    """Whoever knows the labels says of damaged bytes what anybody says: the same answer, or the same refusal."""
    style = {"separators": (",", ":"), "ensure_ascii": False}
    body, spellings = bytearray(written(series, **style)), Spellings()
    judged(bytes(body), spellings)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        body[at : at + data.draw(st.integers(0, 5))] = data.draw(
            st.binary(max_size=5) | st.sampled_from(MARKS)
        )
    assert judged(bytes(body)) == judged(bytes(body), spellings)


@given(SERIES, st.data())
def test_damaged_answers_are_errors_or_valid(series, data):
    """P7 P9: cut, doubled or changed bytes give an error of ours or an answer with finite numbers, nothing else."""
    body = bytearray(written(series))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(body) - 1, 0)))
        body[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    try:
        answer = decode(bytes(body), Query("m", AT))
    except PrometheusError:
        return
    assert all(math.isfinite(value) for one in answer.series for value in one.values)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | NUMBERS, st.lists))
def test_other_json_is_an_error(value):
    """P8 P9: any JSON value in the place of an answer, of data or of a result is refused."""
    for body in (value, {"status": "success", "data": value}, {"status": value}):
        try:
            answer = decode(json.dumps(body).encode(), Query("m", AT))
        except PrometheusError:
            continue
        raise AssertionError(answer)
