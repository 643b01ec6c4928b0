"""Shards that change their number under load, killed while SLOs move: every request counted once, every event told once.

A shop whose every request is known is scraped by a real Prometheus; its shards share one PostgreSQL.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from typing import TYPE_CHECKING

import httpx
import psycopg

from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.shards import Shard, owner
from tests.pairs import chains, until
from tests.real.lives import Life
from tests.servers import PrometheusServer
from tests.shop import Shop

if TYPE_CHECKING:
    from pathlib import Path

INTERVAL = 4  # seconds of a tick, unless said otherwise
COUNTS = (2, 3)  # of shards, in turn
NAMES = [f"slo-{number}" for number in range(24)]
PATIENCE = 180.0
MOMENT = 10.0  # for a move to begin, where it is to be cut off
SOON = 90.0  # by then what came late was noticed
KINDS = ("slo_burn_started", "slo_recovered")  # what falls ill and gets well again brings, in turn
SLO = """
  - name: {name}
    target: 99%
    window: 6h
    sli: {{requests: {{total: 'shop_requests_total{{page="{name}"}}', bad: 'shop_requests_total{{page="{name}",code="500"}}'}}}}
    alerts: [{{severity: page, long: {long}s, short: {short}s, burn_rate: 20}}]
"""
MOVES = """
CREATE TABLE {base}.moved (slo text, source integer, shard integer);
CREATE FUNCTION {base}.note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO {base}.moved VALUES (NEW.slo, OLD.shard, NEW.shard); RETURN NEW; END $$;
CREATE TRIGGER note_move AFTER UPDATE ON {base}.claim FOR EACH ROW WHEN (OLD.shard <> NEW.shard)
EXECUTE FUNCTION {base}.note_move();
"""
# Somebody is in the middle of a transaction that lets go of SLOs or takes them over: only these name schemas.
MOVING = r"""
SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND xact_start IS NOT NULL
AND query ~* '\."?(claim|event|delivery)' AND query !~* '^\s*(select|create|alter|update \S+ set wanted)'
"""


@dataclass
class Shardling(Life):
    """One daemon of the shards."""

    ledger: str = ""
    audit: str = ""
    shard: str = ""
    interval: int = INTERVAL

    def __post_init__(self):
        (self.folder / "slos").mkdir(parents=True)
        windows = {"long": 3 * self.interval, "short": 2 * self.interval}
        (self.folder / "slos" / "all.yaml").write_text(
            "slos:" + "".join(SLO.format(name=name, **windows) for name in NAMES)
        )
        self.config.write_text(
            f"prometheus: {{url: '{self.prometheus}'}}\nslo_files: [slos]\n"
            f"evaluation: {{interval: {self.interval}s, delay: 1s}}\n"
            f"ledger: {{url: '{self.ledger}', lease: 2s}}\n"
            f"audit: {{url: '{self.audit}'}}\nlog: {{format: json}}\n"
        )

    def join(self, shard):
        """Start as this shard; wait for nothing."""
        self.shard = shard
        return self.spawn(further=("--shard", shard))

    def shown(self):
        """What it has of its SLOs, by name; nothing while it does not answer."""
        with contextlib.suppress(httpx.HTTPError, KeyError):
            return {one["name"]: one for one in self.get("/api/v1/slos").json()["slos"]}
        return {}

    def pending(self):
        """Events that wait to be delivered; None while it does not answer."""
        with contextlib.suppress(httpx.HTTPError):
            return self.metric("slo_budget_tracker_outbox_pending")
        return None


@dataclass
class Walked:
    """What the shards went through, and what came of it."""

    slos: int = len(NAMES)
    changes: int = 0
    kills: Counter = field(default_factory=Counter)
    moved: int = 0
    due: int = 0  # to be moved
    astray: list[str] = field(default_factory=list)  # moves of what should have stayed, or to somebody else
    requests: int = 0
    wrong: list[str] = field(default_factory=list)  # counts that are not those of the shop
    events: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unobserved: list[str] = field(default_factory=list)  # ticks that nobody evaluated and nobody filled
    longest: float = 0.0  # seconds from the restart of the first shard until every SLO is with its own

    def __str__(self):
        kills = ", ".join(f"{times} {kind}" for kind, times in sorted(self.kills.items()))
        lines = [
            (
                f"{self.changes} changes of the number of shards, {' and '.join(map(str, COUNTS))} in turn; "
                f"{self.kills.total()} kills ({kills})"
            ),
            (
                f"{self.moved} SLOs moved, {self.due} had to, {len(self.astray)} astray; all settled within "
                f"{self.longest:.1f} s"
            ),
            f"{self.requests:,} requests to {self.slos} SLOs, {len(self.wrong)} SLOs counted wrongly",
            f"{self.events} events, {len(self.lost)} lost, {len(self.doubled)} doubled",
            f"{len(self.unobserved)} SLOs with ticks that were never observed",
            *(f"  {one}" for one in (*self.astray, *self.wrong, *self.lost, *self.doubled, *self.unobserved)),
        ]
        return "\n".join(lines)


@dataclass
class Walk:
    """Shards on their way from one number to another and back."""

    folder: Path
    base: str  # where their ledgers are, without a namespace
    namespace: str
    audit: object
    prometheus: str
    shop: Shop
    interval: int
    random: random.Random
    found: Walked = field(default_factory=Walked)
    running: dict[int, Shardling] = field(default_factory=dict)
    lives: dict[int, Shardling] = field(default_factory=dict)
    toggled: Counter = field(default_factory=Counter)

    def start(self, index, of):
        """Start one with this number of shards; wait for nothing."""
        if index not in self.lives:
            url = f"{self.base}?namespace={self.namespace}"
            self.lives[index] = Shardling(
                self.folder / f"shard-{index}", self.prometheus, ledger=url, audit=self.audit.url,
                interval=self.interval,
            )  # fmt: skip
        self.running[index] = self.lives[index].join(f"{index}/{of}")

    def stop(self, index, *, by=signal.SIGTERM):
        """End one, if it runs."""
        if index in self.running:
            self.running.pop(index).end(by=by)

    def kill(self, index, of, kind):
        """Kill one that runs; it starts again at once."""
        self.found.kills[kind] += 1
        self.stop(index, by=signal.SIGKILL)
        self.start(index, of)

    def until(self, true, *, what, within=PATIENCE):
        """Wait for something; nobody ends meanwhile, also who finds its ledger still in use: it waits, too."""

        def well():
            for one in self.running.values():
                assert one.process.poll() is None, one.said
            return true()

        try:
            return until(well, what=what, within=within)
        except AssertionError as error:
            error.add_note(self.told())
            raise

    def placed(self):
        """By SLO the shards that show it."""
        found = {name: [] for name in NAMES}
        for index, one in self.running.items():
            for name in one.shown():
                found[name].append(index)
        return found

    def settled(self, of):
        """Whether each SLO is evaluated by the shard whose it is, and by no other."""
        return self.placed() == {name: [owner(name, of=of)] for name in NAMES}

    def firing(self):
        """The SLOs whose alert fires."""
        snapshots = [one for shard in self.running.values() for one in shard.shown().values()]
        return {one["name"] for one in snapshots if one["alerts"][0]["state"] in {"firing", "held"}}

    def change(self, of, database):
        """Restart all of them with another number, in any order; kill some meanwhile; a few SLOs fall ill or get well."""
        began = time.monotonic()
        before, self.found.changes = set(self.running), self.found.changes + 1
        turns = set(self.random.sample(NAMES, len(NAMES) // 3))
        order = self.random.sample(sorted(before | set(range(of))), len(before | set(range(of))))
        for index in order:
            self.stop(index, by=self.random.choice((signal.SIGTERM, signal.SIGKILL)))
            if index < of:
                self.start(index, of)
            self.turn({turns.pop() for _ in range(min(3, len(turns)))})
            renewed = [one for one in order[: order.index(index) + 1] if one in self.running]
            if renewed and self.random.random() < 0.7:
                self.strike(renewed[-1], of, database)
        self.turn(turns)
        self.until(lambda: self.settled(of), what=f"{of} shards have their own")
        self.found.longest = max(self.found.longest, time.monotonic() - began)
        self.until(lambda: self.firing() == self.shop.ailing, what="alerts as the shop is")

    def told(self):
        """Where everything is, for whoever waits in vain."""
        return f"{self.placed()}, firing {sorted(self.firing())}, ailing {sorted(self.shop.ailing)}"

    def strike(self, index, of, database):
        """Kill it at any moment of its first seconds, or while something moves."""
        if self.random.random() < 0.5:
            time.sleep(self.random.uniform(0, self.interval))
            self.kill(index, of, "at random")
            return
        ends = time.monotonic() + MOMENT
        while time.monotonic() < ends:
            if database.execute(MOVING).fetchone()[0]:
                self.kill(index, of, "within a move")
                return

    def turn(self, names):
        """These fall ill, or get well again."""
        self.shop.ailing ^= names
        self.toggled.update(names)

    def counted(self):
        """Total and failures of each SLO, as the shards show them."""
        shown = {name: one for shard in self.running.values() for name, one in shard.shown().items()}
        return {name: (int(one["total"]), int(one["failures"])) for name, one in shown.items()}

    def caught_up(self, at):
        """Whether every shard has evaluated this instant and has no tick to fetch."""
        pages = [one.get("/metrics").text for one in self.running.values()]
        return all(
            min(values(said, "slo_last_evaluation_timestamp_seconds")) >= at
            and not any(values(said, "slo_budget_tracker_backfill_pending_ticks"))
            for said in pages
        )

    def delivered(self):
        """Whether no event waits."""
        return all(one.pending() == 0 for one in self.running.values())


def values(text, metric):
    """The values of a metric's samples."""
    return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(metric)]


