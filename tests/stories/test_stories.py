"""Stories as text, told live, with a restart before every tick, and as a catch-up from the ledger's history."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slo_budget_tracker.alerts import AlertState
from slo_budget_tracker.durations import format_duration
from slo_budget_tracker.history import History
from slo_budget_tracker.rows import Row
from slo_budget_tracker.ticks import Outcome, Tick, WindowCounts
from slo_budget_tracker.verdict import assess
from tests.stories.story import Story, read

FILES = sorted(Path(__file__).parent.glob("*.story"))
STORIES = [story for file in FILES for story in read(file)]


def sums(story):
    """What `summed` needs: running sums of total, bad, known and partial over the ticks of the story."""
    running = [(0, 0, 0, 0)]
    for tick in story.ticks:
        known = story.interval * tick.outcome.known
        partial = story.interval * (tick.outcome is Outcome.PARTIAL)
        step = (tick.total * tick.outcome.known, tick.bad * tick.outcome.known, known, partial)
        running.append(tuple(a + b for a, b in zip(running[-1], step, strict=True)))
    return running


def summed(story, running, *, at, window):
    """The counts of a window, from the ticks of the story themselves."""
    last = at // story.interval
    first = max(0, last - window // story.interval)
    total, bad, known, partial = (a - b for a, b in zip(running[last], running[first], strict=True))
    return WindowCounts(window, total=total, bad=bad, known=known, partial=partial)


def windows_of(story):
    """Every window a verdict reads."""
    return sorted({*story.slo.windows, min(21_600, story.window // 4)})


def tell(story, counts, *, late=False, restarts=False):
    """The verdicts of all ticks, by data instant; `counts(at)` are the windows that end there."""
    slo, states, verdicts = story.slo, {}, {}
    for number, tick in enumerate(story.ticks, start=1):
        at = number * story.interval
        verdicts[at] = assess(
            slo,
            at=at,
            interval=story.interval,
            outcome=tick.outcome,
            windows=counts(at),
            states=states,
            live=at >= story.live,
            late=late,
        )
        states = verdicts[at].states
        if restarts:
            stored = json.dumps({rule: state.to_json() for rule, state in states.items()})
            states = {rule: AlertState.from_json(state) for rule, state in json.loads(stored).items()}
    return verdicts


def told(verdicts):
    """All transitions: when, what, by which rule, and why."""
    return [(t.at, t.kind, rule_name(t.rule), t.reason) for v in verdicts.values() for t in v.transitions]


def rule_name(rule):
    """`burn:page:3600:300` as stories write it: `page:1h`."""
    if not rule.startswith("burn:"):
        return rule
    _, severity, long, _ = rule.split(":")
    return f"{severity}:{format_duration(int(long))}"


def found(verdict, expectation):
    """What the verdict says about the subject of an `at` line, written as the line writes it."""
    snapshot, subject = verdict.snapshot, expectation.subject
    pairs = {f"{a.severity}:{format_duration(a.long_window_seconds)}": a for a in snapshot.alerts}
    if subject in pairs:
        pair, asked = pairs[subject], expectation.value.split()
        text = pair.state
        if "since" in asked:
            text += f" since {format_duration(pair.since)}"
        if "by" in asked:
            text += f" by {rule_name(pair.suppressed_by or 'nobody')}"
        return text
    if subject == "why":
        pair, words = expectation.value.split(maxsplit=1)
        reason = verdict.reasons.get(pair) or pairs[pair].reason
        return f"{pair} {words}" if words in reason else f"{pair} {reason}"
    bounds = snapshot.error_budget_remaining_bounds or (None, None)
    figure = {
        "data": snapshot.state,
        "coverage": snapshot.coverage,
        "remaining": snapshot.error_budget_remaining,
        "worst": bounds[0],
        "best": bounds[1],
        "burn": snapshot.burn_rate,
        "breached": snapshot.breached,
        "exhausted": snapshot.budget_exhausted,
        "exhaustion": snapshot.exhaustion_seconds,
    }[subject]
    if isinstance(figure, float):
        return f"{figure:.6g}"
    return {None: "unknown", True: "yes", False: "no"}.get(figure, figure)


def check(story: Story, verdicts):
    """Compare a telling with the story's own expectations, line by line."""
    expected = [f"{format_duration(t.at)} {t.kind} {t.rule} {t.words}" for t in story.told]
    actual = []
    for number, (at, kind, rule, reason) in enumerate(told(verdicts)):
        words = story.told[number].words if number < len(story.told) else ""
        actual.append(f"{format_duration(at)} {kind} {rule} {words if words in reason else reason}")
    assert expected == actual
    for line in story.expectations:
        where = f"{story.file}.story:{line.line}: at {format_duration(line.at)} {line.subject}"
        assert f"{where} {line.value}" == f"{where} {found(verdicts[line.at], line)}"


