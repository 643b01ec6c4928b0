"""Listing: which SLOs a page of the list shows, in which order; thousands of them in a few milliseconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from slo_budget_tracker.standing import SILENT, STANDINGS, firing_of, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slo_budget_tracker.snapshots import AlertStatus, BudgetAlertStatus, SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.standing import Judged
    from slo_budget_tracker.views import View

    AnyAlert = AlertStatus | BudgetAlertStatus

PAGE = 50
LONGEST_TEXT = 200
MOST_CHOICES = 500  # of one menu
NEVER = float("inf")
STATES = ("firing", *STANDINGS)  # the most urgent first


@dataclass(frozen=True, slots=True)
class Line:
    """One SLO instance as the list shows it."""

    snapshot: SLOSnapshot
    slo: SLO | None
    judged: Judged
    searched: str
    firing: tuple[AnyAlert, ...]  # its alerts that fire, on burn rates and on the budget
    groups: int = 0  # of a roll-up: how many groups it is over
    alerting: int = 0  # and how many of them have an alert that fires
    folded: bool = False  # a group that is shown by its roll-up

    @property
    def pages(self) -> bool:
        """Whether somebody is called out of bed for it now."""
        return any(alert.severity == "page" for alert in self.firing)

    @property
    def state(self) -> str:
        """What it is counted as, once: alerting before how it stands."""
        return "firing" if self.firing else self.judged.standing

    @property
    def worst_burn(self) -> float:
        """How near its most burning pair is to firing: 1 and above is at the factor."""
        burns = {one.window_seconds: one.burn_rate or 0.0 for one in self.snapshot.burn_rate_samples}
        return max(
            (
                burns.get(alert.long_window_seconds, 0.0) / float(alert.threshold)
                for alert in self.snapshot.alerts
            ),
            default=0.0,
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What the address asks for; whatever makes no sense is as if it were not there."""

    q: str = ""
    state: str = ""
    service: str = ""
    owner: str = ""
    label: str = ""
    sort: str = "urgency"
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wish:
        """The wish of a query string."""
        text = {key: query.get(key, "")[:LONGEST_TEXT].strip() for key in ("q", "service", "owner", "label")}
        page = query.get("page", "1")
        return cls(
            **text,
            state=query.get("state", "") if query.get("state") in STATES else "",
            sort=query.get("sort", "") if query.get("sort") in ORDERS else "urgency",
            page=max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 7 else 1,  # noqa: PLR2004
        )

    def link(self, **changes: object) -> str:
        """The address of the same list with changes; another filter begins at the first page."""
        wish = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        default = Wish()
        given = {
            name: value
            for name in ("q", "state", "service", "owner", "label", "sort", "page")
            if (value := getattr(wish, name)) != getattr(default, name)
        }
        return f"/?{urlencode(given)}" if given else "/"

    @property
    def narrowed(self) -> bool:
        """Whether anything is left out."""
        return any((self.q, self.state, self.service, self.owner, self.label))


