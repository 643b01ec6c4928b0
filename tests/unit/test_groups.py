"""Groups: one instance for each value, discovered from the data; the roll-up is their sum."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal

import pytest

from slo_budget_tracker.backfill import fillers
from slo_budget_tracker.errors import LedgerError, Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.feeds import Slot
from slo_budget_tracker.fillforms import fill_expression
from slo_budget_tracker.gauges import render
from slo_budget_tracker.groups import group_of, key_of, labels_of, name_of, readable
from slo_budget_tracker.ledger import Entry, Ledger
from slo_budget_tracker.memory import Memory
from slo_budget_tracker.queries import plan
from slo_budget_tracker.replays import Grid, evaluate_at
from slo_budget_tracker.slis import PromqlSli
from slo_budget_tracker.snapshots import snapshot_json
from slo_budget_tracker.specfiles import load
from slo_budget_tracker.web import Display, compose, routes
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability
from tests.unit.test_web import ask

METRIC = "http_requests_total"
WINDOW = 4 * HOUR


def shop(**options):
    """99 % of each handler's requests, over four hours."""
    return availability(**{"group_by": ("handler",), "window": WINDOW, "alerts": ()} | options)


def serve(db, handlers, *, first=-900, last=2 * HOUR, every=30, instance="a:80"):
    """A pod whose handlers serve so many good and bad requests at each scrape."""
    pod = {"job": "shop", "instance": instance}
    for step, offset in enumerate(range(first, last, every)):
        time = (BEGIN + offset) * 1000 + 7_000
        db.put("up", pod, time, 1)
        db.put("process_start_time_seconds", pod, time, BEGIN - 90_000)
        for handler, (good, bad) in handlers.items():
            db.put(METRIC, {**pod, "handler": handler, "code": "200"}, time, 100 + step * good)
            db.put(METRIC, {**pod, "handler": handler, "code": "500"}, time, 100 + step * bad)
    return db


def evaluator(db, ledger, *slos):
    """A prepared evaluator over a server with these samples."""
    server = Server(db)
    return Evaluator(
        slos=slos or (shop(),), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
    ).prepare(BEGIN)


def figures(snapshots):
    """Total and failures by the value of the only label; the roll-up's is None."""
    return {
        next(iter(one.labels.values()), None): (one.total, one.failures) for one in snapshots if one.total
    }


@pytest.fixture
def ledger():
    """A ledger in memory."""
    with Ledger.open("sqlite://") as one:
        yield one


def test_each_value_is_an_instance_and_the_roll_up_their_sum(ledger):
    """Discovered from the data, counted in one read, summed exactly."""
    one = evaluator(serve(Archive(), {"/": (10, 0), "/pay": (5, 1), "/cart": (2, 0)}), ledger)
    for tick in range(1, 31):
        report = one.advance(BEGIN + tick * INTERVAL)
    assert {None: (1_080, 60), "/": (600, 0), "/pay": (360, 60), "/cart": (120, 0)} == figures(
        report.snapshots
    )
    rollups = [snapshot.rollup for snapshot in report.snapshots]
    assert [True, False, False, False] == rollups
    assert 30 == len({q for q in one.asks["default"].asked if q.expression == METRIC + "[60s]"})


def test_a_group_that_comes_later_begins_then(ledger):
    """A new handler is an instance from its first sample on, and nothing was lost before it."""
    db = serve(Archive(), {"/": (10, 0)})
    one = evaluator(db, ledger)
    for tick in range(1, 11):
        one.advance(BEGIN + tick * INTERVAL)
    serve(db, {"/new": (4, 2)}, first=600, instance="b:80")
    for tick in range(11, 21):
        report = one.advance(BEGIN + tick * INTERVAL)
    found = {one.labels.get("handler"): one for one in report.snapshots}
    assert (10 * INTERVAL / WINDOW, 20 * INTERVAL / WINDOW) == (
        found["/new"].coverage,
        found["/"].coverage,
    )
    assert [] == [event.kind for event in ledger.events() if event.kind == "slo_data_lost"]


