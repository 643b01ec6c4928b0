"""Annotations: set with a token by pipelines, kept in the ledger, shown by API, charts and reports."""

from __future__ import annotations

import json

import pytest

from slo_budget_tracker.annotations import Annotation, Sought, forget_annotations
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.resources import Annotation as Shape
from slo_budget_tracker.resources import AnnotationPage
from slo_budget_tracker.web import Display, Notebook, build, compose
from tests.unit.serving import availability
from tests.unit.test_cli import call  # noqa: F401 - a fixture
from tests.unit.test_web import ask, snapshot

AT = 1_793_448_000  # 2026-10-31T12:00:00Z
PATH = "/api/v1/annotations"
BEARER = {"authorization": "Bearer S3CR3T", "content-type": "application/json"}
DEPLOY = {"kind": "deploy", "text": "shop 1.42.0"}


@pytest.fixture
def display():
    """Two SLOs, one of a service, and a ledger that keeps annotations."""
    slos = [availability("shop", service="checkout"), availability("search")]
    display = Display(
        compose(snapshots=[snapshot("shop"), snapshot("search")], slos=slos), wall=lambda: AT + 10.5
    )
    with Ledger.open("sqlite://") as ledger:
        archive = Archive(ledger)
        display.notebook = Notebook(archive.marks, archive.annotate, archive.erase)
        yield display


@pytest.fixture
def token(tmp_path):
    """The file of a token."""
    (tmp_path / "token").write_text("S3CR3T\n")
    return tmp_path / "token"


@pytest.fixture
def app(display, token):
    """The application, with annotations on."""
    return build(display, listen="127.0.0.1:9724", pen=token)


def post(app, mark, *, headers=BEARER, path=PATH, method="POST"):
    """Send a mark."""
    content = mark if isinstance(mark, bytes) else json.dumps(mark).encode()
    return ask(app, path, method=method, content=content, headers=headers)


def texts(app, query=""):
    """The texts that the API lists."""
    page = AnnotationPage.model_validate(ask(app, f"{PATH}?{query}").json())
    return [one.text for one in page.annotations]


def test_a_mark_is_kept_once(app):
    """201 with the mark, at the time it came; the same one sent again by a retry is 200 and not there twice."""
    answer = post(app, {**DEPLOY, "at": "-10s", "link": "https://ci.example.org/7", "slos": ["shop"]})
    mark = Shape.model_validate(answer.json())
    assert (201, "2026-10-31T12:00:00Z") == (answer.status_code, answer.json()["at"])
    again = post(app, {**DEPLOY, "at": str(AT), "link": "https://ci.example.org/7", "slos": ["shop"]})
    assert (200, mark.id) == (again.status_code, again.json()["id"])
    assert ["shop 1.42.0"] == texts(app)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["d", "c", "b", "a"]),
        ("limit=1&offset=1", ["c"]),
        ("slo=shop", ["d", "b", "a"]),
        ("slo=search", ["d", "c", "a"]),
        ("slo=shop&limit=1&offset=1", ["b"]),
        ("kind=incident", ["c"]),
        ("start=2026-10-31T11:00:00Z", ["d", "c"]),
        ("end=2026-10-31T08:59:00Z", ["a"]),
    ],
)
def test_who_they_are_about(app, query, expected):
    """All SLOs unless it names some, by glob, or a service; a span is found where it touches."""
    post(app, {"kind": "note", "text": "a", "at": "2026-10-31T08:00:00Z"})
    post(app, {"kind": "deploy", "text": "b", "at": "2026-10-31T09:00:00Z", "service": "checkout"})
    post(
        app,
        {
            "kind": "incident", "text": "c", "at": "2026-10-31T10:00:00Z", "until": "2026-10-31T11:30:00Z",
            "slos": ["sea*"], "author": "ann",
        },
    )  # fmt: skip
    post(app, {"kind": "deploy", "text": "d"})
    assert expected == texts(app, query)


def test_a_mark_can_be_taken_back(app):
    """DELETE with the token: 204, then there is none."""
    mark = post(app, DEPLOY).json()["id"]
    found = [post(app, b"", path=f"{PATH}/{mark}", method="DELETE").status_code for _ in range(2)]
    assert ([204, 404], []) == (found, texts(app))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 401),
        ({**BEARER, "authorization": "Bearer wrong"}, 401),
        ({**BEARER, "sec-fetch-site": "cross-site"}, 403),
        ({**BEARER, "origin": "http://evil.example.org"}, 403),
        ({**BEARER, "content-type": "text/plain"}, 415),
    ],
    ids=["no token", "wrong token", "another site", "another origin", "a form"],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_only_who_may(app, headers, status, method):
    """H9: the token, and no page of another origin; nothing is written."""
    if method == "DELETE" and status == 415:
        status = 404
    path = f"{PATH}/x" if method == "DELETE" else PATH
    assert status == post(app, DEPLOY, headers=headers, path=path, method=method).status_code
    assert [] == texts(app)


def test_who_guesses_tokens_waits(display, token):
    """H11: ten wrong tokens, then 429 and when to come again; a token that was right before still gets through."""
    app = build(display, listen="127.0.0.1:9724", pen=token)
    assert 201 == post(app, DEPLOY).status_code
    wrong = [{**BEARER, "authorization": f"Bearer guess-{n}"} for n in range(12)]
    answers = [post(app, DEPLOY, headers=headers) for headers in wrong]
    assert [401] * 10 + [429] * 2 == [one.status_code for one in answers]
    assert ("3", "too many wrong tokens from this address; wait a little") == (
        answers[-1].headers["retry-after"],
        answers[-1].json()["detail"],
    )
    assert 200 == post(app, DEPLOY).status_code


