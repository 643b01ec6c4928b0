"""The stateless form that old history is filled by, on a real Prometheus: one small world per job."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest

from slo_budget_tracker.fillforms import fill_expression
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.queries import RangeQuery, Slot, plan
from slo_budget_tracker.selectors import Matcher, Selector
from slo_budget_tracker.specs import SLO, RequestsSli
from tests.servers import load_openmetrics

pytestmark = pytest.mark.prometheus

START = 1_790_000_100  # steps end at START + k * STEP
STEP = 300
STEPS = 12
SCRAPE = 30
SCRAPES = [START + 7 + n * SCRAPE for n in range(STEPS * STEP // SCRAPE)]
OLD = START - 500_000


class World:
    """Series of one job, as lines of OpenMetrics."""

    def __init__(self):
        self.samples: dict[str, list[tuple[str, int, float]]] = {}

    def add(self, family, labels, points):
        """Samples of one series: pairs of scrape number and value."""
        inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
        self.samples.setdefault(family, []).extend(
            (f"{{{inside}}}", SCRAPES[n], value) for n, value in points
        )

    def target(self, scrapes, *, started=OLD, **labels):
        """`up` and the process start of one target at these scrapes."""
        self.add("up", labels, [(n, 1) for n in scrapes])
        self.add("process_start_time_seconds", labels, [(n, started) for n in scrapes])

    def text(self):
        """The file that promtool loads."""
        lines = []
        for family, samples in self.samples.items():
            name = family.removesuffix("_total")
            lines.append(f"# TYPE {name} {'counter' if family.endswith('_total') else 'gauge'}")
            lines += [f"{family}{labels} {value} {at}" for labels, at, value in samples]
        return "\n".join([*lines, "# EOF", ""])


def build():
    """All jobs of the one loaded history."""
    world = World()
    every = range(len(SCRAPES))

    def requests(points, **labels):
        world.add("requests_total", labels, points)

    a = {"instance": "a:1"}
    world.target(every, job="steady", **a)
    requests([(n, 1_000 + 3 * n) for n in every], job="steady", **a)

    world.target(every, job="born late", **a)
    requests([(n, n) for n in every], job="born late", code="200", **a)
    requests([(n, 1 + (n - 45)) for n in every if n >= 45], job="born late", code="500", **a)

    # crash: from 1000+2n to 0 at scrape 33; scrape 33 sees 5 events of the new process
    world.target(range(33), job="crash", **a)
    world.target(range(33, 120), started=SCRAPES[33] - 12, job="crash", **a)
    requests([(n, 1_000 + 2 * n) for n in range(33)], job="crash", **a)
    requests([(n, 5 + 2 * (n - 33)) for n in range(33, 120)], job="crash", **a)

    # 10 before; the new process passes that at once: 3, 6, 9, 12 … 30 within its first step
    world.target(range(30), job="crash unseen", **a)
    world.target(range(30, 120), started=SCRAPES[30] - 25, job="crash unseen", **a)
    requests([(n, 10) for n in range(30)], job="crash unseen", **a)
    requests([(n, 3 * (n - 29)) for n in range(30, 120)], job="crash unseen", **a)

    world.target(range(50), job="pods", instance="old:1")
    world.target(range(48, 120), started=SCRAPES[48] - 20, job="pods", instance="new:1")
    requests([(n, 4_000 + n) for n in range(50)], job="pods", instance="old:1")
    requests([(n, 6 + n - 48) for n in range(48, 120)], job="pods", instance="new:1")

    world.target(range(50, 120), job="discovered late", **a)
    requests([(n, 100_000 + n) for n in range(50, 120)], job="discovered late", **a)

    world.target(range(55), job="label added", **a)
    world.target(range(55, 120), job="label added", zone="z", **a)
    requests([(n, 9_000 + n) for n in range(55)], job="label added", **a)
    requests([(n, 9_000 + n) for n in range(55, 120)], job="label added", zone="z", **a)
    requests([(n, 1) for n in range(90, 120)], job="label added", zone="z", code="500", **a)

    there = [*range(30), *range(100, 120)]
    world.target(there, job="gone and back", **a)
    requests([(n, 500 + n) for n in there], job="gone and back", **a)

    for replica in ("x", "y"):
        world.target(every, job="replicas", replica=replica, **a)
        requests([(n, 10 * n) for n in every], job="replicas", replica=replica, **a)
        requests([(n, 2 + n - 60) for n in range(60, 120)], job="replicas", replica=replica, code="500", **a)

    requests([(n, 70 * n) for n in every if n >= 20], job="recorded")
    return world.text()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prometheus with the history."""
    from tests.servers import PrometheusServer  # noqa: PLC0415 - beside its use

    folder = tmp_path_factory.mktemp("fill")
    history = folder / "history.om"
    history.write_text(build())
    server = PrometheusServer(folder / "prometheus")
    load_openmetrics(history, server.data)
    with server:
        yield server


