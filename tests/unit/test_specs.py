"""Specs: what makes sense, what is refused, what the Workbook's alerts are, and the hashes."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from fractions import Fraction

import pytest
from pydantic import ValidationError

from slo_budget_tracker import hashes
from slo_budget_tracker.hashes import definition_hash, sli_hash
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import (
    DAY,
    SLO,
    BurnRateAlert,
    LatencySli,
    PromqlSli,
    RequestsSli,
    highest_burn_rate,
    simple,
    workbook,
)

SLI = RequestsSli(total=(parse_selector("x"),), bad=(parse_selector('x{code=~"5.."}'),))


def an_slo(**changes) -> SLO:
    """An SLO that differs in a few fields."""
    return SLO(**{"name": "a", "target": Decimal("0.999"), "sli": SLI, **changes})


def pairs(target: str, window: int, tick: int = 60) -> list[tuple[str, int, int, str]]:
    """The Workbook's alerts in short."""
    alerts, _ = workbook(Decimal(target), window, tick)
    return [(a.severity, a.long, a.short, str(a.burn_rate)) for a in alerts]


@pytest.mark.parametrize(
    ("days", "factors"),
    [
        (14, ["6.72", "2.8", "1.4", "1"]),
        (30, ["14.4", "6", "3", "1"]),
        (45, ["21.6", "9", "4.5", "1.5"]),
        (46, ["11.04", "5.52", "2.3", "1.533333333333333333333333333"]),
        (90, ["21.6", "10.8", "4.5", "3"]),
        (7, ["16.8", "5.6", "2.8", "1"]),
        (1, ["2.4", "1", "1"]),
    ],
)
def test_the_workbooks_factors_by_period(days, factors):
    """Share of the budget times period over long window, never below 1."""
    assert factors == [factor for *_, factor in pairs("0.9999", days * DAY)]


def test_the_last_pair_of_a_short_period_is_a_quarter_of_it():
    """A week ends with a ticket over 42 h and 3.5 h; equal pairs come once, with the lower factor."""
    assert ("ticket", 151_200, 12_600, "1") == pairs("0.999", 7 * DAY)[-1]
    assert [("ticket", DAY, 7_200, "1")] == [p for p in pairs("0.999", 4 * DAY) if p[1] == DAY]


@pytest.mark.parametrize(
    ("target", "window", "tick", "sentence"),
    [
        (
            "0.9",
            30 * DAY,
            60,
            "the page pair 1h&5m of `workbook` is left out: its factor 14.4 cannot be reached, at most 10",
        ),
        (
            "0.999",
            3_600,
            10,
            "the page pair 1h&5m of `workbook` is left out: its long window exceeds a quarter of 1h",
        ),
        (
            "0.999",
            30 * DAY,
            300,
            "the page pair 1h&5m of `workbook` is left out: its short window is below 2 ticks of 5m",
        ),
    ],
)
def test_pairs_that_make_no_sense_are_left_out_with_a_reason(target, window, tick, sentence):
    """Unreachable, too long for the period, too short for the tick."""
    _, left_out = workbook(Decimal(target), window, tick)
    assert sentence == left_out[0]


def test_a_factor_equal_to_the_highest_stays():
    """Equal is reachable."""
    assert "14.4" in [factor for *_, factor in pairs("0.94", 30 * DAY)]
    assert ("page", 3_600, 300, "2.4") in pairs(str(1 - Decimal(1) / Decimal("2.4") + Decimal("1e-28")), DAY)
    assert Fraction(20) == highest_burn_rate(Decimal("0.95"))
    assert (
        Decimal(20) == an_slo(target=Decimal("0.95"), alerts=simple([3_600], Decimal(20))).alerts[0].burn_rate
    )


