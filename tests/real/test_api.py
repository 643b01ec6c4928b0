"""The Python API against a real Prometheus with a history whose every event is known."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from slo_budget_tracker import PrometheusExporter, SLODefinition, SLORegistry
from slo_budget_tracker.errors import PrometheusError
from tests.worlds.history import END

README = Path(__file__).resolve().parents[2] / "README.md"
WINDOW = 2 * 86_400
AT = END - 3_600 - 30  # on the grid: 60 k - 30


@pytest.fixture(scope="module")
def registry(worlds, worlds_server):
    """One definition for each of two worlds."""
    with SLORegistry(worlds_server.url, delay=30) as one:
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


@pytest.fixture
def checkout(tmp_path, make_prometheus):
    """A Prometheus with two hours of a checkout that fails each twentieth request."""
    now = int(time.time())
    lines = [
        "# TYPE up gauge",
        *(f'up{{job="checkout",instance="a"}} 1 {t}' for t in range(now - 7_200, now, 30)),
    ]
    lines.append("# TYPE http_requests counter")
    for code, per_scrape in (("200", 19), ("500", 1)):
        labels = f'job="checkout",instance="a",code="{code}"'
        times = enumerate(range(now - 7_200, now, 30))
        lines += [f"http_requests_total{{{labels}}} {n * per_scrape} {t}" for n, t in times]
    history = tmp_path / "history.om"
    history.write_text("\n".join([*lines, "# EOF", ""]))
    server = make_prometheus()
    server.load(history)
    return server.start()


@pytest.mark.prometheus
def test_the_example_of_the_readme_runs(checkout, capsys):
    """What the README shows prints the budget, what burns, and the gauges."""
    section = README.read_text().partition("\n## Python\n")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    assert "http://localhost:9090" in code
    exec(code.replace("http://localhost:9090", checkout.url), {})
    printed = capsys.readouterr().out
    # 5 % failed where 0.1 % may: 50 times too fast over 1 h, 16.7 times over 6 h even if the first four were good
    assert printed.startswith("checkout-availability -49.0\n")
    assert printed.count("burning: BurnRateAlert(slo_name='checkout-availability'") == 2
    assert '\nslo_breached{slo="checkout-availability"} 1.0\n' in printed
