"""How far back a Prometheus reaches, beside what the windows want and what the ledger knows (P21, P22)."""

from __future__ import annotations

import json
import re

import pytest
from structlog.testing import capture_logs

from slo_budget_tracker.answers import Answer, Query, Series
from slo_budget_tracker.calendars import Calendar
from slo_budget_tracker.errors import Unreachable
from slo_budget_tracker.horizons import SHORTER_STORE, SHORTER_WINDOW, Horizons, judged, reach
from slo_budget_tracker.web import routes
from tests.unit.cycling import begin, metric, ticks
from tests.unit.serving import BEGIN, HOUR, Server, availability, ratio, traffic
from tests.unit.test_web import ask as get

DAY = 24 * HOUR
COUNTED = re.compile(r"count\(count_over_time\((.*)\)\)")

DAY = 24 * HOUR


class Counting(Server):
    """Counts the series that have samples, as Prometheus does."""

    def __call__(self, query):
        """The answer to a count; everything else as usual."""
        found = COUNTED.fullmatch(query.expression)
        if not found:
            return super().__call__(query)
        self.asked.append(query)
        error = self.trouble(query)
        if error is not None:
            raise error
        series = self.db.ask(Query(found[1], query.at)).series
        return Answer((Series({}, [query.at * 1000], [float(len(series))]),) if series else ())


def serving(**options):
    """A server with some traffic, and a cycle over it."""
    server = Counting()
    traffic(server.db, **options)
    return server, begin([availability()], server=server)


def told(cycle, horizons=None):
    """The kinds that a look puts into the log, and whether all servers could say."""
    with capture_logs() as lines:
        answered = (horizons or Horizons(cycle)).look()
    return [line["event"] for line in lines], answered


def test_a_retention_shorter_than_the_window_is_told_at_the_start():
    """P22: a probe at the window's start finds nothing: log, status, page and gauge say how far it goes."""
    _, cycle = serving(before=6 * HOUR)
    ticks(cycle, 1)
    assert ([SHORTER_WINDOW], True) == told(cycle)
    (remark,) = cycle.publisher.display.remarks
    assert re.match(
        r"default has samples of about the last [56]h only, the longest window is 1d: until", remark
    )
    status = json.loads(get(routes(cycle.publisher.display), "/api/v1/status").content)
    assert [remark] == status["remarks"]
    assert metric(cycle, 'slo_budget_tracker_prometheus_history_seconds{datasource="default"} 2')
    assert cycle.publisher.display.view.snapshots[0].coverage < 1


def test_a_calendar_window_is_no_longer_than_its_period():
    """P22: that it also looks at the period before makes no window longer: with its own samples it is covered."""
    week = {"window": 7 * DAY, "calendar": Calendar(unit="week")}
    for options, said in (week, []), ({"window": 30 * DAY}, ["the longest window is 30d"]):
        slo = availability(alerts=(), **options)
        evaluator = begin([slo]).evaluator
        found = judged(evaluator, "default", at=int(BEGIN), wanted=slo.past, reaches=8 * DAY)
        assert said == [text for one in found for text in re.findall(r"the longest window is \w+", one.text)]


def test_a_server_that_lost_its_data_is_told(monkeypatch):
    """P21: it has less than the ledger: `upstream_history_shorter_than_store`, once while it is so."""
    server, cycle = serving(before=900, seconds=30 * HOUR)
    ticks(cycle, 12 * 60)
    horizons = Horizons(cycle)
    assert ([SHORTER_WINDOW], True) == told(cycle, horizons)
    before = cycle.evaluator.look(cycle.last_at)[0]
    lost = (cycle.last_at - 600) * 1000
    for key, samples in server.db.samples.items():
        server.db.samples[key] = [one for one in samples if one[0] > lost]
    assert ([SHORTER_STORE], True) == told(cycle, horizons)
    assert ([], True) == told(cycle, horizons)
    assert before == cycle.evaluator.look(cycle.last_at)[0]
    assert "budgets go on from the ledger" in cycle.publisher.display.remarks[0]


def test_a_history_as_long_as_the_window_is_no_remark():
    """P22: one question at the start of the window, and nothing to tell."""
    server, cycle = serving(before=2 * DAY)
    server.asked.clear()
    assert ([], True) == told(cycle)
    assert (2, ()) == (len(server.asked), cycle.publisher.display.remarks)
    assert metric(cycle, f'prometheus_history_seconds{{datasource="default"}} {float(DAY)}')


def test_a_server_without_up_is_asked_for_what_the_slos_count():
    """P22: recorded or pushed series have no `up`."""
    server, cycle = serving(before=2 * DAY)
    server.db.samples = {key: one for key, one in server.db.samples.items() if ("__name__", "up") not in key}
    assert ([], True) == told(cycle)
    assert any(
        "http_requests_total" in query.expression for query in server.asked if "count_over" in query[0]
    )


@pytest.mark.parametrize("trouble", [True, False], ids=["nobody answers", "nothing is scraped"])
def test_a_server_that_cannot_say_is_asked_again(trouble):
    """P22: no remark is made of an outage."""
    server, cycle = serving()
    if trouble:
        server.trouble = lambda _: Unreachable("refused", reason="connection")
    else:
        server.db.samples.clear()
    assert ([], False) == told(cycle)


def test_expressions_alone_are_asked_by_up():
    """P22: an SLO of a free expression names no series."""
    server = Counting(values={"ratio_a": lambda _: 0.0})
    traffic(server.db, before=2 * DAY)
    assert ([], True) == told(begin([ratio("a")], server=server))


@pytest.mark.parametrize("hours", [0.5, 1, 7, 100, 700])
def test_the_horizon_is_found_to_one_part_in_a_hundred(hours):
    """P22: in few questions, whatever the window."""
    asked = []

    def since(query):
        asked.append(query)
        there = query.at > BEGIN - hours * HOUR
        return Answer((Series({}, [query.at * 1000], [1.0]),) if there else ())

    found = reach(since, ["up[300s]"], at=BEGIN, wanted=30 * DAY)
    assert abs(found - hours * HOUR) <= 30 * DAY / 100
    assert len(asked) <= 9


def test_looks_go_on_until_the_end(monkeypatch):
    """T12: a fault of ours in a look ends nothing, and the thread ends with the daemon."""
    _, cycle = serving()
    horizons = Horizons(cycle)
    looks = []

    def look(_):
        looks.append(1)
        if len(looks) == 3:
            cycle.stop.set()
        if len(looks) == 2:
            raise ZeroDivisionError("oh")
        return False

    monkeypatch.setattr(Horizons, "look", look)
    monkeypatch.setattr("slo_budget_tracker.horizons.AGAIN", 0.0)
    monkeypatch.setattr("slo_budget_tracker.horizons.EVERY", 0.0)
    with capture_logs() as lines:
        horizons.run()
    assert [("no look at the servers' history", "ZeroDivisionError: oh")] == [
        (line["event"], line["detail"]) for line in lines
    ]
    assert 3 == len(looks)
