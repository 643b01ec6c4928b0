"""Several daemons over one catalogue and one PostgreSQL: who evaluates what, and what moves when their number changes."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import pytest

from slo_budget_tracker import cycle as cycling
from slo_budget_tracker import moves as moving
from slo_budget_tracker.annotations import Annotation, Sought
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.cycle import Cycle
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.outbox import Outbox, Receipt
from slo_budget_tracker.shards import Shard, owner
from tests.real.fleets import NAMES, SLOS, expected, figures, state
from tests.unit.cycling import Client, settings
from tests.unit.serving import BEGIN, INTERVAL, availability, ratio, seconds_of

pytestmark = pytest.mark.postgresql
AUDIT_AT = 1_000


def test_each_slo_is_evaluated_once(fleet, alone):
    """Three daemons share a catalogue by the hash; together they have what one alone would have."""
    for index in range(3):
        fleet.start(index, 3)
    fleet.tick(5)
    assert expected(3) == fleet.placed()
    assert alone(5) == figures(fleet)


def test_one_more_takes_its_share_and_the_counts_with_it(fleet, alone):
    """From 2 to 3, restarted one by one: only what must move moves, no count is lost or doubled, no tick either."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(5)
    before = fleet.placed()
    fleet.start(2, 3)  # the others still run with the old count: nothing can be taken
    assert ({2: []}, before) == ({2: list(fleet.running[2].evaluator.slos)}, fleet.placed())
    waited = fleet.running[2].moves.waiting
    assert {name: before[name] for name, index in expected(3).items() if index == 2} == waited
    for index in range(2):
        fleet.start(index, 3)
    fleet.running[2].gather()
    assert expected(3) == fleet.placed()
    moved = [name for name in NAMES if before[name] != fleet.placed()[name]]
    assert {2} == {fleet.placed()[name] for name in moved}
    fleet.tick(5)
    assert alone(10) == figures(fleet)


def test_alerts_and_their_events_move_along(fleet, alone):
    """A firing alert goes on firing, is not started again, and ends with the next number of its sequence."""
    fleet.start(0, 1)
    fleet.tick(30)
    burning = figures(fleet)
    assert {"firing"} == {one for _, _, one in burning.values()}
    fleet.start(0, 2)
    fleet.start(1, 2)
    assert {"firing"} == {state(one) for one in fleet.snapshots().values()}
    fleet.tick(30)
    assert alone(60) == figures(fleet)
    kinds = ["slo_burn_started", "slo_budget_exhausted", "slo_recovered"]
    for name in NAMES:
        assert list(enumerate(kinds, start=1)) == max(fleet.events(name), key=len)


def test_ticks_between_two_shards_are_filled(fleet, alone):
    """An SLO that nobody evaluated for six ticks has their counts from history, and nothing from before twice."""
    fleet.start(0, 1)
    fleet.fill(fleet.running[0])
    fleet.tick(4)
    before = {name: one.total for name, one in fleet.snapshots().items()}
    fleet.stop(0)
    fleet.clock.now += 6 * INTERVAL
    for index in range(2):
        fleet.start(index, 2)
    asked = len(fleet.server.asked)
    for cycle in fleet.running.values():
        fleet.fill(cycle)
    assert len(fleet.server.asked) - asked < 12  # not the whole window
    fleet.tick()
    requests = INTERVAL * 5
    assert {name: total + 7 * requests for name, total in before.items()} == {
        name: one.total for name, one in fleet.snapshots().items()
    }


def test_what_a_stopped_shard_had_is_taken(fleet, alone):
    """From 2 to 1: the shard that is gone for good let go of nothing, and its SLOs are evaluated all the same."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(5)
    fleet.stop(1)
    fleet.start(0, 1)
    assert dict.fromkeys(NAMES, 0) == fleet.placed()
    fleet.tick(5)
    assert alone(10) == figures(fleet)


def test_a_shard_that_was_only_cut_off_may_not_write_any_more(fleet, postgresql):
    """Fencing: whoever was taken for stopped finds its term over, and its SLOs elsewhere when it starts again."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick()
    cut = fleet.running.pop(1)
    lost = cut.evaluator.ledger
    postgresql.sql(
        "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE "
        f"l.locktype = 'advisory' AND a.application_name LIKE '%{lost._store._token}'"
    )
    fleet.start(0, 1)
    assert set(NAMES) == set(fleet.placed())
    with pytest.raises(LedgerError):
        lost.commit(Entry(meta={"a": "b"}))
    lost.close()
    fleet.start(1, 2)
    assert [] == list(fleet.running[1].evaluator.slos)


