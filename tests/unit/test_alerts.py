"""The state machine and what a tick says about a rule."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slo_budget_tracker import alerts, budget
from slo_budget_tracker.alerts import AlertState, Decision, Judgement
from slo_budget_tracker.specs import BurnRateAlert
from slo_budget_tracker.ticks import Outcome, WindowCounts

AT = 6_000
QUIET, PENDING, FIRING = AlertState("quiet", 60), AlertState("pending", 60, 120), AlertState("firing", 60)
TARGET = Decimal("0.999")
PAIR = BurnRateAlert(severity="page", long=3_600, short=300, burn_rate=Decimal("14.4"))
RULE = alerts.ruleset((PAIR,), TARGET).rules[0]
LEAST = alerts.ruleset((PAIR.model_copy(update={"minimum_bad": 3}),), TARGET).rules[0]
NOT_ASKED = [Outcome.NO_DATA, Outcome.ERROR, Outcome.MISSED, Outcome.UNKNOWN]


def said(finding):
    """A judgement with a reason of its own."""
    return Judgement(finding, f"it is {finding}")


def step(state, finding, **patience):
    """One tick of a minute."""
    return alerts.step(state, said(finding), at=AT, seconds=60, **patience)


def long(bad=200, total=10_000, known=3_600, partial=0):
    """Exact counts of the long window."""
    return budget.exact(WindowCounts(3_600, total, bad, known, partial))


def short(bad=20, total=1_000, known=300, partial=0):
    """Exact counts of the short window."""
    return budget.exact(WindowCounts(300, total, bad, known, partial))


def judge(outcome=Outcome.OK, *, rule=RULE, of_long=None, of_short=None):
    """What a tick says about the page of an hour and five minutes."""
    return alerts.judge_pair(rule, outcome=outcome, long=of_long or long(), short=of_short or short())


@pytest.mark.parametrize("state", [None, QUIET], ids=["no state yet", "quiet"])
def test_burning_starts_at_once_without_for(state):
    """The state's first tick is the one that starts it."""
    assert Decision(AlertState("firing", AT), "firing", "started", "it is burning") == step(state, "burning")


@pytest.mark.parametrize("state", [None, QUIET], ids=["no state yet", "quiet"])
def test_burning_is_pending_with_for(state):
    """The first true tick begins to wait, and says how long."""
    assert Decision(
        AlertState("pending", AT, 0), "pending", None, "it is burning; pending until that lasts 1m"
    ) == step(state, "burning", for_seconds=60)


@pytest.mark.parametrize("finding", ["lingering", "over", "no_traffic", "silent"])
def test_nothing_else_starts_anything(finding):
    """A quiet rule keeps the instant since which it is quiet."""
    assert Decision(QUIET, "quiet", None, f"it is {finding}") == step(QUIET, finding)
    assert AlertState("quiet", AT) == step(None, finding).state


@pytest.mark.parametrize(
    ("for_seconds", "expected"),
    [
        (240, AlertState("pending", 60, 180)),
        (181, AlertState("pending", 60, 180)),
        (180, AlertState("firing", AT)),
    ],
    ids=["a minute left", "a second left", "long enough"],
)
def test_a_true_tick_brings_a_pending_rule_further(for_seconds, expected):
    """Each true tick adds its length; at `for` the rule fires."""
    assert expected == step(PENDING, "burning", for_seconds=for_seconds).state


def test_the_second_true_tick_is_one_tick_after_the_first():
    """The first true tick counts from zero."""
    first = AlertState("pending", 60, 0)
    assert AlertState("pending", 60, 60) == step(first, "burning", for_seconds=61).state
    assert AlertState("firing", AT) == step(first, "burning", for_seconds=60).state


def test_a_pending_rule_stays_so_while_nothing_is_said():
    """An unknown tick pauses the waiting."""
    assert Decision(PENDING, "pending", None, "it is silent") == step(PENDING, "silent", for_seconds=300)


@pytest.mark.parametrize("finding", ["lingering", "over", "no_traffic"])
def test_a_false_tick_resets_a_pending_rule(finding):
    """Nobody is told of what never fired."""
    assert Decision(AlertState("quiet", AT), "quiet", None, f"it is {finding}") == step(
        PENDING, finding, for_seconds=300
    )


@pytest.mark.parametrize("finding", ["burning", "lingering"])
def test_a_rule_fires_on_while_the_short_window_burns(finding):
    """The very same state comes back, so nothing is written."""
    decision = step(FIRING, finding)
    assert Decision(FIRING, "firing", None, f"it is {finding}") == decision
    assert decision.state is FIRING


