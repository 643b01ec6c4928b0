"""The simulated Prometheus says what a real one says, and a real one may be away for a day."""

from __future__ import annotations

import os
import random
from bisect import bisect_right
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter

import pytest

from slo_budget_tracker.answers import Query
from slo_budget_tracker.api import Source
from slo_budget_tracker.density import Density
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
from tests.remote_write import RECEIVER, UNORDERED, send
from tests.servers import further_prometheuses

HISTORIES = 50 if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else 6
TICKS = 40
DAY = 24 * 60  # ticks
EACH_TICK = Density.of(interval=INTERVAL, longest_short=2 * DAY * INTERVAL)  # none is merged for two days


def random_history(dice, job, scrapes):
    """Up to four pods that come, go, crash and fail, gaps in the scrapes, and scrapes that are late."""
    pods = []
    for _ in range(dice.randint(1, 4)):
        born = dice.choice([-40, dice.randint(2, scrapes - 4)])
        dies = dice.choice([scrapes, dice.randint(max(born, 0) + 2, scrapes)])
        crashes = frozenset(dice.sample(range(scrapes), dice.randint(0, 2)))
        first = dice.randint(0, scrapes)
        pods.append(Pod(born, dies, crashes, (first, first + dice.randint(0, 25))))
    gaps = [(first, first + dice.randint(1, 12)) for first in dice.sample(range(scrapes), dice.randint(0, 2))]
    late = [
        (first, first + dice.randint(1, 8), dice.randint(20, 280))
        for first in dice.sample(range(scrapes), dice.randint(0, 2))
    ]
    return History(tuple(pods), tuple(gaps), tuple(late), job=job)


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


@dataclass
class Fed:
    """A real server that is given the samples of a simulator, each when it arrives there."""

    url: str
    on_the_way: list

    @classmethod
    def with_what_is_there(cls, url, simulator):
        """What is in time is stored at once, so that whatever comes later is out of order."""
        send(url, [(dict(key), zip(*of, strict=True)) for key, of in simulator.series.items()])
        return cls(url, [*simulator.on_the_way])

    def arrive(self, now):
        """Let time pass."""
        due = bisect_right(self.on_the_way, now, key=itemgetter(0))
        send(self.url, [(dict(key), [(time, value)]) for _, key, time, value in self.on_the_way[:due]])
        del self.on_the_way[:due]


def live(ask, job, ticks, *, arrive):
    """Live ticks: the counts, what was told, and every query that was asked with the answer of its time."""
    asked = []

    def noting(query):
        answer = ask(query)
        asked.append((query, comparable(answer)))
        return answer

    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos(job), ledger, {"default": noting}, interval=INTERVAL, delay=DELAY, workers=1)
        one.prepare(BEGIN)
        for tick in range(1, ticks + 1):
            arrive(after(tick) + DELAY)
            assert {} == one.advance(after(tick)).errors
        events = [(event.event_id, event.slo, event.kind, event.created) for event in ledger.events()]
        return [counts(ledger, instance, ticks) for instance in (1, 2)], ledger.states, events, asked


