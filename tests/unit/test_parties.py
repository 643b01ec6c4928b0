"""Parties: what many metrics ask about odd targets is asked at once, and each is answered as if it had asked alone."""

from __future__ import annotations

from collections import Counter

import pytest

from slo_budget_tracker import joints, targets
from slo_budget_tracker.answers import About, Answer, Query, Series
from slo_budget_tracker.errors import QueryRejected, Unreachable
from slo_budget_tracker.parties import Party
from slo_budget_tracker.targets import Target, joined, part, question
from tests.unit.test_joints import SLOS, START, run
from tests.unit.tsdb import Tsdb

EVERY = range(25)


@pytest.fixture(autouse=True)
def _together(monkeypatch):
    monkeypatch.setattr(joints, "MANY", 20)


@pytest.fixture
def database():
    """Ten minutes of scrapes of a metric each; a minute after the first tick all of them restart, then new pods come."""
    db = Tsdb()
    for number in EVERY:
        for second in range(-600, 330, 30):
            for pod, begun in (("old", -9_000), ("new", 150 + number)):
                born = 75 if pod == "old" and second >= 75 else begun
                if second < begun:
                    continue
                target = {"job": f"x{number}", "instance": pod}
                at = (START + second) * 1000
                db.put("up", target, at, 1)
                if number % 5:  # of the others nobody knows when they began
                    db.put("process_start_time_seconds", target, at, START + born)
                for code, share in (("200", 3), ("500", 1)):
                    db.put(f"m{number}", {**target, "code": code}, at, share * (second - born) + number)
    return db


def about_targets(asked):
    """How many questions were asked about odd targets."""
    return sum(query.about is not None for query in asked)


def alone(monkeypatch, database):
    """What comes of it where no metrics are read together."""
    with monkeypatch.context() as patched:
        patched.setattr(joints, "MANY", 1_000)
        return run(database.ask), list(database.asked), database.asked.clear()


def test_questions_about_targets_of_many_metrics_are_few_and_counts_are_alike(database, monkeypatch):
    """Twenty-five metrics whose targets crash and come ask less than a fifth of the questions, and count the same."""
    (expected, of_alone), asked_alone, _ = alone(monkeypatch, database)
    found, report = run(database.ask)
    assert expected == found
    assert (of_alone.doubts, of_alone.outcomes) == (report.doubts, report.outcomes)
    assert all(one.bad > 0 for one in found.values())
    assert 100 <= about_targets(asked_alone)
    assert about_targets(database.asked) <= about_targets(asked_alone) // 5


def test_where_one_question_is_too_much_each_asks_alone(database, monkeypatch):
    """A server that refuses the question for many is asked for each, and the counts are the same."""
    (expected, _), *_ = alone(monkeypatch, database)

    def ask(query):
        if query.about is not None and len(query.about.metrics) * len(query.about.targets) > 2:
            raise QueryRejected("too much", reason="bad_data")
        return database.ask(query)

    found, report = run(ask)
    assert (expected, {}) == (found, dict(report.errors))


def test_a_server_that_is_away_is_not_asked_for_each(database):
    """Nobody asks alone what nobody answered for all; every unit fails with what was said."""
    refused = []

    def ask(query):
        if query.about is not None:
            refused.append(query)
            raise Unreachable("away", reason="connect")
        return database.ask(query)

    _, report = run(ask)
    assert len(SLOS) == len(report.errors)
    assert len(refused) < len(SLOS)


def series(**labels):
    """One series of an answer."""
    return Series({name.replace("name__", "__name__"): text for name, text in labels.items()}, [0], [1.0])


def of_targets(metric, *numbers, form="{0}[60s]"):
    """A question about a metric of targets."""
    return question(About(form, (metric,), tuple(Target(f"x{one}", "i") for one in numbers)), START)


def test_each_gets_its_own_series():
    """By name and target; where names are missing nobody can say whose they are."""
    about = of_targets("a", 1).about
    mine, others = series(name__="a", job="x1", instance="i"), series(name__="b", job="x1", instance="i")
    elsewhere = series(name__="a", job="x2", instance="i")
    assert (mine,) == part(Answer((mine, others, elsewhere)), about).series
    assert part(Answer((mine, series(job="x1", instance="i"))), about) is None
    assert part(Answer(()), about) == Answer(())


def test_whether_targets_were_up_is_told_without_a_name():
    """The function that says it drops the name."""
    found = series(job="x1", instance="i")
    about = of_targets("up", 1, form="max_over_time({0}[24h]) == 1").about
    assert (found,) == part(Answer((found, series(job="x2", instance="i"))), about).series


def test_a_question_names_two_hundred_targets_at_most():
    """Three metrics of ninety targets each are two questions: of the one there is nothing to join."""
    queries = [of_targets(f"m{one}", *range(100 * one, 100 * one + 90)) for one in range(3)]
    ((found, members),) = joined(queries)
    assert (180, tuple(queries[:2])) == (len(found.about.targets), members)
    assert len(found.about.targets) <= targets.MOST


def test_questions_of_other_instants_and_kinds_stay_apart():
    """What differs in form, instant, bounds, or in whether it is about the metric or its process, is asked apart."""
    one = of_targets("m", 1)
    others = [
        of_targets("n", 1, form="{0}[90s]"),
        of_targets("n", 1)._replace(at=START + 60),
        of_targets("up", 1),
        Query("n[60s]", START),
    ]
    assert [] == joined([one, *others])
    assert [(one, of_targets("n", 2))] == [
        members for _, members in joined([one, of_targets("n", 2), *others])
    ]


def test_a_fault_of_one_is_its_own():
    """Whatever one raises, at its first step or later, the others bring what they bring."""

    def reading(fault):
        answers = yield (Query("m", START),)
        if fault:
            raise fault
        return Counter(answers)

    def faulty():
        raise ZeroDivisionError
        yield

    def ask(_):
        return Answer(())

    def away(_):
        raise Unreachable("away", reason="connect")

    pairs = [(reading(None), ask), (reading(KeyError()), ask), (faulty(), ask), (reading(None), away)]
    found = Party(pairs).read()
    assert [Counter, KeyError, ZeroDivisionError, Unreachable] == [type(one) for one in found]
