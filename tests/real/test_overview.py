"""One page over all shards: every SLO once, as its shard has it, with its past, events and marks; through moves too."""

from __future__ import annotations

import pytest

from slo_budget_tracker.annotations import Annotation, Sought
from slo_budget_tracker.archive import Archive
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.onlookers import Onlooker
from slo_budget_tracker.overviews import ShardsLedgers
from slo_budget_tracker.publishing import Publisher
from slo_budget_tracker.timeline import Wanted
from tests.real.fleets import NAMES, SLOS
from tests.real.lives import EmptyPrometheus, Life, slos
from tests.unit.cycling import settings

pytestmark = pytest.mark.postgresql


@pytest.fixture
def overview(fleet):
    """The page over the fleet's shards."""
    found = Onlooker(settings(), SLOS, Publisher(clock=fleet.clock), ShardsLedgers(fleet.base))
    yield found
    found.leave()


def shown(overview):
    """Name, instant and total of each SLO on the page."""
    overview.look()
    return {one.name: (one.evaluated_at, one.total) for one in overview.publisher.display.view.snapshots}


def there(fleet):
    """The same as the shards have it."""
    return {name: (one.evaluated_at, one.total) for name, one in fleet.snapshots().items()}


def test_every_slo_is_shown_as_its_shard_has_it(fleet, overview):
    """After each tick of the shards, and on /metrics each SLO once."""
    for index in range(3):
        fleet.start(index, 3)
    for _ in range(3):
        fleet.tick()
        assert there(fleet) == shown(overview)
    text = overview.publisher.display.view.text.body.decode()
    assert len(NAMES) == sum(line.startswith("slo_total{") for line in text.splitlines())
    assert [] == overview.publisher.display.unready()


def test_an_slo_that_moves_stays_on_the_page(fleet, overview):
    """From 1 to 2: let go of and not yet taken it is as it was, then as its new shard has it."""
    fleet.start(0, 1)
    fleet.tick(3)
    before = shown(overview)
    fleet.start(0, 2)
    assert before == shown(overview)
    fleet.start(1, 2)
    fleet.tick()
    assert there(fleet) == shown(overview)


def test_past_events_and_marks_come_from_where_they_are(fleet, overview):
    """A chart reads its SLO's shard; the timeline is that of all, newest first, in pages; marks too."""
    for index in range(2):
        fleet.start(index, 2)
    fleet.tick(34)
    overview.look()
    display = overview.publisher.display
    at = fleet.running[0].last_at
    for name in NAMES:
        (found,) = display.past.courses(name, {}, [at], [3_600])[3_600]
        assert fleet.snapshots()[name].burn_rate_samples[-1].sample_count == found.total
    every = display.past.events(Wanted(limit=1_000))
    assert every.total == len(every.events) == 3 * len(NAMES)
    instants = [event.at for event in every.events]
    assert sorted(instants, reverse=True) == instants
    pages = [display.past.events(Wanted(limit=7, offset=offset)).events for offset in range(0, 42, 7)]
    assert list(every.events) == [event for page in pages for event in page]
    assert {"slo-3"} == {event.slo for event in display.past.events(Wanted(slo="slo-3")).events}
    for index, cycle in fleet.running.items():
        Archive(cycle.evaluator.ledger).annotate(Annotation("deploy", at + index, f"v{index}"))
    assert ["v1", "v0"] == [mark.text for mark in display.notebook.find(Sought()).marks]
    with pytest.raises(LedgerError, match="annotations go to one of the shards"):
        display.notebook.add(Annotation("deploy", at, "v"))


def test_a_database_that_is_away_is_a_trouble_told_once(fleet, overview):
    """The page shows what it knew, is not ready, and goes on when the database is back."""
    fleet.start(0, 1)
    fleet.tick()
    before = shown(overview)
    away = overview.sight.database
    overview.leave()
    overview.sight.database = type(away)(away.url.set(port=1), namespace=away.namespace)
    assert before == shown(overview)
    assert ["trouble with ledger: "] == [one[:21] for one in overview.publisher.display.unready()]
    overview.sight.database = away
    fleet.tick()
    assert there(fleet) == shown(overview)
    assert [] == overview.publisher.display.unready()


def test_shards_and_their_page_as_processes(fleet, tmp_path):
    """`run --shard 0/2`, `1/2` and `all`: the two share the SLOs, the page has all of them."""
    names = [f"shop{n}" for n in range(8)]
    empty = EmptyPrometheus()
    lives = []
    try:
        for shard in ("0/2", "1/2", "all"):
            folder = tmp_path / shard.replace("/", "-")
            folder.mkdir()
            life = Life(folder, empty.url, further="web: {reload: false}\n")
            (life.slos / "shop.yaml").write_text(slos(*names))
            url = f"{fleet.base.url.render_as_string(hide_password=False)}?namespace={fleet.base.namespace}"
            lives.append(life.spawn(env={"SLO_BUDGET_TRACKER_LEDGER__URL": url}, further=["--shard", shard]))
        for life in lives:
            life.until(lambda life=life: life.get("/-/healthy").status_code == 200)
        page = lives[2]
        page.until(lambda: sorted(names) == sorted(page.names()))
        first, second = (set(life.names()) for life in lives[:2])
        assert (set(names), set()) == (first | second, first & second)
        assert 200 == page.get("/slos/shop0").status_code
        assert [0, 0, 0] == [life.end()[0] for life in lives]
        assert not any("Traceback" in life.said for life in lives)
    finally:
        for life in lives:
            life.kill()
        empty.close()
