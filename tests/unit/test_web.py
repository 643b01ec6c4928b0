"""The routes and their guard, asked in-process: answers, errors, negotiation, refusals."""

from __future__ import annotations

import asyncio
import gzip
import threading
from decimal import Decimal
from types import SimpleNamespace

import httpx
import jinja2
import orjson
import pytest
from structlog.testing import capture_logs

from slo_budget_tracker import assets, guarding, views
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.exposition import OPENMETRICS_TYPE, TEXT_TYPE, openmetrics
from slo_budget_tracker.guarding import Guard
from slo_budget_tracker.protection import Protection
from slo_budget_tracker.resources import GroupPage, Problem, Snapshot, SnapshotPage
from slo_budget_tracker.snapshots import (
    AlertStatus,
    BudgetAlertStatus,
    BurnRateSample,
    RawFigures,
    SLOSnapshot,
    seed_json,
    snapshot_json,
)
from slo_budget_tracker.web import Display, build, compose, prepare, routes

METRICS = b"# HELP x_total X.\n# TYPE x_total counter\nx_total 1.0\n"
ACCEPT_OF_PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
AWKWARD = "<script>alert(1)</script>"


def snapshot(name: str) -> SLOSnapshot:
    """A snapshot with figures of every kind."""
    return SLOSnapshot(
        name=name,
        unit="requests",
        target=Decimal("0.999"),
        window_seconds=2_592_000,
        evaluated_at=1_793_448_000,
        state="ok",
        coverage=1.0,
        total=1_234_567.0,
        failures=1_180.0,
        success_ratio=0.99904,
        error_budget_remaining=0.0442,
        burn_rate=0.956,
        error_budget_remaining_bounds=(0.0442, 0.0442),
        events_remaining=54.5,
        exhaustion_seconds=None,
        breached=False,
        budget_exhausted=False,
        burn_rate_samples=(BurnRateSample(300, 1.2, 0.9988, 5_400.0, 6.0, 1.0),),
        alerts=(AlertStatus("page", 3_600, 300, Decimal("14.4"), "quiet", None, "because"),),
        labels={"handler": AWKWARD},
    )


RAW = RawFigures(600, 10.0, 1.0, 0.9, 0.5, 0.5)
BUDGET_ALERT = BudgetAlertStatus("page", "exhausted_within:4h", "quiet", None, "because")
NOTHING = snapshot("nothing")._replace(
    total=None,
    failures=None,
    success_ratio=None,
    error_budget_remaining=None,
    burn_rate=None,
    error_budget_remaining_bounds=None,
    events_remaining=None,
    breached=None,
    budget_exhausted=None,
    burn_rate_samples=(BurnRateSample(300, None, None, None, None, 0.0),),
    alerts=(),
)
SLOS = [snapshot(f"slo-{n}") for n in range(5)]


def ask(app, path="/", *, method="GET", **options) -> httpx.Response:
    """One request to an application in this process, as from the same machine."""

    async def asking():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9724") as client:
            return await client.request(method, path, **options)

    return asyncio.run(asking())


@pytest.fixture
def display():
    """A display with five SLOs and a page of metrics."""
    return Display(compose(metrics=METRICS, snapshots=reversed(SLOS)))


@pytest.fixture
def app(display):
    """The application as the daemon builds it, listening on loopback."""
    return build(display, listen="127.0.0.1:9724")


def test_metrics_as_text(app):
    """Without a wish the page is Prometheus' text format."""
    answer = ask(app, "/metrics")
    assert (200, TEXT_TYPE, METRICS) == (answer.status_code, answer.headers["content-type"], answer.content)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (ACCEPT_OF_PROMETHEUS, OPENMETRICS_TYPE),
        ("application/openmetrics-text; version=1.0.0", OPENMETRICS_TYPE),
        ("application/openmetrics-text;q=0", TEXT_TYPE),
        ("application/openmetrics-text;q=0.1,text/plain", TEXT_TYPE),
        ("application/openmetrics-text;q=nan", TEXT_TYPE),
        ("application/openmetrics-text;q=1e9", TEXT_TYPE),
        ("text/html,*/*", TEXT_TYPE),
        (",;,;q=,", TEXT_TYPE),
        ("", TEXT_TYPE),
    ],
)
def test_format_is_negotiated(app, accept, expected):
    """H16: OpenMetrics goes to whoever names it with a weight that counts."""
    assert expected == ask(app, "/metrics", headers={"accept": accept}).headers["content-type"]


