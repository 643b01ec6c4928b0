"""What moves between shards while things go wrong or change at the same time: nobody waits in silence, nothing is lost."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from slo_budget_tracker import moves as moving
from slo_budget_tracker.backfill import fillers
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.instances import fill_key
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.shards import owner
from slo_budget_tracker.slis import CompositeSli, Member
from tests.real.fleets import NAMES, SLOS, expected, figures
from tests.real.lives import EmptyPrometheus, Life
from tests.unit.cycling import settings
from tests.unit.serving import INTERVAL, Server, availability, seconds_of, traffic

pytestmark = pytest.mark.postgresql


@pytest.fixture
def logged():
    """The lines of one event."""
    with capture_logs() as lines:
        yield lambda event: [line for line in lines if line["event"] == event]


@pytest.fixture
def journey(fleet):
    """A composite that a reload brings, over an SLO of each of two shards; its name and theirs."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(5)
    placed = fleet.placed()
    members = [next(name for name in NAMES if placed[name] == index) for index in range(2)]
    sli = CompositeSli(members=tuple(Member(slo=one) for one in members))
    fleet.slos = [*SLOS, availability("a-journey", sli=sli)]
    return ["a-journey", *members]


def test_a_journey_brings_its_members_together(fleet, journey, alone):
    """Over members of two shards: who has one lets go of it when the other asks, and no count, no tick is lost."""
    placed = fleet.placed()
    for cycle in fleet.running.values():
        cycle.adopt(settings(), fleet.slos)
    for _ in range(2):
        for cycle in fleet.running.values():
            cycle.gather()
    found = fleet.placed()
    assert 1 == len({found[name] for name in journey})
    assert 1 == sum(placed[name] != found[name] for name in NAMES)
    fleet.tick(5)
    assert alone(10) == {name: one for name, one in figures(fleet).items() if name in NAMES}
    assert 1 == len({one.evaluated_at for one in fleet.snapshots().values()})


def test_a_journey_that_is_gone_sets_its_members_free(fleet, journey, alone):
    """They go back to where they were, with their counts."""
    placed = fleet.placed()
    for slos in (fleet.slos, SLOS):
        for cycle in fleet.running.values():
            cycle.adopt(settings(), slos)
        for _ in range(2):
            for cycle in fleet.running.values():
                cycle.gather()
    assert placed == fleet.placed()
    fleet.tick(5)
    assert alone(10) == figures(fleet)


def test_nobody_lets_go_of_what_its_own_files_leave_with_it(fleet, journey):
    """One shard has read the new files, the other one has not (yet): everything is evaluated where it was."""
    placed = fleet.placed()
    head = owner(min(journey), of=2)
    fleet.running[head].adopt(settings(), fleet.slos)
    for cycle in fleet.running.values():
        cycle.gather()
    assert placed == fleet.placed()
    fleet.running[head].adopt(settings(), SLOS)  # and now it asks for nothing any more
    fleet.running[1 - head].adopt(settings(), fleet.slos)
    for cycle in fleet.running.values():
        cycle.gather()
    assert placed == fleet.placed()


def test_what_was_let_go_of_is_let_go_of_once(fleet, journey):
    """Whoever asked for it is away: the other one does not begin anew at each look, and it is taken later."""
    for cycle in fleet.running.values():
        cycle.adopt(settings(), fleet.slos)
    head = owner(min(journey), of=2)
    fleet.running[1 - head].gather()
    asked = fleet.placed().keys() ^ set(NAMES)
    fleet.stop(head)
    evaluator = fleet.running[1 - head].evaluator
    for _ in range(3):
        fleet.running[1 - head].gather()
    assert evaluator is fleet.running[1 - head].evaluator
    fleet.start(head, 2)
    assert asked | {"a-journey", *NAMES} == fleet.placed().keys()


def test_claims_of_an_older_version_are_understood(fleet, journey, postgresql):
    """Their table has no column for what others want."""
    for index in range(2):
        fleet.stop(index)
    postgresql.sql(f"ALTER TABLE {fleet.base.namespace}.claim DROP COLUMN wanted")
    for _ in range(2):
        for index in range(2):
            fleet.start(index, 2)
    found = fleet.placed()
    assert 1 == len({found[name] for name in journey})


def fill_in_part(fleet, index):
    """The newest chunk of a past, and no more."""
    cycle = fleet.running[index]
    (filler,) = fillers(cycle.evaluator)
    filled = filler.step(cycle.patient_asks(), workers=1)
    cursors = {fill_key(cycle.evaluator.ids[slo]): filled.filled_to for slo in filled.slos}
    cycle.evaluator.ledger.commit(Entry(rows=filled.rows, cursors=cursors))
    return filled.filled_to


def test_a_first_fill_goes_on_where_the_other_shard_was(fleet):
    """What was filled before the move is not asked again; what was not is, and the figures are whole."""
    fleet.server.db = traffic(Server().db, broken=(0, 1_800), before=20 * 3_600)
    fleet.start(0, 1)
    fleet.fill(fleet.running[0])
    whole = figures(fleet)
    fleet.stop(0)
    clock = fleet.clock.now
    fleet.reset()
    fleet.clock.now = clock
    fleet.start(0, 1)
    until = fill_in_part(fleet, 0)
    fleet.start(0, 2)
    asked = len(fleet.server.asked)
    fleet.start(1, 2)
    for cycle in fleet.running.values():
        fleet.fill(cycle)
    later = [query for query in fleet.server.asked[asked:] if query.at > until + INTERVAL]
    assert [] == [query for query in later if seconds_of(query) > 30 * INTERVAL]
    assert whole == figures(fleet)


