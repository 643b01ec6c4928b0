"""Ratios: a Prometheus that knows nothing but error ratios, which rise and fall with the clock."""

from __future__ import annotations

import json
import re
import time

from slo_budget_tracker.answers import Answer, Query, Series
from tests.small_server import SmallServer

PERIOD, BAD = 12, 4  # ticks: each period starts an alert and ends it
NAMES = ("one", "two", "three")


class Ratios(SmallServer):
    """A Prometheus that knows only error ratios, by data instant: the same to whoever asks, whenever."""

    def __init__(self, interval):
        super().__init__(
            lambda _, form: json.dumps({"status": "success", "data": data(form, interval)}).encode()
        )


def ratio_at(name, at, interval):
    """What an SLO's error ratio is at a data instant."""
    return float((at // interval + 4 * NAMES.index(name)) % PERIOD < BAD)


TAGGED = re.compile(r'ratio_(\w+)\[.*?"slo", "([^"]+)"')


def data(form, interval):
    """The `data` of an answer: each ratio that the query names."""
    named = TAGGED.findall(form.get("query", ""))
    if "start" in form:
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        times = [int(start + n * step) for n in range(int((end - start) / step) + 1)]
        result = [
            {"metric": {"slo": tag}, "values": [[at, str(ratio_at(name, at, interval))] for at in times]}
            for name, tag in named
        ]
        return {"resultType": "matrix", "result": result}
    at = float(form.get("time", time.time()))
    result = [
        {"metric": {"slo": tag}, "value": [at, str(ratio_at(name, int(at), interval))]} for name, tag in named
    ]
    return {"resultType": "vector", "result": result}


def ask(interval, query):
    """The same, without a server."""
    instants = [query.at] if isinstance(query, Query) else range(query.start, query.end + 1, query.step)
    return Answer(
        tuple(
            Series(
                {"slo": tag},
                [at * 1000 for at in instants],
                [ratio_at(name, at, interval) for at in instants],
            )
            for name, tag in TAGGED.findall(query.expression)
        )
    )
