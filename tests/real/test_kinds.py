"""Every kind of SLO over one known world on a real Prometheus: what is evaluated is what happened, exactly.

Sixteen hours around the night in which Berlin's clock goes back, scraped each minute exactly on the borders of ticks:
a sample that a server counts twice at the left edge of a range (Prometheus before 3.0) would show at once.
"""

from __future__ import annotations

import io
import time
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest

from slo_budget_tracker.cli import main
from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.settings import PrometheusSettings
from slo_budget_tracker.slis import Member
from slo_budget_tracker.specs import (
    SLO,
    Calendar,
    CompositeSli,
    ConditionSli,
    LatencySli,
    ProbeSli,
    PromqlSli,
    RequestsSli,
    Slices,
)
from tests.servers import PrometheusServer, load_openmetrics

pytestmark = pytest.mark.prometheus

HOUR = 3_600
BEGIN = int(datetime(2026, 10, 25, 12, tzinfo=UTC).timestamp()) - 30
SCRAPES = range(16 * 60 + 1)
END = BEGIN + SCRAPES[-1] * 60
WINDOW = 12 * HOUR
MONDAY = int(datetime(2026, 10, 25, 23, tzinfo=UTC).timestamp()) - 30  # midnight in Berlin, in whole ticks


def paid(n):
    """Payments between scrape n - 1 and n: good, bad."""
    return 40 + n % 7, 3 if n % 50 < 10 else 0


def shown(n):
    """Pages shown: good, bad."""
    return 200 + n % 11, n % 60 // 59


def fast(n):
    """Payments that took at most 300 ms."""
    return sum(paid(n)) - (n % 30 == 0)


def is_up(n):
    """Whether the probe succeeded."""
    return n % 97 != 5


def depth(n):
    """The length of a queue."""
    return 1_000 + 10 * (n % 60 - 55)


