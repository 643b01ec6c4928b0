"""Tokens: right, wrong, and guessed too often."""

from __future__ import annotations

import pytest

from slo_budget_tracker.guesses import GUESS_SECONDS, GUESSES, Verdict
from slo_budget_tracker.tokens import Tokens

RIGHT, WRONG, MISSING, LATER = Verdict.RIGHT, Verdict.WRONG, Verdict.MISSING, Verdict.LATER


@pytest.fixture
def judge():
    """The judgement of a header, from an address at a time."""
    tokens = Tokens()

    def one(header="Bearer S3CR3T", *, client="192.0.2.1", now=0.0, name="pen", expected="S3CR3T"):
        return tokens.judge(name, header, expected, client=client, now=now)

    one.refused = tokens.refused
    return one


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        ("Bearer S3CR3T", RIGHT),
        ("bearer  S3CR3T ", RIGHT),
        ("Bearer s3cr3t", WRONG),
        ("Bearer \u00e9", WRONG),
        ("Bearer ", MISSING),
        ("Basic UzNDUjNU", MISSING),
        ("S3CR3T", MISSING),
        ("", MISSING),
    ],
)
def test_a_header_bears_the_token_or_not(judge, header, verdict):
    """The scheme in any case, the token as it is."""
    assert verdict is judge(header)


def test_a_token_of_any_letters_is_taken(judge):
    """A header comes as latin-1, whatever its bytes are; the token's file is UTF-8."""
    sent = "schlüssel à".encode().decode("latin-1")
    assert RIGHT is judge(f"Bearer {sent}", expected="schlüssel à")


def test_guesses_run_out_and_come_back(judge):
    """H11: ten at once, then one per three seconds; the right one is not taken for it either until then."""
    assert [WRONG] * GUESSES + [LATER] == [judge(f"Bearer {n}") for n in range(GUESSES + 1)]
    assert LATER is judge()
    assert WRONG is judge("Bearer x", now=GUESS_SECONDS)
    assert RIGHT is judge(now=2 * GUESS_SECONDS)
    assert {"token": GUESSES + 1, "guesses": 2} == judge.refused


def test_whoever_is_known_goes_on(judge):
    """H11: a pipeline that was right is not shut out by who guesses from its address, nor are other addresses."""
    assert RIGHT is judge()
    assert LATER is [judge(f"Bearer {n}") for n in range(GUESSES + 1)][-1]
    assert RIGHT is judge()
    assert RIGHT is judge(client="192.0.2.2")


def test_other_addresses_are_not_told_what_is_right(judge):
    """H11: who guessed too often elsewhere is told to wait, with the token that another address bears, too."""
    assert RIGHT is judge()
    assert LATER is [judge(f"Bearer {n}", client="192.0.2.2") for n in range(GUESSES + 1)][-1]
    assert LATER is judge(client="192.0.2.2")
    assert RIGHT is judge()


def test_a_token_that_was_replaced_is_wrong(judge):
    """What was right is remembered for its own route, and no longer than it is right."""
    assert [RIGHT, WRONG, RIGHT] == [
        judge(),
        judge(expected="N3W"),
        judge("Bearer N3W", expected="N3W"),
    ]
    assert WRONG is judge(expected="N3W")
    assert RIGHT is judge(name="reload")


def test_nothing_is_a_guess_that_bears_none(judge):
    """Without a token nothing is taken from the address."""
    assert {MISSING} == {judge("") for _ in range(3 * GUESSES)}
    assert RIGHT is judge()
