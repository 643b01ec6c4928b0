"""A daemon in small that is killed again and again: real ledger, real HTTP, a Prometheus in memory, a fast clock.

    python -m tests.real.killed LEDGER_URL AUDIT_URL

Reads orders, one JSON object per line. For each it forks a process that ticks and delivers, waits until the place
is reached where it is to be killed (or until its seconds are over), kills it, and writes one line of what was done.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from decimal import Decimal

import sqlalchemy as sa
import structlog

from slo_budget_tracker.auditstream import AuditStream
from slo_budget_tracker.delivery import Delivery
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.settings import Audit
from slo_budget_tracker.specs import BurnRateAlert
from tests.unit.serving import BEGIN, DELAY, INTERVAL, Server, ratio

PERIOD = 8  # ticks, of which BAD fail: each period starts an alert and ends it
BAD = 3
NAMES = ("one", "two", "three")
PAIR = BurnRateAlert(severity="page", long=180, short=120, burn_rate=Decimal(20))
GIVE_UP = 10.0  # seconds to wait for a place that is not reached
OUTAGE = 65  # ticks that are caught up, in two pieces


def catalogue():
    """Three SLOs that burn and recover all the time, not all at once."""
    return [ratio(name).model_copy(update={"alerts": (PAIR,)}) for name in NAMES]


def prometheus():
    """Their error ratios, by data instant."""

    def ratio_of(place):
        return lambda at: float((at // INTERVAL + 3 * place) % PERIOD < BAD)

    return Server(values={f"ratio_{name}": ratio_of(place) for place, name in enumerate(NAMES)})


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
            evaluator.advance(now[0])
            delivery.wake()
            now[0] += INTERVAL
            time.sleep(order["tick"])


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
    seconds = order["seconds"] if wanted == "random" else GIVE_UP
    ready, _, _ = select.select([hear], [], [], seconds)
    said = os.read(hear, 1) if ready else b""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(hear)
    place = wanted if said else "random" if os.WIFSIGNALED(status) else "broken"
    return {"place": place, "seconds": time.monotonic() - began}


def main():
    """Do what is ordered."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    assert threading.active_count() == 1
    for line in sys.stdin:
        done = forked(sys.argv[1], sys.argv[2], json.loads(line))
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
