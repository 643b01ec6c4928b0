"""The Grafana dashboards: they are what their code makes, and every query of every panel has an answer."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import time
from pathlib import Path

import httpx
import pytest

from slo_budget_tracker.gauges import _FAMILIES
from tests.real.test_alert_rules import SLOS, Shop, tracking, until
from tests.servers import free_port

FOLDER = Path(__file__).parents[2] / "config" / "grafana"
BOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
CHOSEN = {"$datasource": "x", "$slo": "shop", "$service": ".*", "$job": ".*", "${group:raw}": 'slo!=""'}
GROUPED = (
    SLOS
    + """
  - name: by-target
    target: 99%
    window: 1h
    sli: {requests: {total: shop_requests_total, bad: 'shop_requests_total{code="500"}'}}
    group_by: [instance]
    alerts: [{severity: page, long: 5m, short: 1m, burn_rate: 10}]
"""
)


def panels(path):
    """The panels of a dashboard."""
    return json.loads(path.read_text())["panels"]


def queries(**choice):
    """Every query with the dashboard and panel it is of, its variables filled in."""
    chosen = {**CHOSEN, **{f"${name}": value for name, value in choice.items()}}
    for path in BOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                text = target["expr"]
                for name, value in chosen.items():
                    text = text.replace(name, value)
                yield f"{path.stem}: {panel['title']}", text


@pytest.mark.filterwarnings("ignore:Prefer using:DeprecationWarning")
def test_the_dashboards_are_what_their_code_makes(monkeypatch):
    """Whoever changes config/grafana/generate.py runs it."""
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {path.name: path.read_text() for path in BOARDS} == module.generated()


def test_every_panel_has_a_title_and_its_variables_exist():
    """No variable is used that is not asked for; every dashboard chooses its datasource."""
    for path in BOARDS:
        variables = {f"${one['name']}" for one in json.loads(path.read_text())["templating"]["list"]}
        variables |= {"${group:raw}"} & {f"${{{one[1:]}:raw}}" for one in variables}
        assert "$datasource" in variables
        text = "".join(target["expr"] for panel in panels(path) for target in panel["targets"])
        used = set(re.findall(r"\$(?:\w+|\{[^}]*\})", text))
        assert used - {"$1"} <= variables, path  # the label_replace of a part
        assert all(panel["title"] for panel in panels(path))


def test_every_gauge_is_looked_at():
    """Each gauge of SLOs, and each of all groups together, is on a dashboard or in an alert rule."""
    exprs = [target["expr"] for path in BOARDS for panel in panels(path) for target in panel["targets"]]
    rules = [path.read_text() for path in (FOLDER.parent / "prometheus").glob("*.yaml")]
    text = "\n".join([*exprs, *rules])
    for found in re.findall(r'__name__=~"([^"]*)"', text):
        text += "".join(f" {name}" for name in _FAMILIES if re.fullmatch(found, name))
    assert [] == [name for name in _FAMILIES if not re.search(rf"\b{name}\b", text)]


@contextlib.contextmanager
def scraped(folder, make_prometheus):
    """A real Prometheus that scrapes a failing shop and a real daemon, once it answers every query of every panel."""
    shop, port = Shop(), free_port()
    try:
        prometheus = make_prometheus(scrape={"shop": [shop.address], "slo": [f"127.0.0.1:{port}"]}).start()
        with tracking(folder, prometheus.url, port, slos=GROUPED):
            url = f"http://127.0.0.1:{port}/api/v1/slos/shop"
            until(lambda: httpx.get(url, trust_env=False).json()["total"], "the first counts")
            shop.failing = True
            until(lambda: prometheus.ask('slo_burn_rate{slo="shop"} > 0', time.time()), "a burn rate")
            group = f'group_instance="{shop.address}"'
            asked = [
                *queries(),
                *queries(slo="by-target"),
                *queries(slo="by-target", **{"{group:raw}": group}),
            ]
            unanswered = {query: where for where, query in asked}

            def answered():
                for query in list(unanswered):
                    if prometheus.ask(query, time.time()):
                        del unanswered[query]
                return not unanswered

            try:
                until(answered, "answers")
            except AssertionError:
                assert {} == unanswered
            yield prometheus, shop
    finally:
        shop.server.shutdown()
        shop.server.server_close()


@pytest.mark.prometheus
def test_every_query_has_an_answer(tmp_path, make_prometheus):
    """A real Prometheus that scrapes a real daemon answers each with data: for an SLO, one with groups, one group."""
    with scraped(tmp_path, make_prometheus) as (prometheus, shop):
        variable = 'max without (job, instance, pod, slo) (slo_target{slo="by-target"})'
        assert [{"group_instance": shop.address}] == [
            labels for labels, _ in prometheus.ask(variable, time.time())
        ]
