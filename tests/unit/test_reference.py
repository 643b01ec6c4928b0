"""The reference in the manual is whole: every setting stands in it with its default, and nothing else does."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from slo_budget_tracker.manual import pages
from slo_budget_tracker.settings import PrometheusSettings, Section, Settings

ROW = re.compile(r"^\| `([a-z_.]+)` \| (.*?) \| (.+) \|$", re.MULTILINE)
ROWS = {key: default for key, default, _ in ROW.findall(pages()["configuration"].text)}
UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))


def keys(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key of a section with its default, sections within sections by dots."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        inner = next((one for one in _types(field.annotation) if issubclass(one, Section)), None)
        if name == "datasources":
            found[name] = None
        elif inner is not None:
            found |= keys(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = field.get_default(call_default_factory=True)
    return found


def _types(annotation: object) -> list[type]:
    parts = getattr(annotation, "__args__", None) or (annotation,)
    return [part for part in parts if isinstance(part, type)]


def test_every_setting_is_in_the_reference_and_nothing_else():
    """A setting without a line in the reference does not exist for its users; one without code is a lie."""
    assert sorted(keys(Settings)) == sorted(ROWS)


def in_words(value: object) -> set[str]:
    """The ways in which a default may stand in the reference."""
    said = {f"`{value}`", f"`{str(value).lower()}`"}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        said |= {f"`{value:g}s`", f"`{value:g}`", f"`{value / (1 << 20):g}MiB`"}
        said |= {f"`{value / unit:g}{letter}`" for letter, unit in UNITS}
    return said


DEFAULTS = {
    key: value
    for key, value in keys(Settings).items()
    if isinstance(value, (str, int, float)) and value != ""
}


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_every_default_is_in_the_reference(key):
    """What the reference says is the default is what the code does without the key."""
    assert ROWS[key] in in_words(DEFAULTS[key])


def test_a_datasource_is_what_prometheus_is():
    """`datasources` has the keys of `prometheus`."""
    assert PrometheusSettings in _types(Settings.model_fields["datasources"].annotation)


def test_the_example_shows_each_section():
    """Each section of the reference stands in the commented example."""
    example = (Path(__file__).parents[2] / "config" / "slo-budget-tracker.yaml").read_text()
    sections = {key.split(".")[0] for key in ROWS}
    assert [] == [
        name for name in sorted(sections) if not re.search(rf"^(# ?)?{name}:", example, re.MULTILINE)
    ]
