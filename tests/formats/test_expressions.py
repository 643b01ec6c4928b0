"""Expressions: which counters they add up, or the reason why nobody can say."""

from __future__ import annotations

import pytest

from slo_budget_tracker.formats.expressions import functions, read_counts, read_ratio, with_window

COUNTS = {
    "sum(rate(x[$window]))": "+x",
    'sum by (b, a) (increase(x{k="v"}[$window]))': '+x{k="v"} by a,b',
    "(((sum(rate(x[5m])))))": "+x",
    "sum(sum by (a) (rate(x[$window])))": "+x",
    "sum(rate(x[$window])) + sum(rate(y[$window])) - sum(rate(z[$window]))": "+x+y-z",
    "sum(rate(x[$window])) - (sum(rate(y[$window])) - sum(rate(z[$window])))": "+x-y+z",
    "sum(sum(rate(x[$window])) + sum(rate(y[$window])))": "+x+y",
    "sum(rate(x[$window])) or vector(0)": "+x",
    "(sum(rate(x[$window])) OR on() (vector((0)))) > 0": "+x",
    "rate(x[$window])": "+x",
    "sum(x)": "+x",
}
NO_COUNTS = {
    "avg(rate(x[$window]))": "avg() is no sum of counters",
    "irate(x[$window])": "irate() is no sum of counters",
    "rate(x[$window:1m])": "rate() of a subquery is no sum of counters",
    "sum without (a) (rate(x[$window]))": "sum without(…) keeps labels apart that are not named",
    "sum by (le) (rate(x[$window]))": "sum by (le) keeps buckets apart",
    "sum by (b) (sum by (a) (rate(x[$window])))": "sum by labels that an inner sum has dropped",
    "sum(rate(x[$window]) + rate(y[$window]))": "the operator + between series leaves out those without a partner",
    "sum(rate(x[$window])) + sum(increase(y[$window]))": "rate and increase in one sum",
    "sum(rate(x[$window])) + sum(y)": "rate and a counter in one sum",
    "sum by (a) (rate(x[$window])) - sum by (b) (rate(x[$window]))": "sums by different labels",
    "sum(rate(x[$window])) * 2": "the operator * makes no sum of counters",
    "sum(rate(x[$window])) > 1": "the operator > makes no sum of counters",
    "sum(rate(x[$window])) > bool 0": "the operator > makes no sum of counters",
    "sum(rate(x[$window])) or vector(1)": "the operator or makes no sum of counters",
    "-sum(rate(x[$window]))": "a negated expression is no sum of counters",
    "sum(rate(x[$window] offset 5m))": "a selector with offset or @; leave these out: each tick chooses its instant",
    "1": "a number is no sum of counters",
    "$other": "the variable $other; none is filled in here",
}
RATIOS = {
    "sum(rate(b[$window])) / sum(rate(t[$window]))": ("+b", "+t", False),
    "1 - (sum(rate(g[$window])) / sum(rate(t[$window])))": ("+g", "+t", True),
    "(1 - (1 - sum(rate(b[$window])) / sum(rate(t[$window])))) or vector(0)": ("+b", "+t", False),
    "sum(rate(b[$window])) / (sum(rate(b[$window])) + sum(rate(g[$window])))": ("+b", "+b+g", False),
}
NO_RATIOS = {
    "avg_over_time(x[$window])": "avg_over_time() is no ratio of two sums of counters",
    "sum(rate(x[$window]))": "sum() is no ratio of two sums of counters",
    "(x)": "a single value is no ratio of two sums of counters",
    "sum(rate(x[$window])) * sum(rate(x[$window]))": "the operator * makes no ratio of two sums of counters",
    "2 - sum(rate(x[$window]))": "the operator - makes no ratio of two sums of counters",
}


def shown(counts):
    """Counters with their signs."""
    terms = "".join(f"{'+' if term.sign > 0 else '-'}{term.selector}" for term in counts.terms)
    return f"{terms} by {','.join(counts.groups)}" if counts.groups else terms


def reason(read, text):
    """Why an expression is not read."""
    with pytest.raises(ValueError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(("text", "expected"), COUNTS.items())
def test_sums_of_counters_are_recognised(text, expected):
    """What adds up counters, whatever stands around them, is which counters."""
    assert expected == shown(read_counts(text))


@pytest.mark.parametrize(("text", "expected"), NO_COUNTS.items())
def test_anything_else_says_why_it_is_no_sum(text, expected):
    """What does more than adding up says what it does."""
    assert expected == reason(read_counts, text)


@pytest.mark.parametrize(("text", "expected"), RATIOS.items())
def test_ratios_are_recognised(text, expected):
    """Bad over all, good over all, and one minus either."""
    found = read_ratio(text, good=False)
    assert expected == (shown(found.part), shown(found.total), found.good)


@pytest.mark.parametrize(("text", "expected"), NO_RATIOS.items())
def test_anything_else_says_why_it_is_no_ratio(text, expected):
    """What is no ratio of two sums says what it is."""
    assert expected == reason(lambda one: read_ratio(one, good=True), text)


def test_templates_in_each_spelling_are_the_window():
    """`{{.window}}` with and without spaces and dashes, in any case."""
    assert "a[$window] b[$window] c[$window]" == with_window(
        "a[{{.window}}] b[{{ .Window }}] c[{{- .window -}}]"
    )


def test_functions_over_ranges_are_named():
    """Functions of ranges and subqueries, not those of instants."""
    assert {"rate", "max_over_time"} == functions("abs(sum(rate(x[$window]))) + max_over_time(y[$window:])")
