"""What every test shares: real servers, tiers that need them, hypothesis profiles."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import shutil
import sys
import threading
from functools import partial
from importlib.util import find_spec
from itertools import groupby, zip_longest
from operator import attrgetter

import pytest
import structlog
from hypothesis import HealthCheck, settings

from slo_budget_tracker.databases import Database
from tests.postgresql import PostgreSQLServer, postgresql_binary
from tests.servers import (
    AuditStreamServer,
    PrometheusServer,
    VictoriaMetricsServer,
    alertmanager_binary,
    chromium_binary,
    find_binary,
    prometheus_binary,
    promtool_binary,
    victoriametrics_binary,
)
from tests.worlds import catalogue

settings.register_profile("ci", max_examples=60, derandomize=True, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.register_profile("soak", max_examples=2_000, deadline=None, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Processes that tests start are not traced: daemons by the hundred would take twice their time.
if "PYTEST_XDIST_WORKER" in os.environ:  # the one that distributes tests has its workers traced
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

EXPORTERS = ("haproxy", "prometheus-blackbox-exporter", "prometheus-nginx-exporter")
TIERS = {
    "prometheus": lambda: bool(prometheus_binary() and promtool_binary()),
    "victoriametrics": lambda: bool(victoriametrics_binary()),
    "alertmanager": lambda: bool(alertmanager_binary()),
    "nginx": lambda: bool(find_binary("nginx", variable="SLO_TEST_NGINX")),
    "exporters": lambda: all(find_binary(name, variable="") for name in EXPORTERS),
    "postgresql": lambda: bool(postgresql_binary() and find_spec("psycopg")),
    "chromium": lambda: bool(chromium_binary()),
    "npm": lambda: bool(shutil.which("npm")),
}
# Real servers, browsers and terminals on a machine that others use: a test that failed is tried once more, and
# named in the summary ("RERUN"). Not those whose one failure would be a lost event or a wrong count.
ONCE_MORE = ("tests/real/", "tests/pages/")
NEVER_AGAIN = ("test_kill", "test_pair", "test_full_disk", "test_simulator", "test_live_worlds",
               "test_ledger")  # fmt: skip
# Tests that calculate long, or go through whole daemons, servers and browsers: traced they take nearly twice their time, and
# tell little about coverage that the others do not.
UNTRACED = (
    "tests/bench/", "tests/grafana/", "tests/pages/", "tests/peers/", "tests/property/", "tests/stories/", "tests/worlds/",
    *(f"tests/real/test_{name}.py" for name in (
        "alert_rules", "api", "audit_daemon", "daemon", "dashboards", "demo", "full_disk", "kill", "kinds", "ledger_merged",
        "ledger_outage", "ledger_whole", "pair", "process", "protected_daemon", "readme", "shard_commands",
        "shard_troubles", "simulator", "terminal")),
    *(f"tests/unit/test_{name}.py" for name in (
        "errands", "group_rows", "groups_told", "hindsight", "late_groups", "late_outages", "lost_series", "patience",
        "rare_scrapes", "rations", "rechecks", "slices", "trails")),
)  # fmt: skip
WAITING = ("tests/real/", "tests/pages/", "tests/worlds/", "tests/bench/")  # for servers
# Begun last, these would end alone.
LONGEST = {"test_bounds", "test_process", "test_readme", "test_shard_troubles", "test_shards",
           "test_fault_laws", "test_late_outages", "test_mixture_laws", "test_rechecks", "test_replayed", "test_slices",
           "test_trails"}  # fmt: skip
REQUIRED = os.environ.get("SLO_TEST_REQUIRE_SERVERS") == "1"
LEFT_OUT = pytest.StashKey[dict[str, int]]()
FIGURES = "figures"


def missing_tiers() -> set[str]:
    """The tiers whose server is not on this machine."""
    return {tier for tier, there in TIERS.items() if not there()}


def pytest_addoption(parser):
    """The whole suite over the other engine: ledgers in memory and in files lie in PostgreSQL instead."""
    parser.addoption(
        "--ledger", choices=["sqlite", "postgresql"], default="sqlite", help="where ledgers are kept"
    )


@pytest.fixture(autouse=True)
def _ledgers_elsewhere(request, monkeypatch):
    """With `--ledger postgresql` each ledger in memory, and each file, is a namespace of its own on a server.

    But for tests that look at the file, or whose ledger was made before: those say `in_a_file`.
    """
    of_a_file = request.node.get_closest_marker("in_a_file")
    if request.config.getoption("--ledger") != "postgresql" or of_a_file:
        yield
        return
    server, made, files = request.getfixturevalue("postgresql"), [], {}
    of = Database.of.__func__

    def elsewhere(cls, given):
        where = str(given)
        if where.startswith("sqlite://"):
            name = files.get(where, f"test_{secrets.token_hex(6)}")
            if where != "sqlite://":
                files[where] = name
            if name not in made:
                made.append(name)
            given = server.url(namespace=name)
        return of(cls, given)

    monkeypatch.setattr(Database, "of", classmethod(elsewhere))
    yield
    if made:  # many tests leave their ledgers to the garbage collector, which comes when it likes
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port > 0 AND pid <> pg_backend_pid()"
        )
    for name in made:
        server.sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")


def in_turns(items):
    """Files that wait for servers and files that calculate, in turns, so that both have something to do at any time.

    The longest ones come first; then, of those that wait, the ones with few tests, which are long.
    """
    waiting, others = [], []
    for _, tests in groupby(items, key=attrgetter("path")):
        file = list(tests)
        (waiting if file[0].nodeid.startswith(WAITING) else others).append(file)
    waiting.sort(key=lambda file: (file[0].path.stem not in LONGEST, len(file)))
    others.sort(key=lambda file: (file[0].path.stem not in LONGEST, -len(file)))
    return [test for pair in zip_longest(waiting, others, fillvalue=()) for tests in pair for test in tests]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    """Which tests may be tried again; deselect, and count, those of tiers whose server is missing; in which order."""
    for item in items:
        if item.nodeid.startswith(ONCE_MORE) and not item.path.stem.startswith(NEVER_AGAIN):
            item.add_marker(pytest.mark.flaky(reruns=1))
    leave_out(config, items)
    yield  # others deselect what was not asked for
    items[:] = in_turns(items)


def pytest_collection_finish():
    """What was loaded and collected stays: to look for garbage in it, and as often as ever, took a quarter of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Coverage does not look while a test runs that tells it little."""
    if not item.nodeid.startswith(UNTRACED):
        return (yield)
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(here)
        threading.settrace(in_threads)


def leave_out(config, items):
    """Deselect, and count, those of tiers whose server is missing."""
    left_out: dict[str, int] = {}
    config.stash[LEFT_OUT] = left_out
    missing = missing_tiers()
    if REQUIRED or not missing:
        return
    kept, dropped = [], []
    for item in items:
        lacking = [tier for tier in sorted(missing) if item.get_closest_marker(tier)]
        for tier in lacking:
            left_out[tier] = left_out.get(tier, 0) + 1
        (dropped if lacking else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_runtest_setup(item):
    """Fail a test whose server is missing where servers are required (CI)."""
    for tier in sorted(missing_tiers()):
        if item.get_closest_marker(tier):
            pytest.fail(f"no {tier} on this machine, and SLO_TEST_REQUIRE_SERVERS=1", pytrace=False)


@pytest.fixture
def show(record_property):
    """For figures that are to be read: a line of them stands at the end of the run, whoever ran the test and how."""
    return partial(record_property, FIGURES)


def pytest_terminal_summary(terminalreporter, config):
    """Show the figures of tests, and name the tiers that could not run."""
    reports = [one for how in ("passed", "failed", "rerun") for one in terminalreporter.getreports(how)]
    shown = {one.nodeid: [line for key, line in one.user_properties if key == FIGURES] for one in reports}
    if any(shown.values()):
        terminalreporter.section("figures", sep="=")
    for test, lines in sorted(shown.items()):
        for line in (test, *lines) if lines else ():
            terminalreporter.line(line)
    left_out = config.stash.get(LEFT_OUT, {})
    if left_out:
        terminalreporter.section("tiers that could not run", sep="=", yellow=True)
        for tier, count in sorted(left_out.items()):
            terminalreporter.line(f"{tier}: {count} tests left out, the server is not on this machine")


@pytest.fixture(autouse=True)
def _own_logging():
    """A command that ran in this process has set up the process' logging: the next test begins without it."""
    root, hook = list(logging.getLogger().handlers), threading.excepthook
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        logging.getLogger().handlers[:] = root
        threading.excepthook = hook


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory):
    """One empty Prometheus for the whole session, scraping nothing; for questions about PromQL itself."""
    with PrometheusServer(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def worlds():
    """The ten histories of 30 days with their truth, by name (building takes about a second)."""
    return {world.name: world for world in catalogue.build()}


@pytest.fixture(scope="session")
def worlds_server(tmp_path_factory, pytestconfig, worlds):
    """A Prometheus with all ten histories loaded (4 million samples; made once and cached by their source)."""
    blocks = catalogue.load(pytestconfig.cache.mkdir("worlds"), list(worlds.values()))
    server = PrometheusServer(tmp_path_factory.mktemp("worlds"))
    shutil.copytree(blocks, server.data)
    with server:
        yield server


@pytest.fixture
def make_prometheus(tmp_path_factory):
    """A factory of Prometheus servers (not yet started) that are stopped after the test."""
    servers = []

    def make(**options):
        server = PrometheusServer(tmp_path_factory.mktemp("prometheus"), **options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def make_victoriametrics(tmp_path_factory):
    """A factory of VictoriaMetrics servers (not yet started) that are stopped after the test."""
    servers = []

    def make(**options):
        server = VictoriaMetricsServer(tmp_path_factory.mktemp("victoriametrics"), **options)
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def audit_stream(tmp_path):
    """A fresh audit stream."""
    with AuditStreamServer(tmp_path / "audit-stream") as server:
        yield server


@pytest.fixture(scope="session")
def postgresql():
    """One PostgreSQL for the whole session; each test takes a namespace of its own."""
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture
def make_postgresql():
    """A PostgreSQL of the test's own, which it may stop."""
    with PostgreSQLServer() as server:
        yield server
