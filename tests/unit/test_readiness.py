"""Why the daemon is not ready: one sentence for all that suffer from the same."""

from slo_budget_tracker.readiness import Readiness

DOWN = "datasource default at http://127.0.0.1:1: no connection: Connection refused"


def test_the_same_trouble_is_told_once():
    """A server that is down is one trouble, however many queries wait for it; another trouble is another."""
    troubles = {**dict.fromkeys("abcde", DOWN), "ledger": "no space left on device"}
    assert [
        f"trouble with a, b, c and 2 more: {DOWN}",
        "trouble with ledger: no space left on device",
    ] == list(Readiness(ticked=True, troubles=troubles).reasons())