def test_a_firing_rule_is_held_while_nothing_is_said():
    """The state stays, and the word shown says that nobody knows."""
    assert Decision(FIRING, "held", None, "held: it is silent") == step(FIRING, "silent")


def test_a_firing_rule_ends_when_it_is_over():
    """Without `keep_firing_for` at once."""
    assert Decision(AlertState("quiet", AT), "quiet", "ended", "it is over") == step(FIRING, "over")


def test_a_firing_rule_ends_without_traffic_even_if_it_should_be_kept():
    """One long window without traffic is patience enough; the reason is one word."""
    assert Decision(AlertState("quiet", AT), "quiet", "ended", "no_traffic") == step(
        FIRING, "no_traffic", keep_firing_for=3_600
    )


@pytest.mark.parametrize(
    ("progress", "expected"),
    [(None, AlertState("firing", 60, 0)), (0, AlertState("firing", 60, 60)), (59, AlertState("firing", 60, 119)),
     (60, AlertState("quiet", AT))],
    ids=["first tick", "second", "one second short", "long enough"],
)  # fmt: skip
def test_keep_firing_for_counts_from_the_first_tick_that_is_over(progress, expected):
    """Two minutes of patience end with the third tick."""
    decision = step(AlertState("firing", 60, progress), "over", keep_firing_for=120)
    assert expected == decision.state
    assert ("ended" if expected.state == "quiet" else None) == decision.turn


def test_what_keeps_firing_says_for_how_long():
    """The reason names the patience."""
    assert "it is over; firing until that lasts 2m" == step(FIRING, "over", keep_firing_for=120).reason


@pytest.mark.parametrize("finding", ["burning", "lingering"])
def test_failures_during_keep_firing_start_it_anew(finding):
    """The patience is forgotten."""
    assert AlertState("firing", 60) == step(AlertState("firing", 60, 60), finding, keep_firing_for=120).state


def test_silence_during_keep_firing_pauses_it():
    """An unknown tick adds nothing to being over."""
    over = AlertState("firing", 60, 60)
    assert over == step(over, "silent", keep_firing_for=120).state


@pytest.mark.parametrize(
    ("state", "finding", "shown", "reason"),
    [
        (QUIET, "burning", "quiet", "it is burning"),
        (PENDING, "burning", "pending", "it is burning"),
        (PENDING, "silent", "pending", "it is silent"),
        (FIRING, "over", "firing", "it is over"),
        (FIRING, "silent", "held", "held: it is silent"),
    ],
)
def test_looking_moves_no_remembered_state(state, finding, shown, reason):
    """A look shows what is remembered, whatever the tick says."""
    decision = alerts.look(state, said(finding), at=AT)
    assert Decision(state, shown, None, reason) == decision


@pytest.mark.parametrize(
    ("finding", "for_seconds", "state"),
    [("burning", 0, "firing"), ("burning", 60, "pending"), ("over", 0, "quiet")],
)
def test_looking_without_a_state_shows_what_a_first_tick_would(finding, for_seconds, state):
    """`evaluate` has no ledger: it shows the alert, and tells nobody."""
    decision = alerts.look(None, said(finding), at=AT, for_seconds=for_seconds)
    assert (state, None, AT) == (decision.shown, decision.turn, decision.state.since)


def test_looking_asks_for_no_patience_unless_told():
    """Without `for` a look shows what burns as firing."""
    assert "firing" == alerts.look(None, said("burning"), at=AT).shown


@pytest.mark.parametrize("state", [QUIET, PENDING, FIRING, AlertState("firing", 60, 0)])
def test_a_state_survives_the_ledger(state):
    """What is written is what is read."""
    assert state == AlertState.from_json(state.to_json())


@pytest.mark.parametrize(
    "stored",
    [{}, {"state": "held", "since": 60}, {"state": "quiet", "since": "60"}, {"state": "quiet"},
     {"state": "firing", "since": 60, "progress": "1"}],
    ids=["empty", "a state never stored", "since as text", "no since", "progress as text"],
)  # fmt: skip
def test_a_damaged_state_is_refused(stored):
    """Never a guess from what `to_json` does not write."""
    with pytest.raises(ValueError, match="not the state of an alert"):
        AlertState.from_json(stored)