def test_off_unless_asked_for(display, tmp_path):
    """H9: without the setting, or with an empty token file, nobody writes; reading is open."""
    (tmp_path / "empty").write_text("\n")
    answers = [
        post(build(display, listen="127.0.0.1:9724", pen=pen), DEPLOY) for pen in (None, tmp_path / "empty")
    ]
    assert [403, 403] == [one.status_code for one in answers]
    assert "web.annotations: true" in answers[0].json()["detail"]
    assert "web.annotations_token_file cannot be read" in answers[1].json()["detail"]


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        (b"{", "body: invalid json"),
        (b"", "body: invalid json"),
        ({"kind": "party", "text": "x"}, "kind: input should be 'deploy', 'incident' or 'note'"),
        ({"kind": "deploy", "text": ""}, "text: string should have at least 1"),
        ({**DEPLOY, "colour": "red"}, "colour: extra inputs"),
        ({**DEPLOY, "link": "javascript:alert(1)"}, "link: string should match"),
        ({**DEPLOY, "text": "a\0b"}, "text: string should match"),
        ({**DEPLOY, "slos": ["shop\x1b"]}, "slos.0: string should match"),
        ({**DEPLOY, "link": "https://example.org/\0"}, "link: string should match"),
        ({**DEPLOY, "at": "soon"}, "at: not a time"),
        ({**DEPLOY, "at": "+32d"}, "at: +32d is not within the last 400 days or the next 31"),
        ({**DEPLOY, "until": "-1h"}, "until: not after `at`"),
        ({**DEPLOY, "slos": ["x"] * 101}, "slos: list should have at most 100"),
        (b'{"kind": "deploy", "text": "\\ud800"}', "invalid"),
    ],
)
def test_nonsense_is_refused(app, mark, said):
    """H15: every fault is named, nothing is written."""
    answer = post(app, mark)
    assert (400, True) == (answer.status_code, said in answer.json()["detail"]), answer.text
    assert [] == texts(app)


@pytest.mark.parametrize("query", ["slo=nobody", "start=soon", "limit=0"])
def test_nonsense_is_refused_when_reading(app, query):
    """H15: an unknown SLO, no time, no page."""
    assert ask(app, f"{PATH}?{query}").status_code in {400, 404}


def test_a_ledger_in_trouble_says_so(display, token):
    """503 with the ledger's own sentence, for reading and for writing."""

    def broken(*_):
        raise LedgerError("the ledger cannot be used")

    for notebook in (Display(compose()).notebook, Notebook(broken, broken, broken)):
        display.notebook = notebook
        app = build(display, listen="127.0.0.1:9724", pen=token)
        answers = [post(app, DEPLOY), post(app, b"", path=f"{PATH}/x", method="DELETE")]
        assert [503, 503] == [one.status_code for one in answers]
    assert 503 == ask(app, PATH).status_code


def test_they_go_with_old_events():
    """Annotations that ended before an instant are removed."""
    with Ledger.open("sqlite://") as ledger:
        archive = Archive(ledger)
        for text, start, end in (("old", 10, None), ("long", 10, 200), ("new", 150, None)):
            archive.annotate(Annotation("note", start, text, end))
        with ledger.transaction() as connection:
            forget_annotations(connection, before=100)
        assert ["new", "long"] == [one.text for one in archive.marks(Sought()).marks]


@pytest.fixture
def daemon(app):
    """The application on a port."""
    server = WebServer(app, listen="127.0.0.1:0")
    server.start()
    yield server.url
    server.stop()


def test_a_pipeline_annotates(call, daemon, token, app):  # noqa: F811
    """The command sets a deploy; the same again was there already."""
    asked = (
        "annotate",
        "shop 1.42.0",
        "--url",
        daemon,
        "--token-file",
        token,
        "--at",
        str(AT),
        "--slo",
        "shop",
    )
    status, out, _ = call(*asked, "--link", "https://ci.example.org/7")
    assert (0, "deploy at 2026-10-31T12:00:00Z set: ") == (status, out[:36])
    assert "was there already" in call(*asked, "--link", "https://ci.example.org/7")[1]
    assert ["shop 1.42.0"] == texts(app, "slo=shop")


def test_what_hinders_a_pipeline(call, daemon, token, tmp_path, monkeypatch):  # noqa: F811
    """A sentence and a status: 2 for what the caller did wrong, 3 for a daemon out of reach."""
    monkeypatch.delenv("SLO_ANNOTATIONS_TOKEN", raising=False)
    (tmp_path / "odd").write_text("t\u00f6ken")
    tries = [
        (("--url", daemon), 2, "no token, expected --token-file"),
        (("--url", daemon, "--token-file", tmp_path / "none"), 2, "cannot be read"),
        (("--url", daemon, "--token-file", tmp_path / "odd"), 2, "characters that no header can have"),
        (("--url", daemon, "--token-file", token, "--at", "soon"), 2, "at: not a time"),
        (
            ("--url", "http://127.0.0.1:9", "--token-file", token),
            3,
            "the daemon at http://127.0.0.1:9: no connection: Connection refused",
        ),
        (("--url", "localhost:9464", "--token-file", token), 2, "perhaps http://localhost:9464"),
        (("--url", f"{daemon}/nowhere", "--token-file", token), 2, "there is nothing at this path"),
    ]
    for arguments, expected, said in tries:
        status, _, err = call("annotate", "x", *arguments)
        assert (expected, True) == (status, said in err), err
    monkeypatch.setenv("SLO_ANNOTATIONS_TOKEN", "S3CR3T")
    assert 0 == call("annotate", "x", "--url", daemon)[0]
