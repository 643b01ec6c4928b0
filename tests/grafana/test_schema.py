"""The dashboards are as the types of Grafana's own files have them, of the version they are for and of the next."""

from __future__ import annotations

import json

import pytest

from tests.grafana.rendering import DASHBOARDS
from tests.grafana.workshop import LIBRARIES, findings

pytestmark = [pytest.mark.npm, pytest.mark.long]
BOARDS = sorted(DASHBOARDS.glob("*.json"))


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_dashboards_are_as_grafana_has_its_files(library):
    """No unknown key, no word that Grafana does not know, no value of another type."""
    assert [] == findings(library, *BOARDS)


def test_what_grafana_does_not_know_is_found(tmp_path):
    """An unknown key of a panel's options, an unknown word, a number as text: each is told."""
    board = json.loads(BOARDS[0].read_text())
    first, line = board["panels"][0], next(one for one in board["panels"] if one["type"] == "timeseries")
    first["options"]["colour"] = "red"
    line["fieldConfig"]["defaults"]["custom"]["lineInterpolation"] = "wavy"
    board["schemaVersion"] = "42"
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(board))
    told = {(one["where"], one["at"]) for one in findings(LIBRARIES[0], broken)}
    assert {
        ("dashboard", "/schemaVersion"),
        (f"{first['title']}: options", ""),
        (f"{line['title']}: fields", "/lineInterpolation"),
    } == told
