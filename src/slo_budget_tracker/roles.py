"""Roles: whether a daemon leads, evaluating and sending, or follows, showing what another one concluded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """What a daemon is at the moment.

    Attributes:
        term: how often the lease of a ledger in PostgreSQL was taken; None for a ledger that nobody shares.
        leader: who leads, where somebody is known to.
    """

    leads: bool = True
    term: int | None = None
    leader: str | None = None
