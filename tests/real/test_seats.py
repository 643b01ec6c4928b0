"""Seats over a real PostgreSQL: who may lead, when, and what a leader may no more once its lease is over."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from slo_budget_tracker import leases
from slo_budget_tracker.databases import Database
from slo_budget_tracker.errors import LedgerDeposed, LedgerError
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.outbox import Outbox
from slo_budget_tracker.roles import Role
from slo_budget_tracker.seats import Seat, uptime
from tests.audit_server import NearAuditStream, delivery_of, drained, expected, happen, story, wait_for
from tests.pairs import until
from tests.proxy import Proxy
from tests.real.ledgers import registered

pytestmark = pytest.mark.postgresql
SECONDS = 10.0  # of a lease, by the clocks that the tests move


@dataclass
class Clock:
    """One that a test moves."""

    now: float = 1_000.0

    def __call__(self):
        """What it shows."""
        return self.now


@pytest.fixture
def engine():
    """All of these are about PostgreSQL."""
    return "postgresql"


@pytest.fixture
def make_seat(url, monkeypatch):
    """Seats over one ledger, each with its clock; as if they were on different machines."""
    monkeypatch.setattr("slo_budget_tracker.seats.has_ended", lambda _: False)
    made = []

    def make(*, seconds=SECONDS, clock=None, of=url):
        seat = Seat(Database.of(of), seconds=seconds, clock=clock or Clock())
        made.append(seat)
        return seat

    yield make
    for seat in made:
        seat.close()


def wait_out(seat):
    """Let its patience pass, as it looks."""
    seat._clock.now += SECONDS


def test_the_first_one_leads_and_the_second_follows(make_seat):
    """The lease is taken at once when it is nobody's; each says who leads."""
    first, second = make_seat(), make_seat()
    assert (True, False) == (first.attempt(), second.attempt())
    assert Role(leads=True, term=1, leader=first.role.leader) == first.role
    assert Role(leads=False, term=1, leader=first.role.leader) == second.role
    assert (True, False) == (first.valid(), second.valid())


def test_a_lease_that_still_beats_is_not_taken(make_seat):
    """Whoever waits begins to wait anew with each beat."""
    first, second = make_seat(), make_seat()
    first.attempt()
    second.attempt()
    for _ in range(3):
        wait_out(second)
        with first._opened().begin():
            assert leases.renew(first._opened(), 1)
        assert not second.attempt()
    wait_out(second)
    assert second.attempt()
    assert 2 == second.role.term


def test_a_leader_acts_for_less_than_its_lease(make_seat):
    """A tenth of the lease is left for clocks of different speed: nobody else leads before."""
    seat = make_seat()
    assert seat.attempt()
    seat._clock.now += 0.89 * SECONDS
    assert seat.valid()
    seat._clock.now += 0.02 * SECONDS
    assert not seat.valid()


def test_a_released_lease_is_taken_at_once(make_seat):
    """A clean end leaves no gap."""
    first, second = make_seat(), make_seat()
    first.attempt()
    assert not second.attempt()
    first.release()
    assert (False, True, True) == (first.valid(), first.over.is_set(), second.attempt())


LEADER = (
    "import sys, time; from slo_budget_tracker.seats import Seat; from slo_budget_tracker.databases import Database\n"
    "seat = Seat(Database.of(sys.argv[1]), seconds=3600); seat.attempt(); sys.stdout.flush(); time.sleep(3600)"
)


def test_a_dead_leader_of_the_same_machine_is_not_waited_for(url):
    """A daemon that was killed and restarted leads again at once."""
    with subprocess.Popen([sys.executable, "-c", LEADER, url], stdout=subprocess.PIPE, text=True) as leader:
        assert "leading" in leader.stdout.readline()
        seat = Seat(Database.of(url), seconds=3600)
        assert not seat.attempt()
        leader.kill()
        leader.wait()
        assert seat.attempt()
        seat.close()


def test_the_lease_is_kept_beside_a_long_transaction(make_seat, url):
    """Beats and transactions do not wait for each other."""
    seat = make_seat(seconds=1.0, clock=uptime)
    assert seat.attempt()
    seat.keep()
    with Ledger.open(url, term=seat.term) as ledger, ledger.transaction():
        before = seat._until
        until(lambda: seat._until > before + 1.0, what="beats")
        assert seat.valid()


