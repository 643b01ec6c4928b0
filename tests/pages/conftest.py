"""A real Chromium, a page that allows nothing it should not need, and the showcase it looks at."""

from __future__ import annotations

import time

import pytest

from tests.pages.showcase import Showcase
from tests.servers import chromium_binary

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE = 60_000  # ms


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, headless."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where there is a Chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_binary(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def showcase():
    """The SLOs of the showcase."""
    return Showcase()


@pytest.fixture(scope="module")
def server(showcase):
    """The web server that shows them."""
    server = showcase.serve()
    yield server
    server.stop()


@pytest.fixture
def serve():
    """Serves further showcases for the length of a test."""
    servers = []

    def serve(showcase):
        servers.append(showcase.serve())
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def until(page, expression):
    """Wait until an expression is true; polled from outside, because the page's policy forbids to evaluate text."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(30)


@pytest.fixture
def open_page(browser, serve):
    """Opens pages; at the end none of them may have asked another host, failed or complained."""
    contexts, troubles = [], []

    def watched(page, fails):
        page.set_default_timeout(PATIENCE)

        def complained(one):
            expected = fails and one.text.startswith("Failed to load resource")
            if one.type in {"error", "warning"} and not expected:
                troubles.append(one.text)

        page.on("console", complained)
        page.on("pageerror", lambda one: troubles.append(str(one)))
        page.on("dialog", lambda one: (troubles.append(f"dialog: {one.message}"), one.dismiss()))
        return page

    def open_page(server, path="/", *, width=1440, theme="light", touch=False, fails=False):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, has_touch=touch
        )
        contexts.append(context)
        page = watched(context.new_page(), fails)
        page.on("request", lambda one: None if one.url.startswith(server.url) else troubles.append(one.url))
        page.goto(server.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [] == troubles
