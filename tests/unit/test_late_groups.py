"""Groups whose first samples come late: they are counted as whoever was there in time counts them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.groups import key_of
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, PromqlSli, RequestsSli
from slo_budget_tracker.ticks import Outcome
from tests.property.histories import BEGIN, DELAY, INTERVAL, after
from tests.simulator import Simulator

TICKS = 40
REQUESTS = RequestsSli(total=(parse_selector("requests"),), bad=(parse_selector('requests{code="500"}'),))
SLOS = tuple(
    SLO(name=name, target=Decimal("0.9"), window=3_600, sli=sli, group_by=("handler",), max_groups=2)
    for name, sli in (("shop", REQUESTS), ("mood", PromqlSli(error_ratio="mood", window=300)))
)


def served(*pays, late=range(0), seconds=0):
    """Two scrapes a tick of a pod with one handler, and from tick to tick of further ones; some arrive late."""
    simulator = Simulator()
    pod = {"job": "shop", "instance": "a:80"}
    for number in range(-30, 2 * TICKS):
        time = (BEGIN + number * 30) * 1000 + 5_000
        arrives = time / 1000 + seconds if number // 2 + 1 in late else 0
        simulator.put("up", pod, time, 1, arrives=arrives)
        simulator.put("process_start_time_seconds", pod, time, BEGIN - 90_000, arrives=arrives)
        for handler, ticks in (("/", range(-20, TICKS + 1)), *pays):
            if number // 2 + 1 in ticks:
                grown = 10 * (number + 2 - 2 * ticks[0] + 1)
                labels = {**pod, "handler": handler}
                simulator.put("requests", {**labels, "code": "200"}, time, grown, arrives=arrives)
                simulator.put("requests", {**labels, "code": "500"}, time, grown / 10, arrives=arrives)
                simulator.put("mood", {**labels}, time, 0.5, arrives=arrives)
    return simulator


def lived(simulator, *, late):
    """The counts of all instances, tick by tick, and how often something was inconsistent."""
    asks = {"default": simulator.ask}
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(SLOS, ledger, asks, interval=INTERVAL, delay=DELAY, workers=1).prepare(BEGIN)
        doubts = 0
        for tick in range(1, TICKS + 1):
            simulator.arrive(after(tick) + DELAY if late else float("inf"))
            doubts += one.advance(after(tick)).doubts.get("inconsistent", 0)
        windows = [ledger.history.window(after(tick), [INTERVAL]) for tick in range(1, TICKS + 1)]
        found = {
            key: [(w[at][INTERVAL].total, w[at][INTERVAL].bad, w[at][INTERVAL].known) for w in windows]
            for key, at in one.ids.items()
        }
        return found, doubts


@pytest.mark.parametrize(
    ("pays", "late"),
    [
        pytest.param(range(8, TICKS + 1), range(8, 11), id="it goes on"),
        pytest.param(range(8, 10), range(8, 11), id="it ends before anybody has seen it"),
    ],
)
def test_a_group_whose_first_scrapes_come_late_is_counted_from_its_first(pays, late):
    """D16: what came before a group was first seen is its own, and nothing is thought to be taken away."""
    simulator = served(("/pay", pays), late=late, seconds=200)
    expected, _ = lived(served(("/pay", pays)), late=False)
    found, doubts = lived(simulator, late=True)
    assert key_of("shop", (("handler", "/pay"),)) in found
    assert expected == found
    assert doubts == 0


def test_a_group_that_ends_after_late_scrapes_keeps_no_other_away():
    """D16: scrapes seem to be rare where some are late, so what ended is thought to be there a little longer."""
    pays = [("/pay", range(-20, 13))]
    expected, _ = lived(served(*pays), late=False)
    found, _ = lived(served(*pays, late=range(10, 11), seconds=100), late=True)
    assert expected["shop"] == found["shop"]
    assert expected[key_of("shop", (("handler", "/pay"),))] == found[key_of("shop", (("handler", "/pay"),))]


def test_a_group_for_which_the_ledger_has_no_place_is_counted_later(monkeypatch):
    """D16, S3: a disk that is full just when a late group is to be written down keeps nothing away for good."""
    register, full = Ledger.register_all, [LedgerError("disk full"), LedgerError("disk full")]

    def register_all(self, wanted, *, at):
        if full and any(labels.get("handler") == "/pay" for _, labels, _ in wanted):
            raise full.pop()
        return register(self, wanted, at=at)

    pays = [("/pay", range(8, 10))]
    expected, _ = lived(served(*pays), late=False)
    monkeypatch.setattr(Ledger, "register_all", register_all)
    found, _ = lived(served(*pays, late=range(8, 11), seconds=200), late=True)
    assert (expected, []) == (found, full)


def test_more_groups_than_there_may_be_are_none_of_late_data_either():
    """D17: two new groups come late where one is left: neither is one, and the whole is as it would have been in time."""
    pays = [("/a", range(8, 10)), ("/b", range(8, 10))]
    expected, _ = lived(served(*pays), late=False)
    found, _ = lived(served(*pays, late=range(8, 11), seconds=200), late=True)
    assert {"shop", "mood", *(key_of(slo, (("handler", "/"),)) for slo in ("shop", "mood"))} == found.keys()
    assert expected["shop"] == found["shop"]


@pytest.mark.parametrize("look_back", [300, 60])
def test_a_group_that_an_expression_has_at_some_late_ticks_alone_begins_there(look_back):
    """D16, T12: the other ticks of the ten say nothing new, and are not asked for where the group begins."""
    worlds = served(("/pay", range(12, 14))), served(("/pay", range(12, 14)), late=range(12, 14), seconds=450)
    for simulator in worlds:
        simulator.look_back = look_back
    expected, found = (lived(one, late=late)[0] for one, late in zip(worlds, (False, True), strict=True))
    for key in ("mood", *(key_of("mood", (("handler", handler),)) for handler in ("/", "/pay"))):
        assert (key, expected[key]) == (key, found[key])


def ended(simulator, *, late, restart=False):
    """What the ticks of each instance were, and what is left of its budget where silence is bad.

    The daemon may be started again after the first tick that could not be written.
    """
    asks = {"default": simulator.ask}
    slos = [slo.model_copy(update={"no_data": "bad"}) for slo in SLOS]
    with Ledger.open("sqlite://") as ledger:
        one = Evaluator(slos, ledger, asks, interval=INTERVAL, delay=DELAY, workers=1).prepare(BEGIN)
        for tick in range(1, TICKS + 1):
            simulator.arrive(after(tick) + DELAY if late else float("inf"))
            report = one.advance(after(tick))
            if report.store_error is not None and restart:
                one = Evaluator(slos, ledger, asks, interval=INTERVAL, delay=DELAY, workers=1)
                one.prepare(after(tick))
            snapshots = report.snapshots
        left = {key_of(s.name, s.labels.items()): s.error_budget_remaining for s in snapshots}
        return {key: (ledger.outcomes(at), left[key]) for key, at in one.ids.items()}


@pytest.mark.parametrize("look_back", [300, 60])
def test_a_group_whose_data_come_late_has_no_data_from_its_end_on(look_back):
    """D16: not only in the ticks since it was found; and with `no_data: bad` that is no better than in time."""
    worlds = served(("/pay", range(12, 18))), served(("/pay", range(12, 18)), late=range(12, 18), seconds=290)
    for simulator in worlds:
        simulator.look_back = look_back
    expected, found = (ended(one, late=late) for one, late in zip(worlds, (False, True), strict=True))
    assert expected == found


@pytest.fixture
def full(monkeypatch):
    """A ledger that has no place for the first rows of `/pay`: by SLO, the commits that failed."""
    register, commit, enrolled, failed = Ledger.register_all, Ledger.commit, [], []

    def register_all(self, wanted, *, at):
        enrolled.extend(slo for slo, labels, _ in wanted if labels.get("handler") == "/pay")
        return register(self, wanted, at=at)

    def commits(self, entry, **options):
        if enrolled:
            failed.append(enrolled.pop())
            raise LedgerError("disk full")
        return commit(self, entry, **options)

    monkeypatch.setattr(Ledger, "register_all", register_all)
    monkeypatch.setattr(Ledger, "commit", commits)
    return failed


def test_a_late_group_whose_rows_the_ledger_has_no_place_for_is_counted_later(full):
    """D16, S3: a disk that is full when a late group was enrolled already leaves none of its ticks missed."""
    worlds = served(("/pay", range(12, 18))), served(("/pay", range(12, 18)), late=range(12, 18), seconds=290)
    for simulator in worlds:
        simulator.look_back = 60
    found = ended(worlds[1], late=True)
    assert {"shop", "mood"} == set(full)
    assert {0} == {outcomes[Outcome.MISSED] for outcomes, _ in found.values()}
    for key, (outcomes, left) in ended(worlds[0], late=False).items():
        assert (key, outcomes[Outcome.OK], left) == (key, found[key][0][Outcome.OK], found[key][1])


def test_a_group_whose_rows_were_never_written_has_no_data_after_a_restart(full):
    """D16, S3: what the ledger had no place for is not asked for again; that it has no data is said all the same."""
    simulator = served(("/pay", range(12, 18)), late=range(12, 18), seconds=290)
    simulator.look_back = 60
    found = ended(simulator, late=True, restart=True)
    assert full
    assert {0} == {outcomes[Outcome.MISSED] for outcomes, _ in found.values()}