class Shown(NamedTuple):
    """A page of the list: its lines, how many SLOs there are on all pages, and how those that match are."""

    lines: tuple[Line, ...]
    total: int
    page: int
    pages: int
    tally: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Listing:
    """All lines of one view, with the choices that narrow them."""

    lines: tuple[Line, ...]
    services: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    firing: tuple[tuple[Line, AnyAlert], ...] = field(default=())
    slos: int = 0
    unseen: int = 0  # SLOs of which the last tick brought nothing, of any of their groups

    @classmethod
    def of(cls, view: View) -> Listing:
        """The lines of a view: to be made once for each."""
        alarms = [firing_of(one) for one in view.snapshots]
        pairs = list(zip(view.snapshots, alarms, strict=True))
        alerting = Counter(one.name for one, fires in pairs if fires and not one.rollup)
        lines = tuple(_line(one, fires, view, alerting[one.name]) for one, fires in pairs)
        slos = {id(line.slo): line.slo for line in lines if line.slo is not None}.values()
        labels = {f"{key}={value}" for slo in slos for key, value in slo.labels}
        firing = [(line, alert) for line in lines for alert in line.firing]
        firing.sort(key=_alarm)
        return cls(
            lines,
            _choices(slo.service for slo in slos),
            _choices(slo.owner for slo in slos),
            _choices(labels),
            tuple(firing),
            len({line.snapshot.name for line in lines}),
            sum(line.snapshot.state in SILENT for line in lines if not line.snapshot.labels),
        )

    def page(self, wish: Wish, *, size: int = PAGE) -> Shown:
        """The page of those that match."""
        unfolded = replace(wish, state="").narrowed
        matching = [line for line in self.lines if _matches(line, wish) and (unfolded or not line.folded)]
        states: dict[str, str] = {}  # of each SLO, that of its most urgent line
        for line in matching:
            name, state = line.snapshot.name, line.state
            other = states.setdefault(name, state)
            if other != state:
                states[name] = min(other, state, key=STATES.index)
        tally = Counter(states.values())
        if wish.state:
            matching = [line for line in matching if wish.state == line.state == states[line.snapshot.name]]
        key, reverse = ORDERS[wish.sort]
        matching.sort(key=lambda line: line.snapshot.name)
        matching.sort(key=key, reverse=reverse)
        pages = max(-(-len(matching) // size), 1)
        page = min(wish.page, pages)
        total = len({line.snapshot.name for line in matching})
        return Shown(tuple(matching[(page - 1) * size : page * size]), total, page, pages, tally)


def _line(one: SLOSnapshot, firing: tuple[AnyAlert, ...], view: View, alerting: int) -> Line:
    slo = view.definitions.get(one.name)
    texts = [one.name, *(f"{key}={value}" for key, value in one.labels.items())]
    if slo is not None:
        texts += [slo.description, slo.service, slo.owner, *(f"{key}={value}" for key, value in slo.labels)]
    groups = len(view.groups.get(one.name, ())) if one.rollup else 0
    folded = one.name in view.groups and not one.rollup and not firing
    return Line(
        one,
        slo,
        judge(one),
        "\n".join(texts).casefold(),
        firing,
        groups,
        alerting if one.rollup else 0,
        folded,
    )


def _alarm(one: tuple[Line, AnyAlert]) -> tuple[bool, float, str]:
    """Pages before tickets, higher factors first."""
    line, alert = one
    return (alert.severity != "page", -float(getattr(alert, "threshold", 0)), line.snapshot.name)


def _choices(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in texts if text})[:MOST_CHOICES])


def _matches(line: Line, wish: Wish) -> bool:
    slo = line.slo
    if not all(word in line.searched for word in wish.q.casefold().split()):
        return False
    if wish.service and (slo is None or slo.service != wish.service):
        return False
    if wish.owner and (slo is None or slo.owner != wish.owner):
        return False
    key, _, value = wish.label.partition("=")
    return not wish.label or (
        line.snapshot.labels.get(key) == value or (slo is not None and (key, value) in slo.labels)
    )


def _left(line: Line) -> float:
    left = line.snapshot.error_budget_remaining
    return NEVER if left is None else left


def _urgency(line: Line) -> tuple[bool, bool, int, float]:
    return (not line.pages, not line.firing, STANDINGS.index(line.judged.standing), _left(line))


def _ends(line: Line) -> float:
    seconds = line.snapshot.exhaustion_seconds
    return NEVER if seconds is None else seconds


Key = Callable[[Line], Any]
ORDERS: dict[str, tuple[Key, bool]] = {
    "urgency": (_urgency, False),
    "name": (lambda line: line.snapshot.name, False),
    "budget": (_left, False),
    "burn": (lambda line: line.worst_burn, True),
    "exhaustion": (_ends, False),
    "traffic": (lambda line: line.snapshot.total or 0.0, True),
}