def test_both_windows_above_the_factor_burn():
    """The reason has both figures and the factor."""
    assert Judgement("burning", "1h burns 20 and 5m burns 20, at or above 14.4") == judge()


def test_exactly_the_factor_burns():
    """144 of 10,000 and 18 of 1,250 are 14.4 times 0.1 %."""
    assert "burning" == judge(of_long=long(144), of_short=short(18, 1_250)).finding


@pytest.mark.parametrize(
    ("of_long", "of_short", "expected"),
    [
        (long(143), short(), Judgement("lingering", "1h burns 14.3 and 5m burns 20, not both at 14.4 or above")),
        (long(143, known=2_879), short(),
         Judgement("silent", "1h burns 14.3 and 5m burns 20, not both at 14.4 or above")),
        (long(), short(14), Judgement("over", "5m burns 14, below 14.4")),
        (long(), short(14, known=240), Judgement("over", "5m burns 14, below 14.4")),
        (long(), short(14, known=239),
         Judgement("silent", "5m burns 14, below 14.4, but under 80% of it is known")),
        (long(), short(14, partial=61),
         Judgement("silent", "5m burns 14, below 14.4, but under 80% of it is known")),
        (long(200, known=2_580), short(),
         Judgement("silent", "1h burns 20 and 5m burns 20, but not at 14.4 were the unknown ticks good")),
        (long(), short(20, known=210),
         Judgement("silent", "1h burns 20 and 5m burns 20, but not at 14.4 were the unknown ticks good")),
        (long(), short(0, 0), Judgement("silent", "no traffic known in 5m")),
        (long(), short(0, 0, 0), Judgement("silent", "no traffic known in 5m")),
        (long(0, 0), short(0, 0), Judgement("no_traffic", "no traffic in 1h")),
        (long(0, 0, 2_880), short(0, 0), Judgement("no_traffic", "no traffic in 1h")),
        (long(0, 0, 2_879), short(0, 0), Judgement("silent", "no traffic known in 5m")),
        (long(0, 0, 2_879), short(), Judgement("silent", "no traffic known in 5m")),
    ],
    ids=[
        "long below", "long below, too little known", "short below", "short below, 80 % known",
        "short below, under 80 % known", "short below, too much partial", "long not sure", "short not sure",
        "short without traffic", "short unknown", "long without traffic", "long without traffic, 80 % known",
        "long without traffic, under 80 % known", "windows that contradict each other",
    ],
)  # fmt: skip
def test_what_a_complete_tick_says(of_long, of_short, expected):
    """Each way not to burn, with its words."""
    assert expected == judge(of_long=of_long, of_short=of_short)


def test_equal_windows_are_named_once():
    """The seed's simple form has one window."""
    rule = alerts.ruleset((PAIR.model_copy(update={"short": 3_600}),), TARGET).rules[0]
    counts = long(144)
    assert Judgement("burning", "1h burns 14.4, at or above 14.4") == judge(
        rule=rule, of_long=counts, of_short=counts
    )


@pytest.mark.parametrize("bad", [(1, 2), (2, 2.5)], ids=["too few", "cut at the edge, too few"])
def test_few_events_are_not_enough(bad):
    """One error of two requests burns at 500; a least number of failures keeps it quiet (D19)."""
    failed, total = bad
    few = judge(rule=LEAST, of_long=long(failed, total), of_short=short(failed, total))
    assert "lingering" == few.finding
    assert few.reason.startswith("insufficient events: 1h burns ")
    assert few.reason.endswith(", but fewer than 3 failed in 1h")


def test_the_least_number_of_failures_is_enough():
    """Three of three, and three with a fraction of a request beside them."""
    assert "burning" == judge(rule=LEAST, of_long=long(3, 4)).finding
    assert "burning" == judge(rule=LEAST, of_long=long(3.0, 4.5)).finding


@pytest.mark.parametrize("outcome", NOT_ASKED, ids=lambda outcome: outcome.name)
def test_a_tick_without_an_answer_says_nothing(outcome):
    """However the windows look: neither a start nor an end (I2)."""
    assert Judgement("silent", alerts.SAYS_NOTHING[outcome]) == judge(outcome)
    assert "silent" == judge(outcome, of_short=short(0)).finding


def test_a_partial_tick_may_start_and_never_end():
    """What burns with a part missing is told; what looks good with a part missing is not believed (P17)."""
    assert "burning" == judge(Outcome.PARTIAL).finding
    assert Judgement("silent", "only a partial answer in this tick; 5m burns 0, below 14.4") == judge(
        Outcome.PARTIAL, of_short=short(0)
    )