def build():
    """The world as a file that promtool loads."""
    lines = {
        "up": [],
        "http_requests": [],
        "refused": [],
        "probe_success": [],
        "queue_depth": [],
        "seconds": [],
    }
    sums: dict[str, int] = {}

    def grow(family, name, labels, amount, at):
        key = f"{name}{{{labels}}}"
        sums[key] = sums.get(key, 0) + amount
        lines[family].append(f"{key} {sums[key]} {at}")

    for n in SCRAPES:
        at, pod = BEGIN + n * 60, 'job="shop",instance="a:1"'
        lines["up"].append(f"up{{{pod}}} 1 {at}")
        for handler, (good, bad) in (("/pay", paid(n)), ("/", shown(n))):
            grow("http_requests", "http_requests_total", f'{pod},handler="{handler}",code="200"', good, at)
            grow("http_requests", "http_requests_total", f'{pod},handler="{handler}",code="500"', bad, at)
        grow("refused", "refused_total", pod, paid(n)[1], at)
        lines["probe_success"].append(f"probe_success{{{pod}}} {int(is_up(n))} {at}")
        lines["queue_depth"].append(f"queue_depth{{{pod}}} {depth(n)} {at}")
        grow("seconds", "seconds_bucket", f'{pod},le="0.3"', fast(n), at)
        grow("seconds", "seconds_bucket", f'{pod},le="+Inf"', sum(paid(n)), at)
    kinds = {"http_requests": "counter", "refused": "counter"}
    text = []
    for family, some in lines.items():
        text.append(f"# TYPE {family} {kinds.get(family, 'unknown' if family == 'seconds' else 'gauge')}")
        text += sorted(some, key=lambda line: line.rsplit(" ", 2)[0])
    return "\n".join([*text, "# EOF", ""])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A Prometheus that has the world."""
    folder = tmp_path_factory.mktemp("kinds")
    history = folder / "history.om"
    history.write_text(build())
    server = PrometheusServer(folder / "prometheus")
    load_openmetrics(history, server.data)
    with server:
        yield server.url


@pytest.fixture(scope="module")
def asks(url):
    """How to ask it."""
    client = Prometheus(PrometheusSettings(url=url))
    yield {"default": lambda query: client.ask(query, budget_seconds=30)}
    client.close()


def slo(name, sli, **options):
    """An SLO over twelve hours without alerts."""
    return SLO(**{"name": name, "target": Decimal("0.99"), "window": WINDOW, "sli": sli} | options)


def selectors(*texts):
    """Selectors of texts."""
    return tuple(map(parse_selector, texts))


PAY = RequestsSli(
    total=selectors('http_requests_total{handler="/pay"}'),
    bad=selectors('http_requests_total{handler="/pay",code="500"}'),
)
BOTH = RequestsSli(
    total=selectors('http_requests_total{handler="/pay"}', 'http_requests_total{handler="/"}'),
    good=selectors('http_requests_total{code="200"}'),
)
EVERY = RequestsSli(total=selectors("http_requests_total"), bad=selectors('http_requests_total{code="500"}'))


def grown(selector, over):
    """By handler, by how much counters that never fall have grown."""
    return f"sum by (handler) ({selector}) - sum by (handler) ({selector} offset {over})"


ROWS = PromqlSli(
    total=grown("http_requests_total", "$window"),
    bad=grown('http_requests_total{code="500"}', "$window"),
    window=60,
)
CLEAN = ConditionSli(expr=grown('http_requests_total{code="500"}', "1m"), op="==", limit=Decimal(0))
DOWNTIME = Correction(
    name="upgrade", start=END - 6 * HOUR, end=END - 5 * HOUR, slos=("*",), reason="planned", author="ops"
)
SLOS = (
    slo("pay", PAY),
    slo("pay-3h", PAY, window=3 * HOUR),
    slo("both", BOTH),
    slo("refused", RequestsSli(total=PAY.total, bad=selectors("refused_total"))),
    slo("latency", LatencySli(histogram=parse_selector("seconds"), threshold=Decimal("0.3"))),
    slo("probe", ProbeSli(up=selectors("probe_success"))),
    slo("condition", ConditionSli(expr="max(queue_depth)", op="<=", limit=Decimal(1_000))),
    slo("ratio", PromqlSli(error_ratio="avg_over_time(probe_success[$window]) * 0 + 0.25", window=60)),
    slo("groups", EVERY, group_by=("handler",)),
    slo("rows", ROWS, group_by=("handler",)),
    slo("clean", CLEAN, group_by=("handler",)),
    slo("slices", PAY, slices=Slices(width=300, target=Decimal("0.95"))),
    slo("week", PAY, calendar=Calendar(unit="week", timezone="Europe/Berlin"), window=7 * 86_400),
    slo("corrected", PAY, corrections=(DOWNTIME,)),
    slo("composite", CompositeSli(members=(Member(slo="pay", weight=Decimal(2)), Member(slo="both")))),
    slo(
        "composite-groups",
        CompositeSli(members=(Member(slo="groups", weight=Decimal(2)), Member(slo="clean"))),
        group_by=("handler",),
    ),
)


def truth(of, *, after=END - WINDOW, until=END):
    """Total and bad of the scrapes in (after, until]."""
    inside = [of(n) for n in SCRAPES if after < BEGIN + n * 60 <= until]
    return sum(good + bad for good, bad in inside), sum(bad for _, bad in inside)


def sliced():
    """Slices of five minutes that end with the clock's, less half a minute."""
    spans = [(end - 300, end) for end in range(END - WINDOW + 300, END + 1, 300)]
    counts = [truth(paid, after=a, until=b) for a, b in spans]
    return len(counts), sum(bad > Decimal("0.05") * total for total, bad in counts)


def together(n):
    """Payments and pages."""
    return tuple(a + b for a, b in zip(paid(n), shown(n), strict=True))


def spotless(of):
    """Of each minute, whether nothing failed."""
    return lambda n: (not of(n)[1], bool(of(n)[1]))


def expected():
    """Total and failures by SLO and handler, from the world itself."""
    whole, gone = truth(paid), truth(paid, after=DOWNTIME.start, until=DOWNTIME.end)
    return {
        ("pay", None): whole,
        ("pay-3h", None): truth(paid, after=END - 3 * HOUR),
        ("both", None): truth(together),
        ("refused", None): whole,
        ("latency", None): truth(lambda n: (fast(n), n % 30 == 0)),
        ("probe", None): truth(lambda n: (is_up(n), not is_up(n))),
        ("condition", None): truth(lambda n: (depth(n) <= 1_000, depth(n) > 1_000)),
        ("ratio", None): (720, 180),
        ("groups", None): truth(together),
        ("groups", "/"): truth(shown),
        ("groups", "/pay"): whole,
        ("rows", None): truth(together),
        ("rows", "/"): truth(shown),
        ("rows", "/pay"): whole,
        ("clean", None): tuple(
            a + b for a, b in zip(truth(spotless(paid)), truth(spotless(shown)), strict=True)
        ),
        ("clean", "/"): truth(spotless(shown)),
        ("clean", "/pay"): truth(spotless(paid)),
        ("slices", None): sliced(),
        ("week", None): truth(paid, after=MONDAY),
        ("corrected", None): (whole[0] - gone[0], whole[1] - gone[1]),
    }