def walk(folder, postgresql, namespace, audit, *, changes, seed=11, interval=INTERVAL):
    """Change the number of shards so many times; then compare with what the shop knows."""
    base, shop = postgresql.url(), Shop(NAMES, seed=seed)
    (folder / "prometheus").mkdir(parents=True)
    server = PrometheusServer(folder / "prometheus", scrape={"shop": [shop.address]}, scrape_interval="1s")
    with server, psycopg.connect(base.replace("+psycopg", ""), autocommit=True) as database:
        one = Walk(folder, base, namespace, audit, server.url, shop, interval, random.Random(seed))
        try:
            until(lambda: server.ask("count(shop_requests_total)", time.time()), what="a first scrape")
            for index in range(COUNTS[0]):
                one.start(index, COUNTS[0])
            one.until(lambda: one.settled(COUNTS[0]), what="a beginning")
            database.execute(MOVES.format(base=namespace))
            begun = time.time()
            shop.open()
            numbers = list(islice(cycle((*COUNTS[1:], COUNTS[0])), changes))
            for of in numbers:
                one.change(of, database)
            one.turn(set(shop.ailing))
            one.until(lambda: one.firing() == set(), what="everything well again")
            shop.close()
            seen = time.time() + 3  # what was last served is scraped by then
            one.until(lambda: one.caught_up(seen), what="the last tick")
            one.until(one.delivered, what="an empty outbox")
            with contextlib.suppress(AssertionError):  # else what is missing is told below
                one.until(lambda: one.counted() == shop.counted(), what="what came late", within=SOON)
            compare_counts(one, shop)
            compare_moves(one, database, numbers)
            for index in list(one.running):
                one.stop(index)
            compare_events(one, audit)
            look_for_holes(one, begun, numbers[-1])
        finally:
            for index in list(one.running):
                one.stop(index, by=signal.SIGKILL)
            shop.end()
    return one.found


