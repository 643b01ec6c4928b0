"""The bench runs, in small, and its figures hang together."""

from __future__ import annotations

import time

import pytest

from tests.bench import thousand


@pytest.mark.long
@pytest.mark.prometheus
def test_a_small_bench_gives_every_figure(tmp_path):
    """Forty SLOs: every tick is fine, few requests serve many SLOs, nothing is given up, gauges come soon."""
    end = int(time.time()) // 60 * 60 - 30
    bench = thousand.Bench(slos=40, hours=1, ticks=2, fill_days=1, end=end)
    found = thousand.measure(bench, tmp_path)
    assert {"ok": 40} == found["tick"]["outcomes"]
    assert found["tick"]["requests"] < 40
    assert {} == found["fill_shapes"]["given_up"] == found["fill_all"]["given_up"]
    assert found["restore"] < found["restart"] < 20
    assert "| first gauges after a restart |" in thousand.markdown(bench, found)
