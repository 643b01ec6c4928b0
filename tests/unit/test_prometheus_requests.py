"""What the client sends, and what it never shows (row H14)."""

from __future__ import annotations

import base64
import gc
from types import SimpleNamespace

import httpx
import pytest

from slo_budget_tracker import garbage
from slo_budget_tracker.errors import (
    PrometheusError,
    Unreachable,
)
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import Query
from tests.unit.questions import UP, ask, fails, quick  # noqa: F401 - the fixture `quick` works by being here
from tests.unit.raw_server import RawServer, answer, settings


def test_user_and_password_of_the_url_become_a_header():
    """Secrets: userinfo is sent as basic auth and is in no message and no request line."""
    with RawServer(answer()) as server:
        ask(f"http://me:s3cret@{server.address}/?debug=1")
        head = server.requests[0]
    token = base64.b64encode(b"me:s3cret")
    assert b"Authorization: Basic " + token + b"\r\n" in head
    assert b"s3cret" not in head
    assert b"debug" not in head


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:9090",
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://h:0",
        "http://[::1",
        "http://h\x00/",
    ],
)
def test_what_is_no_address_is_told(url):
    """P1: a configured address that cannot be asked."""
    fails(url, Unreachable, reason="connection" if "\x00" not in url else "protocol", budget=1)


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"", status="500 No"),
        answer(b"", status="302 Found", headers=("Location: http://x:y@z/?q=1",)),
        answer(b"{"),
        b"",
    ],
)
def test_no_message_shows_the_address(reply, caplog):
    """Messages and the log carry neither userinfo nor query."""
    caplog.set_level("DEBUG")
    with RawServer(reply) as server, pytest.raises(PrometheusError) as caught:
        ask(f"http://me:s3cret@{server.address}/p?debug=1")
    shown = str(caught.value) + caplog.text
    assert [] == [word for word in ("s3cret", "debug", "x:y") if word in shown]


def test_the_request_is_a_form_at_a_pinned_instant():
    """P30: the instant is ours, and VictoriaMetrics is told to answer for it and not for 30 s before."""
    with RawServer(answer()) as server:
        ask(server, headers={"X-Scope-OrgID": "tenant"}, question=Query('up{a="b&c"}', 1_700_000_000))
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"POST /api/v1/query HTTP/1.1" == head.split(b"\r\n")[0]
    assert b"X-Scope-OrgID: tenant" in head
    fields = dict(one.split(b"=") for one in body.split(b"&"))
    assert 0 < int(fields.pop(b"timeout").removesuffix(b"ms")) <= 5_000
    assert {
        b"query": b"up%7Ba%3D%22b%26c%22%7D", b"time": b"1700000000", b"latency_offset": b"1ms", b"nocache": b"1",
    } == fields  # fmt: skip


def test_cookies_are_not_kept():
    """A balancer's cookie does not tie us to one of its servers."""
    with RawServer(answer(headers=("Set-Cookie: a=b; Path=/",))) as server:
        client = Prometheus(settings(server.url))
        client.ask(UP, budget_seconds=5)
        client.ask(UP, budget_seconds=5)
        client.close()
        assert [] == [one for one in server.requests if b"Cookie" in one]


def test_a_request_leaves_no_garbage():
    """Memory: what an answer came in is gone with it, though nobody looks for garbage in the next sixty ticks."""
    gc.collect()
    with RawServer(answer()) as server, garbage.waiting():
        ask(f"http://{server.address}/")
        assert [] == [one for one in gc.get_objects() if isinstance(one, httpx.Response)]


def basic(**how):
    """Basic auth as it is configured."""
    return SimpleNamespace(username="me", **how)


def test_basic_auth_by_password_or_file(tmp_path):
    """The password may stand in a file."""
    file = tmp_path / "password"
    file.write_text("pw\n")
    with RawServer(answer()) as server:
        ask(server, basic_auth=basic(password="pw"))
        ask(server, basic_auth=basic(password=None, password_file=file))
        expected = b"Authorization: Basic " + base64.b64encode(b"me:pw")
        assert [True, True] == [expected in one for one in server.requests]


def test_what_a_server_repeats_of_our_secrets_is_not_shown():
    """H14: tokens, passwords and keys are taken out of its answer; tenants, which are labels too, are not."""

    def parrot(**told):
        def repeat(line):
            heard = line.recv(65_536)
            said = {"status": "error", "errorType": "bad_data", "error": heard.decode() + " s3cret-word"}
            line.sendall(answer(said, status="400 Bad Request"))

        with RawServer(repeat, read=False) as server, pytest.raises(PrometheusError) as error:
            ask(server, **told)
        return str(error.value)

    word = "s3cret-word"
    coded = base64.b64encode(f"me:{word}".encode()).decode()
    texts = [
        parrot(basic_auth=basic(password=word)),
        parrot(headers={"Authorization": f"Bearer {word}"}),
        parrot(headers={"X-Api-Key": word}),
    ]
    assert [False] * 3 == [word in text or coded in text for text in texts]
    assert [True] * 3 == ["[secret]" in text for text in texts]
    assert "X-Scope-OrgID: s3cret-word" in parrot(headers={"X-Scope-OrgID": word})