def test_a_restart_goes_on_with_the_groups_of_the_ledger(ledger):
    """Groups are known before the first tick, with their counts."""
    db = serve(Archive(), {"/": (10, 0), "/pay": (5, 1)})
    evaluator(db, ledger).advance(BEGIN + 600)
    again = evaluator(db, ledger)
    assert ["shop", 'shop{"handler": "/"}', 'shop{"handler": "/pay"}'] == again.instances()
    assert {None: (320, 20), "/": (200, 0), "/pay": (120, 20)} == figures(again.look(BEGIN + 600))
    assert {None: (640, 40), "/": (400, 0), "/pay": (240, 40)} == figures(
        again.advance(BEGIN + 1_200).snapshots
    )


def test_catching_up_is_the_same_as_having_been_there(ledger):
    """An hour in one piece has the groups and counts of sixty ticks."""
    db = serve(Archive(), {"/": (10, 0), "/pay": (5, 1)})
    at_once = figures(evaluator(db, ledger).advance(BEGIN + HOUR).snapshots)
    with Ledger.open("sqlite://") as other:
        one = evaluator(db, other)
        for tick in range(1, 61):
            report = one.advance(BEGIN + tick * INTERVAL)
        assert at_once == figures(report.snapshots)


def test_a_group_born_during_an_outage_is_caught_up(ledger):
    """A group whose first series came in the middle of what is read at once begins there."""
    db = serve(serve(Archive(), {"/": (10, 0)}), {"/new": (4, 2)}, first=600, last=HOUR, instance="b:80")
    report = evaluator(db, ledger).advance(BEGIN + 1_200)
    with Ledger.open("sqlite://") as other:
        one = evaluator(db, other)
        for tick in range(1, 21):
            live = one.advance(BEGIN + tick * INTERVAL)
        assert live.snapshots == report.snapshots


@pytest.mark.parametrize("sli", ["counters", "rows"])
def test_a_partial_answer_is_no_missing_data(ledger, sli):
    """P17: where missing data are bad, nothing is that a partial answer does not have, of a group or of all."""
    handlers = {"/": (10, 0), "/pay": (5, 0)}
    server = Server(
        serve(Archive(), handlers), values={"all": lambda _: {"/": 1.0, "/pay": 1.0}, "failed": lambda _: {}}
    )
    rows = {"sli": PromqlSli(total="all", bad="failed", window=60)} if sli == "rows" else {}
    slo = shop(no_data="bad", **rows)

    def some(query):
        answer = server(query)
        there = [one for one in answer.series if "/" == one.labels.get("handler") and query.at < BEGIN + 900]
        return answer if query.at < BEGIN + 600 else replace(answer, series=tuple(there), partial=True)

    one = Evaluator(slos=(slo,), ledger=ledger, asks={"default": some}, interval=INTERVAL, delay=DELAY)
    one.prepare(BEGIN)
    for tick in range(1, 21):
        report = one.advance(BEGIN + tick * INTERVAL)
    assert [0, 0, 0] == [snapshot.failures for snapshot in report.snapshots]
    assert {"shop": "shop: a partial answer without its series"} == report.faults
    assert {"error"} == {snapshot.state for snapshot in report.snapshots}


def test_more_groups_than_allowed_are_an_error_of_all_of_them(ledger):
    """D17: all or nothing; the roll-up goes on, the fault says what is wrong, known groups keep their counts."""
    db = serve(Archive(), {"/": (10, 0), "/pay": (5, 1)})
    one = evaluator(db, ledger, shop(max_groups=3))
    one.advance(BEGIN + 600)
    serve(db, {f"/{n}": (1, 0) for n in range(5)}, first=600, instance="b:80")
    report = one.advance(BEGIN + 1_200)
    assert {"shop": "7 groups, more than max_groups: 3; none of them is counted"} == report.faults
    states = {one.labels.get("handler"): (one.state, one.total) for one in report.snapshots}
    assert ({"/": ("error", 200), "/pay": ("error", 120)}, "ok") == (
        {key: value for key, value in states.items() if key},
        states[None][0],
    )
    assert {"shop": 10} == one.limited()


def test_a_million_values_register_nothing(ledger):
    """D17: an exploding label makes no instance at all."""
    db = serve(Archive(), {f"/{n}": (1, 0) for n in range(300)}, last=120)
    one = evaluator(db, ledger)
    report = one.advance(BEGIN + 60)
    assert (1, 1) == (len(ledger.instances), len(report.snapshots))


