"""One question to a server that misbehaves, and how it must fail."""

from __future__ import annotations

import time

import pytest

from slo_budget_tracker import prometheus as room
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query
from tests.unit.raw_server import settings

MATRIX = {"status": "success", "data": {"resultType": "matrix", "result": []}}
UP = Query("up", 1_700_000_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between tries as short as they can be."""
    monkeypatch.setattr(room, "pause", lambda _tries, *, longest: min(0.001, longest))


def ask(server, *, budget=5.0, question=UP, **changes):
    """One question to a server by a fresh client."""
    client = Prometheus(settings(getattr(server, "url", server), **changes))
    try:
        return client.ask(question, budget_seconds=budget)
    finally:
        client.close()


def fails(server, expected, *, reason, **how):
    """One question that must fail in this way; returns the error."""
    with pytest.raises(expected) as caught:
        ask(server, **how)
    assert reason == caught.value.reason
    return caught.value


def shortest(action, *, within, times=6):
    """The least wall time of some runs, until one is fine: the machine may be busy, but never fast by mistake."""
    taken = []
    while len(taken) < times and min(taken, default=within + 1) > within:
        began = time.monotonic()
        action()
        taken.append(time.monotonic() - began)
    return min(taken)
