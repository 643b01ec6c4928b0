"""Selectors and expressions: what is read, and what matches."""

from __future__ import annotations

import pytest

from slo_budget_tracker.selectors import (
    Matcher,
    Selector,
    beyond_promql,
    parse_expression,
    parse_selector,
    quote,
    substitute_window,
)


def test_a_selector_has_its_matchers_in_order():
    """Equal selectors are equal values, however they are written."""
    expected = Selector("x_total", (Matcher("code", "=~", "5.."), Matcher("job", "=", "a")))
    assert expected == parse_selector('x_total{job="a", code=~"5.."}')
    assert expected == parse_selector('{code=~\'5..\',job=`a`,__name__="x_total",job="a"} # twice')


def test_a_selector_prints_as_promql_that_reads_back():
    """Quotes, backslashes and newlines survive."""
    selector = Selector("x", (Matcher("a", "!=", 'b"c\\d\ne'), Matcher("b", "!~", "\\.")))
    assert selector == parse_selector(str(selector))
    assert '"\\"\\\\\\n"' == quote('"\\\n')


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ('x{a="1"}', {"a": "1"}, True),
        ('x{a=""}', {}, True),
        ('x{a!="1"}', {}, True),
        ('x{a=~"1|2"}', {"a": "12"}, False),
        ('x{a=~".+"}', {}, False),
        ('x{a!~"5.."}', {"a": "503"}, False),
        ("x", {"__name__": "y"}, False),
        ("x", {"__name__": "x"}, True),
    ],
)
def test_labels_match_as_in_prometheus(text, labels, matches):
    """Absent labels are empty, patterns are anchored, the name counts where it is given."""
    assert matches is parse_selector(text).matches(labels)


def test_the_window_is_filled_in_for_whole_tokens_only():
    """C17: $window in texts and comments and within longer words stays."""
    text = 'rate(x{a="$window"}[$window]) + y[$windows] + z[2$window] # $window'
    expected = 'rate(x{a="$window"}[5m]) + y[$windows] + z[2$window] # $window'
    assert expected == substitute_window(text, "5m")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rate(x[5m])", "without \\$window"),
        ("rate(x[$interval])", "variable \\$interval"),
        ("x[$window]", "range of samples"),
        ("(x[$window])", "range of samples|not PromQL"),
        ("x[$window:1m]", "range of samples"),
        ("rate(x[$window]", "not PromQL"),
        ('"a" # $window', "without|a text"),
        ("rate(x[$window])\x00", "control character"),
    ],
)
def test_expressions_that_bring_no_number_are_refused(text, sentence):
    """C17: parsed before they are used, with $window as a duration."""
    with pytest.raises(ValueError, match=sentence):
        parse_expression(text)


def test_an_expression_loses_its_comments():
    """What a query puts behind an expression is not swallowed."""
    assert 'rate(x{a="#"}[$window])' == parse_expression(' rate(x{a="#"}[$window]) # per second\n')


def test_lone_surrogates_are_no_crash():
    """C19: text that is not Unicode is refused with a sentence."""
    with pytest.raises(ValueError, match=r"."):
        parse_selector('x{a="\ud800"}')


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 - histogram_share(0.2, sum by (vmrange) (rate(x[$window])))", ("histogram_share",)),
        ('label_set(median_over_time(x[$window]), "a", "b", "c", "d")', ("label_set", "median_over_time")),
        ("share_gt_over_time(x[$window], 3)", ("share_gt_over_time",)),
        ("sum(rate(x[$window]))", ()),
    ],
)
def test_functions_of_victoriametrics_are_known(text, names):
    """MetricsQL's functions are read and named; what nobody has is refused as before."""
    assert names == beyond_promql(parse_expression(text))
    with pytest.raises(ValueError, match="unknown function"):
        parse_expression("histogram_guess(x[$window])")
