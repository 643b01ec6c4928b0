"""Views: everything there is to show after one tick, frozen, and the place where the daemon hangs it up."""

from __future__ import annotations

import gzip
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock, Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import orjson

from slo_budget_tracker.annotations import Marked
from slo_budget_tracker.errors import LedgerError
from slo_budget_tracker.exposition import openmetrics
from slo_budget_tracker.roles import Role
from slo_budget_tracker.snapshots import seed_json, snapshot_json
from slo_budget_tracker.timeline import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from slo_budget_tracker.annotations import Annotation, Sought
    from slo_budget_tracker.snapshots import SLOSnapshot
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import WindowCounts
    from slo_budget_tracker.timeline import Wanted


class Past(NamedTuple):
    """What can be asked about the past, whoever keeps it.

    `courses`: what is known of windows (seconds) that end at given instants, by window, of one SLO instance;
    None when there is no such instance; where it counts slices their width follows. `events`: those that are
    wanted, newest first. `born`: the data instant at which an instance was first known.
    """

    courses: Callable[..., Mapping[int, Sequence[WindowCounts]] | None]
    events: Callable[[Wanted], Found]
    born: Callable[[str, Mapping[str, str]], int | None] = lambda _name, _labels: None


class Notebook(NamedTuple):
    """The annotations, whoever keeps them; `add` is False for what is there already."""

    find: Callable[[Sought], Marked]
    add: Callable[[Annotation], bool]
    erase: Callable[[str], bool]


def _closed(_: object) -> bool:
    raise LedgerError("the ledger is not open yet")


BODIES = ("text", "openmetrics", "seed")  # of a view
LARGE = 1 << 20  # bytes of a body that is kept compressed
NO_NOTES = Notebook(lambda _sought: Marked((), 0), _closed, _closed)
NO_PAST = Past(lambda _name, _labels, _ends, _windows: None, lambda _wanted: Found((), 0))


@dataclass(frozen=True, slots=True)
class Group:
    """One instance of an SLO with groups; its JSON is made when it is asked for."""

    snapshot: SLOSnapshot

    @property
    def labels(self) -> Mapping[str, str]:
        """What tells it from the other groups."""
        return self.snapshot.labels

    @property
    def body(self) -> bytes:
        """Its JSON."""
        return orjson.dumps(snapshot_json(self.snapshot))