def test_a_group_without_any_series_for_a_window_is_aged_out(ledger):
    """It is told, its gauges are gone, and it may come back."""
    db = serve(Archive(), {"/": (10, 0)}, last=12 * HOUR, every=60)
    serve(db, {"/old": (3, 0)}, last=900, instance="b:80")
    one = evaluator(db, ledger)
    for hour in range(1, 8):
        report = one.advance(BEGIN + hour * HOUR)
    assert {None, "/"} == {snapshot.labels.get("handler") for snapshot in report.snapshots}
    retired = [event for event in ledger.events() if event.kind == "slo_retired"]
    assert [{"handler": "/old"}] == [event.payload["labels"] for event in retired]
    assert ["shop", 'shop{"handler": "/"}'] == evaluator(db, ledger).instances()


def test_a_group_whose_answers_are_awaited_is_not_aged_out(ledger):
    """C15: a slow datasource keeps its own groups, and no others."""
    db = serve(Archive(), {"/": (10, 0)}, last=12 * HOUR, every=60)
    serve(db, {"/old": (3, 0)}, last=900, instance="b:80")
    one = evaluator(db, ledger)
    one.advance(BEGIN + WINDOW)
    at = BEGIN + 6 * HOUR
    assert () == one._roster.age_out(at, one.data_until, awaited={"default"})
    (event,) = one._roster.age_out(at, one.data_until, awaited={"other"})
    assert "slo_retired" == event.kind


def test_groups_of_a_slower_datasource_are_aged_out_too(ledger):
    """C15: its answers come a moment after the others' in every tick; an hour of one is none of the other's."""
    db = serve(Archive(), {"/": (10, 0)}, last=8 * HOUR, every=120)
    server = Server(serve(db, {"/old": (3, 0)}, last=900, instance="b:80"))

    def slow(query):
        time.sleep(0.01)
        return server(query)

    slos = (shop(name="slow", datasource="slow"), availability("quick", datasource="fast"))
    asks = {"slow": slow, "fast": Server(serve(Archive(), {"/": (10, 0)}, last=8 * HOUR, every=120))}
    one = Evaluator(
        slos=slos,
        ledger=ledger,
        asks=asks,
        interval=INTERVAL,
        delay=DELAY,
        lanes={"slow": 1, "fast": 1},
        patience=0.0001,
    ).prepare(BEGIN)
    for hour in range(1, 8):
        while one.advance(BEGIN + hour * HOUR).under_way:
            one.rest(1)
    assert [key_of("slow", (("handler", "/"),))] == [
        key for key in one.instances() if key.startswith("slow{")
    ]


def test_groups_of_an_slo_that_fails_are_not_aged_out(ledger):
    """P22: who refuses connections for longer than the window says nothing of groups; they are there afterwards."""
    server = Server(serve(Archive(), {"/": (10, 1), "/a": (5, 5)}, last=9 * HOUR, every=60))
    one = Evaluator(
        slos=(shop(),), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
    ).prepare(BEGIN)
    one.advance(BEGIN + HOUR)
    before = one.instances()
    server.trouble = lambda _: Unreachable("refused", reason="connection")
    for hour in range(2, 8):
        one.advance(BEGIN + hour * HOUR)
        assert before == one.instances()
    server.trouble = lambda _: None
    one.advance(BEGIN + 8 * HOUR)
    assert (before, []) == (
        one.instances(),
        [event.kind for event in ledger.events() if event.kind == "slo_retired"],
    )


@pytest.mark.parametrize("writes", range(4))
def test_a_group_is_retired_as_a_whole_or_not_at_all(ledger, monkeypatch, writes):
    """C15, S1: event, states and instance are one transaction: an end in between tells nothing twice."""
    db = serve(Archive(), {"/": (10, 0)}, last=12 * HOUR, every=60)
    serve(db, {"/old": (3, 0)}, last=900, instance="b:80")
    one = evaluator(db, ledger)
    one.advance(BEGIN + WINDOW)
    begin, left = ledger._store.begin, [writes]

    @contextmanager
    def ending():
        if not left[0]:
            raise LedgerError("the disk is full")
        left[0] -= 1
        with begin() as connection:
            yield connection

    with monkeypatch.context() as broken:
        broken.setattr(ledger._store, "begin", ending)
        with suppress(LedgerError):
            one._roster.age_out(BEGIN + 6 * HOUR, one.data_until)
    told = sum(event.kind == "slo_retired" for event in ledger.events())
    retired = sum(each.retired is not None for each in ledger.instances.values())
    assert told == retired
    evaluator(db, ledger)._roster.age_out(BEGIN + 7 * HOUR, one.data_until)
    assert 1 == sum(event.kind == "slo_retired" for event in ledger.events())