def compare_counts(one, shop):
    """To the request."""
    wanted, counted = shop.counted(), one.counted()
    one.found.requests = sum(total for total, _ in wanted.values())
    one.found.wrong = [
        f"{name}: {wanted[name]} were served, {counted.get(name)} counted"
        for name in NAMES
        if wanted[name] != counted.get(name)
    ]


def compare_moves(one, database, numbers):
    """Each claim went where the hash says, once for each change, and no other went anywhere."""
    rows = database.execute(f"SELECT slo, source, shard FROM {one.namespace}.moved").fetchall()
    due = Counter(
        (name, owner(name, of=was), owner(name, of=now))
        for was, now in pairwise((COUNTS[0], *numbers))
        for name in NAMES
        if owner(name, of=was) != owner(name, of=now)
    )
    one.found.moved, one.found.due = len(rows), due.total()
    one.found.astray = [f"moved astray: {row}" for row in (Counter(rows) - due).elements()]
    one.found.astray += [f"never moved: {row}" for row in (due - Counter(rows)).elements()]


def compare_events(one, audit):
    """What falls ill and gets well again is told in turn, each of them once, in one chain."""
    sent = audit.get("/events", limit=100_000, source="slo-budget-tracker").json()
    one.found.events = len(sent)
    times = Counter(event["payload"]["id"] for event in sent)
    one.found.doubled = [f"sent {count} times: {event}" for event, count in times.items() if count > 1]
    for name, chain in chains(sent).items():
        wanted = Counter(dict(zip(KINDS, (-(-one.toggled[name] // 2), one.toggled[name] // 2), strict=True)))
        told = Counter(event["event_kind"] for event in chain if event["event_kind"] in KINDS)
        one.found.lost += [f"{name} lacks {kind}" for kind in (wanted - told).elements()]
        one.found.doubled += [f"{name} has one more {kind}" for kind in (told - wanted).elements()]
    one.found.lost += [f"{name} told nothing" for name in one.toggled.keys() - chains(sent).keys()]
    assert audit.get("/verify").json()["valid"]


def look_for_holes(one, begun, of):
    """From the first request to the last tick there is none that nobody knows."""
    for index in range(of):
        namespace = Shard(index, of).namespace(one.namespace)
        with Ledger.open(f"{one.base}?namespace={namespace}") as ledger:
            assert [] == ledger.check()
            for number, instance in ledger.instances.items():
                if instance.retired is None:
                    end = ledger.slo_cursor(number)
                    seconds = int(end - begun) // one.interval * one.interval
                    window = ledger.history.window(end, [seconds], ids=[number])[number][seconds]
                    if window.known < seconds:
                        one.found.unobserved.append(f"{instance.slo}: {window.known} of {seconds} s observed")
