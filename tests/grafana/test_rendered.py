"""The dashboards as Grafana's own components draw them, from the answers of a real Prometheus."""

from __future__ import annotations

import time

import pytest

from tests.grafana.rendering import choices_of, drawn
from tests.real.test_dashboards import scraped

pytestmark = [pytest.mark.npm, pytest.mark.long, pytest.mark.prometheus, pytest.mark.chromium]


def test_every_panel_is_drawn_with_every_choice(tmp_path, make_prometheus):
    """All, one service, one SLO, one with groups, a group; dark and light: no panel empty, no complaint, names in words."""
    with scraped(tmp_path, make_prometheus) as (prometheus, _):
        choices = choices_of(prometheus.url)
        looks = drawn(prometheus.url, tmp_path / "pictures", choices, now=time.time(), minutes=5)
    assert 2 * len(choices) == len(looks)
    assert [] == [(look.picture.name, look.empty) for look in looks if look.empty]
    assert [] == [(look.picture.name, look.complaints) for look in looks if look.complaints]
    detail = next(look.texts for look in looks if look.picture.stem == "slo-shop-dark")
    assert "page 5m/1m" in detail["Alerts by their windows or their rule on the budget"]
    assert "1m" in detail["Burn rates by window"]
    assert "1h" in detail["SLO window"]
