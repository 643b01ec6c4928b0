"""Names, labels, links, reasons and paths by people who mean harm, in a real browser: nothing of it runs."""

from __future__ import annotations

import http.client
import itertools

import httpx
import pytest

from slo_budget_tracker.annotations import Annotation
from slo_budget_tracker.pages import POLICY, web
from slo_budget_tracker.timeline import Happening
from tests.pages.showcase import SERVICES, Showcase

SCRIPTS = (
    "<script>window.harm=1</script>",
    "<img src=x onerror=window.harm=1>",
    "<svg/onload=window.harm=1>",
    '"><svg onload=window.harm=1>',
    "' onmouseover='window.harm=1' x='",
    '" autofocus onfocus=window.harm=1 x="',
    "</script><script>window.harm=1</script>",
    "</title><script>window.harm=1</script>",
    "<iframe srcdoc='<script>parent.harm=1</script>'>",
    "<a href=javascript:window.harm=1>x</a>",
    "<math><mi//xlink:href='data:x,<script>window.harm=1</script>'>",
    "<body onload=window.harm=1>",
    "<details open ontoggle=window.harm=1>",
    "<style>@import 'http://evil.example/x.css';</style>",
    "<link rel=stylesheet href=http://evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/>",
    "<form action=http://evil.example/><input type=submit autofocus>",
    "{{ 7*7 }}{% raw %}{{ config }}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "&#60;script&#62;window.harm=1&#60;/script&#62;",
    "&lt;script&gt;window.harm=1&lt;/script&gt;",
    "<!--<img src=x onerror=window.harm=1>-->",
    "<![CDATA[<script>window.harm=1</script>]]>",
    '<noscript><p title="</noscript><img src=x onerror=window.harm=1>">',
)
AROUND = ("{}", "a{}b", "{}{}", "\u202e{}\u202c", "{}\x00", "\ufeff{}", "\n{}\n", 'x" {} y="')
CORPUS = [around.replace("{}", script) for around, script in itertools.product(AROUND, SCRIPTS)]
BAD_LINKS = ("javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "data:text/html,<script>", "vbscript:x",
             "//evil.example", "file:///etc/passwd", "java\nscript:alert(1)", "ftp://x")  # fmt: skip


class Hostile(Showcase):
    """A showcase whose every text is a payload."""

    def __post_init__(self):
        super().__post_init__()
        (one,), (slo,) = self.snapshots(), self.slos
        self.slos = [
            slo.model_copy(
                update={
                    "name": f"slo-{n}",
                    "description": payload,
                    "service": payload,
                    "owner": payload,
                    "labels": (("team", payload), (payload, "x")),
                    "links": ((payload, BAD_LINKS[n % len(BAD_LINKS)]), ("fine", "https://x.example")),
                    "source": payload,
                }
            )
            for n, payload in enumerate(CORPUS)
        ]
        alerts = one.alerts
        self.publish(
            [
                one._replace(
                    name=slo.name,
                    alerts=tuple(a._replace(reason=slo.service, state="firing") for a in alerts),
                )
                for slo in self.slos
            ],
            unready=CORPUS[:5],
        )
        self.notes = [
            Annotation("incident", self.at - 3_600, payload, self.at - 60, BAD_LINKS[n % len(BAD_LINKS)], payload,
                       slos=(f"slo-{n}",))
            for n, payload in enumerate(CORPUS)
        ]  # fmt: skip
        self.events = [
            Happening(f"e{n}", f"slo-{n}", 1, "slo_burn_started", self.at, {"reason": payload, "severity": payload},
                      "quarantined", None, None, payload)
            for n, payload in enumerate(CORPUS)
        ]  # fmt: skip


@pytest.fixture(scope="module")
def hostile():
    """The web server of the hostile showcase."""
    server = Hostile(services=SERVICES[:1]).serve()
    yield server
    server.stop()


@pytest.mark.chromium
@pytest.mark.parametrize("number", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (2, 3, 4))])
def test_no_payload_runs_in_the_list(open_page, hostile, number):
    """H7: 200 payloads as service, owner, label and reason: no script, no element, no foreign request."""
    page = open_page(hostile, f"/?page={number}&sort=name&q=slo-")
    assert 50 == page.locator(".slos tbody tr").count()
    foreign = "main iframe, main img, main script, main style, main link, main meta, main base, main math"
    assert [None, 0, 2] == page.evaluate(
        f"[window.harm ?? null, document.querySelectorAll('{foreign}').length, document.scripts.length]"
    )


@pytest.mark.chromium
def test_no_payload_runs_on_a_page(open_page, hostile):
    """H7, H8: as description, definition, event, receipt and link; only web addresses are links."""
    page = open_page(hostile)
    for number in range(0, len(CORPUS), 26):
        page.goto(f"{hostile.url}/slos/slo-{number}")
        page.wait_for_selector(".live.late")
        page.wait_for_selector("#marks li")
        assert 0 == page.locator("#marks a, #marks img, #marks script").count()
        links = page.evaluate("[...document.querySelectorAll('main a')].map((one) => one.protocol)")
        assert {"http:", "https:"} >= set(links)
        assert None is page.evaluate("window.harm ?? null")
        assert CORPUS[number].strip("\x00\n\ufeff")[:5] in page.locator(".facts").text_content()


@pytest.mark.chromium
def test_a_payload_in_the_address_is_text(open_page, hostile):
    """H7: what was searched for is shown as it was typed."""
    page = open_page(
        hostile, "/?q=%22%3E%3Cscript%3Ewindow.harm%3D1%3C/script%3E&service=%3Cb%3E&label=%22=%22"
    )
    assert ('"><script>window.harm=1</script>', None) == (
        page.input_value("#q"),
        page.evaluate("window.harm ?? null"),
    )


@pytest.mark.parametrize("link", BAD_LINKS)
def test_only_web_addresses_are_links(link):
    """H8: scripts, data and files are no links."""
    assert None is web(link)


def test_pages_bring_a_strict_policy(hostile):
    """H7: nothing but our own files is loaded, nothing is framed."""
    answer = httpx.get(hostile.url, trust_env=False)
    assert [POLICY] == answer.headers.get_list("content-security-policy")
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static//etc/passwd",
        "//static/app.css",
        "/static/app.css%00",
        "/static/app.css/",
        "/static/",
        "/static",
        "/static/APP.CSS",
        "/slos/../../etc/passwd",
        "/slos/%2e%2e%2fx",
        "/slos/%00",
        "/slos/" + "a" * 5_000,
        "/slos/<script>",
    ],
)
def test_no_path_leads_out(hostile, path):
    """H6: files come from a table; whatever else is asked for is not there."""
    host, _, port = hostile.address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest("GET", path, skip_host=False)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    assert (404, False, False) == (answer.status, "root:" in body, "<script>window" in body)
    connection.close()
