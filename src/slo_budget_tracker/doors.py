"""Doors: what happens to a connection before HTTP is spoken on it: is there room, and the TLS handshake."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from slo_budget_tracker.certificates import Identity
    from slo_budget_tracker.protection import Protector

SHUTDOWN_SECONDS = 2.0  # for a client that does not take part in the end of TLS
_FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Member(Protocol):
    """A connection that is counted."""

    silent_since: float
    transport: asyncio.Transport

    @property
    def busy(self) -> bool:
        """Whether it is being answered, so that it cannot go."""


class Speaker(Protocol):
    """What speaks HTTP on a connection; an `asyncio.Protocol`."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""

    def data_received(self, data: bytes) -> None:
        """Read on."""


@dataclass(slots=True)
class Hall:
    """All connections of a server: those that speak HTTP, and those that still stand in the door."""

    speaking: Collection[Member]
    most: int
    handshake_seconds: float
    protector: Protector | None = None
    shaking: set[Door] = field(default_factory=set)

    def make_room(self) -> bool:
        """Whether one more may come in, if need be in the place of the longest silent one."""
        members = [one for one in (*self.speaking, *self.shaking) if not one.transport.is_closing()]
        if len(members) < self.most:
            return True
        silent = [one for one in members if not one.busy]
        if not silent:
            return False
        min(silent, key=lambda one: one.silent_since).transport.abort()
        return True

    def refuse(self, reason: str) -> None:
        """Count a connection that was not let in."""
        if self.protector is not None:
            self.protector.refused[reason] += 1


class Door(asyncio.Protocol):
    """Lets one connection in and hands it over; a handshake has its time, like a header (H1, H2)."""

    busy = False

    def __init__(self, speaker: Speaker, hall: Hall) -> None:
        self.speaker = speaker
        self.hall = hall
        self.silent_since = 0.0
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # until there is one
        self._early = bytearray()  # what comes between the handshake and the handing over
        self._lost = False
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Let it in where there is room: at once, or to the handshake."""
        protector = self.hall.protector
        identity = None if protector is None else protector.current.identity
        if not self.hall.make_room():
            self.hall.refuse("full")
            if identity is None:
                transport.write(_FULL)
            transport.close()
            return
        if identity is None:
            self._hand_over(transport)
            return
        self.transport = transport
        self.silent_since = asyncio.get_running_loop().time()
        self.hall.shaking.add(self)
        transport.pause_reading()  # nothing is read that is not for the handshake
        self._task = asyncio.get_running_loop().create_task(self._shake(identity))

    def data_received(self, data: bytes) -> None:
        """Keep what comes before the handing over."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - as asyncio calls it
        """Nobody is there any more."""
        self._lost = True

    async def _shake(self, identity: Identity) -> None:
        secured = None
        try:
            if self.transport.is_closing():  # it made room for another one
                return
            secured = await asyncio.get_running_loop().start_tls(
                self.transport,
                self,
                identity.context,
                server_side=True,
                ssl_handshake_timeout=self.hall.handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except OSError:  # of TLS, of the network, or too late
            pass
        finally:
            self.hall.shaking.discard(self)
            if secured is None or self._lost:
                self.hall.refuse("handshake")
        if secured is None or self._lost:
            return
        if not identity.admits(secured.get_extra_info("peercert")):
            self.hall.refuse("certificate")
            secured.close()
            return
        self._hand_over(secured)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        transport.set_protocol(self.speaker)  # type: ignore[arg-type]  # it is one
        self.speaker.connection_made(transport)
        if self._early:
            self.speaker.data_received(bytes(self._early))
