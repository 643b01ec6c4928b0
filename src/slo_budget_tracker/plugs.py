"""Plugs: a connection whose other end keeps silent is pulled: whoever waits on it gets an error.

A server that hangs, or a proxy that swallows packets, gives neither data nor an end: libpq waits.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

LOOK = 0.25  # seconds between two looks


class Plug:
    """Watches one connection from a thread of its own; `arm` before a statement, `disarm` after it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._guard = threading.Lock()
        self._socket: socket.socket | None = None
        self._deadline: float | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, handle: int) -> None:
        """Watch the socket with this file descriptor from now on."""
        with self._guard:
            self._drop()
            self._socket = socket.socket(fileno=os.dup(handle))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ledger plug", daemon=True)
            self._thread.start()

    def arm(self) -> None:
        """A statement begins."""
        self._deadline = time.monotonic() + self.seconds

    def disarm(self) -> None:
        """It has come to an end."""
        self._deadline = None

    def drop(self) -> None:
        """Watch nothing."""
        with self._guard:
            self._drop()

    def close(self) -> None:
        """End."""
        self.drop()
        self._closed.set()

    def _drop(self) -> None:
        self._deadline = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _run(self) -> None:
        while not self._closed.wait(min(LOOK, self.seconds / 4)):
            deadline = self._deadline
            if deadline is not None and time.monotonic() > deadline:
                with self._guard, suppress(OSError):
                    if self._socket is not None and self._deadline == deadline:
                        self._socket.shutdown(socket.SHUT_RDWR)
