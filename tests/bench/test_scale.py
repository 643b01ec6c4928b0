"""The bench of sizes: when its ticks are, what its tables say, and that it runs, in small."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace

import pytest

from tests.bench import growth, scale
from tests.bench.cases import Case

FIGURES = {
    "slos": 100, "series": 1_200, "ticks": 10, "requests": 50.0, "most_requests": 60.0, "samples": 2_000.0, "wall": 1.0,
    "daemon_cpu": 0.2, "prometheus_cpu": 0.1, "scraping_cpu": 0.05, "missed": 0.0, "doubts": 0.0, "remembered": 1_040.0,
    "rss": 130e6, "peak": 140e6, "most_memory": 150e6, "ledger_bytes": 800e3, "restart": 1.5, "restart_cpu": 1.2,
    "stop": 0.2, "reload": 0.4, "reload_cpu": 0.1, "metrics": 0.001, "metrics_bytes": 30e3, "api": 0.002,
    "api_1000": 0.003, "page": 0.002, "page_filtered": 0.001, "load": 0.5,
}  # fmt: skip
ASKED = Namespace(slos=[100, 1_000], ticks=10, interval=20, alone=False, life=None, growth=True, only=False)


@pytest.mark.parametrize("now", [1_764_000_000.0, 1_764_000_123.4, 1_764_000_199.9])
def test_the_measured_ticks_begin_where_ten_do(now):
    """So that all of a round's looks for late data are in them; a thousand SLOs have the time they take before it."""
    first = scale.first_tick(now, 1_000, 20)
    assert 0 == first // 20 % 10
    assert 160 < first - now <= 370


def test_cases_grow_by_one_thing_each():
    """SLOs, series and windows: of each that is more, all else is the same as in another case."""
    assert [
        "100 SLOs of 12 series, window 30d",
        "1,000 SLOs of 12 series, window 30d",
        "1,000 SLOs of 48 series, window 30d",
        "1,000 SLOs of 12 series, window 7d",
        "1,000 SLOs of 12 series, window 90d",
    ] == [case.name for case in scale.cases_of(ASKED)]


def test_each_cost_is_told_per_tick_and_per_slo():
    """The table has a column for each case, with the number of ticks that its figures are made of."""
    told = growth.markdown([(Case(100), FIGURES)]).splitlines()
    assert {
        "| requests per tick, mean / most | 50 / 60 |",
        "| requests per tick and SLO | 0.500 |",
        "| samples read per tick and SLO | 20.0 |",
        "| daemon CPU per tick and SLO | 2.00 ms |",
        "| Prometheus CPU per tick and SLO, for the queries | 1.00 ms |",
        "| memory per SLO, at most | 1465 KiB |",
        "| ledger per SLO | 7.8 KiB |",
        "| ticks measured; missed, in doubt (SLO ticks) | 10; 0, 0 |",
    } <= set(told)


def test_growth_is_told_of_neighbours_that_differ_in_one_thing():
    """Ten times the SLOs, four times the series, a longer window: never two at once, never over a third between."""
    cases = scale.cases_of(ASKED)
    measured = [(case, FIGURES | {"samples": 2.0 * case.slos * case.series}) for case in cases]
    table = growth.growth(measured).splitlines()
    assert [
        (
            "| with more … it is … times as much | SLOs: 100 to 1,000 | series of an SLO: 12 to 48 | window: 7d to 30d "
            "| window: 30d to 90d |"
        ),
        "| samples read per tick | 10.00 | 4.00 | 1.00 | 1.00 |",
    ] == [table[0], table[3]]


def test_without_a_second_case_nothing_grows():
    """One case has no table of growth, and two that differ in two things have none."""
    other = replace(Case(1_000), window="7d")
    assert ["", ""] == [growth.growth(some) for some in ([(Case(1), {})], [(Case(1), {}), (other, {})])]


@pytest.mark.long
@pytest.mark.prometheus
def test_a_small_run_gives_every_figure(tmp_path):
    """Forty and twenty SLOs at once: no tick is missed, none in doubt, requests in looks are more than the mean."""
    cases = [Case(count, interval=8, ticks=10) for count in (20, 40)]
    found = scale.measure(cases, tmp_path)
    assert [(20, 0, 0), (40, 0, 0)] == [(one["slos"], one["missed"], one["doubts"]) for one in found]
    assert all(one["most_requests"] > one["requests"] for one in found)
    assert 3 == growth.markdown(list(zip(cases, found, strict=True))).count("daemon CPU per tick")
