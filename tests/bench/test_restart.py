"""The bench of restarts runs, in small."""

from __future__ import annotations

import pytest

from tests.bench import restart


@pytest.mark.long
def test_a_restart_is_measured_on_a_ledger_that_is_kept(tmp_path):
    """The first start is left out; the second has all of its figures, and uses CPU and memory."""
    found = restart.measure(30, tmp_path, times=1, days=1)
    assert [["clock", "cpu", "peak", "rss"]] == [sorted(one) for one in found]
    assert all(value > 0 for value in found[0].values())
    assert "| to full gauges |" in restart.markdown(30, found)
    assert (tmp_path / "born").exists()
