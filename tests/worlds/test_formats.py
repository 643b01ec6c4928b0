"""The same availability SLO in each format, beside what its own tool asks Prometheus: burn rates over 5m..3d."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import pytest

from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.filesets import Source
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.replays import evaluate_at
from slo_budget_tracker.specfiles import catalogue_of, understand_texts
from slo_budget_tracker.specs import workbook
from tests.peers.rules import sloth_ratio
from tests.servers import PrometheusServer, load_openmetrics
from tests.worlds.history import END
from tests.worlds.ours import asking

AT = END - 30  # a data instant of the grid k * 60 - 30
BUDGET = Fraction(1, 1000)
PERIOD = 4 * 86_400  # of history are enough for the longest window
WINDOWS = (300, 1_800, 3_600, 7_200, 21_600, 86_400, 259_200)


def files(world):
    """One SLO in the four formats, with the selectors of a world."""
    bad, total = world.bad, world.total
    good = total.replace("}", ',code!~"5.."}')
    return {
        "Sloth": f"""
version: prometheus/v1
service: sloth
slos:
  - name: {world.name}
    objective: 99.9
    sli:
      events:
        error_query: 'sum(rate({bad}[{{{{.window}}}}]))'
        total_query: 'sum(rate({total}[{{{{.window}}}}]))'
""",
        "Pyrra": f"""
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {{name: pyrra-{world.name}}}
spec:
  target: "99.9"
  window: 30d
  indicator:
    ratio:
      errors: {{metric: '{bad}'}}
      total: {{metric: '{total}'}}
""",
        "OpenSLO": f"""
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {world.name}}}
spec:
  service: openslo
  indicator:
    spec:
      ratioMetric:
        counter: true
        bad: {{metricSource: {{type: Prometheus, spec: {{query: 'sum({bad})'}}}}}}
        total: {{metricSource: {{type: Prometheus, spec: {{query: 'sum({total})'}}}}}}
  timeWindow: [{{duration: 30d, isRolling: true}}]
  budgetingMethod: Occurrences
  objectives: [{{target: 0.999}}]
""",
        "slo-generator": f"""
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata: {{name: slo-generator-{world.name}}}
spec:
  backend: prometheus
  method: good_bad_ratio
  service_level_indicator: {{filter_good: '{good}', filter_valid: '{total}'}}
  goal: 0.999
""",
    }


def read(world):
    """The SLO of each format, all with the workbook's pairs so that their windows are the same."""
    found = {}
    for name, text in files(world).items():
        slo = catalogue_of(understand_texts([Source(f"{name}.yaml", text)])).slos[0]
        found[name] = slo.model_copy(update={"alerts": workbook(slo.target, slo.window)[0], "window": PERIOD})
    return found


def asked(world, window):
    """The error ratio that each tool's own expression gives, by tool (OpenSLO has none of its own)."""
    length = format_duration(window)
    good = world.total.replace("}", ',code!~"5.."}')
    sloth = sloth_ratio(bad=world.bad, total=world.total, window=length)
    pyrra = f"sum(rate({world.bad}[{length}])) / sum(rate({world.total}[{length}]))"
    counts = [f"sum(increase({one}[{window}s]))" for one in (good, world.total)]
    return {
        "Sloth": sloth,
        "Pyrra": pyrra,
        "OpenSLO": sloth,
        "slo-generator": f"1 - {counts[0]} / {counts[1]}",
    }


def burn_rates(server, worlds, truth):
    """Burn rates by world, format and window: ours, the tool's own, and the truth."""
    slos = {(world.name, name): slo for world in worlds for name, slo in read(world).items()}
    with asking(server.url) as asks:
        snapshots = {one.name: one for one in evaluate_at(list(slos.values()), asks, at=AT)}
    found = {}
    for (world, name), slo in slos.items():
        ours = {sample.window_seconds: sample.burn_rate for sample in snapshots[slo.name].burn_rate_samples}
        one = next(one for one in worlds if one.name == world)
        for window in WINDOWS:
            theirs = server.number(asked(one, window)[name], AT)
            burn = None if theirs is None else theirs / float(BUDGET)
            found[world, name, window] = Rates(ours[window], burn, truth(one, window) / float(BUDGET))
    return found


class Rates(NamedTuple):
    """One burn rate, three ways."""

    ours: float
    theirs: float | None
    truth: float


class Even(NamedTuple):
    """A service with the same events in every scrape: nothing is left to chance, nor to extrapolation."""

    name: str = "even"
    total: str = 'even_total{job="even"}'
    bad: str = 'even_total{job="even",code=~"5.."}'


def counters(job, steps):
    """Two counters of a job in OpenMetrics: `steps` gives good and bad events of the scrape at an instant."""
    lines = {"200": [], "500": []}
    values = dict.fromkeys(lines, 0)
    for at in range(END - PERIOD - 7_200, END, 30):
        for code, step in zip(lines, steps(at), strict=True):
            values[code] += step
            labels = f'job="{job}",instance="a:80",code="{code}"'
            lines[code].append(f"even_total{{{labels}}} {values[code]} {at}\n")
    return "".join(line for one in lines.values() for line in one)