def test_slos_of_a_ledger_that_was_dropped_begin_anew(fleet, postgresql, logged):
    """A shard that is gone with its schema: its SLOs are evaluated by the others, and that counts are lost is said."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(2)
    lost = [name for name, index in fleet.placed().items() if index == 1]
    fleet.stop(1)
    postgresql.sql(f"DROP SCHEMA {fleet.base.namespace}_shard_1 CASCADE")
    fleet.start(0, 1)
    assert dict.fromkeys(NAMES, 0) == fleet.placed()
    (told,) = logged("taken over without counts")
    detail = f"the ledger {fleet.base.namespace}_shard_1 is gone"
    assert (len(lost), detail) == (told["slos"], told["detail"])


def test_a_ledger_that_was_dropped_under_its_shard_is_not_taken(fleet, postgresql, logged):
    """While that shard runs its SLOs are waited for, and that is said."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(2)
    running = fleet.running.pop(1)
    postgresql.sql(f"DROP SCHEMA {fleet.base.namespace}_shard_1 CASCADE")
    fleet.start(0, 1)
    assert {0} == set(fleet.placed().values())
    assert len(fleet.placed()) < len(NAMES)
    (told,) = logged("not taken over")
    assert "is gone, and its shard still runs: end it" in told["detail"]
    running.evaluator.ledger.close()
    for _ in range(20):
        fleet.running[0].gather()
    assert dict.fromkeys(NAMES, 0) == fleet.placed()


def test_what_cannot_be_taken_back_is_tried_again(fleet, monkeypatch, logged):
    """Let go of, wanted back, and the ledger fails in between: the shard starts with the others, and takes it later."""
    fleet.start(0, 1)
    fleet.tick(2)
    fleet.start(0, 2)
    few = fleet.placed()
    adopt = moving.handovers.adopt

    def fails(*_, **__):
        raise LedgerError("the disk is full")

    monkeypatch.setattr(moving.handovers, "adopt", fails)
    fleet.start(0, 1)
    assert few == fleet.placed()
    assert ["the disk is full"] == [line["detail"] for line in logged("not taken over")]
    monkeypatch.setattr(moving.handovers, "adopt", adopt)
    for _ in range(20):
        fleet.running[0].gather()
    assert set(NAMES) == set(fleet.placed())


def claimed(fleet, postgresql):
    """The names of all claims."""
    return set(postgresql.sql(f"SELECT slo FROM {fleet.base.namespace}.claim").split())


def test_an_slo_that_is_removed_on_its_way_is_retired_by_whose_it_would_be(fleet, postgresql):
    """Let go of by one, then gone from all files before the other took it: one event, and no claim is left."""
    fleet.start(0, 1)
    fleet.tick(2)
    fleet.start(0, 2)
    gone = next(name for name, index in expected(2).items() if index == 1)
    fleet.slos = [slo for slo in SLOS if slo.name != gone]
    fleet.start(0, 2)
    fleet.start(1, 2)
    assert ({slo.name for slo in fleet.slos}, set(NAMES) - {gone}) == (
        set(fleet.placed()),
        claimed(fleet, postgresql),
    )
    assert ["slo_retired"] == [
        kind for events in fleet.events(gone) for _, kind in events if "retired" in kind
    ]


def test_slos_of_a_shard_that_is_gone_for_good_are_retired_when_they_are_removed(fleet, postgresql):
    """From 3 to 2, and some SLOs are removed at the same time."""
    for index in range(3):
        fleet.start(index, 3)
    fleet.tick(2)
    gone = [name for name, index in fleet.placed().items() if index == 2]
    for index in range(3):
        fleet.stop(index)
    fleet.slos = [slo for slo in SLOS if slo.name not in gone]
    for index in range(2):
        fleet.start(index, 2)
    assert set(NAMES) - set(gone) == claimed(fleet, postgresql)
    for name in gone:
        told = [kind for events in fleet.events(name) for _, kind in events]
        assert 1 == told.count("slo_retired")


def test_a_daemon_without_a_shard_does_not_evaluate_what_shards_have(fleet, tmp_path):
    """One sentence with the three ways to go on, status 2."""
    for index in range(2):
        fleet.start(index, 2)
    empty = EmptyPrometheus()
    life = Life(tmp_path, empty.url)
    url = f"{fleet.base.url.render_as_string(hide_password=False)}?namespace={fleet.base.namespace}"
    try:
        life.spawn(env={"SLO_BUDGET_TRACKER_LEDGER__URL": url})
        assert 2 == life.process.wait(timeout=60)
    finally:
        life.kill()
        empty.close()
    assert (
        "is shared by shards (0, 1 have its SLOs): start this daemon as one of them with --shard" in life.said
    )
    assert "Traceback" not in life.said


def test_who_reads_the_shared_place_is_told_where_the_ledgers_are(fleet):
    """Commands read one shard's ledger: the name of one is in the sentence."""
    fleet.start(1, 2)
    with pytest.raises(
        LedgerError, match=f"name one by ledger.namespace, such as {fleet.base.namespace}_shard_1$"
    ):
        Ledger.open(fleet.base, read_only=True)
