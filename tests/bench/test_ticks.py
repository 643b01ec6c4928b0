"""The bench of ticks runs, in small, and its parts are all that there is."""

from __future__ import annotations

from tests.bench import ticks


def test_the_parts_of_a_tick_are_nearly_all_of_it(tmp_path):
    """Every part but the search for late data has its share, and what is in none of them is little."""
    (found,) = ticks.measure(50, tmp_path, ticks=1, days=1)
    assert {*ticks.PARTS, "all of it"} == found.keys()
    whole = found.pop("all of it")
    assert 0.5 * whole < sum(found.values()) < whole
    assert "| verdicts |" in ticks.markdown(50, [found])