def uneven(at):
    """Busy and clean by day, a request per scrape and half of them failed by night.

    Two fail and two do not, so that windows of 5 minutes, one after the other, see as many of both: Prometheus 3
    leaves a sample at the beginning of a range out, and with it one scrape in ten.
    """
    if at % 86_400 < 43_200:
        return 1_200, 0
    return (1, 0) if at // 60 % 2 else (0, 1)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A Prometheus with four days of the even and of the uneven service."""
    folder = tmp_path_factory.mktemp("even")
    history = folder / "even.om"
    samples = counters("even", lambda _: (399, 1)) + counters("uneven", uneven)
    history.write_text(f"# TYPE even counter\n{samples}# EOF\n")
    server = PrometheusServer(folder / "server")
    load_openmetrics(history, server.data)
    with server:
        yield server


@pytest.fixture(scope="module")
def even(small):
    """Burn rates of a service that fails 1 of 400 requests, at 13 requests a second, for four days."""
    return burn_rates(small, [Even()], lambda *_: Fraction(1, 400))


@pytest.fixture(scope="module")
def figures(worlds_server, worlds):
    """Burn rates of the steady world, of the one whose pods are replaced, and of the uneven one."""

    def truth(world, window):
        happened = world.truth(AT + 30, window, seen=True)
        return happened.bad / happened.total

    return burn_rates(worlds_server, [worlds[name] for name in ("steady", "replaced")], truth)


def test_each_format_counts_the_same_events(worlds):
    """Sloth, Pyrra and OpenSLO become one and the same SLI; slo-generator's says the same by the good ones."""
    hashes = {name: sli_hash(slo) for name, slo in read(worlds["steady"]).items()}
    assert hashes["Sloth"] == hashes["Pyrra"] == hashes["OpenSLO"]
    assert (2, 4) == (len(set(hashes.values())), len(hashes))


@pytest.mark.prometheus
def test_burn_rates_are_the_tools_own_where_nothing_happens_but_requests(even):
    """Four formats, seven windows from 5 minutes to 3 days: within 1 % of the tool's own expression, and true."""
    assert 4 * len(WINDOWS) == len(even)
    wrong = {
        key: found
        for key, found in even.items()
        if found.ours != pytest.approx(found.theirs, rel=0.01) or found.ours != pytest.approx(2.5, rel=1e-9)
    }
    assert {} == wrong


@pytest.mark.prometheus
def test_burn_rates_are_the_tools_own_on_the_steady_world(figures):
    """Random requests of living pods: within 1 % from 2 hours on, within one scrape's failures below."""
    steady = {(name, window): found for (world, name, window), found in figures.items() if world == "steady"}
    assert 4 * len(WINDOWS) == len(steady)
    wrong = {
        key: found
        for key, found in steady.items()
        if found.ours != pytest.approx(found.theirs, rel=0.01 if key[1] >= 7_200 else 0.05)
    }
    assert {} == wrong


@pytest.mark.prometheus
def test_burn_rates_are_right_where_the_tools_own_are_not(figures, show):
    """Pods replaced every 6 hours: ours are the truth, the tools' miss a third of the failures; one table."""
    lines = ["window  truth  ours   Sloth/Pyrra/OpenSLO/slo-generator"]
    for window in WINDOWS:
        rows = [figures["replaced", name, window] for name in ("Sloth", "Pyrra", "OpenSLO", "slo-generator")]
        theirs = "/".join(f"{row.theirs:.3f}" for row in rows)
        lines.append(f"{format_duration(window):7} {rows[0].truth:.3f}  {rows[0].ours:.3f}  {theirs}")
        if window >= 7_200:
            assert [pytest.approx(rows[0].truth, rel=0.01)] * 4 == [row.ours for row in rows]
    for line in lines:
        show(line)
    longest = figures["replaced", "Sloth", 259_200]
    assert longest.theirs < 0.7 * longest.truth


@pytest.mark.prometheus
def test_a_quiet_failing_night_weighs_what_it_weighs(small):
    """Four days of busy clean days and quiet failing nights: Sloth's period is the mean of 5-minute ratios, ours is true."""
    world = Even("uneven", 'even_total{job="uneven"}', 'even_total{job="uneven",code=~"5.."}')
    slo = read(world)["Sloth"]
    with asking(small.url) as asks:
        snapshot = evaluate_at([slo], asks, at=AT)[0]
    ratio = sloth_ratio(bad=world.bad, total=world.total, window="5m")
    mean = small.number(f"sum_over_time(({ratio})[4d:5m]) / count_over_time(({ratio})[4d:5m])", AT)
    truth = 720 / (1_440 * 1_201)
    assert 1 - snapshot.success_ratio == pytest.approx(truth, rel=0.01)
    assert mean == pytest.approx(0.25, rel=0.02)
    assert 500 < mean / truth < 700
