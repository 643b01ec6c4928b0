"""The report as one file, opened as people open it: from a mail, on a phone, in the dark."""

from __future__ import annotations

import pytest

from tests.pages.test_accessible import axe, violations  # noqa: F401 - a fixture
from tests.unit.test_cli import call  # noqa: F401 - a fixture
from tests.unit.test_report_command import config, report  # noqa: F401 - fixtures

pytestmark = pytest.mark.chromium
CELLS = "[...document.querySelectorAll('.wide tbody tr')].map((row) => row.getBoundingClientRect().height)"
NAME = "document.querySelector('.wide td:first-child a').getBoundingClientRect()"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_report_is_read_on_a_phone(call, config, browser, axe, tmp_path, theme):  # noqa: F811, PLR0917
    """At 390 px nothing hangs over, rows are low, and the name of an SLO stays while its figures are looked at; axe is content."""
    file = tmp_path / "report.html"
    file.write_text(report(call, config, "html"))
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme)
    page = context.new_page()
    troubles = []
    page.on("console", lambda one: troubles.append(one.text))
    page.goto(file.as_uri())
    assert 390 == page.evaluate("document.documentElement.scrollWidth")
    assert max(page.evaluate(CELLS)) < 90
    assert [] == violations(page, axe)
    before = page.evaluate(NAME)["x"]
    page.evaluate("document.querySelectorAll('.wide').forEach((one) => one.scrollLeft = 200)")
    assert (before, []) == (page.evaluate(NAME)["x"], troubles)
    context.close()