def test_every_kind_is_exact(asks):
    """C20, D6, D9: one evaluation of all kinds, each to the last event; the roll-up is the sum of its groups."""
    found = evaluate_at(SLOS, asks, at=END, grid=Grid())
    figures = {
        (one.name, one.labels.get("handler")): (one.total, one.failures)
        for one in found
        if not one.name.startswith("composite")
    }
    assert expected() == figures
    weighted = next(one for one in found if one.name == "composite")
    (total, bad), (all_total, all_bad) = truth(paid), truth(together)
    assert pytest.approx((2 * bad / total + all_bad / all_total) / 3, rel=1e-12) == weighted.failures
    for one in (one for one in found if one.name == "composite-groups"):
        handler = one.labels.get("handler")
        (groups, lost), (ticks, dirty) = (figures[name, handler] for name in ("groups", "clean"))
        assert pytest.approx((2 * lost / groups + dirty / ticks) / 3, rel=1e-12) == one.failures
    corrected = next(one for one in found if one.name == "corrected")
    assert truth(paid) == (corrected.raw.total, corrected.raw.failures)
    assert {1.0} == {one.coverage for one in found if one.name != "condition"}


def test_several_windows_of_one_sli_are_one_read(asks):
    """Twelve hours, three hours, a week and slices of the same counters: each sample is read once."""
    read = []

    def ask(query):
        answer = asks["default"](query)
        read.append(sum(len(one.times) for one in answer.series))
        return answer

    evaluate_at(SLOS[:1], {"default": ask}, at=END, grid=Grid())
    alone, read[:] = sum(read), []
    evaluate_at(
        [one for one in SLOS if one.sli is PAY and one.calendar is None],
        {"default": ask},
        at=END,
        grid=Grid(),
    )
    assert alone == sum(read)


UNREACHABLE = 3
HEALTHY = """slos:
  - name: pay
    target: 99%
    window: 12h
    alerts: none
    group_by: [handler]
    sli: {requests: {total: http_requests_total, bad: 'http_requests_total{code="500"}'}}
  - name: rows
    target: 99%
    window: 12h
    alerts: none
    group_by: [handler]
    sli:
      promql:
        total: sum by (handler) (increase(http_requests_total[$window]))
        bad: sum by (handler) (increase(http_requests_total{code="500"}[$window]))
"""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param((HEALTHY, 0, "2 groups, max_groups is 100"), id="nothing is wrong"),
        pytest.param(
            (HEALTHY.replace("_total,", "_totel,"), 1, "no series of http_requests_totel"), id="no series"
        ),
        pytest.param((HEALTHY.replace("increase(", "encrease(", 1), 1, "not PromQL"), id="no PromQL"),
        pytest.param((HEALTHY, UNREACHABLE, "refused"), id="nobody there"),
    ],
)
def test_the_doctor_ends_with_a_status_for_ci(url, tmp_path, monkeypatch, case):
    """0 nothing is wrong, 1 an error, 3 Prometheus is out of reach; no traceback in any of them."""
    text, status, said = case
    clock = SimpleNamespace(time=lambda: END + 30.0, monotonic=time.monotonic)
    monkeypatch.setattr("slo_budget_tracker.cli.commands.time", clock)
    (tmp_path / "slos.yaml").write_text(text)
    config = tmp_path / "config.yaml"
    reached = "http://127.0.0.1:9" if status == UNREACHABLE else url
    config.write_text(f"prometheus: {{url: '{reached}'}}\nslo_files: [slos.yaml]\n")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr("sys.argv", ["slo-budget-tracker", "validate", "--live", "-c", str(config)])
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told), pytest.raises(SystemExit) as ended:
        main()
    assert (status, False) == (ended.value.code or 0, "Traceback" in told.getvalue())
    assert said in told.getvalue()
