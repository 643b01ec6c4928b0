"""Live worlds: what is counted tick by tick, from a server that scrapes every second, against every known event."""

from __future__ import annotations

import math
import time

import httpx
import pytest

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.counting import Memory, count
from slo_budget_tracker.feeds import RawFeed, Slot
from slo_budget_tracker.selectors import Matcher, Selector
from slo_budget_tracker.ticks import Tick
from tests.servers import ServerError
from tests.worlds.live import METRIC, PAGE, TICK, Exporter, Play

JOBS = ("steady", "late-errors", "deploys", "deploys-unknown-start", "last-seconds", "crashes", "gone-and-back",
        "timeouts", "bursts", "ttl", "label-added", "renamed", "renamed-unknown-start", "late-discovered",
        "replicas")  # fmt: skip
FEW = 3  # failures by which a count may be off where failures are few


def feed_of(name, jobs, *, replica_label=None):
    """One feed with an SLO per job."""
    members = []
    for job in jobs:
        of_job = Matcher("job", "=", job)
        members.append((Slot(job, "total"), Selector(METRIC, (of_job,))))
        members.append((Slot(job, "bad"), Selector(METRIC, (Matcher("code", "=~", "5.."), of_job))))
    everything = Selector(METRIC, (Matcher("job", "=~", "|".join(jobs)),))
    return RawFeed(name, "default", METRIC, tuple(members), (everything,), replica_label=replica_label)


FEEDS = (feed_of("plain", [job for job in JOBS if job != "replicas"]),
         feed_of("replicas", ["replicas"], replica_label="replica"))  # fmt: skip


class Reader:
    """Reads feeds through a server's HTTP API; counts, by tick and slot, add up in `counts`."""

    def __init__(self, server):
        self.server = server
        self.memories = {feed.key: Memory.empty() for feed in FEEDS}
        self.counts = {}
        self.doubts = {}
        self.queries = 0

    def ask(self, query: Query) -> Answer:
        """An instant query as the project's answers have it."""
        self.queries += 1
        result = self.server.query(query.expression, query.at)["result"]
        return Answer(
            tuple(
                Series(
                    one["metric"],
                    [round(float(t) * 1000) for t, _ in one.get("values") or [one["value"]]],
                    [float(v) for _, v in one.get("values") or [one["value"]]],
                )
                for one in result
            )
        )

    def read(self, ticks):
        """Read some ticks of all feeds; nothing changes when the server does not answer."""
        tallies = []
        for feed in FEEDS:
            (text,) = feed.expressions(ticks[-1].end - ticks[0].start)
            series = self.ask(Query(text, ticks[-1].end)).series
            steps = count(feed, series, self.memories[feed.key], ticks)
            try:
                wanted = next(steps)
                while True:
                    wanted = steps.send(tuple(map(self.ask, wanted)))
            except StopIteration as done:
                tallies.append((feed, done.value))
        for feed, tally in tallies:
            self.memories[feed.key] = Memory.loads(tally.memory.dumps())
            for end, by_slot in tally.counts.items():
                self.counts.setdefault(end, {}).update({slot: n for slot, n in by_slot.items() if n})
            for doubt, times in tally.doubts.items():
                self.doubts[doubt] = self.doubts.get(doubt, 0) + times

    def sums(self, job):
        """(total, bad) of a job over all ticks."""
        return tuple(
            sum(by_slot.get(Slot(job, role), 0) for by_slot in self.counts.values())
            for role in ("total", "bad")
        )


def run(server, exporter, *, seconds, delay, outages):
    """Play all scenarios while reading tick by tick; `outages` are (start, end, how) after the begin."""
    now = int(time.time())
    begin = (now + 12) // TICK * TICK
    end = begin + seconds // TICK * TICK
    play = Play(exporter, begin, end, outages=tuple(begin + start for start, *_ in outages))
    play.all()
    play.start()
    server.start()
    reader = Reader(server)
    todo = [(begin + start, getattr(server, how)) for start, _, how in outages]
    todo += [(begin + stop, server.start) for _, stop, _ in outages]
    cursor = begin
    try:
        while cursor < end:
            time.sleep(0.2)
            now = time.time()
            while todo and min(todo, key=lambda one: one[0])[0] <= now:
                todo.sort(key=lambda one: one[0])
                todo.pop(0)[1]()
            ticks = [Tick(at - TICK, at) for at in range(cursor + TICK, min(end, int(now - delay)) + 1, TICK)]
            if not ticks:
                continue
            try:
                reader.read(ticks)
            except (httpx.HTTPError, ServerError):
                continue
            cursor = ticks[-1].end
    finally:
        play.stop()
    assert [] == play.errors
    return play, reader