def test_a_leader_that_lost_its_lease_knows_it_with_its_next_beat(make_seat):
    """The old one's term is over once another one has begun."""
    first, second = make_seat(seconds=1.0, clock=uptime), make_seat(seconds=1.0)
    assert first.attempt()
    second.attempt()
    second._clock.now += 1.0
    assert second.attempt()
    first.keep()
    assert first.over.wait(30)
    assert (False, False) == (first.valid(), first.role.leads)


def test_a_paused_leader_within_a_transaction_is_in_nobodys_way(make_seat, url):
    """Its sessions are ended by the one who takes over, and what it had begun is undone."""
    first, second = make_seat(), make_seat()
    assert first.attempt()
    with Ledger.open(url, term=first.term) as old:
        registered(old)
        old.commit(Entry(cursors={"feed": 1}))
        with pytest.raises(LedgerError), old.transaction() as connection:  # noqa: PT012 - the last line raises
            connection.exec_driver_sql("UPDATE cursor SET instant = 2")
            second.attempt()
            wait_out(second)
            assert second.attempt()
            with Ledger.open(url, term=second.term) as new:
                assert 1 == new.cursor("feed")
                new.commit(Entry(cursors={"feed": 3}))
                connection.exec_driver_sql("UPDATE cursor SET instant = 4")
        with pytest.raises(LedgerDeposed, match="is led by"):
            old.commit(Entry(cursors={"feed": 5}))
    with Ledger.open(url, read_only=True) as ledger:
        assert 3 == ledger.cursor("feed")


def test_of_many_that_wait_one_leads(make_seat):
    """All see the same beat stand still; the term goes up once."""
    first, waiting = make_seat(), [make_seat() for _ in range(4)]
    first.attempt()
    for seat in waiting:
        seat.attempt()
        wait_out(seat)
    took = []
    threads = [threading.Thread(target=lambda seat=seat: took.append(seat.attempt())) for seat in waiting]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [False, False, False, True] == sorted(took)


def test_a_server_out_of_reach_is_one_sentence_and_the_lease_goes_on_afterwards(make_seat, postgresql, url):
    """While nobody else takes it, the term survives a cut."""
    with Proxy(postgresql.port) as proxy:
        through = url.replace(f":{postgresql.port}/", f":{proxy.port}/")
        seat, other = make_seat(seconds=1.0, clock=uptime, of=through), make_seat(of=through)
        assert seat.attempt()
        seat.keep()
        proxy.break_off()
        with pytest.raises(LedgerError, match="is out of reach"):
            other.attempt()
        until(lambda: not seat.valid(), what="the lease's end")
        assert not seat.over.is_set()
        proxy.mend()
        until(seat.valid, what="the next beat")
        assert 1 == seat.role.term


def test_an_old_leader_that_wakes_before_a_post_does_not_send(make_seat, url, monkeypatch):
    """Paused between the note that an event is attempted and its request: it is sent once, by the one who leads."""
    first, second = make_seat(), make_seat()
    with NearAuditStream() as near:
        assert first.attempt()
        with Ledger.open(url, term=first.term) as old:
            happen(old, numbers=range(1, 4))
            paused, woken = threading.Event(), threading.Event()
            attempt = Outbox.attempt

            def stopped(outbox, parcel, *, at):
                attempt(outbox, parcel, at=at)
                if threading.current_thread().name == "audit delivery" and not paused.is_set():
                    paused.set()
                    assert woken.wait(60)

            monkeypatch.setattr(Outbox, "attempt", stopped)
            sleeper = delivery_of(old, near.url, may_send=first.valid).start()
            assert paused.wait(30)
            second.attempt()
            wait_out(second)
            first._clock.now += SECONDS  # time passes for a paused process too
            assert second.attempt()
            with Ledger.open(url, term=second.term) as new:
                delivery = delivery_of(new, near.url, may_send=second.valid).start()
                drained(delivery)
                woken.set()
                wait_for(lambda: sleeper._trouble, what="the old one's trouble")
                assert "lease has run out" in sleeper._trouble
                delivery.stop()
            sleeper.stop()
        assert expected([1, 2, 3]) == story(near.get("/events").json())
