"""The manual's pages on other formats: what stands side by side is what the code makes of it."""

from __future__ import annotations

import re

import pytest

from slo_budget_tracker import presets
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.formats.plugins import PLUGINS
from slo_budget_tracker.formats.texts import yaml_text
from slo_budget_tracker.manual import pages
from slo_budget_tracker.specfiles import understand_texts

BLOCK = re.compile(r"```yaml ?([a-z-]*)\n(.*?)```", re.DOTALL)
OURS = ("presets", "migrating-from-0.1")
SIDE_BY_SIDE = sorted(name for name in pages() if name.startswith("migrating-") and name not in OURS)


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_side_by_side_is_what_convert_writes(name):
    """The foreign file of a page becomes exactly the native one beside it."""
    blocks = dict(BLOCK.findall(pages()[name].text))
    native = blocks.pop("native")
    (text,) = blocks.values()
    files = understand_texts([Source(f"{name}.yaml", text)])
    assert native == yaml_text(root for file in files for root in file.roots)


@pytest.mark.parametrize("name", OURS)
def test_native_examples_are_valid(name):
    """Every native file of a page is read."""
    for _, text in BLOCK.findall(pages()[name].text):
        assert understand_texts([Source(f"{name}.yaml", text)])


def test_every_preset_stands_in_the_manual():
    """The table of presets has each, with its options."""
    page = pages()["presets"].text
    for name in presets.names():
        options = [one for one in presets.preset(name).options if one not in presets.COMMON]
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert [] == [option for option in options if f"`{option}`" not in row]


def test_the_number_of_plugins_is_told():
    """The page on Sloth says how many SLI plugins are known."""
    assert f"{len(PLUGINS)} of the common SLI plugins" in pages()["migrating-from-sloth"].text
