"""Rosters: which instances there are: each SLO, and its groups as the data show them.

Groups appear with their first series and stay until they had none for the whole SLO window. More groups
than `max_groups` are an error of all of them, as with the `limit` of a Prometheus rule: no group is left
out by chance. The roll-up over all groups is counted all the same. A composite has the groups that any of
its members has.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from slo_budget_tracker.composites import members_of, parts_of
from slo_budget_tracker.groups import is_group, key_of, labels_of, name_of, shown
from slo_budget_tracker.hashes import sli_hash
from slo_budget_tracker.ledger import Entry
from slo_budget_tracker.outcomes import ERROR, NO_DATA
from slo_budget_tracker.payloads import about
from slo_budget_tracker.verdict import Transition

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from slo_budget_tracker.alerts import AlertState
    from slo_budget_tracker.ledger import Ledger
    from slo_budget_tracker.reports import Attempt
    from slo_budget_tracker.specs import SLO
    from slo_budget_tracker.ticks import Counts, Tick

    CountsByKey = Mapping[str, Mapping[int, Counts]]

RETIRED = "slo_retired"


@dataclass(slots=True)
class Roster:
    """The instances of a catalogue by key; all but the groups' names are shared with whoever steps them."""

    ledger: Ledger
    slos: dict[str, SLO]
    ids: dict[str, int]
    limited: Counter[str] = field(default_factory=Counter)  # ticks of SLOs with too many groups
    crowded: dict[str, str] = field(default_factory=dict)  # composites with too many groups, and how many
    composites: dict[str, SLO] = field(default_factory=dict)  # by key, groups of them too
    _groups: dict[str, list[str]] = field(default_factory=dict)  # keys by SLO

    def register(self, slos: Sequence[SLO], *, at: int) -> Roster:
        """Give every SLO its id, and find the groups that the ledger knows."""
        ids = self.ledger.register_all([(slo.name, {}, sli_hash(slo)) for slo in slos], at=at)
        self.slos.update({slo.name: slo for slo in slos})
        self.composites.update({slo.name: slo for slo in slos if members_of(slo)})
        self.ids.update(zip((slo.name for slo in slos), ids, strict=True))
        stale = []
        for instance in list(self.ledger.instances.values()):
            slo = self.slos.get(instance.slo)
            if not instance.labels or instance.retired is not None or slo is None:
                continue
            names = sorted(shown(label) for label in slo.group_by)
            if instance.sli_hash == sli_hash(slo) and sorted(instance.labels) == names:
                self._add(key_of(slo.name, instance.labels.items()), instance.id)
            else:
                stale.append(instance.id)
        if stale:
            self.ledger.retire(stale, at=at)
        return self

    def _add(self, key: str, instance: int) -> None:
        slo = self.slos[key] = self.slos[name_of(key)]
        if members_of(slo):
            self.composites[key] = slo
        if key not in self.ids:
            self._groups.setdefault(name_of(key), []).append(key)
        self.ids[key] = instance

    def groups(self, name: str) -> list[str]:
        """The keys of an SLO's groups."""
        return list(self._groups.get(name, ()))

    def with_groups(self, names: Iterable[str]) -> list[str]:
        """The keys of SLOs and of their groups."""
        return [key for name in names for key in (name, *self.groups(name))]

    def enrol(self, counts: CountsByKey) -> CountsByKey:
        """For past data: groups that are new get an id, as many as there may be; the others are left out."""
        for name, keys in self._fresh(counts).items():
            if len(keys) + len(self.groups(name)) <= self.slos[name].max_groups:
                self._enrol(dict.fromkeys(keys, self.ledger.born(self.ids[name])))
        self.compose()
        return {key: of_key for key, of_key in counts.items() if key in self.ids}

    def admit(self, attempt: Attempt) -> Attempt:
        """For live data: new groups get an id, known ones without a series a tick without data."""
        reading = attempt.reading
        names = [name for name in attempt.unit.slos if self.slos[name].group_by]
        if reading is None or not names:
            return attempt
        counts = dict(reading.counts)
        faults = dict(reading.faults)
        for name in names:
            fault = self._admit(name, counts, attempt.ticks, partial=reading.partial)
            if fault:
                faults[name] = fault
        return replace(attempt, reading=replace(reading, counts=counts, faults=faults))

    def _admit(
        self, name: str, counts: dict[str, Mapping[int, Counts]], ticks: Sequence[Tick], *, partial: bool
    ) -> str:
        known = self.groups(name)
        fresh = [key for key in counts if is_group(key) and name_of(key) == name and key not in self.ids]
        most = self.slos[name].max_groups
        if len(known) + len(fresh) > most:
            for key in fresh:
                del counts[key]
            error = {tick.end: ERROR for tick in ticks}
            counts.update(dict.fromkeys(known, error))
            self.limited[name] += len(ticks)
            return _too_many(len(known) + len(fresh), most)
        self._begin(fresh, counts, ticks)
        nothing = {tick.end: ERROR if partial else NO_DATA for tick in ticks}
        counts.update({key: nothing for key in known if key not in counts})
        return ""

    def _begin(
        self, fresh: Iterable[str], counts: dict[str, Mapping[int, Counts]], ticks: Sequence[Tick]
    ) -> None:
        """New groups begin with their first known tick: what was before is no missing data of theirs."""
        begun = {}
        for key in fresh:
            start = next((t.start for t in ticks if _is_known(counts[key].get(t.end))), ticks[0].start)
            counts[key] = {end: one for end, one in counts[key].items() if end > start}
            begun[key] = start
        self._enrol(begun)

    def admit_late(self, attempt: Attempt) -> Attempt:
        """For data that came late: groups that nobody knew begin, as many as there may be.

        Who is there by then and has no series has ticks without data, as in `admit`.
        """
        assert attempt.reading is not None
        counts = dict(attempt.reading.counts)
        for name, found in self._fresh(counts).items():
            keys = [key for key in found if any(map(_is_known, counts[key].values()))]
            if len(keys) + len(self.groups(name)) > self.slos[name].max_groups:
                keys.clear()
            self._begin(keys, counts, attempt.ticks)
        self.compose()
        for name in [name for name in counts if not is_group(name)]:
            ticks = [tick for tick in attempt.ticks if tick.end in counts[name]]
            for key in self.groups(name):
                born = self.ledger.born(self.ids[key])
                nothing = {tick.end: NO_DATA for tick in ticks if tick.end > born}
                counts[key] = {**nothing, **counts.get(key, {})}
        known = {key: of_key for key, of_key in counts.items() if key in self.ids}
        return replace(attempt, reading=replace(attempt.reading, counts=known))

    def _fresh(self, counts: CountsByKey) -> dict[str, list[str]]:
        """The groups that are new, by SLO."""
        fresh: dict[str, list[str]] = {}
        for key in counts:
            if is_group(key) and key not in self.ids:
                fresh.setdefault(name_of(key), []).append(key)
        return fresh

    def compose(self) -> None:
        """Give composites the groups that their members have by now, from where a member's group begins."""
        for name, slo in [(name, slo) for name, slo in self._composites() if slo.group_by]:
            begun: dict[str, int] = {}
            for part in (key for member in members_of(slo) for key in self.groups(member)):
                key = key_of(name, labels_of(part).items())
                at = max(self.ledger.born(self.ids[part]), self.ledger.born(self.ids[name]))
                begun[key] = min(begun.get(key, at), at)
            self.crowded.pop(name, None)
            if len(begun) > slo.max_groups:
                self.crowded[name] = _too_many(len(begun), slo.max_groups)
                self.limited[name] += 1
            else:
                self._enrol({key: at for key, at in begun.items() if key not in self.ids})

    def _composites(self) -> list[tuple[str, SLO]]:
        return [(key, slo) for key, slo in self.composites.items() if not is_group(key)]

    def _enrol(self, begun: Mapping[str, int]) -> None:
        """Register groups, each with the instant from which it is stepped."""
        together: dict[int, list[str]] = {}
        for key, at in begun.items():
            together.setdefault(at, []).append(key)
        for at, keys in together.items():
            wanted = [(name_of(key), labels_of(key), sli_hash(self.slos[name_of(key)])) for key in keys]
            for key, instance in zip(keys, self.ledger.register_all(wanted, at=at), strict=True):
                self._add(key, instance)

    def age_out(
        self,
        at: int,
        data_until: Mapping[str, int],
        *,
        awaited: Container[str] = (),
        failing: Container[str] = (),
    ) -> tuple[Transition, ...]:
        """Retire the groups without any series for their whole SLO window.

        Not those of `awaited` datasources and of SLOs that are `failing`: nobody knows what they have.
        """
        longest: dict[str, int] = {}  # a member's past is that of its composites, too
        for _, slo in self._composites():
            longest.update({name: max(longest.get(name, 0), slo.past) for name in members_of(slo)})
        keys = [key for name, some in self._groups.items() if not members_of(self.slos[name]) for key in some]
        gone = []
        for key in keys:
            if self.slos[key].datasource in awaited or name_of(key) in failing:
                continue
            instance = self.ids[key]
            window = max(self.slos[key].past, longest.get(name_of(key), 0))
            if max(data_until.get(key, 0), self.ledger.born(instance)) > at - window:
                continue
            if not self.ledger.history.window(at, [window], ids=[instance])[instance][window].known:
                gone.append(key)
        there = self.ids.keys() - set(gone)
        composites = [key for name, _ in self._composites() for key in self.groups(name)]
        gone += [key for key in composites if not parts_of(self.slos[key], key, there)]
        if not gone:
            return ()
        events = tuple(self._farewell(key, at) for key in gone)
        ids = [self.ids[key] for key in gone]
        ended: dict[int, dict[str, AlertState]] = {instance: {} for instance in ids}
        self.ledger.commit(Entry(events=events, states=ended, retired=dict.fromkeys(ids, at)))
        for key in gone:
            del self.ids[key], self.slos[key]
            self.composites.pop(key, None)
            self._groups[name_of(key)].remove(key)
        return events

    def _farewell(self, key: str, at: int) -> Transition:
        labels = labels_of(key)
        payload = {**about(self.slos[key], group=labels), "window_seconds": self.slos[key].window}
        reason = "no series of this group for the whole SLO window"
        return Transition(RETIRED, f"retired:{at}", at, reason, payload, group=labels)


def _is_known(counts: Counts | None) -> bool:
    return counts is not None and counts.outcome.known


def _too_many(found: int, most: int) -> str:
    return f"{found} groups, more than max_groups: {most}; none of them is counted"
