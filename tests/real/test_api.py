"""The Python API against a real Prometheus with a history whose every event is known."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker import PrometheusExporter, SLODefinition, SLORegistry
from slo_budget_tracker.errors import PrometheusError
from tests.worlds.history import END

WINDOW = 2 * 86_400
AT = END - 3_600 - 30  # on the grid: 60 k - 30


@pytest.fixture(scope="module")
def registry(worlds, worlds_server):
    """One definition for each of two worlds."""
    with SLORegistry(worlds_server.url) as one:
        for name in ("steady", "crashes"):
            world = worlds[name]
            one.register(SLODefinition(name, 0.99, WINDOW, total=world.total, bad=world.bad))
        yield one


@pytest.mark.prometheus
@pytest.mark.parametrize("name", ["steady", "crashes"])
def test_snapshots_are_what_happened(registry, worlds, name):
    """Counts of two days at a past instant, within the worlds' bounds."""
    snapshot = {one.name: one for one in registry.snapshot_all(AT)}[name]
    truth = worlds[name].truth(AT, WINDOW, seen=True)
    assert (AT, Decimal("0.99"), True) == (snapshot.evaluated_at, snapshot.target, snapshot.coverage > 0.999)
    assert abs(snapshot.total - truth.total) <= 0.0025 * truth.total
    assert abs(snapshot.failures - truth.bad) <= max(3, 0.005 * truth.bad)


@pytest.mark.prometheus
def test_burn_rates_and_text_follow_the_snapshots(registry):
    """What burns has a burning snapshot, and the text has every SLO."""
    snapshots = registry.snapshot_all(AT)
    burning = {(one.slo_name, one.window_seconds) for one in registry.check_burn_rates(AT)}
    assert {
        (one.name, sample.window_seconds)
        for one in snapshots
        for sample in one.burn_rate_samples
        if sample.window_seconds < WINDOW and sample.burn_rate is not None and sample.burn_rate >= 14.4
    } == burning
    text = PrometheusExporter(registry).render(AT)
    assert 2 == text.count("\nslo_error_budget_remaining{")


def test_out_of_reach_is_an_error():
    """No Prometheus, no numbers: an error of the package's own tree."""
    with SLORegistry("http://127.0.0.1:9", timeout=0.5) as registry:
        registry.register(SLODefinition("x", 0.99, 3_600, (3_600,), total="a_total", bad="b_total"))
        with pytest.raises(PrometheusError):
            registry.snapshot_all()
