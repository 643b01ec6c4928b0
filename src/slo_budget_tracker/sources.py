"""Sources: the datasources of a configuration as clients, and how they are asked within a time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from slo_budget_tracker.errors import PrometheusError, Unreachable
from slo_budget_tracker.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slo_budget_tracker.queries import Answer, Query, RangeQuery
    from slo_budget_tracker.reading import Ask
    from slo_budget_tracker.settings import Settings

PROBE_SECONDS = 2.0  # for asking a server what time it has


def clients(settings: Settings) -> dict[str, Prometheus]:
    """One client for each datasource of the configuration."""
    return {name: Prometheus(datasource) for name, datasource in settings.datasources.items()}


def renewed(running: Mapping[str, Prometheus], old: Settings, new: Settings) -> dict[str, Prometheus]:
    """The clients of new settings; those whose settings are the same stay as they are."""
    return {
        name: running[name]
        if name in running and old.datasources.get(name) == datasource
        else Prometheus(datasource)
        for name, datasource in new.datasources.items()
    }


def budget(settings: Settings) -> float:
    """Seconds for one question of a tick, retries included."""
    return max(min(settings.longest_timeout * 2, settings.evaluation.interval * 0.8), 1.0)


def server_time(clients: Mapping[str, Prometheus]) -> float | None:
    """What time it is by the datasource that is furthest ahead; None where none has said."""
    said = [client.server_time for client in clients.values()]
    return max((time for time in said if time is not None), default=None)


def probe(clients: Mapping[str, Prometheus]) -> dict[str, str]:
    """Ask every server what it is, which also tells its time; those that do not answer soon are left out."""

    def flavor(item: tuple[str, Prometheus]) -> tuple[str, str]:
        name, client = item
        with suppress(PrometheusError):
            return name, client.buildinfo(budget_seconds=PROBE_SECONDS)
        return name, ""

    with ThreadPoolExecutor(max_workers=max(len(clients), 1)) as pool:
        return {name: found for name, found in pool.map(flavor, clients.items()) if found}


def asks(
    clients: Mapping[str, Prometheus], *, budget: float, left: Callable[[], float] | None = None
) -> dict[str, Ask]:
    """How to ask each datasource within `budget` seconds, retries included; errors name who failed.

    `left` says how many seconds are left for all questions together: after them nothing is asked.
    """

    def ask(name: str, client: Prometheus, query: Query | RangeQuery) -> Answer:
        seconds = budget if left is None else min(budget, left())
        try:
            if seconds <= 0:
                raise Unreachable("no time was left in this tick", reason="no_time")
            return client.ask(query, budget_seconds=seconds)
        except PrometheusError as error:
            error.args = (f"datasource {name} at {client.address}: {error}",)
            raise

    return {name: partial(ask, name, client) for name, client in clients.items()}


class Timebox:
    """The seconds that one tick may take, from when it was opened."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._ends = clock() + seconds

    def open(self) -> None:
        """Begin anew."""
        self._ends = self._clock() + self.seconds

    def left(self) -> float:
        """Seconds until it is over, below 0 after that."""
        return self._ends - self._clock()

    def over(self) -> bool:
        """Whether the time is up."""
        return self.left() <= 0
