"""Garbage: the interpreter looks for cycles that nobody needs any more between ticks, never inside of one.

With ten thousand SLOs millions of objects live as long as the daemon. Looking through all of them each time
a tick had made enough new ones took more than half of a tick.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARENA_MAX, _MMAP_THRESHOLD = -8, -3  # as malloc.h has them
_LARGE = 4 << 20  # bytes
SELDOM = 60  # ticks between two looks through all that there is


@contextmanager
def waiting() -> Iterator[None]:
    """No look for garbage meanwhile."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def prepare() -> None:
    """Let threads share memory that was given back, and large pieces go back to the system at once.

    Otherwise the C library keeps a heap for each of up to sixteen threads, with what a page of 26 MB or an
    answer of a megabyte once needed in it.
    """
    with suppress(OSError, AttributeError):  # glibc has it
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 2)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)


def last() -> None:
    """All that is there now will live long: it is not looked through again."""
    gc.freeze()


def settle() -> None:
    """The same at the end of a start or a reload.

    Memory that was only needed on the way here goes back to the system, where the C library can do that: of
    a ledger with 30 days of ten thousand SLOs a quarter of a gigabyte.
    """
    last()
    with suppress(OSError, AttributeError):  # glibc has it
        ctypes.CDLL(None).malloc_trim(0)


@dataclass(slots=True)
class Sweep:
    """What a tick leaves is not looked through at its end; all of it is, once in many ticks.

    A tick leaves verdicts, which end with the next one without any look, and hardly a cycle.
    """

    ticks: int = 0

    def after_tick(self) -> None:
        """Leave what there is alone, or look through it where that is due."""
        self.ticks += 1
        if self.ticks % SELDOM == 0:
            loosen()
            gc.collect()
        last()


def loosen() -> None:
    """What was there may be of no use any more."""
    gc.unfreeze()