def test_each_group_has_its_own_alerts_and_events(ledger):
    """The handler that fails pages with its label; the one that does not stays quiet."""
    page = availability().alerts
    db = serve(Archive(), {"/": (1_000, 0), "/pay": (5, 5)})
    one = evaluator(db, ledger, shop(alerts=page))
    one.advance(BEGIN + HOUR + 600)
    started = [event.payload["labels"] for event in ledger.events() if event.kind == "slo_burn_started"]
    assert [{"handler": "/pay"}] == started


def test_the_past_is_filled_for_groups_too():
    """`evaluate` finds the groups in the history before its instant, and they add up."""
    db = serve(Archive(), {"/": (10, 0), "/pay": (5, 1)}, first=-WINDOW - 900, last=60)
    found = figures(evaluate_at([shop()], {"default": Server(db)}, at=BEGIN, grid=Grid()))
    assert found[None] == tuple(a + b for a, b in zip(found["/"], found["/pay"], strict=True))
    assert (WINDOW // 30 * 10, 0) == found["/"]


def test_a_group_that_only_the_first_fill_finds_has_no_data_since(ledger):
    """It ended before its SLO was added; of the ticks that were over until its past was read none is missing."""
    db = serve(Archive(), {"/": (10, 0)}, first=-WINDOW - 900)
    serve(db, {"/old": (5, 1)}, first=-WINDOW - 900, last=-600, instance="b:80")
    one = evaluator(db, ledger)
    one.advance(BEGIN + 5 * INTERVAL)
    for filler in fillers(one):
        while (filled := filler.step(one.asks)) is not None:
            ledger.commit(Entry(rows=filled.rows_after(ledger.slo_cursor)))
    one.advance(BEGIN + 10 * INTERVAL)
    old = one.ids[key_of("shop", (("handler", "/old"),))]
    edges = range(BEGIN, BEGIN + 10 * INTERVAL + 1, INTERVAL)
    assert [INTERVAL] * 10 == [tick.absent for tick in ledger.history.parts(old, edges)]
    assert [] == [event for event in ledger.events() if event.kind == "slo_burn_revised"]


def test_one_query_however_many_groups():
    """The planner still reads a metric once; old rows are summed by the labels."""
    slo = availability(group_by=("handler", "job"))
    (feed,) = plan([slo], replica_labels={}).raw
    assert (METRIC + "[60s]",) == feed.expressions(60)
    assert fill_expression(feed, Slot("shop", "bad"), 300).startswith("sum by (handler, job) (")
    slots = feed.classify({"__name__": METRIC, "job": "a", "handler": "/", "code": "500"})
    group = (("handler", "/"), ("group_job", "a"))
    assert {("total", ()), ("bad", ()), ("total", group), ("bad", group)} == {
        (s.role, s.group) for s in slots
    }


def test_keys_name_instances():
    """A key has the SLO's name and the labels in it."""
    key = key_of("shop", (("b", "{2}"), ("a", 'x"')))
    assert ("shop", {"a": 'x"', "b": "{2}"}) == (name_of(key), labels_of(key))
    assert ("shop", {}) == (name_of("shop"), labels_of("shop"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""),
        ('a"\\\n<script>', 'a"\\\n<script>'),
        ("\ud800", "\ufffd"),
        ("x" * 256, "x" * 256),
    ],
)
def test_values_that_cannot_be_stored_are_made_so(value, expected):
    """D18: whatever a label holds, an instance can be stored, shown and told."""
    assert expected == readable(value)
    assert (("handler", expected),) == group_of({"handler": value}, ["handler"])


def test_long_values_are_cut_and_stay_apart():
    """D18: a megabyte becomes a line; two of them with the same beginning are two groups."""
    one, other = readable("x" * 2**20), readable("x" * 2**20 + "y")
    assert one != other
    assert len(one.encode()) <= 256


