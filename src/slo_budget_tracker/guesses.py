"""Guesses: how often somebody may try a password or a token, by the address that tries (H11)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address, ip_address

GUESSES = 10  # that an address has at once
GUESS_SECONDS = 3.0  # until it has one more
MOST_CLIENTS = 4_096
MOST_REMEMBERED = 256
_NETWORK_BITS = 64  # of an IPv6 address: who has one has all below


class Verdict(Enum):
    """What becomes of a password or a token."""

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
class Guesses:
    """What each address has left; of the addresses that were seen last."""

    _clients: OrderedDict[str, Bucket] = field(default_factory=OrderedDict)

    def take(self, client: str, now: float) -> Bucket | None:
        """What a guess of this address was taken from, to be given back if right; None if it has none."""
        where = network(client)
        bucket = self._clients.setdefault(where, Bucket(GUESSES, now))
        self._clients.move_to_end(where)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return bucket if bucket.take(now, every=GUESS_SECONDS, most=GUESSES) else None


@dataclass(slots=True)
class Remembered:
    """What was right, and from where, under a key of this process.

    It goes through whatever else its address tries. From another address it is a guess like any: who has used
    up the guesses there is not told by an answer that this one is right.
    """

    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _marks: OrderedDict[bytes, None] = field(default_factory=OrderedDict, repr=False)

    def mark(self, client: str, *parts: bytes) -> bytes:
        """A login or a token of an address; with its lengths, so that no two are one."""
        every = (network(client).encode(), *parts)
        whole = b"".join(len(part).to_bytes(8, "big") + part for part in every)
        return hmac.digest(self._key, whole, hashlib.sha256)

    def knows(self, mark: bytes) -> bool:
        """Whether this was right before."""
        if mark not in self._marks:
            return False
        self._marks.move_to_end(mark)
        return True

    def learn(self, mark: bytes) -> None:
        """That this is right; of all those that were seen last are kept."""
        self._marks[mark] = None
        if len(self._marks) > MOST_REMEMBERED:
            self._marks.popitem(last=False)


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
