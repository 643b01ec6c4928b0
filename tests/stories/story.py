"""Stories: what happens to a service tick by tick, and what must be said about it, as readable text.

    story     a burst pages at once
    interval  1m                       # seconds per tick; 1m where nothing is said
    target    99.9%
    window    30d
    pair      page 1h 5m 14.4          # severity long short factor [for 5m] [keep 10m] [least 3]
    total     100                      # events per tick
    bad       0x60 5x3 _ error x2 0x10
    live      10m                      # first live tick; earlier ones are a first fill
    tells     1h1m  slo_burn_started   page:1h   at or above 14.4
    at        1h2m  page:1h            firing since 1h1m
    at        1h2m  remaining          0.5

The k-th tick ends at k times the interval. In `bad`, `5` is five failures of `total`, `5/20` five of twenty, `-`
no traffic, `_` no data, `5?` a partial answer, and `error`, `missed`, `unknown` what they say; `5x3` or a
following `x3` is three such ticks in all. `tells` lines are the complete list of transitions in their order;
text at the end must be part of the reason. `at` lines compare one thing each: a pair, `data`, `coverage`,
`remaining`, `worst`, `best`, `burn`, `breached`, `exhausted`, `exhaustion`, or `why PAIR` (part of its reason).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from slo_budget_tracker.durations import parse_duration
from slo_budget_tracker.selectors import Selector
from slo_budget_tracker.specs import SLO, BurnRateAlert, RequestsSli
from slo_budget_tracker.ticks import Counts, Outcome

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {
    "_": Outcome.NO_DATA,
    "error": Outcome.ERROR,
    "missed": Outcome.MISSED,
    "unknown": Outcome.UNKNOWN,
}
TOKEN = re.compile(r"(_|-|error|missed|unknown|\d+(?:/\d+)?\??)(?:x(\d+))?")
SLI = RequestsSli(total=(Selector("requests_total"),), bad=(Selector("failures_total"),))


@dataclass(frozen=True)
class Expectation:
    """One `at` line."""

    line: int
    at: int
    subject: str
    value: str


@dataclass(frozen=True)
class Told:
    """One `tells` line."""

    line: int
    at: int
    kind: str
    rule: str
    words: str


@dataclass
class Story:
    """One story of a file, as read."""

    file: str
    line: int
    name: str
    interval: int = 60
    target: Decimal = Decimal("0.999")
    window: int = 30 * 86_400
    pairs: list[BurnRateAlert] = field(default_factory=list)
    total: int = 100
    ticks: list[Counts] = field(default_factory=list)
    live: int = 0
    told: list[Told] = field(default_factory=list)
    expectations: list[Expectation] = field(default_factory=list)

    @property
    def slo(self) -> SLO:
        """The objective of the story."""
        return SLO(name="story", target=self.target, window=self.window, sli=SLI, alerts=tuple(self.pairs))


def read(path: Path) -> list[Story]:
    """All stories of a file; an unreadable line is a ValueError that names it."""
    stories: list[Story] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        word, _, rest = line.partition(" ")
        if word == "story":
            stories.append(Story(path.stem, number, rest.strip()))
            continue
        try:
            _take(stories[-1], word, rest.strip(), line=number)
        except (ValueError, KeyError, IndexError, AttributeError) as wrong:
            raise ValueError(f"{path.name}:{number}: {line!r}: {wrong}") from wrong
    return stories


def _take(story: Story, word: str, rest: str, *, line: int) -> None:
    match word:
        case "interval" | "window" | "live":
            setattr(story, word, parse_duration(rest))
        case "total":
            story.total = int(rest)
        case "target":
            story.target = Decimal(rest.removesuffix("%")) / 100
        case "pair":
            story.pairs.append(_pair(rest))
        case "bad":
            story.ticks += _ticks(rest, total=story.total)
        case "tells":
            at, kind, rule, words = (*rest.split(maxsplit=3), "")[:4]
            story.told.append(Told(line, parse_duration(at), kind, rule, words))
        case "at":
            at, subject, value = rest.split(maxsplit=2)
            story.expectations.append(Expectation(line, parse_duration(at), subject, value))
        case _:
            raise ValueError(f"no such word: {word}")


def _pair(text: str) -> BurnRateAlert:
    severity, long, short, factor, *rest = text.split()
    options = dict(zip(rest[::2], rest[1::2], strict=True))
    least = {"minimum_bad": int(options["least"])} if "least" in options else {}
    return BurnRateAlert(
        severity=severity,
        long=parse_duration(long),
        short=parse_duration(short),
        burn_rate=Decimal(factor),
        for_seconds=parse_duration(options.get("for", "0s")),
        keep_firing_for=parse_duration(options.get("keep", "0s")),
        **least,
    )


def _ticks(text: str, *, total: int) -> list[Counts]:
    ticks: list[Counts] = []
    for token in re.sub(r"\s+x(?=\d)", "x", text).split():
        found = TOKEN.fullmatch(token)
        if found is None:
            raise ValueError(f"not a tick: {token}")
        ticks += [_tick(found[1], total=total)] * int(found[2] or 1)
    return ticks


def _tick(what: str, *, total: int) -> Counts:
    if what in WORDS:
        return Counts(0, 0, WORDS[what])
    if what == "-":
        return Counts(0, 0, Outcome.NO_TRAFFIC)
    bad, _, of = what.removesuffix("?").partition("/")
    events = int(of or total)
    known = Outcome.OK if events else Outcome.NO_TRAFFIC
    return Counts(events, int(bad), Outcome.PARTIAL if what.endswith("?") else known)