class Bodies(Mapping[str, bytes]):
    """The JSON of snapshots by name, each made when it is asked for: few of many are."""

    def __init__(self, snapshots: Mapping[str, SLOSnapshot]) -> None:
        self._snapshots = snapshots

    def __getitem__(self, name: str) -> bytes:
        return orjson.dumps(snapshot_json(self._snapshots[name]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._snapshots)

    def __len__(self) -> int:
        return len(self._snapshots)


@dataclass(frozen=True, slots=True)
class Content:
    """A body that is ready to be sent; a large one is kept in its compressed form, which most ask for."""

    plain: bytes | None
    compressed: bytes | None
    tag: str

    @property
    def body(self) -> bytes:
        """The bytes as they are before compression."""
        if self.plain is not None:
            return self.plain
        assert self.compressed is not None
        return gzip.decompress(self.compressed)


def prepare(body: bytes, *, compress: bool = True) -> Content:
    """The body with its entity tag; the lowest level of compression is a twentieth of the size already."""
    packed = gzip.compress(body, 1, mtime=0) if compress else None
    tag = blake2b(body if packed is None else packed, digest_size=12).hexdigest()
    return Content(body if packed is None or len(body) <= LARGE else None, packed, f'W/"{tag}"')


class Body:
    """A body that is made when it is first asked for, and then once."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._guard = Lock()
        self._content: Content | None = None
        self.asked = False  # whether anybody wanted it

    def content(self) -> Content:
        """What is sent; large ones take a tenth of a second the first time."""
        self.asked = True
        return self.prepared()

    def prepared(self) -> Content:
        """The same before anybody wants it."""
        with self._guard:
            if self._content is None:
                self._content = prepare(self._make())
            return self._content

    def begin(self) -> None:
        """Make it now, and compress it in a thread, which needs no interpreter; who asks waits for that."""
        self._guard.acquire()
        try:
            Thread(target=self._finish, args=(self._make(),), name="page", daemon=True).start()
        except BaseException:
            self._guard.release()
            raise

    def _finish(self, body: bytes) -> None:
        try:
            self._content = prepare(body)
        finally:
            self._guard.release()

    @property
    def body(self) -> bytes:
        """The bytes as they are before compression; made for the caller alone where nobody asked before."""
        with self._guard:
            content = self._content
        return self._make() if content is None else content.body


@dataclass(frozen=True, slots=True)
class View:
    """Everything there is to show after one tick.

    `unready` says why the daemon is not ready. After `fresh_until`, on the display's clock, it is not ready
    either: the next view should have been here.
    """

    text: Body
    openmetrics: Body
    seed: Body
    snapshots: tuple[SLOSnapshot, ...] = ()  # in the order of names and labels
    definitions: Mapping[str, SLO] = field(default_factory=dict)  # by name
    slos: Mapping[str, bytes] = field(default_factory=dict)  # JSON by name, in the order of names; roll-ups
    groups: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)  # of SLOs with groups, by name
    names: tuple[str, ...] = ()  # of `slos`, in their order
    unready: tuple[str, ...] = ()
    fresh_until: float | None = None
    faults: tuple[str, ...] = ()  # of the last reload, which was refused for them

    @property
    def at(self) -> int | None:
        """The newest data instant that was evaluated."""
        return max((one.evaluated_at for one in self.snapshots), default=None)

    @property
    def known_at(self) -> int | None:
        """The newest data instant of an SLO of which anything is known."""
        return max((one.evaluated_at for one in self.snapshots if one.coverage > 0), default=None)


def compose(
    *,
    metrics: bytes | Callable[[], bytes] = b"",
    snapshots: Iterable[SLOSnapshot] = (),
    slos: Iterable[SLO] = (),
    unready: Iterable[str] = (),
    fresh_until: float | None = None,
    faults: Iterable[str] = (),
) -> View:
    """The view of one tick; its bodies are made once, when they are asked for, `metrics` too if callable."""
    ordered = sorted(snapshots, key=_place)
    firsts = _firsts(ordered)
    text = Body(metrics if callable(metrics) else lambda: metrics)
    return View(
        snapshots=tuple(ordered),
        definitions=MappingProxyType({one.name: one for one in slos}),
        text=text,
        openmetrics=Body(lambda: openmetrics(text.body)),
        seed=Body(lambda: orjson.dumps({"slos": [seed_json(one) for one in ordered]})),
        slos=Bodies(firsts),
        names=tuple(firsts),
        groups=MappingProxyType(_groups(ordered)),
        unready=tuple(unready),
        fresh_until=fresh_until,
        faults=tuple(faults),
    )


def _place(one: SLOSnapshot) -> tuple[str, list[tuple[str, str]]]:
    return one.name, sorted(one.labels.items()) if one.labels else []


def _firsts(snapshots: Iterable[SLOSnapshot]) -> dict[str, SLOSnapshot]:
    """The first instance of each name: of an SLO with groups the roll-up, which has no labels."""
    found: dict[str, SLOSnapshot] = {}
    for one in snapshots:
        found.setdefault(one.name, one)
    return found


def _groups(snapshots: Iterable[SLOSnapshot]) -> dict[str, tuple[Group, ...]]:
    found: dict[str, list[Group]] = {}
    for one in snapshots:
        if one.rollup:
            found[one.name] = []
        elif one.name in found:
            found[one.name].append(Group(one))
    return {name: tuple(groups) for name, groups in found.items()}


class Display:
    """Where the daemon hangs up its latest view: `display.view = compose(…)`, one assignment.

    Attributes:
        past: what can be asked about the past; nothing until the daemon sets it.
        notebook: the annotations; none until the daemon sets it.
        datasources: the addresses people may open, by name, without credentials.
        remarks: what is to be known and is no fault.
        interval: seconds between two ticks.
        delay: seconds that data instants lie behind the clock.
        role: whether this daemon leads, and who does.
    """

    def __init__(
        self,
        view: View,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._view = view
        self._wanted = frozenset(
            {"text"}
        )  # bodies asked for since they were last prepared; the first will be
        self._wakes: tuple[Callable[[], None], ...] = ()
        self.clock = clock
        self.wall = wall
        self.past = NO_PAST
        self.notebook = NO_NOTES
        self.datasources: Mapping[str, str] = {}
        self.remarks: tuple[str, ...] = ()
        self.interval = 60
        self.delay = 20
        self.role = Role()

    @property
    def view(self) -> View:
        """The latest view."""
        return self._view

    @view.setter
    def view(self, view: View) -> None:
        self.show(view)

    def show(self, view: View, *, prepared: bool = True) -> None:
        """Hang up a view; `prepared`, nobody has to wait for what was asked for of those before."""
        asked = {name for name in BODIES if getattr(self._view, name).asked}
        self._wanted |= asked
        if prepared:
            for name in self._wanted:
                getattr(view, name).prepared()
            self._wanted = frozenset()
        self._view = view
        for wake in self._wakes:
            wake()

    def begin(self) -> None:
        """Make what will be asked for first, as soon as that goes."""
        for name in self._wanted:
            getattr(self._view, name).begin()
        self._wanted = frozenset()

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after each new view, in the thread that brought it; returns how to end that.

        Subscribing and ending are done by one thread, the web server's.
        """
        self._wakes = (*self._wakes, wake)

        def forget() -> None:
            self._wakes = tuple(one for one in self._wakes if one is not wake)

        return forget

    def unready(self) -> list[str]:
        """Why the daemon is not ready right now; empty when it is."""
        view = self.view
        late = 0.0 if view.fresh_until is None else self.clock() - view.fresh_until
        return [*view.unready, *([f"the next tick is {late:.0f} s overdue"] if late > 0 else [])]