def comparable(answer):
    """An answer whose series may come in any order."""
    return sorted((sorted(s.labels.items()), s.times, s.values) for s in answer.series)


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "binary",
    [
        pytest.param(None, id="installed"),
        *(
            pytest.param(path, id=suite, marks=pytest.mark.long)
            for suite, path in further_prometheuses().items()
        ),
    ],
)
def test_the_simulator_agrees_with_a_real_prometheus(make_prometheus, show, binary):
    """D15, D16, D24: random histories, some scrapes late: equal answers to every query at its time, counts, states, events."""
    dice = random.Random(7)
    jobs = [f"job-{number}" for number in range(HISTORIES)]
    simulators = [random_history(dice, job, 2 * TICKS).simulate(2 * TICKS) for job in jobs]
    late, compared, kinds = [len(one.on_the_way) for one in simulators], 0, Counter()
    server = make_prometheus(binary=binary, flags=(RECEIVER,), config=UNORDERED)
    with server, asking(server.url) as ask:
        version = server.get("/api/v1/status/buildinfo").json()["data"]["version"]
        for job, simulator in zip(jobs, simulators, strict=True):
            simulator.left_closed = version.startswith("2.")
            fed = Fed.with_what_is_there(server.url, simulator)
            real = live(ask, job, TICKS, arrive=fed.arrive)
            assert real == live(simulator.ask, job, TICKS, arrive=simulator.arrive), job
            kinds.update(kind for _, _, kind, _ in real[2])
            extra = [
                Query(f'http_requests_total{{job="{job}"}}[{seconds}s]', after(dice.randint(1, TICKS)))
                for seconds in (30, 60, 300, 3_600)
            ]
            for query in extra:
                assert comparable(ask(query)) == comparable(simulator.ask(query)), query
            compared += len(real[3]) + len(extra)
    show(
        f"{HISTORIES} histories, {sum(map(bool, late))} of them with {sum(late)} late samples, "
        f"{compared} queries compared with Prometheus {version}; {dict(kinds)}"
    )
    assert {"slo_burn_started", "slo_recovered", "slo_burn_revised"} <= kinds.keys()


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
    with Ledger.open("sqlite://", density=EACH_TICK) as ledger, server, asking(server.url) as ask:
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
        found = Conclusions.of(ledger, last)
    expected = undisturbed(simulator, last)
    assert expected.slos == found.slos
    # of the outage itself each SLO's loss of data is told while it lasts, and taken back once by the first tick read
    kinds = ("slo_data_lost", "slo_data_restored")
    by_hand = [
        event
        for event in found.events
        if event.kind in kinds and (event.created - BEGIN) // INTERVAL in (25, 26)
    ]
    assert [(slo, kind, kind == kinds[1]) for slo in ("mood", "shop") for kind in kinds] == sorted(
        (event.slo, event.kind, event.payload["late"]) for event in by_hand
    )
    rest = [event for event in found.events if event not in by_hand]
    assert [said(event) for event in expected.events] == [said(event) for event in rest]
    late = {event.event_id for event in rest if event.payload["late"]}
    assert late == {event.event_id for event in rest if after(20) < event.created < after(DAY)}
    assert len(late) > 20
    assert len(found.events) == len({event.event_id for event in found.events})
    for slo in ("shop", "mood"):
        numbers = [event.sequence for event in found.events if event.slo == slo]
        assert list(range(1, len(numbers) + 1)) == numbers


@dataclass(frozen=True)
class Conclusions:
    """What a ledger has in the end: of each SLO how far, counts and outcome of each tick, seconds by outcome, states."""

    slos: dict
    events: list

    @classmethod
    def of(cls, ledger, ticks):
        """All of them, events in their order by SLO."""
        edges = [after(tick) for tick in range(ticks + 1)]
        assert {*edges} <= {*ledger.history.points.tolist()}  # no tick was merged with its neighbours
        slos = {}
        for number, one in ledger.instances.items():
            parts = ledger.history.parts(number, edges)
            slos[one.slo] = {
                "cursor": ledger.slo_cursor(number),
                "counts": parts,
                "outcomes": ([part.outcome for part in parts], ledger.outcomes(number)),
                "states": ledger.states[number],
            }
        events = ledger.events(limit=10_000)
        return cls(slos, sorted(events, key=lambda event: (event.slo, event.sequence)))


def said(event):
    """An event with all that it says, but for its place in the ledger and for being late."""
    own = {"sequence", "previous_id", "instance", "late"}
    payload = {key: value for key, value in event.payload.items() if key not in own}
    return event.event_id, event.slo, event.kind, event.created, payload


def undisturbed(simulator, ticks):
    """What is concluded from live ticks without an outage, on the simulator."""
    simulator.left_closed = True
    with Ledger.open("sqlite://", density=EACH_TICK) as ledger:
        one = Evaluator(slos("shop"), ledger, {"default": simulator.ask}, interval=INTERVAL, delay=DELAY)
        one.prepare(BEGIN)
        for tick in range(1, ticks + 1):
            one.advance(after(tick))
        return Conclusions.of(ledger, ticks)
