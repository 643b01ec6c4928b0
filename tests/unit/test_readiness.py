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


def test_slos_are_named_rather_than_their_queries():
    """People know SLOs; the query that several share is named where no SLO is."""
    troubles = {"default/histogram:http_request_duration_seconds": DOWN, "checkout-latency": DOWN}
    assert [f"trouble with checkout-latency: {DOWN}"] == list(
        Readiness(ticked=True, troubles=troubles).reasons()
    )
    alone = Readiness(ticked=True, troubles={"default/http_requests_total": DOWN})
    assert [f"trouble with default/http_requests_total: {DOWN}"] == list(alone.reasons())