def test_a_daemon_that_was_alone_becomes_shards(fleet, alone):
    """The ledger of a daemon without --shard is taken over as it is, once that daemon is stopped."""
    sources = {"default": Client(fleet.server, fleet.clock)}
    with Ledger.open(fleet.base) as ledger:
        cycle = Cycle.begin(settings(), SLOS, ledger, sources=sources, clock=fleet.clock)
        for _ in range(5):
            fleet.clock.now += INTERVAL
            cycle.tick()
        fleet.start(0, 2)
        assert {} == fleet.placed()  # it still runs
    fleet.running[0].gather()
    fleet.start(1, 2)
    assert expected(2) == fleet.placed()
    fleet.tick(5)
    assert alone(10) == figures(fleet)


def test_events_that_wait_go_along(fleet):
    """What was not delivered is delivered by whoever has the SLO now: once, in order, looked up if it was tried."""
    fleet.start(0, 1)
    fleet.tick(30)
    outbox = Outbox(fleet.running[0].evaluator.ledger.transaction)
    waiting = {slo: [one.event_id for one in parcels] for slo, parcels in outbox.queues().items()}
    assert set(NAMES) == set(waiting)
    for name in NAMES:
        (parcel, *_) = outbox.parcels(slo=name)
        outbox.attempt(parcel, at=AUDIT_AT)
    outbox.confirm({waiting["slo-0"][0]: Receipt(7, "hash")}, at=AUDIT_AT)
    for index in range(2):
        fleet.start(index, 2)
    found = {}
    for cycle in fleet.running.values():
        queues = Outbox(cycle.evaluator.ledger.transaction).queues()
        assert not found.keys() & queues.keys()
        found |= {slo: [(one.event_id, one.state) for one in parcels] for slo, parcels in queues.items()}
    tried = {
        name: [(ids[0], "attempted"), *((one, "pending") for one in ids[1:])] for name, ids in waiting.items()
    }
    assert {**tried, "slo-0": tried["slo-0"][1:]} == found


def test_what_nobody_took_comes_back(fleet, alone):
    """A count that is changed and changed back, before the new shard ever ran, loses nothing."""
    fleet.start(0, 1)
    fleet.tick(30)
    fleet.start(0, 2)
    assert {0} == set(fleet.placed().values())
    assert len(fleet.placed()) < len(NAMES)
    fleet.start(0, 1)
    assert set(NAMES) == set(fleet.placed())
    fleet.tick(30)
    assert alone(60) == figures(fleet)
    queues = Outbox(fleet.running[0].evaluator.ledger.transaction).queues()
    assert set(NAMES) == set(queues)


def test_a_third_shard_that_was_quicker_leaves_nothing_half(fleet):
    """Taking over is one transaction: where the claim is gone, no count, state or event has come."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(5)
    fleet.stop(1)
    moves = fleet.running[0].moves
    steal = moves.claims.take
    moves.claims.take = lambda connection, names, **_: steal(connection, names, was=3, shard=0)
    moves.shard, moves._begun = Shard(0, 1), True
    ledger = fleet.running[0].evaluator.ledger
    before = (dict(ledger.states), ledger.meta["definitions"])
    assert len(moves.admit(SLOS, at=BEGIN + 6 * INTERVAL)) < len(NAMES)
    assert before == (dict(ledger.states), ledger.meta["definitions"])
    moves.claims.take = steal
    assert len(NAMES) == len(moves.admit(SLOS, at=BEGIN + 6 * INTERVAL))


def test_an_slo_that_is_removed_from_all_files_is_retired_by_its_shard(fleet):
    """One event, by whoever had it; a later SLO of that name begins anew on its own shard."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(30)
    fleet.slos = [slo for slo in SLOS if slo.name != "slo-3"]
    for cycle in fleet.running.values():
        cycle.adopt(settings(), fleet.slos)
    told = [[kind for _, kind in one] for one in fleet.events("slo-3")]
    assert 1 == sum(kinds.count("slo_retired") for kinds in told)
    for cycle in fleet.running.values():
        cycle.adopt(settings(), SLOS)
    assert expected(2) == fleet.placed()


