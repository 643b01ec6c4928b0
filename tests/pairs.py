"""A pair of daemons over one PostgreSQL, each behind its own proxy, with an SLO that burns and recovers all the time."""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import httpx

from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.settings import Audit
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.ticks import Outcome
from tests.proxy import Proxy
from tests.ratios import NAMES, PERIOD, Ratios, ask
from tests.servers import free_port

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL = 2  # seconds of a tick, unless said otherwise
PATIENCE = 90.0
BURNS = {
    "slo_burn_started",
    "slo_recovered",
}  # what an hour of filled history decides once is left to other tests
SLO = """
  - name: {name}
    target: 99%
    window: 1h
    sli: {{promql: {{error_ratio: 'avg_over_time(ratio_{name}[$window])', window: 1m}}}}
    alerts: [{{severity: page, long: {long}s, short: {short}s, burn_rate: 20}}]
"""


@dataclass
class Replica:
    """One daemon of the pair: its process, and its way to PostgreSQL."""

    folder: Path
    name: str
    url: str  # of the ledger, to the server itself
    prometheus: str
    audit: str
    lease: float = 2.0
    interval: int = INTERVAL
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    def __post_init__(self):
        self.folder = self.folder / self.name
        (self.folder / "slos").mkdir(parents=True)
        windows = {"long": 3 * self.interval, "short": 2 * self.interval}
        text = "".join(SLO.format(name=name, **windows) for name in NAMES)
        (self.folder / "slos" / "all.yaml").write_text(f"slos:{text}")
        target = int(re.search(r":(\d+)/", self.url)[1])
        self.proxy = Proxy(target)
        through = self.url.replace(f":{target}/", f":{self.proxy.port}/")
        (self.folder / "tracker.yaml").write_text(
            f"prometheus: {{url: '{self.prometheus}'}}\nslo_files: [slos]\n"
            f"evaluation: {{interval: {self.interval}s, delay: 1s}}\n"
            f"ledger: {{url: '{through}', timeout: 2s, lease: {self.lease}s}}\n"
            f"audit: {{url: '{self.audit}'}}\nlog: {{format: json}}\n"
        )

    def start(self):
        """Start it; wait for nothing."""
        environ = {**os.environ, "SLO_BUDGET_TRACKER_WEB__LISTEN": f"127.0.0.1:{self.port}"}
        command = [sys.executable, "-m", "slo_budget_tracker", "run", "-c", str(self.folder / "tracker.yaml")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
        return self

    def send(self, number):
        """Send a signal."""
        os.kill(self.process.pid, number)

    def end(self, number=signal.SIGTERM):
        """End it, and wait."""
        if self.process is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
            self.send(number)
        status = self.process.wait(timeout=60)
        self.process = None
        return status

    def get(self, path, timeout=3.0):
        """A plain GET; None while nobody answers."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=timeout, trust_env=False)
        return None

    def figure(self, start, text=None):
        """The greatest value of the samples that begin so; None where there is none."""
        if text is None:
            answer = self.get("/metrics")
            text = "" if answer is None else answer.text
        found = [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(start)]
        return max(found, default=None)

    def leads(self):
        """Whether it says that it leads."""
        return self.figure("slo_budget_tracker_leader ") == 1.0

    @property
    def said(self):
        """Its log."""
        return (self.folder / "log").read_text()


def until(true, *, within=PATIENCE, what=""):
    """Wait for something; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if true():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError(f"it never came: {what}")


class Scraper:
    """Scrapes both, as Prometheus does: how long none of them answered, and how old what they showed was at most.

    The longest hole is the longest time between two answers, so it is never less than the time between two scrapes.
    """

    def __init__(self, replicas, *, every=0.25):
        self.replicas = replicas
        self.every = every
        self.longest_hole = self.oldest = 0.0
        self._answered = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(self.every):
            newest = None
            for one in self.replicas:
                answer = one.get("/metrics", timeout=0.5)
                text = "" if answer is None else answer.text
                at = one.figure("slo_last_evaluation_timestamp_seconds", text)
                newest = at if newest is None else max(newest, at or 0.0)
            now = time.monotonic()
            self.longest_hole = max(self.longest_hole, now - self._answered)  # until now, over or not
            if newest is not None:
                self._answered = now
                self.oldest = max(self.oldest, time.time() - newest)

    def stop(self):
        """End, and give the figures."""
        self._stop.set()
        self._thread.join()
        return self.longest_hole, self.oldest


@contextlib.contextmanager
def pair(folder, url, audit, *, lease=2.0, interval=INTERVAL):
    """Two daemons, the first one leading, the second one following."""
    prometheus = Ratios(interval)
    replicas = [Replica(folder, name, url, prometheus.url, audit, lease, interval) for name in ("a", "b")]
    try:
        for one in replicas:
            one.start()
            wanted = one is replicas[0]
            until(lambda one=one, wanted=wanted: one.leads() is wanted and shows(one), what=one.name)
        yield replicas
    finally:
        for one in replicas:
            if one.process is not None:
                one.end(signal.SIGKILL)
            one.proxy.close()
        prometheus.close()


def shows(one):
    """Whether it shows gauges of all SLOs."""
    answer = one.get("/metrics")
    return answer is not None and all(f'slo_target{{slo="{name}"}}' in answer.text for name in NAMES)


# --- chaos ----------------------------------------------------------------------------------------------------------


@dataclass
class Survived:
    """What a pair went through, and what came of it."""

    interval: int = INTERVAL
    takeovers: dict[str, list[float]] = field(default_factory=dict)  # seconds, by trouble
    hole: float = 0.0  # seconds between two scrapes that one of them answered, at most
    oldest: float = 0.0  # seconds that the newest served verdict was old
    events: int = 0
    compared: int = 0  # events that an undisturbed daemon tells, too
    lost: int = 0
    doubled: int = 0
    missing: list[str] = field(default_factory=list)

    @property
    def seconds(self):
        """How long takeovers took, ascending."""
        return sorted(one for some in self.takeovers.values() for one in some)

    def histogram(self):
        """How many takeovers were done within so many ticks, by half ticks."""
        found = Counter(math.ceil(one / self.interval * 2) / 2 for one in self.seconds)
        return {ticks: found[ticks] for ticks in sorted(found)}

    def __str__(self):
        told = ", ".join(f"{len(some)} {kind}" for kind, some in sorted(self.takeovers.items()))
        seconds, ticks = self.seconds, self.histogram()
        within = sum(times for so_many, times in ticks.items() if so_many <= 2)
        lines = [
            f"{len(seconds)} troubles of the leader: {told}",
            f"{self.events} events, {self.compared} compared, {self.lost} lost, {self.doubled} doubled",
            f"takeovers within two ticks of {self.interval} s: {within} of {len(seconds)}",
            f"  median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s",
            *(f"  {max(some):.1f} s the longest of {kind}" for kind, some in sorted(self.takeovers.items())),
            *(
                f"  {ticks - 0.5:.1f} to {ticks:.1f} ticks: {times:3} {'#' * times}"
                for ticks, times in ticks.items()
            ),
            f"longest time between two answered scrapes {self.hole:.1f} s, oldest gauges {self.oldest:.1f} s",
            *(f"  {one}" for one in self.missing),
        ]
        return "\n".join(lines)


def kill(one):
    """Kill -9, and start it again."""
    one.end(signal.SIGKILL)
    return one.start


def pause(one):
    """SIGSTOP past the lease."""
    one.send(signal.SIGSTOP)
    return lambda: one.send(signal.SIGCONT)


def cut(one):
    """Its connections to PostgreSQL end, and it gets no new ones."""
    one.proxy.break_off()
    return one.proxy.mend


def silence(one):
    """Its connections to PostgreSQL stay, and nothing passes."""
    one.proxy.fall_silent()
    return one.proxy.mend


TROUBLES = {"kills": kill, "pauses": pause, "cuts": cut, "silences": silence}


def survive(folder, url, audit, *, rounds, seed=7, interval=INTERVAL):
    """Put the leader into trouble, again and again; then compare ledger and audit stream with an undisturbed daemon."""
    rng = random.Random(seed)
    found = Survived(interval)
    kinds = [kind for _ in range(rounds) for kind in rng.sample(sorted(TROUBLES), len(TROUBLES))]
    with pair(folder, url, audit.url, interval=interval) as replicas:
        scraper = Scraper(replicas)
        whole = time.time() + 2 * PERIOD * interval  # by then there is a period to be compared
        leader, other = replicas
        for kind in kinds:
            time.sleep(rng.uniform(0, 2 * interval))
            mend = TROUBLES[kind](leader)
            took = until(other.leads, what=f"{other.name} leads after {kind}")
            found.takeovers.setdefault(kind, []).append(took)
            mend()
            until(lambda one=leader: follows(one), what=f"{leader.name} follows after {kind}")
            leader, other = other, leader
        until(lambda: stepped(leader) > whole, what="a whole period")
        until(lambda: leader.figure("slo_budget_tracker_outbox_pending") == 0.0, what="an empty outbox")
        found.hole, found.oldest = scraper.stop()
        other.end()
        until(lambda: leader.figure("slo_budget_tracker_outbox_pending") == 0.0, what="an empty outbox")
        leader.end()
        slos = load([leader.folder / "slos"], tick=interval).slos
    compare(found, url, audit, slos)
    return found


def stepped(one):
    """The data instant of the newest verdict that it shows."""
    return one.figure("slo_last_evaluation_timestamp_seconds") or 0.0


def follows(one):
    """Whether it shows gauges as a follower."""
    return one.figure("slo_budget_tracker_leader ") == 0.0 and shows(one)


def compare(found, url, audit, slos):
    """Count what is not as it would be had nothing happened."""
    with Ledger.open(url) as ledger:
        assert [] == ledger.check()
        last = Delivery(
            ledger=ledger, settings=Audit(url=audit.url)
        ).start()  # what its end left in the queue
        until(lambda: last.figures().pending == 0, what="an empty outbox")
        last.stop()
        born = ledger.birth + PERIOD * found.interval  # by then it does not matter how it began
        end = min(ledger.slo_cursor(number) for number in ledger.instances)
        parcels = Outbox(ledger.transaction).parcels()
        outcomes = [ledger.outcomes(number) for number in ledger.instances]
        birth = ledger.birth
    told = [(one.slo, one.event_id) for one in parcels if born < one.created <= end and one.kind in BURNS]
    with Ledger.open("sqlite://") as undisturbed:
        asks = {"default": partial(ask, found.interval)}
        Evaluator(slos, undisturbed, asks, interval=found.interval, delay=1).prepare(birth).advance(end)
        wanted = [
            (one.slo, one.event_id)
            for one in undisturbed.events(limit=100_000)
            if born < one.created and one.kind in BURNS
        ]
    sent = audit.get("/events", limit=100_000, source="slo-budget-tracker").json()
    there = Counter(one["payload"]["id"] for one in sent)
    found.events, found.compared = len(parcels), len(wanted)
    found.missing = [
        *(f"never concluded: {one}" for one in sorted({*wanted} - {*told})),
        *(f"never sent: {one}" for one in parcels if one.event_id not in there),
    ]
    found.lost = len(found.missing)
    found.doubled = len({*told} - {*wanted}) + sum(times - 1 for times in there.values())
    assert {one.slo for one in parcels} == chains(sent).keys()
    assert audit.get("/verify").json()["valid"]
    assert {Outcome.OK} == {outcome for some in outcomes for outcome, seconds in some.items() if seconds}


def chains(sent):
    """What an audit stream has, by SLO; each is one chain, in order and without a gap."""
    found = defaultdict(list)
    for one in sent:
        found[one["payload"]["slo_name"] or "*"].append(one["payload"])
    for chain in found.values():
        assert list(range(1, len(chain) + 1)) == [one["sequence"] for one in chain]
        assert [None, *(one["id"] for one in chain[:-1])] == [one["previous_id"] for one in chain]
    return found
