"""Kill -9, again and again, at every place that matters: nothing lost, nothing twice, nothing out of order (S1)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING

import pytest

from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.outbox import Outbox
from tests.real.killed import NAMES, OUTAGE, evaluator_of

if TYPE_CHECKING:
    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.ticks import Outcome, WindowCounts

PLACES = ("before_commit", "commit_to_post", "post_to_receipt", "catch_up")
PAIRS = [{"slo_burn_started", "slo_recovered"}, {"slo_budget_exhausted", "slo_budget_restored"}]
AUDIT_DOWN = 0.3  # seconds at most that a process lives on while the audit server is killed and comes back


def orders(count, *, each, audit_kills, seed=7):
    """A random plan: so many kills in each of the four places, the audit server killed in each of them, too.

    There it is killed and comes back while the process stands still in the place; at random while it goes on.
    """
    rng = random.Random(seed)
    places = [place for place in PLACES for _ in range(each)]
    places += ["random"] * (count - len(places))
    rng.shuffle(places)
    with_audit = set()
    for place in islice(cycle((*PLACES, "random")), audit_kills):
        with_audit.add(
            rng.choice([i for i, one in enumerate(places) if one == place and i not in with_audit])
        )
    for number, place in enumerate(places):
        audit = number in with_audit
        seconds = 1.2 if audit else rng.uniform(0.01, 0.15)
        skip = OUTAGE if place == "catch_up" else rng.choice((0, 0, 0, 5))
        yield audit, {
            "place": place, "second": rng.random() < 0.5, "seconds": seconds, "skip": skip, "tick": 0.01,
            "hold": audit and place != "random",
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

    def answer(self):
        """The next line of what was done."""
        line = self.process.stdout.readline()
        assert line, f"the killer ended with status {self.process.wait(10)}"
        return json.loads(line)

    def end(self):
        """Let it go."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@dataclass(frozen=True)
class Stand:
    """What a ledger has of an SLO: how far, the counts of each stored span, seconds by outcome, rules, told event ids."""

    cursor: int
    counts: dict[int, WindowCounts]
    outcomes: dict[Outcome, int]
    states: dict[str, AlertState]
    told: list[str]

    @classmethod
    def of(cls, ledger):
        """All SLOs of a ledger, by name."""
        told, points = ids_of(Outbox(ledger.transaction).parcels()), ledger.history.points.tolist()
        return {
            one.slo: cls(
                ledger.slo_cursor(number),
                dict(zip(points[1:], ledger.history.parts(number, points), strict=True)),
                ledger.outcomes(number),
                ledger.states[number],
                told[one.slo],
            )
            for number, one in ledger.instances.items()
        }


def undisturbed(until):
    """What a daemon that nobody killed has of each SLO, up to a data instant."""
    with Ledger.open("sqlite://") as ledger:
        evaluator_of(ledger).advance(until)
        return Stand.of(ledger)


def ids_of(parcels):
    """Event ids by SLO in order."""
    found = {}
    for parcel in parcels:
        found.setdefault(parcel.slo, []).append(parcel.event_id)
    return found


def alternating(kinds):
    """Whether begin and end of the same thing take turns."""
    return all(a != b for pair in PAIRS for a, b in pairwise(kind for kind in kinds if kind in pair))


def killed_and_checked(url, audit, show, *, count, each, audit_kills):
    """Kill so often, and show the histograms; then check the ledger against an undisturbed one, and the audit stream against the ledger."""
    began = time.monotonic()
    killer = Killer(url, audit.url)
    histogram, with_audit = Counter(), Counter()
    try:
        for kill_audit, order in orders(count, each=each, audit_kills=audit_kills):
            killer.send(order)
            if order["hold"]:
                killer.answer()
            elif kill_audit:
                time.sleep(AUDIT_DOWN)
            if kill_audit:
                audit.kill()
                audit.start(wait_seconds=240)
            if order["hold"]:
                killer.send("go on")
            place = killer.answer()["place"]
            histogram[place] += 1
            with_audit[place] += kill_audit
        killer.send({"place": "drain", "second": False})
        assert {"place": "drain", "status": 0} == killer.answer()
    finally:
        killer.end()
    with Ledger.open(url) as ledger:
        parcels, stands = Outbox(ledger.transaction).parcels(), Stand.of(ledger)
        assert [] == ledger.check()
    seconds = time.monotonic() - began
    show(
        f"{count} kills, the audit server killed beside {audit_kills}, {len(parcels)} events, {seconds:.0f} s"
    )
    for place, number in sorted(histogram.items()):
        show(f"  {place:16} {number:5}, the audit server too {with_audit[place]:3}")
    assert {"delivered"} == {parcel.state for parcel in parcels}
    told = ids_of(parcels)
    assert set(NAMES) == told.keys()
    assert undisturbed(max(one.cursor for one in stands.values())) == stands
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
    assert all(min(histogram[place] * 10 // count, with_audit[place]) >= 1 for place in PLACES)
    assert (audit_kills, 0) == (with_audit.total(), histogram["broken"])


def test_killed_everywhere(url, audit_stream, show):
    """S1, T9: 150 kills, at least a tenth in each place, the audit server killed in each place and at random."""
    killed_and_checked(url, audit_stream, show, count=150, each=18, audit_kills=5)


@pytest.mark.long
@pytest.mark.postgresql
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_killed_everywhere_over_postgresql(url, audit_stream, show):
    """S1: 40 kills, ten in each place, the ledger on a real server: what lies there is what an undisturbed one has."""
    killed_and_checked(url, audit_stream, show, count=40, each=10, audit_kills=4)


@pytest.mark.long
def test_killed_a_thousand_times(url, audit_stream, show):
    """S1, the show: 1,000 kills, at least a hundred in each place, the audit server killed 20 times among them."""
    killed_and_checked(url, audit_stream, show, count=1_000, each=125, audit_kills=20)
