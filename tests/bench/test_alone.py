"""The bench of metrics that cannot be merged runs, in small: no tick asks more than its ration, none is left out."""

from __future__ import annotations

from collections import Counter

from slo_budget_tracker import joints
from tests.bench import alone


def test_no_tick_asks_more_than_its_ration_and_every_tick_ends_with_what_there_was(monkeypatch):
    """D16, P25: restarts, silence, new pods, new labels and an hour without the server; three requests are usual."""
    monkeypatch.setattr(joints, "MANY", 20)
    count, ration = 48, 5
    found = list(alone.measure(count, ration=ration))
    once_begun = 4  # what a metric's joint asks when its turn has come, and the ration is not used up yet
    assert max(most for one in found for most in one.asked) <= ration + once_begun
    ends = sum((one.outcomes for one in found), start=Counter())
    silent = next(phase.ticks for phase in alone.PHASES if phase.kind == "silence")
    assert {"ok", "no_data"} == ends.keys()
    assert count * sum(phase.ticks for phase in alone.PHASES) == ends.total()
    assert ends["no_data"] <= count * silent
    assert found[-1].behind < len(found[-1].asked)
    last = alone.row(found[-1])
    assert last.startswith("| it is back | 8 |")
    assert alone.head(count).count("|") == 2 * last.count("|")
