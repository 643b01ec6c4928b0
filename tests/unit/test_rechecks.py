"""Data that came late: found by looking at a tenth of the samples again, counted once, and told as a revision."""

from __future__ import annotations

from bisect import bisect_right

import pytest

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.errors import LedgerError, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rechecks import Rechecks
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import ProbeSli
from slo_budget_tracker.stepping import Stepper
from slo_budget_tracker.ticks import Outcome
from tests.property.histories import BEGIN, DELAY, INTERVAL, SHOP, History, Pod, Watch, after, counts
from tests.simulator import Simulator

STEADY = Pod(-40, 400, frozenset(), (0, 0))
DYING = Pod(-40, 35, frozenset(), (28, 35))  # its last scrape is in tick 18, and everything fails at the end
EARLIER = Pod(-40, 19, frozenset(), (12, 19))  # in tick 10
TICKS = 30


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def watch(ledger, history, ticks, *, fault=None, during=range(0)):
    """Live ticks over a history; a fault during some of them."""
    simulator = history.simulate(2 * ticks)
    one = Watch(ledger, simulator)
    reports = [one.tick(tick, fault=fault if tick in during else None) for tick in range(1, ticks + 1)]
    return one, reports


def truth(history, ticks):
    """The counts of both SLOs, had everything been there in time."""
    simulator = history.simulate(2 * ticks)
    simulator.arrive(float("inf"))
    with Ledger.open("sqlite://") as ledger:
        Watch(ledger, simulator).tick(ticks)
        return [counts(ledger, instance, ticks) for instance in (1, 2)]


def nobody(_):
    """No answer."""
    raise Unreachable("no connection", reason="refused")


