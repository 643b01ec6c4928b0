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
from enum import Enum
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

import bcrypt

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 72  # bytes of a password that bcrypt looks at
MOST_WAITING = 8  # for bcrypt; a further one is told to come again
MOST_REMEMBERED = 256  # logins that were right
MOST_CLIENTS = 4_096
GUESSES = 10  # that an address has at once
GUESS_SECONDS = 3.0  # until it has one more
_NETWORK_BITS = 64  # of an IPv6 address: who has one has all below


class Verdict(Enum):
    """What becomes of a login."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    LATER = "later"  # too many guesses, from there or in all


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time."""

    tokens: float
    at: float

    def take(self, now: float, *, every: float, most: float) -> bool:
        """Take one of the tokens that are there now."""
        self.tokens = min(most, self.tokens + max(0.0, now - self.at) / every)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Passwords:
    """Judges logins by their hashes; what was right is remembered under a key of this process."""

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _right: OrderedDict[bytes, None] = field(default_factory=OrderedDict, repr=False)
    _clients: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)
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
        bucket = self._bucket(client, now)
        if self._waiting >= MOST_WAITING or not bucket.take(now, every=GUESS_SECONDS, most=GUESSES):
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

    def _bucket(self, client: str, now: float) -> Bucket:
        """The guesses of an address."""
        where = network(client)
        bucket = self._clients.setdefault(where, Bucket(GUESSES, now))
        self._clients.move_to_end(where)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return bucket


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


def network(client: str) -> str:
    """Who counts as one guesser: an IPv4 address, or the network of an IPv6 address."""
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> _NETWORK_BITS << _NETWORK_BITS))
    return str(address)
