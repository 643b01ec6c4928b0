"""axe-core finds nothing: on the list and the detail page, dark and light, wide and narrow, in every state."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files

import pytest

from tests.pages.conftest import until
from tests.pages.showcase import SERVICES, Showcase

pytestmark = pytest.mark.chromium
FAULTS = ("slos/shop.yaml:4:13: slos[0].target: the bare number 99.9, expected a share",)


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core; it is evaluated by the browser's own tools, as the policy lets no page do."""
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def violations(page, axe):
    """What axe finds, in short."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


def nothing_yet():
    """Before the first tick."""
    showcase = Showcase(services=SERVICES[:1])
    showcase.publish([], unready=["the first tick is not done"])
    return showcase


def without_slos():
    """No SLO at all."""
    showcase = Showcase(services=SERVICES[:1])
    showcase.publish([])
    return showcase


def in_trouble():
    """Late, and with a reload that was refused."""
    showcase = Showcase(services=SERVICES[:2])
    showcase.display.view = replace(showcase.display.view, unready=("the last tick failed",), faults=FAULTS)
    return showcase


def grouped():
    """An SLO with groups."""
    showcase = Showcase(services=SERVICES)
    showcase.publish_grouped()
    return showcase


def check(page, axe):
    """Nothing is found in light colours, nor in dark ones."""
    assert [] == violations(page, axe)
    page.click("#theme")
    assert [] == violations(page, axe)


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("path", ["/", "/slos/checkout-availability"], ids=["list", "detail"])
def test_list_and_detail(open_page, server, axe, path, width):
    """Colours, names, roles and order, with everything drawn."""
    page = open_page(server, path, width=width)
    if path != "/":
        until(page, "Number(document.getElementById('charts').dataset.drawn) >= 1")
    check(page, axe)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (nothing_yet, "/"),
        (without_slos, "/"),
        (in_trouble, "/"),
        (grouped, "/"),
        (grouped, "/slos/checkout-availability"),
        (grouped, "/?q=nothing+of+the+kind"),
        (grouped, "/slos/login-availability"),
        (grouped, "/slos/nobody"),
    ],
    ids=["starting", "empty", "in trouble", "groups", "roll-up", "no match", "no data", "not found"],
)
def test_every_state(open_page, serve, axe, make, path):
    """Nothing yet, nothing at all, trouble, groups, no match, no data, not found."""
    check(open_page(serve(make()), path, fails=path.endswith("nobody")), axe)


def test_notes_that_are_open(open_page, server, axe):
    """The explanation of a figure, and the keys."""
    page = open_page(server, "/slos/checkout-availability")
    page.locator(".tile .hint").first.click()
    assert [] == violations(page, axe)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert [] == violations(page, axe)