def test_openmetrics_names_counters_without_total_and_ends(app):
    """In OpenMetrics a counter's family has no `_total`, and the end is marked."""
    answer = ask(app, "/metrics", headers={"accept": ACCEPT_OF_PROMETHEUS})
    assert b"# HELP x X.\n# TYPE x counter\nx_total 1.0\n# EOF\n" == answer.content


def test_gauges_are_rendered_when_they_are_asked_for_and_then_for_each_tick():
    """Nobody renders what nobody reads; who was asked before a tick has the answer ready after it."""
    rendered: list[str] = []

    def body(name):
        return lambda: rendered.append(name) or METRICS

    display = Display(compose(metrics=body("first")))
    ask(build(display, listen="127.0.0.1:0"), "/metrics")
    display.show(compose(metrics=body("between")), prepared=False)
    display.show(compose(metrics=body("tick")))
    display.show(compose(metrics=body("unread")))
    assert ["first", "tick"] == rendered


def test_the_first_page_is_made_before_anybody_asks_and_compressed_beside(monkeypatch):
    """At a start it is made at once; who asks while it is being compressed gets it then, and it is made once."""
    rendered, compressing, go_on = [], threading.Event(), threading.Event()

    def prepared(body):
        compressing.set()
        assert go_on.wait(10)
        return prepare(body)

    monkeypatch.setattr(views, "prepare", prepared)
    display = Display(compose(metrics=lambda: rendered.append("first") or METRICS))
    display.begin()
    assert (["first"], True) == (rendered, compressing.wait(10))
    go_on.set()
    assert (METRICS, ["first"]) == (display.view.text.content().body, rendered)


def test_a_first_page_that_cannot_be_made_is_tried_again_by_who_asks():
    """A fault of ours at the start ends nothing but itself."""
    faults = [RuntimeError("of ours")]

    def metrics():
        if faults:
            raise faults.pop()
        return METRICS

    display = Display(compose(metrics=metrics))
    with pytest.raises(RuntimeError):
        display.begin()
    assert METRICS == display.view.text.content().body


def test_a_large_body_is_kept_compressed_only():
    """Whoever takes no compression has it decompressed; nobody waits for a form that nobody asked for."""
    made = []

    def metrics():
        made.append("text")
        return METRICS * 100_000

    view = compose(metrics=metrics)
    whole = view.openmetrics.body
    content = view.text.content()
    assert (["text", "text"], None, METRICS * 100_000) == (made, content.plain, content.body)
    assert whole == openmetrics(view.text.body)
    assert ["text", "text"] == made


