"""The page behind TLS and a password in a real browser: it asks once, and everything on it works."""

from __future__ import annotations

import bcrypt
import pytest

from slo_budget_tracker.listening import WebServer
from slo_budget_tracker.protection import Protector
from slo_budget_tracker.web import build
from slo_budget_tracker.webconfig import Web
from tests.authority import Authority
from tests.pages.showcase import Showcase

LOGIN = {"username": "alice", "password": "let me in"}


@pytest.mark.chromium
def test_the_page_behind_tls_and_a_password(browser, tmp_path):
    """H11: files, figures and the stream come with the login of the address bar; without one there is a 401."""
    certificate, key = Authority.in_folder(tmp_path).certificate("server")
    hashed = bcrypt.hashpw(LOGIN["password"].encode(), bcrypt.gensalt(4)).decode()
    tls = {"cert_file": certificate, "key_file": key}
    web = Web(listen="127.0.0.1:0", tls=tls, basic_auth_users={"alice": hashed})
    protector = Protector.of(web)
    app = build(Showcase().display, listen=web.listen, protector=protector)
    server = WebServer(app, listen=web.listen, protector=protector)
    server.start()
    try:
        troubles = []
        context = browser.new_context(ignore_https_errors=True, http_credentials=LOGIN)
        page = context.new_page()
        page.on("console", lambda one: one.type in {"error", "warning"} and troubles.append(one.text))
        page.on("pageerror", lambda one: troubles.append(str(one)))
        page.goto(server.url)
        page.wait_for_selector(".live.on", timeout=60_000)
        page.goto(f"{server.url}/slos/checkout-availability")
        page.wait_for_selector(".live.on", timeout=60_000)
        assert ([], "checkout-availability") == (troubles, page.locator("h1").inner_text().split()[0])
        context.close()
        stranger = browser.new_context(ignore_https_errors=True)
        assert 401 == stranger.request.get(server.url).status
        stranger.close()
    finally:
        server.stop()
