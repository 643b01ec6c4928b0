"""The bench of pods that come and go runs, in small."""

from __future__ import annotations

import pytest

from tests.bench import churn


@pytest.mark.long
def test_pods_that_went_are_remembered_for_the_day_and_nothing_is_in_doubt(tmp_path):
    """Where each pod is replaced once an hour, an hour leaves as many series to remember as there were in the one before."""
    found = list(churn.measure(10, tmp_path, hours=2, share=1.0, days=1))
    before, between, after = found
    assert [0, 1, 2] == [one.number for one in found]
    assert [20, 20] == [between.replaced - before.replaced, after.replaced - between.replaced]
    assert 0 < between.remembered - before.remembered == after.remembered - between.remembered
    assert 0 == after.doubts