@pytest.mark.parametrize(
    ("outcome", "finding"),
    [(Outcome.OK, "over"), (Outcome.NO_TRAFFIC, "over"), (Outcome.PARTIAL, "silent")]
    + [(outcome, "burning") for outcome in NOT_ASKED],
    ids=lambda value: getattr(value, "name", value),
)
def test_data_are_there_or_lost_or_neither(outcome, finding):
    """A partial answer is neither a loss nor a return."""
    assert finding == alerts.judge_data(outcome).finding


def test_data_are_explained():
    """The words name what happened."""
    assert Judgement("over", "data in this tick") == alerts.judge_data(Outcome.OK)
    assert Judgement("burning", "no data in this tick") == alerts.judge_data(Outcome.NO_DATA)


ALLOWED = budget.allowed(TARGET)


@pytest.mark.parametrize(
    ("of_window", "outcome", "expected"),
    [
        (long(10), Outcome.OK, Judgement("burning", "0% of the error budget remains")),
        (long(10), Outcome.PARTIAL, Judgement("burning", "0% of the error budget remains")),
        (long(10), Outcome.NO_DATA, Judgement("silent", "no data in this tick")),
        (long(9), Outcome.OK, Judgement("over", "10% of the error budget remains")),
        (long(9), Outcome.NO_TRAFFIC, Judgement("over", "10% of the error budget remains")),
        (long(9), Outcome.PARTIAL,
         Judgement("silent", "only a partial answer in this tick; 10% of the error budget remains")),
        (long(9), Outcome.UNKNOWN, Judgement("silent", "this tick is unknown")),
        (long(9, known=2_879), Outcome.OK,
         Judgement("silent", "10% of the error budget remains, but under 80% of the window is known")),
        (long(12, known=2_880), Outcome.OK, Judgement("silent",
         "-20% of the error budget remains, but more than that were the unknown ticks good")),
        (long(0, 0, 0), Outcome.OK, Judgement("silent", "nothing is known")),
        (long(0, 0), Outcome.NO_TRAFFIC, Judgement("over", "100% of the error budget remains")),
    ],
    ids=[
        "spent", "spent, partial", "spent, no data", "left", "left, no traffic now", "left, partial",
        "left, unknown", "left, too little known", "spent on what is known", "nothing known", "no traffic at all",
    ],
)  # fmt: skip
def test_what_a_tick_says_about_the_budget(of_window, outcome, expected):
    """Spent only when sure, restored only when known well enough."""
    assert expected == alerts.judge_remaining(of_window, ALLOWED, outcome=outcome)


def test_a_page_stands_above_a_ticket_and_the_larger_factor_above_the_smaller():
    """The highest firing rule is named; equal ones do not suppress each other."""
    pairs = [("page", 3_600, "14.4"), ("page", 21_600, "6"), ("ticket", 86_400, "30"), ("page", 7_200, "6")]
    rules = alerts.ruleset(
        tuple(BurnRateAlert(severity=s, long=w, short=300, burn_rate=Decimal(f)) for s, w, f in pairs), TARGET
    ).rules
    high, low, ticket, equal = rules
    assert "burn:page:3600:300" == alerts.suppressor(ticket, [low, high, ticket])
    assert "burn:page:21600:300" == alerts.suppressor(ticket, [low, ticket])
    assert None is alerts.suppressor(high, rules)
    assert None is alerts.suppressor(equal, [low, ticket])


def test_a_ruleset_has_names_limits_and_windows():
    """What is computed once per SLO."""
    pairs = (
        PAIR,
        PAIR.model_copy(update={"severity": "ticket", "long": 21_600, "burn_rate": Decimal("6.0")}),
    )
    ruleset = alerts.ruleset(pairs, TARGET)
    assert (300, 3_600, 21_600) == ruleset.windows
    assert ALLOWED == ruleset.allowance
    assert ["burn:page:3600:300", "burn:ticket:21600:300"] == [rule.name for rule in ruleset.rules]
    assert [("1h", "5m", "14.4"), ("6h", "5m", "6")] == [(r.long, r.short, r.factor) for r in ruleset.rules]
    assert [budget.Ratio(9, 625), budget.Ratio(3, 500)] == [rule.limit for rule in ruleset.rules]
    assert [0, 0] == [rule.minimum_bad for rule in ruleset.rules]
