"""Random histories: pods that serve, fail, crash, come and go, and what goes wrong while they are watched."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, BurnRateAlert, PromqlSli, RequestsSli
from tests.simulator import Faulty, Simulator

if TYPE_CHECKING:
    from slo_budget_tracker.ledger import Ledger

INTERVAL, DELAY = 60, 30
BEGIN = 60 * 20_000 - DELAY  # a data instant of the grid
SCRAPE = 30
PAGE = BurnRateAlert(severity="page", long=600, short=120, burn_rate=Decimal(10))
WAITS = BurnRateAlert(severity="ticket", long=1_200, short=300, burn_rate=Decimal(3), for_seconds=120)
SHOP = SLO(
    name="shop",
    target=Decimal("0.99"),
    window=3_600,
    sli=RequestsSli(
        total=(parse_selector('http_requests_total{job="shop"}'),),
        bad=(parse_selector('http_requests_total{job="shop",code=~"5.."}'),),
    ),
    alerts=(PAGE, WAITS),
)
MOOD = SLO(
    name="mood",
    target=Decimal("0.9"),
    window=3_600,
    sli=PromqlSli(error_ratio='mood{job="shop"}', window=300),
    alerts=(PAGE,),
)


@dataclass(frozen=True)
class Pod:
    """When it is scraped (in scrapes), when it crashes, and when its requests fail."""

    born: int
    dies: int
    crashes: frozenset[int]
    failing: tuple[int, int]


@dataclass(frozen=True)
class History:
    """Some pods and the scrapes that nobody made."""

    pods: tuple[Pod, ...]
    gaps: tuple[tuple[int, int], ...] = ()
    late: tuple[
        tuple[int, int, int], ...
    ] = ()  # first and last scrape, and how many seconds later they arrive
    job: str = "shop"

    def simulate(self, scrapes: int, **options) -> Simulator:
        """A server with all of it stored, from a quarter of an hour before BEGIN on."""
        simulator = Simulator(**options)
        for number, pod in enumerate(self.pods):
            self._scrape(simulator, number, pod, scrapes)
        for at in range(-30, scrapes):
            if not any(first <= at < last for first, last in self.gaps):
                ratio = 0.5 if any(pod.failing[0] <= at < pod.failing[1] for pod in self.pods) else 0.0
                simulator.put(
                    "mood",
                    {"job": self.job},
                    BEGIN * 1000 + at * 30_000 + 9_000,
                    ratio,
                    arrives=self._arrives(at, BEGIN * 1000 + at * 30_000 + 9_000),
                )
        return simulator

    def _scrape(self, simulator: Simulator, number: int, pod: Pod, scrapes: int) -> None:
        target = {"job": self.job, "instance": f"pod-{number}"}
        good = bad = 0
        started = BEGIN + pod.born * SCRAPE - 7
        for at in range(max(pod.born, -30), min(pod.dies, scrapes)):
            if at in pod.crashes:
                good = bad = 0
                started = BEGIN + at * SCRAPE + 1
            failing = pod.failing[0] <= at < pod.failing[1]
            good, bad = good + 20, bad + (15 if failing else 0)
            if any(first <= at < last for first, last in self.gaps):
                continue
            time = (BEGIN + at * SCRAPE) * 1000 + 5_000 + number * 1_700 + (at * 7_919) % 11
            simulator.put("up", target, time, 1, arrives=self._arrives(at, time))
            simulator.put(
                "process_start_time_seconds", target, time, started, arrives=self._arrives(at, time)
            )
            simulator.put(
                "http_requests_total", {**target, "code": "200"}, time, good, arrives=self._arrives(at, time)
            )
            if bad:
                simulator.put(
                    "http_requests_total",
                    {**target, "code": "500"},
                    time,
                    bad,
                    arrives=self._arrives(at, time),
                )

    def _arrives(self, scrape: int, time: int) -> float:
        later = max((seconds for first, last, seconds in self.late if first <= scrape < last), default=0)
        return time / 1000 + later if later else 0


@dataclass(frozen=True)
class Fault:
    """What goes wrong from one tick to another."""

    kind: str
    first: int
    last: int


def spans(ticks: int, longest: int):
    """The first and last tick (or scrape) of something."""
    return st.tuples(st.integers(3, ticks - 2), st.integers(1, longest)).map(
        lambda one: (one[0], one[0] + one[1])
    )


@st.composite
def pods(draw, scrapes: int):
    """A pod that may come late, go early, crash and fail."""
    born = draw(st.one_of(st.just(-40), st.integers(2, scrapes - 4)))
    dies = draw(st.one_of(st.just(scrapes), st.integers(max(born, 0) + 2, scrapes)))
    crashes = draw(st.frozensets(st.integers(max(born, 0) + 2, scrapes), max_size=2))
    first = draw(st.integers(0, scrapes))
    return Pod(born, dies, crashes, (first, first + draw(st.integers(0, 25))))


@st.composite
def histories(draw, ticks: int, *, gaps: bool = False, late: bool = False, watched: int = 0):
    """Up to three pods (the first lives throughout); what happens, happens in the `watched` ticks."""
    scrapes = 2 * (watched or ticks)
    first = Pod(
        -40, 2 * ticks, draw(st.frozensets(st.integers(2, scrapes), max_size=1)), draw(spans(scrapes, 25))
    )
    others = draw(st.lists(pods(scrapes), max_size=2))
    others = [Pod(p.born, 2 * ticks if p.dies == scrapes else p.dies, p.crashes, p.failing) for p in others]
    holes = tuple(draw(st.lists(spans(scrapes, 12), max_size=2))) if gaps else ()
    delayed = ()
    if late:
        some = draw(st.lists(st.tuples(spans(scrapes, 8), st.integers(20, 280)), max_size=2))
        delayed = tuple((first, last, seconds) for (first, last), seconds in some)
    return History((first, *others), holes, delayed)


def faults(kinds, ticks: int, *, longest: int = 12):
    """Some faults of these kinds, in any order, that may overlap (the first one counts)."""
    one = st.builds(
        lambda kind, span: Fault(kind, *span), st.sampled_from(sorted(kinds)), spans(ticks, longest)
    )
    return st.lists(one, min_size=1, max_size=4)


@dataclass
class Watch:
    """An evaluator over a simulator, tick by tick."""

    ledger: Ledger
    simulator: Simulator
    seed: int = 1
    events: list = field(default_factory=list)
    said: dict[int, float] = field(
        default_factory=dict
    )  # by instant: the most that MOOD's expression ever was

    def __post_init__(self) -> None:
        self.faulty = Faulty(self.simulator, random.Random(self.seed))
        self.evaluator = self._evaluator(BEGIN)

    def _evaluator(self, at: int) -> Evaluator:
        asks = {"default": self._ask}
        slos = (SHOP, MOOD)
        return Evaluator(slos, self.ledger, asks, interval=INTERVAL, delay=DELAY, workers=1).prepare(at)

    def _ask(self, query):
        """Ask, and take note of what an expression was."""
        answer = self.faulty(query)
        for one in answer.series:
            if "slo" in one.labels:
                for time, value in zip(one.times, one.values, strict=True):
                    self.said[time // 1000] = max(value, self.said.get(time // 1000, 0.0))
        return answer

    def worst_said(self, of_slo: list[tuple[float, float, float]]) -> list[float]:
        """The bad part of each of MOOD's ticks: what it is, or was when it was asked, whichever is more."""
        return [max(one[1], self.said.get(after(tick), 0.0)) for tick, one in enumerate(of_slo, 1)]

    def restart(self, at: int) -> None:
        """Another process takes over."""
        self.evaluator = self._evaluator(at)

    def tick(self, number: int, *, fault: str | None = None):
        """One tick; `restart`, `back` and `asleep` are faults of the daemon's own machine.

        A server that `forgets` loses the second pod's last quarter of an hour; what grew before the begin stays out.
        """
        at = after(number)
        self.simulator.arrive(at + DELAY)
        if fault == "forgets":
            self.simulator.forget("pod-1", max(at - 900, BEGIN) * 1000, at * 1000)
        if fault == "asleep":
            return None
        if fault == "restart":
            self.restart(at)
        self.faulty.fault = fault
        report = self.evaluator.advance(after(number - 2) if fault == "back" else at)
        self.events += report.transitions
        return report


def after(ticks: int) -> int:
    """The data instant so many ticks after the begin."""
    return BEGIN + ticks * INTERVAL


def counts(ledger: Ledger, instance: int, ticks: int) -> list[tuple[float, float, float]]:
    """Total, bad and known seconds of each tick."""
    found = []
    for tick in range(1, ticks + 1):
        one = ledger.history.window(after(tick), [INTERVAL], ids=[instance])[instance][INTERVAL]
        found.append((one.total, one.bad, one.known))
    return found