@pytest.fixture(params=STORIES, ids=lambda story: f"{story.file}: {story.name}")
def story(request):
    """Each story of each file."""
    return request.param


@pytest.fixture
def live(story):
    """The story told tick by tick from plain sums."""
    running = sums(story)
    return tell(
        story,
        lambda at: {window: summed(story, running, at=at, window=window) for window in windows_of(story)},
    )


def from_history(story, *, rows_until):
    """Window counts from a history that holds the rows up to `rows_until(at)`."""
    history, rows = History(), []
    for number, tick in enumerate(story.ticks):
        span = Tick(number * story.interval, (number + 1) * story.interval)
        rows.append(Row.of(span, {7: tick}))

    def counts(at):
        while rows and rows[0].end <= rows_until(at):
            history.add([rows.pop(0)])
        return history.window(at, windows_of(story))[7]

    return counts


def test_a_story_comes_out_as_it_says(story, live):
    """Every transition, state and figure of the story is as written (D19, D20, D22, D23, P17, P26)."""
    check(story, live)


def test_a_restart_before_every_tick_changes_nothing(story, live):
    """States that went through the ledger's JSON give the same verdicts (T14)."""
    again = tell(story, from_history(story, rows_until=lambda at: at), restarts=True)
    assert live == again


def test_a_catch_up_tells_the_same_story_late(story, live):
    """Ticks stepped in order after all of them were fetched give the same transitions, marked late (T14, P25)."""
    whole = len(story.ticks) * story.interval
    again = tell(story, from_history(story, rows_until=lambda _at: whole), late=True)
    assert {at: v.snapshot for at, v in live.items()} == {at: v.snapshot for at, v in again.items()}
    assert [
        replace(t, late=True, payload={**t.payload, "late": True})
        for v in live.values()
        for t in v.transitions
    ] == [t for v in again.values() for t in v.transitions]


def test_fault_ticks_neither_recover_nor_restore(story, live):
    """No tick of a story without a complete answer sends a recovery (I2)."""
    recoveries = {"slo_recovered", "slo_budget_restored", "slo_data_restored"}
    bad_ticks = {
        number * story.interval
        for number, tick in enumerate(story.ticks, start=1)
        if tick.outcome > Outcome.NO_TRAFFIC
    }
    assert [] == [entry for entry in told(live) if entry[0] in bad_ticks and entry[1] in recoveries]


@pytest.mark.parametrize(
    "text",
    ["bad 5y3", "pair page 1h", "at 5m data", "sings a song", "total many"],
    ids=["not a tick", "pair without windows", "nothing expected", "no such word", "not a number"],
)
def test_an_unreadable_line_is_named(tmp_path, text):
    """A story with a mistake says in which line."""
    file = tmp_path / "wrong.story"
    file.write_text(f"story x\n{text}\n")
    with pytest.raises(ValueError, match=r"wrong\.story:2"):
        read(file)


def test_stories_expect_only_ticks_they_have():
    """An `at` or `tells` line beyond the last tick, or between ticks, would never be compared."""
    outside = [
        (story.file, line.line)
        for story in STORIES
        for line in (*story.expectations, *story.told)
        if line.at % story.interval or not 0 < line.at <= len(story.ticks) * story.interval
    ]
    assert [] == outside


def test_the_two_ways_to_write_repetition_are_the_same(tmp_path):
    """`error x2` and `errorx2` are two ticks each; `5` is one."""
    file = tmp_path / "two.story"
    file.write_text("story x\nbad error x2 errorx2 5 -\n")
    assert [Outcome.ERROR] * 4 + [Outcome.OK, Outcome.NO_TRAFFIC] == [t.outcome for t in read(file)[0].ticks]
