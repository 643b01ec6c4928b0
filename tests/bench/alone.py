"""What ticks ask where no two SLOs can be merged, in good times and bad: requests counted, in one process, without a server.

    python -m tests.bench alone [10000]

Each SLO has a metric of its own, of two pods. All of them restart at once, are silent for a while, are replaced by pods of
other addresses, get another label, and the server is away for an hour. The daemon's own ticks (`Evaluator`) count them over
an in-memory ledger, with the daemon's ration (src/slo_budget_tracker/rations.py); late data are looked for within the ticks.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.index import literals
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rations import A_TICK
from tests.unit.test_joints import START, slo
from tests.unit.tsdb import BEFORE, DAY_MS, RAW, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slo_budget_tracker.answers import RangeQuery
    from slo_budget_tracker.selectors import Selector

SCRAPE, TICK = 30, 60
PODS = ("a", "b")
CODES = {"200": 3, "500": 1}  # requests a second
FIRST = -600  # seconds: the first scrape


class Phase(NamedTuple):
    """So many ticks, at whose begin something happens to all pods, or to the server."""

    name: str
    ticks: int
    kind: str = ""


PHASES = (
    Phase("the first ticks", 3),
    Phase("usual ticks", 12),
    Phase("all processes restart", 4, "restart"),
    Phase("no data for anybody", 11, "silence"),
    Phase("data again", 14, "return"),
    Phase("all pods are replaced", 4, "replace"),
    Phase("all targets get a label", 4, "relabel"),
    Phase("the server is away", 60, "away"),
    Phase("it is back", 8, "back"),
)


@dataclass
class Era:
    """A time in which pods stay what they are; seconds from START."""

    begin: int
    end: int
    pods: str
    zone: str
    born: int
    scraped: bool = True


@dataclass
class World:
    """Metrics that grow evenly, and what a server says of them."""

    eras: list[Era] = field(default_factory=lambda: [Era(FIRST, 1 << 40, "", "", FIRST - 9_000)])
    asked: int = 0
    away: bool = False

    def turn(self, kind: str, at: int) -> None:
        """Something happens to all pods at an instant (seconds), or to the server."""
        self.away = kind == "away"
        last = self.eras[-1]
        new = Era(at, last.end, last.pods, last.zone, last.born, scraped=kind != "silence")
        if kind in {"restart", "replace"}:
            new.born = at + 5
        if kind == "replace":
            new.pods = f"-{at}"
        if kind == "relabel":
            new.zone = f"zone-{at}"
        last.end = at
        self.eras.append(new)

    def ask(self, query: Query | RangeQuery) -> Answer:
        """The answer to one of the few kinds of question."""
        self.asked += 1
        if self.away:
            raise Unreachable("away", reason="connect")
        assert isinstance(query, Query)
        until = query.at * 1000
        if raw := RAW.match(query.expression):
            selector = parse(query.expression[: query.expression.rindex("[")])
            return Answer(tuple(self._series(selector, until - int(raw["seconds"]) * 1000, until)))
        before = BEFORE.match(query.expression)
        assert before is not None, query.expression
        until -= int(before["offset"]) * 1000
        found = self._series(parse(before["selector"]), until - DAY_MS, until, last=True)
        if before["how"] == "last":
            return Answer(tuple(found))
        plain = ({name: text for name, text in one.labels.items() if name != "__name__"} for one in found)
        return Answer(tuple(Series(labels, [until], [1.0]) for labels in plain))

    def _series(self, selector: Selector, after: int, until: int, *, last: bool = False) -> Iterator[Series]:
        listed = {one.label: literals(one) or frozenset() for one in selector.matchers}
        names = listed.get("__name__") or {selector.metric}
        own = sorted(int(name[1:]) for name in names if name[1:].isdigit())
        numbers = own or sorted(int(job[1:]) for job in listed["job"])
        for era in self.eras:
            first, end = max(after, (START + era.begin) * 1000 - 1), min(until, (START + era.end) * 1000 - 1)
            if not era.scraped or first >= end:
                continue
            for number in numbers:
                times = _scrapes(number, first, end)
                for pod in PODS if times else ():
                    instance = pod + era.pods
                    if "instance" in listed and instance not in listed["instance"]:
                        continue
                    target = {"job": f"x{number}", "instance": instance}
                    target |= {"zone": era.zone} if era.zone else {}
                    for labels, values in _exported(number, target, era, times, names, own=bool(own)):
                        yield (
                            Series(labels, times[-1:], values[-1:]) if last else Series(labels, times, values)
                        )


def _scrapes(number: int, after: int, until: int) -> list[int]:
    """When the pods of a metric are scraped, ms."""
    phase = START * 1000 + number * 37 % (SCRAPE * 1000)
    first = phase + ((after - phase) // (SCRAPE * 1000) + 1) * SCRAPE * 1000
    return list(range(first, until + 1, SCRAPE * 1000))


def _exported(
    number: int, target: dict[str, str], era: Era, times: list[int], names: set[str], *, own: bool
) -> Iterator[tuple[dict[str, str], list[float]]]:
    if own:
        for code, pace in CODES.items():
            labels = {"__name__": f"m{number}", "code": code, **target}
            yield labels, [float(max((at // 1000 - START - era.born) * pace, 0)) for at in times]
    if "up" in names:
        yield {"__name__": "up", **target}, [1.0] * len(times)
    if "process_start_time_seconds" in names:
        yield (
            {"__name__": "process_start_time_seconds", **target},
            [float(START + era.born)] * len(times),
        )


@dataclass
class Found:
    """What the ticks of a phase asked, and what they ended with."""

    name: str
    asked: list[int] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    behind: int = 0  # ticks until nothing was pending
    cpu: float = 0.0


def measure(
    count: int, *, ration: int | None = A_TICK, phases: tuple[Phase, ...] = PHASES
) -> Iterator[Found]:
    """Go through all phases, and tell of each."""
    world, at = World(), 0
    with Ledger.open("sqlite://") as ledger:
        slos = tuple(map(slo, range(count)))
        options = {"asks": {"default": world.ask}, "delay": 0, "workers": 1, "ration": ration}
        evaluator = Evaluator(slos, ledger, **options).prepare(START)
        for phase in phases:
            if phase.kind:
                world.turn(phase.kind, at)
            one = Found(phase.name)
            for number in range(phase.ticks):
                at += TICK
                world.asked, began = 0, time.process_time()
                report = evaluator.advance(START + at)
                one.asked.append(world.asked)
                one.outcomes.update(report.outcomes)
                one.cpu += time.process_time() - began
                if report.pending_seconds:
                    one.behind = number + 1
            yield one


def head(count: int) -> str:
    """What stands above the rows."""
    return (
        f"| {count:,} SLOs, no two merged | ticks | requests per tick, mean / most | behind for | SLO ticks by their end |\n"
        "|---|--:|--:|--:|---|"
    )


def row(one: Found) -> str:
    """A phase as a row of the table."""
    ends = ", ".join(f"{times:,} {name}" for name, times in sorted(one.outcomes.items()))
    return (
        f"| {one.name} | {len(one.asked)} | {sum(one.asked) / len(one.asked):,.0f} / {max(one.asked):,} "
        f"| {one.behind} ticks | {ends or 'none'} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("slos", type=int, nargs="?", default=10_000)
    count = parser.parse_args().slos
    print(head(count))
    for one in measure(count):
        print(row(one), flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
