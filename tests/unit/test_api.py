"""The Python API: what a definition refuses, what a registry asks for, what burns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

import slo_budget_tracker
from slo_budget_tracker import api
from slo_budget_tracker.api import BurnRateAlert, PrometheusExporter, SLODefinition, SLORegistry, burning
from slo_budget_tracker.errors import UsageError
from slo_budget_tracker.selectors import parse_selector
from tests.unit.test_gauges import alert, burn, snapshot

TOTAL = 'http_requests_total{job="checkout"}'
BAD = 'http_requests_total{job="checkout",code=~"5.."}'
NOW = 1_793_448_030.0


def definition(**changes) -> SLODefinition:
    """A definition that is fine, with changes."""
    return SLODefinition(**({"name": "checkout", "target": 0.999, "total": TOTAL, "bad": BAD} | changes))


@pytest.fixture
def evaluated(monkeypatch):
    """Evaluation replaced by one that notes how it was called and finds every SLO alike."""
    calls = []

    def evaluate_at(slos, asks, *, at, grid):
        calls.append((tuple(slo.name for slo in slos), sorted(asks), at, grid.interval, grid.delay))
        return tuple(snapshot(slo.name) for slo in slos)

    monkeypatch.setattr(api, "evaluate_at", evaluate_at)
    return calls


@pytest.fixture
def registry():
    """A registry whose Prometheus nobody asks."""
    return SLORegistry(ask=lambda _query: pytest.fail("no question expected"), clock=lambda: NOW)


def test_defaults_are_the_seeds():
    """30 days, 1 h and 6 h, 14.4: as in slo-budget-tracker 0.1."""
    slo = definition().slo
    assert (2_592_000, [(3_600, 3_600, Decimal("14.4")), (21_600, 21_600, Decimal("14.4"))]) == (
        slo.window,
        [(pair.long, pair.short, pair.burn_rate) for pair in slo.alerts],
    )


def test_floats_mean_what_is_written():
    """D20: 0.99999 is exactly 99.999 %, not the nearest binary fraction."""
    assert Decimal("0.99999") == definition(target=0.99999).slo.target


def test_selectors_may_be_several():
    """A sum of selectors is a sequence of them; good requests can be given instead of bad ones."""
    sli = definition(total=[TOTAL, "grpc_total"], bad=None, good=("ok_total",)).slo.sli
    assert ((parse_selector(TOTAL), parse_selector("grpc_total")), None, (parse_selector("ok_total"),)) == (
        sli.total,
        sli.bad,
        sli.good,
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": 1}, "target"),
        ({"target": 0}, "target"),
        ({"target": 99.9}, "target"),
        ({"target": float("nan")}, "target: nan is no number"),
        ({"target": "much"}, "target: 'much' is no number"),
        ({"window_seconds": 0}, "window"),
        ({"burn_rate_windows": (0,)}, "burn_rate_windows: 0"),
        ({"burn_rate_windows": (2_592_001,)}, "burn_rate_windows: 2592001"),
        ({"burn_rate_threshold": 1}, "burn_rate_threshold: 1 is not above 1"),
        ({"burn_rate_threshold": float("inf")}, "burn_rate_threshold: inf"),
        ({"target": 0.9}, "14.4 cannot be reached"),
        ({"name": "Checkout Service"}, "checkout-service"),
        ({"total": ()}, "total: no selector"),
        ({"total": "sum(x)"}, "total: 'sum(x)': an expression"),
        ({"bad": None}, "neither `bad` nor `good`"),
        ({"good": BAD}, "both `bad` and `good`"),
    ],
    ids=lambda one: None if isinstance(one, str) else str(one),
)
def test_what_makes_no_sense_is_refused_when_built(changes, says):
    """An invalid definition never comes to be, and the sentence names what is wrong."""
    with pytest.raises(ValueError, match="SLO ") as refused:
        definition(**changes)
    assert says in str(refused.value)


def test_all_that_is_wrong_is_said_at_once():
    """One error for several faults."""
    with pytest.raises(ValueError, match=r"target: 'x' .*; burn_rate_threshold: 0 .*; total: no selector"):
        definition(target="x", burn_rate_threshold=0, total="")


def test_definitions_are_values():
    """Equal definitions are equal and cannot be changed."""
    assert definition() == definition()
    with pytest.raises(AttributeError):
        definition().target = 0.5


def test_a_name_is_registered_once(registry):
    """The same name twice is refused."""
    registry.register(definition())
    with pytest.raises(ValueError, match="'checkout' is registered already"):
        registry.register(definition(target=0.99))


def test_definitions_of_files_are_welcome(registry):
    """What `specfiles.load` gives is registered like a definition."""
    registry.register(definition().slo, definition(name="other"))
    assert ["checkout", "other"] == [slo.name for slo in registry.slos]


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (None, NOW - 20),
        (1_000.5, 1_000.5),
        (datetime(2026, 10, 31, 12, tzinfo=UTC), 1_793_448_000),
        (datetime(2026, 10, 31, 14, tzinfo=timezone(timedelta(hours=2))), 1_793_448_000),
    ],
    ids=["now", "epoch seconds", "UTC", "another zone"],
)
def test_instants(registry, evaluated, at, asked):
    """An evaluation is at the instant given, or at the newest one that is complete."""
    registry.register(definition())
    registry.snapshot_all(at)
    assert [(("checkout",), ["default"], asked, 60, 20)] == evaluated


def test_a_time_without_a_zone_is_not_guessed(registry, evaluated):
    """A naive datetime is refused."""
    registry.register(definition())
    with pytest.raises(UsageError, match="has no time zone"):
        registry.snapshot_all(datetime(2026, 10, 31, 12))  # noqa: DTZ001 - the point
    assert [] == evaluated


def test_an_empty_registry_asks_nothing(registry, evaluated):
    """Nothing registered, nothing asked."""
    assert ([], []) == (registry.snapshot_all(), evaluated)


def test_one_snapshot_by_name(registry, evaluated):
    """One of several; a name that is not there is named."""
    registry.register(definition(), definition(name="other"))
    assert "other" == registry.snapshot("other").name
    with pytest.raises(UsageError, match="no SLO 'none'; registered are checkout, other"):
        registry.snapshot("none")
    assert 1 == len(evaluated)


def test_exporter_writes_the_seeds_gauges(registry, evaluated):
    """`render` gives the gauges of the SLOs and nothing of a daemon."""
    registry.register(definition())
    text = PrometheusExporter(registry).render()
    assert 'slo_error_budget_remaining{slo="checkout"} 0.0442\n' in text
    assert "slo_budget_tracker_" not in text
    assert 1 == len(evaluated)


def test_what_burns():
    """Alerts that fire are given with the figures of their long windows; quiet and unknown ones are not."""
    alerts = (alert(3_600, 300, state="firing"), alert(300, 300, state="held"), alert(300, 60))
    one = snapshot(alerts=alerts, burn_rate_samples=(burn(300), burn(3_600, burn_rate=20.0)))
    unknown = one._replace(burn_rate_samples=(burn(300, burn_rate=None), burn(3_600, burn_rate=None)))
    assert [
        BurnRateAlert("checkout-availability", 3_600, 20.0, Decimal("14.4"), 0.99875, 5_400.0, 300),
        BurnRateAlert("checkout-availability", 300, 1.25, Decimal("14.4"), 0.99875, 5_400.0, 300),
    ] == burning([one, unknown])


def test_close_is_for_ever_allowed(registry):
    """A registry that never asked can be closed, twice, and used as a context."""
    with registry:
        registry.close()


@pytest.mark.parametrize("name", slo_budget_tracker.__all__)
def test_the_package_exports_the_api(name):
    """`from slo_budget_tracker import …` has the API."""
    assert getattr(slo_budget_tracker, name) is not None


def test_the_package_has_nothing_else():
    """A name that is not there is an AttributeError, as everywhere."""
    with pytest.raises(AttributeError, match="SLOMiddleware"):
        _ = slo_budget_tracker.SLOMiddleware
