"""What expressions say of ticks that are over: one question for ten of them, and each judged by itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from slo_budget_tracker.answers import RangeQuery
from slo_budget_tracker.errors import LedgerError, QueryFailed, Unreachable
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.stepping import Stepper
from slo_budget_tracker.ticks import Outcome
from tests.unit.serving import BEGIN, INTERVAL, Server, after, evaluator, ratio

TICKS = 32  # the block of the first ten ticks is over, compared, and so is the next one


@dataclass
class Said:
    """What an expression says by tick; `later` holds from the tick on that `since` names."""

    first: dict[int, float | None]
    later: dict[int, float | None] = field(default_factory=dict)
    since: int = 12
    now: int = 0

    def __call__(self, at):
        """The value at a data instant."""
        tick = (at - BEGIN) // INTERVAL
        if self.now >= self.since and tick in self.later:
            return self.later[tick]
        return self.first.get(tick, 0.0)


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def run(ledger, said, *, server=None, ticks=TICKS, slos=None):
    """Live ticks over expressions by SLO name; the reports."""
    server = server or Server()
    server.values |= {f"ratio_{name}": one for name, one in said.items()}
    cycle = evaluator(server, ledger, *(slos or map(ratio, said)))
    reports = []
    for tick in range(1, ticks + 1):
        for one in said.values():
            one.now = tick
        reports.append(cycle.advance(after(tick)))
    return reports


def bad(ledger, instance, ticks=TICKS):
    """The ticks that are not all good, with their bad part; None where nothing is known."""
    found = {}
    for tick in range(1, ticks + 1):
        one = ledger.history.window(after(tick), [INTERVAL], ids=[instance])[instance][INTERVAL]
        if one.bad or not one.known:
            found[tick] = one.bad if one.known else None
    return found


def revisions(ledger):
    """SLO, number of ticks, bad before and after of each revision."""
    found = [event for event in ledger.events() if event.kind == "slo_burn_revised"]
    parts = [(event.slo, event.payload["revised"]) for event in found]
    return [(slo, one["ticks"], one["before"]["bad"], one["after"]["bad"]) for slo, one in parts]


def ranges(server):
    """The range queries that were asked."""
    return [query for query in server.asked if isinstance(query, RangeQuery)]


def test_a_tick_in_the_middle_of_a_block_is_corrected(ledger):
    """D16: what an expression says later of the fourth of ten ticks is counted, and told once."""
    run(ledger, {"one": Said({}, {4: 0.5})})
    assert {4: 0.5} == bad(ledger, 1)
    assert [("one", 1, 0, 0.5)] == revisions(ledger)


def test_what_was_said_to_fail_stays_so(ledger):
    """P23, I2: a tick with fewer failures than it had keeps them, tells a doubt, and does not stop the others."""
    reports = run(ledger, {"one": Said({3: 0.5, 5: 0.25}, {3: 0.25, 5: 0.75, 7: 1.0})})
    assert {3: 0.5, 5: 0.75, 7: 1.0} == bad(ledger, 1)
    assert [("one", 2, 0.25, 1.75)] == revisions(ledger)
    assert 1 == sum(report.doubts["inconsistent"] for report in reports)


def test_one_slo_of_a_batch_does_not_stop_another(ledger):
    """P23, D16: where one SLO would lose failures, another of the same request is corrected."""
    run(ledger, {"one": Said({3: 0.5}, {3: 0.25}), "two": Said({6: None}, {6: 1.0})})
    assert [{3: 0.5}, {6: 1.0}] == [bad(ledger, 1), bad(ledger, 2)]
    assert [("two", 1, 0, 1)] == revisions(ledger)


def test_a_tick_without_an_answer_is_asked_about_once_more(ledger):
    """P19, P21: a server that has less just now takes nothing away; what it says later is counted."""
    said = Said({6: 0.25}, {5: 0.5, 6: None}, since=12)
    server = Server(values={"ratio_one": said})
    cycle = evaluator(server, ledger, ratio("one"))
    for tick in range(1, 45):
        said.now = tick
        if tick == 22:
            said.later = {5: 0.5, 6: 0.75}
        cycle.advance(after(tick))
    assert {5: 0.5, 6: 0.75} == bad(ledger, 1, 44)
    assert [("one", 1, 0, 0.5), ("one", 1, 0.25, 0.75)] == revisions(ledger)


def test_a_server_that_lost_its_data_takes_nothing_away(ledger):
    """P21, I2: whatever was known of a block stays, and after some tries nobody asks about it again."""
    server = Server()
    reports = run(ledger, {"one": Said({4: 0.5}, dict.fromkeys(range(1, 11)))}, server=server, ticks=120)
    assert {4: 0.5} == bad(ledger, 1, 120)
    assert [] == revisions(ledger)
    of_first = [query for query in ranges(server) if query.end == after(10)]
    assert 2 <= len(of_first) <= 6
    assert len(of_first) == sum(report.doubts["inconsistent"] for report in reports)
    assert max(query.end for query in ranges(server)) >= after(100)  # younger blocks are compared again


def test_an_answer_in_part_is_replaced_by_the_whole(ledger):
    """P17: a tick that was read with a warning becomes what the whole answer says, more or less."""
    server = Server(values={"ratio_one": Said({3: 0.5, 4: 0.25}, {3: 0.125, 4: 0.75})})
    said = server.values["ratio_one"]

    def ask(query):
        return replace(server(query), partial=said.now in {3, 4})

    cycle = evaluator(ask, ledger, ratio("one"))
    for tick in range(1, TICKS + 1):
        said.now = tick
        cycle.advance(after(tick))
    assert {3: 0.125, 4: 0.75} == bad(ledger, 1)
    assert 0 == ledger.outcomes(1)[Outcome.PARTIAL]


def test_what_was_said_before_a_restart_is_compared_too(ledger):
    """D16, P19: what came late while the daemon was away, or was given up before, is asked about by the next one."""
    said = Said({3: None, 7: 0.25}, {3: 0.0, 7: 0.5, 11: 1.0})
    server = Server(values={"ratio_one": said})
    evaluator(server, ledger, ratio("one")).advance(after(11))
    said.now = 12
    cycle = evaluator(server, ledger, ratio("one"))
    for tick in range(12, TICKS + 1):
        cycle.advance(after(tick))
    assert {7: 0.5, 11: 1.0} == bad(ledger, 1)
    assert TICKS * INTERVAL == ledger.outcomes(1)[Outcome.OK]


def test_groups_are_corrected_together(ledger):
    """D16, I2: of an SLO with groups a tick is taken as a whole or not at all, so that the sum is that of its parts."""
    grouped = ratio("one").model_copy(update={"group_by": ("handler",)})
    first = {tick: {"a": 0.5, "b": 0.0} for tick in range(1, TICKS + 1)}
    said = Said(first, {4: {"a": 0.25, "b": 1.0}, 6: {"a": 0.5, "b": 0.5}})
    run(ledger, {"one": said}, slos=[grouped])
    parts = [bad(ledger, instance) for instance in (1, 2, 3)]
    assert {one.get(4, 0.0) for one in parts} == {0.5, 0.0}
    assert [1.0, 0.5, 0.5] == [one[6] for one in parts]
    assert all(one.get(tick, 0) == a.get(tick, 0) + b.get(tick, 0) for one, a, b in [parts] for tick in first)


def test_ten_ticks_of_a_batch_are_one_question(ledger):
    """D16: in a hundred ticks a batch is asked a hundred times for the newest value, and ten times for ten of them."""
    server = Server()
    run(ledger, {f"s{number}": Said({}) for number in range(10)}, server=server, ticks=100)
    assert 9 == len(ranges(server))
    assert {9 * INTERVAL} == {query.end - query.start for query in ranges(server)}
    assert 100 == sum("label_replace" in query.expression for query in server.asked) - len(ranges(server))


def test_batches_take_turns(ledger):
    """T13, D16: hundreds of expressions are not asked about the past in the same tick."""
    server, busy = Server(), Counter()
    said = {f"s{number}": Said({}) for number in range(200)}
    server.values |= {f"ratio_{name}": one for name, one in said.items()}
    cycle = evaluator(server, ledger, *map(ratio, said))
    for tick in range(1, 31):
        before = len(ranges(server))
        cycle.advance(after(tick))
        busy[tick] = len(ranges(server)) - before
    assert {20, 40} >= {sum(busy[tick] for tick in some) for some in (range(15, 20), range(15, 30))}
    assert max(busy.values()) < 12


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Unreachable("no answer", reason="timeout"), id="takes too long"),
        pytest.param(QueryFailed("too many samples", reason="execution"), id="is too much"),
    ],
)
def test_what_is_too_much_at_once_is_compared_at_the_tenth_tick(ledger, error):
    """P12, D16: an expression that cannot be asked about ten ticks at once is asked about one, for longer and longer."""
    server = Server(trouble=lambda query: error if isinstance(query, RangeQuery) else None)
    reports = run(ledger, {"one": Said({}, {4: 1.0, 10: 0.5})}, server=server, ticks=200)
    assert {10: 0.5} == bad(ledger, 1, 200)
    assert all(not report.errors for report in reports)
    assert len(ranges(server)) <= 5


def test_a_correction_waits_while_the_disk_is_full(ledger, monkeypatch):
    """S3, D16: a revision of an expression that cannot be written is made again when there is space, and told once."""
    write, broken = Stepper._write, []

    def full(stepper, piece, report):
        if any(one.kind == "slo_burn_revised" for one in piece.transitions) and len(broken) < 3:
            broken.append(1)
            report.store_error = LedgerError("the disk is full")
            return {}
        return write(stepper, piece, report)

    monkeypatch.setattr(Stepper, "_write", full)
    run(ledger, {"one": Said({}, {4: 0.5})})
    assert (3, {4: 0.5}) == (len(broken), bad(ledger, 1))
    assert [("one", 1, 0, 0.5)] == revisions(ledger)
