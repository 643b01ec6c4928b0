"""The plan to a million SLOs: what the model says where the truth is known, and what the simulation must show."""

from __future__ import annotations

import json

import pytest

from tests.bench import beyond
from tests.bench.beyond import (
    Limits,
    Line,
    fit,
    fitted,
    fullest,
    moved,
    play,
    report,
    shards_for,
    shares,
    written,
)

FLAT = {name: Line(0.0, 0.0, 0.0) for name in beyond.COSTS}


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
    """Half a core of 60 s for 0.1 ms an SLO is 300,000 SLOs of the fullest shard; what was measured may be less."""
    lines = {**FLAT, "daemon_cpu": Line(0.0, 1e-4, 0.0)}
    limits = Limits(0.5, 1e9)
    assert 1 == shards_for(300_000, lines, limits, interval=60)
    assert 4 == shards_for(1_000_000, lines, limits, interval=60)
    assert 103 <= shards_for(1_000_000, lines, Limits(0.5, 1e9, 10_000), interval=60) <= 106


@pytest.mark.parametrize("slos", [10_000, 50_000, 300_000, 1_000_000])
@pytest.mark.parametrize("most", [10_000, float("inf")], ids=["of measured size", "larger"])
def test_the_fullest_shard_keeps_the_limits(slos, most):
    """Of memory, here, and with one shard less it would not."""
    lines = {**FLAT, "most_memory": Line(1e8, 6e4, 0.0)}
    limits = Limits(0.5, 2e9, most)
    of = shards_for(slos, lines, limits, interval=60)
    assert limits.hold(fullest(slos, of), lines, 60)
    assert of == 1 or not limits.hold(fullest(slos, of - 1), lines, 60)


@pytest.mark.parametrize("of", [4, 20, 103])
def test_the_hash_fills_shards_as_the_plan_assumes(of):
    """The fullest has no more than is reckoned."""
    sample = shares(of, 5_000)
    assert max(sample.values()) <= fullest(5_000, of)


def test_one_shard_more_moves_its_share():
    """As the table has it, reckoned."""
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


POINTS = json.loads(beyond.POINTS.read_text())


def test_the_points_of_the_bench_are_a_line():
    """Costs grow with the SLOs and no faster: the worst point is near its line."""
    lines = fitted(POINTS)
    assert lines["samples"].worst < 0.25
    assert lines["daemon_cpu"].worst < 0.6


def test_the_page_is_what_the_points_say():
    """Every table of the plan follows from tests/bench/points.json: `python -m tests.bench beyond --write` makes them."""
    page = beyond.PAGE.read_text()
    plan = report(POINTS, slos=1_000_000, interval=60, cores=0.5, memory=2e9)
    assert written(page, plan) == page


def number(cell):
    """What a cell begins with."""
    return float(cell.split()[0].replace(",", ""))


def test_no_shard_of_the_plan_exceeds_what_is_said_of_it(monkeypatch):
    """Neither the limit of memory nor, of the first plan, the largest daemon that was measured."""
    monkeypatch.setattr(beyond, "_played", lambda *_: "")
    plan = report(POINTS, slos=300_000, interval=60, cores=0.5, memory=2e9)
    rows = [line.strip("| ").split(" | ") for line in plan.splitlines() if "% of a core" in line]
    of_measured_size, larger = [row for row in rows if len(row) == 9], [row for row in rows if len(row) == 10]
    assert 3 == len(of_measured_size) == len(larger)
    assert max(number(row[2]) for row in of_measured_size) <= max(one["slos"] for one in POINTS)
    assert max(number(row[4]) for row in (*of_measured_size, *larger)) <= 2_000
    assert "no" == larger[0][-1]


def test_points_are_written_beside_the_page(tmp_path, monkeypatch, capsys):
    """What `scale --json` printed becomes the points and the plan; the rest of the page stays."""
    figures = [{**one, "rss": 1, "restart": 2.0} for one in POINTS]
    given, page, kept = (tmp_path / name for name in ("figures.json", "beyond.md", "points.json"))
    given.write_text(json.dumps(figures))
    page.write_text("# Page\n\n## The plan\n\nold\n\n## After\n\nText.\n")
    monkeypatch.setattr(beyond, "PAGE", page)
    monkeypatch.setattr(beyond, "POINTS", kept)
    monkeypatch.setattr("sys.argv", ["beyond", str(given), "--slos", "20000", "--write"])
    beyond.main()
    assert POINTS == json.loads(kept.read_text())
    assert page.read_text() == f"# Page\n\n## The plan\n\n{capsys.readouterr().out}\n## After\n\nText.\n"