def revisions(ledger):
    """The revisions that were told: SLO, last tick, and what changed."""
    return [
        (event.slo, (event.created - BEGIN) // INTERVAL, event.payload["revised"])
        for event in ledger.events()
        if event.kind == "slo_burn_revised"
    ]


def test_the_last_samples_of_a_pod_may_come_late(ledger):
    """D16: they come minutes after the pod is gone, when no later sample can tell: found, counted and told once."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    _, reports = watch(ledger, history, TICKS)
    expected = truth(history, TICKS)
    assert expected[0] == counts(ledger, 1, TICKS)
    ((slo, _, revised),) = [one for one in revisions(ledger) if one[0] == "shop"]
    assert ("shop", 15, 35) == (
        slo,
        revised["after"]["bad"] - revised["before"]["bad"],
        revised["after"]["total"] - revised["before"]["total"],
    )
    assert 0 < sum(report.revised for report in reports) < 6


def test_what_was_sent_is_not_unsaid(ledger):
    """D16: an alert that fired on what was known stays fired, whatever the revision says; it is an event of its own."""
    failing = Pod(-40, 400, frozenset(), (20, 34))
    history = History((STEADY, failing), late=((24, 30, 150),))
    watch(ledger, history, TICKS)
    events = sorted(ledger.events(), key=lambda event: event.sequence)
    ids = [event.event_id for event in events]
    assert len(ids) == len(set(ids))
    shop = [event for event in events if event.slo == "shop"]
    assert list(range(1, len(shop) + 1)) == [event.sequence for event in shop]
    burns = [(e.kind, e.payload["severity"]) for e in shop if e.kind in {"slo_burn_started", "slo_recovered"}]
    for severity in ("page", "ticket"):
        turns = [kind for kind, of in burns if of == severity]
        assert ["slo_burn_started", "slo_recovered"] * (len(turns) // 2) == turns[: len(turns) // 2 * 2]


def test_an_empty_answer_is_taken_back(ledger):
    """P19: a backend short of memory answers that there is nothing; minutes later the ticks are known after all."""
    history = History((STEADY, DYING))
    watch(ledger, history, TICKS, fault="empty", during=range(13, 18))
    assert truth(history, TICKS) == [counts(ledger, instance, TICKS) for instance in (1, 2)]
    assert {Outcome.OK: TICKS * INTERVAL} == {k: v for k, v in ledger.outcomes(1).items() if v}


def test_nothing_is_concluded_from_an_empty_answer_soon_after_a_good_one(ledger):
    """P19: a block is not compared with a server that has nothing, though the last samples are recent still."""
    history = History((Pod(-40, 108, frozenset(), (3, 4)),), late=((21, 24, 196),))  # scrapes seem to be rare
    faults = dict.fromkeys((3, 10, 15, 16), "empty") | dict.fromkeys(range(11, 15), "partial")
    one = Watch(ledger, history.simulate(2 * TICKS))
    for tick in range(1, TICKS + 1):
        one.tick(tick, fault=faults.get(tick))
    assert truth(history, TICKS)[0] == counts(ledger, 1, TICKS)


def test_a_pod_that_comes_hides_no_late_scrape(ledger):
    """D16: a scrape of all pods is late; the one that is new then brings as many samples as the other lacks."""
    crashing = Pod(
        46, 108, frozenset({48}), (0, 0)
    )  # before its crash the late scrape alone tells of 20 requests
    history = History((STEADY, crashing), late=((47, 48, 218),))
    watch(ledger, history, 50)
    assert truth(history, 50)[0] == counts(ledger, 1, 50)


def test_a_fall_that_only_late_scrapes_tell_of_is_found_at_the_end_of_ten_ticks_too(ledger):
    """D16: the last scrape of a block is there, the one before it, up to which a crashed pod had grown, is late."""
    crashing = Pod(-40, 108, frozenset({39}), (0, 0))  # the second scrape of tick 20
    history = History((STEADY, crashing), late=((38, 39, 200),))
    watch(ledger, history, 50)
    assert truth(history, 50)[0] == counts(ledger, 1, 50)


def read(ledger, simulator, slo, ticks, **options):
    """Live ticks of one SLO; the samples that were read, and the counts of each tick."""
    one = Evaluator((slo,), ledger, {"default": simulator.ask}, workers=1, delay=DELAY, **options).prepare(
        BEGIN
    )
    samples = 0
    for tick in range(1, ticks + 1):
        simulator.arrive(after(tick) + DELAY)
        samples += one.advance(after(tick)).samples
    return samples, counts(ledger, 1, ticks)


def test_probes_that_come_late_in_the_middle_of_ten_ticks_are_counted(ledger):
    """D16: each is an event of its own, and no later one makes up for it."""
    probed = SHOP.model_copy(update={"sli": ProbeSli(up=(parse_selector('up{job="shop"}'),))})
    history = History((STEADY,), late=((26, 27, 200),))
    _, found = read(ledger, history.simulate(80), probed, 40)
    assert [(2.0, 0.0, 60)] * 40 == found


def test_probes_before_the_first_that_came_in_time_are_counted(ledger):
    """D16: a target of which the first probes come late is not the fewer for it."""
    probed = SHOP.model_copy(update={"sli": ProbeSli(up=(parse_selector('up{job="shop"}'),))})
    history = History((Pod(26, 200, frozenset(), (0, 0)),), late=((26, 29, 200),))
    simulator = history.simulate(80)
    steady = History((STEADY,)).simulate(80)
    for key, samples in steady.series.items():
        simulator.series[tuple((name, text.replace("pod-0", "pod-9")) for name, text in key)] = samples
    _, found = read(ledger, simulator, probed, 40)
    assert [(2.0, 0.0, 60)] * 13 + [(4.0, 0.0, 60)] * 27 == found


def test_probes_that_come_late_beside_a_failed_scrape_before_are_counted(ledger):
    """D16: a tick of one target lacks a scrape that nobody made, the next one of another has one too few, too."""
    probed = SHOP.model_copy(update={"sli": ProbeSli(up=(parse_selector('up{job="shop"}'),))})
    simulator = History((), gaps=((24, 25),)).simulate(80)
    for number, lacks in enumerate((25, 0)):
        for at in range(-30, 80):
            if at != lacks or not lacks:
                time = (BEGIN + at * 30) * 1000 + 5_000 + number * 1_700
                arrives = time / 1000 + 200 if number and at == 26 else 0
                simulator.put("up", {"job": "shop", "instance": f"{number}"}, time, 1, arrives=arrives)
    _, found = read(ledger, simulator, probed, 40)
    assert [(4.0, 0.0, 60)] * 12 + [(3.0, 0.0, 60)] + [(4.0, 0.0, 60)] * 27 == found


def test_what_the_other_replica_has_is_nothing_that_came_late(ledger):
    """D16, P23: of pods that come and go one replica is counted, and a tick with fewer samples is compared with that."""
    pods = tuple(Pod(at, at + 14, frozenset(), (0, 0)) for at in range(-6, 180, 7))
    simulator, both = History((STEADY, *pods)).simulate(200), Simulator()
    for key, (times, values) in simulator.series.items():
        for replica, later in (("a", 0), ("b", 3_000)):
            for time, value in zip(times, values, strict=True):
                labels = {name: text for name, text in key if name != "__name__"}
                both.put(dict(key)["__name__"], {**labels, "replica": replica}, time + later, value)
    with Ledger.open("sqlite://") as other:
        once, expected = read(other, simulator, SHOP, 100)
    twice, found = read(ledger, both, SHOP, 100, replica_labels={"default": "replica"})
    assert expected == found
    assert twice <= 2.1 * once


def test_of_many_thin_ticks_those_that_lack_most_are_looked_at(ledger):
    """D16: pods that end, one a tick, and then a scrape of all comes late before a crash."""
    ending = [Pod(-40, at, frozenset(), (0, 0)) for at in (23, 25, 27)]
    crashing = [Pod(-40, 108, frozenset({33}), (0, 0)) for _ in range(3)]
    history = History((STEADY, *ending, *crashing), late=((32, 33, 200),))
    watch(ledger, history, 40)
    assert truth(history, 40)[0] == counts(ledger, 1, 40)


def test_a_hole_waits_until_the_server_is_well_again(ledger):
    """P17, P19: answers in part for twenty minutes keep no block from being compared afterwards."""
    history = History((STEADY, STEADY))
    watch(ledger, history, 50, fault="partial", during=(3, *range(14, 36)))
    assert truth(history, 50)[0] == counts(ledger, 1, 50)


@pytest.mark.parametrize(("blocks", "hole"), [(1, 16), (5, 54), (6, 64), (7, 76)])
def test_a_hole_is_asked_about_however_often_recounts_were_in_vain(ledger, blocks, hole):
    """D16, P19: a late scrape in each block, which the next scrape made up for, keeps no tick from being filled."""
    history = History((STEADY,), late=tuple((4 + 20 * at, 5 + 20 * at, 85) for at in range(blocks)))
    watch(ledger, history, hole + 20, fault="empty", during=[hole])
    assert truth(history, hole + 20)[0] == counts(ledger, 1, hole + 20)


def test_a_recount_in_vain_does_not_hide_what_comes_late_next(ledger):
    """D16: a scrape that the next one made up for comes late, and in the next ten ticks the last ones of a pod."""
    history = History((STEADY, DYING), late=((4, 5, 85), (34, 35, 200)))
    watch(ledger, history, TICKS + 10)
    assert truth(history, TICKS + 10)[0] == counts(ledger, 1, TICKS + 10)


def test_a_partial_answer_is_completed(ledger):
    """P17: ticks that were read in part are read again when the whole is there; the mark goes away."""
    history = History((STEADY, STEADY))
    watch(ledger, history, TICKS, fault="partial", during=range(13, 16))
    assert truth(history, TICKS) == [counts(ledger, instance, TICKS) for instance in (1, 2)]
    assert 0 == ledger.outcomes(1)[Outcome.PARTIAL]


def test_what_was_counted_since_a_partial_answer_was_a_guess(ledger):
    """P17: pods whose past was left out of it are taken for new ones; the whole answer says less, and stands."""
    history = History((STEADY, *(Pod(26, 108, frozenset(), (26, 40)) for _ in range(2))))
    simulator = history.simulate(100)
    simulator.arrive(float("inf"))
    expected = truth(history, 40)[0]
    one, true = Watch(ledger, simulator), simulator.ask
    for tick in range(1, 41):
        more = tick in {18, 19}
        simulator.ask = (lambda query: _doubled(true(query))) if more else true
        one.tick(tick, fault="partial" if more else None)
    assert expected == counts(ledger, 1, 40)


def _doubled(answer):
    """The same series, each with twice of it, and twice: half of them are left out."""
    twice = [Series(one.labels, one.times, [2 * value for value in one.values]) for one in answer.series]
    return Answer((*twice, *twice))


def test_nothing_is_read_again_without_need(ledger):
    """D16: of a hundred ticks ten are read twice, and nothing else; each value of an expression is asked twice."""
    _, reports = watch(ledger, History((STEADY, STEADY)), 100)
    raw = 2 * 2 * 100  # series, scrapes a tick
    read = sum(report.samples for report in reports) - 200  # an expression's value is no raw sample
    assert raw < read <= 1.2 * raw
    assert 0 == sum(report.revised + report.doubts["uncompared"] for report in reports)
    assert [] == revisions(ledger)


def test_pods_that_come_and_go_cost_little(ledger):
    """D16: ticks with fewer samples than the one before are looked at, less and less often where that is in vain."""
    pods = tuple(Pod(at, at + 14, frozenset(), (0, 0)) for at in range(-6, 180, 7))
    one, reports = watch(ledger, History((STEADY, *pods)), 100)
    stored = sum(
        1
        for key, (times, _) in one.simulator.series.items()
        if ("__name__", "http_requests_total") in key
        for time in times
        if BEGIN * 1000 < time <= after(100) * 1000
    )
    assert sum(report.samples for report in reports) - 200 <= 1.5 * stored


def test_a_source_with_less_than_before_takes_nothing_away(ledger):
    """P21, P23, I2: after a loss of stored data the counts stay as they were, and that is told as a doubt."""
    one = Watch(ledger, History((STEADY, DYING)).simulate(80))
    for tick in range(1, 23):
        one.tick(tick)
    before = counts(ledger, 1, 22)
    for times, values in one.simulator.series.values():
        lost = bisect_right(times, after(22) * 1000)
        del times[:lost], values[:lost]
    reports = [one.tick(tick) for tick in range(23, 40)]
    assert before == counts(ledger, 1, 22)
    assert sum(report.doubts["inconsistent"] for report in reports) > 0
    assert [] == revisions(ledger)


@pytest.mark.parametrize(
    "dies", [pytest.param(14, id="in its middle"), pytest.param(20, id="up to its last tick")]
)
def test_a_block_that_lost_samples_keeps_nothing_behind_it_waiting(ledger, dies):
    """D16, P19, P23: one with a hole is tried again for an hour, and what is late in the next one is counted at once."""
    history = History((STEADY, Pod(-40, dies, frozenset(), (6, 14)), DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(80))
    for tick in range(1, 31):
        if tick == 13:
            one.simulator.lose("pod-1")
        one.tick(tick, fault="empty" if tick == 5 else None)
    assert truth(history, 30)[0][11:] == counts(ledger, 1, 30)[11:]
    assert 0 == counts(ledger, 1, 5)[-1][2]


def test_a_block_that_waited_is_counted_when_its_samples_are_back(ledger):
    """D16, P19, P23: what was counted behind it meanwhile stays, and all of it is told once."""
    history = History((STEADY, Pod(-40, 14, frozenset(), (6, 14)), DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(120))
    stored = one.simulator.copy()
    for tick in range(1, 51):
        if tick == 13:
            one.simulator.lose("pod-1")
        if tick == 30:
            back = {key: of for key, of in stored.series.items() if ("instance", "pod-1") in key}
            one.simulator.series.update(back)
        one.tick(tick, fault="empty" if tick == 5 else None)
    assert truth(history, 50)[0] == counts(ledger, 1, 50)


def lost(ledger, *, back=None, ticks=90):
    """A pod dies in tick 10 and its samples are lost for some ticks, while those of another come late.

    The history, and the ticks that had a doubt because something was never compared.
    """
    history = History((STEADY, Pod(-40, 20, frozenset(), (6, 20)), EARLIER), late=((18, 19, 200),))
    one = Watch(ledger, history.simulate(2 * ticks))
    stored = one.simulator.copy()
    doubts = []
    for tick in range(1, ticks + 1):
        if tick == 14:
            one.simulator.lose("pod-1")
        if tick == back:
            found = {key: of for key, of in stored.series.items() if ("instance", "pod-1") in key}
            one.simulator.series.update(found)
        doubts += [tick] * one.tick(tick).doubts["uncompared"]
    return history, doubts


def test_a_block_that_lost_samples_is_tried_again_for_an_hour(ledger):
    """D16, P19, P23: also where no tick is known to be missing."""
    history, doubts = lost(ledger, back=45, ticks=60)
    assert (truth(history, 60)[0], []) == (counts(ledger, 1, 60), doubts)


def test_a_block_whose_samples_never_come_back_is_told_as_a_doubt(ledger):
    """D16, P19, I2: it is given up an hour after its end, and not in silence."""
    _, doubts = lost(ledger)
    assert [70] == doubts


def test_a_server_that_never_says_what_it_has_is_told_as_a_doubt(ledger):
    """D16, P1: ticks that nobody could compare are given up when twenty have followed them, each ten once."""
    one = Watch(ledger, History((STEADY,)).simulate(120))
    true, doubts = one.simulator.ask, 0
    for tick in range(1, 61):
        before = after(tick - 4)  # what is asked about again, and not what is new
        one.simulator.ask = lambda query, at=before: (nobody if BEGIN < query.at < at else true)(query)
        doubts += one.tick(tick).doubts["uncompared"]
    assert 4 == doubts


def test_what_was_read_late_needs_no_comparison(ledger):
    """D16, T1: a catch-up of hours has no doubts."""
    one = Watch(ledger, History((STEADY,)).simulate(400))
    reports = [one.tick(tick) for tick in (1, 2, 200, *range(201, 241))]
    assert 0 == sum(report.doubts["uncompared"] for report in reports)


def test_a_changed_expression_is_read_again(ledger):
    """D16: an expression that fills ticks that had none, block by block."""
    history = History((STEADY,))
    simulator = history.simulate(2 * TICKS)
    simulator.arrive(float("inf"))
    mood = next(key for key in simulator.series if ("__name__", "mood") in key)
    times, values = simulator.series.pop(mood)
    one = Watch(ledger, simulator)
    for tick in range(1, 14):
        one.tick(tick)
    assert 13 * INTERVAL == ledger.outcomes(2)[Outcome.NO_DATA]
    simulator.series[mood] = (times, values)
    for tick in range(14, TICKS + 1):
        one.tick(tick)
    assert {Outcome.OK: TICKS * INTERVAL} == {k: v for k, v in ledger.outcomes(2).items() if v}
    assert [("mood", 10, 10), ("mood", 13, 3)] == [
        (slo, last, revised["ticks"]) for slo, last, revised in revisions(ledger)
    ]


def test_a_server_that_is_away_at_the_time_is_asked_later(ledger):
    """D16: what came late is found even if nobody answers when it would be looked for."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    watch(ledger, history, 40, fault="refused", during=range(24, 32))
    assert truth(history, 40)[0] == counts(ledger, 1, 40)


def test_a_reload_goes_on_comparing(ledger):
    """D16: another evaluator of the same catalogue inherits what was remembered at the last borders."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(80))
    for tick in range(1, 41):
        if tick == 22:
            old = one.evaluator
            one.restart(after(21))
            one.evaluator.inherit(old)
        one.tick(tick)
    assert truth(history, 40)[0] == counts(ledger, 1, 40)


def test_what_came_late_is_not_forgotten_while_the_disk_is_full(ledger, monkeypatch):
    """D16, S3: a revision that cannot be written is made again when there is space, and told once."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(80))
    write, broken = Stepper._write, []

    def full(stepper, piece, report):
        if any(transition.kind == "slo_burn_revised" for transition in piece.transitions) and len(broken) < 3:
            broken.append(1)
            report.store_error = LedgerError("the disk is full")
            return {}
        return write(stepper, piece, report)

    monkeypatch.setattr(Stepper, "_write", full)
    for tick in range(1, 41):
        one.tick(tick)
    assert 3 == len(broken)
    assert truth(history, 40)[0] == counts(ledger, 1, 40)
    assert 1 == len([slo for slo, _, _ in revisions(ledger) if slo == "shop"])


def test_a_revision_that_cannot_be_judged_is_told_without_figures(ledger, monkeypatch):
    """D16, T12: a fault of ours while figures are made loses neither the counts nor the event."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(80))
    assess = Stepper.assess

    def faulty(stepper, name, at, windows, *, live, **options):
        if not live and name == "shop":
            raise ZeroDivisionError
        return assess(stepper, name, at, windows, live=live, **options)

    monkeypatch.setattr(Stepper, "assess", faulty)
    for tick in range(1, 41):
        one.tick(tick)
    assert truth(history, 40)[0] == counts(ledger, 1, 40)
    (payload,) = [e.payload for e in ledger.events(slo="shop") if e.kind == "slo_burn_revised"]
    assert (None, 35) == (
        payload["burn_rate"],
        payload["revised"]["after"]["total"] - payload["revised"]["before"]["total"],
    )


def test_a_fault_of_ours_in_one_comparison_stops_no_other(ledger, monkeypatch):
    """D16, T12: the other units are compared, the tick reports as usual, and this one is tried again."""
    history = History((STEADY, DYING), late=((34, 35, 200),))
    one = Watch(ledger, history.simulate(80))
    is_late, broken = Rechecks._is_late, []

    def faulty(rechecks, unit, trail, block, report):
        if unit.batch is None and len(broken) < 3:
            broken.append(1)
            raise ZeroDivisionError
        return is_late(rechecks, unit, trail, block, report)

    monkeypatch.setattr(Rechecks, "_is_late", faulty)
    reports = [one.tick(tick) for tick in range(1, 41)]
    assert truth(history, 40)[0] == counts(ledger, 1, 40)
    assert 3 == sum(any("internal error" in fault for fault in report.faults.values()) for report in reports)
    assert all(2 == len(report.snapshots) for report in reports)
