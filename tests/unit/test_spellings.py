"""Labels that were sent before are known again by their bytes; whatever is spelled otherwise is understood as a whole."""

from __future__ import annotations

import json

import pytest

from slo_budget_tracker.answers import Query
from slo_budget_tracker.decoding import decode
from slo_budget_tracker.errors import BadAnswer
from slo_budget_tracker.spellings import Spellings

AT = 1_700_000_000
QUESTION = Query("m", AT)
SHOP = {"__name__": "m", "job": "shop"}


def body(*labels, samples=((AT, "1"),), **more):
    """A matrix as Prometheus writes it."""
    result = [{"metric": one, "values": samples} for one in labels]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}, **more}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def told(labels):
    """What a mapping of labels says in all ways it can be asked."""
    return (
        dict(labels),
        [*labels],
        [*labels.values()],
        len(labels),
        labels.get("job"),
        labels.get("no"),
        repr(labels),
    )


def test_labels_are_what_was_sent():
    """Names in their order, values, and what is not there."""
    (series,) = decode(body(SHOP), QUESTION, Spellings()).series
    assert told(SHOP) == told(series.labels)


def test_labels_are_known_again():
    """In the next answer they are the same object; what else came with it is as it is said there."""
    spellings = Spellings()
    first = decode(body(SHOP), QUESTION, spellings)
    again = decode(body(SHOP, warnings=["a store is away"]), QUESTION, spellings)
    assert (True, True) == (again.partial, first.series[0].labels is again.series[0].labels)


@pytest.mark.parametrize(
    "text",
    [
        body({"job": 'a "quoted" shop'}),
        body({"values": "x", "job": "shop"}),
        body({"metric": "x"}),
        body(SHOP).replace(b":", b" : "),
        body(SHOP, samples=()),
        body(SHOP, samples=((AT, "NaN"), (AT, "+Inf"))),
        body(),
    ],
    ids=["quotes", "a label named values", "a label named metric", "spaces", "no samples", "words", "no series"],
)  # fmt: skip
def test_other_spellings_mean_the_same(text):
    """Nothing depends on how labels are spelled."""
    assert repr(decode(text, QUESTION)) == repr(decode(text, QUESTION, Spellings()))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (body(SHOP, SHOP), "duplicate_series"),
        (body(SHOP, dict(reversed(SHOP.items()))), "duplicate_series"),
        (body(SHOP).replace(b'"job"', b'"__name__"'), "bad_json"),
        (body({"job": 1}), "bad_json"),
        (body(SHOP, samples=((AT, 1),)), "bad_json"),
        (body(SHOP, samples=((AT + 60, "1"),)), "stale_sample"),
        (body(SHOP).replace(b'"1"]]', b'"1"]],"values":[]'), "bad_json"),
        (body(SHOP, SHOP).replace(b"}]}}", b"}]}"), "not_json"),
        (body(SHOP).replace(b'"result"', b'"results"'), "bad_json"),
        (body(SHOP).replace(b'"resultType":"matrix",', b""), "bad_json"),
    ],
    ids=[
        *("twice", "twice in two orders", "a key twice", "a number", "no text", "too new", "samples twice"),
        *("cut", "no result", "no type"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_with_spellings(text, reason):
    """No fault is passed over for being quick (rows P9, P10)."""
    with pytest.raises(BadAnswer) as caught:
        decode(text, QUESTION, Spellings())
    assert reason.replace("not_json", "bad_json") == caught.value.reason


TWO = body(SHOP, {"job": "mail"}, samples=((AT - 1, "1"), (AT, "2")))


@pytest.mark.parametrize(
    ("where", "digit_there"),
    [
        (b":[[", b":4[["),
        (b":[[", b":[4["),
        (b',"1"', b',4"1"'),
        (b'"1"]', b'"1"4]'),
        (b"],[", b"]4,["),
        (b"],[", b"],4["),
        (b"]]}", b"]4]}"),
        (b"]]},", b"]]4},"),
        (b"]]},", b"]]}4,"),
    ],
)
def test_a_digit_where_none_belongs_is_broken_json(where, digit_there):
    """Numbers are read without what stands around them only where all of that is as it should be (P9)."""
    assert where in TWO
    spellings = Spellings()
    decode(TWO, QUESTION, spellings)
    with pytest.raises(BadAnswer) as caught:
        decode(TWO.replace(where, digit_there, 1), QUESTION, spellings)
    assert "bad_json" == caught.value.reason


@pytest.mark.parametrize(
    "number", ["0", "-1.5", "1e+06", "2.5e-07", "123456789012345678901234567890", "1e400", "5.", "+3"]
)
def test_numbers_mean_the_same_however_they_are_read(number):
    """As one list of JSON, or each by itself: the nearest double."""
    text = body(SHOP, samples=((AT, number),))
    expected, found = (decode(text, QUESTION, *some).series[0].values for some in ((), (Spellings(),)))
    assert [float(number)] == list(expected) == list(found)


@pytest.mark.parametrize("last", ["shop", "<shop>"], ids=["as we spell", "escaped by the server"])
def test_labels_that_are_gone_are_forgotten(last):
    """What many others took the place of is no longer kept in mind, whether answers could be taken apart or not."""
    spellings = Spellings()
    for at in range(AT, AT + 5):
        some = [{"instance": f"{at}-{number}"} for number in range(2_000)]
        text = body(*some, {"job": last}, samples=((at, "1"),)).replace(b"<", rb"\u003c")
        decode(text, Query("m", at), spellings)
    assert len(spellings._known) < 3 * 2_000 + 1_000
