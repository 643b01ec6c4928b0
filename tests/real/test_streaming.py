"""The stream of ticks over real connections: one message per view, a bounded number of listeners."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from slo_budget_tracker import streaming
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.web import Display, build, compose
from tests.unit.test_web import SLOS

LATER = 60


@pytest.fixture
def display():
    """A display with five SLOs."""
    return Display(compose(snapshots=SLOS))


@pytest.fixture
def server(display):
    """A web server on a free port."""
    listen = "127.0.0.1:0"
    server = WebServer(build(display, listen=listen), listen=listen)
    server.start()
    yield server
    server.stop()


def listen(server, path="/api/v1/stream"):
    """An open stream."""
    return httpx.stream("GET", f"{server.url}{path}", timeout=30, trust_env=False)


def next_tick(lines):
    """The data of the next message."""
    return next(json.loads(line[6:]) for line in lines if line.startswith("data: "))


def test_one_message_for_each_view(server, display):
    """The view of now comes at once, every later one when it is published."""
    with listen(server) as stream:
        lines = stream.iter_lines()
        first = next_tick(lines)
        assert ("text/event-stream; charset=utf-8", 5) == (stream.headers["content-type"], first["slos"])
        display.view = compose(
            snapshots=[one._replace(evaluated_at=one.evaluated_at + LATER) for one in SLOS]
        )
        second = next_tick(lines)
        assert first["evaluated_at"] < second["evaluated_at"]


def test_one_slo_as_a_whole(server):
    """Who watches one SLO gets its snapshot."""
    with listen(server, "/api/v1/stream?slo=slo-3") as stream:
        assert "slo-3" == next_tick(stream.iter_lines())["name"]


def test_the_number_of_listeners_is_bounded(server, display, monkeypatch):
    """H2: one too many is told so; who leaves makes room."""
    monkeypatch.setattr(streaming, "MOST_LISTENERS", 2)
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.05)
    with listen(server) as one, listen(server) as two:
        lines = [one.iter_lines(), two.iter_lines()]
        assert [5, 5] == [next_tick(some)["slos"] for some in lines]
        with listen(server) as three:
            assert (503, "30") == (three.status_code, three.headers["retry-after"])
    deadline = time.monotonic() + 60
    status = 503
    while status != 200 and time.monotonic() < deadline:
        with listen(server) as again:
            status = again.status_code
        time.sleep(0.05)
    assert 200 == status
    while display._wakes and time.monotonic() < deadline:
        time.sleep(0.05)
    assert () == display._wakes


def test_listeners_do_not_keep_the_server(server):
    """A stop ends open streams instead of waiting for them."""
    with listen(server) as stream:
        next_tick(stream.iter_lines())
        server.stop(within=60)
        assert not server.alive
