"""The bench's catalogue is what its table says it is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from slo_budget_tracker import specfiles
from tests.bench import shapes


def test_a_thousand_slos_of_twenty_shapes_are_valid(tmp_path):
    """A third of the SLOs cannot be merged, a fifth are latency, a fifth churn, and the files have no fault."""
    shapes.write_slos(1_000, tmp_path / "slos.yaml")
    assert 1_000 == len(specfiles.load([tmp_path / "slos.yaml"]).slos)
    kinds = Counter(shape.kind for shape, _ in shapes.pairs(1_000))
    assert {"shared": 300, "list": 50, "good": 100, "own": 100, "promql": 250, "latency": 200} == kinds
    assert 200 == sum(shape.churn for shape, _ in shapes.pairs(1_000))


def test_each_slo_has_eight_series_at_any_time():
    """Two pods with four label values each, whether the pods are replaced or not."""
    for shape in shapes.SHAPES:
        written = shape.history(3, start=1_000_000, end=1_020_000, random=np.random.default_rng(1))
        own = [one for one in written if not one.series.startswith(("up{", "process_start"))]
        at = 1_010_000_000
        assert 8 == sum(one.times[0] <= at <= one.times[-1] + 30_000 for one in own)
