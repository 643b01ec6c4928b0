"""The manual on the terminal."""

import pytest
from typer.testing import CliRunner

from slo_budget_tracker.cli import app
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.manual import pages


def test_the_list_names_every_page():
    """Each page stands in the list."""
    shown = CliRunner().invoke(app, ["docs"]).stdout
    assert [] == [name for name in pages() if name not in shown]


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_is_shown_as_it_is(name):
    """Piped, a page is its Markdown."""
    assert pages()[name].text == CliRunner().invoke(app, ["docs", name]).stdout.removesuffix("\n")


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_begins_with_its_title(name):
    """Each page has a heading and tells at once what it is about."""
    assert (True, True) == (pages()[name].text.startswith("# "), bool(pages()[name].title))


def test_an_unknown_page_is_one_sentence():
    """What is there is named, and what may have been meant."""
    result = CliRunner().invoke(app, ["docs", "slo-file"])
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).endswith("; did you mean slo-files?")