def stored_pages(server, *, until):
    """Every page that the server has: by its number the time of the scrape, and as which instance it was stored."""
    return {
        int(number): (at, labels["instance"])
        for labels, samples in server.ask_raw(f"{PAGE}[1h]", until)
        for at, number in samples
        if not math.isnan(number)
    }


def assert_counted(play, reader):
    """Failures within 0.5 % (or a few), totals within 0.25 %, nothing counted twice; all of it as a table."""
    truth = play.truth(stored_pages(reader.server, until=play.end))
    rows = {job: (truth[job], reader.sums(job)) for job in JOBS}
    table = "\n".join(f"{job:24} seen {seen} counted {counted}" for job, (seen, counted) in rows.items())
    print(table, reader.doubts, reader.queries, sep="\n")
    wrong = [
        job
        for job, ((total, bad), (counted, failed)) in rows.items()
        if not -max(FEW, 0.005 * bad) <= failed - bad <= FEW
        or not -max(FEW, 0.0025 * total) <= counted - total <= FEW
    ]
    assert [] == wrong, f"\n{table}\n{reader.doubts}"


def assert_caught_up(play, reader, server):
    """Reading the same span at once afterwards gives the same counts, tick by tick."""
    again = Reader(server)
    again.read([Tick(at - TICK, at) for at in range(play.begin + TICK, play.end + 1, TICK)])
    assert {end: by_slot for end, by_slot in reader.counts.items() if by_slot} == {
        end: by_slot for end, by_slot in again.counts.items() if by_slot
    }


@pytest.fixture
def exporter(tmp_path):
    """The exporter of all targets."""
    made = Exporter(tmp_path)
    made.publish()
    made.start()
    yield made
    made.stop()


def discovery(exporter):
    """A scrape configuration that follows the exporter's discovery file."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [
            {"job_name": "live", "file_sd_configs": [{"files": [str(exporter.discovery)]}]},
        ],
    }


@pytest.mark.prometheus
@pytest.mark.alone
def test_live_counts_are_what_scrapes_could_see(make_prometheus, exporter):
    """P20, D6-D8, D15, D16: fifteen scenarios at once, Prometheus stopped and killed meanwhile, and read again."""
    server = make_prometheus(config=discovery(exporter))
    play, reader = run(server, exporter, seconds=55, delay=3, outages=[(31, 34, "stop"), (40, 43, "kill")])
    assert_counted(play, reader)
    assert_caught_up(play, reader, server)


@pytest.mark.prometheus
@pytest.mark.long
@pytest.mark.alone
def test_live_counts_hold_for_minutes(make_prometheus, exporter):
    """The same for five minutes."""
    server = make_prometheus(config=discovery(exporter))
    outages = [(31, 34, "stop"), (40, 43, "kill"), (122, 140, "stop"), (204, 230, "kill")]
    play, reader = run(server, exporter, seconds=300, delay=3, outages=outages)
    assert_counted(play, reader)
    assert_caught_up(play, reader, server)


@pytest.mark.victoriametrics
@pytest.mark.long
@pytest.mark.alone
def test_live_counts_on_victoriametrics(make_victoriametrics, exporter):
    """The same scenarios scraped by VictoriaMetrics, where new series appear late, with a delay of 15 s."""
    server = make_victoriametrics(config=discovery(exporter), flags=("-promscrape.fileSDCheckInterval=1s",))
    play, reader = run(server, exporter, seconds=90, delay=15, outages=[(40, 44, "stop")])
    assert_counted(play, reader)
    assert_caught_up(play, reader, server)
