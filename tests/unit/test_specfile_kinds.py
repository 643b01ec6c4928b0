"""SLO files: every kind of SLI and every key of budgets and alerts, as it becomes a spec."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.specs import ConditionSli, ProbeSli, sli_hash

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
