"""Which SLOs the list shows: filters, order, pages, groups folded into their roll-up."""

from decimal import Decimal

from slo_budget_tracker.listing import Listing, Wish
from slo_budget_tracker.snapshots import AlertStatus
from slo_budget_tracker.views import compose
from tests.unit.serving import availability
from tests.unit.test_web import snapshot

WELL = snapshot("shop")._replace(labels={}, error_budget_remaining=0.9, alerts=())
PAGE = AlertStatus("page", 3_600, 300, Decimal("14.4"), "firing", 0, "so")
GROUPS = [WELL._replace(labels={"handler": name}) for name in ("/a", "/b")]
VIEW = compose(
    snapshots=[
        WELL._replace(rollup=True),
        GROUPS[0],
        GROUPS[1]._replace(alerts=(PAGE,)),
        WELL._replace(name="api"),
    ],
    slos=[availability("shop", service="checkout", labels=(("team", "a"),)), availability("api")],
)


def labels(query):
    """The names and handlers of the lines that a query shows."""
    shown = Listing.of(VIEW).page(Wish.of(query))
    return [(line.snapshot.name, line.snapshot.labels.get("handler")) for line in shown.lines]


def test_groups_are_folded_unless_they_fire():
    """The roll-up stands for its groups; one that fires stands beside it, on top."""
    assert [("shop", "/b"), ("api", None), ("shop", None)] == labels({})
    assert [0, 2, 0, 0] == [line.groups for line in Listing.of(VIEW).lines]


def test_who_looks_for_a_group_finds_it():
    """A filter unfolds."""
    assert [("shop", "/a")] == labels({"q": "handler=/A"})
    assert [("shop", "/a")] == labels({"label": "handler=/a"})
    assert 3 == len(labels({"service": "checkout", "label": "team=a"}))


def test_links_keep_what_is_wished():
    """Another filter begins at the first page; what is default is not in the address."""
    wish = Wish.of({"q": " a b ", "page": "3", "sort": "name", "state": "x"})
    assert "/?q=a+b&sort=name" == wish.link()
    assert "/?q=a+b&state=firing&sort=name&page=3" == wish.link(state="firing", page=3)
    assert "/" == Wish().link()


def test_each_slo_is_counted_once():
    """One with a group that alerts is alerting, and nothing besides; the list of a state has those that are counted."""
    assert ({"firing": 1, "healthy": 1}, 2) == _counted({})
    assert ({"firing": 1, "healthy": 1}, 1) == _counted({"state": "firing"})
    assert [("api", None)] == labels({"state": "healthy"})
    assert [("shop", "/b")] == labels({"state": "firing"})
    assert ({"firing": 1}, 1) == _counted({"q": "shop"})


def test_a_group_that_is_gone_leaves_its_slo_seen():
    """An SLO is not seen when nothing came of all of it, as its roll-up says."""
    slos = [availability("shop")]
    gone = [GROUPS[0]._replace(state="no_data"), GROUPS[1]]
    for state, unseen in (("ok", 0), ("no_data", 1)):
        view = compose(snapshots=[WELL._replace(rollup=True, state=state), *gone], slos=slos)
        assert (1, unseen) == (Listing.of(view).slos, Listing.of(view).unseen)


def _counted(query):
    shown = Listing.of(VIEW).page(Wish.of(query))
    return dict(shown.tally), shown.total
