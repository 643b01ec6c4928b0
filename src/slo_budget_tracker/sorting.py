"""Series of a feed sorted once: a 64-bit key, the target, and the lane (slots and job) its events go into."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from slo_budget_tracker.histograms import ALL, LE, identities, identity, plain
from slo_budget_tracker.spellings import Labels as Spelled
from slo_budget_tracker.targets import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slo_budget_tracker.answers import Series
    from slo_budget_tracker.feeds import RawFeed, Slot

    Labels = Mapping[str, str]
    Spelling = bytes | tuple[str, ...]

_SPARE = 100  # so many series more than twice the current ones may be kept in mind, in each feed

NO_TARGET = 0


class Lane(NamedTuple):
    """Series of one job that belong to the same parts of the same SLOs."""

    slots: tuple[Slot, ...]
    job: str


class Sorted(NamedTuple):
    """What is known of a series by its labels alone; `target` is NO_TARGET without an instance."""

    key: int
    target: int
    lane: int


class Part(NamedTuple):
    """What a series is of a histogram: the keys of the count of all, and of its bound in classic buckets."""

    whole: int
    bound: int


@dataclass(eq=False)
class Sorting:
    """The memo of one feed: pure in the labels, so it may be shared and dropped at any time.

    `memo` has the place of each series by its labels as the server spelled them, or else by their names and
    values in the order they came.
    """

    feed_key: str
    replica_label: str | None
    histogram: bool = False
    lanes: list[Lane] = field(default_factory=list)
    _lane_of: dict[Lane, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)
    memo: dict[Spelling, Sorted | None] = field(default_factory=dict)
    _parts: dict[int, Part] = field(default_factory=dict)  # of histograms, by the key of a series

    def sort(self, feed: RawFeed, labels: Labels) -> Sorted | None:
        """The series' place; None where no SLO selects it."""
        slots = feed.classify(labels)
        if not slots:
            return None
        target = Target.of(labels)
        lane = Lane(slots, target.job)
        with self._lock:  # a first fill and the ticks may sort at the same time
            if lane not in self._lane_of:
                self.lanes.append(lane)
                self._lane_of[lane] = len(self.lanes) - 1
        return Sorted(self.key(labels), target_key(target), self._lane_of[lane])

    def key(self, labels: Labels) -> int:
        """The series' identity: a hash of its sorted labels without name and replica, the same for ever.

        A bucket is the same one however its bound is spelled, and be it classic or of a native histogram.
        """
        ignored = ("__name__", self.replica_label)
        if self.histogram and LE in labels:
            labels = {**labels, LE: identity(labels[LE])}
        return _hash(*(part for pair in sorted(labels.items()) if pair[0] not in ignored for part in pair))

    def part(self, key: int, labels: Labels) -> Part:
        """What a series is of its histogram."""
        found = self._parts.get(key)
        if found is None:
            whole, bound = ({**labels, LE: name} for name in (ALL, plain(labels.get(LE, ""))))
            found = self._parts[key] = Part(self.key(whole), self.key(bound))
        return found

    def relatives(self, labels: Labels) -> frozenset[int]:
        """The keys that the counts at a histogram's bound have at this and all other resolutions."""
        names = identities(plain(identity(labels[LE])))
        return frozenset(self.key({**labels, LE: name}) for name in names)

    def only(self, current: Sequence[Series]) -> Sorting:
        """What is known of these series, with the lanes they need; who is at work goes on with this one."""
        spellings = (spelling(labels) for labels, *_ in current)
        memo = {one: self.memo[one] for one in spellings if one in self.memo}
        places = [place for place in memo.values() if place is not None]
        new = {old: at for at, old in enumerate(sorted({place.lane for place in places}))}
        kept = Sorting(self.feed_key, self.replica_label, self.histogram, [self.lanes[old] for old in new])
        kept._lane_of = {lane: at for at, lane in enumerate(kept.lanes)}
        kept.memo = {one: None if place is None else _moved(place, new) for one, place in memo.items()}
        kept._parts = {one.key: self._parts[one.key] for one in places if one.key in self._parts}
        return kept


def _moved(place: Sorted, lanes: Mapping[int, int]) -> Sorted:
    lane = lanes[place.lane]
    return place if lane == place.lane else place._replace(lane=lane)


def spelling(labels: Labels) -> Spelling:
    """Labels as they were sent, or their names and values in the order they came: right in any order."""
    return labels.spelled if isinstance(labels, Spelled) else (*labels, *labels.values())


def target_key(target: Target) -> int:
    """The identity of a target."""
    return _hash(*target) if target.instance else NO_TARGET


def _hash(*parts: str) -> int:
    text = "\xff".join(parts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


_SORTINGS: WeakKeyDictionary[RawFeed, Sorting] = WeakKeyDictionary()


def inherit(feed: RawFeed, old: RawFeed) -> None:
    """A feed that is the same as one before it goes on with what was sorted for that one."""
    if feed is not old and feed == old and (found := _SORTINGS.pop(old, None)) is not None:
        _SORTINGS[feed] = found


def sorting_of(feed: RawFeed) -> Sorting:
    """The memo that goes with a feed."""
    found = _SORTINGS.get(feed)
    if found is None:
        found = _SORTINGS[feed] = Sorting(feed.key, feed.replica_label, feed.histogram is not None)
    return found


def trim(feed: RawFeed, current: Sequence[Series]) -> None:
    """Forget all but the current series of a feed when far more were met than there are now."""
    found = sorting_of(feed)
    if len(found.memo) > 2 * len(current) + _SPARE:
        _SORTINGS[feed] = found.only(current)
