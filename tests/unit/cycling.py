"""The daemon's cycle over a Prometheus in memory, with clocks that a test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.prometheus import Stats
from slo_budget_tracker.settings import Settings
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, traffic


@dataclass
class Clock:
    """A wall clock that stands still until it is moved."""

    now: float = BEGIN + DELAY

    def __call__(self):
        """What it shows."""
        return self.now


@dataclass
class Client:
    """A client of the server in memory; `ahead` is how far the server's clock is from ours, None if not said."""

    server: Server
    clock: Clock
    ahead: float | None = None
    shown: float | None = None  # the server's own time, where it does not follow ours
    probed: int = 0
    closed: bool = False
    address: str = "http://prometheus.example"
    stats: Stats = field(default_factory=Stats)

    @property
    def server_time(self):
        """What time it is for the server."""
        return self.shown if self.ahead is None else self.clock() + self.ahead

    def ask(self, query, *, budget_seconds):
        """The server's answer."""
        assert budget_seconds > 0
        return self.server(query)

    def buildinfo(self, *, budget_seconds):
        """What it is."""
        self.probed += 1
        return "Prometheus 2.42.0"

    def close(self):
        """Note it."""
        self.closed = True


def settings(**further):
    """A configuration with the tests' tick grid."""
    grid = {"interval": INTERVAL, "delay": DELAY}
    return Settings.model_validate({"evaluation": grid, "ledger": {"url": "sqlite://"}, **further})


def begin(slos, *, server=None, ledger=None, clock=None, client=None, sources=None, **further):
    """A cycle that has met its ledger at BEGIN."""
    clock = clock or Clock()
    client = client or Client(server or Server(traffic_db()), clock)
    ledger = ledger or Ledger.open("sqlite://")
    return Cycle.begin(settings(**further), slos, ledger, sources=sources or {"default": client}, clock=clock)


def traffic_db():
    """The usual traffic around BEGIN."""
    return traffic(Server().db)


def ticks(cycle, times):
    """So many ticks, each at its time."""
    for _ in range(times):
        cycle.clock.now += INTERVAL
        cycle.tick()


def events(cycle):
    """Kind and rule of every event, in order."""
    return [(event.slo, event.kind) for event in cycle.evaluator.ledger.events()]


def metric(cycle, text):
    """Whether a line is shown on /metrics."""
    return text in cycle.publisher.display.view.text.body.decode()
