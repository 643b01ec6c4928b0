"""A daemon in small that is killed again and again: real ledger, real HTTP, a Prometheus in memory, a fast clock.

    python -m tests.real.killed LEDGER_URL AUDIT_URL

Reads orders, one JSON object per line. For each it forks a process that ticks and delivers, waits until the place
is reached where it is to be killed (or until its seconds are over), kills it, and writes one line of what was done.
With `hold` in the order it says when the place is reached, and which process that is, and does not kill before it
is told to "go on"; any other line until then is answered with how far the process is.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import sys
import threading
import time
from decimal import Decimal

import sqlalchemy as sa
import structlog

from slo_budget_tracker.answers import Series
from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.settings import Audit
from slo_budget_tracker.specs import BurnRateAlert
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Archive, Server, availability, ratio

PERIOD = 8  # ticks, of which BAD fail: each period starts an alert and ends it
BAD = 3
RATIOS = ("one", "two")
COUNTED = "counted"
NAMES = (*RATIOS, COUNTED)
SCRAPE = 15  # seconds
LIFE = 45  # scrapes after which the pod begins anew; no tick and no period ends with it
UNSEEN = range(20, 26)  # scrapes of each life that nobody made: more than a tick without a sample
PAIR = BurnRateAlert(severity="page", long=180, short=120, burn_rate=Decimal(20))
GIVE_UP = 10.0  # seconds to wait for a place that is not reached
OUTAGE = 65  # ticks that are caught up, in two pieces
TICKS, REFUSED = (
    memoryview(mmap.mmap(-1, 8)).cast("Q") for _ in range(2)
)  # which forked processes count, too


class Pod(Archive):
    """The counters of one pod at any instant, without an end: it is started anew again and again, and not always seen."""

    def between(self, selector, after, until, bounds=()):
        """The series of a selector with their samples in (after, until], ms."""
        first, last = ((at // 1_000 - 7) // SCRAPE + 1 for at in (after, until))
        scrapes = [number for number in range(first, last) if number % LIFE not in UNSEEN]
        times = [(number * SCRAPE + 7) * 1_000 for number in scrapes]
        found = []
        for labels, value in SERIES:
            if scrapes and labels["__name__"] == selector.metric and selector.matches(labels):
                found.append(Series(labels, times, [float(value(number)) for number in scrapes]))
        return found


def begun(number):
    """The scrape before which the pod of this scrape was started."""
    return number - number % LIFE


def served(number):
    """The requests that the pod of this scrape has served."""
    return 75 * (number - begun(number))


def failed(number):
    """Those of them that failed: half of them in the first ticks of each period."""
    of_period, of_bad = (ticks * INTERVAL // SCRAPE for ticks in (PERIOD, BAD))
    before = [at // of_period * of_bad + min(at % of_period, of_bad) for at in (begun(number), number)]
    return 37 * (before[1] - before[0])


TARGET = {"job": "shop", "instance": "pod:80"}
SERIES = [
    ({"__name__": name, **TARGET, **labels}, value)
    for name, labels, value in (
        ("up", {}, lambda _: 1),
        ("process_start_time_seconds", {}, lambda number: begun(number) * SCRAPE),
        ("http_requests_total", {"code": "200"}, lambda number: served(number) - failed(number)),
        ("http_requests_total", {"code": "500"}, failed),
    )
]


def catalogue():
    """Three SLOs that burn and recover all the time, not all at once: two by expressions, one by its counters."""
    slos = [*map(ratio, RATIOS), availability(COUNTED)]
    return [slo.model_copy(update={"alerts": (PAIR,)}) for slo in slos]


def prometheus():
    """Their error ratios and samples, by data instant."""

    def ratio_of(place):
        return lambda at: float((at // INTERVAL + 3 * place) % PERIOD < BAD)

    return Server(db=Pod(), values={f"ratio_{name}": ratio_of(place) for place, name in enumerate(RATIOS)})


def evaluator_of(ledger):
    """The cycle over the simulated Prometheus."""
    asks = {"default": prometheus()}
    return Evaluator(slos=catalogue(), ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY).prepare(
        BEGIN
    )


class Places:
    """Where a process stops and waits to be killed; says so with one byte."""

    def __init__(self, place, tell, *, second):
        self.place = place
        self.tell = tell
        self.second = second  # which of two spots in the same place
        self.inside = False
        self.commits = 0

    def reached(self):
        """Say so and wait for the end."""
        os.write(self.tell, b"!")
        time.sleep(1_000)

    def watch(self, ledger):
        """Put the stops where they belong."""
        commit = ledger.commit

        def counted(entry):
            self.inside = bool(entry.events)
            self.commits += 1
            if self.place == "catch_up" and self.commits == 2 and not self.second:
                self.reached()
            try:
                return commit(entry)
            finally:
                self.inside = False

        ledger.commit = counted
        sa.event.listen(ledger._store._engine, "commit", self.before_commit)
        if self.place == "commit_to_post":
            owner, name = (AuditStream, "post") if self.second else (Outbox, "attempt")
            setattr(owner, name, lambda *_, **__: self.reached())
        elif self.place == "post_to_receipt":
            Outbox.confirm = lambda *_, **__: self.reached()

    def before_commit(self, _connection):
        """All is written, nothing is committed."""
        caught_up = self.place == "catch_up" and self.second and self.commits == 2
        if caught_up or (self.place == "before_commit" and self.inside):
            self.reached()


def live(ledger_url, audit_url, order, tell):
    """Open, catch up, tick and deliver, until killed or drained."""
    places = Places(order["place"], tell, second=order["second"])
    with Ledger.open(ledger_url) as ledger:
        places.watch(ledger)
        evaluator = evaluator_of(ledger)
        at = max((ledger.slo_cursor(i) or BEGIN for i in evaluator.ids.values()), default=BEGIN)
        now = [at]
        settings = Audit(url=audit_url, timeout=5.0)
        delivery = Delivery(ledger=ledger, settings=settings, clock=lambda: now[0], settle=0.05).start()
        if order["place"] == "drain":
            while delivery.figures().pending or not delivery.figures().target_ok:
                time.sleep(0.05)
            delivery.stop()
            return
        now[0] += order["skip"] * INTERVAL
        while True:
            report = evaluator.advance(now[0])
            TICKS[0] += 1
            REFUSED[0] += report.store_error is not None
            delivery.wake()
            now[0] += INTERVAL
            time.sleep(order["tick"])


def say(done):
    """Write one line of what was done."""
    sys.stdout.write(json.dumps(done) + "\n")
    sys.stdout.flush()


def forked(ledger_url, audit_url, order):
    """One life of the process: what it was killed at, and after how many seconds."""
    hear, tell = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            live(ledger_url, audit_url, order, tell)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(tell)
    wanted = order["place"]
    if wanted == "drain":
        _, status = os.waitpid(pid, 0)
        os.close(hear)
        return {"place": wanted, "status": status}
    held = order.get("hold")
    seconds = order["seconds"] if wanted == "random" else GIVE_UP * (6 if held else 1)
    ready, _, _ = select.select([hear], [], [], seconds)
    said = os.read(hear, 1) if ready else b""
    if held:
        say({"reached": bool(said), "pid": pid})
        while json.loads(sys.stdin.readline()) != "go on":
            say({"ticks": TICKS[0], "refused": REFUSED[0]})
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(hear)
    place = wanted if said else "random" if os.WIFSIGNALED(status) else "broken"
    return {"place": place, "seconds": time.monotonic() - began}


def main():
    """Do what is ordered."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    assert threading.active_count() == 1
    while line := sys.stdin.readline():
        say(forked(sys.argv[1], sys.argv[2], json.loads(line)))


if __name__ == "__main__":
    main()
