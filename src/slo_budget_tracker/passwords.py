"""Passwords: bcrypt in a thread, one at a time; guessing is slow and tells nothing about who exists (H11)."""

from __future__ import annotations

import asyncio
import binascii
import hashlib
import hmac
import secrets
from base64 import b64decode
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import bcrypt

from slo_budget_tracker.guesses import Guesses, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 72  # bytes of a password that bcrypt looks at
MOST_WAITING = 8  # for bcrypt; a further one is told to come again
MOST_REMEMBERED = 256  # logins that were right


@dataclass(slots=True)
class Passwords:
    """Judges logins by their hashes; what was right is remembered under a key of this process."""

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _right: OrderedDict[bytes, None] = field(default_factory=OrderedDict, repr=False)
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
        mark = self._mark(name, hashed, password)
        if known is not None and mark in self._right:
            self._right.move_to_end(mark)
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
        self._right[mark] = None
        if len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)
        return Verdict.RIGHT

    def _decoy(self, users: Mapping[str, bytes], name: bytes) -> bytes:
        """The same of the hashes each time for a name that nobody has."""
        hashes = sorted(users.values())
        drawn = hmac.digest(self._key, b"decoy" + name, "sha256")
        return hashes[int.from_bytes(drawn, "big") % len(hashes)]

    def _mark(self, name: bytes, hashed: bytes, password: bytes) -> bytes:
        """One login under the key of this process; with its lengths, so that no two logins are one."""
        parts = b"".join(len(part).to_bytes(8, "big") + part for part in (name, hashed, password))
        return hmac.new(self._key, parts, hashlib.sha256).digest()


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
