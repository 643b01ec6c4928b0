"""Laws of selectors, patterns, durations and the Workbook's alerts."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo_budget_tracker.durations import format_duration, parse_duration, parse_fine_duration
from slo_budget_tracker.regexes import compiled, escaped
from slo_budget_tracker.selectors import Matcher, Selector, parse_selector, substitute_window
from slo_budget_tracker.specs import DAY, highest_burn_rate, workbook

LABELS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "__name__")
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=20)
TARGETS = st.integers(1, 99_999).map(lambda n: Decimal(n) / 100_000)


@given(st.lists(st.tuples(LABELS, st.sampled_from(["=", "!="]), VALUES), max_size=5))
def test_a_selector_reads_back_as_it_prints(matchers):
    """Any label value survives quoting and parsing."""
    ordered = sorted({Matcher(*one) for one in matchers}, key=lambda m: (m.label, m.operator, m.value))
    selector = Selector("x_total", tuple(ordered))
    assert selector == parse_selector(str(selector))


@given(VALUES, VALUES)
def test_an_escaped_text_matches_itself_only(text, other):
    """Escaping and matching with = are the same."""
    assert (text == other) is (compiled(escaped(text)).fullmatch(other) is not None)


@given(st.text("ab.|*+?(){},[]^$\\dws-:i1P<>=!", max_size=12), st.text("ab1 -\n", max_size=6))
def test_any_pattern_is_refused_or_can_be_matched(pattern, text):
    """No pattern raises anything but a sentence, and no translation is left that Python refuses."""
    try:
        found = compiled(pattern)
    except ValueError as error:
        if isinstance(error, re.error):
            raise
    else:
        found.fullmatch(text)


def plain_patterns():
    """Patterns whose meaning is the same in every dialect."""
    atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\.", "[a-c]"])
    once = st.tuples(atoms, st.sampled_from(["", "*", "+", "?", "{1,2}", "*?"])).map("".join)
    joined = st.lists(once, max_size=4).map("".join)
    return st.lists(joined, min_size=1, max_size=3).map("|".join)


@given(plain_patterns(), st.text("abc.\n", max_size=6))
def test_plain_patterns_mean_the_same_as_in_python(pattern, text):
    """The translation changes nothing where the dialects agree."""
    expected = re.fullmatch(pattern, text, re.DOTALL) is not None
    assert expected is (compiled(pattern).fullmatch(text) is not None)


@given(st.integers(0, 400 * DAY))
def test_durations_read_back_as_they_print(seconds):
    """Printing loses nothing, down to milliseconds."""
    assert seconds == parse_duration(format_duration(seconds))
    assert Decimal(seconds) / 1_000 == parse_fine_duration(format_duration(Decimal(seconds) / 1_000))


@given(st.text("0123456789.ywdhms -+_e", max_size=8))
def test_any_text_is_a_duration_or_a_sentence(text):
    """Nothing but ValueError, and no negative duration."""
    for parse in (parse_duration, parse_fine_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert str(error)  # noqa: PT017 - either outcome is right


@given(st.text("x[]$window 5m\"'`\\#\n", max_size=30))
def test_a_text_in_quotes_is_never_changed(text):
    """C17: the window goes into code only."""
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    assert f"x{{a={quoted}}}[5m]" == substitute_window(f"x{{a={quoted}}}[$window]", "5m")


@given(TARGETS, st.integers(3_600, 400 * DAY), st.sampled_from([10, 15, 60, 300]))
def test_every_alert_of_the_workbook_can_fire_and_makes_sense(target, window, tick):
    """1 <= factor <= 1 / (1 - target), long at most a quarter, short at least two ticks, no rule twice."""
    alerts, left_out = workbook(target, window, tick)
    for alert in alerts:
        assert 1 <= alert.burn_rate <= highest_burn_rate(target)
        assert 2 * tick <= alert.short < alert.long <= window / 4
    assert len(alerts) == len({alert.rule for alert in alerts})
    assert len(alerts) + len(left_out) in {3, 4}


@given(st.integers(14, 45), st.just(Decimal("0.9999")))
def test_a_months_page_spends_two_percent_in_an_hour(days, target):
    """The factor is share x period / long window, to the last digit that a decimal has."""
    first = workbook(target, days * DAY)[0][0]
    exact = Fraction(2, 100) * days * 24
    assert 0 <= exact - Fraction(first.burn_rate) < Fraction(1, 10**20)


@pytest.mark.parametrize("text", ["1_0s", "\uff110s", "1 s", "\n1s", "1s\x00"])
def test_digits_of_other_grammars_are_no_durations(text):
    """What Python's int() would take is refused."""
    with pytest.raises(ValueError, match=r"duration"):
        parse_duration(text)
