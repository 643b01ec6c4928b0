"""SLOs of every kind over a service in which everything happens, all of it drawn from one seed."""

from __future__ import annotations

import math
import random
from bisect import bisect_right, insort
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter

from slo_budget_tracker.answers import Answer
from slo_budget_tracker.calendars import Calendar
from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.selectors import parse_selector
from slo_budget_tracker.slis import CompositeSli, LatencySli, Member, ProbeSli
from slo_budget_tracker.specs import SLO, BurnRateAlert, PromqlSli, RequestsSli, Slices
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, no_trouble
from tests.unit.test_histograms import exponential

MINUTES = 90
PAGE = BurnRateAlert(severity="page", long=1_200, short=300, burn_rate=Decimal(1))


class Pod:
    """One target: it dies and comes back, forgets and relabels series, and changes the form of its histogram."""

    def __init__(self, metric, number, chance):
        self.metric, self.chance = metric, chance
        self.labels = {"job": "shop", "instance": f"{metric}{number}:80"}
        self.says_start = chance.random() < 0.6
        self.phase = chance.randrange(15_000)
        self.start = BEGIN - 90_000
        self.handlers = ["/x", "/y", None]
        self.counts, self.latencies = {}, [0, 0]
        self.schema, self.form = 3, chance.choice(["classic", "native", "both"])
        self.away = 0  # scrapes

    def scrape(self, db, at):
        """What happens until one scrape, and what it stores."""
        if self.away:
            self.away -= 1
            return
        self._mishap(at)
        if self.away:
            return
        self._work()
        time = (BEGIN + at) * 1000 + self.phase
        db.put("up", self.labels, time, 1)
        if self.says_start:
            db.put("process_start_time_seconds", self.labels, time, self.start)
        for (handler, code), value in self.counts.items():
            of_handler = {} if handler is None else {"handler": handler}
            db.put(self.metric, {**self.labels, "code": code, **of_handler}, time, value)
        self._store_latencies(db, time)

    def _mishap(self, at):
        dice = self.chance.random()
        if dice < 0.004:
            self.away = self.chance.randint(1, 60)
        elif dice < 0.012:
            self.counts, self.latencies, self.start = {}, [0, 0], BEGIN + at
        elif 0.98 < dice < 0.985:
            self.schema = max(self.schema - 1, 0)
        elif dice > 0.995:
            self.handlers = self.chance.sample(["/x", "/y", "/z", None], self.chance.randint(1, 3))
        elif dice > 0.99:
            self.form = self.chance.choice(["classic", "native", "both"])
        elif self.chance.random() < 0.02:
            self.counts.pop(next(iter(self.counts), None), None)

    def _work(self):
        for handler in self.handlers:
            for code, steps in (("200", [0, 0, 1, 5, 30]), ("500", [0, 0, 0, 1, 3])):
                if code == "500" and (handler, code) not in self.counts and self.chance.random() < 0.9:
                    continue  # born with its first error
                self.counts[handler, code] = self.counts.get((handler, code), 0) + self.chance.choice(steps)
        self.latencies[0] += self.chance.randint(0, 9)
        self.latencies[1] += self.chance.choice([0, 0, 1, 4])

    def _store_latencies(self, db, time):
        name = f"{self.metric.removesuffix('_total')}_seconds"
        fast, slow = self.latencies
        if self.form != "classic":
            buckets = {round(-3 * 2**self.schema): fast, 2 * 2**self.schema: slow}
            filled = {at: count for at, count in buckets.items() if count}
            db.put(name, self.labels, time, exponential(self.schema, filled))
        if self.form != "native":
            db.put(f"{name}_bucket", {**self.labels, "le": "0.5"}, time, fast)
            db.put(f"{name}_bucket", {**self.labels, "le": "+Inf"}, time, fast + slow)


@dataclass(frozen=True)
class Late:
    """What is of the seconds from one to another arrives so many seconds later, of one source or of all."""

    first: int
    last: int
    seconds: int
    of: str = ""


def later(late, at, source):
    """How many seconds late it is what a source has of one second; 0: it is there in time."""
    return max(
        (one.seconds for one in late if one.first <= at < one.last and one.of in {"", source}), default=0
    )


