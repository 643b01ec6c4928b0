"""Signals: TERM and INT end the daemon, HUP reloads it; caught from the very start, as process 1 too."""

from __future__ import annotations

import os
import signal
import sys
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

    def quit(self, status: int) -> None:
        """End the process where it is ours, leaving to the kernel what it holds.

        To take millions of objects apart one by one, as the interpreter does at its end, takes many seconds
        with ten thousand SLOs, in which no timer runs; the kernel takes none.
        """
        if self._caught:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
                    stream.flush()
            leave(status)

    def _obey(self, pipe: int) -> None:
        while numbers := os.read(pipe, 64):
            if ENDS & set(numbers):
                self.end()
            if signal.SIGHUP in numbers and self.reload is not None:
                self.reload()


def leave(status: int = 0) -> None:
    """Leave at once, whatever hangs in a foreign call; nothing uncommitted was promised to anybody."""
    os._exit(status)
