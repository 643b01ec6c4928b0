"""What is read stays close to what is new."""

from __future__ import annotations

import pytest

from tests.bench import amplification


@pytest.mark.prometheus
def test_at_most_one_and_a_half_samples_are_read_per_sample_stored(tmp_path):
    """In steady state, pods replaced hourly, a tick reads little more than the samples that are new; peers do not."""
    ours, sloth, pyrra, slo_generator = amplification.measure(tmp_path, days=1, hours=3)
    assert ours.amplification <= 1.5
    assert ours.samples_per_minute < 30
    for peer in (sloth, pyrra, slo_generator):
        assert peer.amplification > 1_000
