"""The simulated Prometheus says what a real one says, and a real one may be away for a day."""

from __future__ import annotations

import os
import random
from contextlib import contextmanager

import pytest

from slo_budget_tracker.answers import Query
from slo_budget_tracker.api import Source
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.horizons import reach
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.prometheus import Prometheus
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, PromqlSli, RequestsSli
from tests.property.histories import (
    BEGIN,
    DELAY,
    INTERVAL,
    PAGE,
    SHOP,
    WAITS,
    History,
    Pod,
    after,
    counts,
)

HISTORIES = 50 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 10
TICKS = 40
DAY = 24 * 60  # ticks


def random_history(dice, job, scrapes):
    """Up to four pods that come, go, crash and fail, and gaps in the scrapes."""
    pods = []
    for _ in range(dice.randint(1, 4)):
        born = dice.choice([-40, dice.randint(2, scrapes - 4)])
        dies = dice.choice([scrapes, dice.randint(max(born, 0) + 2, scrapes)])
        crashes = frozenset(dice.sample(range(scrapes), dice.randint(0, 2)))
        first = dice.randint(0, scrapes)
        pods.append(Pod(born, dies, crashes, (first, first + dice.randint(0, 25))))
    gaps = [(first, first + dice.randint(1, 12)) for first in dice.sample(range(scrapes), dice.randint(0, 2))]
    return History(tuple(pods), tuple(gaps), job=job)


def write(simulators, path):
    """What the simulators have, as a history file."""
    by_metric = {}
    for simulator in simulators:
        for key, (times, values) in simulator.series.items():
            labels = dict(key)
            inside = ",".join(f'{name}="{text}"' for name, text in key if name != "__name__")
            lines = by_metric.setdefault(labels["__name__"], [])
            lines += [
                f"{labels['__name__']}{{{inside}}} {value:.17g} {time // 1000}.{time % 1000:03d}"
                for time, value in zip(times, values, strict=True)
            ]
    text = [line for metric, lines in by_metric.items() for line in (f"# TYPE {metric} unknown", *lines)]
    path.write_text("\n".join([*text, "# EOF", ""]))


@contextmanager
def asking(url):
    """The daemon's own client."""
    client = Prometheus(Source(url, timeout=30, headers={}))
    try:
        yield lambda query: client.ask(query, budget_seconds=30)
    finally:
        client.close()


def slos(job):
    """A ratio of counters and an expression on a job."""
    sli = RequestsSli(
        total=(parse_selector(f'http_requests_total{{job="{job}"}}'),),
        bad=(parse_selector(f'http_requests_total{{job="{job}",code=~"5.."}}'),),
    )
    mood = PromqlSli(error_ratio=f'mood{{job="{job}"}}', window=300)
    return (
        SLO(name="shop", target=SHOP.target, window=3_600, sli=sli, alerts=(PAGE, WAITS)),
        SLO(name="mood", target=SHOP.target, window=3_600, sli=mood, alerts=(PAGE,)),
    )


def live(ask, job, ticks):
    """Live ticks: the counts, what was told, and every query that was asked."""
    asked = []

    def noting(query):
        asked.append(query)
        return ask(query)

    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos(job), ledger, {"default": noting}, interval=INTERVAL, delay=DELAY, workers=1)
        one.prepare(BEGIN)
        for tick in range(1, ticks + 1):
            assert {} == one.advance(after(tick)).errors
        events = [(event.slo, event.kind, event.created) for event in ledger.events()]
        return [counts(ledger, instance, ticks) for instance in (1, 2)], events, asked


def comparable(answer):
    """An answer whose series may come in any order."""
    return sorted((sorted(s.labels.items()), s.times, s.values) for s in answer.series)


@pytest.mark.prometheus
def test_the_simulator_agrees_with_a_real_prometheus(make_prometheus, tmp_path, show):
    """D15, D24: random histories, read tick by tick: equal answers to every query, equal counts, equal events."""
    dice = random.Random(7)
    jobs = [f"job-{number}" for number in range(HISTORIES)]
    histories = [random_history(dice, job, 2 * TICKS) for job in jobs]
    simulators = [history.simulate(2 * TICKS) for history in histories]
    write(simulators, tmp_path / "history.txt")
    server = make_prometheus()
    server.load(tmp_path / "history.txt")
    with server, asking(server.url) as ask:
        version = server.get("/api/v1/status/buildinfo").json()["data"]["version"]
        compared = 0
        for job, simulator in zip(jobs, simulators, strict=True):
            simulator.left_closed = version.startswith("2.")
            real = live(ask, job, TICKS)
            simulated = live(simulator.ask, job, TICKS)
            assert real == simulated, job
            extra = [
                Query(f'http_requests_total{{job="{job}"}}[{seconds}s]', after(dice.randint(1, TICKS)))
                for seconds in (30, 60, 300, 3_600)
            ]
            for query in (*real[2], *extra):
                assert comparable(ask(query)) == comparable(simulator.ask(query)), query
                compared += 1
    show(f"{HISTORIES} histories, {compared} queries compared with Prometheus {version}")


