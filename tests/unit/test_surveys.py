"""Surveys: how often an expression's source is scraped is asked until it is known."""

from __future__ import annotations

from slo_budget_tracker.answers import Answer, Series
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.surveys import AGAIN, SURVEYED, Surveys
from tests.unit.serving import ratio

NAMES = ("a", "b", "c", "d", "e")
EVERY = 40  # seconds between two scrapes


class Source:
    """Says how often it is scraped, or nothing as long as it is away."""

    def __init__(self):
        self.away, self.asked = frozenset(), []

    def __call__(self, query):
        """Answer."""
        name = next(name for name in NAMES if f"ratio_{name}" in query.expression)
        self.asked.append(name)
        if name in self.away:
            raise Unreachable("away", reason="connect")
        labels = {"__name__": f"ratio_{name}", "job": "x"}
        return Answer((Series(labels, [1_000 * EVERY * n for n in range(9)], [0.0] * 9),))


def surveys():
    """Those of five expressions."""
    return Surveys([ratio(name) for name in NAMES])


def test_what_could_not_be_told_is_asked_again():
    """An error is no answer: it is asked again some minutes later, and what nobody was asked yet comes before."""
    source, one = Source(), surveys()
    source.away = frozenset(NAMES[:SURVEYED])
    one.ask("default", 0, source)
    assert ({}, [*NAMES[:SURVEYED]]) == (one.spacings, source.asked)
    for at in range(60, AGAIN, 60):
        one.ask("default", at, source)
    assert dict.fromkeys(NAMES[SURVEYED:], float(EVERY)) == one.spacings
    source.away, source.asked = frozenset(), []
    one.ask("default", AGAIN, source)
    assert dict.fromkeys(NAMES, float(EVERY)) == one.spacings


def test_who_fails_for_good_keeps_nobody_waiting(monkeypatch):
    """What nobody was asked yet comes first, however many fail; of those who is not asked for longest."""
    monkeypatch.setattr("slo_budget_tracker.surveys.AGAIN", 60)
    source, one = Source(), surveys()
    source.away = frozenset(NAMES[:4])
    for at in range(60, 360, 60):
        one.ask("default", at, source)
    assert {"e": float(EVERY)} == one.spacings
    assert [*"abcdeeabcda"] == source.asked  # who answers is asked twice


def test_who_is_asked_just_now_is_asked_again_by_another_catalogue():
    """A reload amid a question takes nothing for an answer that was none."""
    source, old, new = Source(), surveys(), surveys()

    def reloading(query):
        new.inherit(old)
        return source(query)

    old.ask("default", 0, reloading)
    for at in range(0, 180, 60):
        new.ask("default", at, source)
    assert dict.fromkeys(NAMES, float(EVERY)) == new.spacings
