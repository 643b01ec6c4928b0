"""The example shop's traffic: how many requests come, fail and are slow at an instant, in the past as now."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY = 86_400
BUCKETS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)  # seconds
PODS = 3
SLOW_SHARE = 0.4  # of the incidents, slow rather than failing


@dataclass(frozen=True)
class Handler:
    """One kind of request: mean rate and shares over all pods, median latency where it is measured."""

    path: str
    per_second: float
    failing: float
    refused: float = 0.0  # answered 404 or the like: no fault of ours
    median: float | None = None  # seconds


HANDLERS = (
    Handler("/", per_second=9.0, failing=0.0002),
    Handler("/search", per_second=5.0, failing=0.0004, refused=0.03, median=0.09),
    Handler("/cart", per_second=2.5, failing=0.0005),
    Handler("/checkout", per_second=1.5, failing=0.0012, refused=0.01, median=0.13),
)


@dataclass(frozen=True)
class Incident:
    """A span in which requests fail (share) or are slow (factor)."""

    start: float
    end: float
    failing: float
    slowness: float
    paths: tuple[str, ...]


def crowd(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Traffic relative to its mean: busiest in the afternoon, quiet at night, less at weekends."""
    weekend = (t // DAY + 5) % 7 < 2  # noqa: PLR2004 - two days; 1970-01-01 was a Thursday
    return (1 + 0.6 * np.sin(2 * math.pi * (t / DAY - 0.375))) * np.where(weekend, 0.7, 1.0)


def incidents(start: float, end: float) -> list[Incident]:
    """What went wrong in the past: once a day or so some minutes of errors or slowness, one bad deploy."""
    chosen = random.Random(7)
    found = []
    t = start + chosen.expovariate(1 / DAY)
    while t < end - 2 * 3_600:
        length = chosen.uniform(120, 900)
        slow = chosen.random() < SLOW_SHARE
        failing = 0.004 if slow else chosen.uniform(0.01, 0.06)
        paths = tuple(chosen.sample([one.path for one in HANDLERS], k=2))
        found.append(Incident(t, t + length, failing, 4.0 if slow else 1.2, paths))
        t += length + chosen.expovariate(1 / DAY)
    bad_deploy = end - 1.4 * DAY
    found.append(Incident(bad_deploy, bad_deploy + 1_500, 0.03, 1.5, ("/checkout", "/cart")))
    return found


def strength(
    t: NDArray[np.float64], known: list[Incident], path: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The additional share of failures, and the factor of slowness, of one path at each instant."""
    failing = np.zeros_like(t)
    slowness = np.ones_like(t)
    for one in known:
        if path in one.paths:
            inside = (t >= one.start) & (t < one.end)
            failing[inside] = one.failing
            slowness[inside] = one.slowness
    return failing, slowness


def bucket_shares(median: float, slowness: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of requests between two bucket bounds (the last column: above all) at each instant."""
    bounds = np.log(np.array(BUCKETS))[None, :] - np.log(median * slowness)[:, None]
    below = 0.5 * (1 + np.vectorize(math.erf)(bounds / (0.55 * math.sqrt(2))))
    edges = np.hstack([np.zeros((len(slowness), 1)), below, np.ones((len(slowness), 1))])
    return np.diff(edges, axis=1)
