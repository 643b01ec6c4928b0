"""The client against every status: what is tried again, what is not (rows P10 to P16)."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from slo_budget_tracker import prometheus as room
from slo_budget_tracker.errors import (
    BadAnswer,
    Busy,
    QueryFailed,
    QueryRejected,
    Unauthorized,
    Unreachable,
)
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import RangeQuery
from slo_budget_tracker.transport import Reply, Transport
from tests.unit.questions import MATRIX, UP, ask, fails, quick  # noqa: F401 - the fixture `quick` works by being here
from tests.unit.raw_server import RawServer, answer, settings


@pytest.mark.parametrize(
    ("status", "expected", "reason"),
    [
        ("400 Bad Request", QueryRejected, "bad_request"),
        ("422 Unprocessable Entity", QueryFailed, "execution"),
        ("401 Unauthorized", Unauthorized, "unauthorized"),
        ("403 Forbidden", Unauthorized, "forbidden"),
        ("302 Found", BadAnswer, "redirect"),
        ("418 I'm a teapot", BadAnswer, "status"),
    ],
)
def test_permanent_statuses_are_asked_once(status, expected, reason):
    """P11 P12 P15 P16: asking again could not help."""
    with RawServer(answer(b"no", status=status)) as server:
        fails(server, expected, reason=reason)
        assert 1 == len(server.requests)


def test_the_servers_words_are_shown_without_control_characters():
    """P11: a rejected query is shown with what Prometheus says about it."""
    body = {
        "status": "error",
        "errorType": "bad_data",
        "error": "1:5: parse error: \x1b[31mno\u202e " + "x" * 500,
    }
    with RawServer(answer(body, status="400 Bad Request")) as server:
        said = str(fails(server, QueryRejected, reason="bad_data"))
    assert said.startswith("Prometheus says: 1:5: parse error:  [31mno  xxx")
    assert len(said) < 230
    assert said.isprintable()


@pytest.mark.parametrize(
    ("kind", "expected", "reason"),
    [
        ("bad_data", QueryRejected, "bad_data"),
        ("execution", QueryFailed, "execution"),
        ("timeout", Busy, "timeout"),
        ("unavailable", Busy, "unavailable"),
        ("<script>", BadAnswer, "other"),
        (["x"], BadAnswer, "other"),
    ],
)
def test_an_error_under_status_200_is_an_error(kind, expected, reason):
    """P10: `status: error` counts, whatever HTTP says; errorType is from a closed list."""
    with RawServer(answer({"status": "error", "errorType": kind, "error": "why"})) as server:
        fails(server, expected, reason=reason)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 598])
def test_a_busy_server_is_asked_three_times(status):
    """P14 P20: 5xx is tried again within the tick, three times in all."""
    with RawServer(answer(b"", status=f"{status} Busy")) as server:
        fails(server, Busy, reason="unavailable")
        assert 3 == len(server.requests)


def test_the_third_try_may_succeed():
    """P14: after two 503 the answer counts."""
    busy = answer(b"", status="503 Service Unavailable")
    with RawServer(busy, busy, answer()) as server:
        assert () == ask(server).series


def test_a_query_that_timed_out_is_not_repeated():
    """P14: what was too slow for the server a moment ago is too slow now."""
    body = {"status": "error", "errorType": "timeout", "error": "query timed out"}
    with RawServer(answer(body, status="503 Service Unavailable")) as server:
        fails(server, Busy, reason="query_timeout")
        assert 1 == len(server.requests)


def test_no_try_begins_after_the_budget():
    """P14: pauses and tries stay within the time given."""
    with RawServer(answer(b"", status="503 Busy", headers=("Retry-After: 30",))) as server:
        began = time.monotonic()
        error = fails(server, Busy, reason="unavailable", budget=0.5)
        assert (1, 30.0) == (len(server.requests), error.retry_after)
        assert time.monotonic() - began < 15  # not the 30 s that the server asks for


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param("7", 7.0, id="seconds"),
        pytest.param(formatdate(NOW + 20, usegmt=True), 20.0, id="an HTTP date"),
        pytest.param("-5", None, id="negative"),
        pytest.param("9" * 14, 60.0, id="more than a minute is cut"),
        pytest.param("9" * 400, None, id="absurd"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 60.0, id="year 9999"),
        pytest.param("Fri, 31 Dec 99999 23:59:59 GMT", None, id="no year"),
        pytest.param(formatdate(NOW - 20, usegmt=True), None, id="the past"),
        pytest.param("soon", None, id="words"),
        pytest.param("١٢", None, id="foreign digits"),
    ],
)
def test_retry_after_is_understood(header, expected):
    """P13: seconds or a date, at most a minute; everything else is as if absent."""
    assert expected == room._retry_after(header, now=NOW)


def test_too_many_requests_halve_the_concurrency_and_shut_the_gate():
    """P13: 429 with Retry-After: nobody asks before, and fewer at a time afterwards."""
    busy = answer(b"", status="429 Too Many Requests", headers=("Retry-After: 20",))
    with RawServer(busy) as server:
        clock = SimpleNamespace(now=0.0)
        client = Prometheus(settings(server.url, concurrency=8), monotonic=lambda: clock.now)
        for expected in (1, 1):
            with pytest.raises(Busy):
                client.ask(UP, budget_seconds=5)
            assert expected == len(server.requests)
        assert 4 == client._lanes.limit
        clock.now = 21
        server.scripts = [answer()]
        assert () == client.ask(UP, budget_seconds=5).series
        client.close()


def test_refused_credentials_are_not_tried_again_for_a_minute():
    """P15: one try a minute after 401, for all questions together."""
    with RawServer(answer(b"", status="401 Unauthorized")) as server:
        clock = SimpleNamespace(now=0.0)
        client = Prometheus(settings(server.url), monotonic=lambda: clock.now)
        for now, expected in ((0, 1), (1, 1), (59, 1), (61, 2)):
            clock.now = now
            with pytest.raises(Unauthorized):
                client.ask(UP, budget_seconds=5)
            assert expected == len(server.requests)
        assert client.stats.auth_ok is False
        client.close()


def test_a_rotated_token_is_used_at_once(tmp_path):
    """P15: the token file is read before each try; a new token passes though the old one was refused."""
    file = tmp_path / "token"
    file.write_text("old\n")
    with RawServer(answer(b"", status="401 Unauthorized"), answer()) as server:
        client = Prometheus(settings(server.url, bearer_token_file=file))
        with pytest.raises(Unauthorized):
            client.ask(UP, budget_seconds=5)
        file.write_text("new\n")
        client.ask(UP, budget_seconds=5)
        client.close()
        assert [b"Bearer old", b"Bearer new"] == [
            line.split(b": ")[1] for one in server.requests for line in one.split(b"\r\n")
            if line.startswith(b"Authorization")
        ]  # fmt: skip
        assert client.stats.auth_ok is True


def test_a_missing_token_file_is_named_by_its_fault_only(tmp_path):
    """P15: nothing is sent without the token."""
    with RawServer(answer()) as server:
        error = fails(server, Unauthorized, reason="secret", bearer_token_file=tmp_path / "none")
        assert ("the file with the secret cannot be read: No such file or directory", []) == (
            str(error),
            server.requests,
        )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_redirects_are_not_followed(status):
    """P16: no header goes to another host."""
    with RawServer(answer()) as other:
        there = f"Location: {other.url}/api/v1/query"
        with RawServer(answer(b"", status=status, headers=(there,))) as server:
            fails(server, BadAnswer, reason="redirect", headers={"X-Scope-OrgID": "tenant"})
        assert [] == other.requests


def test_get_is_used_where_post_is_not_allowed():
    """405: some proxies allow GET only; it is remembered."""
    with RawServer(answer(b"", status="405 Method Not Allowed"), answer(), answer(MATRIX)) as server:
        client = Prometheus(settings(server.url + "/prefix/"))
        client.ask(UP, budget_seconds=5)
        client.ask(RangeQuery("up", 0, 60, 60), budget_seconds=5)
        client.close()
        lines = [one.split(b" HTTP")[0] for one in server.requests]
    assert [b"POST /prefix/api/v1/query", b"GET /prefix/api/v1/query?"] == [lines[0], lines[1][:25]]
    assert lines[2].startswith(b"GET /prefix/api/v1/query_range?query=up&start=0&end=60&step=60&")


def test_a_slow_server_is_asked_less_at_once(monkeypatch):
    """Over half the timeout is too slow: halved each time, as by 429; quick answers widen it again."""
    now = [0.0]
    seconds = (5.1, 5.1, 5.1, 1.0, 1.0, 1.0)
    left = iter(seconds)

    def exchange(self, *_, **__):
        now[0] += next(left)
        return Reply(200, {}, b'{"status": "success", "data": {"resultType": "vector", "result": []}}')

    monkeypatch.setattr(Prometheus, "_exchange", exchange)
    client = Prometheus(settings("http://prometheus.example", timeout=10.0), monotonic=lambda: now[0])
    limits = []
    for _ in seconds:
        client.ask(UP, budget_seconds=60)
        limits.append(client._lanes.limit)
    assert [2, 1, 1, 2, 2, 2] == limits


def test_a_server_that_does_not_answer_in_time_is_asked_less_at_once(monkeypatch):
    """P3: what took too long altogether was too slow, too; a refused connection says nothing about that."""
    reasons = iter(["timeout", "refused", "timeout"])

    def exchange(*_, **__):
        raise Unreachable("it is not there", reason=next(reasons))

    monkeypatch.setattr(room, "TRIES", 1)
    monkeypatch.setattr(Transport, "send", exchange)
    client = Prometheus(settings("http://prometheus.example", timeout=10.0))
    limits = []
    for _ in range(3):
        with pytest.raises(Unreachable):
            client.ask(UP, budget_seconds=5)
        limits.append(client._lanes.limit)
    assert [2, 2, 1] == limits
