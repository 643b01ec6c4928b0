"""Live worlds: targets under test control, scraped every second by a real server; every page they show is kept.

Each job is one scenario; all run at once.
"""

from __future__ import annotations

import heapq
import threading
import time
from typing import TYPE_CHECKING

from tests.worlds.exporter import METRIC, PAGE, Exporter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.worlds.exporter import Process, Stored, Target

__all__ = ["METRIC", "PAGE", "TICK", "Exporter", "Play"]

STEP = 0.05  # seconds between two rounds of events
TICK = 5  # seconds
QUIET_BEFORE, QUIET_AFTER = 2.0, 0.3  # seconds around the first and last instant: borders are sharp


class Play:
    """All scenarios on one clock: what happens when, and the events in between."""

    def __init__(self, exporter: Exporter, begin: int, end: int, *, outages: tuple[float, ...] = ()) -> None:
        self.exporter = exporter
        self.outages = outages  # instants at which the server is stopped: an answer just before may be lost
        self.begin, self.end = begin, end
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        self._alive: list[Process] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.errors: list[BaseException] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do something at an instant."""
        heapq.heappush(self._todo, (when, len(self._todo) + id(what), what))

    def every(self, seconds: float, what: Callable[[], None], *, first: float | None = None) -> None:
        """Do something again and again until shortly before the end."""
        when = self.begin + seconds if first is None else first
        while when < self.end - 4:
            self.at(when, what)
            when += seconds

    def live(self, process: Process) -> Process:
        """A process that serves from now on."""
        if process not in self._alive:
            self._alive.append(process)
        return process

    def die(self, process: Process) -> None:
        """A process that serves no more."""
        if process in self._alive:
            self._alive.remove(process)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait."""
        self._stopped.set()
        self._thread.join()

    def quiet(self, now: float) -> bool:
        """Whether nothing may happen now, so that it is plain on which side of a border an event lies."""
        borders = (self.begin, *self.outages)
        return now > self.end - QUIET_BEFORE or any(
            border - QUIET_BEFORE < now < border + QUIET_AFTER for border in borders
        )

    def _run(self) -> None:
        try:
            while not self._stopped.wait(STEP):
                now = time.time()
                with self.exporter.lock:
                    while self._todo and self._todo[0][0] <= now:
                        heapq.heappop(self._todo)[2]()
                    if not self.quiet(now):
                        for process in self._alive:
                            if not process.held_back:
                                self._serve(process)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            self.errors.append(error)

    def _serve(self, process: Process) -> None:
        dice = self.exporter.dice
        for rate, code in ((process.good, "200"), (process.bad, "500")):
            expected = rate * STEP
            much = int(expected) + (dice.random() < expected % 1)
            if much:
                process.add(much, code)

    # scenarios

    def pod(self, job: str, **options) -> Target:
        """A new pod: process and target."""
        labels = options.pop("labels", {})
        instance = options.pop("instance", None)
        target = self.exporter.target(
            self.live(self.exporter.process(job, **options)), instance=instance, **labels
        )
        self.exporter.publish()
        return target

    def kill(self, target: Target) -> None:
        """A pod dies: nothing answers, and the discovery learns it a second later."""
        assert target.process is not None
        self.die(target.process)
        target.process = None
        self.at(time.time() + 1, lambda: self.exporter.remove(target))

    def crash(self, target: Target) -> None:
        """The process ends and a new one answers at once at the same address."""
        old = target.process
        assert old is not None
        self.die(old)
        target.process = self.live(
            self.exporter.process(
                old.job, good=old.good, bad=old.bad, tells_start=old.tells_start, start=time.time()
            )
        )

    def steady(self) -> None:
        """Three targets that go on and on, born with both series."""
        for _ in range(3):
            pod = self.pod("steady")
            pod.process.add(0, "500")

    def late_errors(self) -> None:
        """Failure series that are born with the first failure, minutes into a process' life."""
        for number in range(3):
            pod = self.pod("late-errors", bad=0)
            self.at(self.begin + 9 + 7 * number, lambda pod=pod: pod.process.add(3, "500"))
            self.at(self.begin + 21 + 4 * number, lambda pod=pod: pod.process.add(2, "503"))

    def deploys(self, job: str, *, tells_start: bool, last_seconds: bool = False) -> None:
        """Pods die and new ones come, three at a time.

        Discovery tells Prometheus of a new target up to 5 s late, which are five scrapes here and a third of one
        in life. Where the start is unknown that is more than a first value may be worth, so there a pod is
        discovered first and starts to serve when it was asked once, as with a readiness probe, and slowly until
        it is asked again, as behind a balancer.
        """
        pods = [self.pod(job, tells_start=tells_start, bad=0 if last_seconds else 1) for _ in range(3)]

        def fail() -> None:
            pods[0].process.bad = 15

        def replace() -> None:
            self.kill(pods.pop(0))
            pods.append(self.pod(job, tells_start=tells_start, bad=0 if last_seconds else 1))

        def discover() -> None:
            pods.append(self.pod(job, tells_start=tells_start, bad=1, gentle=10))
            pods[-1].down = True
            self.die(pods[-1].process)

        def serve() -> None:
            if not pods[-1].asked:  # the server was down meanwhile, or is slow to discover
                if time.time() < self.end - 5:
                    self.at(time.time() + 1, serve)
                return
            self.kill(pods.pop(0))
            self.live(pods[-1].process)
            pods[-1].down = False

        if tells_start:
            self.every(9, replace, first=self.begin + 8)
        else:
            self.every(9, discover, first=self.begin + 2)
            self.every(9, serve, first=self.begin + 8)
        if last_seconds:
            self.every(9, fail, first=self.begin + 5)

    def crashes(self) -> None:
        """Processes that crash and are back at once."""
        pods = [self.pod("crashes", bad=1) for _ in range(3)]
        for number, pod in enumerate(pods):
            self.every(11 + number, lambda pod=pod: self.crash(pod), first=self.begin + 4 + 3 * number)

    def gone_and_back(self) -> None:
        """Targets out of reach for a while that go on counting."""
        for number in range(2):
            pod = self.pod("gone-and-back", bad=2)
            for first, last in ((8, 26), (33, 40)):
                self.at(self.begin + first + number, lambda pod=pod: setattr(pod, "down", True))
                self.at(self.begin + last + number, lambda pod=pod: setattr(pod, "down", False))

    def timeouts(self) -> None:
        """A third of the scrapes takes too long."""
        for _ in range(2):
            self.pod("timeouts").slow = 0.33
        self.at(self.end - 8, lambda: [setattr(t, "slow", 0) for t in self.exporter.targets.values()])

    def bursts(self) -> None:
        """Nothing at all but bursts at the borders of ticks."""
        pod = self.pod("bursts", good=0, bad=0)
        pod.process.add(1)
        pod.process.add(0, "500")
        for border in range(self.begin + TICK, self.end - 2, TICK):
            when = border + self.exporter.dice.uniform(-0.9, 0.9)
            self.at(when, lambda: (pod.process.add(90), pod.process.add(10, "500")))

    def ttl(self) -> None:
        """A label set that vanishes and returns with its old value."""
        pod = self.pod("ttl")
        pod.process.add(1_000, "500", path="/x")
        key = next(key for key in pod.process.counters if ("path", "/x") in key)
        for first, last in ((6, 12), (17, 38)):
            self.at(self.begin + first, lambda: pod.process.hidden.add(key))
            self.at(self.begin + last, lambda: pod.process.hidden.discard(key))
        self.at(self.begin + 41, lambda: pod.process.add(5, "500", path="/x"))

    def relabelled(self, job: str, *, tells_start: bool = True, **labels: str) -> None:
        """A running target gets other labels from the discovery."""
        pod = self.pod(job, tells_start=tells_start, start=time.time() - 5_000, old=True)
        pod.process.add(50_000)
        pod.process.add(400, "500")

        def relabel() -> None:
            pod.labels.update(labels)
            self.exporter.publish()

        self.at(self.begin + 19, relabel)

    def late_discovered(self) -> None:
        """An old process that nobody scraped so far."""
        self.pod("late-discovered", bad=1)

        def discover() -> None:
            pod = self.pod("late-discovered", start=time.time() - 5_000, old=True)
            pod.process.add(80_000)
            pod.process.add(900, "500")

        self.at(self.begin + 14, discover)

    def replicas(self) -> None:
        """Every target is scraped twice, under two values of a replica label; one of them ends."""
        pods = [self.pod("replicas", bad=1, labels={"replica": "a"}) for _ in range(2)]
        for pod in pods:
            self.exporter.target(pod.process, instance=pod.labels["instance"], replica="b")
        self.exporter.publish()
        self.at(self.begin + 22, lambda: [self.exporter.remove(pod) for pod in pods])

    def all(self) -> None:
        """Every scenario."""
        with self.exporter.lock:
            self.steady()
            self.late_errors()
            self.deploys("deploys", tells_start=True)
            self.deploys("deploys-unknown-start", tells_start=False)
            self.deploys("last-seconds", tells_start=True, last_seconds=True)
            self.crashes()
            self.gone_and_back()
            self.timeouts()
            self.bursts()
            self.ttl()
            self.relabelled("label-added", env="prod")
            self.relabelled("renamed", instance="another-name")
            self.relabelled("renamed-unknown-start", tells_start=False, instance="one-more-name")
            self.late_discovered()
            self.replicas()

    def truth(self, stored: Stored) -> dict[str, tuple[int, int]]:
        """(total, bad) of each job between begin and end, as far as the scrapes that were stored could see."""
        found: dict[str, tuple[int, int]] = {}
        for process in self.exporter.processes:
            total, bad = process.seen(self.begin, self.end, stored)
            before = found.get(process.job, (0, 0))
            found[process.job] = (before[0] + total, before[1] + bad)
        return found