@pytest.mark.prometheus
def test_how_far_back_a_real_prometheus_goes(make_prometheus, tmp_path):
    """P22: a quarter of an hour and forty minutes of samples are that much of a day, by `up` and by the SLO's own."""
    history = History((Pod(-40, 2 * TICKS, frozenset(), (0, 0)),))
    write([history.simulate(2 * TICKS)], tmp_path / "history.txt")
    server = make_prometheus()
    server.load(tmp_path / "history.txt")
    with server, asking(server.url) as ask:
        for subject in ("up[300s]", 'http_requests_total{job="shop"}[300s]'):
            found = reach(ask, ["nothing[300s]", subject], at=after(TICKS), wanted=24 * 3_600)
            assert abs(found - (TICKS * INTERVAL + 900)) <= 24 * 3_600 / 100 + 300
        assert reach(ask, ["nothing[300s]"], at=after(TICKS), wanted=24 * 3_600) is None


def day(job="shop"):
    """A day of pods that are replaced every two hours; one in three fails for a while; one hour nobody scrapes."""
    starts = range(-40, 2 * DAY + 200, 240)
    pods = [
        Pod(first, first + 250, frozenset({first + 100}), (first + 60, first + 60 + 40 * (number % 3 == 1)))
        for number, first in enumerate(starts)
    ]
    return History(tuple(pods), ((1_500, 1_620),), job=job)


@pytest.mark.long
@pytest.mark.prometheus
def test_a_day_without_prometheus_ends_like_a_day_with_it(make_prometheus, tmp_path):
    """P20, P25, T14: a real one is stopped for 24 hours of data time, and once more by SIGKILL; in the end all is equal."""
    simulator = day().simulate(2 * (DAY + 60))
    write([simulator], tmp_path / "history.txt")
    server = make_prometheus()
    server.load(tmp_path / "history.txt")
    last = DAY + 40
    with Ledger.open("sqlite://") as ledger, server, asking(server.url) as ask:
        one = Evaluator(slos("shop"), ledger, {"default": ask}, interval=INTERVAL, delay=DELAY)
        one.prepare(BEGIN)
        for tick in range(1, 21):
            one.advance(after(tick))
        server.stop()
        for tick in (*range(21, 40), *range(40, DAY, 240)):
            assert 2 == len(one.advance(after(tick)).errors)
        server.start()
        report = one.advance(after(DAY), enough=lambda: True)
        assert 0 < report.pending_seconds < 2 * DAY * INTERVAL
        server.kill()
        one.advance(after(DAY + 1))
        server.start()
        for tick in range(DAY + 2, last + 1):
            report = one.advance(after(tick))
        assert ({}, 0) == (report.errors, report.pending_seconds)
        found = [counts(ledger, instance, last) for instance in (1, 2)]
        events = sorted(ledger.events(limit=10_000), key=lambda event: event.sequence)
    expected, told = undisturbed(simulator, last)
    assert expected == found
    kinds = ("slo_data_lost", "slo_data_restored")
    by_hand = [
        event for event in events if (event.created - BEGIN) // INTERVAL in (25, 26) and event.kind in kinds
    ]
    assert [False, False, True, True] == sorted(event.payload["late"] for event in by_hand)
    rest = [(event.slo, event.kind, event.created) for event in events if event not in by_hand]
    assert sorted(told) == sorted(rest)
    during = [e for e in events if after(20) < e.created < after(DAY) and e not in by_hand]
    assert len(during) > 20
    assert {True} == {event.payload["late"] for event in during}


def undisturbed(simulator, ticks):
    """Counts and events of live ticks without an outage, on the simulator."""
    simulator.left_closed = True
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos("shop"), ledger, {"default": simulator.ask}, interval=INTERVAL, delay=DELAY)
        one.prepare(BEGIN)
        for tick in range(1, ticks + 1):
            one.advance(after(tick))
        told = [(event.slo, event.kind, event.created) for event in ledger.events(limit=10_000)]
        return [counts(ledger, instance, ticks) for instance in (1, 2)], told
