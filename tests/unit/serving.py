"""A Prometheus in memory with troubles of its own, and the SLOs and traffic that evaluations are tried on."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING

from slo_budget_tracker.answers import Answer, Query, RangeQuery, Series
from slo_budget_tracker.errors import QueryRejected
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.reading import MAX_POINTS
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.specs import SLO, BurnRateAlert, PromqlSli, RequestsSli
from tests.unit.tsdb import Tsdb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERVAL, DELAY = 60, 30
BEGIN = 60 * 20_000 - DELAY  # a data instant of the grid
HOUR = 3_600
TAGGED = re.compile(r'label_replace\(\((\w+)\), "slo", "([^"]+)", "", ""\)')
RANGE = re.compile(r"\[(\d+)s\]$")
PAGE = BurnRateAlert(severity="page", long=HOUR, short=300, burn_rate=Decimal("14.4"))


class Archive(Tsdb):
    """Samples in order of time, found by bisection."""

    def between(self, selector, after, until, bounds=()):
        """The series of a selector with their samples in (after, until], ms."""
        found = []
        for key, samples in self.samples.items():
            labels = dict(key)
            if labels["__name__"] == selector.metric and selector.matches(labels):
                first = bisect_right(samples, after, key=itemgetter(0))
                inside = samples[first : bisect_right(samples, until, key=itemgetter(0))]
                if inside:
                    found.append(Series(labels, [t for t, _ in inside], [v for _, v in inside]))
        return found


def no_trouble(_):
    """Everything is answered."""
    return


@dataclass
class Server:
    """Answers raw selectors from samples, expressions (by name) from functions of time; `trouble` may refuse.

    A function may give one value, or a mapping of them by handler.
    """

    db: Archive = field(default_factory=Archive)
    values: dict[str, Callable[[int], float | Mapping[str, float] | None]] = field(default_factory=dict)
    trouble: Callable[[Query | RangeQuery], Exception | None] = no_trouble
    asked: list[Query | RangeQuery] = field(default_factory=list)
    steps: Callable[[int], float] = float  # events per row of a stateless fill, by instant

    def __call__(self, query):
        """Answer, or raise the trouble."""
        self.asked.append(query)
        error = self.trouble(query)
        if error is not None:
            raise error
        if isinstance(query, RangeQuery) and (query.end - query.start) / query.step >= MAX_POINTS:
            raise QueryRejected(
                "exceeded maximum resolution of 11,000 points per timeseries", reason="bad_data"
            )
        if query.expression.startswith("topk("):
            return Answer(())  # nobody knows how often this is scraped
        if isinstance(query, Query) and "label_replace" not in query.expression:
            return self.db.ask(query)
        instants = [query.at] if isinstance(query, Query) else range(query.start, query.end + 1, query.step)
        if "label_replace" not in query.expression:
            return Answer((Series({}, [at * 1000 for at in instants], [self.steps(at) for at in instants]),))
        found = []
        for name, tag in TAGGED.findall(query.expression):
            rows = {}
            for at in instants:
                value = self.values[name](at)
                by_handler = value if isinstance(value, dict) else {} if value is None else {None: value}
                for handler, one in by_handler.items():
                    rows.setdefault(handler, []).append((at * 1000, one))
            for handler, points in rows.items():
                labels = {"slo": tag} if handler is None else {"slo": tag, "handler": handler}
                found.append(Series(labels, [t for t, _ in points], [v for _, v in points]))
        return Answer(tuple(found))


def seconds_of(query):
    """How far back a query reads: the range of a raw selector, the span of a range query."""
    if isinstance(query, RangeQuery):
        return query.end - query.start
    found = RANGE.search(query.expression)
    return int(found[1]) if found else 0


def traffic(db, *, metric="http_requests_total", seconds=2 * HOUR, broken=(1_200, 2_400), before=900):
    """A scrape each 15 s around BEGIN: 5 requests a second, half of them fail in the `broken` span."""
    pod = {"job": "shop", "instance": f"{metric}:80"}
    good = bad = 1_000
    for offset in range(-before, seconds, 15):
        failed = 37 if broken[0] <= offset < broken[1] else 0
        good, bad = good + 75 - failed, bad + failed
        time = (BEGIN + offset) * 1000 + 7_000
        db.put("up", pod, time, 1)
        db.put("process_start_time_seconds", pod, time, BEGIN - 90_000)
        db.put(metric, {**pod, "code": "200"}, time, good)
        db.put(metric, {**pod, "code": "500"}, time, bad)
    return db


def availability(name="shop", *, metric="http_requests_total", **options):
    """A ratio of requests over a day with one page."""
    sli = RequestsSli(total=(parse_selector(metric),), bad=(parse_selector(f'{metric}{{code=~"5.."}}'),))
    return SLO(
        **{"name": name, "target": Decimal("0.99"), "window": 24 * HOUR, "sli": sli, "alerts": (PAGE,)}
        | options
    )


def ratio(name):
    """An SLO by an expression of its own name."""
    sli = PromqlSli(error_ratio=f"ratio_{name}", window=300)
    return SLO(name=name, target=Decimal("0.99"), window=24 * HOUR, sli=sli, alerts=(PAGE,))


def evaluator(server, ledger, *slos, at=BEGIN, **options):
    """A prepared evaluator of these SLOs (the shop's when none is given)."""
    options = {"interval": INTERVAL, "delay": DELAY, "workers": 2} | options
    return Evaluator(
        slos=slos or (availability(),), ledger=ledger, asks={"default": server}, **options
    ).prepare(at)


def after(ticks):
    """The data instant so many ticks after the begin."""
    return BEGIN + ticks * INTERVAL


def advance(one, first, last):
    """Each tick of a span, live; the last report."""
    for tick in range(first, last + 1):
        report = one.advance(after(tick))
    return report
