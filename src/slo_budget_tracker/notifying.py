"""Notifying: what systemd is told over its socket (sd_notify(3)), and when its watchdog wants to hear us."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Notifier:
    """Speaks to the service manager, or to nobody; never fails."""

    address: str = ""
    watchdog_seconds: float | None = None  # within which the manager wants a sign of life

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """As the environment says (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`)."""
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        seconds = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) > 0 else None
        return cls(environ.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self, status: str = "") -> None:
        """Started, or done with reloading."""
        self._say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """The end begins."""
        self._say("STOPPING=1")

    def _say(self, *lines: str) -> None:
        if not self.address.startswith(("/", "@")):
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.setblocking(False)
            speaking.sendto("\n".join(line for line in lines if line != "STATUS=").encode(), address)