def filled(server, job, *, replica_label=None):
    """What each step brought by the range query of the first fill, None where it had no answer."""
    selector = Selector("requests_total", (Matcher("job", "=", job),))
    slo = SLO(name="s", target=Decimal("0.9"), sli=RequestsSli(total=(selector,), bad=(selector,)))
    feed = plan([slo], replica_labels={"default": replica_label}).raw[0]
    settings = SimpleNamespace(
        url=server.url, timeout=10.0, headers={}, basic_auth=None, bearer_token_file=None, tls=None,
        max_response_bytes=1 << 24, concurrency=1,
    )  # fmt: skip
    client = Prometheus(settings)
    question = RangeQuery(
        fill_expression(feed, Slot("s", "total"), STEP), START + STEP, START + STEPS * STEP, STEP
    )
    series = client.ask(question, budget_seconds=10).series
    client.close()
    assert len(series) <= 1
    found = dict(zip(series[0].times, series[0].values, strict=True)) if series else {}
    return [found.get((START + k * STEP) * 1_000) for k in range(1, STEPS + 1)]


CASES = {
    # the first step has nothing before it: 0, and then ten scrapes a step
    "steady": [0, *[30] * 11],
    # from 0, because the target was there: the first sample's own event counts
    "born late": [0, 10, 10, 10, 10 + 5, *[20] * 7],
    # 1000+2*29 -> 1064 (6 events), then 5 of the new process and 2 a scrape
    "crash": [0, 20, 20, 6 + 5 + 2 * 6, *[20] * 8],
    # another process that shows no fall from step to step: 30 - 10, a lower bound. Asking for its start would
    # count a dead process' error series again, whose successor has had no error yet
    "crash unseen": [0, 0, 0, 20, *[30] * 8],
    # the new pod's first value counts, since its process has only just started
    "pods": [0, 10, 10, 10, 10 + 6 + 1, *[10] * 7],
    # a process that ran for days: nothing is known about when its events were
    "discovered late": [None, None, None, None, None, 0, *[10] * 6],
    # the counter goes on under another name: what it shows at first is not new. Later births count
    "label added": [0, 10, 10, 10, 10, 5, 10, 10, 10, 11, 10, 10],
    # what happened while nobody saw it is counted when it is seen
    "gone and back": [0, 10, 10, *[None] * 7, 80, 10],
    # no instance: births cannot be judged and are not counted
    "recorded": [None, None, 0, *[700] * 9],
}


@pytest.mark.parametrize("job", CASES)
def test_fill_expression_counts_each_world(server, job):
    """D6 D8 D9 D15: births, falls, renames and returns are counted as far as one query can tell."""
    expected = [None if count is None else float(count) for count in CASES[job]]
    assert expected == filled(server, job)


def test_fill_expression_reads_one_of_two_replicas(server):
    """D12: with a replica label the larger of the replicas' increments counts, not their sum."""
    expected = [0.0, *[100.0] * 5, 100.0 + 2 + 9, *[110.0] * 5]
    assert expected == filled(server, "replicas", replica_label="replica")
