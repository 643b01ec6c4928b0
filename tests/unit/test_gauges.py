"""The page of /metrics: which samples there are, how they are written, and that every scraper can read them."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from slo_budget_tracker import exposition, gauges
from slo_budget_tracker.exposition import all_printed, braced, labels, printed, sample
from slo_budget_tracker.figures import Durations, OwnFigures
from slo_budget_tracker.gauges import Page, identity, render
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.snapshots import AlertStatus, BurnRateSample, SLOSnapshot
from slo_budget_tracker.specs import SLO, RequestsSli
from tests.servers import promtool_binary

AT = 1_793_448_000
OWN = OwnFigures(
    version="0.2.0", ticks={"ok": 41, "no_data": 1}, requests={("default", "ok"): 43}, doubts={"gap": 2}
)
ODD_VALUES = {
    "quote": '"',
    "backslash": "\\",
    "newline": "a\nb",
    "carriage return": "a\r\nb",
    "script": "<script>alert(1)</script>",
    "NUL": "a\x00b",
    "escape": "\x1b[31m",
    "bidi": "\u202eabc",
    "line separator": "a\u2028b\x85c",
    "1 MiB": "x" * (1 << 20),
    "1 MiB of emoji": "\N{BUG}" * (1 << 18),
    "lone surrogate": "a\ud800b",
    "backslash at the end": "a\\",
}


def burn(window: int, **changes) -> BurnRateSample:
    """One window's figures."""
    return BurnRateSample(window, 1.25, 0.99875, 5_400.0, 6.75, 1.0)._replace(**changes)


def alert(long: int, short: int, *, state: str = "quiet", severity: str = "page") -> AlertStatus:
    """One pair's state."""
    return AlertStatus(severity, long, short, Decimal("14.4"), state, AT, "because")


def snapshot(name: str = "checkout-availability", **changes) -> SLOSnapshot:
    """A snapshot with every figure."""
    one = SLOSnapshot(
        name=name,
        unit="requests",
        target=Decimal("0.999"),
        window_seconds=2_592_000,
        evaluated_at=AT,
        state="ok",
        coverage=0.75,
        total=1_234_567.0,
        failures=1_180.5,
        success_ratio=0.99904,
        error_budget_remaining=0.0442,
        burn_rate=0.956,
        error_budget_remaining_bounds=(-0.5, 0.25),
        events_remaining=54.5,
        exhaustion_seconds=1e-5,
        breached=False,
        budget_exhausted=False,
        burn_rate_samples=(burn(300), burn(3_600, burn_rate=None, coverage=0.5)),
        alerts=(
            alert(3_600, 300),
            alert(21_600, 1_800, state="held"),
            alert(86_400, 7_200, severity="ticket"),
        ),
    )
    return one._replace(**changes)