@pytest.mark.parametrize(
    ("accept", "compressed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("identity", False), ("gzipped", False)],
)
def test_compression_is_negotiated(app, accept, compressed):
    """H16: gzip goes only to who takes it, and is the same page."""

    async def raw():
        transport = httpx.ASGITransport(app=app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
            client.stream("GET", "/metrics", headers={"accept-encoding": accept}) as answer,
        ):
            return answer.headers, b"".join([part async for part in answer.aiter_raw()])

    headers, body = asyncio.run(raw())
    assert ("gzip" if compressed else None) == headers.get("content-encoding")
    assert (gzip.decompress(body) if compressed else body) == METRICS


@pytest.mark.parametrize("path", ["/metrics", "/slo", "/api/v1/slos", "/api/v1/slos/slo-1"])
def test_known_content_is_not_sent_again(app, path):
    """Whoever has the current entity tag gets 304 and no body; another tag gets the content."""
    tag = ask(app, path).headers["etag"]
    again = ask(app, path, headers={"if-none-match": f'"other", {tag}'})
    assert (304, b"") == (again.status_code, again.content)
    assert 200 == ask(app, path, headers={"if-none-match": '"other"'}).status_code


def test_a_new_view_has_a_new_tag(app, display):
    """The tag follows the content, in one assignment."""
    before = ask(app, "/api/v1/slos").headers["etag"]
    display.view = compose(snapshots=SLOS[:2])
    assert before != ask(app, "/api/v1/slos").headers["etag"]


def test_healthy_whatever_happens():
    """T16: health is about the process, not about Prometheus: no restart storms."""
    app = build(Display(compose(unready=["Prometheus is out of reach"])), listen="127.0.0.1:0")
    assert 200 == ask(app, "/-/healthy").status_code


def test_not_ready_says_why():
    """T16: 503 with every reason."""
    reasons = ["no tick has been evaluated yet", "Prometheus is out of reach"]
    answer = ask(build(Display(compose(unready=reasons)), listen="127.0.0.1:0"), "/-/ready")
    assert (503, reasons) == (answer.status_code, answer.json()["reasons"])


@pytest.mark.parametrize(("now", "status"), [(100.0, 200), (100.5, 503)], ids=["in time", "overdue"])
def test_not_ready_when_ticks_stay_away(now, status):
    """T5: a daemon that hangs does not call itself ready with its last view."""
    app = build(Display(compose(fresh_until=100.0), clock=lambda: now), listen="127.0.0.1:0")
    assert status == ask(app, "/-/ready").status_code


def test_slos_in_the_order_of_names(app):
    """All SLOs as the contract's snapshots, and how many there are."""
    expected = {"slos": [snapshot_json(one) for one in SLOS], "total": 5, "limit": 100, "offset": 0}
    assert expected == ask(app, "/api/v1/slos").json()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("limit=2", ["slo-0", "slo-1"]),
        ("limit=2&offset=4", ["slo-4"]),
        ("offset=5", []),
        ("offset=1000000", []),
    ],
)
def test_pages(app, query, names):
    """A page has what was asked for, and the number of all."""
    page = ask(app, f"/api/v1/slos?{query}").json()
    assert (names, 5) == ([one["name"] for one in page["slos"]], page["total"])


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=1001", "limit=NaN", "limit=1e3", "limit=", "limit=" + "9" * 5_000),
        *("offset=-1", "offset=x", "offset=99999999999999"),
    ],
    ids=lambda query: query[:20],
)
def test_nonsense_is_refused(app, query):
    """H15: parameters that make no sense are a 400 that names them."""
    answer = ask(app, f"/api/v1/slos?{query}")
    assert (400, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert query.partition("=")[0] in answer.json()["detail"]


def test_one_slo(app):
    """One SLO is the contract's snapshot."""
    assert snapshot_json(SLOS[3]) == ask(app, "/api/v1/slos/slo-3").json()


def test_unknown_slo_with_a_hint(app):
    """A wrong name is a 404 that asks whether another was meant."""
    answer = ask(app, "/api/v1/slos/slo-33")
    assert 404 == answer.status_code
    assert answer.json()["detail"].startswith("there is no SLO 'slo-33'; did you mean slo-3")


@pytest.mark.parametrize(
    "name", ["x" * 5_000, "zzz", AWKWARD.replace("/", "")], ids=["endless", "far off", "markup"]
)
def test_unknown_slo_without_a_hint(app, name):
    """H7, H15: names from nowhere are bounded work and plain JSON."""
    answer = ask(app, f"/api/v1/slos/{name}")
    assert (404, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert len(answer.content) < 300


def test_the_seeds_form(app):
    """/slo has all SLOs at once with the seed's fields."""
    assert {"slos": [seed_json(one) for one in SLOS]} == ask(app, "/slo").json()


@pytest.mark.parametrize(
    "path", ["/nothing", "/metrics/", "/metrics%00", "/%2e%2e/etc/passwd", "/../etc/passwd", "/docs", "/redoc"]
)  # fmt: skip
def test_other_paths_are_nothing(app, path):
    """H6: no traversal, no redirect, no page that loads foreign scripts."""
    assert 404 == ask(app, path).status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading(app, method):
    """H9, H16: nothing here changes anything; the answer names what is allowed."""
    answer = ask(app, "/api/v1/slos", method=method)
    assert (405, "GET, HEAD") == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize(
    ("path", "method", "allowed", "said"),
    [
        ("/slo", "POST", "GET, HEAD", "this path is only read (GET, HEAD)"),
        ("/-/reload", "GET", "POST", "this path is written to (POST), reading it changes nothing"),
        ("/api/v1/annotations/x", "GET", "DELETE", "this path answers to DELETE, not to GET"),
        ("/api/v1/annotations", "PUT", "GET, HEAD, POST", "this path answers to GET, HEAD, POST, not to PUT"),
    ],
    ids=["read only", "written only", "taken away only", "read and written"],
)
def test_a_wrong_method_is_told_the_right_ones(app, path, method, allowed, said):
    """Of all routes of the path together."""
    answer = ask(app, path, method=method)
    assert (405, allowed, said) == (answer.status_code, answer.headers["allow"], answer.json()["detail"])


@pytest.mark.parametrize("path", ["/metrics", "/slo", "/api/v1/slos/none", "/-/healthy"])
def test_head_is_get_without_a_body(app, path):
    """H16: HEAD has the status and the length of GET."""
    head, get = ask(app, path, method="HEAD"), ask(app, path)
    assert (get.status_code, get.headers["content-length"], b"") == (
        head.status_code,
        head.headers["content-length"],
        head.content,
    )


@pytest.mark.parametrize("path", ["/metrics", "/nothing", "/api/v1/slos?limit=x"])
def test_security_headers_on_every_answer(app, path):
    """H7: nothing of ours is run, framed or guessed at by a browser."""
    headers = ask(app, path).headers
    assert ("default-src 'none'; frame-ancestors 'none'", "nosniff", "DENY", "no-referrer") == (
        headers["content-security-policy"],
        headers["x-content-type-options"],
        headers["x-frame-options"],
        headers["referrer-policy"],
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9724", 200),
        ("127.8.9.1", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:9724", 200),
        ("slo.localhost", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:9724", 421),
        ("192.168.0.1", 421),
        ("", 421),
    ],
)
def test_only_loopback_names_on_loopback(app, host, status):
    """H10: a name that was bound to 127.0.0.1 from outside reads nothing."""
    assert status == ask(app, "/metrics", headers={"host": host}).status_code


@pytest.mark.parametrize("listen", [":9724", "0.0.0.0:9724", "[::]:9724", "192.0.2.1:9724"])
def test_any_name_elsewhere(display, listen):
    """H10: a server for others answers to whatever they call it."""
    assert 200 == ask(build(display, listen=listen), "/metrics", headers={"host": "slo.example"}).status_code


@pytest.mark.parametrize(
    "listen", ["9724", "localhost", "127.0.0.1:", "127.0.0.1:x", "::1:9724", "127.0.0.1:65536", "a:-1"]
)
def test_addresses_that_are_none(display, listen):
    """An address that cannot be listened on is refused with an example."""
    with pytest.raises(UsageError, match=r"for example 127\.0\.0\.1:9724"):
        build(display, listen=listen)


@pytest.mark.parametrize(
    "length", [str(1 << 30), "65537", "9" * 5_000, "-1", "1e3"], ids=lambda one: one[:12]
)
def test_a_large_body_is_refused_unread(app, length):
    """H3: 413 by the announced length alone, whatever that is."""
    answer = ask(app, "/metrics", method="POST", content=b"x", headers={"content-length": length})
    assert (413, "close") == (answer.status_code, answer.headers["connection"])


def test_a_body_without_end_is_refused_after_64_kib(app):
    """H3: a chunked body is read to 64 KiB and dropped."""
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 8_192
            yield b"x" * 8_192

    answer = ask(app, "/metrics", method="POST", content=endless())
    assert 413 == answer.status_code
    assert sent <= 65_536 + 2 * 8_192


def test_a_small_body_does_not_matter(app):
    """A GET with a body is a GET."""
    assert 200 == ask(app, "/metrics", content=b"x" * 1_000).status_code


def test_asking_for_the_header_of_the_stream_has_an_end(app):
    """H16: HEAD is answered at once, where GET goes on for an hour."""
    answer = ask(app, "/api/v1/stream", method="HEAD")
    assert (200, b"") == (answer.status_code, answer.content)
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_two_lengths_are_refused(app):
    """H16: a body with both Content-Length and Transfer-Encoding may be smuggled: refused."""
    headers = {"content-length": "3", "transfer-encoding": "chunked"}
    assert 400 == ask(app, "/metrics", method="POST", content=b"abc", headers=headers).status_code


def test_a_failure_of_ours_is_one_line(display):
    """Whatever breaks inside, the client gets a 500 and the log one line without a traceback."""
    inner = routes(display)

    @inner.get("/broken")
    async def broken():
        """Fail."""
        raise RuntimeError("broken inside")

    with capture_logs() as logs:
        answer = ask(Guard(inner, local=True), "/broken")
    assert (500, 1, "RuntimeError: broken inside") == (answer.status_code, len(logs), logs[0]["error"])
    assert "this is a fault of ours; the log has it" == answer.json()["detail"].lower().rstrip(".")
    with capture_logs():
        page = ask(Guard(inner, local=True), "/broken", headers={"accept": "text/html"})
    assert (500, True) == (page.status_code, "This is a fault of ours; the log has it." in page.text)
    assert "broken inside" not in answer.text + page.text


def test_an_upgrade_under_a_running_daemon_changes_no_page(display, monkeypatch):
    """Templates are read at the start, as the code is: newer ones on the disk do not meet older code."""
    app = routes(display)
    monkeypatch.setattr(assets, "templates", lambda: pytest.fail("read again"))
    monkeypatch.setattr(jinja2.FileSystemLoader, "get_source", lambda *_: pytest.fail("read from the disk"))
    monkeypatch.setattr(jinja2.PackageLoader, "get_source", lambda *_: pytest.fail("read from the disk"))
    assert [200, 404] == [ask(app, path).status_code for path in ("/", "/slos/none")]


def test_a_failure_before_the_routes_is_one_line_too():
    """Whatever breaks while a login is judged lets nobody in."""
    with capture_logs() as logs:
        broken = SimpleNamespace(current=Protection(users={"a": b"no hash"}), take=lambda _: True)
        answer = ask(
            Guard(None, local=True, protector=broken), "/metrics", headers={"authorization": "Basic YTpi"}
        )
    assert (500, ["request failed"]) == (answer.status_code, [line["event"] for line in logs])


@pytest.mark.parametrize("one", [SLOS[0], NOTHING], ids=["all figures", "no figure"])
def test_answers_are_as_openapi_says(one):
    """The documented models accept exactly what is sent; what only some SLOs have may be absent."""
    sent = orjson.loads(orjson.dumps(snapshot_json(one)))
    always = {name for name, field in Snapshot.model_fields.items() if field.is_required()}
    assert always == set(sent)
    Snapshot.model_validate(sent)
    further = snapshot_json(one._replace(suspicious="s", raw=RAW, budget_alerts=(BUDGET_ALERT,)))
    assert set(Snapshot.model_fields) == set(further)
    Snapshot.model_validate(further)
    SnapshotPage.model_validate({"slos": [sent], "total": 1, "limit": 1, "offset": 0})


def test_an_slo_with_groups_is_as_openapi_says():
    """The roll-up and its page of groups have a shape of their own, which the document names."""
    groups = [SLOS[0]._replace(labels={"handler": f"/{n}"}) for n in range(3)]
    app = build(
        Display(compose(snapshots=[SLOS[0]._replace(rollup=True, labels={}), *groups])),
        listen="127.0.0.1:9724",
    )
    name = SLOS[0].name
    page = GroupPage.model_validate(ask(app, f"/api/v1/slos/{name}?limit=2&group.handler=/1").json())
    assert (1, [{"handler": "/1"}]) == (page.total, [one.labels for one in page.groups])
    answer = ask(app, "/openapi.json").json()["paths"]["/api/v1/slos/{name}"]["get"]["responses"]["200"]
    assert "GroupPage" in str(answer)


def test_errors_are_problems(app):
    """RFC 9457: every error is a problem document."""
    for path in ("/nothing", "/api/v1/slos/none", "/api/v1/slos?limit=x"):
        Problem.model_validate(ask(app, path).json())


def test_openapi_document(app):
    """The document names every path."""
    document = ask(app, "/openapi.json").json()
    operations = {"/metrics", "/-/healthy", "/-/ready", "/-/reload", "/api/v1/status"}
    slos = {"/slo", "/api/v1/slos", "/api/v1/slos/{name}", "/api/v1/slos/{name}/history", "/api/v1/stream"}
    further = {
        "/api/v1/alerts",
        "/api/v1/events",
        "/api/v1/gate",
        "/api/v1/annotations",
        "/api/v1/annotations/{mark_id}",
    }
    assert {*operations, *slos, *further} == set(document["paths"])
    assert "422" not in document["paths"]["/api/v1/slos"]["get"]["responses"]


def test_a_body_that_does_not_come_is_not_waited_for(app, monkeypatch):
    """H1: an announced body must come in time, else 408."""
    monkeypatch.setattr(guarding, "BODY_SECONDS", 0.05)

    async def asking():
        sent = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/metrics",
            "headers": [(b"host", b"localhost"), (b"content-length", b"3")],
        }

        async def receive():
            await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)
        return sent[0]

    answer = asyncio.run(asking())
    assert (408, True) == (answer["status"], (b"connection", b"close") in answer["headers"])


def test_a_failure_in_the_middle_of_an_answer_ends_it():
    """What is sent cannot be taken back: one log line, and no second answer behind the first."""

    async def half(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("broken inside")

    async def asking():
        sent = []

        async def send(message):
            sent.append(message["type"])

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await Guard(half, local=False)(scope, None, send)
        return sent

    with capture_logs() as logs:
        assert ["http.response.start"] == asyncio.run(asking())
    assert ["request failed"] == [line["event"] for line in logs]


def test_what_is_no_http_is_ignored(app):
    """A websocket or lifespan scope gets nothing."""
    assert asyncio.run(app({"type": "websocket"}, None, None)) is None


@pytest.mark.parametrize(
    ("accept", "kind"), [("text/html,*/*", "text/html"), ("*/*", "application/problem+json")]
)
def test_an_unknown_path_is_a_page_to_browsers(app, accept, kind):
    """Whoever wants HTML gets a page that leads back, others a problem."""
    answer = ask(app, "/nope", headers={"accept": accept})
    assert (404, kind) == (answer.status_code, answer.headers["content-type"].split(";")[0])
    assert "nothing at this path" in answer.text
