"""Rows of the catalogue that concern several rooms: work done once, headers, many groups, addresses in SLO files."""

from __future__ import annotations

import asyncio
import gzip
import sys

import httpx
import pytest

from slo_budget_tracker import replies, views
from slo_budget_tracker.configuration import catalogue_of
from slo_budget_tracker.errors import TrackerError
from slo_budget_tracker.settings import load_settings
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.web import Display, build, compose
from tests.unit.test_settings_faults import faults_of
from tests.unit.test_web import METRICS, SLOS, ask, snapshot

GROUPS = 10_000
SOMEWHERE = "169.254.169.254"


def test_a_thousand_scrapes_are_one_rendering(monkeypatch):
    """H4: each form is made once, for the first who asks; from then on when a tick is published, never for a request."""
    made = []
    genuine = gzip.compress
    monkeypatch.setattr(
        views.gzip, "compress", lambda body, *level, **more: made.append(1) or genuine(body, *level, **more)
    )
    display = Display(compose(metrics=METRICS * 1_000, snapshots=SLOS))
    app = build(display, listen="127.0.0.1:0")
    monkeypatch.setattr(replies, "prepare", lambda *_, **__: pytest.fail("made for a request"))

    async def scrapes():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            wishes = [{}, {"accept": "application/openmetrics-text"}, {"accept-encoding": "identity"}]
            answers = await asyncio.gather(
                *(client.get("/metrics", headers=wishes[n % 3]) for n in range(1_000))
            )
            return {one.status_code for one in answers}

    counted = []
    for step in (scrapes, None, scrapes):
        before = len(made)
        if step is None:
            display.view = compose(metrics=METRICS * 999, snapshots=SLOS)
        else:
            assert {200} == asyncio.run(step())
        counted.append(len(made) - before)
    assert [2, 2, 0] == counted


@pytest.mark.parametrize(
    ("headers", "place"),
    [
        ('{X-Scope-OrgID: "a\\r\\nX-Admin: 1"}', "c.yaml:1:39: prometheus.headers.X-Scope-OrgID"),
        ('{X-Scope-OrgID: "a\\n"}', "c.yaml:1:39: prometheus.headers.X-Scope-OrgID"),
        ('{"X Y": a}', "c.yaml:1:31: prometheus.headers.X Y"),
    ],
)
def test_headers_are_one_line(tmp_path, headers, place):
    """H5: nothing can be smuggled into a request by a header of the configuration."""
    (line,) = faults_of(tmp_path, f"prometheus: {{headers: {headers}}}")
    assert (place, True) == (line.partition(": a value")[0], "expected a header of one line" in line)


def test_many_groups_are_bounded_answers():
    """H17: an SLO of ten thousand groups: JSON and page by pages, the list folds them into one line."""
    one = snapshot("big")._replace(labels={})
    groups = [one._replace(labels={"handler": f"/{n:05}"}) for n in range(GROUPS)]
    app = build(Display(compose(snapshots=[one._replace(rollup=True), *groups])), listen="127.0.0.1:0")
    most = ask(app, "/api/v1/slos/big?limit=1000").json()
    assert (GROUPS, 1_000) == (most["total"], len(most["groups"]))
    assert 400 == ask(app, "/api/v1/slos/big?limit=1001").status_code
    for path in ("/", "/slos/big", "/api/v1/slos", "/api/v1/alerts", "/api/v1/gate"):
        answer = ask(app, path)
        assert (200, True) == (answer.status_code, len(answer.content) < 2_000_000), path


@pytest.mark.parametrize(
    "text",
    [
        "slos:\n  - {name: a, target: 99%, datasource: 'http://%s/', sli: {probe: {up: up}}}\n",
        "slos:\n  - {name: a, target: 99%, sli: {probe: {up: up, url: 'http://%s/'}}}\n",
        "prometheus: {url: 'http://%s/'}\nslos:\n  - {name: a, target: 99%, sli: {probe: {up: up}}}\n",
        "slos:\n  - {name: a, target: 99%, sli: {requests: {total: 'http://%s/', bad: b}}}\n",
        "version: prometheus/v1\nservice: s\nendpoint: 'http://%s/'\nslos: []\n",
        "apiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: d}\nspec: {type: Prometheus, connectionDetails: {url: 'http://%s/'}}\n",
        "backends: {prometheus: {url: 'http://%s/'}}\n",
    ],
    ids=["datasource", "sli", "prometheus", "selector", "sloth", "openslo", "slo-generator"],
)
def test_no_slo_file_says_where_to_ask(tmp_path, text):
    """H19: whoever writes SLO files chooses among the operator's datasources by name, and no address of their own."""
    (tmp_path / "a.yaml").write_text(text.replace("%s", SOMEWHERE))
    try:
        slos = catalogue_of(load_settings(None, {"SLO_BUDGET_TRACKER_SLO_FILES": f"{tmp_path}/a.yaml"})).slos
    except TrackerError:
        return
    assert (set(), False) == ({one.datasource for one in slos} - {"default"}, SOMEWHERE in repr(slos))


def test_links_are_never_followed(tmp_path):
    """H19: a link is shown; loading a file with one opens no connection."""
    (tmp_path / "a.yaml").write_text(
        f"slos:\n  - {{name: a, target: 99%, links: {{runbook: 'http://{SOMEWHERE}/'}}, sli: {{probe: {{up: up}}}}}}\n"
    )
    opened, watching = [], True
    sys.addaudithook(lambda event, _: watching and event == "socket.connect" and opened.append(event))
    try:
        (slo,) = load([tmp_path / "a.yaml"]).slos
    finally:
        watching = False
    assert ([], True) == (opened, SOMEWHERE in repr(slo.links))
