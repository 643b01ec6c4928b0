"""Passwords: bcrypt in a thread, one at a time; guessing is slow and tells nothing about who exists (H11)."""

from __future__ import annotations

import asyncio
import binascii
import hmac
import secrets
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bcrypt

from slo_budget_tracker.guesses import Guesses, Remembered, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 72  # bytes of a password that bcrypt looks at
MOST_WAITING = 8  # for bcrypt; a further one is told to come again


@dataclass(slots=True)
class Passwords:
    """Judges logins by their hashes; what was right is remembered for its address."""

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _right: Remembered = field(default_factory=Remembered)
    _guesses: Guesses = field(default_factory=Guesses)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="bcrypt")
    )
    _waiting: int = 0

    async def judge(
        self, users: Mapping[str, bytes], header: bytes | None, *, client: str, now: float
    ) -> Verdict:
        """Whether an Authorization header names a user and the right password.

        A user who does not exist costs what one who exists costs: somebody's hash is looked at all the same.
        """
        login = credentials(header)
        if login is None:
            return Verdict.MISSING
        name, password = login
        known = users.get(name.decode("utf-8", "replace"))
        hashed = known or self._decoy(users, name)
        mark = self._right.mark(client, name, hashed, password)
        if known is not None and self._right.knows(mark):
            return Verdict.RIGHT
        bucket = None if self._waiting >= MOST_WAITING else self._guesses.take(client, now)
        if bucket is None:
            return Verdict.LATER
        self._waiting += 1
        try:
            fits = await asyncio.get_running_loop().run_in_executor(
                self._thread, bcrypt.checkpw, password[:LONGEST], hashed
            )
        finally:
            self._waiting -= 1
        if not fits or known is None:
            return Verdict.WRONG
        bucket.tokens += 1
        self._right.learn(mark)
        return Verdict.RIGHT

    def _decoy(self, users: Mapping[str, bytes], name: bytes) -> bytes:
        """The same of the hashes each time for a name that nobody has."""
        hashes = sorted(users.values())
        drawn = hmac.digest(self._key, b"decoy" + name, "sha256")
        return hashes[int.from_bytes(drawn, "big") % len(hashes)]


def credentials(header: bytes | None) -> tuple[bytes, bytes] | None:
    """User and password of `Basic …`; None where there are none."""
    scheme, _, encoded = (header or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None
