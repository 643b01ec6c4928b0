"""The bench of metrics that cannot be merged runs, in small: no tick asks more than its ration, none is left out."""

from __future__ import annotations

from tests.bench import alone


def test_no_tick_asks_more_than_its_ration_and_every_tick_ends_with_what_there_was():
    """D16, P25: restarts, silence, new pods, new labels and an hour without the server; eight requests are usual."""
    count, ration = 120, 12
    found = alone.measure(count, ration=ration)
    party = 8  # of two questions at most when it is begun, and what it asks then
    assert max(most for one in found for most in one.asked) < ration + party
    ends = sum((one.outcomes for one in found), start=alone.Counter())
    silent = next(phase.ticks for phase in alone.PHASES if phase.kind == "silence")
    ticks = sum(phase.ticks for phase in alone.PHASES)
    assert {"ok", "no_data"} == ends.keys()
    assert (count * ticks, True) == (ends.total(), ends["no_data"] <= count * silent)
    assert found[-1].behind < len(found[-1].asked)
    assert "| it is back | 8 |" in alone.markdown(count, found)
