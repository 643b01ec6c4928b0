"""When a server may be asked: how many requests at a time, not before when, how long between tries."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_PAUSE = 0.25  # seconds; the upper end of the first pause, doubled for each further one


class Lanes:
    """At most `limit` requests at a time; halved when the server is too busy, widened slowly when it is not.

    Additive increase, multiplicative decrease, as in TCP: one lane more after as many good answers as there
    are lanes.
    """

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._limit = float(self._most)
        self._taken = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return int(self._limit)

    @contextmanager
    def lane(self, timeout: float) -> Iterator[bool]:
        """Wait for a lane and keep it; False when none came free within `timeout` seconds."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._taken < self.limit, timeout=max(timeout, 0))
            self._taken += free
        try:
            yield free
        finally:
            with self._changed:
                self._taken -= free
                self._changed.notify()

    def widen(self) -> None:
        """Note a good answer."""
        with self._changed:
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._changed.notify()

    def narrow(self) -> None:
        """Note that the server is too busy."""
        with self._changed:
            self._limit = max(1.0, self._limit / 2)


class Gate:
    """Shut for a time: after `Retry-After`, and for a minute after the server refused our credentials."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._opens = float("-inf")

    def shut(self, seconds: float) -> None:
        """Let nobody through for `seconds`; never shortens what was said before."""
        self._opens = max(self._opens, self._clock() + seconds)

    @property
    def wait(self) -> float:
        """Seconds until it opens; 0 when it is open."""
        return max(0.0, self._opens - self._clock())


def pause(tries: int, *, longest: float, random_share: Callable[[], float] = random.random) -> float:
    """Seconds to wait after `tries` failed tries: full jitter below a limit that doubles.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """
    ceiling: float = FIRST_PAUSE * 2 ** (tries - 1)
    return random_share() * min(ceiling, longest)
