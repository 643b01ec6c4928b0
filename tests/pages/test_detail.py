"""The page of one SLO in a real browser: figures, charts, alerts, events, definition, reasons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.history import History
from tests.pages.conftest import until
from tests.pages.showcase import SERVICES, Showcase

pytestmark = pytest.mark.chromium
CHECKOUT = "/slos/checkout-availability"


def drawn(page, times=1):
    """Wait until the charts were drawn."""
    until(page, f"Number(document.getElementById('charts').dataset.drawn) >= {times}")
    return page


def test_everything_an_engineer_asks(open_page, server):
    """Why, tiles, alert pairs with both windows, events with receipts, the definition and its queries."""
    page = open_page(server, CHECKOUT)
    assert page.locator("#why").inner_text().startswith("At risk\nA page over 1h and 5m fires")
    assert "74.4%" == page.locator(".tile.main dd > b").inner_text()
    assert ["1h 38", "5m 80"] == [
        one.rstrip("\N{MULTIPLICATION SIGN}").replace("37.9", "38")
        for one in page.locator(".pairs tr.firing td.num:not([data-name='Fires at'])").all_inner_texts()
    ]
    assert ["firing", "quiet", "quiet", "quiet"] == page.locator(".pairs .phase").all_inner_texts()
    events = page.locator(".events li").all_inner_texts()
    assert ("receipt #1204 9f86d081884c" in events[0], "422: payload refused" in events[2]) == (True, True)
    assert 'http_requests_total{code=~"5..",job="checkout"}' in page.locator(".facts").inner_text()
    link = page.locator(".queries a").get_attribute("href")
    assert link.startswith("http://prometheus.example.org:9090/graph?g0.expr=http_requests_total")
    assert ["noopener noreferrer"] * 2 == [one.get_attribute("rel") for one in page.locator(".links a").all()]


def test_four_charts_over_a_range_of_choice(open_page, server):
    """All four are drawn with data; another range draws them anew and is in the address."""
    page = drawn(open_page(server, CHECKOUT))
    assert 4 == page.locator(".plot canvas").count()
    inks = "[...document.querySelectorAll('.plot canvas')].map((one) => { const d = one.getContext('2d').getImageData(0, 0, one.width, one.height).data; const seen = new Set(); for (let i = 0; i < d.length; i += 4) if (d[i + 3] > 200) seen.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return seen.size > 3; })"
    assert [True] * 4 == page.evaluate(inks)
    page.click(".ranges button:text-is('1d')")
    drawn(page, 2)
    assert page.url.endswith("?range=86400")
    page.reload()
    drawn(page)
    assert "1d" == page.locator(".ranges [aria-pressed=true]").inner_text()


def test_charts_begin_with_what_fires(open_page, server):
    """While a page fires over an hour its last hours are shown; where nothing fires, the window."""
    for path, range_ in (
        (CHECKOUT, "6h"),
        ("/slos/search-availability", "30d"),
        ("/slos/search-latency", "7d"),
    ):
        page = drawn(open_page(server, path))
        assert range_ == page.locator(".ranges [aria-pressed=true]").inner_text()


def test_a_tick_updates_page_and_charts(open_page, showcase, server):
    """The stream brings new figures and draws the charts again."""
    page = drawn(open_page(server, "/slos/media-upload"))
    page.wait_for_selector(".live.on")
    before = page.locator("#tiles").inner_text()
    showcase.tick(120, bad=0.004)
    drawn(page, 2)
    assert before != page.locator("#tiles").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits(open_page, server, theme, width):
    """Nothing is cut off on a phone, and charts follow a change of colours."""
    page = drawn(open_page(server, CHECKOUT, width=width, theme=theme))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#theme")
    drawn(page, 2)


def test_landmarks_and_names(open_page, server):
    """One main, one h1, every control and every picture has a name."""
    page = open_page(server, CHECKOUT)
    assert (1, 1) == (page.locator("main").count(), page.locator("h1").count())
    nameless = "[...document.querySelectorAll('button, a, input, select, svg[role=img]')].filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length)).map((one) => one.outerHTML)"
    assert [] == page.evaluate(nameless)
    page.keyboard.press("Tab")
    assert "Skip to content" == page.evaluate("document.activeElement.textContent")


def test_an_slo_without_data_says_so(open_page, server):
    """No data is not a hundred percent: the page says what is known, and how little."""
    page = drawn(open_page(server, "/slos/login-availability"))
    assert page.locator("#why").inner_text().startswith("No data\nThe last tick brought nothing")
    assert re.search(r"[0-9.]+% is left", page.locator("#tiles").inner_text())


def test_a_page_that_fires_is_red_and_a_ticket_is_not(open_page, server):
    """Who comes from a phone call sees at once that this is it, whatever is left of the budget."""
    edge = "getComputedStyle(document.getElementById('why')).borderLeftColor"
    page = open_page(server, CHECKOUT)
    assert "rgb(192, 38, 31)" == page.evaluate(edge)
    assert "32 min 7 s of a full outage" in page.locator(".tile.main").inner_text()
    assert "14.4\N{MULTIPLICATION SIGN}\n1.44% fail" in page.locator("tr.firing").inner_text()
    assert "rgb(148, 82, 0)" == open_page(server, "/slos/checkout-latency").evaluate(edge)


def test_a_group_that_alerts_is_told_on_the_page_of_all(open_page, serve):
    """The budget over all groups may be well; the first sentence leads to the group that is not."""
    showcase = Showcase(services=SERVICES)
    showcase.publish_grouped()
    page = open_page(serve(showcase), CHECKOUT)
    assert "1 of its 6 groups alerts." == page.locator("#why .first").inner_text()
    assert "rgb(192, 38, 31)" == page.evaluate(
        "getComputedStyle(document.getElementById('why')).borderLeftColor"
    )
    assert page.locator("#why li").first.inner_text().startswith("Over all groups: ")
    page.click("#why a.first")
    assert page.url.endswith("#groups")


def test_where_nothing_is_known_there_are_no_empty_charts(open_page, serve):
    """One sentence instead of four; with the first data they are there."""
    showcase = Showcase(services=SERVICES[2:3])
    kept, showcase.history = showcase.history, History()
    page = open_page(serve(showcase), "/slos/search-availability")
    until(
        page,
        "document.getElementById('chart-state').textContent.startsWith('Nothing is known of the last 30d.')",
    )
    assert not page.locator(".chart").first.is_visible()
    page.wait_for_selector(".live.on")
    showcase.history = kept
    showcase.tick(60)
    drawn(page)
    assert 4 == page.locator(".plot canvas:visible").count()


def test_a_history_that_cannot_be_read_is_told(open_page, server):
    """The charts say why, the figures stay, and another range tries again."""
    page = open_page(server, "/", fails=True)
    page.route("**/history?*", lambda route: route.fulfill(status=503, json={"detail": "the ledger is busy"}))
    page.goto(server.url + CHECKOUT)
    until(
        page,
        "document.getElementById('chart-state').textContent === 'The history could not be read: the ledger is busy'",
    )
    assert page.locator(".tile.main dd > b").inner_text().endswith("%")
    page.unroute("**/history?*")
    page.click(".ranges button:text-is('1d')")
    drawn(page)
    assert "" == page.locator("#chart-state").text_content()


def test_charts_that_are_being_read_say_so(open_page, server):
    """The figures are there at once, the charts say that they load until their history has come."""
    page, held = open_page(server, "/"), []
    page.route("**/history?*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks the function
    page.goto(server.url + CHECKOUT)
    assert "Loading …" == page.locator("#chart-state").inner_text()
    assert page.locator(".tile.main dd > b").inner_text().endswith("%")
    while not held:
        page.wait_for_timeout(30)
    assert "Loading …" == page.locator("#chart-state").inner_text()
    held.pop().continue_()
    drawn(page)
    assert "" == page.locator("#chart-state").text_content()


def test_deploys_incidents_and_corrections_are_on_the_charts(open_page, showcase, server):
    """Each in words below the charts; a flag on every chart says more on hover, focus or tap, and markup is text."""
    page = drawn(open_page(server, f"{CHECKOUT}?range=2592000", width=390, touch=True))
    lines = page.locator("#marks li").all_inner_texts()
    assert ["Deploy", "Incident", "Deploy"] == [one.split(" ")[0] for one in lines]
    assert "checkout 1.42.0 <b>&</b>" in lines[2]
    assert "https://ci.example.org/runs/812" == page.locator("#marks a").first.get_attribute("href")
    assert 4 * 3 == page.locator(".flag").count()
    flag = page.locator("[data-chart=budget] .flag.incident")
    flag.scroll_into_view_if_needed()
    flag.tap()
    assert "Card provider out" in page.locator("[data-chart=budget] .flag.incident .tip").inner_text()
    assert page.locator("[data-chart=budget] .flag.incident .tip").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_time_that_does_not_count_is_told(open_page, serve):
    """A correction stands below the charts with its reason and author."""
    now = Showcase(services=SERVICES[:1]).at
    gone = Correction(
        name="failover", start=now - 7_200, end=now - 3_600, slos=("*",), reason="a drill", author="ann"
    )
    server = serve(Showcase(services=(replace(SERVICES[2], corrections=(gone,)),)))
    page = drawn(open_page(server, "/slos/search-availability"))
    (line,) = page.locator("#marks li").all_inner_texts()
    assert ("Not counted", True) == (line[:11], "failover: a drill" in line)
