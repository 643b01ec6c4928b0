"""Pages per month by policy where traffic is low, made by `replay` over a month of scrapes.

A service whose requests fail by chance, half as often as its target of 99.9 % allows, and once for an hour four of
five. Every page outside that hour is one too many; the outage is found, or it is not.

    python -m tests.bench lowtraffic [days]
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from decimal import Decimal

from slo_budget_tracker.replays import Grid, replay
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import DAY, SLO, RequestsSli, workbook
from tests.unit.serving import BEGIN, Archive, Server

HOUR = 3_600
TARGET = Decimal("0.999")
SCRAPE = 60
POLICIES = {
    "workbook": {},
    "minimum_bad: 2": {"minimum_bad": 2},
    "minimum_bad: 3": {"minimum_bad": 3},
    "confidence: 99%": {"confidence": Decimal("0.99")},
    "both (3, 99%)": {"minimum_bad": 3, "confidence": Decimal("0.99")},
}


@dataclass(frozen=True)
class Pages:
    """What one policy made of the month: pages without a cause, and the delay of the page for the outage."""

    policy: str
    an_hour: int
    needless: int
    found_after: int | None


def world(an_hour: int, *, days: int, outage: int, seed: int = 1) -> Server:
    """A month of scrapes: Poisson traffic, failures by chance, and an hour in which 80 % fail."""
    rng = random.Random(seed)
    db, pod = Archive(), {"job": "shop", "instance": "a:80"}
    good = bad = 1_000
    for offset in range(-2 * HOUR, days * DAY, SCRAPE):
        arrived = sum(rng.random() < an_hour / HOUR for _ in range(SCRAPE))
        chance = 0.8 if outage <= offset < outage + HOUR else float(1 - TARGET) / 2
        failed = sum(rng.random() < chance for _ in range(arrived))
        good, bad = good + arrived - failed, bad + failed
        time = (BEGIN + offset) * 1000 + 7_000
        db.put("up", pod, time, 1)
        db.put("http_requests_total", {**pod, "code": "200"}, time, good)
        db.put("http_requests_total", {**pod, "code": "500"}, time, bad)
    return Server(db)


def policies() -> list[SLO]:
    """The same objective once for each policy."""
    total, failed = (
        parse_selector(text) for text in ("http_requests_total", 'http_requests_total{code="500"}')
    )
    pairs, _ = workbook(TARGET, 30 * DAY)
    return [
        SLO(
            name=f"p{at}",
            target=TARGET,
            window=30 * DAY,
            sli=RequestsSli(total=(total,), bad=(failed,)),
            alerts=tuple(pair.model_copy(update=guard) for pair in pairs if pair.severity == "page"),
        )
        for at, guard in enumerate(POLICIES.values())
    ]


def pages(an_hour: int, *, days: int = 30, interval: int = 60) -> list[Pages]:
    """The pages of each policy in a replay of the month."""
    outage = days * DAY // 2
    server = world(an_hour, days=days, outage=outage)
    grid = Grid(interval=interval, delay=30)
    result = replay(policies(), {"default": server}, start=BEGIN, end=BEGIN + days * DAY, grid=grid)
    found = []
    for at, policy in enumerate(POLICIES):
        begun = [
            one.at - BEGIN
            for one in result.transitions
            if one.kind == "slo_burn_started" and one.payload["slo_name"] == f"p{at}"
        ]
        caused = [instant for instant in begun if outage <= instant <= outage + 2 * HOUR]
        needless = len([instant for instant in begun if not outage <= instant <= outage + 6 * HOUR])
        found.append(Pages(policy, an_hour, needless, caused[0] - outage if caused else None))
    return found


def main() -> None:
    """The table, as Markdown."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    print("| requests an hour | policy | needless pages a month | the outage pages after |")
    print("|---|---|---|---|")
    for an_hour in (3, 10, 69, 600):
        for one in pages(an_hour, days=days):
            after = "never" if one.found_after is None else f"{one.found_after // 60} min"
            print(f"| {one.an_hour} | `{one.policy}` | {one.needless * 30 // days} | {after} |", flush=True)
