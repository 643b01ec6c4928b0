"""The plan to a million SLOs: what the model says where the truth is known, and what the simulation must show."""

from __future__ import annotations

import pytest

from tests.bench.beyond import POINTS, Line, fit, fitted, fullness, moved, play, report, shards_for, shares

FLAT = {name: Line(0.0, 0.0, 0.0) for name in ("daemon_cpu", "requests", "prometheus_cpu", "rss")}


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([(10, 25.0), (100, 205.0), (1_000, 2_005.0)], (5.0, 2.0), id="a line is found"),
        pytest.param([(10, 20.0), (100, 200.0)], (0.0, 2.0), id="nothing fixed"),
        pytest.param([(10, 7.0), (100, 7.0)], (7.0, 0.0), id="nothing per SLO"),
        pytest.param([(10, 10.0), (100, 160.0)], None, id="never below 0"),
    ],
)
def test_a_cost_is_fitted(points, expected):
    """By relative errors: a hundred SLOs weigh as much as ten thousand."""
    found = fit(points)
    assert found.fixed >= 0 <= found.each
    if expected is not None:
        assert expected == pytest.approx((found.fixed, found.each), abs=1e-6)
        assert 0 == pytest.approx(found.worst, abs=1e-6)


def test_shards_are_as_many_as_the_fullest_needs():
    """Half a core of 60 s for 0.1 ms an SLO is 300,000 SLOs of the fullest shard."""
    lines = {**FLAT, "daemon_cpu": Line(0.0, 1e-4, 0.0)}
    assert 1 == shards_for(300_000, lines, interval=60, cores=0.5, memory=1e9)
    assert 4 == shards_for(1_000_000, lines, interval=60, cores=0.5, memory=1e9)


def test_the_hash_fills_shards_as_the_plan_assumes():
    """The fullest of twenty is within what is reckoned for a million, and one more moves its share."""
    sample = shares(20, 8_000)
    assert max(sample.values()) / (8_000 / 20) < 1 + 5 * (20 / 8_000) ** 0.5
    assert fullness(50) < 1.05
    assert 1 / 21 == pytest.approx(moved(20), abs=0.02)


@pytest.mark.parametrize(("cores", "kept_up"), [(1, False), (4, True)])
def test_an_engine_that_is_too_small_falls_behind(cores, kept_up):
    """Ten shards with 100 requests of 100 ms a minute are 100 s of work: more than a core has."""
    lines = {**FLAT, "requests": Line(100.0, 0.0, 0.0), "prometheus_cpu": Line(10.0, 0.0, 0.0)}
    played = play([1_000] * 10, lines, cores=cores, interval=60, ticks=10)
    assert kept_up == (played.longest < 60)


def test_an_idle_engine_answers_within_the_spread():
    """With cores for everybody a tick lasts as long as its requests are spread, and a little."""
    lines = {**FLAT, "requests": Line(60.0, 0.0, 0.0), "prometheus_cpu": Line(0.6, 0.0, 0.0)}
    played = play([1_000] * 4, lines, cores=16, interval=60, ticks=5)
    assert 4.9 < played.median < 5.5


def test_the_points_of_the_bench_are_a_line():
    """Costs grow with the SLOs and no faster: the worst point is near its line; the plan can be printed."""
    import json  # noqa: PLC0415

    points = json.loads(POINTS.read_text())
    lines = fitted(points)
    assert lines["samples"].worst < 0.25
    assert lines["daemon_cpu"].worst < 0.6
    assert "100,000" in report(points, slos=100_000, interval=60, cores=0.5, memory=2e9)