def definition(name: str = "checkout-availability", **changes) -> SLO:
    """An SLO for slo_info."""
    counter = Selector("http_requests_total")
    sli = RequestsSli(total=(counter,), bad=(counter,))
    return SLO(name=name, target=Decimal("0.999"), sli=sli, **changes)


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples of a page, by name and labels, as prometheus_client's parser reads them."""
    families = parse_text(page.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def of(page: bytes, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of one metric, by their labels without `slo`."""
    found = samples(page)
    return {tuple(p for p in pairs if p[0] != "slo"): v for (one, pairs), v in found.items() if one == name}


def test_the_eight_gauges_of_the_seed():
    """The seed's names and meanings are kept, the burn rate once for each window of an alert."""
    page = render([snapshot(burn_rate_samples=(burn(300), burn(3_600, burn_rate=2.5)))], [], None)
    assert {
        "slo_target": {(): 0.999},
        "slo_window_seconds": {(): 2_592_000},
        "slo_success_ratio": {(): 0.99904},
        "slo_failures_total": {(): 1_180.5},
        "slo_total": {(): 1_234_567},
        "slo_error_budget_remaining": {(): 0.0442},
        "slo_burn_rate": {(("window_seconds", "300"),): 1.25, (("window_seconds", "3600"),): 2.5},
        "slo_breached": {(): 0},
    } == {
        name: of(page, name)
        for name in (
            "slo_target",
            "slo_window_seconds",
            "slo_success_ratio",
            "slo_failures_total",
            "slo_total",
            "slo_error_budget_remaining",
            "slo_burn_rate",
            "slo_breached",
        )
    }


def test_every_metric_of_an_slo_is_a_gauge():
    """Window sums are no counters, whatever their names end in."""
    page = render(
        [snapshot()],
        [definition()],
        None,
        now=AT + 30,
        data_until={identity("checkout-availability", {}): AT},
    )
    types = {line.split()[3] for line in page.decode().splitlines() if line.startswith("# TYPE slo_")}
    assert {"gauge"} == types


def test_window_sums_say_that_they_are_no_counters():
    """The HELP of both window sums warns against rate()."""
    helps = [
        line for line in render([snapshot()], [], None).decode().splitlines() if line.startswith("# HELP")
    ]
    assert 2 == sum("do not rate()" in line for line in helps)


def test_what_is_absent_leaves_no_sample():
    """D1, D22: an SLO of which nothing is known has its definition, state and coverage, and no number."""
    unknown = snapshot(
        state="no_data",
        coverage=0.0,
        total=None,
        failures=None,
        success_ratio=None,
        error_budget_remaining=None,
        burn_rate=None,
        error_budget_remaining_bounds=None,
        events_remaining=None,
        exhaustion_seconds=None,
        breached=None,
        budget_exhausted=None,
        burn_rate_samples=(burn(300, burn_rate=None, coverage=0.0),),
        alerts=(),
    )
    names = {name for name, _ in samples(render([unknown], [], None))}
    assert {
        "slo_target",
        "slo_window_seconds",
        "slo_suspicious",
        "slo_data_state",
        "slo_window_coverage_ratio",
        "slo_last_evaluation_timestamp_seconds",
    } == names


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_no_gauge_is_ever_nan_or_infinite(value):
    """D1, D2: a figure that is no finite number is left out."""
    assert {} == of(render([snapshot(success_ratio=value)], [], None), "slo_success_ratio")


def test_coverage_of_every_window_and_of_the_slo_window():
    """Coverage is told for the alerts' windows and for the SLO window, each once."""
    page = render([snapshot(burn_rate_samples=(burn(300), burn(2_592_000, coverage=0.75)))], [], None)
    assert {(("window_seconds", "300"),): 1.0, (("window_seconds", "2592000"),): 0.75} == of(
        page, "slo_window_coverage_ratio"
    )


@pytest.mark.parametrize(
    ("state", "value"), [("quiet", 0), ("pending", 0), ("firing", 1), ("held", 1)], ids=str
)
def test_an_alert_fires_while_it_is_held(state, value):
    """The gauge to alert on is 1 while the alert fires and while it is held for want of data."""
    page = render([snapshot(alerts=(alert(3_600, 300, state=state),))], [], None)
    labels = (("long_window_seconds", "3600"), ("severity", "page"), ("short_window_seconds", "300"))
    assert {labels: value} == of(page, "slo_burn_alert_firing")


def test_two_alerts_over_the_same_windows_are_one_sample():
    """A page never has the same series twice; the one that fires wins."""
    both = (alert(3_600, 300, state="firing"), alert(3_600, 300))
    assert [1] == list(of(render([snapshot(alerts=both)], [], None), "slo_burn_alert_firing").values())


@pytest.mark.parametrize(
    ("state", "shown"),
    [(one, one) for one in ("ok", "no_traffic", "no_data", "partial", "error")] + [("missed", "error")],
    ids=str,
)
def test_exactly_one_data_state_is_one(state, shown):
    """All five states have a sample, and the last tick's is 1."""
    values = of(render([snapshot(state=state)], [], None), "slo_data_state")
    assert (5, {(("state", shown),): 1.0}) == (len(values), {k: v for k, v in values.items() if v})


def test_bounds_are_worst_and_best():
    """The bounds of the budget come under their own name."""
    assert {(("bound", "worst"),): -0.5, (("bound", "best"),): 0.25} == of(
        render([snapshot()], [], None), "slo_error_budget_remaining_bound"
    )


def test_info_carries_service_owner_and_labels():
    """slo_info joins what the SLO file says to every other gauge by `slo`."""
    slo = definition(
        service="checkout", owner="payments@example.org", labels=(("team", "payments"), ("tier", "1"))
    )
    assert {
        (("owner", "payments@example.org"), ("service", "checkout"), ("team", "payments"), ("tier", "1")): 1.0
    } == of(render([], [slo], None), "slo_info")


def test_a_definitions_label_cannot_pose_as_another_slo():
    """What the file's labels say of `slo` or `service` does not count."""
    slo = definition(
        service="checkout", labels=(("slo", "other"), ("service", "other"), ("bad-name", "x"), ("1", "y"))
    )
    assert [
        ("_1", "y"),
        ("bad_name", "x"),
        ("owner", ""),
        ("service", "checkout"),
        ("slo", "checkout-availability"),
    ] == [pair for (name, pairs) in samples(render([], [slo], None)) for pair in pairs if name == "slo_info"]


def test_group_labels_stand_on_every_sample_of_the_instance():
    """Instances of one SLO are told apart by their labels everywhere."""
    page = render(
        [snapshot(labels={"handler": "/pay", "zone": "a"}), snapshot(labels={"handler": "/", "zone": "a"})],
        [],
        None,
    )
    per_instance = {dict(pairs)["handler"]: 0 for _, pairs in samples(page)}
    for _, pairs in samples(page):
        per_instance[dict(pairs)["handler"]] += 1
    assert (2, 1) == (len(per_instance), len(set(per_instance.values())))


def test_data_age_is_wall_clock_since_the_newest_known_tick():
    """The age is known only where data are, and never negative."""
    until = {identity("a", {}): AT, identity("b", {}): AT + 100}
    page = render([snapshot("a"), snapshot("b"), snapshot("c")], [], None, now=AT + 45, data_until=until)
    found = {dict(p)["slo"]: v for (name, p), v in samples(page).items() if name == "slo_data_age_seconds"}
    assert {"a": 45.0, "b": 0.0} == found


def test_a_page_that_is_printed_again_tells_the_age_of_that_moment():
    """The verdicts are rendered once; where no tick comes the data grow older on the page all the same."""
    known = {identity("a", {}): AT, identity("all", {}): AT + 10}
    some = [snapshot("a"), snapshot("all")._replace(rollup=True)]
    page = Page.of(some, [], known)
    page.printed(None, now=AT + 45)
    assert page.printed(OWN, now=AT + 75) == render(some, [], OWN, now=AT + 75, data_until=known)
    found = {name: v for (name, _), v in samples(page.printed(None, now=AT + 75)).items() if "_age_" in name}
    assert {"slo_data_age_seconds": 75.0, "slo_rollup_data_age_seconds": 65.0} == found


def test_a_page_goes_on_with_the_lines_of_verdicts_that_stand(monkeypatch):
    """After a reload it is what it would be if made anew: of verdicts that are the same nothing is printed again."""
    grouped = {"rollup": True}, {"labels": {"handler": "/pay"}}
    before = [snapshot(), *(snapshot("shop", **one) for one in grouped)]
    now = [before[0], *(snapshot("shop", target=Decimal("0.99"), **one) for one in grouped), snapshot("new")]
    page = Page.of(before, [], {})
    made, genuine = [], gauges._Row.of
    monkeypatch.setattr(gauges._Row, "of", lambda one: made.append(one.name) or genuine(one))
    again = Page.of(now, [definition()], {}, before=page).printed(None, now=None)
    assert (["new", "shop", "shop"], Page.of(now, [definition()], {}).printed(None, now=None)) == (
        made[:3],
        again,
    )


def test_order_is_stable():
    """The same snapshots in another order are the same page."""
    some = [snapshot(f"slo-{n}") for n in range(5)]
    assert render(some, [], OWN) == render(some[::-1], [], OWN)


def test_removed_slos_leave_nothing_behind():
    """A page has only what was given: there is no registry to forget to clean."""
    render([snapshot("gone")], [definition("gone")], None)
    assert b"gone" not in render([snapshot("here")], [definition("here")], None)


@pytest.mark.parametrize("value", ODD_VALUES.values(), ids=ODD_VALUES.keys())
def test_any_label_value_can_be_scraped(value):
    """D18: whatever a label says, both formats are read again and the value has at most 256 bytes."""
    page = render([snapshot(labels={"group": value})], [definition(labels=(("team", value),))], OWN)
    read = {dict(pairs).get("group", "") for _, pairs in samples(page)} - {""}
    in_openmetrics = {
        s.labels["group"]
        for family in parse_openmetrics(exposition.openmetrics(page).decode())
        for s in family.samples
        if "group" in s.labels
    }
    assert read == in_openmetrics == {exposition.readable(value)}
    assert len(exposition.readable(value).encode()) <= 256


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a\ud800b", "a\ufffdb"), ("a\x00b", "a\ufffdb"), ("plain", "plain"), ("é" * 128, "é" * 128)],
    ids=["lone surrogate", "NUL", "plain", "exactly 256 bytes"],
)
def test_what_no_scraper_reads_becomes_the_replacement_character(value, expected):
    """D18: surrogates and NUL are replaced, everything else that fits is kept."""
    assert expected == exposition.readable(value)


def test_long_values_stay_different():
    """D18: two long values that differ at their ends are still two series."""
    page = render([snapshot(labels={"g": "x" * 300 + end}) for end in "ab"], [], None)
    assert 2 == len(of(page, "slo_target"))


def test_written_as_prometheus_client_writes():
    """Byte for byte the text of prometheus_client: numbers, escapes, order of labels."""
    values = [
        0.0,
        1.0,
        -1.5,
        1e-9,
        1e6,
        999_999.5,
        1_234_567.0,
        1e15,
        1.7e300,
        -2e7,
        123_456_789.25,
        1e21,
        True,
        7,
    ]
    gauge = GaugeMetricFamily("g", 'A "gauge"\nof \\ things', labels=["b", "a", "z"])
    for number, value in enumerate(values):
        gauge.add_metric([str(number), 'q"\\\n', "é"], value)
    family = exposition.Family("g", "gauge", 'A "gauge"\nof \\ things')
    lines = [
        exposition.sample(
            "g", exposition.braced(exposition.labels({"b": str(n), "a": 'q"\\\n', "z": "é"})), value
        )
        for n, value in enumerate(values)
    ]
    assert latest(gauge) == exposition.block(family, lines).encode()


def test_the_whole_page_is_what_prometheus_client_would_write():
    """Read by its parser and written by its generator, in both formats, the page is the same."""
    page = render(
        [snapshot("a"), snapshot("b", labels={"handler": "/pay", "zone": 'q"\\'})],
        [definition("a")],
        OWN,
        now=AT + 1,
    )
    families = list(parse_text(page.decode()))
    assert latest(*map(rebuilt, families)) == page
    assert generate_openmetrics(registry(*map(rebuilt, families))) == exposition.openmetrics(page)


def rebuilt(family):
    """A parsed family as a collector would give it."""
    if family.type == "histogram":
        whole = HistogramMetricFamily(family.name, family.documentation)
    elif family.type == "counter":
        whole = CounterMetricFamily(family.name, family.documentation)
    else:
        whole = GaugeMetricFamily(family.name, family.documentation)
    whole.samples = family.samples
    return whole


def registry(*families):
    """A registry that collects the families."""

    class Collector:
        """Gives what it was given."""

        def collect(self):
            """All families."""
            return families

    found = CollectorRegistry()
    found.register(Collector())
    return found


def latest(*families) -> bytes:
    """What prometheus_client writes for the families."""
    return generate_latest(registry(*families))


def test_own_histogram_is_cumulative():
    """Each bucket has all that took no longer; the last one has everything."""
    durations = (
        Durations(bounds=(0.125, 1.0), counts=(0, 0, 0))
        .with_one(0.125)
        .with_one(0.5)
        .with_one(7)
        .with_one(0.0625)
    )
    page = render([], [], OwnFigures(tick_durations=durations))
    name = "slo_budget_tracker_tick_duration_seconds"
    assert {
        (f"{name}_bucket", (("le", "0.125"),)): 2,
        (f"{name}_bucket", (("le", "1.0"),)): 3,
        (f"{name}_bucket", (("le", "+Inf"),)): 4,
        (f"{name}_count", ()): 4,
        (f"{name}_sum", ()): 7.6875,
    } == {key: value for key, value in samples(page).items() if key[0].startswith(name)}


def test_own_figures_that_are_not_known_have_no_sample():
    """A figure that is None is left out, a counter at 0 is shown."""
    names = {name for name, _ in samples(render([], [], OwnFigures()))}
    assert (
        "slo_budget_tracker_ticks_missed_total" in names,
        "slo_budget_tracker_ledger_size_bytes" in names,
    ) == (True, False)


def test_figures_of_the_process():
    """CPU, memory and files of the process come under the names every exporter uses."""
    page = render([], [], OwnFigures(process=tuple(ProcessCollector(registry=None).collect())))
    names = {name for name, _ in samples(page)}
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names
    assert b"# TYPE process_cpu_seconds_total counter\n" in page


@pytest.mark.prometheus
def test_promtool_has_only_the_two_known_complaints():
    """`promtool check metrics` names the two window sums that keep the seed's names, and nothing else."""
    own = replace(
        OWN,
        ledger_bytes=4_096,
        reload_successful=True,
        reload_at=AT,
        outbox_pending=0,
        clock_jumps={"forward": 1},
    )
    odd = [snapshot(f"odd-{n}", labels={"group": value}) for n, value in enumerate(ODD_VALUES.values())]
    page = render(
        [snapshot(), *odd],
        [definition()],
        own,
        now=AT,
        data_until={identity("checkout-availability", {}): AT},
    )
    done = subprocess.run(
        [promtool_binary(), "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert {
        'slo_failures_total non-counter metrics should not have "_total" suffix',
        'slo_total non-counter metrics should not have "_total" suffix',
    } == set(done.stderr.decode().splitlines())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"burn_rate_samples": (burn(300, burn_rate=None), burn(3_600, coverage=1.0))},
        {"error_budget_remaining_bounds": None, "success_ratio": None, "exhaustion_seconds": 1e9},
        {"total": float("inf"), "failures": -0.0, "events_remaining": -2e6, "breached": True},
        {"state": "missed", "name": "100%-of-{it}"},
        {"alerts": (alert(3_600, 300), alert(3_600, 300, state="firing")), "window_seconds": 3_600},
    ],
    ids=["plain", "windows", "absent", "large", "percent", "twice"],
)
def test_a_filled_sheet_is_what_line_by_line_would_be(changes):
    """The quick way for SLOs without groups prints what the plain one does, to the byte."""
    one = snapshot(**changes)
    values = [*((name, (), value) for name, value in gauges._plain(one)), *gauges._labelled(one)]
    expected = sorted(
        sample(name, braced((*labels({"slo": one.name}), *further)), value) for name, further, value in values
    )
    lines = [line + "\n" for line in render([one], (), None).decode().splitlines() if line[0] != "#"]
    assert [line for line in expected if line] == sorted(lines)


@given(
    st.lists(
        st.none() | st.booleans() | st.integers(0, 10**12) | st.floats() | st.floats(0, 1e-3), min_size=1
    )
)
def test_many_numbers_are_printed_as_one_is(values):
    """As prometheus_client writes them, whoever spells them."""
    assert [printed(value) for value in values] == all_printed(values)
