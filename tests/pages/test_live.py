"""A page in front of the real daemon: failures of a real service, scraped by a real Prometheus, show by themselves."""

from __future__ import annotations

import httpx
import pytest

from tests.real.test_alert_rules import Shop, tracking, until
from tests.servers import PrometheusServer, free_port

pytestmark = [pytest.mark.chromium, pytest.mark.prometheus]


def test_a_real_burst_of_failures_shows_by_itself(tmp_path, open_page):
    """No reload: the alarm stands on top of the list, then the SLO's own page says why, with its event and charts."""
    shop, port = Shop(), free_port()
    try:
        server = PrometheusServer(tmp_path / "prometheus", scrape={"shop": [shop.address]})
        with server as prometheus, tracking(tmp_path, prometheus.url, port) as daemon:
            url = f"http://127.0.0.1:{port}"
            until(
                lambda: httpx.get(f"{url}/api/v1/slos/shop", trust_env=False).json()["total"],
                "the first counts",
            )
            page = open_page(Daemon(url))
            page.wait_for_selector(".live.on")
            page.evaluate("window.untouched = true")
            assert 0 == page.locator(".alarm").count()
            shop.failing = True
            page.wait_for_selector(".alarm.page strong:text('shop')")
            assert page.evaluate("window.untouched")
            page.click(".alarm.page a")
            page.wait_for_selector(".why:has-text('A page over 5m and 1m fires')")
            page.wait_for_selector(".events .slo_burn_started:has-text('page 5m')")
            page.wait_for_selector(".plot canvas")
            assert daemon.poll() is None
            page.close()  # before the daemon ends its stream
    finally:
        shop.server.shutdown()
        shop.server.server_close()


class Daemon:
    """Where the daemon's own process is."""

    def __init__(self, url):
        self.url = url
