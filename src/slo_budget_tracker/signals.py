"""Signals: TERM and INT end the daemon, HUP reloads it; caught from the very start, as process 1 too."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ENDS = frozenset({signal.SIGTERM, signal.SIGINT})
STOP_WITHIN = 4.0  # seconds for everything that hangs, from the first signal on


@dataclass(slots=True)
class Wishes:
    """What the outside world wants: `stop` is set by TERM and INT, `reload` is called for each HUP.

    The C handler writes the signal's number into a pipe, whatever the main thread is busy with; a thread of
    our own reads it and acts. No Python code runs inside a handler.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    reload: Callable[[], object] | None = None
    _caught: bool = False
    _leaving: threading.Timer | None = None

    def catch(self) -> None:
        """Take the signals from now on, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._caught = True
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._obey, args=(reading,), name="signals", daemon=True).start()
        for number in (*ENDS, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        if os.getpid() == 1:  # orphans come to process 1: the kernel reaps them (T18)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            with suppress(ChildProcessError):  # those that died before
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass

    def end(self) -> None:
        """Ask for the end; what still hangs after some seconds is left behind."""
        self.stop.set()
        if self._leaving is None:
            self._leaving = threading.Timer(STOP_WITHIN, leave)
            self._leaving.daemon = True
            self._leaving.start()

    def ended(self) -> None:
        """Everything has ended in time; but what a library's threads do at the exit may still hang."""
        if self._leaving is not None and not self._caught:
            self._leaving.cancel()

    def _obey(self, pipe: int) -> None:
        while numbers := os.read(pipe, 64):
            if ENDS & set(numbers):
                self.end()
            if signal.SIGHUP in numbers and self.reload is not None:
                self.reload()


def leave() -> None:
    """Something hangs in a foreign call: leave at once; nothing uncommitted was promised to anybody."""
    os._exit(0)
