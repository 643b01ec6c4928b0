"""Kill -9, again and again, at every place that matters: nothing lost, nothing twice, nothing out of order (S1)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import pytest

from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from tests.real.killed import NAMES, OUTAGE, evaluator_of

PLACES = ("before_commit", "commit_to_post", "post_to_receipt", "catch_up")
PAIRS = [{"slo_burn_started", "slo_recovered"}, {"slo_budget_exhausted", "slo_budget_restored"}]
AUDIT_DOWN = 0.3  # seconds at most that a process lives on while the audit server is killed and comes back


def orders(count, *, audit_kills, seed=7):
    """A random plan: an eighth of all kills in each of the four places, the audit server killed now and then."""
    rng = random.Random(seed)
    places = [place for place in PLACES for _ in range(count // 8)]
    places += ["random"] * (count - len(places))
    rng.shuffle(places)
    with_audit = set(rng.sample([i for i, place in enumerate(places) if place == "random"], audit_kills))
    for number, place in enumerate(places):
        audit = number in with_audit
        seconds = 1.2 if audit else rng.uniform(0.01, 0.15)
        skip = OUTAGE if place == "catch_up" else rng.choice((0, 0, 0, 5))
        yield audit, {
            "place": place, "second": rng.random() < 0.5, "seconds": seconds, "skip": skip, "tick": 0.01,
        }  # fmt: skip


class Killer:
    """The process that forks and kills; one order at a time."""

    def __init__(self, ledger, audit):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.real.killed", ledger, audit],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def send(self, order):
        """Give an order."""
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def done(self):
        """What came of it."""
        line = self.process.stdout.readline()
        assert line, f"the killer ended with status {self.process.wait(10)}"
        return json.loads(line)

    def end(self):
        """Let it go."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def undisturbed(until):
    """The ids that a daemon which nobody killed tells by SLO, up to a data instant."""
    with Ledger.open("sqlite://") as ledger:
        evaluator = evaluator_of(ledger)
        evaluator.advance(until)
        return ids_of(Outbox(ledger.transaction).parcels())


def ids_of(parcels):
    """Event ids by SLO in order."""
    found = {}
    for parcel in parcels:
        found.setdefault(parcel.slo, []).append(parcel.event_id)
    return found


def alternating(kinds):
    """Whether begin and end of the same thing take turns."""
    return all(a != b for pair in PAIRS for a, b in pairwise(kind for kind in kinds if kind in pair))


def killed_and_checked(tmp_path, audit, *, count, audit_kills):
    """Kill so often; then check the ledger against an undisturbed one, and the audit stream against the ledger."""
    began = time.monotonic()
    url = f"sqlite:///{tmp_path}/ledger.db"
    killer = Killer(url, audit.url)
    histogram = Counter()
    try:
        for kill_audit, order in orders(count, audit_kills=audit_kills):
            killer.send(order)
            if kill_audit:
                time.sleep(AUDIT_DOWN)
                audit.kill()
                audit.start(wait_seconds=240)
            histogram[killer.done()["place"]] += 1
        killer.send({"place": "drain", "second": False})
        assert {"place": "drain", "status": 0} == killer.done()
    finally:
        killer.end()
    with Ledger.open(url) as ledger:
        parcels = Outbox(ledger.transaction).parcels()
        until = max(ledger.slo_cursor(number) for number in ledger.instances)
        assert [] == ledger.check()
    seconds = time.monotonic() - began
    print(f"\n{count} kills, {audit_kills} of the audit server, {len(parcels)} events, {seconds:.0f} s")
    print("\n".join(f"  {place:16} {number:5}" for place, number in sorted(histogram.items())))
    assert {"delivered"} == {parcel.state for parcel in parcels}
    told = ids_of(parcels)
    assert undisturbed(until) == told
    events = [
        one["payload"] for one in audit.get("/events", limit=100_000, source="slo-budget-tracker").json()
    ]
    for slo in NAMES:
        there = [one for one in events if one["slo_name"] == slo]
        assert told[slo] == [one["id"] for one in there]  # none lost, none twice, in order
        assert list(range(1, len(there) + 1)) == [one["sequence"] for one in there]
        assert [None, *told[slo][:-1]] == [one["previous_id"] for one in there]
        assert alternating(one["event_kind"] for one in there)
    assert len(events) == len(parcels)
    assert audit.get("/verify").json()["valid"]
    return histogram


def test_killed_everywhere(tmp_path, audit_stream):
    """S1, T9: 150 kills, at least a tenth in each place, the audit server killed three times among them."""
    histogram = killed_and_checked(tmp_path, audit_stream, count=150, audit_kills=3)
    assert all(histogram[place] >= 15 for place in PLACES), histogram
    assert histogram["broken"] == 0


@pytest.mark.long
def test_killed_a_thousand_times(tmp_path, audit_stream):
    """S1, the show: 1,000 kills, at least a hundred in each place, the audit server killed 20 times among them."""
    histogram = killed_and_checked(tmp_path, audit_stream, count=1_000, audit_kills=20)
    assert all(histogram[place] >= 100 for place in PLACES), histogram
    assert histogram["broken"] == 0