def test_groups_survive_in_a_memory():
    """What is present is remembered by group."""
    slot = Slot("shop", "total", (("handler", "/"),))
    memory = Memory(until=1, present={slot: 5, Slot("shop", "bad"): 6})
    assert memory.present == Memory.loads(memory.dumps()).present


def test_gauges_of_groups_and_of_the_roll_up(ledger):
    """Groups have the contract's gauges with their labels, the roll-up names of its own."""
    one = evaluator(serve(Archive(), {"/": (10, 0), "/p": (5, 1)}), ledger)
    report = one.advance(BEGIN + 600)
    page = render(report.snapshots, one.slos, None).decode()
    assert 'slo_total{handler="/p",slo="shop"} 120' in page
    assert 'slo_rollup_total{slo="shop"} 320' in page
    assert 'slo_total{slo="shop"}' not in page
    assert 'slo_rollup_data_state{slo="shop",state="ok"} 1' in page
    assert {"handler": "/p"} == snapshot_json(report.snapshots[2])["labels"]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (
            "group_by: [slo]",
            "group_by[0]: the reserved label slo, expected another one; write group_slo for the label slo of the series",
        ),
        ("group_by: [job, group_job]", "group_by[1]: the label group_job twice, expected each label once"),
        ("group_by: [severity]", "group_by[0]: the reserved label severity, expected another one"),
        ("group_by: [a, a]", "group_by[1]: the label a twice, expected each label once"),
        ("group_by: ['a-b']", 'group_by[0]: the label "a-b", expected letters, digits and _, no __ in front'),
        ("group_by: handler", 'group_by: "handler", expected a list of labels such as [handler]'),
        ("max_groups: 5", "max_groups: `max_groups` without `group_by`, expected both, or neither"),
        ("group_by: [a]\n    max_groups: 0", "max_groups: 0, expected at least 1"),
    ],
)
def test_faults_of_files(tmp_path, keys, sentence):
    """Reserved labels are refused by name; `job` and `instance` are not: they get another name."""
    file = tmp_path / "a.yaml"
    text = f"slos:\n  - name: a\n    target: 99%\n    sli: {{probe: {{up: up}}}}\n    {keys}\n"
    file.write_text(text)
    with pytest.raises(Exception, match="slos") as error:
        load([file])
    assert f"slos[0].{sentence}" in str(error.value)
    file.write_text(text.replace(keys, "group_by: [job, instance]\n    max_groups: 5"))
    (slo,) = load([file]).slos
    assert (("job", "instance"), 5, Decimal("0.99")) == (slo.group_by, slo.max_groups, slo.target)


def test_a_reserved_label_of_the_series_goes_by_another_name(tmp_path):
    """`group_service` reads the label `service` of the series and is what gauges and events call it."""
    file = tmp_path / "a.yaml"
    sli = "{requests: {total: x_total, bad: y_total}}"
    file.write_text(f"slos:\n  - {{name: a, target: 99%, group_by: [group_service], sli: {sli}}}\n")
    (slo,) = load([file]).slos
    assert (("service",), (("group_service", "pay"),)) == (
        slo.group_by,
        group_of({"service": "pay"}, slo.group_by),
    )
    (feed, _) = plan([slo], replica_labels={}).raw
    assert "sum by (service) (" in fill_expression(feed, Slot("a", "total"), 300)


def test_the_api_pages_through_groups(ledger):
    """H17: roll-up and a page of groups; labels choose, and one SLO without groups stays one object."""
    one = evaluator(
        serve(Archive(), {f"/{n}": (1, 0) for n in range(25)}), ledger, shop(), shop(name="all", group_by=())
    )
    display = Display(compose(snapshots=one.advance(BEGIN + 120).snapshots))
    app = routes(display)
    page = ask(app, "/api/v1/slos/shop?limit=10&offset=20").json()
    assert (25, 10, 20, 5) == (page["total"], page["limit"], page["offset"], len(page["groups"]))
    assert ({}, 100) == (page["rollup"]["labels"], page["rollup"]["total"])
    chosen = ask(app, "/api/v1/slos/shop?group.handler=/7").json()
    assert [{"handler": "/7"}] == [group["labels"] for group in chosen["groups"]]
    assert 0 == ask(app, "/api/v1/slos/shop?group.handler=/none").json()["total"]
    assert "all" == ask(app, "/api/v1/slos/all").json()["name"]
    assert 2 == ask(app, "/api/v1/slos").json()["total"]
