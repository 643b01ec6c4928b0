"""From the bytes of an answer to numbers, or to the reason why it cannot be used; pure.

Strict on purpose: a wrong number is worse than none. JSON is decoded by orjson; what it would let pass (keys
that appear twice) is found by counting keys. Numbers are read by Prometheus' grammar, not by Python's.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate, chain, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series, printable
from slo_budget_tracker.errors import BadAnswer, Busy, PrometheusError, QueryFailed, QueryRejected
from slo_budget_tracker.histograms import LE, Sample, cumulative
from slo_budget_tracker.tuples import make

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from slo_budget_tracker.spellings import Spellings

TOLERANCE = 1_000  # milliseconds that a sample's time may be off the time asked for
_LONG_AGO = 2.0**53  # milliseconds before the epoch: older than anything
SAID = 200  # characters of the server's own words: enough to find the place in a query
_PLAIN = "0123456789+-.eE"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|NaN|[+-]?Inf", re.ASCII)
_ANNOTATION = re.compile(r"PromQL (info|warning):")  # the engine's remarks on a query; the answer is complete
_TEXTS = itemgetter(1, 2, 3)  # of a bucket: [boundary rule, lower border, upper border, count]
_TRUNCATED = "truncated due to limit"

# Prometheus' errorType (web/api/v1) to what it means here; the keys are the closed list of reasons.
ERROR_TYPES: dict[str, type[PrometheusError]] = {
    "bad_data": QueryRejected,
    "execution": QueryFailed,
    "timeout": Busy,
    "canceled": Busy,
    "unavailable": Busy,
    "internal": Busy,
    "not_found": BadAnswer,
    "not_acceptable": BadAnswer,
}


def decode(body: bytes, question: Query | RangeQuery, spellings: Spellings | None = None) -> Answer:
    """The answer to `question`; raises a PrometheusError where the body is an error or cannot be used.

    With the `spellings` of a server, labels that it sent before are not understood once more.
    """
    found = None if spellings is None else _known_again(body, question, spellings)
    if found is None:
        document = parse(body)
        series = None
    else:
        body, series = found
        document = parse(body)
    if document.get("status") == "error":
        raise refusal(document)
    data = document.get("data")
    if document.get("status") != "success" or not isinstance(data, dict):
        raise BadAnswer("the answer has no status and data as Prometheus' have", reason="bad_json")
    warnings, notes = _remarks(document)
    try:
        series = tuple(_series(data, question)) if series is None else series
    except (TypeError, LookupError, AttributeError, ValueError, OverflowError):
        raise BadAnswer("the answer's result is not formed as Prometheus' are", reason="bad_json") from None
    _refuse_double_keys(body, document)
    partial = bool(warnings) or bool(document.get("isPartial"))
    return Answer(series, partial=partial, warnings=warnings, notes=notes)


def _known_again(
    body: bytes, question: Query | RangeQuery, spellings: Spellings
) -> tuple[bytes, tuple[Series, ...]] | None:
    """What is around the series, and they; None where the whole is to be understood, or else be refused."""
    if not isinstance(question, Query):
        return None
    found = spellings.apart(body, question.at)
    if found is None:
        return None
    try:
        data = orjson.loads(found.frame)["data"]
        if data["resultType"] != "matrix" or data["result"] != []:
            return None
        numbers = np.array(found.flat, np.float64)
        times = _times(numbers[::2], None, question.at * 1_000)
        return found.frame, tuple(_joined(found.labels, found.lengths, times, numbers[1::2].tolist()))
    except (BadAnswer, TypeError, LookupError, AttributeError, ValueError, OverflowError):
        return None


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a body; raises BadAnswer for everything else, whatever goes wrong."""
    try:
        document = orjson.loads(body)
    except Exception:  # noqa: BLE001 - foreign bytes: no failure of the decoder may pass as one of ours
        if body.lstrip()[:1] == b"{":
            raise BadAnswer("the answer is broken JSON", reason="bad_json") from None
        document = None
    if not isinstance(document, dict):
        shown = printable(body[:400].decode("utf-8", "replace"))
        raise BadAnswer(f"the answer is not JSON of Prometheus' API: {shown}", reason="not_json")
    return document


def refusal(document: dict[str, Any]) -> PrometheusError:
    """The error that an answer with `"status": "error"` means."""
    kind = document.get("errorType")
    known = kind if isinstance(kind, str) and kind in ERROR_TYPES else "other"
    said = printable(str(document.get("error", "")), SAID)
    return ERROR_TYPES.get(known, BadAnswer)(f"Prometheus says: {said or known}", reason=known)