def test_a_shard_says_which_one_it_is_and_what_it_waits_for(fleet):
    """On /metrics."""
    fleet.start(0, 1)
    fleet.start(1, 2)
    shown = fleet.running[1].publisher.display.view.text.body.decode()
    waiting = sum(index == 1 for index in expected(2).values())
    assert 'slo_budget_tracker_shard_info{of="2",shard="1"} 1' in shown
    assert f"slo_budget_tracker_shard_slos_waiting {waiting}" in shown


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        ("3/3", "the shard '3/3' is none, expected its number from 0 and their count, such as 0/3"),
        ("0/3", "shards hand over what they counted in a PostgreSQL that all of them share"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(tmp_path, shard, says):
    """One sentence, status 2: a number that is none, a ledger that others cannot reach."""
    (tmp_path / "slos.yaml").write_text(
        "slos: [{name: a, target: 99%, window: 1d, alerts: none, sli: {requests: {total: a_total, bad: 'a_total{c=\"5\"}'}}}]\n"
    )
    (tmp_path / "c.yaml").write_text("slo_files: [slos.yaml]\nledger: {url: 'sqlite:///a.db'}\n")
    command = [
        sys.executable,
        "-m",
        "slo_budget_tracker",
        "run",
        "-c",
        str(tmp_path / "c.yaml"),
        "--shard",
        shard,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert says in done.stderr


@pytest.mark.parametrize("kind", [availability, ratio])
def test_nothing_is_read_again_that_was_counted(fleet, kind):
    """The new shard goes on from now: an SLO that is hours old is not caught up from its birth."""
    fleet.slos = [kind(name) for name in NAMES]
    fleet.server.values = {f"ratio_{name}": lambda _: 0.1 for name in NAMES}
    fleet.start(0, 1)
    fleet.tick(30)
    for index in range(2):
        fleet.start(index, 2)
    asked = len(fleet.server.asked)
    fleet.tick()
    spans = {seconds_of(query) for query in fleet.server.asked[asked:]}
    assert max(spans) <= 10 * INTERVAL


def test_counts_survive_a_prometheus_that_lost_its_past(fleet):
    """What was counted before the move is not asked of Prometheus, and not replaced by what it has now."""
    fleet.start(0, 1)
    fleet.fill(fleet.running[0])
    fleet.tick(30)
    before = figures(fleet)
    for of in (2, 1):
        newest = int(fleet.clock.now - 2 * INTERVAL) * 1000
        for samples in fleet.server.db.samples.values():
            samples[:] = [sample for sample in samples if sample[0] > newest]
        fleet.stop(1)
        for index in range(of):
            fleet.start(index, of)
        for cycle in fleet.running.values():
            fleet.fill(cycle)
        assert before == figures(fleet)


def test_a_shard_that_was_taken_from_retires_nothing_when_it_starts(fleet):
    """Stopped both, started in another order with another count: no SLO is told as gone."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(3)
    for index in range(2):
        fleet.stop(index)
    for index in (2, 0, 1):
        fleet.start(index, 3)
    fleet.tick()
    kinds = [event.kind for cycle in fleet.running.values() for event in cycle.evaluator.ledger.events()]
    assert ("slo_retired" in kinds, expected(3)) == (False, fleet.placed())


def test_what_two_want_at_the_same_time_one_has(fleet, monkeypatch):
    """The old shard takes back what it let go of while the new one was copying it: it is the old one's."""
    fleet.start(0, 1)
    fleet.tick(3)
    fleet.start(0, 2)
    read, done = moving.handovers.read, []

    def slowly(*arguments, **named):
        found = read(*arguments, **named)
        if not done:
            done.append(fleet.start(0, 1))
        return found

    monkeypatch.setattr(moving.handovers, "read", slowly)
    fleet.start(1, 2)
    assert dict.fromkeys(NAMES, 0) == fleet.placed()


def test_a_reload_is_not_undone_by_what_is_taken_over(fleet, monkeypatch):
    """Another shard lets go while the files change: both are done, one after the other."""
    fleet.start(0, 1)
    fleet.start(1, 2)
    fleet.start(0, 2)
    cycle = fleet.running[1]
    more = [*SLOS, *(availability(f"new-{number}") for number in range(6))]
    renewed, waits, goes = cycling.renewed, threading.Event(), threading.Event()

    def slowly(*arguments):
        if threading.current_thread().name == "gather":
            waits.set()
            goes.wait(0.3)
        return renewed(*arguments)

    monkeypatch.setattr(cycling, "renewed", slowly)
    gather = threading.Thread(target=cycle.gather, name="gather")
    gather.start()
    assert waits.wait(30)
    cycle.adopt(settings(), more)
    gather.join(30)
    assert {slo.name for slo in more if owner(slo.name, of=2) == 1} == {
        slo.name for slo in cycle.evaluator.slos
    }


def test_what_could_not_be_adopted_is_tried_again(fleet, monkeypatch):
    """Taken over, and then the ledger fails: the next look evaluates what nobody does."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick()
    fleet.stop(1)
    cycle = fleet.running[0]
    cycle.moves.shard = Shard(0, 1)
    call = cycling.rollcall.call
    monkeypatch.setattr(cycling.rollcall, "call", lambda *_, **__: (_ for _ in ()).throw(LedgerError("full")))
    with pytest.raises(LedgerError):
        cycle.adopt(settings(), SLOS)
    monkeypatch.setattr(cycling.rollcall, "call", call)
    cycle.gather()
    assert dict.fromkeys(NAMES, 0) == fleet.placed()


def test_groups_that_were_gone_stay_gone_and_marks_go_along(fleet):
    """Only groups that counted to the end move; annotations are on the new shard's charts too."""
    fleet.slos = [availability(name, group_by=("code",)) for name in NAMES]
    fleet.start(0, 1)
    ledger = fleet.running[0].evaluator.ledger
    hashes = {one.slo: one.sli_hash for one in ledger.instances.values()}
    old = [ledger.register(name, {"code": "old"}, hashes[name], at=BEGIN) for name in NAMES]
    ledger.retire(old, at=BEGIN)
    fleet.tick(2)
    Archive(ledger).annotate(Annotation("deploy", BEGIN, "v2"))
    for index in range(2):
        fleet.start(index, 2)
    moved = fleet.running[1].evaluator.ledger
    codes = {one.labels.get("code") for one in moved.instances.values() if one.retired is None}
    assert {None, "200", "500"} == codes
    assert ["v2"] == [mark.text for mark in Archive(moved).marks(Sought()).marks]


@pytest.mark.parametrize(
    "walk", [(2, 3), pytest.param((3, 2, 4, 1, 2), marks=pytest.mark.long)], ids=["there", "to and fro"]
)
def test_through_any_change_of_their_number_each_event_is_counted_once(fleet, walk):
    """A known world: shards restarted one by one in any order, a tick between each two: to the request, nothing told twice."""
    fleet.start(0, 1)
    fleet.fill(fleet.running[0])
    fleet.tick(35)
    before, ticks = {name: (one.total, one.failures) for name, one in fleet.snapshots().items()}, 0
    told = {name: max(fleet.events(name), key=len) for name in NAMES}
    was, rng = 1, random.Random(str(walk))
    for of in walk:
        for index in rng.sample(range(max(of, was)), max(of, was)):
            if index < of:
                fleet.start(index, of)
            else:
                fleet.stop(index)
            fleet.tick()
            ticks += 1
            for cycle in fleet.running.values():
                cycle.gather()
        assert expected(of) == fleet.placed()
        for cycle in fleet.running.values():
            fleet.fill(cycle)
        was = of
    fleet.tick()
    counted = (ticks + 1) * INTERVAL * 5
    assert {name: (total + counted, bad) for name, (total, bad) in before.items()} == {
        name: (one.total, one.failures) for name, one in fleet.snapshots().items()
    }
    assert told == {name: max(fleet.events(name), key=len) for name in NAMES}
