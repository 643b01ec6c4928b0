"""Recorded series: which of an expression's have to be there, and what is asked about their samples (D24)."""

from __future__ import annotations

import pytest

from slo_budget_tracker.queries import plan
from slo_budget_tracker.recordings import share
from slo_budget_tracker.slis import PromqlSli
from tests.unit.serving import availability


def of(selector, span="5m", usual="1h", offset=""):
    """What is asked about one selector."""
    samples = f"count_over_time({selector}[{span}]{offset})"
    return f"(max({samples}) + 1) / max(max_over_time({samples}[{usual}:{span}]))"


def least(*shares):
    """The least of several."""
    parts = [f'label_replace({one}, "part", "{at}", "", "")' for at, one in enumerate(shares)]
    return f"min({' or '.join(parts)})"


@pytest.mark.parametrize(
    ("expression", "window", "asked"),
    [
        ("sum(rate(x_total[$window]))", 300, None),
        ("sum(sum_over_time(a:b[$window]))", 300, least(of("a:b"))),
        ("sum(sum_over_time(a:b[$window]))", 600, least(of("a:b", "10m"))),
        ("sum(sum_over_time(a:b[$window]))", 60, least(of("a:b"))),
        ('a:b{c="d"} offset 5m', 0, least(of('a:b{c="d"}', offset=" offset 300s"))),
        (r"""a:b{c=~"/v1\\.\"x"}""", 0, least(of(r"""a:b{c=~"/v1\\.\"x"}"""))),
        ('a:b{c="1",d="2" or e!="3"}', 0, least(of('a:b{c="1",d="2" or e!="3"}'))),
        ("last_over_time(a:b[2h]) < 3", 0, least(of("a:b", "2h", "8h"))),
        ("-(a:b) + c:d", 0, least(of("a:b"), of("c:d"))),
        ("a:b / c:d", 0, least(of("c:d"))),
        ("a:b / x", 0, least(of("a:b"))),
        ("(a:b / c:d) or vector(0)", 0, least(of("c:d"))),
        ("sum(a:b) or vector(0)", 0, None),
        ("a:b or c:d", 0, least(of("a:b"), of("c:d"))),
        ("a:b unless on () shop:maintenance", 0, least(of("a:b"))),
        ("x unless a:b", 0, None),
        ("absent(a:b)", 0, None),
        ("a:b @ end()", 0, None),
        ("max_over_time(a:b[2h:1m])", 0, least(of("a:b"))),
    ],
)
def test_what_is_asked(expression, window, asked):
    """Divisors before what is divided, nothing of what may be missing; each over its own range."""
    assert asked == share([expression], window)


@pytest.mark.parametrize(
    ("sli", "judged"),
    [
        (PromqlSli(total="a:total[$window]", bad="a:bad"), "a:total"),
        (PromqlSli(good="a:good", bad="a:bad"), "a:good"),
        (PromqlSli(error_ratio="a:bad / a:all"), "a:all"),
        (PromqlSli(total="x", bad="a:bad"), None),
    ],
)
def test_no_failures_are_often_no_series(sli, judged):
    """Judged are the series of `total`, or of `good`, or those below the line."""
    sli = sli.model_copy(update={"total": sli.total and sli.total.replace("[$window]", "")})
    (batch,) = plan([availability(sli=sli)], replica_labels={}).expressions
    asked = [member.expression for member in batch.members if member.slot.role == "recorded"]
    assert ([] if judged is None else [share([judged], 300)]) == asked