def _remarks(document: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings, which mean that data may be missing, and notes, which do not."""
    warnings = _texts(document.get("warnings"))
    for text in warnings:
        if _TRUNCATED in text:
            raise BadAnswer(f"the server cut the result: {printable(text)}", reason="truncated_result")
    notes = [*_texts(document.get("infos")), *(text for text in warnings if _ANNOTATION.match(text))]
    return tuple(text for text in warnings if not _ANNOTATION.match(text)), tuple(notes)


def _texts(found: object) -> list[str]:
    if found is None:
        return []
    return list(map(str, found)) if isinstance(found, list) else [str(found)]


def _series(data: dict[str, Any], question: Query | RangeQuery) -> Iterator[Series]:
    kind, result = data["resultType"], data["result"]
    ranged = isinstance(question, RangeQuery)
    if kind in ("matrix", "vector") and any("histogram" in item or "histograms" in item for item in result):
        if not isinstance(question, Query) or not question.bounds:
            raise BadAnswer("native histogram samples where numbers are expected", reason="result_type")
        _labels(result)
        for item in result:
            yield from _histogram(item, question)
        result = [item for item in result if "value" in item or "values" in item]
    if kind == "matrix":
        yield from _matrix(result, question)
    elif kind == "vector" and not ranged:
        yield from _vector(result, question)
    elif kind == "scalar" and not ranged:
        yield from _vector([{"metric": {}, "value": result}], question)
    else:
        raise BadAnswer(f"a result of type {printable(str(kind))} is of no use here", reason="result_type")


def _histogram(item: dict[str, Any], question: Query) -> Iterator[Series]:
    """The native histogram samples of a series as counts at the bounds that were asked for."""
    stamped = [item["histogram"]] if "histogram" in item else item.get("histograms", ())
    if not stamped:
        return
    times = _times([stamp for stamp, _ in stamped], None, question.at * 1_000)
    _refuse_disorder(times, [len(times)])
    buckets = [one.get("buckets", ()) for _, one in stamped]
    parts = [
        [one["count"], *chain.from_iterable(map(_TEXTS, some))]
        for (_, one), some in zip(stamped, buckets, strict=True)
    ]
    numbers, _ = _numbers(list(chain.from_iterable(parts)))
    samples = []
    end = 0
    for texts in parts:
        start, end = end, end + len(texts)
        samples.append(
            Sample(numbers[start], *(numbers[at:end:3] for at in (start + 1, start + 2, start + 3)))
        )
    for name, places, counts in cumulative(samples, question.bounds):
        yield Series({**item["metric"], LE: name}, [int(times[at]) for at in places], counts)


def _vector(result: Sequence[dict[str, Any]], question: Query | RangeQuery) -> Iterator[Series]:
    assert isinstance(question, Query)
    pairs = [item["value"] for item in result]
    times = _times([stamp for stamp, _ in pairs], question.at * 1_000, question.at * 1_000).tolist()
    numbers, _ = _numbers([text for _, text in pairs])
    for labels, time, number in zip(_labels(result), times, numbers, strict=True):
        yield Series(labels, [time], [number])


def _matrix(result: Sequence[dict[str, Any]], question: Query | RangeQuery) -> Iterator[Series]:
    """Series of many samples."""
    yield from _sampled(_labels(result), [item["values"] for item in result], question)


def _sampled(
    found: Sequence[Mapping[str, str]], samples: Sequence[list[Any]], question: Query | RangeQuery
) -> Iterator[Series]:
    """Labels and samples as series; of raw samples NaN is dropped."""
    pairs = list(chain.from_iterable(samples))
    raw = isinstance(question, Query)
    first, last = (None, question.at) if isinstance(question, Query) else (question.start, question.end)
    times = _times([stamp for stamp, _ in pairs], None if first is None else first * 1_000, last * 1_000)
    numbers, finite = _numbers([text for _, text in pairs])
    series = _joined(found, list(map(len, samples)), times, numbers)
    gaps = raw and not finite and any(map(math.isnan, numbers))
    return map(_without_nan, series) if gaps else series


def _joined(
    found: Sequence[Mapping[str, str]], lengths: Sequence[int], times: NDArray[np.int64], numbers: list[float]
) -> Iterator[Series]:
    """Labels and the samples that follow on each other as series, each of so many samples."""
    _refuse_disorder(times, lengths)
    flat = times.tolist()
    ends = list(accumulate(lengths))
    spans = list(map(slice, [0, *ends], ends))
    stamps, values = map(flat.__getitem__, spans), map(numbers.__getitem__, spans)
    return map(make, repeat(Series), zip(found, stamps, values, strict=True))


def _without_nan(series: Series) -> Series:
    kept = [at for at, value in enumerate(series.values) if not math.isnan(value)]
    return Series(series.labels, [series.times[at] for at in kept], [series.values[at] for at in kept])


def _labels(result: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """The label sets, each a mapping of strings and no two equal (whatever their order)."""
    found: list[dict[str, str]] = [item["metric"] for item in result]
    if not {str}.issuperset(map(type, chain.from_iterable(map(dict.values, found)))):
        raise TypeError
    if not _plainly_distinct(found) and len(set(map(frozenset, map(dict.items, found)))) != len(found):
        raise BadAnswer("the same series appears twice in one answer", reason="duplicate_series")
    return found


def _plainly_distinct(found: list[dict[str, str]]) -> bool:
    """A quick proof that no two label sets are equal: names in one order, and all lists of values differ."""
    orders = set(map(tuple, found))
    return len(set(map(frozenset, orders))) == len(orders) and len(
        set(map(tuple, map(dict.values, found)))
    ) == len(found)


def _times(stamps: list[Any] | NDArray[np.float64], earliest: int | None, latest: int) -> NDArray[np.int64]:
    """Milliseconds of the seconds that stand in JSON, between the first and the last instant asked about."""
    if isinstance(stamps, list) and not {int, float}.issuperset(map(type, stamps)):
        raise TypeError
    times = np.rint(np.asarray(stamps, np.float64) * 1_000)
    too_early = earliest is not None and bool((times < earliest - TOLERANCE).any())
    if too_early or bool((times > latest + TOLERANCE).any()):
        raise BadAnswer("samples of another time than was asked for", reason="stale_sample")
    return np.maximum(times, -_LONG_AGO).astype(np.int64)


def _refuse_disorder(times: NDArray[np.int64], lengths: Sequence[int]) -> None:
    """Refuse series whose samples are not in the order of time; each has so many of them."""
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    if len(falls) and not set(falls.tolist()) <= set(accumulate(lengths)):
        raise BadAnswer("samples of a series are not in the order of time", reason="bad_value")


def _numbers(texts: list[Any]) -> tuple[list[float], bool]:
    """Numbers in Prometheus' grammar: no spaces, underscores, foreign digits or long words for infinity.

    And whether all of them are spelled in digits: then none is NaN.
    """
    plain = not "".join(texts).strip(_PLAIN)
    for text in () if plain else texts:
        if _NUMBER.fullmatch(text) is None:
            raise BadAnswer(f"not a number of Prometheus: {printable(text)}", reason="bad_value")
    try:
        return list(map(float, texts)), plain
    except ValueError:
        raise BadAnswer("a value is not a number of Prometheus", reason="bad_value") from None


def _refuse_double_keys(body: bytes, document: dict[str, Any]) -> None:
    """A JSON object with a key twice has no agreed meaning; the decoder silently takes the last.

    `":` appears at least once for each key, so equal numbers prove that no key was lost. Where they differ,
    or where a key may be followed by a space, a slower decoder has the last word.
    """
    doubtful = any(space in body and b'"' + space in body for space in (b" ", b"\n", b"\t", b"\r"))
    if not doubtful and body.count(b'":') == _keys(document):
        return
    try:
        json.loads(body, object_pairs_hook=_unique)
    except Exception:  # noqa: BLE001 - as in `parse`
        raise BadAnswer("the answer has a key twice", reason="bad_json") from None


def _keys(document: dict[str, Any]) -> int:
    """How many keys a well-formed answer has, where there is nothing beside Prometheus' own fields."""
    data = document["data"]
    series = data["result"] if data["resultType"] != "scalar" else ()
    inside = sum([len(item["metric"]) for item in series])
    natives = [item for item in series if "histograms" in item or "histogram" in item]
    stamped = [item["histograms"] if "histograms" in item else [item["histogram"]] for item in natives]
    inside += sum(len(one) for some in stamped for _, one in some)
    return len(document) + len(data) + sum(map(len, series)) + inside


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