@dataclass
class Mail(Archive):
    """Samples of which some are on their way: `arrive` says what time it is; `later` is of those that are put now."""

    now: int = 0
    later: int = 0
    on_the_way: list = field(default_factory=list)

    def put(self, metric, labels, time, value):
        """Store one sample now, or when it arrives."""
        if self.later:
            letter = (time // 1000 + self.later, time, metric, {**labels}, value)
            insort(self.on_the_way, letter, key=itemgetter(0))
        else:
            super().put(metric, labels, time, value)

    def arrive(self, now):
        """Let time pass."""
        due = bisect_right(self.on_the_way, now, key=itemgetter(0))
        self.now, self.later = now, 0
        for _, time, metric, labels, value in self.on_the_way[:due]:
            super().put(metric, labels, time, value)
            self.samples[tuple(sorted({"__name__": metric, **labels}.items()))].sort(key=itemgetter(0))
        del self.on_the_way[:due]


def samples(seed, late=()):
    """All that two metrics of one or two pods each bring in an hour and a half, scraped every 15 s."""
    chance, db = random.Random(seed), Mail()
    for metric in ("a_total", "b_total"):
        for number in range(chance.randint(1, 2)):
            pod = Pod(metric, number, chance)
            for at in range(-900, MINUTES * 60, 15):
                db.later = later(late, at, metric)
                pod.scrape(db, at)
    return db


def expressions(seed):
    """What expressions give at an instant: nonsense once in a while."""

    def of(salt, usual, odd, *, handlers=()):
        def value(at):
            chance = random.Random(f"{seed} {salt} {at}")
            if not handlers:
                return chance.choice(usual + odd)
            return {
                one: chance.choice(odd if chance.random() < 0.1 else usual)
                for one in handlers
                if chance.random() < 0.9
            }

        return value

    odd = [3.0, 7.5, math.nan, math.inf, -1.0]
    counted = {"usual": [0.0, 1.0, 2.0], "odd": odd, "handlers": ("/x", "/y")}
    return {
        "requests": of("total", **counted),
        "failures": of("bad", **counted),
        "ratio": of("ratio", [0.0, 0.1, 0.5], [math.nan, None, 1.5, -1.0, math.inf]),
    }


def hasty(values, seed, mail, late):
    """The same expressions, but where the samples that they are of are late: nothing until then, or less, or more."""

    def of(name, value):
        def said(at):
            final, seconds = value(at), later(late, at - BEGIN, name)
            if at + seconds <= mail.now or not seconds:
                return final
            dice = random.Random(f"{seed} {name} {at} early")
            if not isinstance(final, dict):
                return (
                    None if dice.random() < 0.5 else final if is_odd(final) else dice.choice([0.0, 0.25, 0.5])
                )
            less = {
                key: one if is_odd(one) else dice.choice([0.0, 1.0, 2.0, 3.0]) for key, one in final.items()
            }
            return {key: one for key, one in less.items() if is_odd(one) or dice.random() < 0.7}

        return said

    return {name: of(name, value) for name, value in values.items()}


def is_odd(value):
    """Whether nothing can be counted of it."""
    return value is None or not 0 <= value < math.inf


def catalogue(seed):
    """SLOs of every kind, with and without groups, slices, calendars, corrections and missing data that are bad."""
    chance = random.Random(seed)

    def slo(name, sli, **options):
        standard = {"target": Decimal("0.9"), "window": HOUR, "alerts": (PAGE,)}
        return SLO(**{"name": name, "sli": sli} | standard | options)

    def requests(name, metric, **options):
        part, code = chance.choice([("bad", "500"), ("good", "200")])
        counted = {part: (parse_selector(f'{metric}{{code="{code}"}}'),)}
        return slo(name, RequestsSli(total=(parse_selector(metric),), **counted), **options)

    def latency(name, metric, **options):
        sli = LatencySli(
            histogram=parse_selector(metric),
            threshold=Decimal(chance.choice(["0.5", "0.3"])),
            type=chance.choice(["auto", "native"]),
        )
        return slo(name, sli, **options)

    def composite(name, *members, **options):
        mode = chance.choice(["weighted", "worst"])
        return slo(name, CompositeSli(members=tuple(Member(**one) for one in members), mode=mode), **options)

    groups = {"group_by": ("handler",)}
    week = {"window": 7 * 86_400, "calendar": Calendar(unit="week", timezone="Asia/Kolkata")}
    width, absent = chance.choice([60, 120, 300]), chance.choice(["bad", "hold"])
    found = (
        requests("other", "b_total", datasource="other", **groups),
        requests("groups", "a_total", no_data=absent, **groups),
        requests(
            "slices", "a_total", no_data=absent, slices=Slices(width=width, target=Decimal("0.7")), **groups
        ),
        requests("week", "b_total", **week, **groups),
        requests("spans", "b_total", slices=Slices(width=300, target=Decimal("0.5")), no_data="bad"),
        latency("latency", "a_seconds", no_data="bad"),
        latency("latencies", "b_seconds", group_by=("instance",)),
        slo("counted", PromqlSli(total="requests", bad="failures", window=300), **groups),
        slo("rated", PromqlSli(error_ratio="ratio", window=300)),
        composite("journeys", {"slo": "groups"}, {"slo": "other", "weight": Decimal(2)}, **groups),
        composite("journey", {"slo": "spans"}, {"slo": "latency", "weight": Decimal(3)}),
    )
    if chance.random() < 0.5:
        start = BEGIN + chance.randrange(MINUTES * 60)
        until = BEGIN + MINUTES * 60 + 100
        away = Correction(name="work", start=start, end=until, slos=("*",), reason="work", author="me")
        found = tuple(one.model_copy(update={"corrections": (away,)}) for one in found)
    return found


def probing():
    """An SLO of which each scrape is an event."""
    sli = ProbeSli(up=(parse_selector('up{job="shop"}'),))
    return SLO(name="probed", target=Decimal("0.9"), window=HOUR, sli=sli, alerts=(PAGE,))


def tick_counts(minute, evaluator, ledger):
    """What the tick that ends at a minute has by now, by instance."""
    counts = ledger.history.window(BEGIN + minute * INTERVAL, [INTERVAL])
    return {key: counts[at][INTERVAL] for key, at in evaluator.ids.items()}


@dataclass(frozen=True)
class Lived:
    """What an hour and a half ended in."""

    ticks: dict  # by instance: what each tick brought
    outcomes: dict  # by instance: seconds by outcome
    figures: dict  # by instance: what is shown at the end
    states: dict
    told: list  # by SLO and sequence: when, what, of which group and why


@dataclass
class Disturbed:
    """A server whose answers are at times in part, or empty."""

    server: Server
    fault: str | None = None

    def __call__(self, query):
        """Answer, as far as it goes."""
        answer = self.server(query)
        if self.fault == "empty":
            return Answer(())
        if self.fault == "partial":
            some = answer.series[: len(answer.series) // 2]
            return Answer(some, partial=True, warnings=("a store is away",))
        return answer


def live(
    seed,
    minutes,
    *,
    silent=frozenset(),
    other_silent=frozenset(),
    restarts=frozenset(),
    late=(),
    faults=(),
    slos=None,
    workers=2,
    watch=lambda *_: None,
):
    """Evaluate at these minutes; in some of them a datasource is out of reach, at some the daemon begins anew.

    Some samples are `late`; `faults` are the answers that were none, or not all, by minute and datasource.
    """
    slos = slos or catalogue(seed)
    mail = samples(seed, late)
    server = Server(mail, values=hasty(expressions(seed), seed, mail, late))
    other = Server(mail, values=server.values)
    asks = {"default": Disturbed(server), "other": Disturbed(other)}

    def begin(ledger):
        return Evaluator(
            slos=slos, ledger=ledger, asks=asks, interval=INTERVAL, delay=DELAY, workers=workers
        ).prepare(BEGIN)

    with Ledger.open("sqlite://") as ledger:
        one = begin(ledger)
        for minute in minutes:
            mail.arrive(BEGIN + minute * INTERVAL + DELAY)
            for source, times in ((server, silent), (other, other_silent)):
                source.trouble = out_of_reach if minute in times else no_trouble
            for name, ask in asks.items():
                ask.fault = dict(faults).get((minute, name))
            if minute in restarts:
                one = begin(ledger)
            report = one.advance(BEGIN + minute * INTERVAL)
            assert report.store_error is None
            assert not [fault for fault in report.faults.values() if "internal" in fault]
            watch(minute, one, ledger)
        return lived(one, ledger, report)


def out_of_reach(_):
    """Nobody there."""
    return Unreachable("no connection", reason="refused")


def rounded(figures):
    """Parts of an event are differences of sums that are as close as a float is."""
    return tuple(one if one is None else round(float(one), 7) for one in figures)


def lived(one, ledger, report):
    """What the ledger holds and the last report shows."""
    ends = [BEGIN + minute * INTERVAL for minute in range(1, MINUTES + 1)]
    windows = {end: ledger.history.window(end, [INTERVAL]) for end in ends}
    shown = {(snapshot.name, *sorted(snapshot.labels.items())): snapshot for snapshot in report.snapshots}
    return Lived(
        ticks={key: [rounded(windows[end][at][INTERVAL]) for end in ends] for key, at in one.ids.items()},
        outcomes={key: ledger.history.outcomes(at) for key, at in one.ids.items()},
        figures={
            key: rounded((one.total, one.failures, one.coverage, one.error_budget_remaining))
            for key, one in shown.items()
        },
        states={key: one.state for key, one in shown.items()},
        told=sorted(
            (
                *(event.slo, event.sequence, event.created, event.kind),
                *(str(event.payload.get(key)) for key in ("labels", "severity", "reason")),
            )
            for event in ledger.events(limit=10_000)
            if event.kind != "slo_retired"  # a group that is gone is looked for once an hour
        ),
    )
