"""The list of SLOs in a real browser: what it says, filters, order, keyboard, live updates, many SLOs."""

from __future__ import annotations

import pytest

from tests.pages.conftest import until
from tests.pages.showcase import SERVICES, Showcase

pytestmark = pytest.mark.chromium
BY_URGENCY = [
    *("checkout-availability", "checkout-latency", "webhooks-delivery", "login-availability"),
    *("search-latency", "media-upload", "search-availability", "invoices-nightly"),
]


def names(page):
    """The SLOs shown, in their order."""
    return page.locator(".slos tbody th a").all_inner_texts()


def test_it_says_how_all_slos_are(open_page, server):
    """Summary, firing alerts on top, then every SLO with budget, burn rates and state, the urgent ones first."""
    page = open_page(server)
    assert ["2 Alerting", "1 Exhausted", "0 At risk", "0 Error", "1 No data", "4 Healthy"] == [
        one.replace("\n", " ") for one in page.locator(".count").all_inner_texts()
    ]
    assert ["checkout-availability", "checkout-latency", "checkout-latency"] == page.locator(
        ".alarm strong"
    ).all_inner_texts()
    assert BY_URGENCY == names(page)
    row = page.locator("tr", has_text="webhooks-delivery")
    assert {"Exhausted"} == set(row.locator(".mark").all_inner_texts())
    assert row.locator(".c-budget b").inner_text().startswith("\N{MINUS SIGN}1")
    assert 8 == page.locator(".slos .spark").count()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=exhausted", ["webhooks-delivery"]),
        ("?state=firing", ["checkout-availability", "checkout-latency"]),
        ("?service=search&sort=name", ["search-availability", "search-latency"]),
        ("?owner=media@example.org", ["media-upload"]),
        ("?label=tier=1&sort=budget", ["checkout-latency", "checkout-availability"]),
        ("?q=ANSWERED+ms", ["checkout-latency", "search-latency"]),
        ("?q=nothing+of+the+kind", []),
        ("?sort=budget&page=99999", None),
        ("?sort=;drop&state=x&page=-1", BY_URGENCY),
    ],
)
def test_the_address_filters_and_sorts(open_page, server, query, expected):
    """Every filter is in the URL; nonsense in it is as if it were not there (H15)."""
    found = names(open_page(server, f"/{query}"))
    assert (sorted(BY_URGENCY) if expected is None else expected) == (
        sorted(found) if expected is None else found
    )


def test_typing_filters_at_once(open_page, server):
    """The address follows what is typed, the list follows the address, the cursor stays where it is."""
    page = open_page(server)
    page.keyboard.press("/")
    page.keyboard.type("invoi")
    page.wait_for_selector(".slos tbody tr:only-child")
    assert ("/?q=invoi", "q") == (
        page.url.removeprefix(server.url),
        page.evaluate("document.activeElement.id"),
    )
    page.select_option("select[name=service]", "search")
    page.wait_for_selector("text=No SLO matches.")


def test_the_keyboard_goes_through_the_list(open_page, server):
    """J and k move, Enter opens, u goes back, ? shows what there is."""
    page = open_page(server)
    for key in "jjk":
        page.keyboard.press(key)
    assert BY_URGENCY[0] == page.evaluate("document.activeElement.textContent")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/slos/{BY_URGENCY[1]}")
    page.keyboard.press("u")
    page.wait_for_selector(".slos")


