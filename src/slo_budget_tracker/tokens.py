"""Tokens: who bears the right one may write; guessing is as slow as with passwords (H11)."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass, field

from slo_budget_tracker.guesses import Guesses, Remembered, Verdict

_REASONS = {Verdict.WRONG: "token", Verdict.LATER: "guesses"}


@dataclass(slots=True)
class Tokens:
    """Judges bearer tokens, and counts in `refused` what was not let in.

    What was right is remembered for its address: it gets through while others there guess.
    """

    refused: Counter[str] = field(default_factory=Counter)
    _right: Remembered = field(default_factory=Remembered)
    _guesses: Guesses = field(default_factory=Guesses)

    def judge(self, name: str, authorization: str, expected: str, *, client: str, now: float) -> Verdict:
        """Whether an Authorization header bears the expected token of this name."""
        scheme, _, given = authorization.encode("latin-1").partition(b" ")  # as HTTP has headers
        given = given.strip()
        if scheme.lower() != b"bearer" or not given:
            return Verdict.MISSING
        fits = hmac.compare_digest(given, expected.encode())
        mark = self._right.mark(client, name.encode(), given)
        verdict = Verdict.RIGHT
        if not (fits and self._right.knows(mark)):
            bucket = self._guesses.take(client, now)
            if bucket is None:
                verdict = Verdict.LATER
            elif not fits:
                verdict = Verdict.WRONG
            else:
                bucket.tokens += 1
                self._right.learn(mark)
        if verdict in _REASONS:
            self.refused[_REASONS[verdict]] += 1
        return verdict