def test_the_seeds_simple_form():
    """One page for each window, long and short the same."""
    assert [("page", 3_600, 3_600, "14.4"), ("page", 21_600, 21_600, "14.4")] == [
        (a.severity, a.long, a.short, str(a.burn_rate)) for a in simple()
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target": Decimal(1)}, "target: 1, expected a ratio above 0 and below 1"),
        ({"target": Decimal(0)}, "target: 0, expected"),
        ({"target": Decimal("NaN")}, "finite number"),
        ({"name": "A"}, 'name: "A", expected 1 to 63 of a-z, 0-9 and -, no - at the ends; perhaps a'),
        ({"name": "a" * 64}, "name: "),
        ({"window": 0}, "window: 0 seconds, expected at least 1 second"),
        ({"window": 1_800, "alerts": simple([3_600])}, r"alerts\[0\].long: 1h, longer than the SLO's window"),
        ({"target": Decimal("0.9"), "alerts": simple()}, r"alerts\[0\].burn_rate: 14.4 cannot be reached with the target 0.9, expected at most 10;"),
        ({"alerts": simple([3_600, 3_600])}, r"alerts\[1\]: a second page over 1h&1h"),
        ({"owner": 5}, "valid string"),
        ({"window": "30d"}, "valid integer"),
        ({"targt": 1}, "Extra inputs"),
    ],
)  # fmt: skip
def test_an_slo_that_makes_no_sense_is_refused(changes, sentence):
    """C11, C12, C19: strict types, nothing unknown, and every defect in a sentence."""
    with pytest.raises(ValidationError, match=sentence):
        an_slo(**changes)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: BurnRateAlert(long=60, short=3_600, burn_rate=Decimal(2)),
            "short: 1h, longer than the long window",
        ),
        (lambda: BurnRateAlert(long=0, short=0, burn_rate=Decimal(2)), "long: 0 seconds"),
        (
            lambda: BurnRateAlert(long=60, short=60, burn_rate=Decimal("0.99")),
            "burn_rate: 0.99, expected at least 1",
        ),
        (lambda: BurnRateAlert(long=60, short=60, burn_rate=Decimal("NaN")), "finite number"),
        (lambda: BurnRateAlert(long=60, short=60, burn_rate=Decimal(2), for_seconds=-1), "for: -1 seconds"),
        (lambda: RequestsSli(total=(), bad=()), "no selector"),
        (lambda: RequestsSli(total=SLI.total), "neither `bad` nor `good`"),
        (lambda: RequestsSli(total=SLI.total, bad=SLI.bad, good=SLI.bad), "both `bad` and `good`"),
        (lambda: RequestsSli(total=SLI.total * 2, bad=SLI.bad), "x twice"),
        (lambda: LatencySli(histogram=parse_selector("x_count"), threshold=Decimal(1)), "write x"),
        (lambda: LatencySli(histogram=parse_selector("x"), threshold=Decimal("Infinity")), "threshold"),
        (lambda: PromqlSli(error_ratio="x", bad="y"), "or `error_ratio` alone"),
        (lambda: PromqlSli(bad="x", good="x", total="x"), "two of"),
        (lambda: PromqlSli(error_ratio="x", window=0), "window: 0 seconds"),
    ],
)
def test_parts_that_make_no_sense_are_refused(make, sentence):
    """Each part of an SLO is checked by itself."""
    with pytest.raises(ValidationError, match=sentence):
        make()


def test_the_windows_of_an_slo():
    """Its own, its alerts', and the one that exhaustion is estimated over, ascending and once each."""
    assert (300, 3_600, 21_600, 2_592_000) == an_slo(
        alerts=(BurnRateAlert(long=3_600, short=300, burn_rate=Decimal(2)),)
    ).windows
    assert (900, 3_600) == an_slo(window=3_600).windows


def test_the_error_budget_is_exact():
    """D20: 1 - 0.99999 is exactly 1 / 100,000."""
    assert Fraction(1, 100_000) == an_slo(target=Decimal("0.99999")).error_budget


@pytest.mark.parametrize(
    ("changes", "definition", "sli"),
    [
        ({"description": "other", "links": (("runbook", "https://x"),), "source": "b.yaml:7"}, False, False),
        ({"target": Decimal("0.9990")}, False, False),
        ({"target": Decimal("0.998")}, True, False),
        ({"window": 7 * DAY}, True, False),
        ({"labels": (("team", "b"),)}, True, False),
        ({"alerts": simple()}, True, False),
        ({"name": "b"}, True, False),
        ({"datasource": "eu"}, True, True),
        ({"sli": RequestsSli(total=SLI.total, good=SLI.bad)}, True, True),
        (
            {"sli": RequestsSli(total=(parse_selector("x {}"),), bad=(parse_selector("x{code=~'5..'}"),))},
            False,
            False,
        ),
        ({"sli": PromqlSli(error_ratio="x")}, True, True),
    ],
)
def test_the_hashes_change_with_what_they_stand_for(changes, definition, sli):
    """C14: the definition's hash ignores words and places, the SLI's everything but what is counted."""
    one, other = an_slo(), an_slo(**changes)
    assert (definition, sli) == (
        definition_hash(one) != definition_hash(other),
        sli_hash(one) != sli_hash(other),
    )


def test_the_hashes_are_the_same_on_every_machine():
    """Stored in ledgers: a changed hash would begin a new generation of counts."""
    assert ("c69667be8c0a274d", "782ab2a38861bb1b") == (definition_hash(an_slo()), sli_hash(an_slo()))


def test_the_order_of_a_sum_is_no_difference():
    """Lists of selectors are sums."""
    a, b = parse_selector("a"), parse_selector("b")
    one = an_slo(sli=RequestsSli(total=(a, b), bad=SLI.bad))
    other = an_slo(sli=RequestsSli(total=(b, a), bad=SLI.bad))
    assert sli_hash(one) == sli_hash(other)


@pytest.mark.parametrize("text", ["plain", "ü", "\x7f", "line\nbreak\t\b\f\r", 'quote " \\', "\x01\x1f", "𝄞"])
def test_hashes_are_those_of_the_json_they_always_were_of(text):
    """Whoever makes that JSON faster: ledgers of old know SLOs by these hashes."""
    fields = {"sli": {"total": [text], "limit": Decimal("0.9990")}, "by": (text, "a"), "n": 10, "no": None}
    json_text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=hashes._plain)
    assert hashlib.sha256(json_text.encode()).hexdigest()[:16] == hashes._digest(fields)
