"""The side-by-side run's arithmetic, and that every tool is asked about the same requests."""

from __future__ import annotations

import pytest

from slo_budget_tracker import specfiles
from tests.bench import costs, peers


def logged(*samples):
    """Query log entries that read so many samples."""
    return [{"stats": {"samples": {"totalQueryableSamples": one}}} for one in samples]


def test_a_query_log_of_two_minutes_is_told_per_minute():
    """Queries, samples and CPU of both sides are divided by the minutes that the log is about."""
    cost = costs.logged_cost("x", logged(100, 300), minutes=2, server_cpu=3.0, own_cpu=1.0)
    assert costs.Cost("x", queries=1, samples=200, server_cpu=1.5, own_cpu=0.5) == cost
    assert cost.cpu == 2.0


@pytest.mark.parametrize(
    ("theirs", "ours", "said"), [(238_818, 18, "13,268x"), (5.0, 2.0, "2.5x"), (1.0, 0.0, "infx")]
)
def test_ratios_have_three_digits_and_more(theirs, ours, said):
    """Large ratios are whole numbers, small ones have three digits, nothing is divided by zero."""
    assert said == costs.times(theirs, ours)


def test_the_table_has_absolute_figures_and_how_many_times_ours():
    """Samples and CPU are as many times ours, speeds say how many times theirs ours is."""
    ours = costs.Cost("ours", 4, 80, server_cpu=0.01, own_cpu=0.03, evaluations=1_000.0)
    rules = costs.Cost("rules", 40, 800_000, server_cpu=0.4)
    compute = costs.Cost("compute", 40, 400_000, server_cpu=1.0, own_cpu=1.0, evaluations=5.0)
    assert [
        "| ours | 4.0 | 80 | 0.010 s | 0.03 s | 0.040 s | 1,000.0 |",
        "| rules | 40.0 | 800,000 (10,000x) | 0.400 s (40x) | in Prometheus | 0.400 s (10x) | does not apply |",
        "| compute | 40.0 | 400,000 (5,000x) | 1.000 s (100x) | 1.00 s | 2.000 s (50x) | 5.0 (ours: 200x) |",
    ] == costs.markdown([ours, rules, compute], 10).splitlines()[2:]


OURS = {
    100: costs.Cost("ours", 10, 1_600, server_cpu=0.1, own_cpu=0.1, evaluations=500.0),
    1_000: costs.Cost("ours of many", 20, 16_000, server_cpu=0.5, own_cpu=0.5, evaluations=1_000.0),
}
THEIRS = [
    costs.Cost("rules", 40, 2_000_000, server_cpu=0.4),
    costs.Cost("compute", 40, 1_600_000, server_cpu=1.0, own_cpu=1.0, evaluations=5.0),
]


def test_costs_are_told_per_slo():
    """Queries, samples and CPU are divided by the SLOs that each was measured with."""
    assert [
        "| ours | 0.10 | 16.0 | 1.00 ms | 2.00 ms | 500.0 |",
        "| ours of many | 0.02 | 16.0 | 0.50 ms | 1.00 ms | 1,000.0 |",
        "| rules | 4.00 | 200,000.0 | 40.00 ms | 40.00 ms | does not apply |",
        "| compute | 4.00 | 160,000.0 | 100.00 ms | 200.00 ms | 5.0 |",
    ] == costs.markdown_per_slo(OURS, THEIRS, 10).splitlines()[2:]


def test_ratios_are_told_for_each_number_of_slos():
    """What the others' cost per SLO is to ours of a hundred, of a thousand; of rules nobody tells a speed."""
    assert [
        "| how many times as much for an SLO as this daemon | 100 SLOs | 1,000 SLOs |",
        "|---|--:|--:|",
        "| rules: samples read | 12,500x | 12,500x |",
        "| rules: CPU end to end | 20x | 40x |",
        "| compute: samples read | 10,000x | 10,000x |",
        "| compute: CPU end to end | 100x | 200x |",
        "| compute: SLO evaluations per second, of this daemon | 100x | 200x |",
    ] == costs.markdown_ratios(OURS, THEIRS, 10).splitlines()


@pytest.mark.parametrize("minutes", range(0, 20, 3))
def test_ten_ticks_of_the_newest_minutes_see_all_looks_for_late_data(minutes):
    """After a tick in which series are new they begin where a round of ten does, whichever minute it is."""
    end = 1_764_000_000 + 60 * minutes - peers.DELAY
    start = peers.before_ticks(end)
    first = start + 2 * 60
    assert 0 == (first + peers.DELAY) // 60 % 10
    assert 0 <= end - (first + 9 * 60) < 600


def test_good_and_bad_are_opposites_in_every_shape():
    """Whichever of the two a shape names, and however, the other selects the rest."""
    said = {one.shape.kind: (one.bad, one.good) for one in peers.services(11)}
    assert {
        "shared": ('caddy_http_responses_total{handler="proxy-0",code=~"5.."}',
                   'caddy_http_responses_total{handler="proxy-0",code!~"5.."}'),
        "list": ('http_requests_total{job="cart-0",code=~"500|503"}',
                 'http_requests_total{job="cart-0",code!~"500|503"}'),
        "good": ('envoy_cluster_upstream_rq{cluster="up-0",code=~"5.."}',
                 'envoy_cluster_upstream_rq{cluster="up-0",code!~"5.."}'),
        "own": ('queue_0_messages_total{job="queue-0",result="error"}',
                'queue_0_messages_total{job="queue-0",result!="error"}'),
    } == said  # fmt: skip


def test_rules_are_grouped_by_their_intervals():
    """A rule file has a group for each SLO and interval: Pyrra's burn rates every 30 s, its increase every 150 s."""
    some = peers.services(2)
    groups = peers.rule_groups("pyrra", {one.name: one.pyrra() for one in some})["groups"]
    assert [("30s", 7), ("150s", 2)] * 2 == [(one["interval"], len(one["rules"])) for one in groups]


def test_ten_thousand_slos_lie_in_files_that_are_read(tmp_path):
    """None of them is larger than the daemon takes."""
    some = peers.services(10_000)
    peers.write_slos(some, tmp_path / "slos")
    sizes = [path.stat().st_size for path in (tmp_path / "slos").iterdir()]
    assert (100, True) == (len(sizes), max(sizes) < 1 << 20)
    (tmp_path / "one").mkdir()
    (tmp_path / "slos" / "slos-99.yaml").rename(tmp_path / "one" / "slos.yaml")
    assert {one.name for one in some[-100:]} == {one.name for one in specfiles.load([tmp_path / "one"]).slos}