def test_figures_explain_themselves(open_page, server):
    """A tap on the i beside a figure says what it means."""
    page = open_page(server)
    page.locator("th .hint").first.click()
    assert "no budget left" in page.locator(".note:popover-open").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_it_fits(open_page, server, theme, width):
    """A phone at night and a wide screen: nothing is cut off, colours follow, and can be turned."""
    page = open_page(server, width=width, theme=theme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colour = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.click("#theme")
    assert before != page.evaluate(colour)
    page.reload()
    assert before != page.evaluate(colour)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_runbook_is_beside_what_fires(open_page, server, width):
    """One tap from the alert, on a phone too: large enough for a thumb, and nothing hangs over."""
    page = open_page(server, width=width, touch=width < 500)
    link = page.locator(".alarm.page .runbook").first
    assert "https://runbooks.example.org/checkout" == link.get_attribute("href")
    box = link.bounding_box()
    assert (True, True) == (box["height"] >= 44, box["x"] + box["width"] <= width)


def test_a_burst_of_failures_shows_by_itself(open_page, serve):
    """The page is brought up to date by the stream: no reload, the firing alert is there after the tick."""
    showcase = Showcase(services=(SERVICES[2], SERVICES[6]))
    server = serve(showcase)
    page = open_page(server)
    page.wait_for_selector(".live.on")
    assert 0 == page.locator(".alarm").count()
    page.evaluate("window.untouched = true")
    showcase.tick(15 * 60, bad=0.9)
    page.wait_for_selector(".alarm.page strong:text('search-availability')")
    assert page.evaluate("window.untouched")


def test_a_daemon_that_is_gone_is_told(open_page):
    """The last figures stay, with when they are from, and the light is red: nobody takes them for live."""
    server = Showcase(services=SERVICES[:2]).serve()
    page = open_page(server, fails=True)
    page.wait_for_selector(".live.on")
    server.stop()
    page.wait_for_selector(".live.off")
    assert page.locator("#live").inner_text().startswith("connection lost, data until")
    assert 2 == page.locator(".slos tbody tr").count()


def test_a_page_that_is_not_looked_at_does_not_listen(open_page, serve):
    """Hidden it leaves the stream; seen again it is brought up to date."""
    showcase = Showcase(services=(SERVICES[2], SERVICES[6]))
    page = open_page(serve(showcase))
    page.wait_for_selector(".live.on")
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    showcase.tick(15 * 60, bad=0.9)
    assert 0 == page.locator(".alarm").count()
    page.evaluate(hide, False)
    page.wait_for_selector(".alarm.page strong:text('search-availability')")


def test_a_column_sorts_the_list(open_page, server):
    """A header orders by its column, the address follows, and assistive technology is told."""
    page = open_page(server)
    page.click("th a:text-is('Error budget left')")
    page.wait_for_selector("th[aria-sort=ascending] a:text-is('Error budget left')")
    assert ("/?sort=budget", "webhooks-delivery") == (page.url.removeprefix(server.url), names(page)[0])


def test_on_a_phone_filters_are_folded(open_page, server):
    """The search is there at once, the rest by a tap; what the address asks for is not hidden."""
    page = open_page(server, width=390, touch=True)
    assert (True, False) == (page.locator("#q").is_visible(), page.locator("select[name=owner]").is_visible())
    page.tap("#more-filters")
    page.select_option("select[name=owner]", "media@example.org")
    page.wait_for_selector(".slos tbody tr:only-child")
    page.reload()
    assert page.locator("select[name=owner]").is_visible()


def test_groups_are_folded_unless_they_fire(open_page, serve):
    """The roll-up says how many groups alert; those stand beside it, a search brings all of them."""
    showcase = Showcase()
    showcase.publish_grouped(12)
    page = open_page(serve(showcase))
    assert 3 == names(page).count("checkout-availability")
    assert "2 of 12 groups alert" == page.locator(".slos .chip", has_text="groups").inner_text()
    assert "(4) Error budgets" in page.title()
    page.fill("#q", "orders/11")
    page.wait_for_selector(".slos tbody tr:only-child")
    page.fill("#q", "")
    page.click(".slos .chip:has-text('groups')")
    page.wait_for_selector("#groups")
    assert "2 of its 12 groups alert" in page.locator("#why").inner_text()
    ranked = page.locator(".groups tbody .c-budget b").all_inner_texts()
    assert (12, ["74.4%"] * 2) == (len(ranked), ranked[:2])


def test_figures_explain_themselves_on_hover(open_page, server):
    """The pointer over the i is enough, and leaving it is too."""
    page = open_page(server)
    page.locator("th .hint").first.hover()
    page.wait_for_selector(".note:popover-open")
    page.mouse.move(5, 400)
    until(page, "document.querySelectorAll('.note:popover-open').length === 0")


def test_two_thousand_slos(open_page, serve):
    """The list is paged and filtered here, not in the browser: a page has fifty of them."""
    showcase = Showcase(services=SERVICES[:1])
    (one,) = showcase.snapshots()
    (slo,) = showcase.slos
    showcase.slos = [slo.model_copy(update={"name": f"slo-{n:04}"}) for n in range(2_000)]
    showcase.publish([one._replace(name=slo.name) for slo in showcase.slos])
    server = serve(showcase)
    page = open_page(server, "/?sort=name&page=40")
    assert ("2000 objectives", "page 40 of 40") == (
        page.locator("#slos-title").inner_text(),
        page.locator(".pager span", has_text="page").inner_text(),
    )
    assert [f"slo-{n}" for n in range(1_950, 2_000)] == names(page)
    page.fill("#q", "slo-0777")
    page.wait_for_selector(".slos tbody tr:only-child")


def test_nothing_to_show(open_page, serve):
    """Before the first tick, and without any SLO, the page says what to do."""
    showcase = Showcase(services=SERVICES[:1])
    showcase.publish([], unready=["the first tick is not done"])
    server = serve(showcase)
    page = open_page(server)
    assert "Starting" in page.locator(".empty").inner_text()
    assert "the first tick is not done" in page.locator("[role=alert]").inner_text()
    showcase.publish([])
    page.wait_for_selector("text=There is no SLO yet.")


def test_a_daemon_that_knows_nothing_says_so(open_page, serve):
    """Prometheus was never in reach: errors, no time, no green, no all-clear, and green once there is data."""
    showcase = Showcase(services=SERVICES[2:4])
    unknown = {"state": "error", "coverage": 0.0, "error_budget_remaining": None, "alerts": ()}
    blind = [one._replace(**unknown) for one in showcase.snapshots()]
    showcase.publish(blind, unready=["trouble with default/up: no connection"])
    page = open_page(serve(showcase))
    page.wait_for_selector(".live.late")
    assert ("not up to date, no data yet", "2 Error", ["Error", "Error"], "Nothing is known yet.") == (
        " ".join(page.locator("#live").inner_text().split()),
        page.locator(".count.error").inner_text().replace("\n", " "),
        page.locator(".slos .mark").all_inner_texts(),
        page.locator("#firing p").inner_text(),
    )
    showcase.tick()
    page.wait_for_selector(".live.on time")
    assert page.locator("#live").inner_text().startswith("live, data until")


def test_no_alert_is_no_all_clear_while_nobody_looks(open_page, serve):
    """Prometheus is out of reach: no green check, one notice on top, and further reasons folded under it."""
    showcase = Showcase(services=SERVICES[2:4])
    quiet = [one._replace(alerts=(), state="error") for one in showcase.snapshots()]
    showcase.publish(quiet, unready=["no connection", "no time was left"])
    page = open_page(serve(showcase))
    said = (
        "No alert fires, but the last tick brought nothing of any SLO: nobody knows what happens there now."
    )
    assert (said, 0) == (page.locator("#firing p").inner_text(), page.locator(".allclear").count())
    assert ["Not up to date: no connection"] == page.locator("[role=alert]").all_inner_texts()
    assert "1 more reason" == page.locator("#more-reasons").inner_text()
    page.locator("#more-reasons summary").click()
    assert "no time was left" in page.locator("#more-reasons").inner_text()
    showcase.publish([quiet[0], quiet[1]._replace(state="ok")])
    page.wait_for_selector("text=nothing of 1 of 2 SLOs")
    showcase.publish([one._replace(state="ok") for one in quiet])
    page.wait_for_selector(".allclear")


def test_what_is_good_to_know_stands_in_one_place(open_page, serve):
    """Below the list, where it is no alarm, and on no other page."""
    showcase = Showcase(services=SERVICES[:1])
    showcase.display.remarks = ("default has samples of about the last 2d only",)
    server = serve(showcase)
    page = open_page(server)
    assert (
        "Good to know\ndefault has samples of about the last 2d only" == page.locator("#remarks").inner_text()
    )
    assert "good to know" not in open_page(server, "/slos/checkout-availability").inner_text("body").lower()


def test_times_have_twenty_four_hours(open_page, server):
    """As the axes of the charts have, whatever the browser's language."""
    page = open_page(server, "/slos/checkout-availability")
    page.wait_for_selector(".live.on")
    assert [] == [one for one in page.locator("time").all_inner_texts() if one.endswith("M")]
