"""SLO files: every kind of SLI and every key of budgets and alerts, as it becomes a spec."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from slo_budget_tracker.hashes import definition_hash, sli_hash
from slo_budget_tracker.indicators import KINDS
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import (
    DAY,
    BudgetAlert,
    Calendar,
    ConditionSli,
    ProbeSli,
)

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "config" / "examples").glob("*.yaml"))
SLI = 'requests: {total: x_total, bad: "x_total{code=~\\"5..\\"}"}'


def slo_of(tmp_path, sli=SLI, *keys, target="99.9%"):
    """The only SLO of a small file."""
    further = "".join(f"    {key}\n" for key in keys)
    file = tmp_path / "one.yaml"
    file.write_text(f"slos:\n  - name: one\n    target: {target}\n    sli: {{{sli}}}\n{further}")
    (slo,) = load([file]).slos
    return slo


@pytest.mark.parametrize(
    ("sli", "expected", "unit"),
    [
        pytest.param(
            "probe: {up: 'probe_success{job=\"blackbox\"}'}",
            ProbeSli(up=(parse_selector('probe_success{job="blackbox"}'),)),
            "samples",
            id="a probe",
        ),
        pytest.param(
            "probe: {up: [up, probe_success]}",
            ProbeSli(up=(parse_selector("up"), parse_selector("probe_success"))),
            "samples",
            id="several probes",
        ),
        pytest.param(
            "condition: {expr: time() - last_success_timestamp_seconds, op: '<', limit: 26h}",
            ConditionSli(expr="time() - last_success_timestamp_seconds", op="<", limit=Decimal(93_600)),
            "ticks",
            id="freshness",
        ),
        pytest.param(
            "condition: {expr: max(queue_depth), op: <=, limit: 1000}",
            ConditionSli(expr="max(queue_depth)", op="<=", limit=Decimal(1000)),
            "ticks",
            id="queue depth",
        ),
        pytest.param(
            "condition: {expr: outside_temperature, op: '>=', limit: -2.5}",
            ConditionSli(expr="outside_temperature", op=">=", limit=Decimal("-2.5")),
            "ticks",
            id="a limit below zero",
        ),
    ],
)
def test_kinds_of_sli(tmp_path, sli, expected, unit):
    """Each kind becomes its own SLI and counts its own unit."""
    slo = slo_of(tmp_path, sli)
    assert (expected, unit) == (slo.sli, slo.unit)


def test_another_limit_is_another_sli(tmp_path):
    """What counts as bad has changed, so a new generation of counts begins."""
    one, other = (
        slo_of(tmp_path, f"condition: {{expr: a, op: '<', limit: {limit}}}") for limit in ("1h", "2h")
    )
    assert sli_hash(one) != sli_hash(other)
    assert sli_hash(one) == sli_hash(slo_of(tmp_path, "condition: {expr: a, op: '<', limit: 60m}"))


@pytest.mark.parametrize(
    ("window", "calendar", "days"),
    [
        ("{calendar: month, timezone: Europe/Berlin}", Calendar(unit="month", timezone="Europe/Berlin"), 30),
        (
            "{calendar: week, timezone: Europe/Berlin, start: 2026-01-03 12:00}",
            Calendar(unit="week", timezone="Europe/Berlin", start="2026-01-03T12:00:00"),
            7,
        ),
        ("{calendar: quarter, start: 2026-07-01}", Calendar(unit="quarter"), 91),
        ("{calendar: quarter}", Calendar(unit="quarter"), 91),
        ("{calendar: week, timezone: UTC}", Calendar(unit="week"), 7),
        ("{calendar: year, timezone: Asia/Kolkata}", Calendar(unit="year", timezone="Asia/Kolkata"), 365),
        ("400d", None, 400),
    ],
)
def test_windows(tmp_path, window, calendar, days):
    """Rolling windows, and calendar periods with their nominal length."""
    slo = slo_of(tmp_path, SLI, f"window: {window}")
    assert (calendar, days * DAY) == (slo.calendar, slo.window)


def test_budget_alerts(tmp_path):
    """What remains, or how long it lasts, each with a severity."""
    given = (
        "budget_alerts: [{severity: ticket, remaining_below: 10%}, {severity: page, exhausted_within: 4h}]"
    )
    slo = slo_of(tmp_path, SLI, given)
    assert (
        BudgetAlert(severity="ticket", remaining_below=Decimal("0.1")),
        BudgetAlert(severity="page", exhausted_within=14_400),
    ) == slo.budget_alerts
    assert ["budget:ticket:remaining_below:10%", "budget:page:exhausted_within:4h"] == [
        one.rule for one in slo.budget_alerts
    ]


def test_low_traffic_guards_every_pair_but_those_with_their_own(tmp_path):
    """`low_traffic` goes for the Workbook's pairs and for listed ones, which may say it themselves."""
    guard = "low_traffic: {minimum_bad: 3, confidence: 99%}"
    workbook = slo_of(tmp_path, SLI, guard)
    assert {(3, Decimal("0.99"))} == {(a.minimum_bad, a.confidence) for a in workbook.alerts}
    pairs = "[{long: 1h, short: 5m, burn_rate: 14, minimum_bad: 9}, {long: 2h, short: 5m, burn_rate: 6}]"
    listed = slo_of(tmp_path, SLI, f"alerts: {pairs}", guard)
    assert [(9, Decimal("0.99")), (3, Decimal("0.99"))] == [
        (a.minimum_bad, a.confidence) for a in listed.alerts
    ]
    assert {(0, None)} == {(a.minimum_bad, a.confidence) for a in slo_of(tmp_path).alerts}


def test_what_is_not_given_changes_no_hash(tmp_path):
    """Definitions of earlier versions keep their hash; budgets and guards change the definition, not the SLI."""
    plain = slo_of(tmp_path)
    for key in ("no_data: bad", "window: {calendar: month}", "low_traffic: {minimum_bad: 3}"):
        other = slo_of(tmp_path, SLI, key)
        assert definition_hash(plain) != definition_hash(other)
        assert sli_hash(plain) == sli_hash(other)
    assert definition_hash(plain) == definition_hash(slo_of(tmp_path, SLI, "no_data: hold"))


def test_each_kind_has_an_example_that_is_explained_in_two_lines():
    """`config/examples` has a file for each kind of SLI, and for groups, slices, calendars and little traffic."""
    kinds: set[str] = set()
    for path in EXAMPLES:
        lines = path.read_text().splitlines()
        assert [True, True, False] == [line.startswith("# ") for line in lines[:3]], path.name
        (slo,) = yaml.safe_load("\n".join(lines))["slos"]
        kinds |= {
            *slo["sli"],
            *(slo.keys() & {"group_by", "slices", "low_traffic", "budget_alerts", "no_data"}),
        }
        kinds |= {"calendar"} if isinstance(slo["window"], dict) else set()
    further = {"group_by", "slices", "low_traffic", "budget_alerts", "no_data", "calendar"}
    assert {*KINDS, *further} == kinds
    assert len(EXAMPLES) == len(load(EXAMPLES).slos)
