"""The peers' expressions as a Prometheus takes them."""

from __future__ import annotations

import pytest

from tests.peers.rules import pyrra, slo_generator, sloth

SELECTORS = {"bad": 'http_requests_total{job="x",code=~"5.."}', "total": 'http_requests_total{job="x"}'}


def every_rule():
    """All rules of all peers."""
    good = 'http_requests_total{job="x",code!~"5.."}'
    return (
        *sloth("x", **SELECTORS),
        *pyrra(**SELECTORS),
        *slo_generator(good=good, valid=SELECTORS["total"]),
    )


@pytest.mark.prometheus
def test_prometheus_accepts_every_expression(prometheus):
    """No expression of a peer is a typo of ours: a real Prometheus parses and answers each."""
    for rule in every_rule():
        prometheus.ask(rule.expression, 1_700_000_000)


def test_windows_and_intervals_are_the_documented_ones():
    """Sloth has eight windows, Pyrra nine rules of which two run every 150 s, slo-generator two queries per step."""
    assert (8, 9, 8) == (
        len(sloth("x", **SELECTORS)),
        len(pyrra(**SELECTORS)),
        len(slo_generator(good="x", valid="y")),
    )
    assert [30] * 7 + [150, 150] == [rule.interval for rule in pyrra(**SELECTORS)]
