"""Progress on a terminal: only there, only after a moment, and gone when it is over."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from slo_budget_tracker import logs
from slo_budget_tracker.wording import bar

app = import_module("slo_budget_tracker.cli.app")  # its name in the package is the application's


@pytest.mark.parametrize(
    ("done", "whole", "elapsed", "expected"),
    [
        pytest.param(0, 100, 0, "╌╌╌╌ 0%", id="nothing yet, so nobody knows how long"),
        pytest.param(25, 100, 30, "━╌╌╌ 25%, 1 min 30 s left", id="a quarter in half a minute"),
        pytest.param(100, 100, 9, "━━━━ 100%", id="all"),
        pytest.param(120, 100, 9, "━━━━ 100%", id="more than was known of"),
        pytest.param(0, 0, 0, "━━━━ 100%", id="nothing to do"),
    ],
)
def test_a_bar_in_words(done, whole, elapsed, expected):
    """A bar, the share, and how long it still takes at this pace."""
    assert expected == bar(done, whole, elapsed, width=4)


@pytest.fixture
def terminal(monkeypatch):
    """Standard error is a terminal, and what is pinned below the log."""
    pinned = []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(app, "PROGRESS_AFTER", -1.0)
    monkeypatch.setattr(logs, "pin", pinned.append)
    return pinned


def test_a_fill_is_shown_below_the_log(terminal):
    """What is pinned grows with the fill and goes when it is done."""
    with app.pinned_progress("filling") as report:
        report(1, 4)
        report(4, 4)
    first, *rest = terminal
    assert (True, True, ["", ""]) == (first.startswith("filling ━━━━━━━╌"), "25%" in first, rest)


def test_what_is_quick_is_not_shown(terminal, monkeypatch):
    """A bar that flashes tells nobody anything."""
    monkeypatch.setattr(app, "PROGRESS_AFTER", 3_600.0)
    with app.pinned_progress("filling") as report:
        report(1, 4)
    assert ["", ""] == terminal


def test_nobody_looks_at_a_pipe(capsys):
    """Where standard error is no terminal nothing is reported."""
    with app.pinned_progress("filling") as beside, app.progress("reading") as report:
        assert (None, None) == (beside, report)
    assert ("", "") == capsys.readouterr()
