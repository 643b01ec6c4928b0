"""The ten histories of the comparison, each with its own trouble; seeds are fixed, so every run is the same."""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.servers import load_openmetrics
from tests.worlds import history
from tests.worlds.history import DAY, END, START, Life, Span, World

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = 3_600
FOREVER = END + DAY


def diurnal(mean: float) -> Callable[[np.ndarray], np.ndarray]:
    """Events per second that swing by 60 % over the day."""
    return lambda times: mean * (1 + 0.6 * np.sin(2 * np.pi * (times % DAY) / DAY - 2))


def constant(rate: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same events per second at all times."""
    return lambda times: np.full(len(times), rate)


def bursts(world: World, begin: float, end: float, *, mean: float, size: tuple[int, int]) -> np.ndarray:
    """Failures that come in bursts of a few seconds: `mean` bursts, each of `size` events."""
    times = []
    for _ in range(world.random.poisson(mean)):
        at = world.random.uniform(begin, end)
        times.append(at + world.random.uniform(0, 8, world.random.integers(*size)))
    return np.sort(np.concatenate(times)) if times else np.empty(0)


def spans(world: World, *, every: float, shortest: float, longest: float) -> list[Span]:
    """Random spans about `every` seconds apart, none in the first 14 hours nor the last two."""
    found = []
    at = START + 14 * HOUR + world.random.uniform(0, every)
    while at < END - 2 * HOUR - longest:
        length = world.random.uniform(shortest, longest)
        found.append((at, at + length))
        at += length + every * world.random.uniform(0.5, 1.5)
    return found


def crashing(world: World, *, every: float, down: Span) -> list[Life]:
    """Lives of a process that dies again and again and is back after a while."""
    lives, at = [], START - 5_000.0
    while at < END:
        end = at + world.random.exponential(every) + 120
        lives.append(Life(at, end, base=(25_000, 5) if at < START else (0, 0)))
        at = end + world.random.uniform(*down)
    return lives


def steady() -> World:
    """Two pods that live through all of it."""
    world = World("steady", "steady", diurnal(8), diurnal(0.04), bad_from_start=True)
    for number, age in enumerate((3 * DAY, 9 * DAY)):
        world.target(f"10.0.0.{number}:8080", [Life(START - age, FOREVER, base=(age * 8, age // 25))])
    return world


def replaced() -> World:
    """Two pods replaced every 6 hours; the failures' series is born with the first burst of failures."""
    world = World("replaced", "pods replaced every 6 h, error series born late", diurnal(4), constant(0))
    for slot in range(2):
        begin = START - 3 * HOUR * slot - 600.0
        number = 0
        while begin < END:
            end = begin + 6 * HOUR + world.random.uniform(0, 120)
            failures = bursts(world, max(begin, START), end, mean=2, size=(4, 40))
            life = Life(
                begin,
                end + 20,
                base=(40_000 * slot + 2_000, 0) if begin < START else (0, 0),
                failures=failures,
            )
            found = begin + world.random.uniform(1, 6)
            world.target(
                f"10.1.{slot}.{number}:8080", [life], watched=(max(found, START), min(end + 25, END))
            )
            begin, number = end, number + 1
    return world


def crashes() -> World:
    """A process that crashes several times a day and is back within a minute."""
    world = World(
        "crashes",
        "processes that crash several times a day",
        diurnal(5),
        diurnal(0.001),
        good_from_start=False,
    )
    world.target("10.2.0.1:8080", crashing(world, every=4 * HOUR, down=(3, 45)))
    return world


def gaps() -> World:
    """Scrape gaps of 2 to 4 minutes, every other one with `up` 0, the rest with nothing at all."""
    world = World("gaps", "scrape gaps of 2-4 minutes", diurnal(6), diurnal(0.05))
    world.holes = spans(world, every=3 * HOUR, shortest=120, longest=240)
    world.target("10.3.0.1:8080", [Life(START - DAY, FOREVER, base=(500_000, 4_000))],
                 failed=world.holes[::2], silent=world.holes[1::2])  # fmt: skip
    return world


def unreachable() -> World:
    """Two pods, one of them cut off for 25 to 40 minutes now and then, counting on meanwhile."""
    world = World("unreachable", "targets unreachable for 25-40 minutes", diurnal(6), diurnal(0.06))
    world.holes = spans(world, every=1.2 * DAY, shortest=25 * 60, longest=40 * 60)
    for number in range(2):
        life = Life(START - DAY, FOREVER, base=(300_000, 2_500))
        world.target(f"10.4.0.{number}:8080", [life], failed=world.holes[number::2])
    return world


def server_down() -> World:
    """Prometheus itself down for 20 minutes; every other time the process is replaced meanwhile."""
    world = World("server-down", "Prometheus down for 20 minutes", diurnal(5), diurnal(0.05))
    world.holes = spans(world, every=2.5 * DAY, shortest=1_200, longest=1_201)
    lives, begin, base = [], START - DAY, (400_000, 3_000)
    for down, _ in world.holes[1::2]:
        end = down + world.random.uniform(120, 900)
        lives.append(Life(begin, end, base=base))
        begin, base = end + 4, (0, 0)
    world.target("10.5.0.1:8080", [*lives, Life(begin, FOREVER, base=base)], silent=world.holes)
    return world


def rare() -> World:
    """Three requests per hour, a tenth of them failing."""
    world = World(
        "rare", "3 requests per hour", constant(2.7 / HOUR), constant(0.3 / HOUR), good_from_start=False
    )
    world.target("10.6.0.1:8080", [Life(START - DAY, FOREVER, base=(65, 7))])
    return world


def nights() -> World:
    """Busy days without failures, quiet nights in which half of the requests fail."""

    def at_night(times: np.ndarray) -> np.ndarray:
        hour = times % DAY / HOUR
        return (hour < 6) | (hour >= 22)

    world = World(
        "nights", "busy clean days, quiet failing nights",
        lambda times: np.where(at_night(times), 0.25, 20.0), lambda times: np.where(at_night(times), 0.25, 0.0),
        bad_from_start=True,
    )  # fmt: skip
    world.target("10.7.0.1:8080", [Life(START - DAY, FOREVER, base=(900_000, 6_000))])
    return world


def late() -> World:
    """Five days without a target, five with a target but no request, then traffic."""
    first = END - 20 * DAY
    world = World(
        "late", "ten days of nothing, then traffic",
        lambda times: np.where(times < first, 0, 6.0), lambda times: np.where(times < first, 0, 0.05),
        good_from_start=False,
    )  # fmt: skip
    begin = first - 5 * DAY
    world.target("10.8.0.1:8080", [Life(begin, FOREVER)], watched=(begin + 3, END))
    return world


def flawless() -> World:
    """Never a failure: the failures' series never exists."""
    world = World("flawless", "never an error", diurnal(10), constant(0))
    world.target("10.9.0.1:8080", [Life(START - DAY, FOREVER, base=(800_000, 0))])
    return world


def hourly(*, days: int = 30, pods: int = 4) -> World:
    """Pods replaced every hour, with both their series from the start: 8 series at any time (for the benches)."""
    world = World("hourly", "pods replaced every hour", diurnal(4), diurnal(0.02), bad_from_start=True)
    first = END - days * DAY - HOUR
    for slot in range(pods):
        begin = first - HOUR * slot / pods - 600
        number = 0
        while begin < END:
            end = begin + HOUR
            found = max(begin + world.random.uniform(1, 6), first)
            if found < min(end + 25, END):
                world.target(
                    f"10.20.{slot}.{number}:8080",
                    [Life(begin, end + 20)],
                    watched=(found, min(end + 25, END)),
                )
            begin, number = end, number + 1
    return world


GENERATORS = (steady, replaced, crashes, gaps, unreachable, server_down, rare, nights, late, flawless)


def build() -> list[World]:
    """All ten worlds."""
    return [generate() for generate in GENERATORS]


def load(folder: Path, worlds: list[World]) -> Path:
    """Make, or find from an earlier run of the same generators, the TSDB blocks of the worlds; returns their folder."""
    sources = [Path(__file__), Path(history.__file__)]
    made = folder / hashlib.sha256(b"".join(one.read_bytes() for one in sources)).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side: one makes them, the others wait
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                text, blocks = Path(scratch) / "worlds.txt", Path(scratch) / "blocks"
                history.write(worlds, text)
                load_openmetrics(text, blocks)
                blocks.rename(made)
    return made
