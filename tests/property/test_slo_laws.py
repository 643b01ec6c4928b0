"""Laws of whole SLOs: groups add up, corrections leave no trace once removed, windows of any length are sums."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from slo_budget_tracker.corrections import Correction
from slo_budget_tracker.density import density_of
from slo_budget_tracker.evaluator import Evaluator
from slo_budget_tracker.history import History
from slo_budget_tracker.ledger import Ledger
from slo_budget_tracker.rows import Row
from slo_budget_tracker.specs import PromqlSli
from slo_budget_tracker.ticks import Counts, Outcome, Tick
from slo_budget_tracker.windows import gather
from tests.unit.serving import BEGIN, DELAY, HOUR, INTERVAL, Archive, Server, availability, traffic

DAY = 86_400
TICKS = 5
MINUTES = 60
EVENTS = st.tuples(st.integers(0, 100), st.integers(0, 20))  # good and bad of one tick
GROUPS = st.dictionaries(
    st.sampled_from(["/", "/pay", "", 'a"b', "ü"]),
    st.lists(EVENTS, min_size=TICKS, max_size=TICKS),
    min_size=1,
)
SPANS = st.lists(st.tuples(st.integers(0, MINUTES), st.integers(1, MINUTES)), max_size=3)
LAWS = settings(deadline=None, max_examples=25)


def advanced(slo, server, ledger):
    """The figures after all ticks, in as many pieces."""
    one = Evaluator(
        slos=(slo,), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY
    ).prepare(BEGIN)
    for tick in range(1, TICKS + 1):
        report = one.advance(BEGIN + tick * INTERVAL)
    return report.snapshots


def expected(groups):
    """Total and failures by handler, and of all of them."""
    sums = {
        handler: (sum(good + bad for good, bad in events), sum(bad for _, bad in events))
        for handler, events in groups.items()
    }
    return {None: tuple(map(sum, zip(*sums.values(), strict=True))), **sums}


def figures(snapshots):
    """The same of what was computed."""
    return {one.labels.get("handler"): (one.total, one.failures) for one in snapshots}


@LAWS
@given(GROUPS)
def test_groups_of_counters_add_up_to_the_roll_up(groups):
    """Whatever each handler serves, the roll-up is the sum over the groups, and each group is its own."""
    db = Archive()
    for at in (-1, *range(TICKS)):
        time = (BEGIN + at * INTERVAL) * 1000 + 30_000
        for handler, events in groups.items():
            good, bad = (1_000 + sum(part) for part in zip(*events[: at + 1], (0, 0), strict=True))
            pod = {"job": "shop", "instance": "a:80", "handler": handler}
            db.put("http_requests_total", {**pod, "code": "200"}, time, good)
            db.put("http_requests_total", {**pod, "code": "500"}, time, bad)
        db.put("up", {"job": "shop", "instance": "a:80"}, time, 1)
        db.put("process_start_time_seconds", {"job": "shop", "instance": "a:80"}, time, BEGIN - DAY)
    slo = availability(group_by=("handler",), alerts=())
    with Ledger.open("sqlite://") as ledger:
        Evaluator(
            slos=(slo,), ledger=ledger, asks={"default": Server(db)}, interval=INTERVAL, delay=DELAY
        ).prepare(BEGIN - INTERVAL).advance(BEGIN)
        assert expected(groups) == figures(advanced(slo, Server(db), ledger))


@LAWS
@given(GROUPS)
def test_groups_of_rows_add_up_to_the_roll_up(groups):
    """The same of expressions, whose rows are the groups."""

    def part(which):
        return lambda at: {
            handler: float(which(events[(at - BEGIN) // INTERVAL - 1])) for handler, events in groups.items()
        }

    server = Server(values={"all": part(sum), "failed": part(lambda one: one[1])})
    sli = PromqlSli(total="all", bad="failed", window=60)
    slo = availability(sli=sli, group_by=("handler",), alerts=())
    with Ledger.open("sqlite://") as ledger:
        assert expected(groups) == figures(advanced(slo, server, ledger))


def look(slo, ledger, server):
    """Every figure at the end of the hour, from the ledger."""
    (found,) = (
        Evaluator(slos=(slo,), ledger=ledger, asks={"default": server}, interval=INTERVAL, delay=DELAY)
        .prepare(BEGIN)
        .look(BEGIN + MINUTES * INTERVAL)
    )
    return found


@settings(deadline=None, max_examples=8)
@given(SPANS)
def test_a_correction_added_and_removed_changes_nothing(spans):
    """Whatever is corrected and whenever it is taken back, every figure is what it was."""
    slo = availability(window=4 * HOUR)
    corrections = tuple(
        Correction(
            name=f"c{number}",
            start=BEGIN + start * 60,
            end=BEGIN + (start + length) * 60,
            slos=("*",),
            reason="planned",
            author="ops",
        )
        for number, (start, length) in enumerate(spans)
    )
    corrected = slo.model_copy(update={"corrections": corrections})
    server = Server(traffic(Archive()))
    with Ledger.open("sqlite://") as plain, Ledger.open("sqlite://") as ledger:
        for store, middle in ((plain, slo), (ledger, corrected)):
            for catalogue, until in ((slo, 20), (middle, 40), (slo, MINUTES)):
                Evaluator(
                    slos=(catalogue,), ledger=store, asks={"default": server}, interval=INTERVAL, delay=DELAY
                ).prepare(BEGIN).advance(BEGIN + until * INTERVAL)
        one, other = look(slo, plain, server), look(slo, ledger, server)
    assert (one.total, one.failures, one.error_budget_remaining, one.burn_rate_samples, one.raw) == (
        other.total,
        other.failures,
        other.error_budget_remaining,
        other.burn_rate_samples,
        other.raw,
    )


@cache
def kept():
    """401 days of hours, as a ledger of the longest windows keeps them."""
    edges = range(BEGIN - 401 * DAY, BEGIN + 1, HOUR)
    rows = [
        Row.of(Tick(start, end), {1: Counts(50 + end // HOUR % 7, end // HOUR % 3, Outcome.OK)})
        for start, end in pairwise(edges)
    ]
    history = History(density=density_of([availability(window=400 * DAY, alerts=())], interval=INTERVAL))
    history.add(rows)
    history.thin(BEGIN)
    return edges, history


@LAWS
@given(st.integers(1, 400 * 24))
def test_windows_of_any_length_are_sums(hours):
    """From 1 h to 400 d: the window is the sum of its hours, neither more nor less of it known."""
    edges, history = kept()
    slo = availability(window=hours * HOUR, alerts=())
    found = gather(history, BEGIN, [(slo, 1)], interval=INTERVAL, born=lambda _: 0)[1][slo.window]
    inside = [end // HOUR for end in edges if BEGIN - slo.window < end <= BEGIN]
    assert (sum(50 + h % 7 for h in inside), sum(h % 3 for h in inside), hours * HOUR) == (
        found.total,
        found.bad,
        found.known,
    )
