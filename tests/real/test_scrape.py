"""The page of /metrics scraped by a real Prometheus."""

from __future__ import annotations

import time

import pytest

from slo_budget_tracker.exposition import readable
from slo_budget_tracker.figures import OwnFigures
from slo_budget_tracker.gauges import render
from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.web import Display, build, compose
from tests.unit.test_gauges import ODD_VALUES, definition, snapshot

WAIT_SECONDS = 20


@pytest.fixture
def display():
    """A display with one SLO, and instances with odd label values."""
    odd = [snapshot("odd", labels={"group": value}) for value in ODD_VALUES.values()]
    return Display(compose(metrics=render([snapshot(), *odd], [definition()], OwnFigures(ticks={"ok": 1}))))


@pytest.fixture
def scraping(display, make_prometheus):
    """A Prometheus that scrapes the display each second."""
    web = WebServer(build(display, listen="127.0.0.1:0"), listen="127.0.0.1:0")
    web.start()
    server = make_prometheus(scrape={"slo": [web.address]})
    yield server.start()
    server.stop()
    web.stop()


def until(server, expression, *, holds):
    """What an expression says once it is as wanted, or when time is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = server.ask(expression, time.time())
        if holds(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


@pytest.mark.prometheus
def test_every_sample_arrives(scraping, display):
    """D18: Prometheus takes the page as OpenMetrics, with every sample and every odd label value as written."""
    until(scraping, 'up{job="slo"} == 1', holds=bool)
    ((_, scraped),) = until(scraping, "scrape_samples_scraped", holds=bool)
    lines = [line for line in display.view.text.body.strip().split(b"\n") if not line.startswith(b"#")]
    assert len(lines) == scraped
    groups = {labels["group"] for labels, _ in scraping.ask('slo_target{slo="odd"}', time.time())}
    assert {readable(value) for value in ODD_VALUES.values()} == groups


@pytest.mark.prometheus
def test_a_removed_slo_is_gone_at_the_next_scrape(scraping, display):
    """What a new view does not have is stale in Prometheus at once, not after five minutes."""
    until(scraping, 'slo_target{slo="odd"}', holds=bool)
    display.view = compose(metrics=render([snapshot()], [definition()], None))
    assert [] == until(scraping, 'slo_target{slo="odd"}', holds=lambda found: not found)
