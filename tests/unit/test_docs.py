"""The documentation says what the code does: every gauge, command, setting and endpoint stands in the README."""

import re
from pathlib import Path

import pytest
import typer

from slo_budget_tracker.cli import app
from slo_budget_tracker.gauges import _HELP
from slo_budget_tracker.settings import Settings
from slo_budget_tracker.web import Display, compose, routes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / "config" / "slo-budget-tracker.yaml").read_text()
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("gauge", sorted(_HELP))
def test_every_gauge_is_in_the_readme(gauge):
    """A gauge without a line in the README does not exist for its users."""
    assert f"`{gauge}" in README


@pytest.mark.parametrize("command", sorted(COMMANDS.commands))
def test_every_command_is_in_the_readme_and_shows_an_example(command):
    """Each command has a line in the README and an example in its help."""
    assert f"slo-budget-tracker {command}" in README
    assert f"slo-budget-tracker {command}" in COMMANDS.commands[command].help


@pytest.mark.parametrize(
    "route",
    sorted(r.path for r in routes(Display(compose())).routes if not r.path.startswith(("/{", "/static/"))),
)
def test_every_endpoint_is_in_the_readme(route):
    """Each path that is served stands in the README."""
    assert f"`{route}`" in README


@pytest.mark.parametrize("key", sorted(set(Settings.model_fields) - {"datasources"}))
def test_every_section_is_in_the_example(key):
    """The commented example configuration shows each section."""
    assert re.search(rf"^#? ?{key}:", EXAMPLE, re.MULTILINE)


def test_the_readme_leads_to_each_of_its_sections():
    """Its contents name every section, and no link of it leads nowhere."""
    headings = re.findall(r"^##+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}
    sections = {
        re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-")
        for one in re.findall(r"^## (.+)$", README, re.MULTILINE)
    }
    linked = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert (set(), set()) == (linked - anchors, sections - linked)
