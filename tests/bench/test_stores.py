"""The bench of stores runs, in small."""

from __future__ import annotations

from tests.bench import stores


def test_a_small_store_gives_every_figure(tmp_path):
    """S12: five SLOs of three days; what it says is a table."""
    found = stores.measure(tmp_path, slos=5, days=3, ticks=70)
    assert {"bytes", "open", "memory", "commit", "events", "backup", "check"} <= found.keys()
    assert "| 5 | 3 | " in stores.markdown({(5, 3): found})
