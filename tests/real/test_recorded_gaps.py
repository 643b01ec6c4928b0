"""Recorded series with gaps of their own, on a real Prometheus: what no rule wrote is unknown, not zero."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.replays import Grid, evaluate_at, replay
from slo_budget_tracker.settings import PrometheusSettings
from slo_budget_tracker.specs import SLO, ConditionSli, PromqlSli
from tests.servers import PrometheusServer, load_openmetrics

pytestmark = pytest.mark.prometheus

HOUR = 3_600
BEGIN = 1_790_000_010 // 60 * 60 - 30
MINUTES = 6 * 60
END = BEGIN + MINUTES * 60
GAPS = (range(130, 134), range(200, 240))  # minutes in which no rule was evaluated


def build():
    """Two recorded series a minute, of which one has only some rows, and the load that stays at 0.2."""
    text = []
    for name, value in (
        ("job:requests:increase1m", 100),
        ("job:failures:increase1m", 10),
        ("job:load:ratio", 0.2),
    ):
        text.append(f"# TYPE {name} gauge")
        for minute in range(1, MINUTES + 1):
            failing = minute % 60 < 20
            if not any(minute in gap for gap in GAPS) and (failing or "failures" not in name):
                text.append(f"{name} {value} {BEGIN + minute * 60 - 13}")
    return "\n".join([*text, "# EOF", ""])


@pytest.fixture(scope="module")
def asks(tmp_path_factory):
    """How to ask a Prometheus that has the world."""
    folder = tmp_path_factory.mktemp("recorded")
    history = folder / "history.om"
    history.write_text(build())
    server = PrometheusServer(folder / "prometheus")
    load_openmetrics(history, server.data)
    with server:
        client = Prometheus(PrometheusSettings(url=server.url))
        yield {"default": lambda query: client.ask(query, budget_seconds=30)}
        client.close()


def slo(name, sli):
    """An SLO over four hours without alerts."""
    return SLO(name=name, target=Decimal("0.99"), window=4 * HOUR, sli=sli)


SLOS = (
    slo(
        "counts",
        PromqlSli(
            total="sum(sum_over_time(job:requests:increase1m[$window]))",
            bad="sum(sum_over_time(job:failures:increase1m[$window])) or vector(0)",
            window=300,
        ),
    ),
    slo(
        "ratio",
        PromqlSli(
            error_ratio="(sum(sum_over_time(job:failures:increase1m[$window]))"
            " / sum(sum_over_time(job:requests:increase1m[$window]))) or vector(0)",
            window=300,
        ),
    ),
    slo("load", ConditionSli(expr="job:load:ratio", op="<", limit=Decimal("0.8"))),
)


def missing(name, snapshots):
    """Minutes of the window of which nothing is known."""
    one = next(one for one in snapshots if one.name == name)
    return round((1 - one.coverage) * 4 * 60)


@pytest.mark.parametrize("how", ["evaluated", "replayed"])
def test_gaps_of_recorded_series_are_unknown(asks, how):
    """D24: counted by count_over_time against what is usual; a zero in their place is believed by nobody."""
    if how == "evaluated":
        found = evaluate_at(SLOS, asks, at=END, grid=Grid())
    else:
        found = replay(SLOS, asks, start=END - HOUR // 2, end=END, grid=Grid()).final
    gap = sum(map(len, GAPS))
    for name in ("counts", "ratio", "load"):
        assert gap - 4 <= missing(name, found) <= gap + 8
    counts = next(one for one in found if one.name == "counts")
    assert pytest.approx(0.1 * 80 / (4 * 60 - gap), rel=0.1) == 1 - counts.success_ratio
